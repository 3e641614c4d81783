//! The data tar of a .deb: what becomes files of the image. Their bytes go into a cast and stay out of memory.

use std::collections::BTreeMap;

use super::DebError;
use super::cast_file::{Found, Row, Writer};
use super::data_stream::DataStream;
use super::elf::is_library;
use crate::error::Result;
use crate::layer::TreePath;
use crate::layer::read::{Member, MemberKind, Members, TarSource};

/// The longest data tar of a .deb, in bytes.
pub const DATA_LIMIT: u64 = 32 << 30;
/// The most entries of a package.
pub const PACKAGE_ENTRIES_LIMIT: usize = 500_000;

/// Unpacks the whole tar into a cast; sorted by path.
pub(super) fn unpack(stream: DataStream<'_>, package: &str, cast: &mut Writer) -> Result<Vec<Row>> {
    let mut members = Members::new(stream);
    let mut rows: BTreeMap<TreePath, Row> = BTreeMap::new();
    while let Some(member) = members.next_member()? {
        check(&member, package)?;
        let Member { path: Some(path), kind, mode, uid, gid, size, .. } = member else { continue };
        let mut library = None;
        let found = match kind {
            MemberKind::Directory => Found::Directory,
            MemberKind::File => {
                let file = cast.add_file(size, |part| read(&mut members, part))?;
                library = file.filter(|_| is_library(path.name())).map(|file| cast.library(file)).transpose()?;
                Found::File(file)
            }
            MemberKind::Symlink(target) => Found::Symlink(symlink(target, &path, package)?),
            MemberKind::Hardlink(target) => Found::Hardlink(first_name(target, &path, &rows, package)?),
            _ => return Err(DebError::entry(package, path.as_str(), "is a device or a pipe").into()),
        };
        if rows.len() == PACKAGE_ENTRIES_LIMIT {
            let (package, what) = (package.into(), "entries".into());
            return Err(DebError::Limit { package, what, limit: PACKAGE_ENTRIES_LIMIT as u64 }.into());
        }
        let again = matches!((&found, rows.get(&path)), (Found::Directory, Some(Row { found: Found::Directory, .. })));
        let row = Row { path: path.clone(), found, mode, uid, gid, library };
        if rows.insert(path.clone(), row).is_some() && !again {
            return Err(DebError::entry(package, path.as_str(), "comes twice").into());
        }
    }
    check_parents(&rows, package)?;
    Ok(rows.into_values().collect())
}

/// The next bytes of a file, as many as there is room for.
fn read<S: TarSource>(members: &mut Members<S>, mut part: &mut [u8]) -> Result<(), S::Error> {
    while !part.is_empty() {
        let count = members.read_part(part)?;
        part = part.get_mut(count..).unwrap_or_default();
    }
    Ok(())
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
    rows: &BTreeMap<TreePath, Row>,
    package: &str,
) -> Result<TreePath, DebError> {
    match rows.get(&target).map(|row| &row.found) {
        Some(Found::File(_)) => Ok(target),
        Some(Found::Hardlink(first)) => Ok(first.clone()),
        _ => {
            let reason = format!("is a hard link to `/{target}`, which is no earlier file of the package");
            Err(DebError::entry(package, path.as_str(), reason))
        }
    }
}

/// Nothing lies below a link or a file of the same package.
fn check_parents(rows: &BTreeMap<TreePath, Row>, package: &str) -> Result<(), DebError> {
    for path in rows.keys() {
        for parent in path.ancestors() {
            if rows.get(&parent).is_some_and(|row| !matches!(row.found, Found::Directory)) {
                let reason = format!("is below `/{parent}`, which is no folder in the same package");
                return Err(DebError::entry(package, path.as_str(), reason));
            }
        }
    }
    Ok(())
}
