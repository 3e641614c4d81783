//! What each stage of a layer costs: `cargo bench --bench stages [-- WHEEL...]`.
//!
//! Every stage runs alone, in one thread unless it says otherwise, on data that is made here (text, tables of numbers,
//! noise; the same bytes every time) or on the members of the wheels that are given. The fastest of several rounds counts:
//! what disturbs a round makes it slower, never faster. Rates are of unpacked bytes.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a program of its own")]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingot::fs::Mapped;
use ingot::layer::encode::{Encoder, Gzip, Plain, SPLICE_THRESHOLD};
use ingot::layer::inflate::{Inflater, Page};
use ingot::layer::{Content, Entry, Fingerprint, LayerTree, Packed, Packing, TreePath, write_tree};
use ingot::oci::{Digest, Hasher};

/// How often each stage is measured, at least and at most, and for how long.
const ROUNDS: (u32, u32) = (5, 50);
const TIME: Duration = Duration::from_secs(2);
/// How much is made where no wheel is given.
const SAMPLE: usize = 24 << 20;

/// Measures a stage and prints its row.
fn stage(name: &str, bytes: usize, count: usize, mut run: impl FnMut()) {
    let (mut best, begin, mut rounds) = (Duration::MAX, Instant::now(), 0);
    while rounds < ROUNDS.0 || (rounds < ROUNDS.1 && begin.elapsed() < TIME) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
        rounds += 1;
    }
    let seconds = best.as_secs_f64();
    let rate = if bytes > 0 { format!("{:8.0} MB/s", bytes as f64 / 1e6 / seconds) } else { " ".repeat(13) };
    let each = if count > 0 { format!("{:8.2} us each", seconds * 1e6 / count as f64) } else { String::new() };
    println!("{name:44} {:9.2} ms {rate} {each}", seconds * 1e3);
}

/// A generator that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Like source code: words of a small vocabulary, repeated phrases, indentation.
fn text(length: usize) -> Vec<u8> {
    let mut dice = Dice(1);
    let words: Vec<String> =
        (0..400).map(|_| (0..2 + dice.throw(9)).map(|_| char::from(b'a' + dice.throw(26) as u8)).collect()).collect();
    let mut out = Vec::with_capacity(length + 100);
    while out.len() < length {
        out.extend(std::iter::repeat_n(b' ', 4 * dice.throw(4) as usize));
        for _ in 0..2 + dice.throw(8) {
            // Some words are much more frequent than others.
            let word = dice.throw(400).min(dice.throw(400));
            out.extend_from_slice(words[word as usize].as_bytes());
            out.push(b" ._(,"[dice.throw(5) as usize]);
        }
        out.push(b'\n');
    }
    out.truncate(length);
    out
}

/// Like machine code and tables: records of a few forms with fields that differ, and stretches of noise.
fn binary(length: usize) -> Vec<u8> {
    let mut dice = Dice(2);
    let forms: Vec<Vec<u8>> =
        (0..64).map(|_| (0..3 + dice.throw(12)).map(|_| dice.throw(256) as u8).collect()).collect();
    let mut out = Vec::with_capacity(length + 100);
    while out.len() < length {
        match dice.throw(12) {
            0 => out.extend((0..dice.throw(60)).map(|_| dice.throw(256) as u8).collect::<Vec<_>>()),
            1 => out.extend(std::iter::repeat_n(0, dice.throw(40) as usize)),
            _ => {
                out.extend_from_slice(&forms[dice.throw(64).min(dice.throw(64)) as usize]);
                out.extend_from_slice(&(dice.throw(4000) as u32).to_le_bytes());
            }
        }
    }
    out.truncate(length);
    out
}

/// Members, packed and unpacked.
struct Members {
    name: String,
    packed: Vec<Packed>,
    plain: Vec<Vec<u8>>,
}

impl Members {
    fn bytes(&self) -> usize {
        self.plain.iter().map(Vec::len).sum()
    }

    fn slices(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.packed.iter().map(|one| {
            let start = usize::try_from(one.offset).unwrap();
            (&one.archive[start..start + usize::try_from(one.length).unwrap()], usize::try_from(one.size).unwrap())
        })
    }

    /// Deflated by zlib-rs at level 6, cut as the files of a wheel are: many small ones, some large ones.
    fn made(name: &str, plain: &[u8]) -> Members {
        let mut dice = Dice(3);
        let (mut file, mut packed, mut parts) = (tempfile::NamedTempFile::new().unwrap(), Vec::new(), Vec::new());
        let (mut rest, mut at) = (plain, 0);
        while !rest.is_empty() {
            let size = [3_000, 12_000, 40_000, 200_000, 2_000_000][dice.throw(5).min(dice.throw(5)) as usize];
            let (part, later) = rest.split_at(rest.len().min(size + dice.throw(size as u64) as usize));
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(part).unwrap();
            let stream = encoder.finish().unwrap();
            file.write_all(&stream).unwrap();
            packed.push((at, stream.len() as u64, crc32fast::hash(part), part.len() as u64));
            at += stream.len() as u64;
            parts.push(part.to_vec());
            rest = later;
        }
        let archive = Arc::new(Mapped::open(file.path()).unwrap());
        let packed = packed
            .into_iter()
            .map(|(offset, length, crc32, size)| Packed {
                archive: archive.clone(),
                offset,
                length,
                packing: Packing::Deflated,
                crc32,
                size,
            })
            .collect();
        Members { name: name.to_owned(), packed, plain: parts }
    }

    fn of_wheel(path: &Path) -> Members {
        let archive = Arc::new(Mapped::open(path).unwrap());
        let zip = rawzip::ZipArchive::from_slice(&archive[..]).unwrap();
        let (mut packed, mut plain) = (Vec::new(), Vec::new());
        for entry in zip.entries() {
            let entry = entry.unwrap();
            if entry.compression_method() != rawzip::CompressionMethod::DEFLATE || entry.uncompressed_size_hint() == 0 {
                continue;
            }
            let data = zip.get_entry(entry.wayfinder()).unwrap().data();
            let mut bytes = Vec::new();
            flate2::read::DeflateDecoder::new(data).read_to_end(&mut bytes).unwrap();
            packed.push(Packed {
                archive: archive.clone(),
                offset: (data.as_ptr() as usize - archive.as_ptr() as usize) as u64,
                length: data.len() as u64,
                packing: Packing::Deflated,
                crc32: crc32fast::hash(&bytes),
                size: bytes.len() as u64,
            });
            plain.push(bytes);
        }
        let name = path.file_name().unwrap().to_string_lossy();
        Members { name: name.split('-').next().unwrap_or_default().to_owned(), packed, plain }
    }
}

fn inflating(members: &Members) {
    let (bytes, count, name) = (members.bytes(), members.packed.len(), &members.name);
    let (mut inflater, mut page) = (Inflater::default(), Page::default());
    stage(&format!("inflate, ours: {name}"), bytes, count, || {
        for (stream, size) in members.slices() {
            if page.room() < size {
                page.clear();
            }
            inflater.inflate(stream, size as u64, &mut page, &mut |bytes: &[u8]| _ = black_box(bytes)).unwrap();
        }
    });
    let mut buffer = vec![0; members.plain.iter().map(Vec::len).max().unwrap_or_default()];
    let mut libdeflate = libdeflater::Decompressor::new();
    stage(&format!("inflate, libdeflate: {name}"), bytes, count, || {
        for (stream, size) in members.slices() {
            libdeflate.deflate_decompress(stream, &mut buffer[..size]).unwrap();
        }
    });
    let mut zlib = flate2::Decompress::new(false);
    stage(&format!("inflate, zlib-rs: {name}"), bytes, count, || {
        for (stream, size) in members.slices() {
            zlib.reset(false);
            zlib.decompress(stream, &mut buffer[..size], flate2::FlushDecompress::Finish).unwrap();
        }
    });
}

fn gzip(give: impl Fn(&mut dyn Encoder) -> io::Result<()>) {
    let mut encoder = Gzip::new(io::sink()).unwrap();
    give(&mut encoder).unwrap();
    black_box(encoder.finish().unwrap());
}

fn layers(members: &Members) {
    let (bytes, count, name) = (members.bytes(), members.packed.len(), &members.name);
    let entry = Entry::file("", 0o644, &"bench".into());
    let path = TreePath::new("x").unwrap();
    let spliced: Vec<&Packed> = members.packed.iter().filter(|one| one.length >= SPLICE_THRESHOLD).collect();
    let size: u64 = spliced.iter().map(|one| one.size).sum();
    for threads in [1, rayon::current_num_threads().max(2)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        stage(&format!("splice and hash, {threads} threads: {name}"), size as usize, spliced.len(), || {
            pool.install(|| gzip(|out| spliced.iter().try_for_each(|one| out.packed(one, &path, &entry))));
        });
        stage(&format!("literal runs, {threads} threads: {name}"), bytes, 0, || {
            pool.install(|| gzip(|out| members.plain.iter().try_for_each(|bytes| out.literal(bytes))));
        });
        let tree = tree(members);
        stage(&format!("whole layer, {threads} threads: {name}"), bytes, count, || {
            pool.install(|| {
                gzip(|out| {
                    write_tree(&tree, out, "bench", &|_| {}).map_err(|error| io::Error::other(format!("{error:?}")))
                })
            });
        });
    }
}

fn tree(members: &Members) -> LayerTree {
    let mut tree = LayerTree::new();
    for (n, packed) in members.packed.iter().enumerate() {
        let path =
            TreePath::new(&format!("opt/venv/lib/python3.13/site-packages/{}/part{n}.py", members.name)).unwrap();
        tree.insert(path, Entry::file(Content::Packed(packed.clone()), 0o644, &"bench".into())).unwrap();
    }
    tree
}

fn small_things() {
    const COUNT: usize = 20_000;
    let mut tree = LayerTree::new();
    for n in 0..COUNT {
        let path =
            TreePath::new(&format!("opt/venv/lib/python3.13/site-packages/package{}/module{n}.py", n % 50)).unwrap();
        tree.insert(path, Entry::file("", 0o644, &"bench".into())).unwrap();
    }
    stage("tar headers", COUNT * 512, COUNT, || {
        let mut plain = Plain { out: io::sink(), tar: Hasher::new() };
        write_tree(&tree, &mut plain, "bench", &|_| {}).unwrap();
    });
    stage("runs of one tar header", COUNT * 512, COUNT, || {
        let mut packed = 0;
        for n in 0..COUNT as u32 {
            let mut header = [0; 512];
            header[..4].copy_from_slice(&n.to_be_bytes());
            header[124..148].copy_from_slice(b"00000004410 02252524000 ");
            header[257..265].copy_from_slice(b"ustar\x0000");
            packed += ingot::layer::deflate_run(&header, true).unwrap().len();
        }
        black_box(packed);
    });
    stage("fingerprint of 5000 files", 0, 5000, || {
        let fingerprint = (0..5000).fold(Fingerprint::new("app", "app", 1), |fingerprint, n| {
            fingerprint.field(format!("file `source/module{n}.py`"), "sha256:0123456789abcdef0123456789abcdef 0644")
        });
        black_box(fingerprint.digest());
    });
    let noise = binary(SAMPLE);
    stage("sha256", noise.len(), 0, || _ = black_box(Digest::of(&noise)));
    stage("crc32", noise.len(), 0, || _ = black_box(crc32fast::hash(&noise)));
}

fn zip(path: &Path) {
    let bytes = Mapped::open(path).unwrap();
    let count = rawzip::ZipArchive::from_slice(&bytes[..]).unwrap().entries_hint() as usize;
    let name = path.file_name().unwrap().to_string_lossy().split('-').next().unwrap_or_default().to_owned();
    stage(&format!("zip directory, rawzip: {name}"), 0, count, || {
        let archive = rawzip::ZipArchive::from_slice(&bytes[..]).unwrap();
        for entry in archive.entries() {
            let entry = entry.unwrap();
            black_box(archive.get_entry(entry.wayfinder()).unwrap().data().len());
        }
    });
}

fn main() {
    // Cargo's own arguments are not ours.
    let wheels: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    small_things();
    let all = if wheels.is_empty() {
        vec![Members::made("text", &text(SAMPLE)), Members::made("binary", &binary(SAMPLE))]
    } else {
        wheels.iter().map(|path| Members::of_wheel(Path::new(path))).collect()
    };
    for members in &all {
        inflating(members);
        layers(members);
    }
    wheels.iter().for_each(|path| zip(Path::new(path)));
}
