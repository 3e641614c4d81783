//! The encoders: the pieces of a tar stream in, compressed bytes out, the same bytes on every machine.
//!
//! gzip: one member (several are legal, but Python's `tarfile` in `r|gz`, SOCI and others stop at the first). Its
//! deflate stream is a sequence of segments that depend on nothing but themselves, so they are made in parallel:
//! - a *literal run* is compressed alone with a fresh window, by the pinned encoder or, where it is but a header, by
//!   [`super::short`]; a run ends after [`RUN`] bytes, or where a spliced member begins;
//! - a *spliced member* is the deflate stream of a wheel's member, copied; it is inflated once, because the diffID
//!   needs its bytes and because its size and CRC-32 must hold.
//!
//! Segments are joined as [`super::splice`] does it, and the CRC of the whole is combined from theirs. What is a
//! segment depends on the tree alone: never on threads, buffers or the cut of writes. [`super::batch`] has what one
//! thread makes in one go, [`super::pipeline`] who makes it and when.
//!
//! zstd and plain layers take every member unpacked; zstd is one frame by one thread.

use std::io::{self, Write};
use std::sync::Arc;

use super::batch::{self, Batch, Owned};
use super::pipeline::Pipeline;
use super::tar::{self, Unpack};
use super::{Entry, Packed, Packing, TreePath};
use crate::oci::Hasher;

/// The most uncompressed bytes of one literal run.
pub const RUN: usize = 1 << 20;
/// Members whose deflate stream is shorter go into literal runs: a joint costs about a hundred bytes, because the
/// tar header before it must be a run of its own.
pub const SPLICE_THRESHOLD: u64 = 4 << 10;
/// Whether a member's stream is copied into a gzip layer.
pub fn spliced(packed: &Packed) -> bool {
    packed.packing == Packing::Deflated && packed.length >= SPLICE_THRESHOLD
}

/// Such a member that is longer than this when it is unpacked is unpacked at once, piece by piece.
const SMALL: u64 = 64 << 10;
/// zstd level 3, its default.
const ZSTD_LEVEL: i32 = 3;

/// Method deflate, no flags, no time, no extra flags, unknown operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block with the fixed code.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Takes the pieces of a tar stream in their order. An error may be about a piece that came earlier; one that is
/// about content [carries](super::Error::carried) what is to be said of it.
pub trait Encoder {
    /// Headers, padding, content that is in memory or in a file.
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The content of the entry at `path`, packed.
    fn packed(&mut self, packed: &Packed, path: &TreePath, entry: &Entry) -> io::Result<()>;
}

/// An encoder that only knows bytes: members are unpacked into it.
pub struct Plain<W: Write> {
    /// Where the bytes go.
    pub out: W,
    /// The tar's digest and length.
    pub tar: Hasher,
}

impl<W: Write> Encoder for Plain<W> {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tar.update(bytes);
        self.out.write_all(bytes)
    }
    fn packed(&mut self, packed: &Packed, path: &TreePath, entry: &Entry) -> io::Result<()> {
        unpacked(packed, path, entry, &mut tar::Literal(self))
    }
}

/// Copies the unpacked bytes of an entry's content.
pub(super) fn unpacked(packed: &Packed, path: &TreePath, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    tar::unpack(packed, out).map_err(|failure| match failure {
        Unpack::Damaged(reason) => batch::refused(path, &entry.input, reason),
        Unpack::Stream(error) => error,
    })
}

/// A zstd stream: one frame, one thread, no checksum (the blob's digest is one).
pub fn zstd<'a, W: Write>(out: W) -> io::Result<zstd::stream::write::Encoder<'a, W>> {
    zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)
}

/// The gzip encoder of one member.
pub struct Gzip<W: Write + Send + 'static> {
    pipeline: Arc<Pipeline<W>>,
    /// What comes next; it is given to the pipeline when it is enough.
    batch: Batch,
}

impl<W: Write + Send + 'static> Gzip<W> {
    /// Begins the gzip member.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&GZIP_HEADER)?;
        Ok(Gzip { pipeline: Pipeline::new(out), batch: Batch::default() })
    }

    fn push(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.pipeline.push(batch) }
    }

    /// Ends the gzip member; returns the writer below, and the tar's digest and length.
    pub fn finish(mut self) -> io::Result<(W, Hasher)> {
        self.push()?;
        let (mut out, crc, tar) = self.pipeline.finish()?;
        let mut end = LAST_BLOCK.to_vec();
        end.extend_from_slice(&crc.finalize().to_le_bytes());
        // RFC 1952: the length modulo 2^32.
        end.extend_from_slice(&(tar.length() as u32).to_le_bytes());
        out.write_all(&end)?;
        Ok((out, tar))
    }
}

impl<W: Write + Send + 'static> Drop for Gzip<W> {
    fn drop(&mut self) {
        self.pipeline.cancel();
    }
}

impl<W: Write + Send + 'static> Encoder for Gzip<W> {
    fn literal(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.batch.is_enough_for_run() {
                self.push()?;
            }
            let count = self.batch.literal(bytes);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn packed(&mut self, packed: &Packed, path: &TreePath, entry: &Entry) -> io::Result<()> {
        let short = !spliced(packed);
        if packed.packing == Packing::Stored || (short && packed.size > SMALL) {
            return unpacked(packed, path, entry, &mut tar::Literal(self));
        }
        let member = Owned::new(packed, path, entry);
        if short {
            if self.batch.is_enough_for_run() {
                self.push()?;
            }
            self.batch.small(member);
            return Ok(());
        }
        if self.batch.is_enough() {
            self.push()?;
        }
        self.batch.splice(member);
        Ok(())
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
