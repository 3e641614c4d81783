//! The encoders: the pieces of a tar stream in, compressed bytes out, the same bytes on every machine.
//!
//! gzip: one member (several are legal, but Python's `tarfile` in `r|gz`, SOCI and others stop at the first). Its
//! deflate stream is a sequence of segments that depend on nothing but themselves, so they are made in parallel:
//! - a *literal run* is compressed alone with a fresh window by the pinned encoder; a run ends after [`RUN`] bytes, or
//!   where a spliced member begins;
//! - a *spliced member* is the deflate stream of a wheel's member, copied; it is inflated once, because the diffID
//!   needs its bytes and because its size and CRC-32 must hold.
//!
//! Segments are joined as [`super::splice`] does it, and the CRC of the whole is combined from theirs. What is a
//! segment depends on the tree alone: never on threads, buffers or the cut of writes.
//!
//! zstd and plain layers take every member unpacked; zstd is one frame by one thread.

use std::cell::RefCell;
use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;

use super::inflate::{Inflater, Page};
use super::splice::{self, Joint};
use super::tar::{self, Unpack};
use super::{Packed, Packing};
use crate::oci::Hasher;

/// The most uncompressed bytes of one literal run.
pub const RUN: usize = 1 << 20;
/// Members whose deflate stream is shorter go into literal runs: a joint costs about a hundred bytes, because the
/// tar header before it must be a run of its own.
pub const SPLICE_THRESHOLD: u64 = 4 << 10;
/// Segments are made in batches of about this many uncompressed bytes.
const BATCH: u64 = 16 << 20;
/// A member that is larger than this is hashed while it is inflated, instead of being kept in memory.
const LARGE: u64 = 8 << 20;
/// libdeflate's level 6, as gzip's default.
const GZIP_LEVEL: i32 = 6;
/// zstd level 3, its default.
const ZSTD_LEVEL: i32 = 3;

/// Method deflate, no flags, no time, no extra flags, unknown operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block with the fixed code.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Takes the pieces of a tar stream in their order.
pub trait Encoder {
    /// Headers, padding, content that is in memory or in a file.
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The content of a member, packed.
    fn packed(&mut self, packed: &Packed) -> Result<(), Unpack>;
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
    fn packed(&mut self, packed: &Packed) -> Result<(), Unpack> {
        tar::unpack(packed, &mut io::BufWriter::with_capacity(64 << 10, Tee(self)))
    }
}

struct Tee<'a, W: Write>(&'a mut Plain<W>);

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.literal(bytes).map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A zstd stream: one frame, one thread, no checksum (the blob's digest is one).
pub fn zstd<'a, W: Write>(out: W) -> io::Result<zstd::stream::write::Encoder<'a, W>> {
    zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)
}

enum Segment {
    Literal(Vec<u8>),
    Spliced(Packed),
}

pub(super) struct Made {
    /// Packed bytes of a run; a spliced member's stand in its archive.
    pub(super) bytes: Vec<u8>,
    pub(super) joint: Joint,
    crc: crc32fast::Hasher,
    /// The member's unpacked bytes, for the diffID; empty for a run, which is at hand.
    plain: Vec<u8>,
}

/// The gzip encoder of one member.
pub struct Gzip<W: Write> {
    out: W,
    tar: Hasher,
    pending: Vec<Segment>,
    pending_size: u64,
    crc: crc32fast::Hasher,
}

thread_local! {
    static INFLATER: RefCell<(Inflater, Page)> = RefCell::default();
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8]) -> Result<Made, Unpack> {
    let defect = |text: &str| Unpack::Stream(io::Error::other(format!("the encoder failed: {text}")));
    let mut bytes = Vec::new();
    COMPRESSOR.with_borrow_mut(|slot| {
        let level = CompressionLvl::new(GZIP_LEVEL).map_err(|_| defect("level"))?;
        let compressor = slot.get_or_insert_with(|| Compressor::new(level));
        bytes.resize(compressor.deflate_compress_bound(plain.len()), 0);
        let size = compressor.deflate_compress(plain, &mut bytes).map_err(|error| defect(&error.to_string()))?;
        bytes.truncate(size);
        Ok(())
    })?;
    // Our own stream is decoded like any other: that finds its last block, and proves it.
    let decoded = INFLATER
        .with_borrow_mut(|(inflater, page)| {
            page.clear();
            splice::decode(inflater, &bytes, plain.len() as u64, page, &mut |_: &[u8]| {})
        })
        .map_err(|error| defect(&error.to_string()))?;
    if decoded.size != plain.len() as u64 {
        return Err(defect("length"));
    }
    Ok(Made { bytes, joint: decoded.joint, crc: decoded.crc, plain: Vec::new() })
}

/// Inflates a member for joining; its size and CRC-32 must be the promised ones.
fn member(packed: &Packed, mut sink: impl FnMut(&[u8])) -> Result<(Joint, crc32fast::Hasher), Unpack> {
    let bytes = tar::packed_bytes(packed)?;
    let decoded = INFLATER
        .with_borrow_mut(|(inflater, page)| {
            page.clear();
            splice::decode(inflater, bytes, packed.size, page, &mut sink)
        })
        .map_err(|error| Unpack::Damaged(error.to_string()))?;
    tar::check_member(packed, decoded.size, decoded.crc.clone().finalize())?;
    Ok((decoded.joint, decoded.crc))
}

impl<W: Write> Gzip<W> {
    /// Begins the gzip member.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&GZIP_HEADER)?;
        Ok(Gzip { out, tar: Hasher::new(), pending: Vec::new(), pending_size: 0, crc: crc32fast::Hasher::new() })
    }

    /// Makes the pending segments in parallel and writes them in order.
    fn flush_segments(&mut self) -> Result<(), Unpack> {
        let segments = std::mem::take(&mut self.pending);
        self.pending_size = 0;
        let make = |segment: &Segment| match segment {
            Segment::Literal(plain) => compress(plain),
            Segment::Spliced(packed) => {
                let mut plain = Vec::with_capacity(usize::try_from(packed.size.min(LARGE)).unwrap_or_default());
                let (joint, crc) = member(packed, |bytes: &[u8]| plain.extend_from_slice(bytes))?;
                Ok(Made { bytes: Vec::new(), joint, crc, plain })
            }
        };
        let made: Vec<Made> = segments.par_iter().map(make).collect::<Result<_, _>>()?;
        let (out, tar, crc) = (&mut self.out, &mut self.tar, &mut self.crc);
        let mut write = || -> Result<(), Unpack> {
            for (segment, made) in segments.iter().zip(&made) {
                let bytes = match segment {
                    Segment::Literal(_) => &made.bytes[..],
                    Segment::Spliced(packed) => tar::packed_bytes(packed)?,
                };
                for piece in made.joint.pieces(bytes) {
                    out.write_all(piece).map_err(Unpack::Stream)?;
                }
                crc.combine(&made.crc);
            }
            Ok(())
        };
        let hash = || {
            for (segment, made) in segments.iter().zip(&made) {
                tar.update(if let Segment::Literal(plain) = segment { plain } else { &made.plain });
            }
        };
        std::thread::scope(|scope| {
            let hashed = scope.spawn(hash);
            let written = write();
            let _ = hashed.join();
            written
        })
    }

    fn large(&mut self, packed: &Packed) -> Result<(), Unpack> {
        self.flush_segments()?;
        let tar = &mut self.tar;
        let (joint, crc) = member(packed, |bytes: &[u8]| tar.update(bytes))?;
        for piece in joint.pieces(tar::packed_bytes(packed)?) {
            self.out.write_all(piece).map_err(Unpack::Stream)?;
        }
        self.crc.combine(&crc);
        Ok(())
    }

    /// Ends the gzip member; returns the writer below, and the tar's digest and length.
    pub fn finish(mut self) -> io::Result<(W, Hasher)> {
        self.flush_segments().map_err(Unpack::into_io)?;
        self.out.write_all(&LAST_BLOCK)?;
        self.out.write_all(&self.crc.finalize().to_le_bytes())?;
        // RFC 1952: the length modulo 2^32.
        self.out.write_all(&(self.tar.length() as u32).to_le_bytes())?;
        Ok((self.out, self.tar))
    }
}

impl<W: Write> Encoder for Gzip<W> {
    fn literal(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = match self.pending.last() {
                Some(Segment::Literal(run)) => RUN - run.len(),
                _ => 0,
            };
            if room == 0 {
                if self.pending_size >= BATCH {
                    self.flush_segments().map_err(Unpack::into_io)?;
                }
                self.pending.push(Segment::Literal(Vec::new()));
                continue;
            }
            let count = room.min(bytes.len());
            if let Some(Segment::Literal(run)) = self.pending.last_mut() {
                run.extend_from_slice(&bytes[..count]);
            }
            self.pending_size += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn packed(&mut self, packed: &Packed) -> Result<(), Unpack> {
        if packed.packing == Packing::Stored {
            return tar::unpack(packed, &mut tar::Literal(self));
        }
        if packed.length < SPLICE_THRESHOLD {
            let mut plain = Vec::new();
            tar::unpack(packed, &mut plain)?;
            return self.literal(&plain).map_err(Unpack::Stream);
        }
        if packed.size > LARGE {
            return self.large(packed);
        }
        self.pending.push(Segment::Spliced(packed.clone()));
        self.pending_size += packed.size;
        if self.pending_size >= BATCH { self.flush_segments() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;
    use crate::fs::Mapped;
    use crate::oci::Digest;

    pub(super) fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..length)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n % 64 < 40 { b"the quick brown fox "[n % 20] } else { (state >> 24) as u8 }
            })
            .collect()
    }

    fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    fn gzip(plain: &[u8], cut: usize, threads: usize) -> Vec<u8> {
        in_pool(threads, || {
            let mut encoder = Gzip::new(Vec::new()).unwrap();
            plain.chunks(cut.max(1)).for_each(|chunk| encoder.literal(chunk).unwrap());
            let (bytes, tar) = encoder.finish().unwrap();
            assert_eq!(tar.finish(), Digest::of(plain));
            bytes
        })
    }

    #[test]
    fn bytes_do_not_depend_on_threads_or_cuts() {
        let plain = sample(20 * RUN + 12345);
        let first = gzip(&plain, plain.len(), 1);
        assert!(first == gzip(&plain, 777, 16));
        assert!(first == gzip(&plain, RUN, 3));
    }

    #[test]
    fn the_encoder_is_the_pinned_one() {
        // These digests change only with the encoder or its settings: then LAYER_FORMAT must change too.
        let digest = |length| Digest::of(&gzip(&sample(length), 4096, 2)).short();
        assert_eq!(
            [digest(0), digest(1), digest(RUN), digest(RUN + 1)],
            ["ac73670af3ab", "3117c7efddf7", "b555e40243c8", "2a5106a10253"]
        );
    }

    #[test]
    fn every_length_around_a_run_inflates() {
        for length in [0, 1, 511, RUN - 1, RUN, RUN + 1, 4 * RUN, 4 * RUN + 1] {
            let plain = sample(length);
            let mut inflated = Vec::new();
            // A decoder that stops after the first member sees everything.
            flate2::read::GzDecoder::new(&gzip(&plain, 1 << 16, 2)[..]).read_to_end(&mut inflated).unwrap();
            assert!(inflated == plain, "{length}");
        }
    }

    /// A file that holds deflate streams of these contents, and the members in it.
    fn archive(contents: &[Vec<u8>]) -> (tempfile::NamedTempFile, Vec<Packed>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (mut offset, mut members) = (0, Vec::new());
        for (n, content) in contents.iter().enumerate() {
            let level = flate2::Compression::new([6, 9, 1, 0][n % 4]);
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(content).unwrap();
            let stream = encoder.finish().unwrap();
            file.write_all(&stream).unwrap();
            members.push((offset, stream.len() as u64, crc32fast::hash(content), content.len() as u64));
            offset += stream.len() as u64;
        }
        let archive = Arc::new(Mapped::open(file.path()).unwrap());
        let packed = |(offset, length, crc32, size)| Packed {
            archive: archive.clone(),
            offset,
            length,
            packing: Packing::Deflated,
            crc32,
            size,
        };
        let members = members.into_iter().map(packed).collect();
        (file, members)
    }

    fn spliced(members: &[Packed], threads: usize) -> (Vec<u8>, Digest) {
        in_pool(threads, || {
            let mut encoder = Gzip::new(Vec::new()).unwrap();
            for (n, packed) in members.iter().enumerate() {
                encoder.literal(format!("header {n}").as_bytes()).unwrap();
                encoder.packed(packed).unwrap_or_else(|_| panic!("member {n}"));
            }
            let (bytes, tar) = encoder.finish().unwrap();
            (bytes, tar.finish())
        })
    }

    #[test]
    fn spliced_members_are_the_plain_stream() {
        let sizes = [0usize, 1, 100, 9_000, 60_000, 300_000, 3_000_000, 9_000_000, 12_345];
        let contents: Vec<Vec<u8>> = sizes.iter().map(|size| sample(*size)).collect();
        let (_file, members) = archive(&contents);
        let (bytes, tar) = spliced(&members, 1);
        assert!(spliced(&members, 16) == (bytes.clone(), tar));

        let mut plain = Plain { out: Vec::new(), tar: Hasher::new() };
        for (n, packed) in members.iter().enumerate() {
            plain.literal(format!("header {n}").as_bytes()).unwrap();
            plain.packed(packed).unwrap_or_else(|_| panic!("member {n}"));
        }
        assert_eq!(plain.tar.finish(), tar);
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated == plain.out);
        let output = crate::process::run(
            {
                let mut gzip = std::process::Command::new("gzip");
                gzip.arg("-t");
                gzip
            },
            &bytes,
            crate::process::DEFAULT_TIMEOUT,
        )
        .unwrap();
        assert!(output.status.success(), "{}", output.stderr_text());
    }

    #[test]
    fn a_member_that_lies_is_refused() {
        let (_file, members) = archive(&[sample(50_000), sample(9_000_000)]);
        for honest in &members {
            for lie in [
                Packed { crc32: honest.crc32 ^ 1, ..honest.clone() },
                Packed { size: honest.size - 1, ..honest.clone() },
                Packed { size: honest.size + 1, ..honest.clone() },
                Packed { length: honest.length - 1, ..honest.clone() },
                Packed { offset: 1 << 40, ..honest.clone() },
            ] {
                let mut encoder = Gzip::new(Vec::new()).unwrap();
                let failed = encoder.packed(&lie).and_then(|()| encoder.finish().map(drop).map_err(Unpack::Stream));
                assert!(failed.is_err());
            }
        }
    }
}
