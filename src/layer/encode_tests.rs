//! The gzip encoder: its bytes, whoever makes them, and what is refused.

use std::io::Read;
use std::sync::Arc;

use rayon::prelude::*;

use super::*;
use crate::fs::Mapped;
use crate::layer::Error;
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
        ["ac73670af3ab", "c82bc82ff2ca", "b555e40243c8", "83cc1c31cbc1"]
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

fn entry() -> Entry {
    Entry::file("", 0o644, &"wheel `test`".into())
}

fn path(n: usize) -> TreePath {
    TreePath::new(&format!("member/{n}")).unwrap()
}

fn give(encoder: &mut dyn Encoder, members: &[Packed]) -> io::Result<()> {
    for (n, packed) in members.iter().enumerate() {
        encoder.literal(format!("header {n}").as_bytes())?;
        encoder.packed(packed, &path(n), &entry())?;
    }
    Ok(())
}

/// The layer's bytes and the digest of its tar.
fn spliced(members: &[Packed]) -> (Vec<u8>, Digest) {
    let mut encoder = Gzip::new(Vec::new()).unwrap();
    give(&mut encoder, members).unwrap();
    let (bytes, tar) = encoder.finish().unwrap();
    (bytes, tar.finish())
}

/// What is wrong with these members.
fn refused(members: &[Packed]) -> String {
    let mut encoder = Gzip::new(Vec::new()).unwrap();
    let failed = give(&mut encoder, members).and_then(|()| encoder.finish().map(drop)).unwrap_err();
    Error::carried(failed, |other| panic!("{other}")).to_string()
}

const SIZES: [usize; 12] =
    [0, 1, 100, 9_000, 60_000, 300_000, 3_000_000, 9_000_000, 12_345, 250_000, 262_144 + 32_768, 40_000];

#[test]
fn spliced_members_are_the_plain_stream() {
    let contents: Vec<Vec<u8>> = SIZES.iter().map(|size| sample(*size)).collect();
    let (_file, members) = archive(&contents);
    let (bytes, tar) = in_pool(1, || spliced(&members));

    let mut plain = Plain { out: Vec::new(), tar: Hasher::new() };
    give(&mut plain, &members).unwrap();
    assert_eq!(plain.tar.finish(), tar);
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
    assert!(inflated == plain.out);
    let packed: u64 = members.iter().map(|member| member.length).sum();
    assert!((bytes.len() as u64) < packed + packed / 100 + 2000, "{} of {packed}", bytes.len());
}

#[test]
fn bytes_are_the_same_with_any_number_of_threads_and_of_layers() {
    let contents: Vec<Vec<u8>> = SIZES.iter().map(|size| sample(*size)).collect();
    let (_file, members) = archive(&contents);
    // Nobody's pool: the global one does what the layer's own thread does not.
    let expected = spliced(&members);
    for threads in [1, 2, 16] {
        in_pool(threads, || {
            assert!(spliced(&members) == expected, "{threads} threads");
            // As `build` does it: layers in parallel, from within the pool, where each needs the pool too.
            (0..3).into_par_iter().for_each(|_| assert!(spliced(&members) == expected, "layers on {threads} threads"));
        });
    }
}

#[test]
fn a_batch_may_end_anywhere() {
    // Members and literal bytes of many sizes: batches end after each of them somewhere.
    let contents: Vec<Vec<u8>> = (0..120).map(|n| sample(n * n * 37 % 90_000)).collect();
    let (_file, members) = archive(&contents);
    let of_runs = |encoder: &mut dyn Encoder| {
        for (n, packed) in members.iter().enumerate() {
            encoder.literal(&sample(n * n * 1013 % 400_000)).unwrap();
            encoder.packed(packed, &path(n), &entry()).unwrap();
        }
    };
    let layer = || {
        let mut encoder = Gzip::new(Vec::new()).unwrap();
        of_runs(&mut encoder);
        encoder.finish().unwrap()
    };
    let (bytes, tar) = in_pool(1, layer);
    let mut plain = Plain { out: Vec::new(), tar: Hasher::new() };
    of_runs(&mut plain);
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
    assert!(inflated == plain.out && tar.finish() == plain.tar.finish());
    assert!(in_pool(5, layer).0 == bytes);
}

#[test]
fn a_member_that_lies_is_refused_by_name() {
    let (_file, members) = archive(&[sample(50_000), sample(2_000_000), sample(300)]);
    for (n, honest) in members.iter().enumerate() {
        for lie in [
            Packed { crc32: honest.crc32 ^ 1, ..honest.clone() },
            Packed { size: honest.size - 1, ..honest.clone() },
            Packed { size: honest.size + 1, ..honest.clone() },
            Packed { length: honest.length - 1, ..honest.clone() },
            Packed { offset: 1 << 40, ..honest.clone() },
        ] {
            let mut told = members.to_vec();
            told[n] = lie;
            // Honest ones behind it, and more of them than a batch has.
            told.extend((0..3).flat_map(|_| members.clone()));
            let text = refused(&told);
            let begin = format!("the content of `/member/{n}` (wheel `test`) changed or is damaged: ");
            assert!(text.starts_with(&begin), "{text}");
        }
    }
}

#[test]
fn the_first_of_two_lies_is_told() {
    let (_file, members) = archive(&[sample(400_000), sample(2_000_000), sample(9_000)]);
    let mut told: Vec<Packed> = (0..30).flat_map(|_| members.clone()).collect();
    for n in [40, 41, 42, 43] {
        told[n].crc32 ^= 1;
    }
    for threads in [1, 2, 16] {
        let text = in_pool(threads, || refused(&told));
        assert!(text.contains("`/member/40`"), "{text}");
    }
}

/// Takes so many bytes, then fails or panics.
struct Bad(usize, bool);

impl Write for Bad {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.1 || self.0 > 0, "the writer broke");
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_and_a_defect_end_the_layer() {
    let (_file, members) = archive(&[sample(400_000), sample(3_000_000)]);
    let many: Vec<Packed> = (0..20).flat_map(|_| members.clone()).collect();
    let layer = |room: usize, panics: bool| -> io::Result<()> {
        let mut encoder = Gzip::new(Bad(room, panics))?;
        give(&mut encoder, &many)?;
        encoder.finish().map(drop)
    };
    for threads in [1, 2, 8] {
        for room in [10, 500_000, 3_000_000] {
            let error = in_pool(threads, || layer(room, false)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            let caught = std::panic::catch_unwind(|| in_pool(threads, || layer(room, true)));
            let text = *caught.unwrap_err().downcast::<&str>().unwrap();
            assert_eq!(text, "the writer broke");
        }
    }
}

#[test]
fn a_layer_that_is_given_up_leaves_its_writer() {
    struct Told(Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_file, members) = archive(&[sample(400_000), sample(3_000_000)]);
    let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut encoder = Gzip::new(Told(gone.clone())).unwrap();
    for _ in 0..10 {
        give(&mut encoder, &members).unwrap();
    }
    drop(encoder);
    assert!(gone.load(std::sync::atomic::Ordering::SeqCst), "its temporary file is removed at once");
}
