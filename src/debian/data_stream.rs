//! The decompressed bytes of a tar in a .deb: limited, and compared with the real end of its member.
//!
//! Every decoder works on input that ends, and makes progress or fails, so that no input can keep it busy forever
//! (CVE-2026-2219 was that, for zstd).

use std::io::{self, BufRead, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use super::DebError;
use super::ar::{Packed, Part};
use crate::fs::Mapped;
use crate::layer::read::TarSource;

/// How many times larger than its member a tar may be, once it is larger than [`RATIO_FLOOR`].
pub const RATIO_LIMIT: u64 = crate::layer::read::RATIO_LIMIT;
/// Tars up to this many bytes may have any ratio.
pub const RATIO_FLOOR: u64 = crate::layer::read::RATIO_FLOOR;
/// The most memory for unpacking xz: `xz -9` has a dictionary of 64 MiB and a little beside it.
pub const XZ_MEMORY_LIMIT: u64 = 80 << 20;
/// The largest window of zstd, as a power of two: `zstd --ultra -22` has 128 MiB.
pub const ZSTD_WINDOW_LIMIT: u32 = 27;

/// How much of a member is looked at at once.
const WINDOW: usize = 1 << 20;

/// A part of a mapped file that is read from its start to its end, and does not stay in memory.
struct Slice<'a> {
    file: &'a Mapped,
    rest: Range<usize>,
    /// What was read from here on is still in memory.
    held: usize,
}

impl BufRead for Slice<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let end = self.rest.end.min(self.rest.start.saturating_add(WINDOW));
        Ok(self.file.get(self.rest.start..end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.rest.start = self.rest.start.saturating_add(count).min(self.rest.end);
        if self.rest.start - self.held >= WINDOW || self.rest.is_empty() {
            self.file.release(self.held..self.rest.start);
            self.held = self.rest.start;
        }
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Decodes one member of a .deb.
pub(super) struct DataStream<'a> {
    decoder: Box<dyn Read + 'a>,
    package: &'a str,
    member: &'a str,
    count: u64,
    limit: u64,
    ended: bool,
}

impl<'a> DataStream<'a> {
    /// At most `limit` bytes of a member, and not more than [`RATIO_LIMIT`] allows beyond `floor`.
    pub fn open(
        file: &'a Mapped,
        part: &'a Part,
        package: &'a str,
        floor: u64,
        limit: u64,
    ) -> Result<DataStream<'a>, DebError> {
        let slice = Slice { file, rest: part.range.clone(), held: part.range.start };
        let size = part.range.len() as u64;
        let member = part.name.as_str();
        let decoder = decoder(slice, part.packed);
        let decoder = decoder.map_err(|source| failed(package, member, source))?;
        let limit = limit.min(size.saturating_mul(RATIO_LIMIT).max(floor));
        Ok(DataStream { decoder, package, member, count: 0, limit, ended: false })
    }
}

fn decoder<'a>(slice: Slice<'a>, packed: Packed) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match packed {
        Packed::None => Box::new(slice),
        // Each of these goes on to the end of the member, over any number of streams, and refuses what is none.
        Packed::Gzip => Box::new(MultiGzDecoder::new(slice)),
        Packed::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_LIMIT, liblzma::stream::CONCATENATED)?;
            Box::new(XzDecoder::new_stream(slice, stream))
        }
        Packed::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(slice)?;
            decoder.window_log_max(ZSTD_WINDOW_LIMIT)?;
            Box::new(decoder)
        }
    })
}

fn failed(package: &str, member: &str, source: io::Error) -> DebError {
    DebError::Compression { package: package.into(), member: member.into(), source }
}

impl TarSource for DataStream<'_> {
    type Error = DebError;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, DebError> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = loop {
            match self.decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|source| failed(self.package, self.member, source))?,
            }
        };
        self.ended = count == 0;
        self.count += count as u64;
        if self.count > self.limit {
            return Err(self.limit("uncompressed bytes", self.limit));
        }
        Ok(count)
    }

    fn damaged(&self, reason: String) -> DebError {
        DebError::damaged(self.package, format!("`{}`: {reason}", self.member))
    }

    fn limit(&self, what: &'static str, limit: u64) -> DebError {
        DebError::Limit { package: self.package.into(), what: format!("{what} in `{}`", self.member), limit }
    }
}
