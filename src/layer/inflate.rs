//! A deflate decoder (RFC 1951) that also says where the last block begins and where it ends, to the bit.
//!
//! Splicing needs that: the last-block flag of a stream that is copied into a longer one has to be cleared, and no
//! inflate library tells where it is. It decodes whole slices (members of mapped archives, our own runs), checks
//! that no distance reaches before the stream's own start, and is safe code throughout.

/// A stream that is not deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The input ends within a block.
    #[error("the deflate stream is cut off")]
    Truncated,
    /// A block or a code that the format does not have.
    #[error("the deflate stream is damaged")]
    Damaged,
    /// A distance that reaches before the first byte.
    #[error("the deflate stream refers to bytes before its beginning")]
    TooFar,
    /// More output than was promised.
    #[error("the deflate stream is longer than its archive promises")]
    TooLong,
}

/// Where a stream's blocks lie, in bits from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The header of the last block: its first bit is the last-block flag.
    pub last: u64,
    /// The first bit after the last block.
    pub end: u64,
}

const WINDOW: usize = 32 << 10;
const BUFFER: usize = 256 << 10;
/// The longest match, and a little more than one loop round may write.
const SLACK: usize = 320;

const LITERAL: u32 = 0;
const LENGTH: u32 = 1;
const SUBTABLE: u32 = 2;
const END: u32 = 3;
const INVALID: u32 = 4;

const LITERAL_BITS: u32 = 11;
const DISTANCE_BITS: u32 = 9;
// 2048 slots, and at most 143 prefixes of two codes or more with 16 slots each, up to a power of two.
const LITERAL_TABLE: usize = 8192;
const DISTANCE_TABLE: usize = 2048;

// An entry: code length (bits 0-7), kind (8-10), extra bits (12-15), value (16-31).
const fn entry(kind: u32, extra: u32, value: u32) -> u32 {
    kind << 8 | extra << 12 | value << 16
}

const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

struct Bits<'a> {
    input: &'a [u8],
    next: usize,
    hold: u64,
    count: u32,
    /// Zero bytes that were read beyond the end.
    beyond: usize,
}

impl Bits<'_> {
    /// At least 56 bits in `hold`; beyond the end they are zero.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(bytes) = self.input.get(self.next..self.next + 8).and_then(|bytes| bytes.first_chunk::<8>()) {
            self.hold |= u64::from_le_bytes(*bytes) << self.count;
            self.next += ((63 - self.count) >> 3) as usize;
            self.count |= 56;
        } else {
            self.refill_slowly();
        }
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            match self.input.get(self.next) {
                Some(byte) => {
                    self.hold |= u64::from(*byte) << self.count;
                    self.next += 1;
                }
                None => self.beyond += 1,
            }
            self.count += 8;
        }
    }

    #[inline(always)]
    fn take(&mut self, count: u32) -> u32 {
        let value = self.hold & ((1 << count) - 1);
        self.drop(count);
        value as u32
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.hold >>= count;
        self.count -= count;
    }

    /// The position of the next bit.
    fn position(&self) -> u64 {
        (self.next as u64 + self.beyond as u64) * 8 - u64::from(self.count)
    }

    fn check(&self) -> Result<(), InflateError> {
        if self.position() > self.input.len() as u64 * 8 { Err(InflateError::Truncated) } else { Ok(()) }
    }

    /// Moves to a byte boundary and returns the index of the next byte.
    fn align(&mut self) -> Result<usize, InflateError> {
        let position = self.position().next_multiple_of(8);
        self.check()?;
        self.hold = 0;
        self.count = 0;
        self.beyond = 0;
        self.next = (position / 8) as usize;
        Ok(self.next)
    }
}

/// Fills a decoding table for the given code lengths; symbols give the entries without lengths.
fn build(table: &mut [u32], bits: u32, lengths: &[u8], symbol: impl Fn(usize) -> u32) -> Result<(), InflateError> {
    let mut counts = [0u32; 16];
    lengths.iter().for_each(|length| counts[usize::from(*length & 15)] += 1);
    counts[0] = 0;
    let mut left = 1i32;
    for count in &counts[1..] {
        left = (left << 1) - *count as i32;
        if left < 0 {
            return Err(InflateError::Damaged);
        }
    }
    let used: u32 = counts.iter().sum();
    // An incomplete code is allowed only with one code of one bit (RFC 1951, 3.2.7), or with none.
    if left > 0 && !(used == 0 || (used == 1 && counts[1] == 1)) {
        return Err(InflateError::Damaged);
    }
    table.fill(entry(INVALID, 0, 0) | 1);
    let mut next = [0u32; 16];
    for length in 1..15 {
        next[length + 1] = (next[length] + counts[length]) << 1;
    }
    let mut free = 1usize << bits;
    // Longest first within a prefix would be simpler, but the canonical order keeps codes of one prefix together.
    let mut open: Option<(u32, usize, u32)> = None;
    let mut order: Vec<(u8, usize)> = lengths.iter().copied().zip(0..).filter(|(length, _)| *length > 0).collect();
    order.sort_unstable();
    let longest = order.last().map_or(0, |(length, _)| u32::from(*length));
    for (length, index) in order {
        let length = u32::from(length);
        let code = next[length as usize];
        next[length as usize] += 1;
        let reversed = code.reverse_bits() >> (32 - length);
        if length <= bits {
            let value = symbol(index) | length;
            table[reversed as usize..1 << bits].iter_mut().step_by(1 << length).for_each(|slot| *slot = value);
            continue;
        }
        let prefix = reversed & ((1 << bits) - 1);
        let (start, width) = match open {
            Some((open_prefix, start, width)) if open_prefix == prefix => (start, width),
            _ => {
                let width = longest - bits;
                let start = free;
                free += 1 << width;
                *table.get_mut(prefix as usize).ok_or(InflateError::Damaged)? =
                    entry(SUBTABLE, width, start as u32) | bits;
                open = Some((prefix, start, width));
                (start, width)
            }
        };
        let value = symbol(index) | length;
        let subtable = table.get_mut(start..start + (1 << width)).ok_or(InflateError::Damaged)?;
        subtable[(reversed >> bits) as usize..].iter_mut().step_by(1 << (length - bits)).for_each(|slot| *slot = value);
    }
    Ok(())
}

fn literal_symbol(index: usize) -> u32 {
    match index {
        0..=255 => entry(LITERAL, 0, index as u32),
        256 => entry(END, 0, 0),
        257..=285 => entry(LENGTH, u32::from(LENGTHS[index - 257].1), u32::from(LENGTHS[index - 257].0)),
        _ => entry(INVALID, 0, 0),
    }
}

fn distance_symbol(index: usize) -> u32 {
    match DISTANCES.get(index) {
        Some((base, extra)) => entry(LENGTH, u32::from(*extra), u32::from(*base)),
        None => entry(INVALID, 0, 0),
    }
}

/// A decoder with its tables and its window, to be used for many streams.
pub struct Inflater {
    literals: Box<[u32; LITERAL_TABLE]>,
    distances: Box<[u32; DISTANCE_TABLE]>,
    buffer: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater {
            literals: Box::new([0; LITERAL_TABLE]),
            distances: Box::new([0; DISTANCE_TABLE]),
            buffer: vec![0; WINDOW + BUFFER + SLACK],
        }
    }
}

/// Where the output stands.
struct Output<'a> {
    buffer: &'a mut [u8],
    /// The first byte that the sink has not seen.
    start: usize,
    at: usize,
    total: u64,
    limit: u64,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl Output<'_> {
    fn flush(&mut self) -> Result<(), InflateError> {
        let fresh = &self.buffer[self.start..self.at];
        self.total += fresh.len() as u64;
        if self.total > self.limit {
            return Err(InflateError::TooLong);
        }
        (self.sink)(fresh);
        if self.at > WINDOW {
            self.buffer.copy_within(self.at - WINDOW..self.at, 0);
            self.at = WINDOW;
        }
        self.start = self.at;
        Ok(())
    }
}

impl Inflater {
    /// Decodes the stream at the beginning of `input`, handing its bytes to `sink` in order. More than `limit` bytes
    /// are refused (a little later than the limit). Returns where the last block lies.
    pub fn inflate(&mut self, input: &[u8], limit: u64, sink: &mut dyn FnMut(&[u8])) -> Result<Blocks, InflateError> {
        let mut bits = Bits { input, next: 0, hold: 0, count: 0, beyond: 0 };
        let mut out = Output { buffer: &mut self.buffer, start: 0, at: 0, total: 0, limit, sink };
        loop {
            let header = bits.position();
            bits.refill();
            let last = bits.take(1) == 1;
            match bits.take(2) {
                0 => stored(&mut bits, &mut out)?,
                kind @ (1 | 2) => {
                    if kind == 1 {
                        fixed_tables(&mut self.literals[..], &mut self.distances[..])?;
                    } else {
                        dynamic_tables(&mut bits, &mut self.literals[..], &mut self.distances[..])?;
                    }
                    compressed(&mut bits, &self.literals, &self.distances, &mut out)?;
                }
                _ => return Err(InflateError::Damaged),
            }
            bits.check()?;
            if last {
                out.flush()?;
                return Ok(Blocks { last: header, end: bits.position() });
            }
        }
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Output<'_>) -> Result<(), InflateError> {
    let at = bits.align()?;
    let head = bits.input.get(at..at + 4).ok_or(InflateError::Truncated)?;
    let length = u16::from_le_bytes([head[0], head[1]]);
    if length != !u16::from_le_bytes([head[2], head[3]]) {
        return Err(InflateError::Damaged);
    }
    let mut rest = bits.input.get(at + 4..at + 4 + usize::from(length)).ok_or(InflateError::Truncated)?;
    bits.next = at + 4 + usize::from(length);
    while !rest.is_empty() {
        if out.at >= WINDOW + BUFFER {
            out.flush()?;
        }
        let count = rest.len().min(WINDOW + BUFFER - out.at);
        out.buffer[out.at..out.at + count].copy_from_slice(&rest[..count]);
        out.at += count;
        rest = &rest[count..];
    }
    Ok(())
}

fn fixed_tables(literals: &mut [u32], distances: &mut [u32]) -> Result<(), InflateError> {
    let mut lengths = [8u8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    build(literals, LITERAL_BITS, &lengths, literal_symbol)?;
    build(distances, DISTANCE_BITS, &[5; 32], distance_symbol)
}

fn dynamic_tables(bits: &mut Bits<'_>, literals: &mut [u32], distances: &mut [u32]) -> Result<(), InflateError> {
    bits.refill();
    let (literal_count, distance_count) = (257 + bits.take(5) as usize, 1 + bits.take(5) as usize);
    let precode_count = 4 + bits.take(4) as usize;
    if literal_count > 286 || distance_count > 30 {
        return Err(InflateError::Damaged);
    }
    let mut precode_lengths = [0u8; 19];
    for symbol in &PRECODE_ORDER[..precode_count] {
        bits.refill();
        precode_lengths[*symbol] = bits.take(3) as u8;
    }
    let mut precode = [0u32; 128];
    build(&mut precode, 7, &precode_lengths, |index| entry(LITERAL, 0, index as u32))?;
    let mut lengths = [0u8; 286 + 30];
    let total = literal_count + distance_count;
    let mut filled = 0;
    while filled < total {
        bits.refill();
        let found = precode[(bits.hold & 127) as usize];
        if found >> 8 & 7 == INVALID {
            return Err(InflateError::Damaged);
        }
        bits.drop(found & 255);
        let (value, repeat) = match found >> 16 {
            symbol @ 0..=15 => (symbol as u8, 1),
            16 => {
                let before = filled.checked_sub(1).map(|n| lengths[n]).ok_or(InflateError::Damaged)?;
                (before, 3 + bits.take(2) as usize)
            }
            17 => (0, 3 + bits.take(3) as usize),
            _ => (0, 11 + bits.take(7) as usize),
        };
        if filled + repeat > total {
            return Err(InflateError::Damaged);
        }
        lengths[filled..filled + repeat].fill(value);
        filled += repeat;
        bits.check()?;
    }
    if lengths[256] == 0 {
        return Err(InflateError::Damaged);
    }
    build(literals, LITERAL_BITS, &lengths[..literal_count], literal_symbol)?;
    build(distances, DISTANCE_BITS, &lengths[literal_count..total], distance_symbol)
}

#[inline(always)]
fn lookup<const N: usize>(table: &[u32; N], hold: u64, bits: u32) -> u32 {
    let found = table[(hold & ((1 << bits) - 1)) as usize & (N - 1)];
    if found >> 8 & 7 != SUBTABLE {
        return found;
    }
    let width = found >> 12 & 15;
    let index = (found >> 16) as usize + (hold >> bits & ((1 << width) - 1)) as usize;
    table[index & (N - 1)]
}

fn compressed(
    bits: &mut Bits<'_>,
    literals: &[u32; LITERAL_TABLE],
    distances: &[u32; DISTANCE_TABLE],
    out: &mut Output<'_>,
) -> Result<(), InflateError> {
    loop {
        if out.at >= WINDOW + BUFFER {
            bits.check()?;
            out.flush()?;
        }
        bits.refill();
        let mut found = lookup(literals, bits.hold, LITERAL_BITS);
        // Two literals fit a refill beside a length and its distance only if they are short; the loop refills anyway.
        if found >> 8 & 7 == LITERAL {
            bits.drop(found & 255);
            out.buffer[out.at] = (found >> 16) as u8;
            out.at += 1;
            found = lookup(literals, bits.hold, LITERAL_BITS);
            if found >> 8 & 7 == LITERAL {
                bits.drop(found & 255);
                out.buffer[out.at] = (found >> 16) as u8;
                out.at += 1;
                continue;
            }
            bits.refill();
        }
        bits.drop(found & 255);
        match found >> 8 & 7 {
            LENGTH => {}
            END => return Ok(()),
            _ => return Err(if bits.beyond > 0 { InflateError::Truncated } else { InflateError::Damaged }),
        }
        let length = (found >> 16) as usize + bits.take(found >> 12 & 15) as usize;
        let found = lookup(distances, bits.hold, DISTANCE_BITS);
        if found >> 8 & 7 != LENGTH {
            return Err(if bits.beyond > 0 { InflateError::Truncated } else { InflateError::Damaged });
        }
        bits.drop(found & 255);
        let distance = (found >> 16) as usize + bits.take(found >> 12 & 15) as usize;
        if distance > out.at {
            return Err(InflateError::TooFar);
        }
        let (from, at) = (out.at - distance, out.at);
        if distance >= length {
            out.buffer.copy_within(from..from + length, at);
        } else if distance == 1 {
            let byte = out.buffer[from];
            out.buffer[at..at + length].fill(byte);
        } else {
            for n in 0..length {
                out.buffer[at + n] = out.buffer[from + n];
            }
        }
        out.at += length;
        if bits.beyond > 8 {
            return Err(InflateError::Truncated);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn inflate(input: &[u8], limit: u64) -> Result<(Vec<u8>, Blocks), InflateError> {
        let mut plain = Vec::new();
        let blocks = Inflater::default().inflate(input, limit, &mut |bytes| plain.extend_from_slice(bytes))?;
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
}
