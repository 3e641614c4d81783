//! Hand-made wheels for tests: a zip writer that can also write what no tool writes.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::names::normalize;
use super::record::{self, Row};
use super::wheel::Wheel;
use super::zip::Archive;
use crate::fs::Mapped;
use crate::layer::Store;
use crate::oci::Digest;

/// A store in a new folder.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    (folder, store)
}

/// A member, and how it is to be written.
#[derive(Clone)]
pub(crate) struct ZipMember {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub deflated: bool,
    pub mode: u32,
    pub flags: u16,
    pub local_extra: Vec<u8>,
    pub central_extra: Vec<u8>,
    /// With bit 3 of `flags`: the data descriptor, `None` for the right one.
    pub descriptor: Option<Vec<u8>>,
}

impl ZipMember {
    pub(crate) fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        ZipMember {
            name: name.as_bytes().to_vec(),
            content: content.as_ref().to_vec(),
            deflated: true,
            mode: 0o100_644,
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            descriptor: None,
        }
    }

    fn packed(&self) -> Vec<u8> {
        if !self.deflated {
            return self.content.clone();
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.content).unwrap();
        encoder.finish().unwrap()
    }
}

fn numbers(out: &mut Vec<u8>, values: &[(u64, usize)]) {
    for (value, width) in values {
        out.extend_from_slice(&value.to_le_bytes()[..*width]);
    }
}

/// The parts of a zip file, before they are put together.
#[derive(Clone, Default)]
pub(crate) struct ZipParts {
    pub locals: Vec<u8>,
    pub central: Vec<u8>,
    pub count: u64,
}

impl ZipParts {
    pub(crate) fn of(members: &[ZipMember]) -> Self {
        let mut parts = ZipParts::default();
        for member in members {
            parts.add(member);
        }
        parts
    }

    pub(crate) fn add(&mut self, member: &ZipMember) {
        let packed = member.packed();
        let crc = u64::from(crc32fast::hash(&member.content));
        let (packed_size, size) = (packed.len() as u64, member.content.len() as u64);
        let offset = self.locals.len() as u64;
        let method = if member.deflated { 8 } else { 0 };
        let (name, late) = (member.name.len() as u64, member.flags & 8 != 0);
        let head = [(20, 2), (u64::from(member.flags), 2), (method, 2), (0, 2), (0x21, 2)];
        self.locals.extend_from_slice(b"PK\x03\x04");
        numbers(&mut self.locals, &head);
        let known = if late { [(0, 4), (0, 4), (0, 4)] } else { [(crc, 4), (packed_size, 4), (size, 4)] };
        numbers(&mut self.locals, &known);
        numbers(&mut self.locals, &[(name, 2), (member.local_extra.len() as u64, 2)]);
        self.locals.extend_from_slice(&member.name);
        self.locals.extend_from_slice(&member.local_extra);
        self.locals.extend_from_slice(&packed);
        if late {
            let mut right = b"PK\x07\x08".to_vec();
            numbers(&mut right, &[(crc, 4), (packed_size, 4), (size, 4)]);
            self.locals.extend_from_slice(member.descriptor.as_ref().unwrap_or(&right));
        }
        self.central.extend_from_slice(b"PK\x01\x02");
        numbers(&mut self.central, &[(3 << 8 | 20, 2)]);
        numbers(&mut self.central, &head);
        numbers(&mut self.central, &[(crc, 4), (packed_size, 4), (size, 4), (name, 2)]);
        let attributes = u64::from(member.mode) << 16;
        numbers(
            &mut self.central,
            &[(member.central_extra.len() as u64, 2), (0, 2), (0, 2), (0, 2), (attributes, 4), (offset, 4)],
        );
        self.central.extend_from_slice(&member.name);
        self.central.extend_from_slice(&member.central_extra);
        self.count += 1;
    }

    pub(crate) fn end(&self) -> Vec<u8> {
        let mut end = b"PK\x05\x06".to_vec();
        let (size, start) = (self.central.len() as u64, self.locals.len() as u64);
        numbers(&mut end, &[(0, 2), (0, 2), (self.count, 2), (self.count, 2), (size, 4), (start, 4), (0, 2)]);
        end
    }

    /// The zip64 end record and its locator, with a value to add to the size that the record says.
    pub(crate) fn end64(&self, lie: u64) -> Vec<u8> {
        let (size, start) = (self.central.len() as u64, self.locals.len() as u64);
        let mut end = b"PK\x06\x06".to_vec();
        numbers(&mut end, &[(44, 8), (45, 2), (45, 2), (0, 4), (0, 4), (self.count, 8), (self.count, 8)]);
        numbers(&mut end, &[(size + lie, 8), (start, 8)]);
        end.extend_from_slice(b"PK\x06\x07");
        numbers(&mut end, &[(0, 4), (start + size, 8), (1, 4)]);
        end
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.locals[..], &self.central, &self.end()].concat()
    }
}

pub(crate) fn zip(members: &[ZipMember]) -> Vec<u8> {
    ZipParts::of(members).bytes()
}

/// A wheel in the making.
#[derive(Clone)]
pub(crate) struct WheelBuilder {
    name: String,
    version: String,
    tag: String,
    filename: Option<String>,
    dist_info: String,
    members: Vec<ZipMember>,
    rows: Vec<String>,
    without: Vec<String>,
}

impl WheelBuilder {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        WheelBuilder {
            name: name.into(),
            version: version.into(),
            tag: "py3-none-any".into(),
            filename: None,
            dist_info: format!("{name}-{version}.dist-info"),
            members: Vec::new(),
            rows: Vec::new(),
            without: Vec::new(),
        }
    }

    pub(crate) fn tag(mut self, tag: &str) -> Self {
        self.tag = tag.into();
        self
    }

    pub(crate) fn filename(mut self, filename: &str) -> Self {
        self.filename = Some(filename.into());
        self
    }

    pub(crate) fn dist_info(mut self, folder: &str) -> Self {
        self.dist_info = folder.into();
        self
    }

    pub(crate) fn member(mut self, member: ZipMember) -> Self {
        self.members.push(member);
        self
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(ZipMember::new(name, content))
    }

    pub(crate) fn executable(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(ZipMember { mode: 0o100_755, ..ZipMember::new(name, content) })
    }

    /// A file that RECORD does not list.
    pub(crate) fn unrecorded(mut self, name: &str, content: &str) -> Self {
        self.rows.push(format!("-{name}"));
        self.file(name, content)
    }

    /// A file whose hash in RECORD is that of something else.
    pub(crate) fn wrong_hash(mut self, name: &str, content: &str) -> Self {
        self.rows.push(format!("!{name}"));
        self.file(name, content)
    }

    /// One more row for RECORD.
    pub(crate) fn record_row(mut self, row: &str) -> Self {
        self.rows.push(format!("+{row}"));
        self
    }

    /// Leaves out a file of `.dist-info`.
    pub(crate) fn without(mut self, file: &str) -> Self {
        self.without.push(file.into());
        self
    }

    /// The file name.
    pub(crate) fn name(&self) -> String {
        self.filename.clone().unwrap_or_else(|| format!("{}-{}-{}.whl", self.name, self.version, self.tag))
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        let info = |file: &str| format!("{}/{file}", self.dist_info);
        let metadata = format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", self.name, self.version);
        let wheel = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {}\n", self.tag);
        for (file, text) in [("METADATA", metadata), ("WHEEL", wheel)] {
            let absent = !members.iter().any(|member| member.name == info(file).as_bytes());
            if absent && !self.without.iter().any(|without| without == file) {
                members.push(ZipMember::new(&info(file), text));
            }
        }
        let mut rows = std::collections::BTreeMap::new();
        for member in members.iter().filter(|member| !member.name.ends_with(b"/")) {
            let name = String::from_utf8_lossy(&member.name).into_owned();
            if self.rows.contains(&format!("-{name}")) {
                continue;
            }
            let lie = self.rows.contains(&format!("!{name}"));
            let digest = if lie { Digest::of(b"something else") } else { Digest::of(&member.content) };
            rows.insert(name, Row { digest: Some(digest), size: Some(member.content.len() as u64) });
        }
        rows.insert(info("RECORD"), Row { digest: None, size: None });
        let mut record = String::from_utf8(record::write(&rows)).unwrap();
        for row in self.rows.iter().filter_map(|row| row.strip_prefix('+')) {
            record.push_str(&format!("{row}\n"));
        }
        if !self.without.iter().any(|without| without == "RECORD") {
            members.push(ZipMember::new(&info("RECORD"), record));
        }
        zip(&members)
    }

    /// Puts the wheel into a store.
    pub(crate) fn put(&self, store: &Store) -> Wheel {
        let bytes = self.build();
        Wheel {
            name: normalize(&self.name),
            version: self.version.clone(),
            filename: self.name(),
            digest: store.put(&bytes).unwrap(),
            size: bytes.len() as u64,
            place: "requirements.lock:1".into(),
        }
    }

    /// The wheel as an archive; the folder must be kept.
    pub(crate) fn archive(&self) -> (tempfile::TempDir, Archive) {
        archive(&self.build()).map(|(folder, archive)| (folder, archive.unwrap())).unwrap()
    }
}

/// Opens bytes as an archive.
pub(crate) fn archive(bytes: &[u8]) -> Option<(tempfile::TempDir, Result<Archive, super::Error>)> {
    let folder = tempfile::tempdir().ok()?;
    let path = folder.path().join("x-1-py3-none-any.whl");
    crate::fs::write_atomic(&path, bytes).ok()?;
    let mapped = Arc::new(Mapped::open(&path).ok()?);
    Some((folder, Archive::open(mapped, "x-1-py3-none-any.whl")))
}
