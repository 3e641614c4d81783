//! Short literal runs: the header of a spliced member with the padding before it, mostly zeros.
//!
//! The pinned encoder clears hundreds of kilobytes of tables for each stream, which for a header takes twenty times as
//! long as everything else. This one makes a single block with the fixed code (RFC 1951, 3.2.6) from greedy matches:
//! runs of one byte, and the place where three bytes were seen last. It knows where its block lies, so that nobody
//! has to decode its stream to join it.

use super::inflate::Blocks;

/// The most bytes of a short run: padding, a PAX header with a path, and the header.
pub(super) const SHORT: usize = 2 << 10;
/// The shortest match, which is also what is hashed. It takes fewer bits than its literals at any distance there is.
const SHORTEST: usize = 3;
const LONGEST: usize = 258;
/// Of the bytes of a match, so many at its end can be found again.
const REMEMBERED: usize = 8;
const PLACE_BITS: u32 = 9;
/// A block with the fixed code that is the last one: the flag, then the kind.
const HEADER: Code = Code { bits: 0b011, count: 3 };
const END_OF_BLOCK: Code = Code { bits: 0, count: 7 };

/// Bits as they stand in the stream, lowest first: a code, and its extra bits above it.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    count: u32,
}

/// Of each literal.
const LITERALS: [Code; 256] = literals();
/// Of each length, beginning with the shortest.
const LENGTHS: [Code; LONGEST - SHORTEST + 1] = lengths();

/// Huffman codes begin with their highest bit.
const fn huffman(code: u32, count: u32) -> Code {
    Code { bits: code.reverse_bits() >> (32 - count), count }
}

const fn extended(code: Code, extra: u32, value: u32) -> Code {
    Code { bits: code.bits | value << code.count, count: code.count + extra }
}

const fn literals() -> [Code; 256] {
    let mut codes = [END_OF_BLOCK; 256];
    let mut literal = 0;
    while literal < 256 {
        let value = literal as u32;
        codes[literal] = if value < 144 { huffman(0x30 + value, 8) } else { huffman(0x190 + value - 144, 9) };
        literal += 1;
    }
    codes
}

const fn lengths() -> [Code; LONGEST - SHORTEST + 1] {
    let mut codes = [END_OF_BLOCK; LONGEST - SHORTEST + 1];
    let mut index = 0;
    while index < codes.len() {
        let value = index as u32;
        let (symbol, extra) = match value {
            0..8 => (1 + value, 0),
            255 => (29, 0),
            _ => {
                let extra = value.ilog2() - 2;
                (1 + 4 * extra + (value >> extra), extra)
            }
        };
        let code = if symbol < 24 { huffman(symbol, 7) } else { huffman(0xc0 + symbol - 24, 8) };
        codes[index] = extended(code, extra, value & ((1 << extra) - 1));
        index += 1;
    }
    codes
}

/// From 1 on.
fn distance_code(distance: usize) -> Code {
    let value = distance as u32 - 1;
    if value < 4 {
        return huffman(value, 5);
    }
    let extra = value.ilog2() - 1;
    extended(huffman(2 * extra + (value >> extra), 5), extra, value & ((1 << extra) - 1))
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    hold: u64,
    /// Of `hold`; fewer than 32 between two codes.
    count: u32,
    written: u64,
}

impl Bits<'_> {
    #[inline(always)]
    fn put(&mut self, code: Code) {
        self.hold |= u64::from(code.bits) << self.count;
        self.count += code.count;
        self.written += u64::from(code.count);
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.hold as u32).to_le_bytes());
            self.hold >>= 32;
            self.count -= 32;
        }
    }

    /// Writes what is left; the bits behind the last one are zero. Returns how many there were.
    fn finish(self) -> u64 {
        let rest = self.hold.to_le_bytes();
        self.out.extend(rest.iter().take(self.count.div_ceil(8) as usize));
        self.written
    }
}

/// Where three bytes were seen last, plus one.
struct Places([u16; 1 << PLACE_BITS]);

impl Places {
    /// Remembers the bytes at `at`; returns where others with the same hash were.
    #[inline(always)]
    fn put(&mut self, plain: &[u8], at: usize) -> Option<usize> {
        let [a, b, c] = *plain.get(at..)?.first_chunk::<SHORTEST>()?;
        let hash = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1) >> (32 - PLACE_BITS);
        let place = self.0.get_mut(hash as usize)?;
        usize::from(std::mem::replace(place, at as u16 + 1)).checked_sub(1)
    }
}

/// How many bytes at `at` are those at `from`, which is before it.
#[inline(always)]
fn common(plain: &[u8], from: usize, at: usize) -> usize {
    let (Some(old), Some(new)) = (plain.get(from..), plain.get(at..)) else { return 0 };
    let mut same = 0;
    for (old, new) in old.as_chunks::<8>().0.iter().zip(new.as_chunks::<8>().0) {
        let difference = u64::from_le_bytes(*old) ^ u64::from_le_bytes(*new);
        if difference != 0 {
            return (same + difference.trailing_zeros() as usize / 8).min(LONGEST);
        }
        same += 8;
        if same >= LONGEST {
            return LONGEST;
        }
    }
    let rest = old.iter().zip(new).skip(same).take_while(|(old, new)| old == new).count();
    (same + rest).min(LONGEST)
}

/// Appends the deflate stream of at most [`SHORT`] bytes; says where its only block lies.
pub(super) fn compress(plain: &[u8], packed: &mut Vec<u8>) -> Blocks {
    let mut places = Places([0; 1 << PLACE_BITS]);
    let mut bits = Bits { out: packed, hold: 0, count: 0, written: 0 };
    bits.put(HEADER);
    let mut at = 0;
    while let Some(byte) = plain.get(at) {
        let seen = places.put(plain, at);
        let run = at.checked_sub(1).map_or(0, |before| common(plain, before, at));
        let again = seen.filter(|_| run < LONGEST).map_or((0, 0), |from| (common(plain, from, at), at - from));
        let (length, distance) = if again.0 > run { again } else { (run, 1) };
        let Some(code) = length.checked_sub(SHORTEST).and_then(|index| LENGTHS.get(index)) else {
            bits.put(LITERALS[usize::from(*byte)]);
            at += 1;
            continue;
        };
        bits.put(*code);
        bits.put(distance_code(distance));
        let end = at + length;
        for inside in (at + 1).max(end.saturating_sub(REMEMBERED))..end {
            places.put(plain, inside);
        }
        at = end;
    }
    bits.put(END_OF_BLOCK);
    Blocks { last: 0, end: bits.finish() }
}

#[cfg(test)]
#[path = "short_tests.rs"]
mod tests;
