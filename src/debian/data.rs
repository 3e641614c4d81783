//! The data tar of a .deb: what becomes files of the image. The bytes of its files go into one temporary file of the
//! store, one behind the other, and stay out of memory.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use super::DebError;
use super::data_stream::DataStream;
use crate::error::Result;
use crate::fs::{self, Mapped, Temporary};
use crate::layer::read::{Member, MemberKind, Members, TarSource};
use crate::layer::{Content, Entry, Kind, Packed, Packing, Store, TreePath};

/// The longest data tar of a .deb, in bytes.
pub const DATA_LIMIT: u64 = 32 << 30;
/// The most entries of a package.
pub const PACKAGE_ENTRIES_LIMIT: usize = 500_000;

/// Where the bytes of one file are, until the file that holds them is mapped.
struct Stretch {
    offset: u64,
    size: u64,
    crc32: u32,
}

enum Found {
    Directory,
    File(Stretch),
    Symlink(String),
    Hardlink(TreePath),
}

struct Loose {
    found: Found,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Unpacks the whole tar; sorted by path.
pub(super) fn unpack(stream: DataStream<'_>, package: &str, store: &Store) -> Result<Vec<(TreePath, Entry)>> {
    let mut bytes = Bytes { file: BufWriter::with_capacity(256 << 10, store.temporary_file()?), length: 0 };
    let mut members = Members::new(stream);
    let mut entries: BTreeMap<TreePath, Loose> = BTreeMap::new();
    while let Some(member) = members.next_member()? {
        check(&member, package)?;
        let Member { path: Some(path), kind, mode, uid, gid, .. } = member else { continue };
        let found = match kind {
            MemberKind::Directory => Found::Directory,
            MemberKind::File => Found::File(bytes.add(&mut members)?),
            MemberKind::Symlink(target) => Found::Symlink(symlink(target, &path, package)?),
            MemberKind::Hardlink(target) => Found::Hardlink(first_name(target, &path, &entries, package)?),
            _ => return Err(DebError::entry(package, path.as_str(), "is a device or a pipe").into()),
        };
        if entries.len() == PACKAGE_ENTRIES_LIMIT {
            let (package, what) = (package.into(), "entries".into());
            return Err(DebError::Limit { package, what, limit: PACKAGE_ENTRIES_LIMIT as u64 }.into());
        }
        let again =
            matches!((&found, entries.get(&path)), (Found::Directory, Some(Loose { found: Found::Directory, .. })));
        if entries.insert(path.clone(), Loose { found, mode, uid, gid }).is_some() && !again {
            return Err(DebError::entry(package, path.as_str(), "comes twice").into());
        }
    }
    check_parents(&entries, package)?;
    let archive = bytes.map()?;
    let input: Arc<str> = format!("package `{package}`").into();
    Ok(entries.into_iter().map(|(path, loose)| (path, loose.entry(archive.as_ref(), &input))).collect())
}

/// What nobody may have in a package, or might be read in two ways.
fn check(member: &Member, package: &str) -> Result<(), DebError> {
    let path = member.path.as_ref().map_or("", |path| path.as_str());
    let refuse = |reason: &str| Err(DebError::entry(package, path, reason));
    match &member.kind {
        MemberKind::Special => refuse("is a device or a pipe"),
        MemberKind::Whiteout | MemberKind::Opaque | MemberKind::Ignored => {
            refuse("has a name that begins with `.wh.`, which layers give a meaning")
        }
        _ if member.absolute => refuse("is written as an absolute path"),
        _ if member.lossy => refuse("has a name or a target that is not UTF-8 text, or has control characters"),
        _ => Ok(()),
    }
}

fn symlink(target: String, path: &TreePath, package: &str) -> Result<String, DebError> {
    match target.len() {
        0 => Err(DebError::entry(package, path.as_str(), "is a link to nothing")),
        1..=4095 => Ok(target),
        _ => Err(DebError::entry(package, path.as_str(), "is a link whose target is longer than 4095 bytes")),
    }
}

/// The file that a hard link is another name of: one that came earlier in the same package.
fn first_name(
    target: TreePath,
    path: &TreePath,
    entries: &BTreeMap<TreePath, Loose>,
    package: &str,
) -> Result<TreePath, DebError> {
    match entries.get(&target).map(|entry| &entry.found) {
        Some(Found::File(_)) => Ok(target),
        Some(Found::Hardlink(first)) => Ok(first.clone()),
        _ => {
            let reason = format!("is a hard link to `/{target}`, which is no earlier file of the package");
            Err(DebError::entry(package, path.as_str(), reason))
        }
    }
}

/// Nothing lies below a link or a file of the same package.
fn check_parents(entries: &BTreeMap<TreePath, Loose>, package: &str) -> Result<(), DebError> {
    for path in entries.keys() {
        for parent in path.ancestors() {
            if entries.get(&parent).is_some_and(|entry| !matches!(entry.found, Found::Directory)) {
                let reason = format!("is below `/{parent}`, which is no folder in the same package");
                return Err(DebError::entry(package, path.as_str(), reason));
            }
        }
    }
    Ok(())
}

impl Loose {
    fn entry(self, archive: Option<&Arc<Mapped>>, input: &Arc<str>) -> Entry {
        let kind = match (self.found, archive) {
            (Found::Directory, _) => Kind::Directory,
            (Found::Symlink(target), _) => Kind::Symlink(target),
            (Found::Hardlink(first), _) => Kind::Hardlink(first),
            (Found::File(Stretch { offset, size, crc32 }), Some(archive)) if size > 0 => {
                let (archive, packing) = (archive.clone(), Packing::Stored);
                Kind::File(Content::Packed(Packed { archive, offset, length: size, packing, crc32, size }))
            }
            (Found::File(_), _) => Kind::File(Content::from("")),
        };
        Entry { kind, mode: self.mode, uid: self.uid, gid: self.gid, input: input.clone() }
    }
}

/// The bytes of all files.
struct Bytes {
    file: BufWriter<Temporary>,
    length: u64,
}

impl Bytes {
    fn add<S: TarSource<Error = DebError>>(&mut self, members: &mut Members<S>) -> Result<Stretch> {
        let mut buffer = vec![0; 64 << 10];
        let mut hasher = crc32fast::Hasher::new();
        let offset = self.length;
        loop {
            let count = members.read_part(&mut buffer)?;
            let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
            hasher.update(part);
            let written = self.file.write_all(part);
            written.map_err(|source| fs::failed("write", self.file.get_ref().path())(source))?;
            self.length += count as u64;
        }
        Ok(Stretch { offset, size: self.length - offset, crc32: hasher.finalize() })
    }

    /// The bytes as a map. The file loses its name here, and is gone with the map.
    fn map(mut self) -> Result<Option<Arc<Mapped>>> {
        if self.length == 0 {
            return Ok(None);
        }
        let flushed = self.file.flush();
        flushed.map_err(|source| fs::failed("write", self.file.get_ref().path())(source))?;
        Ok(Some(Arc::new(Mapped::open(self.file.get_ref().path())?)))
    }
}
