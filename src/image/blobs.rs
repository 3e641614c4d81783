//! Blobs from several places, and moving them without losing what went wrong.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::{Artifact, Error};
use crate::error::Result;
use crate::fs;
use crate::layer::{self, BlobFile, BlobReader, BlobSource, Store};
use crate::oci::{DOCUMENT_LIMIT, Descriptor, Digest};
use crate::progress::Task;

/// Blobs by digest from the place that is known to have them, and all others from the store.
///
/// A build's base layers come from the base's source, its own layers from the store.
#[derive(Clone)]
pub struct Blobs {
    store: Store,
    places: BTreeMap<Digest, Arc<dyn BlobSource>>,
}

impl Blobs {
    /// Everything from the store.
    pub fn new(store: &Store) -> Self {
        Blobs { store: store.clone(), places: BTreeMap::new() }
    }

    /// These blobs from `source`, unless the store has them.
    pub fn with<'a>(mut self, source: &Arc<dyn BlobSource>, blobs: impl IntoIterator<Item = &'a Descriptor>) -> Self {
        self.places.extend(blobs.into_iter().map(|descriptor| (descriptor.digest, source.clone())));
        self
    }
}

impl BlobSource for Blobs {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self.places.get(&descriptor.digest) {
            Some(source) if !self.store.has(&descriptor.digest) => source.open(descriptor),
            _ => BlobSource::open(&self.store, descriptor),
        }
    }

    fn file(&self, descriptor: &Descriptor) -> Result<Option<BlobFile>> {
        match self.places.get(&descriptor.digest) {
            Some(source) if !self.store.has(&descriptor.digest) => source.file(descriptor),
            _ => self.store.file(descriptor),
        }
    }
}

/// The blobs of a source, and the documents of an artifact that are in memory.
pub(super) struct Overlay<'a> {
    documents: BTreeMap<Digest, Arc<[u8]>>,
    below: &'a dyn BlobSource,
}

impl<'a> Overlay<'a> {
    /// Configurations and manifests of `artifact` from memory, the rest from `below`.
    pub fn new(artifact: &Artifact, below: &'a dyn BlobSource) -> Self {
        let configs = artifact.images().iter().map(|image| &image.config);
        let frozen = configs.chain(artifact.documents());
        let documents = frozen.map(|frozen| (frozen.descriptor.digest, frozen.bytes.clone())).collect();
        Overlay { documents, below }
    }
}

impl BlobSource for Overlay<'_> {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self.documents.get(&descriptor.digest) {
            Some(bytes) => {
                Ok(Box::new(BlobReader::new(Cursor::new(bytes.clone()), descriptor.digest, Some(descriptor.size))))
            }
            None => self.below.open(descriptor),
        }
    }

    fn file(&self, descriptor: &Descriptor) -> Result<Option<BlobFile>> {
        if self.documents.contains_key(&descriptor.digest) { Ok(None) } else { self.below.file(descriptor) }
    }
}

/// A whole document, verified. `name` is for messages.
pub(super) fn read_document(source: &dyn BlobSource, descriptor: &Descriptor, name: &str) -> Result<Vec<u8>> {
    check_size(descriptor, name)?;
    let mut bytes = Vec::new();
    let mut reader = source.open(descriptor)?.take(DOCUMENT_LIMIT + 1);
    reader.read_to_end(&mut bytes).map_err(|error| unreadable(error, descriptor))?;
    // The reader has compared digest and size; this is for readers that have not.
    let found = Digest::of(&bytes);
    if found != descriptor.digest {
        let (name, digest) = (name.to_string(), descriptor.digest);
        return Err(Error::Blob { name, digest, expected: digest.to_string(), found: found.to_string() }.into());
    }
    Ok(bytes)
}

/// Refuses a document by what its descriptor says, before anything is read.
pub(super) fn check_size(descriptor: &Descriptor, name: &str) -> Result<(), Error> {
    if descriptor.size <= DOCUMENT_LIMIT {
        return Ok(());
    }
    let (name, digest, size) = (name.to_string(), descriptor.digest, descriptor.size);
    Err(Error::TooLarge { name, digest, size, limit: DOCUMENT_LIMIT })
}

/// What a blob's reader reported: a digest that does not hold stays one, although it travelled as an I/O error.
pub(super) fn unreadable(error: io::Error, descriptor: &Descriptor) -> crate::error::Error {
    match error.downcast::<layer::Error>() {
        Ok(known) => known.into(),
        Err(source) => Error::Stream { action: "read", object: format!("blob {}", descriptor.digest), source }.into(),
    }
}

/// Copies a blob to `writer`, which belongs to the file `path`.
pub(super) fn transfer(
    source: &dyn BlobSource,
    descriptor: &Descriptor,
    writer: &mut dyn Write,
    path: &Path,
    task: &Task,
) -> Result<u64> {
    let mut reader = source.open(descriptor)?;
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error, descriptor)),
        };
        writer.write_all(&buffer[..count]).map_err(fs::failed("write", path))?;
        task.advance(count as u64);
        length += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    #[test]
    fn blobs_come_from_where_they_are() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, base) = (Store::open_at(folder.path()).unwrap(), Store::open_at(other.path()).unwrap());
        own.put(b"own").unwrap();
        base.put(b"base").unwrap();
        let base_layer = Descriptor::of(media_type::LAYER, b"base");
        let source: Arc<dyn BlobSource> = Arc::new(base);
        let blobs = Blobs::new(&own).with(&source, [&base_layer]);
        assert_eq!(read_document(&blobs, &base_layer, "x").unwrap(), b"base");
        assert_eq!(read_document(&blobs, &Descriptor::of(media_type::LAYER, b"own"), "x").unwrap(), b"own");
        let error = read_document(&blobs, &Descriptor::of(media_type::LAYER, b"none"), "x").unwrap_err();
        assert_eq!(error.class().code(), 6);
    }

    #[test]
    fn a_claimed_size_is_not_allocated_and_a_lie_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let digest = store.put(b"hello").unwrap();
        let error = read_document(&store, &Descriptor::new("x", digest, DOCUMENT_LIMIT + 1), "app").unwrap_err();
        assert!(error.to_string().contains("the limit is"), "{error}");
        let error = read_document(&store, &Descriptor::new("x", digest, DOCUMENT_LIMIT), "app").unwrap_err();
        assert_eq!(error.class().code(), 4);
    }
}
