//! What a plan takes from ingot.lock, and what it puts there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Base;
use crate::error::{During, Result};
use crate::lock::{self, FILE_NAME, Lock, LockedImage};
use crate::oci::Platform;
use crate::progress::Progress;
use crate::project::{Upgrade, Variant};
use crate::python;

/// What ingot.lock means for a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    /// What it has is used; what it does not have, or has for other inputs, is resolved anew.
    #[default]
    Obey,
    /// Nothing but what it has is used (`--locked`).
    Only,
    /// It is written anew (`ingot lock`).
    Renew,
}

/// The lock of one project, as one plan uses it.
pub struct Pins {
    locking: Locking,
    lock: Option<Lock>,
    file: String,
}

impl Pins {
    /// Reads the lock beside the project file in `root`.
    pub fn open(root: &Path, locking: Locking) -> Result<Pins> {
        let file = root.join(FILE_NAME).display().to_string();
        let lock = Lock::read(root)?;
        if lock.is_none() && locking == Locking::Only {
            return Err(lock::Error::Missing { file }.into());
        }
        Ok(Pins { locking, lock, file })
    }

    /// What is locked for an image with these inputs, if it may be used.
    pub fn of(
        &self,
        variant: &Variant,
        platform: &Platform,
        inputs: &BTreeMap<String, String>,
        progress: &Progress,
    ) -> Result<Option<&LockedImage>> {
        if self.locking == Locking::Renew {
            return Ok(None);
        }
        let Some(lock) = &self.lock else { return Ok(None) };
        match lock.image(&variant.name, &platform.to_string()) {
            Some(image) => match &image.difference(inputs)[..] {
                [] => Ok(Some(image)),
                changes => self.stale(variant, platform, changes.join(", "), progress),
            },
            None => self.stale(variant, platform, "it is not in there".into(), progress),
        }
    }

    /// The same pins, if the base is the one that they were made for. One of a registry is: it was opened by its digest.
    pub fn still<'a>(
        &'a self,
        pins: Option<&'a LockedImage>,
        base: &Base,
        variant: &Variant,
        platform: &Platform,
        progress: &Progress,
    ) -> Result<Option<&'a LockedImage>> {
        match pins {
            Some(pins) if pins.manifest != base.manifest_digest => {
                self.stale(variant, platform, format!("base `{}` is another image", base.name), progress)
            }
            pins => Ok(pins),
        }
    }

    /// An error if the lock has to be obeyed, else a warning and no pins.
    fn stale(
        &self,
        variant: &Variant,
        platform: &Platform,
        reason: String,
        progress: &Progress,
    ) -> Result<Option<&LockedImage>> {
        let stale = lock::Error::Stale {
            file: self.file.clone(),
            variant: variant.name.clone(),
            platform: platform.to_string(),
            reason,
        };
        if self.locking == Locking::Only {
            return Err(stale.into());
        }
        progress.message(&format!("warning: {stale}: resolved anew (run `ingot lock`)"));
        Ok(None)
    }

    /// What the lock has for the image, fresh or not: nothing older than that is accepted.
    pub fn last(&self, variant: &Variant, platform: &Platform) -> Option<&LockedImage> {
        self.lock.as_ref()?.image(&variant.name, &platform.to_string())
    }
}

/// The lock files of Python's wheels: each is read once, however many images it is for.
#[derive(Default)]
pub struct Files {
    read: Mutex<BTreeMap<PathBuf, Arc<python::Lock>>>,
}

impl Files {
    /// The variant's.
    pub fn of(&self, variant: &Variant) -> Result<Option<Arc<python::Lock>>> {
        let Some(file) = variant.python.as_ref().and_then(|python| python.lock.as_ref()) else { return Ok(None) };
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = known.get(&file.value) {
            return Ok(Some(lock.clone()));
        }
        let read = python::Lock::read(&file.value).during(|| format!("reading `{}`", file.value.display()))?;
        Ok(Some(known.entry(file.value.clone()).or_insert(Arc::new(read)).clone()))
    }
}

/// All that decides what an image is resolved to, by name.
pub fn inputs(variant: &Variant, lock: Option<&python::Lock>) -> BTreeMap<String, String> {
    let mut inputs = BTreeMap::from([("base".to_string(), variant.base.value.clone())]);
    let packages: Vec<&str> = variant.os.packages.iter().map(|package| package.value.as_str()).collect();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            inputs.insert(name.to_string(), value);
        }
    };
    set("os.packages", packages.join(" "));
    set(
        "os.upgrade",
        match variant.os.upgrade {
            Upgrade::None => String::new(),
            Upgrade::Security => "security".into(),
            Upgrade::All => "all".into(),
        },
    );
    set("os.recommends", if variant.os.recommends { "true".into() } else { String::new() });
    if let Some(python) = &variant.python {
        set("python.version", python.version.value.to_string());
        if let Some(lock) = lock {
            set("python.lock", lock.digest.to_string());
        }
    }
    inputs
}
