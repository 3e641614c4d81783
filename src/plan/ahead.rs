//! Wheels on their way, begun before it is known for certain what they are for.
//!
//! A base has to be fetched and listed, and its OS packages to be made a layer, before anybody knows which Python and which C
//! library an image has; but both are expected long before: `base-manifests/` knows bases, ingot.lock names wheels, and an
//! opened base says what it has. So wheels are chosen and fetched for what is expected. If it turns out otherwise they are
//! chosen anew, and what was fetched is in the store: bytes do not depend on what was begun.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Base;
use crate::error::Result;
use crate::fs;
use crate::image::{Access, ImageName};
use crate::lock::{Hex, LockedImage, LockedWheel};
use crate::net::Http;
use crate::oci::Platform;
use crate::project::{PACKAGES_SUFFIX, Variant, known_base, known_packages};
use crate::python::{Indexes, Libc, Locked, Target, Watch, Wheel, fetch, known};

/// How long who has nothing to do waits before he looks whether there is work for him.
const PAUSE: Duration = Duration::from_millis(5);

/// For what an image's wheels will be, as far as can be said before its base is opened.
pub(super) fn expected(variant: &Variant, platform: &Platform, pins: Option<&LockedImage>) -> Option<Target> {
    let python = variant.python.as_ref()?.version.value;
    let libc = match expected_libc(variant) {
        Some(libc) => libc,
        // Any that takes the wheels that are locked: others are not looked for.
        None if pins?.wheels.iter().any(|wheel| wheel.file.contains("musllinux")) => Libc::Musl(1, 99),
        None => Libc::Glibc(2, 99),
    };
    Some(Target { python, platform: platform.clone(), libc })
}

/// The C library that a known base has.
pub(super) fn expected_libc(variant: &Variant) -> Option<Libc> {
    let base = &variant.base.value;
    let known = match base.parse() {
        _ if base.ends_with(PACKAGES_SUFFIX) => known_packages(base),
        Ok(ImageName::Registry(reference)) => known_base(&reference),
        _ => None,
    };
    Some(known?.libc)
}

/// The same when the base is open, and has not got its OS packages.
pub(super) fn expected_on(base: &Base, variant: &Variant, platform: &Platform) -> Option<Target> {
    let wanted = variant.python.as_ref()?.version.value;
    let python = base.facts.python(&wanted).map_or(wanted, |found| found.version);
    Some(Target { python, platform: platform.clone(), libc: base.facts.libc? })
}

/// The wheels of one environment. Dropped, it stops.
pub(super) struct Ahead {
    target: Target,
    locked: Vec<Locked>,
    /// The file that ingot.lock names, by requirement.
    files: Vec<Option<String>>,
    /// What was in the store before.
    here: Vec<Option<Wheel>>,
    way: Option<Arc<Way>>,
}

/// What the thread has that fetches.
#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
    unwanted: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Nobody has heard of them yet.
    arrived: VecDeque<Wheel>,
    ended: Option<thread::Result<Result<Vec<Wheel>>>>,
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, wheel: &Wheel) {
        self.state().arrived.push_back(wheel.clone());
        self.changed.notify_all();
    }

    /// Hands wheels on until all are there, or one cannot be had.
    fn follow(&self, arrived: &dyn Fn(&Wheel)) -> Result<Vec<Wheel>> {
        loop {
            let mut state = self.state();
            let (wheels, ended) = (std::mem::take(&mut state.arrived), state.ended.take());
            drop(state);
            wheels.iter().for_each(arrived);
            match ended {
                Some(Ok(ended)) => return ended,
                Some(Err(panic)) => resume_unwind(panic),
                None => {}
            }
            // A thread of the pool helps meanwhile: it may be the only one.
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                let nothing = |state: &mut State| state.arrived.is_empty() && state.ended.is_none();
                drop(self.changed.wait_timeout_while(self.state(), PAUSE, nothing));
            }
        }
    }
}

impl Ahead {
    /// Begins. A wheel that ingot.lock names is the only one that will do. `indexes` is asked if something is missing.
    pub fn begin(
        mut locked: Vec<Locked>,
        pins: Option<&LockedImage>,
        target: &Target,
        indexes: &dyn Fn() -> Result<Indexes>,
        access: &Access,
    ) -> Result<Ahead> {
        let store = &access.store;
        let files = pin(&mut locked, pins);
        let stored = |(locked, file): (&Locked, &Option<String>)| {
            let (filename, digest) = (file.clone()?, *locked.hashes.first()?);
            let size = fs::symlink_metadata(&store.blob_path(&digest)).ok()?.len();
            let Locked { name, version, place, .. } = locked.clone();
            Some(Wheel { name, version, filename, digest, size, place })
        };
        let mut here: Vec<Option<Wheel>> = locked.iter().zip(&files).map(stored).collect();
        let rest = |here: &[Option<Wheel>]| -> Vec<Locked> {
            locked.iter().zip(here).filter(|(_, here)| here.is_none()).map(|(locked, _)| locked.clone()).collect()
        };
        let chosen = known(&rest(&here), target, store)?;
        here.iter_mut().filter(|here| here.is_none()).zip(chosen).for_each(|(here, chosen)| *here = chosen);
        let missing = rest(&here);
        let mut ahead = Ahead { target: target.clone(), locked, files, here, way: None };
        if !missing.is_empty() {
            ahead.way = Some(ahead.send_for(missing, indexes()?, access));
        }
        Ok(ahead)
    }

    fn send_for(&self, missing: Vec<Locked>, indexes: Indexes, access: &Access) -> Arc<Way> {
        let way = Arc::new(Way::default());
        let (target, store, progress) = (self.target.clone(), access.store.clone(), access.progress.clone());
        let work = {
            let way = way.clone();
            move || {
                let stage = progress.stage(&format!("fetch {} wheels", missing.len()));
                let watch = Watch { arrived: &|wheel| way.arrived(wheel), unwanted: &way.unwanted };
                let client = || Ok(Http::new()?);
                let all = || fetch(&missing, &target, &indexes, &store, &client, &progress, &watch);
                let ended = catch_unwind(AssertUnwindSafe(all));
                drop(stage);
                way.state().ended = Some(ended);
                way.changed.notify_all();
            }
        };
        if thread::Builder::new().name("ingot-wheels".into()).spawn(work.clone()).is_err() {
            work();
        }
        way
    }

    /// Whether these are the wheels that an environment needs.
    pub fn is_for(&self, locked: &[Locked], pins: Option<&LockedImage>, target: &Target) -> bool {
        let mut locked = locked.to_vec();
        let files = pin(&mut locked, pins);
        let Target { python, platform, libc } = &self.target;
        let same = python.compatible(&target.python) && (platform, libc) == (&target.platform, &target.libc);
        locked == self.locked && files == self.files && (same || files.iter().all(Option::is_some))
    }

    /// The wheels, in the order of the requirements. `arrived` hears of each that was not in the store before.
    pub fn follow(mut self, arrived: &dyn Fn(&Wheel)) -> Result<Vec<Wheel>> {
        let fetched = self.way.as_ref().map_or(Ok(Vec::new()), |way| way.follow(arrived))?;
        let mut fetched = fetched.into_iter();
        let here = std::mem::take(&mut self.here).into_iter().zip(std::mem::take(&mut self.files));
        let wheel = |(here, file): (Option<Wheel>, Option<String>)| {
            let wheel = here.or_else(|| fetched.next())?;
            Some(Wheel { filename: file.unwrap_or(wheel.filename), ..wheel })
        };
        Ok(here.filter_map(wheel).collect())
    }

    /// Waits until all that was begun is in the store, or is not to be had.
    pub fn end(self) {
        let _: Result<Vec<Wheel>> = self.follow(&|_| {});
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(way) = &self.way {
            way.unwanted.store(true, Ordering::Relaxed);
        }
    }
}

/// Leaves each requirement the one hash that ingot.lock names; returns the files that have it.
fn pin(locked: &mut [Locked], pins: Option<&LockedImage>) -> Vec<Option<String>> {
    let pin = |locked: &mut Locked| {
        let pinned = pins?.wheels.iter().find(|wheel| wheel.name == locked.name)?;
        let LockedWheel { file, sha256: Hex(digest), .. } = pinned;
        locked.hashes.contains(digest).then(|| {
            locked.hashes = vec![*digest];
            file.clone()
        })
    };
    locked.iter_mut().map(pin).collect()
}
