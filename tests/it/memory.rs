//! Peak memory: bounded by a promise, whatever the input.

use std::path::Path;

use flate2::{Compress, Compression, FlushCompress};
use ingot::oci::Hasher;

use crate::support::*;

/// What a member of the wheel unpacks to: more than the build may use.
const SIZE: usize = 600 << 20;
/// It is made of this many bytes, again and again.
const PART: usize = 1 << 20;
/// On so many threads: on more, more may be used, and the member would not show.
const THREADS: u64 = 2;
/// The promise, in KiB: 200 MB, and 64 MB for each core.
const PROMISE: u64 = (200 + 64 * THREADS) << 10;

#[test]
fn a_member_of_any_size_is_cast_in_bounded_memory() {
    let project = service();
    let wheel = Wheel::new("huge", "1.0").packed("huge/weights.bin", huge());
    let (path, line) = wheel.write(&project.folder().join("wheels"));
    TestUser::get().own(&path);
    let lock = std::fs::read_to_string(project.folder().join("requirements.lock")).unwrap() + &line;
    let project = project.file("requirements.lock", lock);
    for compression in ["gzip", "zstd"] {
        let ingot = ingot_for(&project).env("RAYON_NUM_THREADS", THREADS.to_string());
        let peak = ingot.path("peak");
        let time = tool("time", "time");
        let ingot = ingot.through(&[time.to_str().unwrap(), "--format=%M", "--output", peak.to_str().unwrap()]);
        let output = format!("oci:{}", ingot.path("image").display());
        let folder = project.folder().display().to_string();
        ingot.run(["build", &folder, "--compression", compression, "-o", &output]).ok();
        let found = peak_of(&peak);
        assert!(found < PROMISE, "{compression}: {} MiB at the peak, promised are {} MiB", found >> 10, PROMISE >> 10);
    }
}

/// What GNU time wrote.
fn peak_of(file: &Path) -> u64 {
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// A deflate stream that is much smaller than what it means, and still too large to be kept.
fn huge() -> PackedFile {
    // A sixth is noise: the packed bytes count too.
    let mut state = 1u32;
    let part: Vec<u8> = (0..PART)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if n < PART / 6 { (state >> 24) as u8 } else { b"weights "[n % 8] }
        })
        .collect();
    // A part refers to nothing before it and ends at a byte, so it can be repeated.
    let mut packed = Vec::with_capacity(PART);
    Compress::new(Compression::new(6), false).compress_vec(&part, &mut packed, FlushCompress::Full).unwrap();
    let (mut stream, mut crc, mut hasher) = (Vec::new(), crc32fast::Hasher::new(), Hasher::new());
    let mut of_part = crc32fast::Hasher::new();
    of_part.update(&part);
    for _ in 0..SIZE / PART {
        stream.extend_from_slice(&packed);
        crc.combine(&of_part);
        hasher.update(&part);
    }
    stream.extend_from_slice(&[3, 0]);
    PackedFile { stream, crc32: crc.finalize(), size: SIZE as u64, digest: hasher.finish() }
}
