//! Tables of symbol versions (LSB core, "Symbol Versioning"): the same bytes for 32 and for 64 bits.

use object::endian::Endianness;

use super::Required;

/// The most entries of one table; more are not looked at. Seen: 40 libraries, 40 versions.
const ENTRY_LIMIT: usize = 4_096;
/// `VER_FLG_WEAK`.
const WEAK: u16 = 2;
/// `VER_FLG_BASE`: the name of the file itself.
const BASE: u16 = 1;

/// Numbers of a table that may lie about every place.
struct Table<'a> {
    bytes: &'a [u8],
    endian: Endianness,
}

impl Table<'_> {
    fn half(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.endian == Endianness::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.endian == Endianness::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// `at` and the distance that stands at `place`, if it is not 0.
    fn next(&self, at: usize, place: usize) -> Option<usize> {
        let distance = usize::try_from(self.word(at.checked_add(place)?)?).ok()?;
        if distance == 0 { None } else { at.checked_add(distance) }
    }
}

/// `DT_VERNEED`: which versions are needed of which library.
pub(super) fn required(bytes: &[u8], endian: Endianness, name: &dyn Fn(u32) -> Option<String>) -> Vec<Required> {
    let table = Table { bytes, endian };
    let mut found = Vec::new();
    let mut library_at = Some(0usize);
    let mut steps = 0;
    while let Some(at) = library_at.filter(|_| steps < ENTRY_LIMIT) {
        steps += 1;
        let Some(library) = table.word(at.saturating_add(4)).and_then(name) else { break };
        let mut version_at = table.next(at, 8);
        while let Some(at) = version_at.filter(|_| steps < ENTRY_LIMIT) {
            steps += 1;
            let (Some(flags), Some(version)) =
                (table.half(at.saturating_add(4)), table.word(at.saturating_add(8)).and_then(name))
            else {
                break;
            };
            found.push(Required { library: library.clone(), version, weak: flags & WEAK != 0 });
            version_at = table.next(at, 12);
        }
        library_at = table.next(at, 12);
    }
    found
}

/// `DT_VERDEF`: the versions that a library has.
pub(super) fn provided(bytes: &[u8], endian: Endianness, name: &dyn Fn(u32) -> Option<String>) -> Vec<String> {
    let table = Table { bytes, endian };
    let mut found = Vec::new();
    let mut entry = Some(0usize);
    for _ in 0..ENTRY_LIMIT {
        let Some(at) = entry else { break };
        let Some(flags) = table.half(at.saturating_add(2)) else { break };
        let version = table.next(at, 12).and_then(|aux| table.word(aux)).and_then(name);
        if flags & BASE == 0 {
            found.extend(version);
        }
        entry = table.next(at, 16);
    }
    found
}
