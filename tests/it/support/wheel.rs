//! Wheels built in code, for a find-links folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use ingot::oci::Digest;

/// A wheel in the making. Every member is deflated, times are 1980.
#[derive(Clone)]
pub struct Wheel {
    name: String,
    version: String,
    tag: String,
    requires: Vec<String>,
    files: Vec<(String, Vec<u8>, u32)>,
}

impl Wheel {
    /// A pure wheel with one module of its own name.
    pub fn new(name: &str, version: &str) -> Wheel {
        let module = format!("__version__ = \"{version}\"\n");
        let files = vec![(format!("{}/__init__.py", name.replace('-', "_")), module.into_bytes(), 0o644)];
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
        self.files.push((path.to_owned(), content.as_ref().to_vec(), mode));
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
        files.push((format!("{info}/METADATA"), metadata.into_bytes(), 0o644));
        files.push((format!("{info}/WHEEL"), wheel.into_bytes(), 0o644));
        let row = |(path, content, _): &(String, Vec<u8>, u32)| {
            format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Digest::of(content).as_bytes()), content.len())
        };
        let record: String = files.iter().map(row).chain([format!("{info}/RECORD,,\n")]).collect();
        files.push((format!("{info}/RECORD"), record.into_bytes(), 0o644));
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

fn zip(files: &[(String, Vec<u8>, u32)]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (path, content, mode) in files {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let offset = out.len() as u64;
        // Version, flags, deflate, time, date (1980-01-01), CRC, sizes, length of the name, no extra field.
        let crc = u64::from(crc32fast::hash(content));
        let sizes = [(crc, 4), (packed.len() as u64, 4), (content.len() as u64, 4), (path.len() as u64, 2), (0, 2)];
        let common = [&[(20, 2), (0, 2), (8, 2), (0, 2), (0x21, 2)], &sizes[..]].concat();
        out.extend_from_slice(b"PK\x03\x04");
        numbers(&mut out, &common);
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(&packed);
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
