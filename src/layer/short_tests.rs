//! The encoder of short runs: its streams are what other decoders read, joined and alone, and never others.

use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::layer::inflate::{Inflater, Page};
use crate::layer::splice::{self, Joint};
use crate::layer::{Entry, TreePath, tar};
use crate::oci::Digest;

fn stream(plain: &[u8]) -> (Vec<u8>, Blocks) {
    let mut packed = b"before".to_vec();
    let blocks = compress(plain, &mut packed);
    assert!(packed.starts_with(b"before"));
    (packed.split_off(6), blocks)
}

fn inflated(stream: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(stream);
    decoder.read_to_end(&mut plain).unwrap();
    assert_eq!(decoder.total_in() as usize, stream.len());
    plain
}

/// Holds the stream of `plain` against zlib's decoder and against ours, which finds the same block.
fn check(plain: &[u8]) -> Vec<u8> {
    let (stream, blocks) = stream(plain);
    assert!(inflated(&stream) == plain);
    let (mut found, mut page) = (Vec::new(), Page::default());
    let mut keep = |bytes: &[u8]| found.extend_from_slice(bytes);
    let decoded = splice::decode(&mut Inflater::default(), &stream, plain.len() as u64, &mut page, &mut keep).unwrap();
    assert!(found == plain);
    let joint = Joint::new(&stream, blocks).unwrap();
    assert_eq!(joint, decoded.joint);
    joint.pieces(&stream).concat()
}

/// The run before a spliced member: `padding` zeros and the header.
fn header(path: &str, size: usize, padding: usize) -> Vec<u8> {
    let entry = Entry::file(vec![0; size], 0o644, &"test".into());
    [vec![0; padding], tar::headers(&TreePath::new(path).unwrap(), &entry).unwrap()].concat()
}

const PATHS: [&str; 4] = [
    "opt/venv/bin/python",
    "opt/venv/lib/python3.13/site-packages/package/core/tests/test_array_coercion.py",
    "opt/venv/lib/python3.13/site-packages/package/core/tests/a_folder_within/__pycache__/test_array_coercion.cpython-313.pyc",
    "opt/venv/lib/python3.13/site-packages/package/naïve.py",
];

/// Pieces of a short run.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<u8>(), 0usize..700).prop_map(|(byte, count)| vec![byte; count]),
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(0u8..3, 0..300),
        ("[0-7]{1,11}", 1usize..9).prop_map(|(octal, times)| [octal.as_bytes(), b"\0"].concat().repeat(times)),
        (0usize..PATHS.len(), 0usize..9000, 0usize..512).prop_map(|(n, size, zeros)| header(PATHS[n], size, zeros)),
    ]
}

proptest! {
    #[test]
    fn everything_inflates_to_itself_alone_and_joined(
        runs in proptest::collection::vec((proptest::collection::vec(piece(), 0..8), 0..=SHORT), 1..6)
    ) {
        let (mut plain, mut joined) = (Vec::new(), Vec::new());
        for (pieces, length) in runs {
            let mut run = pieces.concat();
            run.truncate(length);
            joined.extend(check(&run));
            plain.extend(run);
        }
        joined.extend([3, 0]);
        prop_assert!(inflated(&joined) == plain);
    }
}

#[test]
fn every_length_and_every_distance_has_its_code() {
    for length in 0..=SHORT {
        check(&vec![7; length]);
    }
    // Three bytes that come again so far behind the first ones; in between nothing does.
    for distance in 3..=SHORT - 3 {
        let between = (0..distance - 3).flat_map(|n| [(n % 251) as u8, (n / 251) as u8]);
        let between: Vec<u8> = between.take(distance - 3).collect();
        check(&[&b"\xfe\xfd\xfc"[..], &between, b"\xfe\xfd\xfc"].concat());
    }
    check(&(0..=255).collect::<Vec<u8>>());
}

#[test]
fn a_block_ends_at_every_bit() {
    let mut seen = [false; 8];
    for length in 0..300usize {
        let plain: Vec<u8> = (0..length).map(|n| (n * n % 253) as u8).collect();
        seen[(stream(&plain).1.end % 8) as usize] = true;
        check(&plain);
    }
    assert_eq!(seen, [true; 8]);
}

#[test]
fn headers_become_small() {
    for (path, most) in PATHS.into_iter().zip([85, 145, 185, 190]) {
        for padding in [0, 1, 300, 511] {
            let run = header(path, 123_456, padding);
            assert!(run.len() <= SHORT);
            let size = check(&run).len();
            assert!(size <= most, "{size} bytes for `{path}` after {padding} zeros");
        }
    }
    let noise: Vec<u8> = (0..SHORT as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(check(&noise).len() <= SHORT + SHORT / 8 + 8);
}

#[test]
fn the_encoder_is_the_pinned_one() {
    // These digests change only with the encoder: then LAYER_FORMAT must change too.
    let digest = |plain: &[u8]| Digest::of(&stream(plain).0).short();
    let found = PATHS.map(|path| digest(&header(path, 123_456, 100)));
    assert_eq!(found, ["f13397f38457", "b1fca372dd9e", "b51ef7af6694", "f62e6a0f67b5"]);
    assert_eq!([digest(b""), digest(b"a"), digest(&[0; 1024])], ["9b4fb24edd6d", "59fced9a2ff8", "27b2cfc31299"]);
}
