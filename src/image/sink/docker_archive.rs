//! Writing what `docker load` reads: `manifest.json`, the configuration, and the layers.
//!
//! gzip layers stay as they are (docker, podman and skopeo unpack them by their magic number); zstd ones are
//! unpacked, because older readers of this form know gzip only.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::parallel::fetch_remote;
use super::tar_file::TarFile;
use super::{Outcome, Receipt, Sink};
use crate::error::{During, Result};
use crate::fs::{self, Temporary};
use crate::image::Error;
use crate::image::blobs::{Overlay, unreadable};
use crate::image::frozen::{Artifact, Image};
use crate::layer::{BlobReader, BlobSource, LayerBlob};
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Hasher, Reference, json as canonical};
use crate::progress::Progress;

/// `docker-archive:FILE:REF`.
pub(super) struct DockerArchiveSink {
    file: PathBuf,
    reference: Option<Reference>,
}

impl DockerArchiveSink {
    pub fn new(file: &Path, reference: Option<Reference>) -> Self {
        DockerArchiveSink { file: file.into(), reference }
    }

    fn put(&self, image: &Image, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        let mut receipt = Receipt::new(self.name(), artifact);
        receipt.reference = self.reference.clone();
        let source = Overlay::new(artifact, blobs);
        fetch_remote(artifact, &source)?;
        let mut tar = TarFile::create(&self.file)?;
        let config = format!("{}.json", image.config.descriptor.digest.hex());
        let names = image.layers.iter().map(member).collect::<Result<Vec<_>>>()?;
        let tags: Vec<String> = self.reference.iter().map(Reference::to_string).collect();
        let listed = json!([{ "Config": config, "RepoTags": tags, "Layers": names }]);
        tar.bytes("manifest.json", &canonical::canonical(&listed))?;
        tar.bytes(&config, &image.config.bytes)?;
        receipt.count(Outcome::Written, image.config.descriptor.size);
        let mut seen = BTreeSet::new();
        for (layer, name) in image.layers.iter().zip(&names) {
            if seen.insert(name.clone()) {
                receipt.count(Outcome::Written, layer.descriptor.size);
                add(&mut tar, name, layer, &source, progress)?;
            }
        }
        tar.finish()?;
        Ok(receipt)
    }
}

fn member(layer: &LayerBlob) -> Result<String> {
    Ok(match Compression::of_layer(&layer.descriptor.media_type)? {
        Compression::Gzip => format!("{}.tar.gz", layer.descriptor.digest.hex()),
        Compression::None | Compression::Zstd => format!("{}.tar", layer.diff_id.hex()),
    })
}

fn add(tar: &mut TarFile, name: &str, layer: &LayerBlob, blobs: &dyn BlobSource, progress: &Progress) -> Result<()> {
    let task = progress.task(&layer.name, Some(layer.descriptor.size));
    if Compression::of_layer(&layer.descriptor.media_type)? == Compression::Zstd {
        let unpacked = Unpacked::new(layer, blobs, tar.folder())?;
        let descriptor = Descriptor::new("", layer.diff_id, unpacked.size);
        tar.blob(name, &unpacked, &descriptor, &task)?;
    } else {
        tar.blob(name, blobs, &layer.descriptor, &task)?;
    }
    task.finish("written");
    Ok(())
}

/// A layer's tar in a temporary file: its length stands in front of it in the archive.
struct Unpacked {
    file: Temporary,
    size: u64,
}

impl Unpacked {
    fn new(layer: &LayerBlob, blobs: &dyn BlobSource, folder: &Path) -> Result<Self> {
        let mut file = Temporary::new_in(folder)?;
        let reader = blobs.open(&layer.descriptor)?;
        let mut stream = zstd::Decoder::new(reader).map_err(|error| unreadable(error, &layer.descriptor))?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(unreadable(error, &layer.descriptor)),
            };
            hasher.update(&buffer[..count]);
            io::Write::write_all(&mut file, &buffer[..count]).map_err(fs::failed("write", folder))?;
        }
        let size = hasher.length();
        let found = hasher.finish();
        if found != layer.diff_id {
            let expected = format!("diffID {} of {}", layer.diff_id, layer.name);
            return Err(Error::Inconsistent { what: "diffIDs", expected, found: found.to_string() }.into());
        }
        Ok(Unpacked { file, size })
    }
}

impl BlobSource for Unpacked {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let file = fs::open(self.file.path())?;
        Ok(Box::new(BlobReader::new(file, descriptor.digest, Some(descriptor.size))))
    }
}

impl Sink for DockerArchiveSink {
    fn name(&self) -> String {
        let reference = self.reference.as_ref().map(|reference| format!(":{reference}")).unwrap_or_default();
        format!("docker-archive:{}{reference}", self.file.display())
    }

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        let Artifact::Image(image) = artifact else {
            return Err(Error::Unsupported {
                destination: self.name(),
                what: "images for several platforms",
                hint: "choose one platform with --platform, or write an oci-archive",
            }
            .into());
        };
        self.put(image, artifact, blobs, progress).during(|| format!("writing `{}`", self.name()))
    }
}
