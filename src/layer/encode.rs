//! The encoders: a tar stream in, compressed bytes out, the same bytes on every machine.
//!
//! gzip: one member (several are legal, but Python's `tarfile` in `r|gz`, SOCI and others stop at the first). Its
//! deflate stream is made of runs of exactly [`RUN`] bytes; each is compressed alone with a fresh window and ends
//! on a byte boundary (sync flush), so runs are made in parallel and the bytes do not depend on how many threads
//! there are, nor on how the stream was cut into writes. The encoder is `zlib-rs`, pinned in `Cargo.toml`, at a level
//! at which its output does not depend on buffer sizes.
//!
//! zstd: one frame, one thread.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress};
use rayon::prelude::*;

/// Uncompressed bytes of one run.
pub const RUN: usize = 1 << 20;
/// zlib-rs level 4: within 3 % of level 6 in size, half its time, and invariant to how input is cut.
const GZIP_LEVEL: u32 = 4;
/// zstd level 3, its default.
const ZSTD_LEVEL: i32 = 3;

/// Method deflate, no flags, no time, no extra flags, unknown operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block with the fixed code.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// A gzip writer of one member, made of independent runs.
pub struct GzipRuns<W: Write> {
    out: W,
    pending: Vec<Vec<u8>>,
    batch: usize,
    crc: crc32fast::Hasher,
    length: u64,
}

struct Run {
    bytes: Vec<u8>,
    crc: crc32fast::Hasher,
}

fn compress(plain: &[u8]) -> io::Result<Run> {
    let mut encoder = Compress::new(Compression::new(GZIP_LEVEL), false);
    let mut bytes = Vec::with_capacity(plain.len() + plain.len() / 8 + 1024);
    let mut rest = plain;
    loop {
        let before = encoder.total_in();
        let full = bytes.capacity();
        encoder.compress_vec(rest, &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
        rest = &rest[(encoder.total_in() - before) as usize..];
        // The flush is complete once there is room left over.
        if rest.is_empty() && bytes.len() < full {
            break;
        }
        bytes.reserve(64 << 10);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(plain);
    Ok(Run { bytes, crc })
}

impl<W: Write> GzipRuns<W> {
    /// Begins the member.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&GZIP_HEADER)?;
        let batch = 2 * rayon::current_num_threads();
        Ok(GzipRuns { out, pending: vec![Vec::with_capacity(RUN)], batch, crc: crc32fast::Hasher::new(), length: 0 })
    }

    fn flush_runs(&mut self) -> io::Result<()> {
        let runs: Vec<Run> = self.pending.par_iter().map(|plain| compress(plain)).collect::<io::Result<_>>()?;
        for (plain, run) in self.pending.iter().zip(&runs) {
            self.out.write_all(&run.bytes)?;
            self.crc.combine(&run.crc);
            self.length += plain.len() as u64;
        }
        self.pending.truncate(1);
        self.pending[0].clear();
        Ok(())
    }

    /// Ends the member and returns the writer below.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_runs()?;
        self.out.write_all(&LAST_BLOCK)?;
        self.out.write_all(&self.crc.finalize().to_le_bytes())?;
        // RFC 1952: the length modulo 2^32.
        self.out.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for GzipRuns<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.last().is_none_or(|run| run.len() == RUN) {
            if self.pending.len() >= self.batch {
                self.flush_runs()?;
            } else {
                self.pending.push(Vec::with_capacity(RUN));
            }
        }
        let Some(run) = self.pending.last_mut() else { return Ok(0) };
        let count = bytes.len().min(RUN - run.len());
        run.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A zstd writer: one frame, one thread, no checksum (the blob's digest is one).
pub fn zstd<'a, W: Write>(out: W) -> io::Result<zstd::stream::write::Encoder<'a, W>> {
    zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::oci::Digest;

    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..length)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n % 64 < 40 { b"the quick brown fox "[n % 20] } else { (state >> 24) as u8 }
            })
            .collect()
    }

    fn gzip(plain: &[u8], cut: usize, threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut writer = GzipRuns::new(Vec::new()).unwrap();
            plain.chunks(cut.max(1)).for_each(|chunk| writer.write_all(chunk).unwrap());
            writer.finish().unwrap()
        })
    }

    #[test]
    fn bytes_do_not_depend_on_threads_or_cuts() {
        let plain = sample(5 * RUN + 12345);
        let first = gzip(&plain, plain.len(), 1);
        assert_eq!(first, gzip(&plain, 777, 16));
        assert_eq!(first, gzip(&plain, RUN, 3));
        // One member: a decoder that stops after the first sees everything.
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&first[..]).read_to_end(&mut inflated).unwrap();
        assert_eq!(Digest::of(&inflated), Digest::of(&plain));
    }

    #[test]
    fn the_encoder_is_the_pinned_one() {
        // These digests change only with the encoder or its settings: then LAYER_FORMAT must change too.
        let digest = |length| Digest::of(&gzip(&sample(length), 4096, 2)).short();
        assert_eq!(
            [digest(0), digest(1), digest(RUN), digest(RUN + 1)],
            ["18cc39fce6d4", "c82bc82ff2ca", "39babd48583f", "219ab3885215"]
        );
    }

    #[test]
    fn every_length_around_a_run_inflates() {
        for length in [0, 1, 511, RUN - 1, RUN, RUN + 1, 4 * RUN, 4 * RUN + 1] {
            let plain = sample(length);
            let mut inflated = Vec::new();
            flate2::read::GzDecoder::new(&gzip(&plain, 1 << 16, 2)[..]).read_to_end(&mut inflated).unwrap();
            assert!(inflated == plain, "{length}");
        }
    }
}
