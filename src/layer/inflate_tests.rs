//! The decoder against zlib's and libdeflate's, and at its own edges.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn inflate(input: &[u8], limit: u64) -> Result<(Vec<u8>, Blocks), InflateError> {
    let mut plain = Vec::new();
    let blocks = Inflater::default()
        .inflate(input, limit, &mut Page::default(), &mut |bytes: &[u8]| plain.extend_from_slice(bytes))?;
    Ok((plain, blocks))
}

fn deflate(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn text(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let mut out = Vec::with_capacity(length + 300);
    while out.len() < length {
        match next() % 7 {
            0 => out.extend(std::iter::repeat_n((next() % 256) as u8, (next() % 300) as usize)),
            1 if out.len() > 40 => {
                let back = 1 + next() as usize % out.len().min(40_000);
                let start = out.len() - back;
                let count = back.min(next() as usize % 400);
                out.extend_from_within(start..start + count);
            }
            2 => out.extend((0..next() % 40).map(|_| (next() % 256) as u8).collect::<Vec<_>>()),
            _ => out.extend_from_slice(b"def main(argument): return "),
        }
    }
    out.truncate(length);
    out
}

#[test]
fn what_other_encoders_write_is_read() {
    for length in [0, 1, 2, 100, 65_535, 65_536, 300_000, 2_000_000] {
        let plain = text(length, length as u32);
        for level in [0, 1, 3, 6, 9] {
            let stream = deflate(&plain, level);
            let (found, blocks) = inflate(&stream, length as u64).unwrap();
            assert!(found == plain, "length {length}, level {level}");
            assert_eq!(blocks.end.div_ceil(8), stream.len() as u64);
            assert_eq!(stream[blocks.last as usize / 8] >> (blocks.last % 8) & 1, 1, "the flag is set there");
        }
    }
    let plain = text(500_000, 9);
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(12).unwrap());
    let mut stream = vec![0; compressor.deflate_compress_bound(plain.len())];
    let size = compressor.deflate_compress(&plain, &mut stream).unwrap();
    assert!(inflate(&stream[..size], 500_000).unwrap().0 == plain);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let stream = deflate(&text(20_000, 3), 6);
    for cut in 0..stream.len() {
        assert!(inflate(&stream[..cut], 20_000).is_err(), "cut at {cut}");
    }
    assert_eq!(inflate(&stream, 10).unwrap_err(), InflateError::TooLong);
    // A fixed block whose first symbol is a match.
    assert_eq!(inflate(&[0b0000_0011, 0b0000_0010, 0, 0], 100).unwrap_err(), InflateError::TooFar);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let ours = inflate(&bytes, 1 << 16);
        // Whatever we accept, the reference accepts, with the same output.
        if let Ok((plain, blocks)) = ours {
            let mut reference = Vec::new();
            let mut decoder = flate2::read::DeflateDecoder::new(&bytes[..blocks.end.div_ceil(8) as usize]);
            std::io::copy(&mut decoder, &mut reference).unwrap();
            prop_assert_eq!(plain, reference);
        }
    }

    #[test]
    fn flipped_bits_agree_with_the_reference(length in 0usize..4000, level in 0u32..10, flip in 0usize..8000) {
        let mut stream = deflate(&text(length, length as u32), level);
        let at = flip % (stream.len() * 8);
        stream[at / 8] ^= 1 << (at % 8);
        let mut decoder = libdeflater::Decompressor::new();
        let mut reference = vec![0; 1 << 17];
        let theirs = decoder.deflate_decompress(&stream, &mut reference);
        match (inflate(&stream, 1 << 17), theirs) {
            (Ok((plain, _)), Ok(count)) => prop_assert!(plain == reference[..count]),
            (Err(_), Err(_)) => {}
            // Codes that only some decoders allow (incomplete ones) are refused by the strict one.
            (Err(_), Ok(_)) => {}
            (Ok(_), Err(_)) => prop_assert!(false, "accepted what libdeflate refuses"),
        }
    }
}
