//! Literal runs: bytes that are compressed alone, with a fresh window, by the pinned encoder.

use std::io;

use libdeflater::{CompressionLvl, Compressor};

use super::inflate::{Inflater, Page};
use super::short::{self, SHORT};
use super::splice::{self, Joint};

/// libdeflate's level 6, as gzip's default.
const GZIP_LEVEL: i32 = 6;

/// What a thread needs to make segments, kept from one to the next.
#[derive(Default)]
pub(super) struct Tools {
    pub inflater: Inflater,
    /// For bytes that nobody keeps.
    pub scratch: Page,
    compressor: Option<Compressor>,
}

thread_local! {
    static TOOLS: std::cell::RefCell<Tools> = std::cell::RefCell::default();
}

impl Tools {
    /// Calls `work` with this thread's tools. It must not call back.
    pub fn with<T>(work: impl FnOnce(&mut Tools) -> T) -> T {
        TOOLS.with_borrow_mut(work)
    }

    /// Appends the deflate stream of `plain` to `packed`; says how to join it, and the CRC-32 of `plain`.
    ///
    /// The stream of the pinned encoder is decoded like any other: that finds its last block, and proves it.
    pub fn compress(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> io::Result<(Joint, crc32fast::Hasher)> {
        let defect = |text: &str| io::Error::other(format!("the encoder failed: {text}"));
        if plain.len() <= SHORT {
            let start = packed.len();
            let blocks = short::compress(plain, packed);
            let joint = Joint::new(&packed[start..], blocks).map_err(|error| defect(&error.to_string()))?;
            let mut crc = crc32fast::Hasher::new();
            crc.update(plain);
            return Ok((joint, crc));
        }
        let level = CompressionLvl::new(GZIP_LEVEL).map_err(|_| defect("level"))?;
        let compressor = self.compressor.get_or_insert_with(|| Compressor::new(level));
        let start = packed.len();
        packed.resize(start + compressor.deflate_compress_bound(plain.len()), 0);
        let size =
            compressor.deflate_compress(plain, &mut packed[start..]).map_err(|error| defect(&error.to_string()))?;
        packed.truncate(start + size);

        let mut same = true;
        let mut rest = plain;
        let mut compare = |bytes: &[u8]| match rest.split_at_checked(bytes.len()) {
            Some((expected, later)) => (same, rest) = (same && bytes == expected, later),
            None => same = false,
        };
        self.scratch.clear();
        let limit = plain.len() as u64;
        let decoded = splice::decode(&mut self.inflater, &packed[start..], limit, &mut self.scratch, &mut compare)
            .map_err(|error| defect(&error.to_string()))?;
        if !same || !rest.is_empty() {
            return Err(defect("its stream has other bytes"));
        }
        Ok((decoded.joint, decoded.crc))
    }
}
