//! ingot.lock: what a project's moving inputs were when it was locked: the digest of each base, the OS packages, the
//! wheels. Written by `ingot lock`, committed, and obeyed by every build.
//!
//! It names no host: a package's path is relative to the archive that has its suite, wherever that is mirrored.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Class, Explain, Result};
use crate::fs;
use crate::oci::Digest;
use crate::python::grouping::{Grouping, Place};

/// The name of the file, beside the project file.
pub const FILE_NAME: &str = "ingot.lock";
/// The version of the format.
const VERSION: u32 = 1;
/// The largest lock that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// What is wrong with a lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not parse.
    #[error("`{file}` is not a lock: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// It was written by another version of Ingot.
    #[error("`{file}` has format {found}: expected {VERSION}")]
    Format {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// A locked build needs it.
    #[error("`{file}` does not exist, and the build is to use only what is locked")]
    Missing {
        /// The file.
        file: String,
    },
    /// It does not have what a build needs, or has it for other inputs.
    #[error("`{file}` is stale for variant `{variant}` ({platform}): {reason}")]
    Stale {
        /// The file.
        file: String,
        /// The variant.
        variant: String,
        /// The platform.
        platform: String,
        /// What changed.
        reason: String,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Malformed { .. } | Error::Format { .. } => "write it anew with `ingot lock`".into(),
            Error::Missing { .. } => "write it with `ingot lock`, and commit it".into(),
            Error::Stale { .. } => "run `ingot lock`, and look at what changed before you commit it".into(),
        })
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// One for each variant and platform, sorted by both.
    pub images: Vec<LockedImage>,
}

/// One image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// The variant's name.
    pub variant: String,
    /// "linux/amd64".
    pub platform: String,
    /// What it was resolved from, by name: when one of these changes, the lock is stale.
    pub inputs: BTreeMap<String, String>,
    /// The digest of what the base's name led to: an index or a manifest. None if the base is not an image of a registry.
    #[serde(default)]
    pub base: Option<Digest>,
    /// The digest of the base's manifest for this platform: the same, or one that the index names.
    #[serde(default)]
    pub manifest: Option<Digest>,
    /// The signed indexes that were used, in the order of their sources. An older one than these is refused.
    #[serde(default, rename = "suite")]
    pub suites: Vec<LockedSuite>,
    /// OS packages, sorted by name.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
    /// Wheels, sorted by name.
    #[serde(default, rename = "wheel")]
    pub wheels: Vec<LockedWheel>,
}

/// A signed index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// "bookworm-security".
    pub name: String,
    /// `Date` of its Release, in RFC 3339.
    pub date: String,
}

/// An OS package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// "amd64", "all".
    pub architecture: String,
    /// The suite whose archive has it.
    pub suite: String,
    /// Relative to the archive.
    pub path: String,
    /// The length of the .deb in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Hex,
    /// Why it is there: "requested", "needed by python3.11", "security upgrade".
    pub reason: String,
}

/// A wheel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWheel {
    /// The distribution's normalised name.
    pub name: String,
    /// The file that was chosen.
    pub file: String,
    /// Its digest.
    pub sha256: Hex,
    /// In which layer it is; `None` in a lock from before that was written down.
    #[serde(default)]
    pub layer: Option<Place>,
}

/// A sha256 without its name, as other locks have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Hex(pub Digest);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Hex, String> {
        format!("sha256:{text}").parse().map(Hex).map_err(|error: crate::oci::Error| error.to_string())
    }
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default, rename = "image")]
    images: Vec<LockedImage>,
}

impl Lock {
    /// Reads the lock beside a project file; `None` if there is none.
    pub fn read(project: &Path) -> Result<Option<Lock>> {
        let path = project.join(FILE_NAME);
        let Some(bytes) = fs::read_optional(&path, LIMIT)? else { return Ok(None) };
        Ok(Some(Lock::parse(&String::from_utf8_lossy(&bytes), &path.display().to_string())?))
    }

    /// Reads a text; `file` is its name.
    pub fn parse(text: &str, file: &str) -> Result<Lock, Error> {
        let malformed =
            |error: toml::de::Error| Error::Malformed { file: file.into(), reason: error.message().to_string() };
        let head: Head = toml::from_str(text).map_err(malformed)?;
        if head.version != VERSION {
            return Err(Error::Format { file: file.into(), found: head.version });
        }
        let written: Written = toml::from_str(text).map_err(malformed)?;
        Ok(Lock { images: written.images })
    }

    /// Writes it beside a project file.
    pub fn write(&self, project: &Path) -> Result<()> {
        Ok(fs::write_atomic(&project.join(FILE_NAME), self.render().as_bytes())?)
    }

    /// Replaces the images of the same variant and platform, and adds the others.
    pub fn update(&mut self, images: Vec<LockedImage>) {
        for image in images {
            self.images.retain(|old| (&old.variant, &old.platform) != (&image.variant, &image.platform));
            self.images.push(image);
        }
        self.images.sort_by(|a, b| (&a.variant, &a.platform).cmp(&(&b.variant, &b.platform)));
    }

    /// What is locked for one image.
    pub fn image(&self, variant: &str, platform: &str) -> Option<&LockedImage> {
        self.images.iter().find(|image| image.variant == variant && image.platform == platform)
    }

    /// The text of the file: the same lock is always the same text.
    pub fn render(&self) -> String {
        let mut text = "# Made by `ingot lock`: commit it, and do not edit it.\n".to_string();
        text.push_str(&format!("version = {VERSION}\n"));
        for image in &self.images {
            text.push_str("\n[[image]]\n");
            text.push_str(&pairs(&[("variant", &image.variant), ("platform", &image.platform)], "\n"));
            if let Some(base) = &image.base {
                text.push_str(&pairs(&[("base", &base.to_string())], "\n"));
            }
            if let Some(manifest) = &image.manifest {
                text.push_str(&pairs(&[("manifest", &manifest.to_string())], "\n"));
            }
            let inputs: Vec<(&str, &str)> =
                image.inputs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            text.push_str("\n[image.inputs]\n");
            text.push_str(&pairs(&inputs, "\n"));
            for suite in &image.suites {
                text.push_str("\n[[image.suite]]\n");
                text.push_str(&pairs(&[("name", &suite.name), ("date", &suite.date)], "\n"));
            }
            for package in &image.packages {
                text.push_str("\n[[image.package]]\n");
                text.push_str(&package.render());
            }
            for wheel in &image.wheels {
                text.push_str("\n[[image.wheel]]\n");
                let sha256 = wheel.sha256.0.hex();
                text.push_str(&pairs(&[("name", &wheel.name), ("file", &wheel.file), ("sha256", &sha256)], "\n"));
                if let Some(place) = wheel.layer {
                    text.push_str(&pairs(&[("layer", place.name())], "\n"));
                }
            }
        }
        text
    }
}

impl LockedImage {
    /// What of the inputs is not what it was: "`os.packages` changed"; nothing if all is.
    pub fn difference(&self, inputs: &BTreeMap<String, String>) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> = self.inputs.keys().chain(inputs.keys()).collect();
        keys.into_iter()
            .filter(|key| self.inputs.get(*key) != inputs.get(*key))
            .map(|key| format!("`{key}` changed"))
            .collect()
    }

    /// Which wheels are in which layer; `None` unless it says so of each.
    pub fn grouping(&self) -> Option<Grouping> {
        let place = |wheel: &LockedWheel| Some((wheel.name.clone(), wheel.sha256.0, wheel.layer?));
        self.wheels.iter().map(place).collect::<Option<Vec<_>>>().map(Grouping::locked)
    }
}

impl LockedPackage {
    fn render(&self) -> String {
        let (size, sha256) = (self.size.to_string(), self.sha256.0.hex());
        let named = [("name", &self.name), ("version", &self.version), ("architecture", &self.architecture)];
        let mut text = pairs(&named.map(|(key, value)| (key, value.as_str())), "\n");
        text.push_str(&pairs(&[("suite", &self.suite), ("path", &self.path)], "\n"));
        text.push_str(&format!("size = {size}\n"));
        text.push_str(&pairs(&[("sha256", &sha256), ("reason", &self.reason)], "\n"));
        text
    }
}

fn pairs(pairs: &[(&str, &str)], end: &str) -> String {
    let one = |(key, value): &(&str, &str)| format!("{} = {}{end}", bare(key), quoted(value));
    pairs.iter().map(one).collect()
}

fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(plain) { key.to_string() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let digest = Digest::of(b"x");
        let image = |variant: &str| LockedImage {
            variant: variant.into(),
            platform: "linux/amd64".into(),
            inputs: BTreeMap::from([
                ("base".into(), "debian:12/packages".into()),
                ("os.packages".into(), "a\nb".into()),
            ]),
            base: Some(digest),
            manifest: Some(digest),
            suites: vec![LockedSuite { name: "bookworm".into(), date: "2026-01-01T00:00:00Z".into() }],
            packages: vec![LockedPackage {
                name: "libc6".into(),
                version: "2.36-9+deb12u10".into(),
                architecture: "amd64".into(),
                suite: "bookworm".into(),
                path: "pool/main/g/glibc/libc6_2.36-9+deb12u10_amd64.deb".into(),
                size: 2_757_596,
                sha256: Hex(digest),
                reason: "requested".into(),
            }],
            wheels: vec![LockedWheel {
                name: "a".into(),
                file: "a-1-py3-none-any.whl".into(),
                sha256: Hex(digest),
                layer: Some(Place::Shared),
            }],
        };
        let mut lock = Lock::default();
        lock.update(vec![image("gpu"), image("cpu"), image("gpu")]);
        lock
    }

    #[test]
    fn what_is_written_is_read_again() {
        let lock = lock();
        let text = lock.render();
        assert_eq!(Lock::parse(&text, "ingot.lock").unwrap(), lock);
        assert_eq!(lock.images.len(), 2);
        assert!(lock.images[0].variant == "cpu" && lock.image("gpu", "linux/amd64").is_some());
        assert!(lock.image("gpu", "linux/arm64").is_none());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), None);
        lock.write(folder.path()).unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), Some(lock));
    }

    #[test]
    fn a_lock_from_before_there_were_layers_has_none() {
        let lock = lock();
        assert_eq!(lock.images[0].grouping().map(|grouping| grouping.place("a")), Some(Place::Shared));
        let old = Lock::parse(&lock.render().replace("layer = \"shared\"\n", ""), "ingot.lock").unwrap();
        assert_eq!((old.images[0].wheels[0].layer, old.images[0].grouping()), (None, None));
    }

    #[test]
    fn changed_inputs_are_named() {
        let image = &lock().images[0];
        assert!(image.difference(&image.inputs).is_empty());
        let mut inputs = image.inputs.clone();
        inputs.remove("base");
        inputs.insert("python".into(), "3.11".into());
        assert_eq!(image.difference(&inputs), ["`base` changed", "`python` changed"]);
    }

    #[test]
    fn damaged_locks_are_refused_with_what_to_do() {
        let text = lock().render();
        let one = |text: &str| Lock::parse(text, "ingot.lock").unwrap_err();
        for (bad, message) in [
            (text.replace("version = 1\n", "version = 2\n"), "`ingot.lock` has format 2: expected 1"),
            (text.replace("size = 2757596", "size = -1"), "`ingot.lock` is not a lock: "),
            (text.replace("sha256 = \"", "sha256 = \"zz"), "`ingot.lock` is not a lock: "),
            (text.replace("\"shared\"", "\"there\""), "`ingot.lock` is not a lock: "),
            (text.replace("reason", "season"), "`ingot.lock` is not a lock: "),
            ("<<<<<<<".to_string(), "`ingot.lock` is not a lock: "),
        ] {
            let error = one(&bad);
            assert!(error.to_string().starts_with(message), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("ingot lock")));
        }
        let stale = Error::Stale {
            file: "ingot.lock".into(),
            variant: "cpu".into(),
            platform: "linux/amd64".into(),
            reason: "`base` changed".into(),
        };
        assert_eq!(stale.to_string(), "`ingot.lock` is stale for variant `cpu` (linux/amd64): `base` changed");
        assert!(Error::Missing { file: "ingot.lock".into() }.to_string().starts_with("`ingot.lock` does not exist"));
    }
}
