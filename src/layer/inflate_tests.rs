//! The decoder against zlib's and libdeflate's, and at its own edges.

use std::io::Write;
use std::ops::Range;

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

/// Writes streams that no encoder would write.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    count: u32,
}

impl Writer {
    /// Lowest bit first.
    fn bits(&mut self, value: u32, count: u32) {
        for n in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> n & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }

    /// A code, highest bit first.
    fn code(&mut self, code: u32, length: u32) {
        self.bits(code.reverse_bits() >> (32 - length), length);
    }

    /// A symbol of the fixed code.
    fn fixed(&mut self, symbol: u32) {
        match symbol {
            0..=143 => self.code(0x30 + symbol, 8),
            144..=255 => self.code(0x190 + symbol - 144, 9),
            256..=279 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    fn find(table: &[(u32, u32)], value: u32) -> (u32, u32, u32) {
        let at = table.iter().rposition(|(base, _)| *base <= value).unwrap();
        (at as u32, value - table[at].0, table[at].1)
    }

    /// A match, in the fixed code.
    fn copy(&mut self, length: u32, distance: u32) {
        let mut lengths = vec![];
        let mut base = 3;
        for n in 0..28u32 {
            let extra = if n < 8 { 0 } else { n / 4 - 1 };
            lengths.push((base, extra));
            base += 1 << extra;
        }
        lengths.push((258, 0));
        let mut distances = vec![];
        let mut base = 1;
        for n in 0..30u32 {
            let extra = if n < 4 { 0 } else { n / 2 - 1 };
            distances.push((base, extra));
            base += 1 << extra;
        }
        let (symbol, rest, extra) = Writer::find(&lengths, length);
        self.fixed(257 + symbol);
        self.bits(rest, extra);
        let (symbol, rest, extra) = Writer::find(&distances, distance);
        self.code(symbol, 5);
        self.bits(rest, extra);
    }
}

/// Literals and matches.
#[derive(Clone, Debug)]
enum Step {
    Literal(u8),
    Copy(u32, u32),
}

/// A stream of one fixed block, and what it means.
fn fixed_block(steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
    let mut writer = Writer::default();
    let mut plain: Vec<u8> = Vec::new();
    writer.bits(0b011, 3);
    for step in steps {
        match *step {
            Step::Literal(byte) => {
                writer.fixed(byte.into());
                plain.push(byte);
            }
            Step::Copy(length, distance) => {
                writer.copy(length, distance);
                let from = plain.len() - distance as usize;
                (0..length as usize).for_each(|n| plain.push(plain[from + n]));
            }
        }
    }
    writer.fixed(256);
    (writer.bytes, plain)
}

#[test]
fn matches_overlap_at_every_distance() {
    for distance in 1..=40u32 {
        for length in (3..=70).chain([255, 256, 257, 258]) {
            let mut steps: Vec<Step> = (0..distance).map(|n| Step::Literal((n * 7 + 1) as u8)).collect();
            steps.push(Step::Copy(length, distance));
            // What was written behind the match must not be seen.
            steps.extend([Step::Literal(200), Step::Copy(9, 1), Step::Copy(5, distance.min(3))]);
            for behind in [0, 60] {
                let (mut stream, plain) = fixed_block(&steps);
                // With bytes behind the stream the quick loop takes it to its end.
                stream.resize(stream.len() + behind, 0xa5);
                assert!(inflate(&stream, 4000).unwrap().0 == plain, "distance {distance}, length {length}");
            }
        }
    }
}

#[test]
fn distances_end_at_the_first_byte() {
    for before in [1u32, 2, 30, 31, 100, 3000, 32_768] {
        let literals: Vec<Step> = (0..before).map(|n| Step::Literal((n % 251) as u8)).collect();
        let with = |distance| [&literals[..], &[Step::Copy(5, distance)]].concat();
        let (stream, plain) = fixed_block(&with(before));
        assert!(inflate(&stream, 1 << 20).unwrap().0 == plain);
        if before < 32_768 {
            let mut writer = Writer::default();
            writer.bits(0b011, 3);
            (0..before).for_each(|n| writer.fixed(n % 251));
            writer.copy(5, before + 1);
            writer.fixed(256);
            for behind in [0, 60] {
                let mut stream = writer.bytes.clone();
                stream.resize(stream.len() + behind, 0);
                assert_eq!(inflate(&stream, 1 << 20).unwrap_err(), InflateError::TooFar, "{before}");
            }
        }
    }
}

#[test]
fn a_stream_may_not_see_what_is_before_it_in_its_page() {
    let mut page = Page::default();
    let mut inflater = Inflater::default();
    let secret = deflate(&text(5000, 1), 6);
    inflater.inflate(&secret, 5000, &mut page, &mut |_: &[u8]| {}).unwrap();
    assert_eq!(page.bytes().len(), 5000);
    let mut writer = Writer::default();
    writer.bits(0b011, 3);
    writer.fixed(65);
    writer.copy(5, 2);
    writer.fixed(256);
    writer.bytes.extend([0; 60]);
    let found = inflater.inflate(&writer.bytes, 5000, &mut page, &mut |_: &[u8]| {});
    assert_eq!(found.unwrap_err(), InflateError::TooFar);
    // Also not when the page turns while some of it is still in the window.
    let mut steps = vec![Step::Literal(1)];
    steps.extend([const { Step::Copy(258, 1) }; 1100]);
    let (long, plain) = fixed_block(&steps);
    page.clear();
    inflater.inflate(&secret, 5000, &mut page, &mut |_: &[u8]| {}).unwrap();
    let mut found = Vec::new();
    inflater.inflate(&long, 1 << 20, &mut page, &mut |bytes: &[u8]| found.extend_from_slice(bytes)).unwrap();
    assert!(found == plain);
}

/// Keeps every page, as the writer of layers does.
#[derive(Default)]
struct Kept(Vec<(Page, Vec<Range<usize>>)>, Vec<Range<usize>>);

impl Sink for Kept {
    fn fresh(&mut self, _: &Page, part: Range<usize>) {
        self.1.push(part);
    }
    fn turn(&mut self, page: &mut Page, _: usize) -> bool {
        let mut next = Page::default();
        next.follow(page);
        self.0.push((std::mem::replace(page, next), std::mem::take(&mut self.1)));
        true
    }
}

#[test]
fn pages_follow_each_other() {
    for (length, used) in [(2_000_000, 0), (700_000, 200_000), (400_000, FULL - 3), (3 * FULL, FULL)] {
        let plain = text(length, 77);
        for level in [0, 1, 6] {
            let stream = deflate(&plain, level);
            let mut page = Page::default();
            let mut inflater = Inflater::default();
            inflater.inflate(&deflate(&vec![9; used], 6), used as u64, &mut page, &mut |_: &[u8]| {}).unwrap();
            let mut kept = Kept::default();
            inflater.inflate(&stream, length as u64, &mut page, &mut kept).unwrap();
            kept.0.push((page, kept.1));
            let parts = kept.0.iter().flat_map(|(page, parts)| parts.iter().map(|part| &page.bytes()[part.clone()]));
            assert!(parts.collect::<Vec<_>>().concat() == plain, "{length} after {used}, level {level}");
        }
    }
}

proptest! {
    #[test]
    fn any_matches_are_what_they_mean(
        first in any::<u8>(),
        steps in proptest::collection::vec((any::<u8>(), 3u32..=258, any::<u32>(), 0u32..4), 0..400),
        behind in 0usize..40,
        used in 0usize..20,
    ) {
        let mut length = 1;
        let mut all = vec![Step::Literal(first)];
        for (byte, count, back, kind) in steps {
            let step = match kind {
                0 => Step::Literal(byte),
                // Short distances, and all of them.
                1 => Step::Copy(count, 1 + back % length.min(40)),
                2 => Step::Copy(3 + count % 9, 1 + back % length.min(32_768)),
                _ => Step::Copy(count, 1 + back % length.min(32_768)),
            };
            length += if let Step::Copy(count, _) = step { count } else { 1 };
            all.push(step);
        }
        let (mut stream, plain) = fixed_block(&all);
        let size = stream.len() as u64;
        stream.resize(stream.len() + behind, 0x5a);
        let mut page = Page::default();
        let mut inflater = Inflater::default();
        // Near the end of a page, so that it turns somewhere.
        let before = vec![3; used * (FULL / 20)];
        inflater.inflate(&deflate(&before, 1), 1 << 20, &mut page, &mut |_: &[u8]| {}).unwrap();
        let mut found = Vec::new();
        let blocks = inflater
            .inflate(&stream, 1 << 20, &mut page, &mut |bytes: &[u8]| found.extend_from_slice(bytes))
            .unwrap();
        prop_assert!(found == plain);
        prop_assert_eq!(blocks.last, 0);
        prop_assert_eq!(blocks.end.div_ceil(8), size);
    }

    #[test]
    fn a_cut_off_stream_is_never_whole(length in 1usize..3000, level in 0u32..10, cut in 1usize..40) {
        let stream = deflate(&text(length, length as u32), level);
        let cut = cut.min(stream.len());
        prop_assert!(inflate(&stream[..stream.len() - cut], 1 << 20).is_err());
        // With something else behind it, it is as the reference says.
        let mut other = stream[..stream.len() - cut].to_vec();
        other.extend_from_slice(&[0xff; 64]);
        let mut reference = vec![0; 1 << 17];
        let theirs = libdeflater::Decompressor::new().deflate_decompress(&other, &mut reference);
        if let Ok((plain, _)) = inflate(&other, 1 << 17) {
            prop_assert!(theirs.is_ok_and(|count| plain == reference[..count]));
        }
    }

    #[test]
    fn any_code_lengths_are_as_the_reference_takes_them(
        literals in proptest::collection::vec(0u8..16, 257..=286),
        distances in proptest::collection::vec(0u8..16, 1..=30),
        fair in any::<bool>(),
        tail in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let (mut literals, mut distances) = (literals, distances);
        if fair {
            complete(&mut literals);
            complete(&mut distances);
        }
        let stream = dynamic_block(&literals, &distances, &tail);
        let mut reference = vec![0; 1 << 17];
        let theirs = libdeflater::Decompressor::new().deflate_decompress(&stream, &mut reference);
        match (inflate(&stream, 1 << 17), theirs) {
            (Ok((plain, _)), Ok(count)) => prop_assert!(plain == reference[..count]),
            (Ok(_), Err(error)) => prop_assert!(false, "accepted what libdeflate refuses: {error:?}"),
            // A block without an end is one that libdeflate allows if it comes to none.
            (Err(_), _) => {}
        }
    }
}

/// Makes a complete code of these lengths: the wishes of the first symbols are kept as far as there is room.
fn complete(lengths: &mut [u8]) {
    lengths.iter_mut().for_each(|length| *length = (*length).max(1));
    if lengths.len() > 256 {
        lengths.swap(0, 256);
    }
    let mut left: u32 = 1 << 15;
    let count = lengths.len();
    for (n, length) in lengths.iter_mut().enumerate() {
        let later = (count - n - 1) as u32;
        // Each later symbol needs one slot at least; the last one takes what fits.
        while *length < 15 && (1u32 << (15 - *length)) + later > left {
            *length += 1;
        }
        left = left.saturating_sub(1 << (15 - *length));
    }
    // What is left goes to symbols whose codes can be shortened.
    for _ in 0..20 {
        for length in lengths.iter_mut() {
            let cost = 1u32 << (15 - *length);
            if *length > 1 && cost <= left {
                *length -= 1;
                left -= cost;
            }
        }
    }
    if count > 256 {
        lengths.swap(0, 256);
    }
}

/// A last dynamic block with these codes, its code lengths written plainly, and then `tail`.
fn dynamic_block(literals: &[u8], distances: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bits(0b101, 3);
    writer.bits(literals.len() as u32 - 257, 5);
    writer.bits(distances.len() as u32 - 1, 5);
    // The lengths 0 to 15 as codes of four bits, nothing else.
    writer.bits(15, 4);
    for symbol in PRECODE_ORDER {
        writer.bits(if symbol < 16 { 4 } else { 0 }, 3);
    }
    literals.iter().chain(distances).for_each(|length| writer.code(u32::from(*length), 4));
    tail.iter().for_each(|byte| writer.bits(u32::from(*byte), 8));
    writer.bytes
}
