//! A strict zip reader: what two readers could read in two ways is refused.
//!
//! Readers of zip files differ in where they begin (end, start, prefix), what they believe (central directory,
//! local headers, data descriptors, zip64 fields, alternative names) and what they skip. So Ingot accepts only files
//! in which every byte belongs to exactly one thing, and all that is said twice is said alike:
//! local entries without gaps from byte 0, then the central directory, then the end record, then nothing.
//! A second reader (`rawzip`) must see the same members at the same places.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use super::Error;
use super::names::shown;
use crate::fs::Mapped;
use crate::layer::{Packed, Packing, TreePath};

/// A stored member is read in parts of so many bytes.
const COPY: usize = 1 << 20;
/// What becomes memory of this program when one byte of a mapped file is read, at most (the kernel maps what is around it).
const AROUND: u64 = 64 << 10;
/// The most members.
pub const MEMBERS_LIMIT: u64 = 200_000;
/// The most unpacked bytes of all members together.
pub const UNPACKED_LIMIT: u64 = 16 << 30;
/// Deflate cannot do better than 1032:1 (RFC 1951: 258 bytes for two bits).
const BEST_RATIO: u64 = 1032;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const END_SIZE: usize = 22;
const END64_SIZE: usize = 56;
const LOCATOR64_SIZE: usize = 20;
const CENTRAL_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;
const MAX16: u64 = 0xffff;
const MAX32: u64 = 0xffff_ffff;

/// Flag bit 3: sizes and CRC follow the data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Flag bit 11: the name is UTF-8.
const UTF8: u16 = 1 << 11;
/// Those two, and bits 1 and 2, which say how hard the deflate encoder tried.
const ALLOWED_FLAGS: u16 = HAS_DESCRIPTOR | UTF8 | 0b110;

const ZIP64_EXTRA: u16 = 0x0001;
/// Extra fields that give a member another name (Info-ZIP Unicode path), another method (AES), or encrypt it.
const REFUSED_EXTRAS: [u16; 3] = [0x7075, 0x9901, 0x0017];

/// A member that is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, checked.
    pub name: String,
    /// Where its packed bytes are.
    pub data: Range<u64>,
    /// How they are packed.
    pub packing: Packing,
    /// CRC-32 of the unpacked bytes, as the archive says.
    pub crc32: u32,
    /// The unpacked length, as the archive says.
    pub size: u64,
    /// Whether an execute bit is set.
    pub executable: bool,
}

/// A zip file that has one reading.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The file's name, for messages.
    pub file: String,
    /// Its files, sorted by name.
    pub members: Vec<Member>,
    bytes: Arc<Mapped>,
}

impl Archive {
    /// Checks the structure. The content of members is checked when it is read.
    pub fn open(bytes: Arc<Mapped>, file: &str) -> Result<Self, Error> {
        let members =
            members(&bytes, &|count| bytes.passed(count)).map_err(|reason| Error::Zip { file: shown(file), reason })?;
        Ok(Archive { file: file.to_string(), members, bytes })
    }

    /// The whole file.
    pub fn mapped(&self) -> &Mapped {
        &self.bytes
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok().map(|at| &self.members[at])
    }

    /// A reference to a member's content, for a layer.
    pub fn packed(&self, member: &Member) -> Packed {
        Packed {
            archive: self.bytes.clone(),
            offset: member.data.start,
            length: member.data.end - member.data.start,
            packing: member.packing,
            crc32: member.crc32,
            size: member.size,
        }
    }

    /// Unpacks a member piece by piece, and checks length, CRC and that the packed bytes are used up.
    pub fn unpack(&self, member: &Member, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let packed = slice(&self.bytes, member.data.start, member.data.end).unwrap_or_default();
        unpack(packed, member, sink, &|count| self.bytes.passed(count))
            .map_err(|reason| Error::Zip { file: shown(&self.file), reason: about(&member.name, reason) })
    }

    /// A member in memory; one of more than `limit` bytes is an error.
    pub fn read(&self, member: &Member, limit: u64) -> Result<Vec<u8>, Error> {
        if member.size > limit {
            let reason = about(&member.name, format!("it has {} bytes, the limit is {limit}", member.size));
            return Err(Error::Zip { file: shown(&self.file), reason });
        }
        let mut bytes = Vec::new();
        self.unpack(member, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }
}

fn about(name: &str, reason: impl AsRef<str>) -> String {
    format!("member `{}`: {}", shown(name), reason.as_ref())
}

/// `passed` hears how many of the packed bytes were read.
fn unpack(packed: &[u8], member: &Member, sink: &mut dyn FnMut(&[u8]), passed: &dyn Fn(usize)) -> Result<(), String> {
    let mut crc = crc32fast::Hasher::new();
    let mut length = 0u64;
    let mut emit = |piece: &[u8]| {
        crc.update(piece);
        length += piece.len() as u64;
        sink(piece);
        length <= member.size
    };
    match member.packing {
        Packing::Stored => packed.chunks(COPY).for_each(|part| {
            emit(part);
            passed(part.len());
        }),
        Packing::Deflated => {
            let mut inflate = Decompress::new(false);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let rest = packed.get(before_in as usize..).unwrap_or_default();
                let status = inflate
                    .decompress(rest, &mut buffer, FlushDecompress::None)
                    .map_err(|error| format!("its deflate stream is damaged: {error}"))?;
                let made = (inflate.total_out() - before_out) as usize;
                passed((inflate.total_in() - before_in) as usize);
                if !emit(&buffer[..made]) {
                    return Err(format!("it unpacks to more than the {} bytes it says", member.size));
                }
                if status == Status::StreamEnd {
                    break;
                }
                if made == 0 && inflate.total_in() == before_in {
                    return Err("its deflate stream is cut off".into());
                }
            }
            if inflate.total_in() != packed.len() as u64 {
                return Err("there are bytes behind its deflate stream".into());
            }
        }
    }
    if length != member.size {
        return Err(format!("it unpacks to {length} bytes, expected {}", member.size));
    }
    let found = crc.finalize();
    if found != member.crc32 {
        return Err(format!("its CRC-32 is {found:08x}, expected {:08x}", member.crc32));
    }
    Ok(())
}

fn slice(bytes: &[u8], from: u64, to: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}

/// Reads little-endian numbers one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(count).ok_or("a record is cut off")?;
        self.0 = rest;
        Ok(head)
    }
    fn u16(&mut self) -> Result<u16, String> {
        Ok(self.take(2)?.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte)))
    }
    fn u32(&mut self) -> Result<u32, String> {
        Ok(self.take(4)?.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
    fn u64(&mut self) -> Result<u64, String> {
        Ok(self.take(8)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// The central directory's place and count.
struct Directory {
    start: u64,
    end: u64,
    count: u64,
}

fn directory(bytes: &[u8]) -> Result<Directory, String> {
    if Fields(bytes).u32() != Ok(LOCAL) {
        return Err("it does not begin with a local file header".into());
    }
    let end_at = bytes.len().checked_sub(END_SIZE).ok_or("it is too short")?;
    let mut fields = Fields(&bytes[end_at..]);
    if fields.u32()? != END {
        return Err(
            "it does not end with the end record: there is a comment, something behind it, or it is cut off".into()
        );
    }
    let disks = (fields.u16()?, fields.u16()?);
    let counts = (u64::from(fields.u16()?), u64::from(fields.u16()?));
    let (size, start) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    if disks != (0, 0) || counts.0 != counts.1 {
        return Err("it is one of several disks".into());
    }
    if fields.u16()? != 0 {
        return Err("its end record announces a comment that is not there".into());
    }
    let locator_at = end_at.checked_sub(LOCATOR64_SIZE);
    let located = locator_at.is_some_and(|at| Fields(&bytes[at..]).u32() == Ok(LOCATOR64));
    let saturated = counts.0 == MAX16 || size == MAX32 || start == MAX32;
    let found = match (located, locator_at) {
        (true, Some(at)) => directory64(bytes, at, (counts.0, size, start))?,
        _ if saturated => return Err("its end record needs zip64 fields, and there are none".into()),
        _ => Directory { start, end: end_at as u64, count: counts.0 },
    };
    if !located && found.start.checked_add(size) != Some(found.end) {
        return Err("its central directory does not end where the end record begins".into());
    }
    if found.count > MEMBERS_LIMIT {
        return Err(format!("it has {} members, the limit is {MEMBERS_LIMIT}", found.count));
    }
    Ok(found)
}

fn directory64(bytes: &[u8], locator_at: usize, (count, size, start): (u64, u64, u64)) -> Result<Directory, String> {
    let mut locator = Fields(&bytes[locator_at + 4..]);
    let (disk, end64_at, disks) = (locator.u32()?, locator.u64()?, locator.u32()?);
    // Readers look for this record in two places: where the locator points, and right before the locator.
    let expected = locator_at.checked_sub(END64_SIZE).ok_or("its zip64 end record is cut off")?;
    if end64_at != expected as u64 || disk != 0 || disks > 1 {
        return Err("its zip64 locator does not point to the zip64 end record before it".into());
    }
    let mut fields = Fields(&bytes[expected..]);
    if fields.u32()? != END64 || fields.u64()? != (END64_SIZE - 12) as u64 {
        return Err("its zip64 end record is missing or has extensible data".into());
    }
    fields.take(4)?;
    let disks = (fields.u32()?, fields.u32()?);
    let counts = (fields.u64()?, fields.u64()?);
    let (size64, start64) = (fields.u64()?, fields.u64()?);
    let agrees = |short: u64, long: u64, max: u64| short == long || short == max;
    if disks != (0, 0)
        || counts.0 != counts.1
        || !agrees(count, counts.0, MAX16)
        || !agrees(size, size64, MAX32)
        || !agrees(start, start64, MAX32)
    {
        return Err("its end record and its zip64 end record differ".into());
    }
    if start64.checked_add(size64) != Some(expected as u64) {
        return Err("its central directory does not end where the zip64 end record begins".into());
    }
    Ok(Directory { start: start64, end: expected as u64, count: counts.0 })
}

/// An entry of the central directory.
struct Central<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc32: u32,
    packed: u64,
    size: u64,
    offset: u64,
    mode: u32,
}

fn central<'a>(fields: &mut Fields<'a>) -> Result<Central<'a>, String> {
    let whole = fields.0.len();
    if fields.u32()? != CENTRAL {
        return Err("an entry of its central directory is missing".into());
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let crc32 = fields.u32()?;
    let (packed, size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    fields.take(2)?;
    let (attributes, offset) = (fields.u32()?, u64::from(fields.u32()?));
    debug_assert_eq!(whole - fields.0.len(), CENTRAL_SIZE);
    let name = fields.take(name.into())?;
    let extra = fields.take(extra.into())?;
    fields.take(comment.into())?;
    let text = String::from_utf8_lossy(name);
    let mut large = [size, packed, offset];
    zip64(extra, &mut large, false).map_err(|reason| about(&text, reason))?;
    if disk != 0 {
        return Err(about(&text, "it is on another disk"));
    }
    let [size, packed, offset] = large;
    Ok(Central { name, flags, method, crc32, packed, size, offset, mode: attributes >> 16 })
}

/// Replaces saturated values by those of the zip64 extra field, which must have exactly them.
/// A local header always has both sizes there (APPNOTE 4.5.3), whether they are needed or not.
fn zip64(extra: &[u8], values: &mut [u64], local: bool) -> Result<(), String> {
    let mut fields = Fields(extra);
    let mut seen = false;
    while !fields.0.is_empty() {
        let (id, length) = (fields.u16(), fields.u16());
        let (Ok(id), Ok(length)) = (id, length) else { return Err("its extra fields are malformed".into()) };
        let data = fields.take(length.into()).map_err(|_| "its extra fields are malformed")?;
        if REFUSED_EXTRAS.contains(&id) {
            return Err(format!("its extra field {id:#06x} gives it another name or encrypts it"));
        }
        if id != ZIP64_EXTRA {
            continue;
        }
        if std::mem::replace(&mut seen, true) {
            return Err("it has two zip64 extra fields".into());
        }
        let mut data = Fields(data);
        for value in values.iter_mut() {
            let announced = *value == MAX32;
            if announced {
                *value = data.u64().map_err(|_| "its zip64 extra field is too short")?;
            } else if local && !data.0.is_empty() {
                let repeated = data.u64().map_err(|_| "its zip64 extra field is too short")?;
                if repeated != *value {
                    return Err("its local header and its zip64 extra field differ".into());
                }
            }
        }
        if !data.0.is_empty() {
            return Err("its zip64 extra field has more than it needs".into());
        }
    }
    // Without the field, a saturated value could be meant as it is, or not.
    if !seen && values.contains(&MAX32) {
        return Err("it needs a zip64 extra field, and there is none".into());
    }
    Ok(())
}

/// `passed` hears how many bytes were read.
fn members(bytes: &[u8], passed: &dyn Fn(usize)) -> Result<Vec<Member>, String> {
    let directory = directory(bytes)?;
    let listed = slice(bytes, directory.start, directory.end).ok_or("its central directory is outside of it")?;
    let mut fields = Fields(listed);
    let mut entries = Vec::new();
    for _ in 0..directory.count {
        entries.push(central(&mut fields)?);
    }
    if !fields.0.is_empty() {
        return Err("its central directory has more entries than it says".into());
    }
    entries.sort_by_key(|entry| entry.offset);
    let mut members = Vec::new();
    let mut names = BTreeSet::new();
    let (mut at, mut total) = (0u64, 0u64);
    for (index, entry) in entries.iter().enumerate() {
        let limit = entries.get(index + 1).map_or(directory.start, |next| next.offset);
        let text = String::from_utf8_lossy(entry.name).into_owned();
        let name = name(entry).map_err(|reason| about(&text, reason))?;
        if entry.offset != at {
            return Err(about(&text, "bytes before it belong to nothing, or it overlaps another"));
        }
        let data = local(bytes, entry, limit).map_err(|reason| about(&text, reason))?;
        passed((limit - at).min(AROUND) as usize);
        at = limit;
        if !names.insert(name.trim_end_matches('/').to_string()) {
            return Err(about(&text, "its name comes twice"));
        }
        total = total.saturating_add(entry.size);
        if total > UNPACKED_LIMIT {
            return Err(format!("it unpacks to more than {UNPACKED_LIMIT} bytes"));
        }
        if name.ends_with('/') {
            continue;
        }
        let packing = if entry.method == 0 { Packing::Stored } else { Packing::Deflated };
        let executable = entry.mode & 0o111 != 0;
        members.push(Member { name, data, packing, crc32: entry.crc32, size: entry.size, executable });
    }
    if at != directory.start {
        return Err("there are bytes before its central directory that belong to nothing".into());
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    no_file_is_a_folder(&members)?;
    second_reader(bytes, &members, passed)?;
    Ok(members)
}

/// The name of an entry, with all that can be said of the entry alone.
fn name(entry: &Central<'_>) -> Result<String, String> {
    let name = std::str::from_utf8(entry.name).map_err(|_| "its name is not UTF-8")?;
    if entry.flags & !ALLOWED_FLAGS != 0 {
        return Err(format!("it is encrypted or has unknown flags ({:#06x})", entry.flags));
    }
    if !name.is_ascii() && entry.flags & UTF8 == 0 {
        return Err("its name is not ASCII, and not marked as UTF-8".into());
    }
    let folder = name.ends_with('/');
    let path = name.strip_suffix('/').unwrap_or(name);
    let safe = TreePath::new(path).is_ok_and(|safe| safe.as_str() == path);
    if !safe || name.contains('\\') || name.as_bytes().get(1) == Some(&b':') {
        return Err("its name is not a plain relative path".into());
    }
    match (entry.mode & 0o170_000, folder) {
        (0 | 0o040_000, true) | (0 | 0o100_000, false) => {}
        _ => return Err("it is a link or a special file".into()),
    }
    match entry.method {
        0 if entry.packed != entry.size => return Err("it is stored, but packed and unpacked size differ".into()),
        0 => {}
        8 if entry.size / BEST_RATIO > entry.packed => return Err("it cannot unpack to the size it says".into()),
        8 => {}
        other => return Err(format!("it is packed with method {other}, expected stored or deflate")),
    }
    if folder && entry.size != 0 {
        return Err("it is a folder with content".into());
    }
    Ok(name.to_string())
}

/// Checks the local header and what follows the data, which must end at `limit`; returns where the data is.
fn local(bytes: &[u8], entry: &Central<'_>, limit: u64) -> Result<Range<u64>, String> {
    let whole = slice(bytes, entry.offset, limit).ok_or("it is outside of the file")?;
    let mut fields = Fields(whole);
    if fields.u32()? != LOCAL {
        return Err("it has no local header".into());
    }
    fields.take(2)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let crc32 = fields.u32()?;
    let (packed, size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let (name, extra) = (fields.u16()?, fields.u16()?);
    let name_bytes = fields.take(name.into())?;
    let extra_bytes = fields.take(extra.into())?;
    let mut large = [size, packed];
    zip64(extra_bytes, &mut large, true)?;
    let [size, packed] = large;
    let head = (LOCAL_SIZE + usize::from(name) + usize::from(extra)) as u64;
    let same = name_bytes == entry.name && flags == entry.flags && method == entry.method;
    let descriptor = flags & HAS_DESCRIPTOR != 0;
    let exact = (crc32, packed, size) == (entry.crc32, entry.packed, entry.size);
    let unknown = (crc32, packed, size) == (0, 0, 0);
    if !same || !(exact || descriptor && unknown) {
        return Err("its local header and the central directory differ".into());
    }
    let start = entry.offset + head;
    let end = start.checked_add(entry.packed).ok_or("its size is impossible")?;
    let rest = slice(bytes, end, limit).ok_or("it overlaps what follows")?;
    match (descriptor, rest.is_empty()) {
        (true, _) => check_descriptor(rest, entry)?,
        (false, false) => return Err("bytes behind it belong to nothing".into()),
        (false, true) => {}
    }
    Ok(start..end)
}

/// A data descriptor: an optional signature, CRC and two sizes of 32 or 64 bits. Its length says which.
fn check_descriptor(bytes: &[u8], entry: &Central<'_>) -> Result<(), String> {
    let mut fields = Fields(bytes);
    let signed = matches!(bytes.len(), 16 | 24);
    if !matches!(bytes.len(), 12 | 16 | 20 | 24) || signed && fields.u32()? != DESCRIPTOR {
        return Err("its data descriptor is malformed".into());
    }
    let crc32 = fields.u32()?;
    let sizes = match bytes.len() {
        12 | 16 => (u64::from(fields.u32()?), u64::from(fields.u32()?)),
        _ => (fields.u64()?, fields.u64()?),
    };
    if (crc32, sizes) != (entry.crc32, (entry.packed, entry.size)) {
        return Err("its data descriptor and the central directory differ".into());
    }
    Ok(())
}

fn no_file_is_a_folder(members: &[Member]) -> Result<(), String> {
    let files: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for member in members {
        for (at, _) in member.name.match_indices('/') {
            if files.contains(&member.name[..at]) {
                return Err(about(&member.name, "a folder above it is a file"));
            }
        }
    }
    Ok(())
}

/// `rawzip` must find the same files in the same places.
fn second_reader(bytes: &[u8], members: &[Member], passed: &dyn Fn(usize)) -> Result<(), String> {
    let differs = |_| "a second reader sees another archive".to_string();
    let archive = rawzip::ZipArchive::from_slice(bytes).map_err(differs)?;
    let mut count = 0;
    for record in archive.entries() {
        let record = record.map_err(differs)?;
        let raw = record.file_path();
        let name = std::str::from_utf8(raw.as_bytes()).unwrap_or_default();
        if name.ends_with('/') {
            continue;
        }
        count += 1;
        let (start, end) = archive.get_entry(record.wayfinder()).map_err(differs)?.compressed_data_range();
        passed((end - start).min(AROUND) as usize);
        let known = members.binary_search_by(|member| member.name.as_str().cmp(name)).ok().map(|at| &members[at]);
        if known.is_none_or(|member| member.data != (start..end) || member.crc32 != record.crc32()) {
            return Err(about(name, "a second reader sees it elsewhere"));
        }
    }
    if count == members.len() { Ok(()) } else { Err("a second reader sees another number of members".into()) }
}

#[cfg(test)]
#[path = "zip_tests.rs"]
mod tests;
