//! Blobs that are in the folder of a layout, whole and flushed, and lack nothing but their names.
//!
//! They may be brought long before anybody decides that the image is written at all: until they are taken they are
//! temporary files. If nobody takes them they go, and so do the folders that were made for them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::fs::{self, Settled, Temporary};
use crate::image::blobs;
use crate::layer::BlobSource;
use crate::oci::{Descriptor, Digest};
use crate::progress::Task;

/// The blobs of one layout.
#[derive(Default)]
pub(super) struct Staged(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None`: on its way.
    files: BTreeMap<Digest, Option<Settled>>,
    /// What was made for them, the innermost first.
    folders: Vec<PathBuf>,
    closed: bool,
}

impl Staged {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a blob into `folder`, unless it is there or somebody is doing it. It will be `target`.
    pub fn add(
        &self,
        descriptor: &Descriptor,
        blobs: &dyn BlobSource,
        folder: &Path,
        target: &Path,
        task: &Task,
    ) -> Result<()> {
        let digest = descriptor.digest;
        let mut state = self.state();
        if state.closed || state.files.contains_key(&digest) {
            return Ok(());
        }
        state.files.insert(digest, None);
        drop(state);
        let brought = self.make(folder).and_then(|()| bring(descriptor, blobs, folder, target, task));
        let mut state = self.state();
        state.files.remove(&digest);
        let file = brought?;
        if state.closed {
            drop(file);
            state.remove_folders();
        } else {
            state.files.insert(digest, Some(file));
        }
        Ok(())
    }

    fn make(&self, folder: &Path) -> Result<()> {
        // Held meanwhile, so that who comes second finds the folder, and it is made by one only.
        let mut state = self.state();
        if !state.closed {
            state.folders.extend(fs::create_missing(folder)?);
        }
        Ok(())
    }

    /// The file of a blob that was brought.
    pub fn take(&self, digest: &Digest) -> Option<Settled> {
        self.state().files.remove(digest).flatten()
    }

    /// The folders stay, whatever becomes of the rest.
    pub fn keep_folders(&self) {
        self.state().folders.clear();
    }

    /// Nobody will take what is left, nor what is still on its way.
    pub fn forget(&self) {
        let mut state = self.state();
        state.closed = true;
        state.files.clear();
        state.remove_folders();
    }
}

impl State {
    /// As far as nothing is in them.
    fn remove_folders(&self) {
        self.folders.iter().for_each(|folder| fs::remove_empty_dir(folder));
    }
}

/// A blob in the folder, verified and flushed to disk: the store's file once more, or a copy. It will be `target`.
pub(super) fn bring(
    descriptor: &Descriptor,
    blobs: &dyn BlobSource,
    folder: &Path,
    target: &Path,
    task: &Task,
) -> Result<Settled> {
    if let Some(own) = blobs.file(descriptor)?
        && let Some(file) = fs::share(&own.path, folder)
    {
        if own.is_verified {
            task.advance(descriptor.size);
        } else {
            blobs::transfer(blobs, descriptor, &mut io::sink(), target, task)?;
        }
        return Ok(file);
    }
    let mut file = Temporary::new_in(folder)?;
    blobs::transfer(blobs, descriptor, &mut file, target, task)?;
    Ok(file.settle(target)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::image::fixture::Fixture;
    use crate::oci::media_type::Compression;
    use crate::progress::Progress;

    /// Gives a blob, and does something before.
    struct Before<'a>(&'a dyn BlobSource, &'a (dyn Fn() + Sync));

    impl BlobSource for Before<'_> {
        fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
            (self.1)();
            self.0.open(descriptor)
        }
    }

    #[test]
    fn what_nobody_takes_goes_with_the_folders_that_were_made_for_it() {
        let fixture = Fixture::new();
        let [one, two] = ["a", "b"].map(|name| fixture.layer(name, Compression::Gzip).descriptor);
        let (folder, target) = (fixture.path("new/deep/layout"), fixture.path("x"));
        let task = || Progress::silent().task("x", None);
        let staged = Staged::default();
        let add = |descriptor: &Descriptor, source: &dyn BlobSource| {
            staged.add(descriptor, source, &folder, &target, &task())
        };
        let files = || fs::read_dir(&folder).map_or(0, |files| files.len());
        add(&one, &fixture.access.store).unwrap();
        // Once is enough.
        add(&one, &Before(&fixture.access.store, &|| unreachable!())).unwrap();
        let taken = staged.take(&one.digest).unwrap();
        assert!(staged.take(&one.digest).is_none() && files() == 1);
        taken.rename(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap().len() as u64, one.size);
        // What fails may be tried again.
        let store = &fixture.access.store;
        let broken = Before(store, &|| store.discard(&two.digest).unwrap());
        assert!(add(&two, &broken).is_err() && files() == 0);
        fixture.layer("b", Compression::Gzip);
        add(&two, store).unwrap();
        assert_eq!(files(), 1);
        // One that comes too late goes as well.
        let three = fixture.layer("c", Compression::Gzip).descriptor;
        add(&three, &Before(store, &|| staged.forget())).unwrap();
        assert!(!fixture.path("new").exists());
        assert!(staged.take(&two.digest).is_none() && staged.take(&three.digest).is_none());

        let staged = Staged::default();
        let folder = fixture.path("other/deep/layout");
        staged.add(&one, store, &folder, &target, &task()).unwrap();
        staged.forget();
        assert!(!fixture.path("other").exists());
    }
}
