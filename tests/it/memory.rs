//! Peak memory: bounded by a promise, whatever the input.

use std::path::Path;

use flate2::{Compress, Compression, FlushCompress};
use ingot::oci::Hasher;

use crate::support::*;

/// What a member of the wheel unpacks to: more than the build may use.
const SIZE: usize = 600 << 20;
/// It is made of this many bytes, again and again.
const PART: usize = 1 << 20;
/// How long a wheel is that was packed and did not get smaller, in blocks of 64 KiB: more than the build may use.
const LARGE: usize = 340 << 4;
/// Or it is in so many files.
const PARTS: usize = 340;
/// On so many threads: on more, more may be used, and the member would not show.
const THREADS: u64 = 2;
/// The promise, in KiB: 200 MB, and 64 MB for each core.
const PROMISE: u64 = (200 + 64 * THREADS) << 10;

#[test]
fn a_member_of_any_size_is_cast_in_bounded_memory() {
    let project = with_wheel(&Wheel::new("huge", "1.0").packed("huge/weights.bin", huge()));
    for compression in ["gzip", "zstd"] {
        let ingot = ingot_for(&project);
        cast_within_the_promise(&ingot, &project, &["--compression", compression]);
    }
}

#[test]
fn a_wheel_of_any_packed_size_is_cast_in_bounded_memory() {
    // As one file, from a folder, where it is hashed and copied.
    let large = large();
    let project = with_wheel(&Wheel::new("large", "1.0").packed("large/noise.bin", large.repeated(LARGE)));
    cast_within_the_promise(&ingot_for(&project), &project, &[]);
    drop(project);
    // As many, from an index, from where they are streamed.
    let part = large.repeated(LARGE / PARTS);
    let wheel = Wheel::new("many", "1.0");
    let wheel = (0..PARTS).fold(wheel, |wheel, n| wheel.packed(&format!("many/noise{n}.bin"), part.clone()));
    let project = with_wheel(&wheel);
    let index = Server::start(index_of(&project.folder().join("wheels")));
    cast_within_the_promise(&Ingot::new().env("PIP_INDEX_URL", index.index()), &project, &[]);
}

/// The service with one more wheel.
fn with_wheel(wheel: &Wheel) -> Project {
    let project = service();
    let (path, line) = wheel.write(&project.folder().join("wheels"));
    TestUser::get().own(&path);
    let lock = std::fs::read_to_string(project.folder().join("requirements.lock")).unwrap() + &line;
    project.file("requirements.lock", lock)
}

/// Builds into a layout of its own, and looks at the most memory that there was.
fn cast_within_the_promise(ingot: &Ingot, project: &Project, more: &[&str]) {
    let peak = ingot.path("peak");
    let (time, output) = (tool("time", "time"), format!("oci:{}", ingot.path("image").display()));
    let folder = project.folder().display().to_string();
    let mut command = ingot.command([&["build", &folder, "-o", &output], more].concat());
    command.env("RAYON_NUM_THREADS", THREADS.to_string());
    let mut timed = std::process::Command::new(&time);
    timed.args(["--format=%M", "--output"]).arg(&peak).arg(command.get_program()).args(command.get_args());
    timed.current_dir(command.get_current_dir().unwrap()).env_clear();
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(timed).ok();
    let found = peak_of(&peak);
    assert!(found < PROMISE, "{more:?}: {} MiB at the peak, promised are {} MiB", found >> 10, PROMISE >> 10);
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

/// Noise that can be had in any length as a deflate stream of that length: in blocks that are stored.
struct Noise {
    block: Vec<u8>,
}

fn large() -> Noise {
    let mut state = 1u64;
    let mut byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    Noise { block: (0..65_535).map(&mut byte).collect() }
}

impl Noise {
    fn repeated(&self, count: usize) -> PackedFile {
        let (mut stream, mut crc, mut hasher) = (Vec::new(), crc32fast::Hasher::new(), Hasher::new());
        let mut of_block = crc32fast::Hasher::new();
        of_block.update(&self.block);
        for number in 1..=count {
            // Whether it is the last, its length, and that again with all bits turned.
            stream.extend_from_slice(&[u8::from(number == count), 0xff, 0xff, 0, 0]);
            stream.extend_from_slice(&self.block);
            crc.combine(&of_block);
            hasher.update(&self.block);
        }
        let size = (count * self.block.len()) as u64;
        PackedFile { stream, crc32: crc.finalize(), size, digest: hasher.finish() }
    }
}
