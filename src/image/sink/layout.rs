//! Writing into an OCI layout: other images in it stay, the name comes last.
//!
//! Blobs of the store are not written a second time where that can be saved ([`crate::fs::share`]): content that is named
//! by its digest is not edited in place, and where it is, the store finds out before it uses the blob.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::parallel::WORKERS;
use super::staged::{self, Staged};
use super::{Outcome, Receipt, Sink, title, warn_of_docker};
use crate::error::{During, Result};
use crate::fs::{self, Moment, Settled, Stamp};
use crate::image::Error;
use crate::image::blobs::Overlay;
use crate::image::frozen::{Artifact, Blob};
use crate::image::layout::{REF_NAME, check_marker};
use crate::layer::{BlobReader, BlobSource, Stamps, Store};
use crate::net::in_parallel;
use crate::oci::{self, DOCUMENT_LIMIT, Descriptor, media_type};
use crate::progress::{Progress, Task};

/// The `oci-layout` file.
pub(super) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// `oci:DIR:TAG`.
pub(super) struct LayoutSink {
    dir: PathBuf,
    tag: String,
    store: Store,
    /// What was copied before the image was finished.
    early: Staged,
}

impl LayoutSink {
    /// `store` remembers which blobs of the layout are sound.
    pub fn new(dir: &Path, tag: &str, store: &Store) -> Self {
        LayoutSink { dir: dir.into(), tag: tag.into(), store: store.clone(), early: Staged::default() }
    }

    /// Makes the folder a layout, unless it is something else.
    fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let _lock = self.lock()?;
        if !self.is_layout()? {
            fs::write_atomic(&self.dir.join("oci-layout"), MARKER)?;
        }
        Ok(fs::create_dir_all(&self.dir.join("blobs/sha256"))?)
    }

    /// Whether the folder, which is there, is a layout; an error if it cannot become one.
    fn is_layout(&self) -> Result<bool> {
        match fs::read_optional(&self.dir.join("oci-layout"), 4096)? {
            Some(bytes) => Ok(check_marker(&bytes).map(|()| true).map_err(|reason| self.malformed(reason))?),
            None if fs::read_dir(&self.dir)?.iter().any(|path| !is_leftover(path)) => Err(Error::Unsupported {
                destination: self.name(),
                what: "an image: the folder is not empty and is not an OCI layout",
                hint: "name another folder",
            }
            .into()),
            None => Ok(false),
        }
    }

    /// Held until dropped; for every writer of this layout.
    fn lock(&self) -> Result<std::fs::File> {
        let folder = fs::open(&self.dir)?;
        match folder.lock() {
            // Some network file systems cannot lock a folder; there, two writers at once are the user's care.
            Ok(()) | Err(_) => Ok(folder),
        }
    }

    fn malformed(&self, reason: String) -> Error {
        Error::Malformed { path: self.dir.clone(), what: "OCI layout", reason }
    }

    fn path_of(&self, descriptor: &Descriptor) -> PathBuf {
        self.dir.join("blobs/sha256").join(descriptor.digest.hex())
    }

    /// Copies one blob, unless it is there and sound. It has no name yet.
    fn put(
        &self,
        descriptor: &Descriptor,
        blobs: &dyn BlobSource,
        stamps: &Stamps,
        task: impl FnOnce() -> Task,
    ) -> Result<Option<Settled>> {
        let path = self.path_of(descriptor);
        let early = self.early.take(&descriptor.digest);
        if is_sound(&path, descriptor, stamps) {
            if early.is_none() {
                task().finish("exists");
            }
            return Ok(None);
        }
        if early.is_some() {
            return Ok(early);
        }
        let task = task();
        let file = staged::bring(descriptor, blobs, &self.dir, &path, &task)?;
        task.finish("written");
        Ok(Some(file))
    }

    fn put_all(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.prepare()?;
        self.early.keep_folders();
        warn_of_docker(artifact, &self.name(), progress);
        let mut receipt = Receipt::new(self.name(), artifact);
        let source = Overlay::new(artifact, blobs);
        let stamps = Stamps::open(&self.store, &self.dir);
        let copied = in_parallel(&artifact.blobs(), WORKERS, |blob| {
            let task = || progress.task(&title(blob), Some(blob.descriptor.size));
            Ok((self.put(&blob.descriptor, &source, &stamps, task)?, blob.descriptor.clone()))
        })?;
        let mut files = Vec::new();
        for (file, descriptor) in copied {
            receipt.count(if file.is_some() { Outcome::Written } else { Outcome::Existed }, descriptor.size);
            files.extend(file.map(|file| (file, descriptor)));
        }
        for document in artifact.documents() {
            let task = || Progress::silent().task("document", None);
            let file = self.put(&document.descriptor, &source, &stamps, task)?;
            files.extend(file.map(|file| (file, document.descriptor.clone())));
        }
        stamps.save();
        // All are there: now they get their names, and the image its own after all of them.
        if !files.is_empty() {
            files.into_iter().try_for_each(|(file, descriptor)| file.rename(&self.path_of(&descriptor)))?;
            fs::sync_folder(&self.dir.join("blobs/sha256"))?;
        }
        self.publish(artifact)?;
        Ok(receipt)
    }

    /// Names the artifact in `index.json`, under a lock so that two writers do not lose each other's entry.
    fn publish(&self, artifact: &Artifact) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.dir.join("index.json");
        let mut index = match fs::read_optional(&path, DOCUMENT_LIMIT)? {
            None => json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [] }),
            Some(bytes) => oci::json::parse(&bytes, "`index.json`")?,
        };
        let Some(Value::Array(manifests)) = index.get_mut("manifests") else {
            return Err(self.malformed("`index.json` lists no manifests".into()).into());
        };
        let new = json!(entry(artifact, Some(&self.tag)));
        let mut named = manifests.iter().filter(|entry| entry["annotations"][REF_NAME] == json!(self.tag));
        if named.next() == Some(&new) && named.next().is_none() {
            return Ok(());
        }
        manifests.retain(|entry| entry["annotations"][REF_NAME] != json!(self.tag));
        manifests.push(new);
        Ok(fs::write_atomic(&path, &oci::json::canonical(&index))?)
    }
}

/// A temporary file of a run that was killed.
fn is_leftover(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(fs::TEMPORARY))
}

/// The entry of an artifact in an `index.json`.
pub(super) fn entry(artifact: &Artifact, name: Option<&str>) -> Descriptor {
    let root = &artifact.root().descriptor;
    let mut entry = Descriptor::new(&root.media_type, root.digest, root.size);
    if let Artifact::Image(image) = artifact {
        entry = entry.for_platform(image.platform.clone());
    }
    entry.annotations.extend(name.map(|name| (REF_NAME.to_string(), name.to_string())));
    entry
}

/// Whether a file is already this blob. Presence proves nothing in a folder of somebody else: it is hashed, unless it
/// was hashed before and did not change since.
fn is_sound(path: &Path, descriptor: &Descriptor, stamps: &Stamps) -> bool {
    let name = descriptor.digest.hex();
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    if !found.is_file() || found.len() != descriptor.size {
        return false;
    }
    if stamps.digest(&name, &Stamp::of(&found)) == Some(descriptor.digest) {
        return true;
    }
    let began = Moment::now();
    let Ok(Some(file)) = fs::open_regular(path) else { return false };
    let Ok(found) = file.metadata() else { return false };
    let mut reader = BlobReader::new(file, descriptor.digest, Some(descriptor.size));
    let sound = std::io::copy(&mut reader, &mut std::io::sink()).is_ok();
    if sound {
        stamps.note(&name, Stamp::of(&found), descriptor.digest, began);
    }
    sound
}

impl Sink for LayoutSink {
    fn name(&self) -> String {
        format!("oci:{}:{}", self.dir.display(), self.tag)
    }

    fn takes_early(&self) -> bool {
        true
    }

    fn takes_unseen(&self) -> bool {
        true
    }

    fn send(&self, layer: &Blob, blobs: &dyn BlobSource, progress: &Progress) -> Result<()> {
        let (descriptor, path) = (&layer.descriptor, self.path_of(&layer.descriptor));
        if fs::exists(&self.dir) {
            self.is_layout()?;
        }
        // Whether one that is there is sound is seen in the end.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.len() == descriptor.size) {
            return Ok(());
        }
        let task = progress.task(&title(layer), Some(descriptor.size));
        self.early.add(descriptor, blobs, &self.dir, &path, &task)?;
        task.finish("copied");
        Ok(())
    }

    fn forget(&self) {
        self.early.forget();
    }

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.put_all(artifact, blobs, progress).during(|| format!("writing `{}`", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::image::fixture::Fixture;

    /// Whether files can share blocks here (btrfs, xfs): then they are files of their own.
    fn has_clones(folder: &Path) -> bool {
        let found = rustix::fs::statfs(folder).unwrap().f_type as u64;
        [0x9123_683e, 0x5846_5342].contains(&(found & 0xffff_ffff))
    }

    #[test]
    fn a_layer_is_on_the_disk_once_unless_somebody_wants_copies() {
        let mut fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        let layer = image.layers[0].descriptor.digest;
        let artifact = Artifact::Image(image.clone());
        let ino = |path: &Path| std::fs::metadata(path).unwrap().ino();
        let stored = fixture.access.store.blob_path(&layer);
        let of = |fixture: &Fixture, layout: &str| fixture.path(layout).join("blobs/sha256").join(layer.hex());
        fixture.write(&artifact, &fixture.name("oci", "one:1")).unwrap();
        fixture.write(&artifact, &fixture.name("oci", "two:1")).unwrap();
        let is_one = ino(&stored) == ino(&of(&fixture, "one")) && ino(&stored) == ino(&of(&fixture, "two"));
        assert!(is_one || has_clones(&stored), "{}", stored.display());

        fixture.access.store = fixture.access.store.without_sharing();
        fixture.write(&artifact, &fixture.name("oci", "three:1")).unwrap();
        let copy = std::fs::metadata(of(&fixture, "three")).unwrap();
        assert_eq!((copy.nlink(), copy.mode() & 0o777), (1, 0o644));
        for layout in ["one", "two", "three"] {
            assert_eq!(oci::Digest::of(&std::fs::read(of(&fixture, layout)).unwrap()), layer);
        }
    }

    #[test]
    fn what_was_damaged_with_a_layout_is_not_taken_from_the_store() {
        let fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        let layer = &image.layers[0].descriptor;
        let artifact = Artifact::Image(image.clone());
        fixture.write(&artifact, &fixture.name("oci", "one:1")).unwrap();
        let stored = fixture.access.store.blob_path(&layer.digest);
        std::thread::sleep(std::time::Duration::from_millis(50));
        // As root edits a layout, and the other name with it.
        std::fs::remove_file(&stored).unwrap();
        let edited = fixture.path("one/blobs/sha256").join(layer.digest.hex());
        std::fs::remove_file(&edited).unwrap();
        std::fs::write(&edited, vec![7; layer.size as usize]).unwrap();
        std::fs::hard_link(&edited, &stored).unwrap();
        let error = fixture.write(&artifact, &fixture.name("oci", "two:1")).unwrap_err();
        assert!(error.class().code() == 4 && error.to_string().contains("does not verify"), "{error}");
        assert!(!fixture.access.store.has(&layer.digest) && !fixture.path("two/index.json").exists());
    }
}
