//! Wheels built in code, for a find-links folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use ingot::oci::Digest;

/// A file as it stands in a zip.
#[derive(Clone)]
pub struct PackedFile {
    /// Its deflate stream.
    pub stream: Vec<u8>,
    /// CRC-32 of what it means.
    pub crc32: u32,
    /// The length of what it means.
    pub size: u64,
    /// The digest of what it means.
    pub digest: Digest,
}

impl PackedFile {
    fn new(content: &[u8]) -> PackedFile {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(content).unwrap();
        let stream = encoder.finish().unwrap();
        PackedFile { stream, crc32: crc32fast::hash(content), size: content.len() as u64, digest: Digest::of(content) }
    }
}

/// A wheel in the making. Every member is deflated, times are 1980.
#[derive(Clone)]
pub struct Wheel {
    name: String,
    version: String,
    tag: String,
    requires: Vec<String>,
    files: Vec<(String, PackedFile, u32)>,
}

impl Wheel {
    /// A pure wheel with one module of its own name.
    pub fn new(name: &str, version: &str) -> Wheel {
        let module = format!("__version__ = \"{version}\"\n");
        let files =
            vec![(format!("{}/__init__.py", name.replace('-', "_")), PackedFile::new(module.as_bytes()), 0o644)];
        let (name, version) = (name.to_owned(), version.to_owned());
        Wheel { name, version, tag: "py3-none-any".into(), requires: Vec::new(), files }
    }

    /// For another interpreter or platform.
    pub fn tag(mut self, tag: &str) -> Wheel {
        self.tag = tag.to_owned();
        self
    }

    /// One more file.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Wheel {
        self.file_with_mode(path, content, 0o644)
    }

    /// One more file with a mode.
    pub fn file_with_mode(mut self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Wheel {
        self.files.push((path.to_owned(), PackedFile::new(content.as_ref()), mode));
        self
    }

    /// One more file that was packed by somebody else.
    pub fn packed(mut self, path: &str, file: PackedFile) -> Wheel {
        self.files.push((path.to_owned(), file, 0o644));
        self
    }

    /// A file of `entry_points.txt`: `[console_scripts]` with one line per script.
    pub fn scripts(self, lines: &[&str]) -> Wheel {
        let path = format!("{}/entry_points.txt", self.dist_info());
        self.file(&path, format!("[console_scripts]\n{}\n", lines.join("\n")))
    }

    /// One more `Requires-Dist`.
    pub fn requires(mut self, requirement: &str) -> Wheel {
        self.requires.push(requirement.to_owned());
        self
    }

    fn stem(&self) -> String {
        format!("{}-{}", self.name.replace('-', "_"), self.version)
    }

    fn dist_info(&self) -> String {
        format!("{}.dist-info", self.stem())
    }

    /// Its file name.
    pub fn file_name(&self) -> String {
        format!("{}-{}.whl", self.stem(), self.tag)
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let info = self.dist_info();
        let mut files = self.files.clone();
        let requires: String = self.requires.iter().map(|line| format!("Requires-Dist: {line}\n")).collect();
        let metadata = format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n{requires}", self.name, self.version);
        let pure = if self.tag.ends_with("-any") { "true" } else { "false" };
        let wheel = format!("Wheel-Version: 1.0\nGenerator: ingot tests\nRoot-Is-Purelib: {pure}\nTag: {}\n", self.tag);
        files.push((format!("{info}/METADATA"), PackedFile::new(metadata.as_bytes()), 0o644));
        files.push((format!("{info}/WHEEL"), PackedFile::new(wheel.as_bytes()), 0o644));
        let row = |(path, file, _): &(String, PackedFile, u32)| {
            format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(file.digest.as_bytes()), file.size)
        };
        let record: String = files.iter().map(row).chain([format!("{info}/RECORD,,\n")]).collect();
        files.push((format!("{info}/RECORD"), PackedFile::new(record.as_bytes()), 0o644));
        zip(&files)
    }

    /// Writes it into a folder: the path, and its line of a locked requirements file.
    pub fn write(&self, folder: &Path) -> (PathBuf, String) {
        std::fs::create_dir_all(folder).unwrap();
        let (path, bytes) = (folder.join(self.file_name()), self.bytes());
        std::fs::write(&path, &bytes).unwrap();
        (path, format!("{}=={} --hash={}\n", self.name, self.version, Digest::of(&bytes)))
    }
}

fn zip(files: &[(String, PackedFile, u32)]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (path, file, mode) in files {
        let offset = out.len() as u64;
        // Version, flags, deflate, time, date (1980-01-01), CRC, sizes, length of the name, no extra field.
        let lengths = [file.stream.len() as u64, file.size, path.len() as u64];
        let sizes = [(file.crc32.into(), 4), (lengths[0], 4), (lengths[1], 4), (lengths[2], 2), (0, 2)];
        let common = [&[(20, 2), (0, 2), (8, 2), (0, 2), (0x21, 2)], &sizes[..]].concat();
        out.extend_from_slice(b"PK\x03\x04");
        numbers(&mut out, &common);
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(&file.stream);
        central.extend_from_slice(b"PK\x01\x02");
        numbers(&mut central, &[(3 << 8 | 20, 2)]);
        numbers(&mut central, &common);
        // No comment, disk 0, no internal attributes, the mode of a regular file.
        numbers(&mut central, &[(0, 2), (0, 2), (0, 2), (u64::from(0o100_000 | mode) << 16, 4), (offset, 4)]);
        central.extend_from_slice(path.as_bytes());
    }
    let (start, size, count) = (out.len() as u64, central.len() as u64, files.len() as u64);
    out.extend_from_slice(&central);
    out.extend_from_slice(b"PK\x05\x06");
    numbers(&mut out, &[(0, 2), (0, 2), (count, 2), (count, 2), (size, 4), (start, 4), (0, 2)]);
    out
}

fn numbers(out: &mut Vec<u8>, values: &[(u64, usize)]) {
    for (value, width) in values {
        out.extend_from_slice(&value.to_le_bytes()[..*width]);
    }
}
