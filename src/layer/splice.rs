//! Joining deflate streams without recompressing them (the technique of zlib's `gzjoin`).
//!
//! A stream ends with a block whose last-block flag is set, at any bit. To go on after it, the flag is cleared, the
//! bits behind the block are zeroed, and, unless the block happens to end on a byte boundary, an empty stored
//! block leads to the next one. A distance can never reach back over a joint: [`super::inflate`] refuses a member
//! that refers to bytes before its own beginning, and our own runs start with a fresh window.

use std::ops::Range;

use super::inflate::{Blocks, InflateError, Inflater, Page, Sink};

/// The pieces that stand for a stream within a longer one: `head`, the stream's own bytes in `body`, then `tail`.
/// At most two bytes of the stream change, so it is never copied as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// Bytes of the stream before the first change.
    head: Range<usize>,
    /// The byte with the last-block flag, changed; then unchanged bytes.
    flag: Option<(u8, Range<usize>)>,
    /// The last byte, cleaned, and the empty stored block.
    tail: Vec<u8>,
}

impl Joint {
    /// For the stream at the beginning of `bytes`, whose blocks were found by the decoder.
    pub fn new(bytes: &[u8], blocks: Blocks) -> Result<Self, InflateError> {
        let at = |index: usize| bytes.get(index).copied().ok_or(InflateError::Truncated);
        let flag_byte = (blocks.last / 8) as usize;
        let flag_bit = 1u8 << (blocks.last % 8);
        let end_byte = (blocks.end / 8) as usize;
        let end_bits = (blocks.end % 8) as u32;
        let mut tail = Vec::with_capacity(6);
        if end_bits > 0 {
            let mut byte = at(end_byte)? & ((1 << end_bits) - 1);
            if flag_byte == end_byte {
                byte &= !flag_bit;
            }
            tail.push(byte);
            // The header of the stored block is three zero bits: five or fewer used bits leave room for it.
            if end_bits > 5 {
                tail.push(0);
            }
            tail.extend_from_slice(&[0, 0, 0xff, 0xff]);
        }
        if flag_byte >= end_byte {
            return Ok(Joint { head: 0..end_byte, flag: None, tail });
        }
        let flag = at(flag_byte)? & !flag_bit;
        Ok(Joint { head: 0..flag_byte, flag: Some((flag, flag_byte + 1..end_byte)), tail })
    }

    /// The joined bytes, piece by piece.
    pub fn pieces<'a>(&'a self, bytes: &'a [u8]) -> [&'a [u8]; 4] {
        let part = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        match &self.flag {
            Some((flag, rest)) => [part(&self.head), std::slice::from_ref(flag), part(rest), &self.tail],
            None => [part(&self.head), &[], &[], &self.tail],
        }
    }
}

/// What a member turned out to be while it was decoded.
pub struct Decoded {
    /// How to join it.
    pub joint: Joint,
    /// Its CRC-32, with its length.
    pub crc: crc32fast::Hasher,
    /// Its unpacked length.
    pub size: u64,
}

/// Decodes the whole of `bytes` as one deflate stream of at most `limit` bytes, to the end of the page.
pub fn decode(
    inflater: &mut Inflater,
    bytes: &[u8],
    limit: u64,
    page: &mut Page,
    sink: &mut dyn Sink,
) -> Result<Decoded, SpliceError> {
    let mut counted = Counted { crc: crc32fast::Hasher::new(), size: 0, sink };
    let blocks = inflater.inflate(bytes, limit, page, &mut counted)?;
    let Counted { crc, size, .. } = counted;
    let used = blocks.end.div_ceil(8);
    if used != bytes.len() as u64 {
        return Err(SpliceError::Trailing { count: bytes.len() as u64 - used });
    }
    Ok(Decoded { joint: Joint::new(bytes, blocks)?, crc, size })
}

struct Counted<'a> {
    crc: crc32fast::Hasher,
    size: u64,
    sink: &'a mut dyn Sink,
}

impl Sink for Counted<'_> {
    fn fresh(&mut self, page: &Page, part: Range<usize>) {
        self.crc.update(&page.bytes()[part.clone()]);
        self.size += part.len() as u64;
        self.sink.fresh(page, part);
    }

    fn turn(&mut self, page: &mut Page, consumed: usize) -> bool {
        self.sink.turn(page, consumed)
    }
}

/// Why a stream cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// It is not a deflate stream.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// Something follows it.
    #[error("{count} bytes follow its deflate stream")]
    Trailing {
        /// How many.
        count: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn joined(streams: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut inflater = Inflater::default();
        for stream in streams {
            let decoded = decode(&mut inflater, stream, 1 << 24, &mut Page::default(), &mut |_: &[u8]| {}).unwrap();
            decoded.joint.pieces(stream).iter().for_each(|piece| out.extend_from_slice(piece));
        }
        out.extend_from_slice(&[3, 0]);
        out
    }

    fn deflate(plain: &[u8], level: u32, flush_every: usize) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        for (n, chunk) in plain.chunks(flush_every.max(1)).enumerate() {
            // A flush ends a block; the last block holds content too.
            if n > 0 {
                encoder.flush().unwrap();
            }
            encoder.write_all(chunk).unwrap();
        }
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn joined_streams_inflate_to_joined_content(
            members in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 0u32..10, 1usize..400, 1usize..40), 0..8)
        ) {
            let mut plain = Vec::new();
            let mut streams = Vec::new();
            for (bytes, level, flush, times) in members {
                let content = bytes.repeat(times);
                streams.push(deflate(&content, level, flush));
                plain.extend_from_slice(&content);
            }
            let mut found = Vec::new();
            let stream = joined(&streams);
            let mut decoder = flate2::read::DeflateDecoder::new(&stream[..]);
            decoder.read_to_end(&mut found).unwrap();
            prop_assert_eq!(decoder.total_in() as usize, stream.len());
            prop_assert!(found == plain);
        }
    }

    #[test]
    fn a_last_block_may_end_at_every_bit() {
        let mut seen = [false; 8];
        for length in 0..400usize {
            let content: Vec<u8> = (0..length).map(|n| b'a' + (n * n % 23) as u8 * u8::from(n % 3 > 0)).collect();
            let mut streams = Vec::new();
            for level in [0, 1, 6, 9] {
                let stream = deflate(&content, level, 1 << 20);
                let blocks =
                    Inflater::default().inflate(&stream, 1 << 20, &mut Page::default(), &mut |_: &[u8]| {}).unwrap();
                seen[(blocks.end % 8) as usize] = true;
                streams.push(stream);
            }
            let mut found = Vec::new();
            flate2::read::DeflateDecoder::new(&joined(&streams)[..]).read_to_end(&mut found).unwrap();
            assert!(found == content.repeat(4), "{length}");
        }
        assert_eq!(seen, [true; 8]);
    }

    #[test]
    fn bytes_behind_a_stream_are_refused() {
        let mut stream = deflate(b"x", 6, 9);
        stream.push(0);
        let error =
            decode(&mut Inflater::default(), &stream, 10, &mut Page::default(), &mut |_: &[u8]| {}).err().unwrap();
        assert_eq!(error.to_string(), "1 bytes follow its deflate stream");
    }
}
