//! Handing an image to podman or docker: an archive without a name in the store's temporary folder, loaded, and
//! then tagged with exactly the name that was asked for.
//!
//! podman keeps the manifest (an OCI one), so its digest stays; docker's classic store unpacks the layers and knows
//! the image by the digest of its configuration only.

use super::docker_archive::DockerArchiveSink;
use super::oci_archive::OciArchiveSink;
use super::{Receipt, Sink};
use crate::engine::Kind;
use crate::error::{During, Result};
use crate::image::{Access, Artifact, Error};
use crate::layer::BlobSource;
use crate::oci::Reference;
use crate::progress::Progress;

/// `containers-storage:REF` and `docker-daemon:REF`.
pub(super) struct EngineSink {
    kind: Kind,
    reference: Reference,
    access: Access,
}

impl EngineSink {
    pub fn new(kind: Kind, image: &str, access: &Access) -> Result<Self> {
        let reference: Reference = image.parse()?;
        if reference.digest().is_some() {
            return Err(Error::Unsupported {
                destination: image.into(),
                what: "an image under a given digest",
                hint: "leave the digest out: it follows from the image",
            }
            .into());
        }
        Ok(EngineSink { kind, reference, access: access.clone() })
    }

    fn put(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        // Before the archive is written: a missing engine should not cost minutes.
        let engine = self.access.engine(self.kind)?;
        let folder = self.access.store.temporary_dir()?;
        let archive = std::path::absolute(folder.path().join("image.tar"))
            .map_err(crate::fs::failed("find the absolute path of", folder.path()))?;
        let sink: Box<dyn Sink> = match self.kind {
            Kind::Podman => Box::new(OciArchiveSink::new(&archive, None)),
            Kind::Docker => Box::new(DockerArchiveSink::new(&archive, None)),
        };
        let written = sink.write(artifact, blobs, progress)?;
        let task = progress.task(&format!("loading into {}", self.kind), None);
        let loaded = engine.load(&archive)?;
        engine.tag(&loaded, &self.reference)?;
        task.finish("loaded");
        Ok(Receipt { destination: self.name(), reference: Some(self.reference.clone()), ..written })
    }
}

impl Sink for EngineSink {
    fn name(&self) -> String {
        match self.kind {
            Kind::Podman => format!("containers-storage:{}", self.reference),
            Kind::Docker => format!("docker-daemon:{}", self.reference),
        }
    }

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        if let Artifact::Index(_) = artifact {
            return Err(Error::Unsupported {
                destination: self.name(),
                what: "images for several platforms",
                hint: "choose one platform with --platform",
            }
            .into());
        }
        self.put(artifact, blobs, progress).during(|| format!("writing `{}`", self.name()))
    }
}
