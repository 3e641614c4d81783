//! One layer, read once from its first to its last byte.

use std::io::Write;

use super::content::{self, Content};
use super::subject::Fact;
use crate::error::{Class, Result};
use crate::fs::{Mapped, Temporary, failed};
use crate::image::LayerListing;
use crate::layer::read::{LayerReader, Member, MemberKind};
use crate::layer::{BlobSource, LayerBlob, Store};
use crate::oci::media_type::Compression;
use crate::progress::Progress;

/// Files up to this size are looked at in memory, in bytes; larger ones in a temporary file.
const MEMORY_LIMIT: u64 = 32 << 20;

/// A layer as it was read.
pub struct Layer {
    /// What the image says of it.
    pub blob: LayerBlob,
    /// Its entries, in their order.
    pub facts: Vec<Fact>,
    /// What is wrong with it, if it could not be read to its end and be verified. What came before is in `facts`.
    pub error: Option<String>,
}

impl Layer {
    /// The entry with so many before it.
    pub fn fact(&self, ordinal: u64) -> Option<&Fact> {
        self.facts.get(usize::try_from(ordinal).ok()?)
    }
}

/// Reads a layer. A damaged one is no error of this function; one that cannot be got is.
pub(super) fn read(
    blob: &LayerBlob,
    blobs: &dyn BlobSource,
    store: &Store,
    progress: &Progress,
) -> Result<(Layer, LayerListing)> {
    let mut layer = Layer { blob: blob.clone(), facts: Vec::new(), error: None };
    let mut listing = LayerListing::new(&blob.descriptor.digest);
    match read_members(&mut layer, &mut listing, blobs, store, progress) {
        Ok(size) => layer.blob.uncompressed_size = Some(size),
        Err(error) if error.class() == Class::Verification => {
            layer.error = Some(error.chain().pop().unwrap_or_default())
        }
        Err(error) => return Err(error),
    }
    Ok((layer, listing))
}

fn read_members(
    layer: &mut Layer,
    listing: &mut LayerListing,
    blobs: &dyn BlobSource,
    store: &Store,
    progress: &Progress,
) -> Result<u64> {
    let blob = &layer.blob;
    let task = progress.task(&format!("reading {}", blob.name), blob.uncompressed_size);
    let compression = Compression::of_layer(&blob.descriptor.media_type)?;
    let stream = blobs.open(&blob.descriptor)?;
    let mut reader = LayerReader::open(stream, compression, &blob.descriptor, Some(blob.diff_id))?;
    let mut unlisted = None;
    while let Some(member) = reader.next_member()? {
        task.advance(member.size);
        let content = if member.kind == MemberKind::File && member.size > MEMORY_LIMIT {
            let (_file, body) = spooled(&mut reader, store)?;
            take(&member, &body, listing, &mut unlisted)
        } else {
            let body = reader.read_body(MEMORY_LIMIT)?;
            take(&member, &body, listing, &mut unlisted)
        };
        layer.facts.push(Fact { member, content });
    }
    let summary = reader.finish()?;
    task.finish("read");
    match unlisted {
        Some(error) => Err(error),
        None => Ok(summary.uncompressed_size),
    }
}

/// Lists a member, and looks at its content. The first member that no engine could unpack is remembered.
fn take(
    member: &Member,
    body: &[u8],
    listing: &mut LayerListing,
    unlisted: &mut Option<crate::error::Error>,
) -> Content {
    if let Err(error) = listing.take(member, body) {
        unlisted.get_or_insert(error);
    }
    match &member.path {
        Some(path) if member.kind == MemberKind::File => content::look(path, member, body),
        _ => Content::default(),
    }
}

/// The present body in a temporary file of the store's.
fn spooled(reader: &mut LayerReader, store: &Store) -> Result<(Temporary, Mapped)> {
    let mut file = store.temporary_file()?;
    let path = file.path().to_path_buf();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = reader.read_part(&mut buffer)?;
        if count == 0 {
            break;
        }
        file.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed("write", &path))?;
    }
    let body = Mapped::open(&path)?;
    Ok((file, body))
}
