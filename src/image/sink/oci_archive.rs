//! Writing a tar of an OCI layout, always with the same bytes for the same artifact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layout::{MARKER, entry};
use super::parallel::fetch_remote;
use super::tar_file::TarFile;
use super::{Outcome, Receipt, Sink, warn_of_docker};
use crate::error::{During, Result};
use crate::image::blobs::Overlay;
use crate::image::frozen::Artifact;
use crate::layer::BlobSource;
use crate::oci::{Descriptor, Index, media_type};
use crate::progress::Progress;

/// `oci-archive:FILE:REF`.
pub(super) struct OciArchiveSink {
    file: PathBuf,
    reference: Option<String>,
}

impl OciArchiveSink {
    pub fn new(file: &Path, reference: Option<String>) -> Self {
        OciArchiveSink { file: file.into(), reference }
    }

    fn put(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        let mut receipt = Receipt::new(self.name(), artifact);
        receipt.reference = self.reference.as_deref().and_then(|text| text.parse().ok());
        if self.reference.is_some() {
            // Without a name it is on its way to podman, which reads such archives.
            warn_of_docker(artifact, &self.name(), progress);
        }
        let source = Overlay::new(artifact, blobs);
        let mut members: BTreeMap<String, (Descriptor, String)> = BTreeMap::new();
        for blob in artifact.blobs() {
            receipt.count(Outcome::Written, blob.descriptor.size);
            members.insert(blob.descriptor.digest.hex(), (blob.descriptor, blob.name));
        }
        for document in artifact.documents() {
            members.insert(document.descriptor.digest.hex(), (document.descriptor.clone(), "manifest".into()));
        }
        fetch_remote(artifact, &source)?;
        let mut tar = TarFile::create(&self.file)?;
        tar.folder_member("blobs/")?;
        tar.folder_member("blobs/sha256/")?;
        for (hex, (descriptor, name)) in &members {
            let task = progress.task(&format!("{name} {}", descriptor.digest.short()), Some(descriptor.size));
            tar.blob(&format!("blobs/sha256/{hex}"), &source, descriptor, &task)?;
            task.finish("written");
        }
        let index = Index {
            media_type: media_type::INDEX.into(),
            manifests: vec![entry(artifact, self.reference.as_deref())],
            annotations: BTreeMap::new(),
        };
        tar.bytes("index.json", &index.to_bytes())?;
        tar.bytes("oci-layout", MARKER)?;
        tar.finish()?;
        Ok(receipt)
    }
}

impl Sink for OciArchiveSink {
    fn name(&self) -> String {
        let reference = self.reference.as_ref().map(|reference| format!(":{reference}")).unwrap_or_default();
        format!("oci-archive:{}{reference}", self.file.display())
    }

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.put(artifact, blobs, progress).during(|| format!("writing `{}`", self.name()))
    }
}
