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
mod pax;
mod stream;

use std::io::Read;

pub use member::{Member, MemberKind};
pub use stream::sniff;

use super::Error;
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Digest};
use header::Block;
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

/// Reads the members of one layer in their order.
pub struct LayerReader {
    stream: Stream,
    digest: Digest,
    diff_id: Option<Digest>,
    entries: u64,
    body: u64,
    padding: u64,
    ended: bool,
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
        Ok(LayerReader { stream, digest: descriptor.digest, diff_id, entries: 0, body: 0, padding: 0, ended: false })
    }

    /// The next member; what was not read of the last one's body is skipped.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.skip()?;
        if self.ended {
            return Ok(None);
        }
        let mut extensions = header::Extensions::default();
        for _ in 0..=EXTENSIONS_LIMIT {
            let Some(block) = self.block()? else {
                if !extensions.is_empty() {
                    return Err(self.damaged("the tar ends after an extension header"));
                }
                return Ok(None);
            };
            if block.is_extension() {
                let body = self.extension(&block)?;
                extensions.add(&block, body).map_err(|reason| self.damaged(reason))?;
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRY_LIMIT {
                return Err(Error::Limit { digest: self.digest, what: "entries", limit: ENTRY_LIMIT });
            }
            let ordinal = self.entries - 1;
            let member = member::build(ordinal, &block, extensions).map_err(|reason| self.damaged(reason))?;
            self.set_body(member.size);
            return Ok(Some(member));
        }
        Err(Error::Limit { digest: self.digest, what: "extension headers before one entry", limit: EXTENSIONS_LIMIT })
    }

    /// The body of the member that came last.
    pub fn body(&mut self) -> Body<'_> {
        Body { reader: self }
    }

    /// The body of the member that came last, if it has at most `limit` bytes.
    pub fn read_body(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        if self.body > limit {
            return Err(Error::Limit { digest: self.digest, what: "bytes in one file", limit });
        }
        let mut bytes = vec![0; usize::try_from(self.body).unwrap_or(usize::MAX)];
        self.stream.read_exact(&mut bytes)?;
        self.body = 0;
        Ok(bytes)
    }

    /// Reads a part of the present body; 0 at its end.
    pub fn read_part(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let most = usize::try_from(self.body).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        match self.stream.read(buffer)? {
            0 => Err(self.damaged("the tar ends inside a file")),
            count => {
                self.body -= count as u64;
                Ok(count)
            }
        }
    }

    /// Reads what is left, and verifies: the tar ends with two blocks of zeros and nothing but zeros follows, the
    /// compressed stream and the blob end there too, and the tar has the expected digest.
    pub fn finish(mut self) -> Result<Summary, Error> {
        while self.next_member()?.is_some() {}
        let entries = self.entries;
        let (found, uncompressed_size) = self.stream.finish()?;
        if let Some(expected) = self.diff_id.filter(|expected| *expected != found) {
            return Err(Error::Digest { expected, found: format!("{found} in layer {}", self.digest) });
        }
        Ok(Summary { diff_id: found, uncompressed_size, entries })
    }

    fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::Damaged { digest: self.digest, reason: reason.into() }
    }

    fn set_body(&mut self, size: u64) {
        self.body = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.stream.skip(self.body + self.padding)?;
        (self.body, self.padding) = (0, 0);
        Ok(())
    }

    fn extension(&mut self, block: &Block) -> Result<Vec<u8>, Error> {
        let size = block.size().map_err(|reason| self.damaged(reason))?;
        if size > EXTENSION_LIMIT {
            return Err(Error::Limit {
                digest: self.digest,
                what: "bytes in an extension header",
                limit: EXTENSION_LIMIT,
            });
        }
        self.set_body(size);
        let body = self.read_body(EXTENSION_LIMIT)?;
        self.skip()?;
        Ok(body)
    }

    /// The next header, or `None` behind the end marker and its zeros.
    fn block(&mut self) -> Result<Option<Block>, Error> {
        let mut raw = [0; BLOCK as usize];
        self.stream.read_exact(&mut raw)?;
        if raw.iter().any(|byte| *byte != 0) {
            return Block::parse(raw).map(Some).map_err(|reason| self.damaged(reason));
        }
        self.stream.read_exact(&mut raw)?;
        if raw.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("there is an entry behind a block of zeros"));
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                self.ended = true;
                return Ok(None);
            }
            if buffer.iter().take(count).any(|byte| *byte != 0) {
                return Err(self.damaged("there is data behind the end of the tar"));
            }
        }
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
