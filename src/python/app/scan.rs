//! What the application's folder holds: found once, in one order, with a digest of each file.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use walkdir::WalkDir;

use super::AppSpec;
use super::error::AppError;
use super::link;
use crate::error::Result;
use crate::fs::{self, Moment, Stamp};
use crate::layer::{Stamps, Store};
use crate::oci::{Digest, Hasher};
use crate::python::dockerignore::Ignore;

/// The most files and folders that an application has.
const ENTRY_LIMIT: usize = 1_000_000;

/// The largest file that stays in memory between fingerprint and tree; a larger one is read again.
pub(super) const KEEP_LIMIT: u64 = 1 << 20;

/// The largest `.dockerignore`.
const IGNORE_LIMIT: u64 = 1 << 20;

/// What is at a path of the source folder.
#[derive(Debug)]
pub(super) enum Found {
    /// A folder with nothing in it.
    EmptyFolder,
    /// A link, as it is written.
    Link(String),
    /// A file.
    File {
        /// Whether its owner may run it.
        executable: bool,
        digest: Digest,
        size: u64,
        /// What the file system says of it.
        stamp: Stamp,
        /// The bytes of a small file, if it had to be read.
        bytes: Option<Arc<[u8]>>,
    },
}

/// One entry of the source folder.
#[derive(Debug)]
pub(super) struct Item {
    /// Relative to the source folder.
    pub(super) path: String,
    /// Relative to the project, for messages.
    pub(super) shown: String,
    /// On this machine.
    pub(super) place: PathBuf,
    pub(super) found: Found,
}

/// All entries, sorted by path. Files that did not change since they were read are not read again.
pub(super) fn scan(spec: &AppSpec, store: &Store) -> Result<Vec<Item>> {
    let ignore = ignore(&spec.root)?;
    let source = source(spec)?;
    let mut items = Vec::new();
    let mut walk = WalkDir::new(&source).min_depth(1).follow_links(false).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| walk_error(spec, error))?;
        let name = relative(&spec.root, entry.path());
        let folder = entry.file_type().is_dir();
        if ignore.matches(&name.to_string_lossy()) || spec.leaves_out(&name) || is_cache(entry.path(), folder) {
            if folder && (!ignore.takes_back() || is_cache(entry.path(), folder) || spec.leaves_out(&name)) {
                walk.skip_current_dir();
            }
            continue;
        }
        let shown = escaped(&name);
        let Some(path) = relative(&source, entry.path()).to_str().map(str::to_string) else {
            return Err(AppError::Name { path: shown }.into());
        };
        let Some(found) = look(&entry, &path, &shown)? else { continue };
        items.push(Item { path, shown, place: entry.path().to_path_buf(), found });
        if items.len() > ENTRY_LIMIT {
            return Err(AppError::TooMany { path: spec.source.clone(), limit: ENTRY_LIMIT }.into());
        }
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    let stamps = Stamps::open(store, &source);
    let began = Moment::now();
    items.par_iter_mut().try_for_each(|item| read(item, &stamps, began))?;
    stamps.save();
    remove_filled_folders(&mut items);
    if items.iter().all(|item| matches!(item.found, Found::EmptyFolder)) {
        return Err(AppError::Empty { path: spec.source.clone() }.into());
    }
    Ok(items)
}

fn ignore(root: &Path) -> Result<Ignore> {
    let Some(bytes) = fs::read_optional(&root.join(".dockerignore"), IGNORE_LIMIT)? else {
        return Ok(Ignore::default());
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(Ignore::parse(&text).map_err(|bad| AppError::Ignore {
        line: bad.line,
        pattern: bad.pattern.escape_debug().to_string(),
        reason: bad.reason,
    })?)
}

/// The source folder: in the project, and not reached through a link.
fn source(spec: &AppSpec) -> Result<PathBuf> {
    let refuse = |found| AppError::Source { path: spec.source.clone(), found };
    let mut folder = spec.root.clone();
    for component in spec.source.components() {
        match component {
            Component::CurDir => continue,
            Component::Normal(name) => folder.push(name),
            _ => return Err(refuse("outside").into()),
        }
        let metadata = fs::symlink_metadata(&folder).map_err(|_| refuse("not there"))?;
        match metadata.file_type() {
            kind if kind.is_symlink() => return Err(refuse("a link").into()),
            kind if !kind.is_dir() => return Err(refuse("not a folder").into()),
            _ => {}
        }
    }
    Ok(folder)
}

fn walk_error(spec: &AppSpec, error: walkdir::Error) -> AppError {
    let path = escaped(&relative(&spec.root, error.path().unwrap_or(&spec.source)));
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("the folders form a loop"));
    AppError::Walk { path, source }
}

fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_path_buf()
}

/// A name for messages: what is not text, and what a terminal would act on, as escapes.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => text.to_string(),
        Some(text) => text.escape_debug().to_string(),
        None => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

/// Bytecode of the host: it has the host's paths and times, and may be stale.
fn is_cache(path: &Path, folder: bool) -> bool {
    match folder {
        true => path.file_name().is_some_and(|name| name == "__pycache__"),
        false => path.extension().is_some_and(|extension| extension == "pyc" || extension == "pyo"),
    }
}

fn look(entry: &walkdir::DirEntry, path: &str, shown: &str) -> Result<Option<Found>> {
    let (place, kind) = (entry.path(), entry.file_type());
    let special = |kind| Err(AppError::Special { path: shown.to_string(), kind }.into());
    if kind.is_dir() {
        return Ok(Some(Found::EmptyFolder));
    }
    if kind.is_symlink() {
        let target = place.read_link().map_err(|source| AppError::Walk { path: shown.to_string(), source })?;
        return Ok(Some(Found::Link(link::check(path, shown, &target)?)));
    }
    if kind.is_file() {
        let metadata = fs::symlink_metadata(place)?;
        // Group, others and umask do not matter.
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let (size, stamp) = (metadata.len(), Stamp::of(&metadata));
        return Ok(Some(Found::File { executable, digest: Digest::of(b""), size, stamp, bytes: None }));
    }
    match kind {
        kind if kind.is_socket() => special("a socket"),
        kind if kind.is_fifo() => special("a named pipe"),
        _ => special("a device"),
    }
}

fn read(item: &mut Item, stamps: &Stamps, began: Moment) -> Result<()> {
    let Found::File { digest, size, stamp, bytes, .. } = &mut item.found else { return Ok(()) };
    if let Some(known) = stamps.digest(&item.path, stamp) {
        *digest = known;
        return Ok(());
    }
    let walk = |source| AppError::Walk { path: item.shown.clone(), source };
    let mut file = fs::open(&item.place)?;
    *stamp = Stamp::of(&file.metadata().map_err(walk)?);
    if stamp.size <= KEEP_LIMIT {
        let mut content = Vec::with_capacity(stamp.size as usize);
        (&mut file).take(KEEP_LIMIT + 1).read_to_end(&mut content).map_err(walk)?;
        if content.len() as u64 > KEEP_LIMIT {
            return Err(AppError::Changed { path: item.shown.clone() }.into());
        }
        (*digest, *size) = (Digest::of(&content), content.len() as u64);
        *bytes = Some(content.into());
    } else {
        let mut hashing = Hashing(Hasher::new());
        std::io::copy(&mut file, &mut hashing).map_err(walk)?;
        *size = hashing.0.length();
        *digest = hashing.0.finish();
    }
    if *size == stamp.size {
        stamps.note(&item.path, *stamp, *digest, began);
    }
    Ok(())
}

struct Hashing(Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Folders with something in them are made by what is in them, with the mode that the base gives them.
fn remove_filled_folders(items: &mut Vec<Item>) {
    let filled: std::collections::BTreeSet<String> = items
        .iter()
        .flat_map(|item| item.path.match_indices('/').map(|(end, _)| item.path[..end].to_string()).collect::<Vec<_>>())
        .collect();
    items.retain(|item| !matches!(item.found, Found::EmptyFolder) || !filled.contains(&item.path));
}
