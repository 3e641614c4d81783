//! What a wheel becomes in an environment: the same files as pip would make, as entries of a layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use super::entry_points::shebang;
use super::names::shown;
use super::record::{self, Row};
use super::wheel::{OpenWheel, Scheme};
use super::{PythonVersion, zip};
use crate::error::Result;
use crate::layer::{Content, Entry, TreePath};
use crate::oci::Digest;

/// Who installed it, for `pip list -v` and for tools that ask whether pip may remove it.
const INSTALLER: &str = "ingot\n";
/// The largest script whose first line is looked at, in bytes.
const SCRIPT_LIMIT: u64 = 1 << 30;
/// The largest module that is compiled, in bytes.
const MODULE_LIMIT: u64 = 64 << 20;

/// Where things are in an environment.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The environment: `opt/venv`.
    pub root: TreePath,
    /// Its Python.
    pub python: PythonVersion,
}

impl Layout {
    /// `lib/pythonX.Y/site-packages`, below the root.
    pub fn library(&self) -> String {
        format!("lib/{}/site-packages", self.python.name())
    }

    /// The absolute path of the interpreter in the image.
    pub fn interpreter(&self) -> String {
        format!("/{}/bin/python", self.root)
    }

    /// The path below the root of a file of a scheme.
    fn below(&self, scheme: Scheme, path: &str, name: &str) -> String {
        match scheme {
            Scheme::Library => format!("{}/{path}", self.library()),
            Scheme::Scripts => format!("bin/{path}"),
            Scheme::Headers => format!("include/site/{}/{name}/{path}", self.python.name()),
            Scheme::Data => path.to_string(),
        }
    }

    /// How RECORD names a path below the root: relative to the library folder.
    fn recorded(&self, below: &str) -> String {
        match below.strip_prefix(&format!("{}/", self.library())) {
            Some(inside) => inside.to_string(),
            None => format!("../../../{below}"),
        }
    }
}

/// A file that is to be installed.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the environment's root.
    pub below: String,
    /// Its bytes.
    pub content: Content,
    /// 0644 or 0755.
    pub mode: u32,
    /// The sha256 of its bytes; `None` for a signature of RECORD, which is not listed.
    pub digest: Option<Digest>,
    /// The member that it is, unchanged.
    member: Option<usize>,
}

/// All files of a wheel but RECORD, sorted by path. A wheel that writes a path twice is refused.
pub fn files(wheel: &OpenWheel, layout: &Layout) -> Result<Vec<File>, Error> {
    let mut files: BTreeMap<String, File> = BTreeMap::new();
    let record = format!("{}/RECORD", wheel.dist_info);
    let ours = [format!("{}/INSTALLER", wheel.dist_info), format!("{}/REQUESTED", wheel.dist_info)];
    let direct_url = format!("{}/direct_url.json", wheel.dist_info);
    for (index, member) in wheel.archive.members.iter().enumerate() {
        if member.name == record || member.name == direct_url || ours.contains(&member.name) {
            continue;
        }
        let (scheme, path) = wheel.place(member)?;
        // setuptools used to ship the scripts of entry points as well; the generated one wins, as with pip.
        if scheme == Scheme::Scripts && wheel.entry_points.iter().any(|point| wraps(path, &point.name)) {
            continue;
        }
        let script = scheme == Scheme::Scripts;
        let mut file = File {
            below: layout.below(scheme, path, &wheel.written_name),
            content: Content::Packed(wheel.archive.packed(member)),
            mode: if member.executable || script { 0o755 } else { 0o644 },
            digest: wheel.record.get(&member.name).and_then(|row| row.digest),
            member: Some(index),
        };
        if script && let Some(bytes) = rewritten(wheel, member, layout)? {
            (file.digest, file.member) = (Some(Digest::of(&bytes)), None);
            file.content = bytes.into();
        }
        add(&mut files, file, wheel)?;
    }
    for point in &wheel.entry_points {
        let below = layout.below(Scheme::Scripts, &point.name, "");
        add(&mut files, File::made(below, point.script(&layout.interpreter()).into_bytes(), 0o755), wheel)?;
    }
    let below = layout.below(Scheme::Library, &ours[0], "");
    add(&mut files, File::made(below, INSTALLER.into(), 0o644), wheel)?;
    Ok(files.into_values().collect())
}

fn add(files: &mut BTreeMap<String, File>, file: File, wheel: &OpenWheel) -> Result<(), Error> {
    match files.insert(file.below.clone(), file) {
        None => Ok(()),
        Some(twice) => Err(Error::Wheel {
            file: shown(&wheel.wheel.filename),
            reason: format!("it installs `{}` twice", shown(&twice.below)),
        }),
    }
}

/// Whether a script is the one that setuptools generated for an entry point.
fn wraps(script: &str, point: &str) -> bool {
    let name = script.rsplit('/').next().unwrap_or(script);
    let suffixes = [".exe", "-script.py", ".pya"];
    let stem = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    stem == point
}

/// The script with the environment's interpreter, if its first line begins with `#!python` (so also `#!pythonw`).
fn rewritten(wheel: &OpenWheel, member: &zip::Member, layout: &Layout) -> Result<Option<Vec<u8>>, Error> {
    let bytes = wheel.archive.read(member, SCRIPT_LIMIT)?;
    if !bytes.starts_with(b"#!python") {
        return Ok(None);
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let mut script = shebang(&layout.interpreter()).into_bytes();
    script.extend_from_slice(&bytes[end..]);
    Ok(Some(script))
}

impl File {
    fn made(below: String, bytes: Vec<u8>, mode: u32) -> Self {
        let digest = Some(Digest::of(&bytes));
        File { below, content: bytes.into(), mode, digest, member: None }
    }

    /// A compiled module, which RECORD lists without a hash.
    pub fn bytecode(below: String, bytes: Vec<u8>) -> Self {
        File { below, content: bytes.into(), mode: 0o644, digest: None, member: None }
    }

    /// Whether it is a module that is to be compiled: `.py` in the library, but not in a folder of tests, which
    /// are many, are rarely imported, and contain what does not compile on purpose.
    pub fn is_module(&self, layout: &Layout) -> bool {
        let Some(inside) = self.below.strip_prefix(&format!("{}/", layout.library())) else { return false };
        let folder = inside.rsplit_once('/').map_or("", |(folder, _)| folder);
        inside.ends_with(".py") && !folder.split('/').any(|part| matches!(part, "test" | "tests"))
    }

    /// Its bytes in memory.
    pub fn read(&self, wheel: &OpenWheel) -> Result<Arc<[u8]>, Error> {
        match (&self.content, self.member.and_then(|at| wheel.archive.members.get(at))) {
            (Content::Bytes(bytes), _) => Ok(bytes.clone()),
            (_, Some(member)) => Ok(wheel.archive.read(member, MODULE_LIMIT)?.into()),
            (_, None) => Ok([].into()),
        }
    }

    /// The entry of a layer.
    pub fn entry(&self, input: &Arc<str>) -> Entry {
        Entry::file(self.content.clone(), self.mode, input)
    }
}

/// RECORD for exactly these files, as pip rewrites it.
pub fn record_of(wheel: &OpenWheel, files: &[File], layout: &Layout) -> File {
    let mut rows = BTreeMap::new();
    for file in files {
        let size = file.digest.map(|_| file.content.size());
        rows.insert(layout.recorded(&file.below), Row { digest: file.digest, size });
    }
    let own = format!("{}/RECORD", wheel.dist_info);
    rows.insert(own.clone(), Row { digest: None, size: None });
    File::made(layout.below(Scheme::Library, &own, ""), record::write(&rows), 0o644)
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
