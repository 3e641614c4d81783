//! The file /etc/ld.so.cache: as glibc 2.33 and later write it (strings share their tails, an extension names the
//! generator), and the older layout with the oldest one before it (glibc: elf/cache.c, sysdeps/generic/dl-cache.h).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// Bytes before the entries, and of each.
const HEADER: usize = 48;
const ENTRY: usize = 24;
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const SECTION: usize = 16;
/// The longest name or path that is read, in bytes: many entries may have the same.
const TEXT_LIMIT: usize = 4 << 10;
/// The most bytes of names and paths together.
const TEXTS_LIMIT: usize = 32 << 20;
/// In `hwcap`: the low half is the number of a glibc-hwcaps folder.
const HWCAP_EXTENSION: u64 = 1 << 62;
/// In the header's flags: how the file's numbers are written.
const LITTLE_ENDIAN: u8 = 2;
const BIG_ENDIAN: u8 = 3;

/// One library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheEntry {
    /// What programs ask for.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its kind.
    pub flags: u32,
    /// The oldest kernel that it runs on.
    pub osversion: u32,
    /// Below which folder of glibc-hwcaps it is.
    pub hwcaps: Option<String>,
}

/// Which layout a C library's own ldconfig writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// glibc 2.33 and later.
    Extended,
    /// The oldest layout with the newer one inside, for every reader.
    Both,
}

/// A cache as it is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cache {
    /// The libraries, in the file's order.
    pub entries: Vec<CacheEntry>,
    /// What wrote it: "ldconfig (Debian GLIBC 2.36-9) stable release version 2.36".
    pub generator: Option<String>,
}

/// The order of the cache: later versions first, then other kinds, then the special before the common.
pub(super) fn order(a: &CacheEntry, b: &CacheEntry) -> Ordering {
    let special = || match (&a.hwcaps, &b.hwcaps) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    compare_names(&b.name, &a.name)
        .then_with(|| b.flags.cmp(&a.flags))
        .then_with(special)
        .then_with(|| b.osversion.cmp(&a.osversion))
}

/// As the dynamic loader compares names: numbers by value, digits after all else.
pub(super) fn compare_names(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(first), Some(second)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => {
                let ((number, rest), (other, other_rest)) = (number(a), number(b));
                if number != other {
                    return number.cmp(&other);
                }
                (a, b) = (rest, other_rest);
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if first != second => return first.cmp(second),
            (false, false) => (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()),
        }
    }
}

fn number(text: &[u8]) -> (u64, &[u8]) {
    let (digits, rest) = text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()));
    let value = digits.iter().fold(0u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (value, rest)
}

impl Cache {
    /// The bytes of the file. `folders` are all glibc-hwcaps folders that were seen, with or without libraries.
    pub(super) fn encode(&self, layout: Layout, folders: &BTreeSet<String>, big_endian: bool) -> Vec<u8> {
        let mut out = Bytes { bytes: Vec::new(), big_endian };
        match layout {
            Layout::Extended => self.extended(&mut out, folders),
            Layout::Both => self.both(&mut out),
        }
        out.bytes
    }

    fn extended(&self, out: &mut Bytes, folders: &BTreeSet<String>) {
        let mut strings: BTreeSet<&str> = folders.iter().map(String::as_str).collect();
        strings.extend(self.entries.iter().flat_map(|entry| [entry.name.as_str(), entry.path.as_str()]));
        let (table, offsets) = table(strings);
        let start = HEADER + ENTRY * self.entries.len();
        let at = |text: &str| start + offsets.get(text).copied().unwrap_or_default();
        let used: BTreeSet<&str> = self.entries.iter().filter_map(|entry| entry.hwcaps.as_deref()).collect();
        let extension = (start + table.len()).next_multiple_of(4);

        out.raw(MAGIC);
        out.number(self.entries.len());
        out.number(table.len());
        out.raw(&[if out.big_endian { BIG_ENDIAN } else { LITTLE_ENDIAN }, 0, 0, 0]);
        out.number(extension);
        out.raw(&[0; 12]);
        for entry in &self.entries {
            let place = entry.hwcaps.as_deref().and_then(|folder| used.iter().position(|used| *used == folder));
            out.entry(entry, at(&entry.name), at(&entry.path), place.map_or(0, |n| HWCAP_EXTENSION | n as u64));
        }
        out.raw(&table);
        out.bytes.resize(extension, 0);

        let generator = self.generator.as_deref().unwrap_or_default();
        let sections = if used.is_empty() { 1 } else { 2 };
        let body = extension + 8 + SECTION * sections;
        out.word(EXTENSION_MAGIC);
        out.number(sections);
        out.section(0, body + 4 * used.len(), generator.len());
        if !used.is_empty() {
            out.section(1, body, 4 * used.len());
        }
        used.iter().for_each(|folder| out.number(at(folder)));
        out.raw(generator.as_bytes());
    }

    /// Both layouts leave glibc-hwcaps out: what reads them is older than that.
    fn both(&self, out: &mut Bytes) {
        let entries: Vec<&CacheEntry> = self.entries.iter().filter(|entry| entry.hwcaps.is_none()).collect();
        let old = OLD_HEADER + OLD_ENTRY * entries.len().next_multiple_of(2);
        let pad = old.next_multiple_of(8) - old;
        let start = HEADER + ENTRY * entries.len();
        let mut strings = Vec::new();
        let mut places = Vec::new();
        for entry in &entries {
            let mut put = |text: &str| {
                let at = start + strings.len();
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                at
            };
            places.push((put(&entry.name), put(&entry.path)));
        }
        out.raw(OLD_MAGIC);
        out.raw(&[0]);
        out.number(entries.len().next_multiple_of(2));
        let pairs = entries.iter().zip(&places);
        let doubled = pairs.clone().next_back().filter(|_| entries.len() % 2 == 1);
        for (entry, (name, path)) in pairs.chain(doubled) {
            out.word(entry.flags);
            out.number(name + pad);
            out.number(path + pad);
        }
        out.raw(&vec![0; pad]);
        out.raw(MAGIC);
        out.number(entries.len());
        out.number(strings.len());
        out.raw(&[0; 20]);
        for (entry, (name, path)) in entries.iter().zip(&places) {
            out.entry(entry, *name, *path, 0);
        }
        out.raw(&strings);
    }

    /// What is in a file; `None` if it is no cache, or a damaged one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Cache> {
        let little = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let start = if bytes.starts_with(OLD_MAGIC) {
            let count = usize::try_from(little(12)?).ok()?;
            OLD_HEADER.checked_add(count.checked_mul(OLD_ENTRY)?)?.checked_next_multiple_of(8)?
        } else {
            0
        };
        let file = bytes.get(start..)?;
        if !file.starts_with(MAGIC) {
            return None;
        }
        let big_endian = file.get(28) == Some(&BIG_ENDIAN);
        let word = |at: usize| {
            let word = file.get(at..at.checked_add(4)?)?.try_into().ok()?;
            usize::try_from(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }).ok()
        };
        let text = |at: usize| {
            let rest = file.get(at..)?;
            let rest = rest.get(..rest.len().min(TEXT_LIMIT))?;
            String::from_utf8(rest.get(..rest.iter().position(|byte| *byte == 0)?)?.to_vec()).ok()
        };
        let mut sections = BTreeMap::new();
        let extension = word(32)?;
        if extension != 0 && word(extension)? == usize::try_from(EXTENSION_MAGIC).ok()? {
            for n in 0..word(extension + 4)?.min(16) {
                let at = extension + 8 + SECTION * n;
                sections.insert(word(at)?, file.get(word(at + 8)?..word(at + 8)?.checked_add(word(at + 12)?)?)?);
            }
        }
        let folder = |number: usize| {
            let place = sections.get(&1)?.get(number.checked_mul(4)?..)?.get(..4)?.try_into().ok()?;
            let place = if big_endian { u32::from_be_bytes(place) } else { u32::from_le_bytes(place) };
            text(usize::try_from(place).ok()?)
        };
        let mut entries: Vec<CacheEntry> = Vec::new();
        let mut room = TEXTS_LIMIT;
        for n in 0..word(20)? {
            let at = HEADER.checked_add(n.checked_mul(ENTRY)?)?;
            let (low, high) =
                if big_endian { (word(at + 20)?, word(at + 16)?) } else { (word(at + 16)?, word(at + 20)?) };
            entries.push(CacheEntry {
                flags: u32::try_from(word(at)?).ok()?,
                name: text(word(at + 4)?)?,
                path: text(word(at + 8)?)?,
                osversion: u32::try_from(word(at + 12)?).ok()?,
                hwcaps: if high & (1 << 30) != 0 { Some(folder(low)?) } else { None },
            });
            let last = entries.last()?;
            room = room.checked_sub(last.name.len() + last.path.len())?;
        }
        let generator = sections.get(&0).map(|text| String::from_utf8_lossy(text).into_owned());
        Some(Cache { entries, generator })
    }
}

/// All strings, each once, those that end another within it; and where each begins.
fn table(strings: BTreeSet<&str>) -> (Vec<u8>, BTreeMap<&str, usize>) {
    let mut sorted: Vec<&str> = strings.into_iter().collect();
    // From their ends, the greatest first; of two of which one ends the other, the longer first.
    sorted.sort_by(|a, b| b.bytes().rev().cmp(a.bytes().rev()));
    let mut table = Vec::new();
    let mut offsets = BTreeMap::new();
    let mut previous: Option<(&str, usize)> = None;
    for text in sorted {
        let at = match previous {
            Some((before, at)) if before.ends_with(text) => at + before.len() - text.len(),
            _ => {
                let at = table.len();
                table.extend_from_slice(text.as_bytes());
                table.push(0);
                at
            }
        };
        offsets.insert(text, at);
        previous = Some((text, at));
    }
    (table, offsets)
}

/// A file that is being written.
struct Bytes {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Bytes {
    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn word(&mut self, word: u32) {
        self.raw(&if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
    }

    /// Sizes and offsets; a cache of 4 GiB does not come about.
    fn number(&mut self, number: usize) {
        self.word(u32::try_from(number).unwrap_or(u32::MAX));
    }

    fn entry(&mut self, entry: &CacheEntry, name: usize, path: usize, hwcap: u64) {
        self.word(entry.flags);
        self.number(name);
        self.number(path);
        self.word(entry.osversion);
        self.raw(&if self.big_endian { hwcap.to_be_bytes() } else { hwcap.to_le_bytes() });
    }

    fn section(&mut self, tag: u32, offset: usize, size: usize) {
        self.word(tag);
        self.word(0);
        self.number(offset);
        self.number(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, folder: &str, hwcaps: Option<&str>) -> CacheEntry {
        CacheEntry {
            name: name.into(),
            path: format!("{folder}/{name}"),
            flags: 0x0303,
            osversion: 0,
            hwcaps: hwcaps.map(str::to_string),
        }
    }

    fn cache() -> Cache {
        let mut entries = vec![
            entry("libb.so.1", "/usr/lib", None),
            entry("liba.so.2", "/usr/lib", None),
            entry("liba.so.10", "/usr/lib", None),
            entry("liba.so.2", "/usr/lib/glibc-hwcaps/x86-64-v3", Some("x86-64-v3")),
            entry("liba.so.2", "/usr/lib/glibc-hwcaps/x86-64-v2", Some("x86-64-v2")),
        ];
        entries.sort_by(order);
        Cache { entries, generator: Some("ldconfig (Test) stable release version 2.36".into()) }
    }

    #[test]
    fn the_order_is_the_loaders() {
        let cache = cache();
        let order: Vec<_> = cache.entries.iter().map(|entry| entry.path.as_str()).collect();
        let expected = [
            "/usr/lib/libb.so.1",
            "/usr/lib/liba.so.10",
            "/usr/lib/glibc-hwcaps/x86-64-v2/liba.so.2",
            "/usr/lib/glibc-hwcaps/x86-64-v3/liba.so.2",
            "/usr/lib/liba.so.2",
        ];
        assert_eq!(order, expected);
        assert_eq!(compare_names("a1", "ab"), Ordering::Greater);
        assert_eq!(compare_names("lib.so.09", "lib.so.9"), Ordering::Equal);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cache = cache();
        let folders = ["x86-64-v2".to_string(), "x86-64-v3".to_string(), "unused".to_string()].into();
        for big_endian in [false, true] {
            let bytes = cache.encode(Layout::Extended, &folders, big_endian);
            assert_eq!(Cache::decode(&bytes).as_ref(), Some(&cache), "{big_endian}");
            // Every cut is refused, none is a panic.
            (0..bytes.len()).for_each(|length| drop(Cache::decode(&bytes[..length])));
        }
        let old = cache.encode(Layout::Both, &folders, false);
        let plain: Vec<_> = cache.entries.iter().filter(|entry| entry.hwcaps.is_none()).cloned().collect();
        assert_eq!(Cache::decode(&old), Some(Cache { entries: plain, generator: None }));
        assert_eq!(old.get(12), Some(&4), "an odd number is made even");
        assert_eq!(Cache::decode(b"something else"), None);
        assert_eq!(Cache::decode(&[b"ld.so-1.7.0\0".as_slice(), &[255; 40]].concat()), None);
    }
}
