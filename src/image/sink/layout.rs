//! Writing into an OCI layout: other images in it stay, the name comes last.
//!
//! Blobs are copied, never linked: somebody who edits a layout in place must not be able to damage the store.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::parallel::WORKERS;
use super::{Outcome, Receipt, Sink, warn_of_docker};
use crate::error::{During, Result};
use crate::fs::{self, Moment, Stamp, Temporary};
use crate::image::Error;
use crate::image::blobs::{Overlay, transfer};
use crate::image::frozen::Artifact;
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
}

impl LayoutSink {
    /// `store` remembers which blobs of the layout are sound.
    pub fn new(dir: &Path, tag: &str, store: &Store) -> Self {
        LayoutSink { dir: dir.into(), tag: tag.into(), store: store.clone() }
    }

    /// Makes the folder a layout, unless it is something else.
    fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let _lock = self.lock()?;
        let marker = self.dir.join("oci-layout");
        match fs::read_optional(&marker, 4096)? {
            Some(bytes) => check_marker(&bytes).map_err(|reason| self.malformed(reason))?,
            None if fs::read_dir(&self.dir)?.iter().any(|path| !is_leftover(path)) => {
                return Err(Error::Unsupported {
                    destination: self.name(),
                    what: "an image: the folder is not empty and is not an OCI layout",
                    hint: "name another folder",
                }
                .into());
            }
            None => fs::write_atomic(&marker, MARKER)?,
        }
        Ok(fs::create_dir_all(&self.dir.join("blobs/sha256"))?)
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

    /// Copies one blob, unless it is there and sound.
    fn put(&self, descriptor: &Descriptor, blobs: &dyn BlobSource, stamps: &Stamps, task: Task) -> Result<Outcome> {
        let path = self.path_of(descriptor);
        if is_sound(&path, descriptor, stamps) {
            task.finish("exists");
            return Ok(Outcome::Existed);
        }
        let mut file = Temporary::new_in(&self.dir)?;
        transfer(blobs, descriptor, &mut file, &path, &task)?;
        file.persist(&path)?;
        task.finish("written");
        Ok(Outcome::Written)
    }

    fn put_all(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.prepare()?;
        warn_of_docker(artifact, &self.name(), progress);
        let mut receipt = Receipt::new(self.name(), artifact);
        let source = Overlay::new(artifact, blobs);
        let stamps = Stamps::open(&self.store, &self.dir);
        let outcomes = in_parallel(&artifact.blobs(), WORKERS, |blob| {
            let size = blob.descriptor.size;
            let task = progress.task(&format!("{} {}", blob.name, blob.descriptor.digest.short()), Some(size));
            Ok((self.put(&blob.descriptor, &source, &stamps, task)?, size))
        })?;
        outcomes.into_iter().for_each(|(outcome, size)| receipt.count(outcome, size));
        for document in artifact.documents() {
            self.put(&document.descriptor, &source, &stamps, Progress::silent().task("document", None))?;
        }
        stamps.save();
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
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".ingot-"))
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

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.put_all(artifact, blobs, progress).during(|| format!("writing `{}`", self.name()))
    }
}
