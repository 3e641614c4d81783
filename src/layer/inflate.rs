//! A deflate decoder (RFC 1951) that also says where the last block begins and where it ends, to the bit.
//!
//! Splicing needs that: the last-block flag of a stream that is copied into a longer one has to be cleared, and no
//! inflate library tells where it is. It decodes whole slices (members of mapped archives, our own runs), checks
//! that no distance reaches before the stream's own start, and is safe code throughout.
//!
//! Where the input has [`HEAD`] more bytes and the page has room, [`quick`] decodes without asking for either again;
//! the last bytes of a stream, and whatever else is seldom, go through [`careful`]. Both use the tables of
//! [`huffman`](super::huffman).

use super::huffman::{self, DISTANCE_BITS, DistanceTable, END, EXCEPTIONAL, LINK, LITERAL, LITERAL_BITS, LiteralTable};
use super::page::{CHUNK, SLACK};
pub use super::page::{FULL, Page, Sink, WINDOW};

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

/// Decoding one length and its distance, with the literals before them, takes fewer bytes of input.
const HEAD: usize = 24;

#[derive(Clone, Copy)]
struct Bits<'a> {
    rest: &'a [u8],
    /// The next bits, lowest first; above `count` of them there may be some that are also in `rest`.
    hold: u64,
    count: u32,
    length: usize,
    /// Zero bytes that were read beyond the end.
    beyond: usize,
}

impl<'a> Bits<'a> {
    fn new(input: &'a [u8]) -> Self {
        Bits { rest: input, hold: 0, count: 0, length: input.len(), beyond: 0 }
    }

    /// At least 56 bits in `hold`; beyond the end they are zero.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(word) = self.rest.first_chunk::<8>() {
            self.hold |= u64::from_le_bytes(*word) << self.count;
            self.rest = &self.rest[((63 - self.count) >> 3 & 7) as usize..];
            self.count |= 56;
        } else {
            self.refill_slowly();
        }
    }

    #[cold]
    fn refill_slowly(&mut self) {
        while self.count < 56 {
            match self.rest.split_first() {
                Some((byte, rest)) => {
                    self.hold |= u64::from(*byte) << self.count;
                    self.rest = rest;
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
        (self.length - self.rest.len() + self.beyond) as u64 * 8 - u64::from(self.count)
    }

    fn check(&self) -> Result<(), InflateError> {
        if self.position() > self.length as u64 * 8 { Err(InflateError::Truncated) } else { Ok(()) }
    }

    /// What an impossible symbol means: beyond the end everything is zero.
    fn damage(&self) -> InflateError {
        if self.beyond > 0 { InflateError::Truncated } else { InflateError::Damaged }
    }

    /// The bytes from the next byte boundary on.
    fn align(&self, input: &'a [u8]) -> Result<&'a [u8], InflateError> {
        let at = self.position().div_ceil(8) as usize;
        input.get(at..).ok_or(InflateError::Truncated)
    }
}

/// A decoder with its tables, to be used for many streams.
pub struct Inflater {
    literals: Box<LiteralTable>,
    distances: Box<DistanceTable>,
    /// The tables are those of the fixed code.
    fixed: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater { literals: Box::new([0; 4096]), distances: Box::new([0; 512]), fixed: false }
    }
}

/// Where the output stands.
struct Output<'a> {
    page: &'a mut Page,
    /// The first byte of the page that belongs to the stream.
    base: usize,
    /// The first byte that the sink has not seen.
    start: usize,
    total: u64,
    limit: u64,
    sink: &'a mut dyn Sink,
}

impl Output<'_> {
    fn show(&mut self) -> Result<(), InflateError> {
        self.total += (self.page.used - self.start) as u64;
        if self.total > self.limit {
            return Err(InflateError::TooLong);
        }
        self.sink.fresh(self.page, self.start..self.page.used);
        self.start = self.page.used;
        Ok(())
    }

    #[cold]
    fn turn(&mut self, consumed: usize) -> Result<(), InflateError> {
        self.show()?;
        if !self.sink.turn(self.page, consumed) {
            self.page.follow_itself();
        }
        // What was before the stream in the full page may still be in the window.
        self.base = (self.base + WINDOW).saturating_sub(self.start);
        self.start = self.page.used;
        Ok(())
    }
}

/// Why a loop ended.
enum Pause {
    /// The block is over.
    Block,
    /// The input or the page is nearly used up.
    Edge,
}

impl Inflater {
    /// Decodes the stream at the beginning of `input` to the end of the page, telling the sink of its bytes in order.
    /// More than `limit` bytes are refused (a little later than the limit). Returns where the last block lies.
    pub fn inflate(
        &mut self,
        input: &[u8],
        limit: u64,
        page: &mut Page,
        sink: &mut dyn Sink,
    ) -> Result<Blocks, InflateError> {
        let mut bits = Bits::new(input);
        let used = page.used;
        let mut out = Output { page, base: used, start: used, total: 0, limit, sink };
        loop {
            let header = bits.position();
            bits.refill();
            let last = bits.take(1) == 1;
            match bits.take(2) {
                0 => stored(&mut bits, input, &mut out)?,
                1 => {
                    self.fixed_tables()?;
                    self.compressed(&mut bits, &mut out)?;
                }
                2 => {
                    self.fixed = false;
                    dynamic_tables(&mut bits, &mut self.literals, &mut self.distances)?;
                    self.compressed(&mut bits, &mut out)?;
                }
                _ => return Err(bits.damage()),
            }
            bits.check()?;
            if last {
                out.show()?;
                return Ok(Blocks { last: header, end: bits.position() });
            }
        }
    }

    fn fixed_tables(&mut self) -> Result<(), InflateError> {
        if !self.fixed {
            let mut lengths = [8u8; 288];
            lengths[144..256].fill(9);
            lengths[256..280].fill(7);
            huffman::literals(&mut self.literals, &lengths)?;
            huffman::distances(&mut self.distances, &[5; 32])?;
            self.fixed = true;
        }
        Ok(())
    }

    fn compressed(&self, bits: &mut Bits<'_>, out: &mut Output<'_>) -> Result<(), InflateError> {
        loop {
            if out.page.used >= FULL {
                bits.check()?;
                out.turn(bits.length - bits.rest.len())?;
            }
            if let Pause::Block = quick(bits, &self.literals, &self.distances, out.page, out.base)? {
                return Ok(());
            }
            if let Pause::Block = careful(bits, &self.literals, &self.distances, out.page, out.base)? {
                return Ok(());
            }
        }
    }
}

fn stored<'a>(bits: &mut Bits<'a>, input: &'a [u8], out: &mut Output<'_>) -> Result<(), InflateError> {
    let rest = bits.align(input)?;
    let (head, rest) = rest.split_first_chunk::<4>().ok_or(InflateError::Truncated)?;
    let length = u16::from_le_bytes([head[0], head[1]]);
    if length != !u16::from_le_bytes([head[2], head[3]]) {
        return Err(InflateError::Damaged);
    }
    let (mut plain, rest) = rest.split_at_checked(usize::from(length)).ok_or(InflateError::Truncated)?;
    *bits = Bits { rest, hold: 0, count: 0, length: bits.length, beyond: 0 };
    let before = bits.length - rest.len() - plain.len();
    while !plain.is_empty() {
        if out.page.used >= FULL {
            out.turn(before)?;
        }
        let (now, later) = plain.split_at(plain.len().min(out.page.room()));
        let used = out.page.used;
        out.page.bytes[used..used + now.len()].copy_from_slice(now);
        out.page.used += now.len();
        plain = later;
    }
    Ok(())
}

const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

fn dynamic_tables(
    bits: &mut Bits<'_>,
    literals: &mut LiteralTable,
    distances: &mut DistanceTable,
) -> Result<(), InflateError> {
    bits.refill();
    let (literal_count, distance_count) = (257 + bits.take(5) as usize, 1 + bits.take(5) as usize);
    let precode_count = 4 + bits.take(4) as usize;
    if literal_count > 286 || distance_count > 30 {
        return Err(bits.damage());
    }
    let mut precode_lengths = [0u8; 19];
    for symbols in PRECODE_ORDER[..precode_count].chunks(16) {
        bits.refill();
        symbols.iter().for_each(|symbol| precode_lengths[*symbol] = bits.take(3) as u8);
    }
    let mut precode = [0u32; 128];
    huffman::precode(&mut precode, &precode_lengths)?;
    // The longest repetition may write behind the last length before that is refused.
    let mut lengths = [0u8; 286 + 30 + 138];
    let total = literal_count + distance_count;
    let mut filled = 0;
    while filled < total {
        if bits.count < 14 {
            bits.refill();
        }
        let found = precode[(bits.hold & 127) as usize];
        if found & EXCEPTIONAL != 0 {
            return Err(bits.damage());
        }
        bits.drop(found & 63);
        let (value, repeat) = match found >> 16 {
            length @ 0..=15 => {
                lengths[filled] = length as u8;
                filled += 1;
                continue;
            }
            16 => {
                let before = filled.checked_sub(1).map(|n| lengths[n]).ok_or(InflateError::Damaged)?;
                (before, 3 + bits.take(2) as usize)
            }
            17 => (0, 3 + bits.take(3) as usize),
            _ => (0, 11 + bits.take(7) as usize),
        };
        lengths[filled..filled + repeat].fill(value);
        filled += repeat;
    }
    bits.check()?;
    if filled > total || lengths[256] == 0 {
        return Err(bits.damage());
    }
    huffman::literals(literals, &lengths[..literal_count])?;
    huffman::distances(distances, &lengths[literal_count..total])
}

/// The base of a symbol and its extra bits, which are the last of those that the entry takes from `bits`.
#[inline(always)]
fn value(entry: u32, bits: u64) -> usize {
    let extra = (bits & ((1 << (entry & 63)) - 1)) >> (entry >> 8 & 15);
    (entry >> 16) as usize + extra as usize
}

/// The index in a subtable.
#[inline(always)]
fn linked(link: u32, bits: u64) -> usize {
    (link >> 16) as usize + (bits & ((1 << (link >> 8 & 15)) - 1)) as usize
}

/// Copies one chunk. The chunks of an overlapping match must not reach into what they write.
#[inline(always)]
fn chunk<const N: usize>(bytes: &mut [u8; FULL + SLACK], from: usize, to: usize) {
    let mut copy = [0; N];
    copy.copy_from_slice(&bytes[from..from + N]);
    bytes[to..to + N].copy_from_slice(&copy);
}

/// Copies a match, in whole chunks: up to `2 * CHUNK` bytes more than its length are written.
#[inline(always)]
fn copy(bytes: &mut [u8; FULL + SLACK], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    let end = at + length;
    if distance >= CHUNK {
        chunk::<CHUNK>(bytes, from, at);
        chunk::<CHUNK>(bytes, from + CHUNK, at + CHUNK);
        let mut done = 2 * CHUNK;
        while done < length {
            chunk::<CHUNK>(bytes, from + done, at + done);
            done += CHUNK;
        }
    } else if distance == 1 {
        let byte = bytes[from];
        let mut to = at;
        while to < end {
            bytes[to..to + CHUNK].fill(byte);
            to += CHUNK;
        }
    } else {
        // Eight bytes at a time, of which as many are right as the distance is long.
        let step = distance.min(8);
        let mut done = 0;
        while done < length {
            chunk::<8>(bytes, from + done, at + done);
            done += step;
        }
    }
}

/// Decodes while there is plenty of input and room.
fn quick(
    bits: &mut Bits<'_>,
    literals: &LiteralTable,
    distances: &DistanceTable,
    page: &mut Page,
    base: usize,
) -> Result<Pause, InflateError> {
    const LITERAL_MASK: u64 = (1 << LITERAL_BITS) - 1;
    const DISTANCE_MASK: u64 = (1 << DISTANCE_BITS) - 1;
    let Bits { mut rest, mut hold, mut count, .. } = *bits;
    let bytes = &mut *page.bytes;
    let mut at = page.used;
    // The next entry is looked up as soon as its bits are known, before whatever can wait.
    let mut entry = literals[(hold & LITERAL_MASK) as usize];
    if count < LITERAL_BITS {
        let Some(head) = rest.first_chunk::<8>() else { return Ok(Pause::Edge) };
        hold |= u64::from_le_bytes(*head) << count;
        entry = literals[(hold & LITERAL_MASK) as usize];
    }
    let pause = loop {
        let Some(head) = rest.first_chunk::<HEAD>().filter(|_| at < FULL) else { break Pause::Edge };
        let mut taken = 0;
        // Entries are subtracted whole: `count` is right in its lowest six bits.
        macro_rules! refill {
            () => {
                let mut word = [0; 8];
                word.copy_from_slice(&head[taken..taken + 8]);
                hold |= u64::from_le_bytes(word) << (count & 63);
                taken += (!count >> 3 & 7) as usize;
                count |= 56;
            };
        }
        macro_rules! consume {
            ($entry:ident) => {
                hold >>= $entry & 63;
                count = count.wrapping_sub($entry);
            };
        }
        refill!();
        let mut before = hold;
        consume!(entry);
        if entry & LITERAL != 0 {
            bytes[at] = (entry >> 16) as u8;
            at += 1;
            entry = literals[(hold & LITERAL_MASK) as usize];
            before = hold;
            consume!(entry);
            if entry & LITERAL != 0 {
                bytes[at] = (entry >> 16) as u8;
                at += 1;
                entry = literals[(hold & LITERAL_MASK) as usize];
                before = hold;
                consume!(entry);
                if entry & LITERAL != 0 {
                    bytes[at] = (entry >> 16) as u8;
                    at += 1;
                    rest = &rest[taken..];
                    entry = literals[(hold & LITERAL_MASK) as usize];
                    continue;
                }
            }
        }
        if entry & EXCEPTIONAL != 0 {
            if entry & LINK != 0 {
                entry = literals[linked(entry, hold) & 4095];
                before = hold;
                consume!(entry);
                if entry & LITERAL != 0 {
                    bytes[at] = (entry >> 16) as u8;
                    at += 1;
                    rest = &rest[taken..];
                    entry = literals[(hold & LITERAL_MASK) as usize];
                    continue;
                }
            }
            if entry & END != 0 {
                rest = &rest[taken..];
                break Pause::Block;
            }
            if entry & EXCEPTIONAL != 0 {
                return Err(InflateError::Damaged);
            }
        }
        let length = value(entry, before);
        // 3 * 11 + 9 + 5 bits are gone at most; the rest is enough for the index.
        entry = distances[(hold & DISTANCE_MASK) as usize];
        refill!();
        if entry & EXCEPTIONAL != 0 {
            consume!(entry);
            if entry & LINK == 0 {
                return Err(InflateError::Damaged);
            }
            entry = distances[linked(entry, hold) & 511];
            if entry & EXCEPTIONAL != 0 {
                return Err(InflateError::Damaged);
            }
        }
        let distance = value(entry, hold);
        consume!(entry);
        entry = literals[(hold & LITERAL_MASK) as usize];
        if distance > at - base {
            return Err(InflateError::TooFar);
        }
        rest = &rest[taken..];
        copy(bytes, at, distance, length);
        at += length;
    };
    page.used = at;
    *bits = Bits { rest, hold, count: count & 63, ..*bits };
    Ok(pause)
}

/// Decodes symbol by symbol until there is plenty of input again (after a turn of the page), or to the end.
#[cold]
fn careful(
    bits: &mut Bits<'_>,
    literals: &LiteralTable,
    distances: &DistanceTable,
    page: &mut Page,
    base: usize,
) -> Result<Pause, InflateError> {
    loop {
        if page.used >= FULL {
            return Ok(Pause::Edge);
        }
        bits.refill();
        let mut entry = literals[(bits.hold & ((1 << LITERAL_BITS) - 1)) as usize];
        if entry & LINK != 0 {
            bits.drop(LITERAL_BITS);
            entry = literals[linked(entry, bits.hold) & 4095];
        }
        let before = bits.hold;
        bits.drop(entry & 63);
        if entry & LITERAL != 0 {
            page.bytes[page.used] = (entry >> 16) as u8;
            page.used += 1;
            bits.check()?;
            continue;
        }
        if entry & EXCEPTIONAL != 0 {
            return if entry & END != 0 { Ok(Pause::Block) } else { Err(bits.damage()) };
        }
        let length = value(entry, before);
        bits.refill();
        let mut entry = distances[(bits.hold & ((1 << DISTANCE_BITS) - 1)) as usize];
        if entry & LINK != 0 {
            bits.drop(DISTANCE_BITS);
            entry = distances[linked(entry, bits.hold) & 511];
        }
        if entry & EXCEPTIONAL != 0 {
            return Err(bits.damage());
        }
        let distance = value(entry, bits.hold);
        bits.drop(entry & 63);
        bits.check()?;
        if distance > page.used - base {
            return Err(InflateError::TooFar);
        }
        copy(&mut page.bytes, page.used, distance, length);
        page.used += length;
    }
}

#[cfg(test)]
#[path = "inflate_tests.rs"]
mod tests;
