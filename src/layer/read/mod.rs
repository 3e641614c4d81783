//! Reading a layer: the decompressed tar, member by member, and at its end the proof that it was the right one.
//!
//! [`LayerReader`] is strict: whatever two tar readers could read in two ways (sizes that disagree, two long
//! names, sparse files, unknown kinds) is refused. Nothing is trusted before [`LayerReader::finish`]: only there
//! have blob and tar been read to their real ends and compared with their digests.
//!
//! The file layout of tar headers comes from the `tar` crate. Its iterator is not used, because it has no limits
//! on extension headers and passes over malformed ones.

mod header;
mod member;
mod members;
mod pax;
mod stream;

use std::io::Read;

pub use member::{Member, MemberKind};
pub use members::{Members, TarSource};
pub use stream::sniff;

use super::{Entry, Error, TreePath};
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Digest};
use stream::Stream;

/// The most entries that one layer may have.
pub const ENTRY_LIMIT: u64 = 2_000_000;
/// The longest extension header (PAX records, a GNU long name), in bytes.
pub const EXTENSION_LIMIT: u64 = 1 << 20;
/// The most extension headers before one entry.
pub const EXTENSIONS_LIMIT: u64 = 8;
/// The longest tar that a layer may hold, in bytes.
pub const UNCOMPRESSED_LIMIT: u64 = 256 << 30;
/// How many times larger than its blob a tar may be, once it is larger than [`RATIO_FLOOR`].
pub const RATIO_LIMIT: u64 = 200;
/// Tars up to this many bytes may have any ratio.
pub const RATIO_FLOOR: u64 = 1 << 30;

pub(super) const BLOCK: u64 = 512;

/// What a layer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The digest of the tar.
    pub diff_id: Digest,
    /// The length of the tar in bytes.
    pub uncompressed_size: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// As what a reader finds the entry of a tree that is written as a layer, with `ordinal` others before it: its own
/// headers are read.
pub fn member_of(ordinal: u64, path: &TreePath, entry: &Entry) -> Result<Member, String> {
    let bytes = super::tar::headers(path, entry).map_err(|error| error.to_string())?;
    let mut rest = bytes.as_slice();
    let mut extensions = header::Extensions::default();
    loop {
        let (raw, behind) = rest.split_first_chunk().ok_or("a header is cut off")?;
        let block = header::Block::parse(*raw)?;
        if !block.is_extension() {
            return member::build(ordinal, &block, extensions, true).map_err(|refusal| refusal.reason);
        }
        let size = usize::try_from(block.size()?).unwrap_or(usize::MAX);
        let body = behind.get(..size).ok_or("a header is cut off")?;
        extensions.add(&block, body.to_vec())?;
        rest = behind.get(size.next_multiple_of(BLOCK as usize)..).unwrap_or_default();
    }
}

/// Reads the members of one layer in their order.
pub struct LayerReader {
    members: Members<Stream>,
    diff_id: Option<Digest>,
}

impl LayerReader {
    /// Reads `blob`, which must verify itself (see [`super::BlobSource`] and [`super::BlobReader`]) and be
    /// compressed as `compression` says. `diff_id` is compared at the end.
    pub fn open(
        blob: Box<dyn Read + Send>,
        compression: Compression,
        descriptor: &Descriptor,
        diff_id: Option<Digest>,
    ) -> Result<Self, Error> {
        let limit = descriptor.size.saturating_mul(RATIO_LIMIT).clamp(RATIO_FLOOR, UNCOMPRESSED_LIMIT);
        let stream = Stream::open(blob, compression, descriptor.digest, limit)?;
        Ok(LayerReader { members: Members::new(stream), diff_id })
    }

    /// The next member; what was not read of the last one's body is skipped.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.members.next_member()
    }

    /// The body of the member that came last.
    pub fn body(&mut self) -> Body<'_> {
        Body { reader: self }
    }

    /// The body of the member that came last, if it has at most `limit` bytes.
    pub fn read_body(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        self.members.read_body(limit)
    }

    /// Reads a part of the present body; 0 at its end.
    pub fn read_part(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.members.read_part(buffer)
    }

    /// Reads what is left, and verifies: the tar ends with two blocks of zeros and nothing but zeros follows, the
    /// compressed stream and the blob end there too, and the tar has the expected digest.
    pub fn finish(self) -> Result<Summary, Error> {
        let (stream, entries) = self.members.finish()?;
        let digest = stream.digest();
        let (found, uncompressed_size) = stream.finish()?;
        if let Some(expected) = self.diff_id.filter(|expected| *expected != found) {
            return Err(Error::Digest { expected, found: format!("{found} in layer {digest}") });
        }
        Ok(Summary { diff_id: found, uncompressed_size, entries })
    }
}

/// The body of one member.
pub struct Body<'a> {
    reader: &'a mut LayerReader,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read_part(buffer).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
