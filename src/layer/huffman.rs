//! The decoding tables of deflate's codes (RFC 1951, 3.2): code lengths in, one word for each possible run of bits out.
//!
//! A table is indexed by the next bits of the stream, lowest first. Codes longer than the index lead to a subtable.
//! An entry says all that the decoder needs at once:
//!
//! | bits | what |
//! |---|---|
//! | 0-5 | how many bits the symbol takes, extra bits included |
//! | 8-11 | how many of them are the code; of a link: the width of the subtable |
//! | 13, 14, 15 | end of block; link to a subtable; exceptional: one of the two, or no symbol at all |
//! | 16-30 | the literal, the base of a length or a distance, the beginning of a subtable |
//! | 31 | a literal |

use super::inflate::InflateError;

/// Set for literals.
pub const LITERAL: u32 = 1 << 31;
/// Set for whatever is neither a literal nor a length nor a distance.
pub const EXCEPTIONAL: u32 = 1 << 15;
/// Set for a link to a subtable.
pub const LINK: u32 = 1 << 14;
/// Set for the end of a block.
pub const END: u32 = 1 << 13;

/// Index bits of the table of literals and lengths.
pub const LITERAL_BITS: u32 = 11;
/// Index bits of the table of distances.
pub const DISTANCE_BITS: u32 = 8;
const PRECODE_BITS: u32 = 7;
/// The longest code.
const LONGEST: usize = 15;
/// Literals, the end of a block, and lengths; two of them must not occur.
const LITERALS: usize = 288;
const DISTANCES: usize = 32;
const PRECODES: usize = 19;

/// What the largest tables with such index bits need is 2342 and 402 entries (zlib's `enough` counts them); powers of
/// two need no check of a masked index.
pub type LiteralTable = [u32; 4096];
/// As [`LiteralTable`].
pub type DistanceTable = [u32; 512];

/// The part of an entry that says nothing of the code: base, flags and extra bits.
const fn symbol(base: u32, extra: u32) -> u32 {
    base << 16 | extra
}

/// Entries of symbols that the format does not have.
const INVALID: u32 = EXCEPTIONAL;

const LITERAL_SYMBOLS: [u32; LITERALS] = {
    let mut all = [INVALID; LITERALS];
    let mut n = 0;
    while n < 256 {
        all[n] = LITERAL | symbol(n as u32, 0);
        n += 1;
    }
    all[256] = EXCEPTIONAL | END;
    // Lengths: eight of one, then four to each number of extra bits; the last is 258 and not 259.
    let (mut base, mut n) = (3, 0);
    while n < 28 {
        let extra = if n < 8 { 0 } else { n as u32 / 4 - 1 };
        all[257 + n] = symbol(base, extra);
        base += 1 << extra;
        n += 1;
    }
    all[285] = symbol(258, 0);
    all
};

const DISTANCE_SYMBOLS: [u32; DISTANCES] = {
    let mut all = [INVALID; DISTANCES];
    let (mut base, mut n) = (1, 0);
    while n < 30 {
        let extra = if n < 4 { 0 } else { n as u32 / 2 - 1 };
        all[n] = symbol(base, extra);
        base += 1 << extra;
        n += 1;
    }
    all
};

const PRECODE_SYMBOLS: [u32; PRECODES] = {
    let mut all = [0; PRECODES];
    let mut n = 0;
    while n < PRECODES {
        all[n] = symbol(n as u32, 0);
        n += 1;
    }
    all
};

/// The table of literals and lengths for these code lengths.
pub fn literals(table: &mut LiteralTable, lengths: &[u8]) -> Result<(), InflateError> {
    build(table, LITERAL_BITS, lengths, &LITERAL_SYMBOLS)
}

/// The table of distances for these code lengths.
pub fn distances(table: &mut DistanceTable, lengths: &[u8]) -> Result<(), InflateError> {
    build(table, DISTANCE_BITS, lengths, &DISTANCE_SYMBOLS)
}

/// The table of the code that the code lengths are written in. It has no links.
pub fn precode(table: &mut [u32; 1 << PRECODE_BITS], lengths: &[u8; PRECODES]) -> Result<(), InflateError> {
    build(table, PRECODE_BITS, lengths, &PRECODE_SYMBOLS)
}

/// The next code of the same length, where codes stand with their first bit lowest: an addition that carries down.
#[inline(always)]
fn following(code: usize, length: u32) -> usize {
    let top = 1usize << (length - 1);
    let ones = (!code << (usize::BITS - length)).leading_zeros();
    let bit = top >> ones.min(length - 1);
    code & bit.wrapping_sub(1) | bit
}

/// Where the decoder of a symbol with this code length finds it.
#[inline(always)]
fn coded(symbol: u32, length: u32) -> u32 {
    symbol + length * 0x101
}

fn build<const SYMBOLS: usize>(
    table: &mut [u32],
    bits: u32,
    lengths: &[u8],
    symbols: &[u32; SYMBOLS],
) -> Result<(), InflateError> {
    let mut counts = [0u16; LONGEST + 1];
    lengths.iter().for_each(|length| counts[usize::from(*length & 15)] += 1);
    let mut offsets = [0u16; LONGEST + 2];
    let (mut left, mut longest) = (1i32, 0);
    for length in 1..=LONGEST {
        offsets[length + 1] = offsets[length] + counts[length];
        left = (left << 1) - i32::from(counts[length]);
        if left < 0 {
            return Err(InflateError::Damaged);
        }
        if counts[length] > 0 {
            longest = length as u32;
        }
    }
    let used = usize::from(offsets[LONGEST + 1]);
    if left > 0 {
        return incomplete(table, bits, lengths, symbols, used, counts[1]);
    }
    // Symbols in the order of their codes: by length, then by number.
    let mut order = [0u16; SYMBOLS];
    for (number, length) in lengths.iter().enumerate().take(SYMBOLS) {
        let length = usize::from(*length & 15);
        if length > 0 {
            order[usize::from(offsets[length]) % SYMBOLS] = number as u16;
            offsets[length] += 1;
        }
    }
    let mut order = order.iter().take(used);
    let mut code = 0usize;
    let mut length = 1;
    // The short codes: the table of each length is the one of the length before, twice.
    while length <= bits.min(longest) {
        if length > 1 {
            table.copy_within(0..1 << (length - 1), 1 << (length - 1));
        }
        for number in order.by_ref().take(usize::from(counts[length as usize])) {
            table[code] = coded(symbols[usize::from(*number) % SYMBOLS], length);
            code = following(code, length);
        }
        // The next code is one bit longer: a zero behind it, which is a zero above it here.
        length += 1;
    }
    while length <= bits {
        table.copy_within(0..1 << (length - 1), 1 << (length - 1));
        length += 1;
    }
    // The long ones: those with the same lowest bits share a subtable, as wide as the longest of them needs.
    let mut free = 1usize << bits;
    let mut prefix = usize::MAX;
    let (mut start, mut width) = (0, 0);
    while length <= longest {
        let mut count = counts[length as usize];
        for number in order.by_ref().take(usize::from(count)) {
            if code & ((1 << bits) - 1) != prefix {
                prefix = code & ((1 << bits) - 1);
                start = free;
                width = length - bits;
                let mut room = i32::from(count);
                let mut level = length as usize;
                while room < 1 << width && level < LONGEST {
                    level += 1;
                    width += 1;
                    room = (room << 1) + i32::from(counts[level]);
                }
                free += 1 << width;
                table[prefix] = EXCEPTIONAL | LINK | (start as u32) << 16 | width << 8 | bits;
            }
            let entry = coded(symbols[usize::from(*number) % SYMBOLS], length - bits);
            let subtable = table.get_mut(start..start + (1 << width)).ok_or(InflateError::Damaged)?;
            subtable.iter_mut().skip(code >> bits).step_by(1 << (length - bits)).for_each(|slot| *slot = entry);
            code = following(code, length);
            count -= 1;
        }
        length += 1;
    }
    Ok(())
}

/// A code that leaves room is allowed only if it has no symbol, or one whose code is one bit (RFC 1951, 3.2.7).
fn incomplete<const SYMBOLS: usize>(
    table: &mut [u32],
    bits: u32,
    lengths: &[u8],
    symbols: &[u32; SYMBOLS],
    used: usize,
    of_one_bit: u16,
) -> Result<(), InflateError> {
    if used > 1 || u16::try_from(used) != Ok(of_one_bit) {
        return Err(InflateError::Damaged);
    }
    table[..1 << bits].fill(coded(INVALID, 1));
    if let Some(number) = lengths.iter().position(|length| *length == 1) {
        table[..1 << bits].iter_mut().step_by(2).for_each(|slot| *slot = coded(symbols[number % SYMBOLS], 1));
    }
    Ok(())
}
