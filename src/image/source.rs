//! Where an opened image's documents and blobs come from.

use std::sync::Arc;

use super::ImageName;
use super::access::Access;
use super::archive::OciArchive;
use super::blobs::{check_size, read_document};
use super::docker_archive::DockerArchive;
use super::frozen::Frozen;
use super::layout::{Found, Layout, check_length};
use crate::engine::Kind;
use crate::error::{During, Result};
use crate::layer::{BlobSource, Origin, Store};
use crate::oci::{DOCUMENT_LIMIT, Descriptor, Document, Reference};
use crate::registry::{Registry, RemoteBlobs};

/// A source that was opened: blobs, and documents by descriptor.
#[derive(Clone)]
pub(super) struct Source {
    pub blobs: Arc<dyn BlobSource>,
    pub origin: Origin,
    /// Manifests and indexes of a registry are not among its blobs.
    registry: Option<(Registry, Reference, Store)>,
}

impl Source {
    fn local(blobs: impl BlobSource + 'static) -> Self {
        Source { blobs: Arc::new(blobs), origin: Origin::Store, registry: None }
    }

    /// The document behind a reference. The digest in a reference is checked by the registry room. A pinned one that
    /// was seen before is in the store: then nobody is asked.
    fn remote(reference: &Reference, access: &Access) -> Result<(Source, Frozen)> {
        let registry = access.registry()?;
        let known = reference.digest().filter(|digest| access.store.has(digest));
        let (bytes, content_type) = match known {
            Some(digest) => (access.store.read(&digest, DOCUMENT_LIMIT)?, None),
            None => {
                let fetched = registry.manifest(reference)?;
                (fetched.bytes, fetched.content_type)
            }
        };
        let media_type = match Document::parse(&bytes, content_type.as_deref())? {
            Document::Manifest(manifest) => manifest.media_type,
            Document::Index(index) => index.media_type,
        };
        access.store.put(&bytes)?;
        let (store, progress) = (access.store.clone(), access.progress.clone());
        let blobs = RemoteBlobs::new(registry.clone(), reference.clone(), store.clone(), progress);
        let source = Source {
            blobs: Arc::new(blobs),
            origin: Origin::Remote(reference.clone()),
            registry: Some((registry, reference.clone(), store)),
        };
        Ok((source, Frozen::new(&media_type, bytes)))
    }

    /// A manifest or index, verified.
    pub fn document(&self, descriptor: &Descriptor, name: &ImageName) -> Result<Frozen> {
        let bytes = match &self.registry {
            None => read_document(&*self.blobs, descriptor, &name.to_string())?,
            Some((_, _, store)) if store.has(&descriptor.digest) => {
                check_size(descriptor, &name.to_string())?;
                let bytes = store.read(&descriptor.digest, DOCUMENT_LIMIT)?;
                check_length(&name.to_string(), descriptor, bytes.len() as u64)?;
                bytes
            }
            Some((registry, reference, store)) => {
                check_size(descriptor, &name.to_string())?;
                let bytes = registry.manifest(&reference.pinned(descriptor.digest))?.bytes;
                store.put(&bytes)?;
                check_length(&name.to_string(), descriptor, bytes.len() as u64)?;
                bytes
            }
        };
        Ok(Frozen::new(&descriptor.media_type, bytes))
    }

    /// Like [`Source::open`], but a layout whose `oci-layout` file is wrong is opened, and what is wrong with it told.
    pub fn open_leniently(name: &ImageName, access: &Access) -> Result<(Source, Frozen, Option<String>)> {
        if let ImageName::OciLayout { dir, tag } = name {
            let (layout, found, marker) = Layout::open_leniently(dir, tag.as_deref())?;
            let (source, root) = Source::local(layout).rooted(found, name)?;
            return Ok((source, root, marker));
        }
        Source::open(name, access).map(|(source, root)| (source, root, None))
    }

    /// Opens `name`; also the document that it leads to.
    pub fn open(name: &ImageName, access: &Access) -> Result<(Source, Frozen)> {
        match name {
            ImageName::OciLayout { dir, tag } => {
                let (layout, found) = Layout::open(dir, tag.as_deref())?;
                Source::local(layout).rooted(found, name)
            }
            ImageName::OciArchive { file, reference } => {
                let (archive, found) = OciArchive::open(file, reference.as_deref(), &access.store)?;
                Source::local(archive).rooted(found, name)
            }
            ImageName::DockerArchive { file, reference } => {
                let (archive, root) = DockerArchive::open(file, reference.as_deref(), &access.store)?;
                Ok((Source::local(archive), root))
            }
            ImageName::ContainersStorage(image) => {
                let saved = Saved::new(Kind::Podman, image, access)?;
                let (archive, found) = OciArchive::open(&saved.archive, None, &access.store)?;
                Source::local(archive).rooted(found, name)
            }
            ImageName::DockerDaemon(image) => {
                let saved = Saved::new(Kind::Docker, image, access)?;
                let (archive, root) = DockerArchive::open(&saved.archive, None, &access.store)?;
                Ok((Source::local(archive), root))
            }
            ImageName::Registry(reference) => Source::remote(reference, access),
        }
    }

    fn rooted(self, found: Found, name: &ImageName) -> Result<(Source, Frozen)> {
        let root = match found {
            Found::Blob(descriptor) => self.document(&descriptor, name)?,
            Found::Whole(root) => root,
        };
        Ok((self, root))
    }
}

/// An archive that an engine wrote. The file goes as soon as it has been opened; whoever opened it can still read it.
struct Saved {
    archive: std::path::PathBuf,
    _folder: crate::fs::TemporaryDir,
}

impl Saved {
    fn new(kind: Kind, image: &str, access: &Access) -> Result<Self> {
        let engine = access.engine(kind)?;
        let folder = access.store.temporary_dir()?;
        let archive = std::path::absolute(folder.path().join("image.tar"))
            .map_err(crate::fs::failed("find the absolute path of", folder.path()))?;
        let task = access.progress.task(&format!("reading {image} from {kind}"), None);
        engine.save(image, &archive).during(|| format!("saving `{image}` from {kind}"))?;
        task.finish("read");
        Ok(Saved { archive, _folder: folder })
    }
}
