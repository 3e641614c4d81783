//! The limit: what any tool has to do at least that makes a layer of wheels and says its diffID and its digest.
//!
//! `cargo bench --bench limit -- WHEEL...` maps each wheel, inflates every member with libdeflate (the fastest inflate
//! there is), and hashes two streams: the inflated members in zip order, and the wheel's own bytes, which stand for the
//! layer's. One wheel is one task, the largest first, on all cores. It verifies nothing, writes nothing and makes no
//! tar header. Prints the milliseconds of this one run; what it did goes to stderr.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program of its own"
)]

use std::path::PathBuf;
use std::time::Instant;

use ingot::fs::Mapped;
use ingot::oci::{Digest, Hasher};
use rayon::prelude::*;

/// What one wheel came to.
struct Done {
    packed: u64,
    plain: u64,
    digests: [Digest; 2],
}

fn wheel(bytes: &[u8]) -> Done {
    let mut decompressor = libdeflater::Decompressor::new();
    let mut hasher = Hasher::new();
    let mut buffer = Vec::new();
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    for entry in archive.entries() {
        let entry = entry.unwrap();
        let found = archive.get_entry(entry.wayfinder()).unwrap();
        if entry.compression_method() == rawzip::CompressionMethod::STORE {
            hasher.update(found.data());
            continue;
        }
        let size = usize::try_from(entry.uncompressed_size_hint()).unwrap();
        buffer.resize(buffer.len().max(size), 0);
        let count = decompressor.deflate_decompress(found.data(), &mut buffer[..size]).unwrap();
        hasher.update(&buffer[..count]);
    }
    Done { packed: bytes.len() as u64, plain: hasher.length(), digests: [hasher.finish(), Digest::of(bytes)] }
}

fn main() {
    // Cargo's own arguments are not ours.
    let mut paths: Vec<PathBuf> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).map(PathBuf::from).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
    let begin = Instant::now();
    let done: Vec<Done> = paths.par_iter().with_max_len(1).map(|path| wheel(&Mapped::open(path).unwrap())).collect();
    let elapsed = begin.elapsed();
    let (packed, plain): (u64, u64) = done.iter().fold((0, 0), |sum, one| (sum.0 + one.packed, sum.1 + one.plain));
    std::hint::black_box(done.iter().map(|one| one.digests).collect::<Vec<_>>());
    eprintln!(
        "{} wheels, {:.1} MB, {:.1} MB unpacked, {} threads",
        done.len(),
        packed as f64 / 1e6,
        plain as f64 / 1e6,
        rayon::current_num_threads()
    );
    println!("{:.1}", elapsed.as_secs_f64() * 1e3);
}
