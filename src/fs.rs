//! The only user of `std::fs`: every error carries its path, every write under a final name is atomic,
//! and every read into memory has a limit.
//!
//! Temporary files are remembered in one list, so that they can be removed when the program ends ([`remove_temporaries`]).

#![allow(clippy::disallowed_methods, reason = "the only user of std::fs")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::error::{Class, Explain};

mod private;
mod share;
mod stamp;

pub use private::{create_shared_dir, is_private_dir};
pub use share::share;
pub use stamp::{Moment, Stamp, keeps_time, timed_device};

/// How the names of temporary files begin.
pub const TEMPORARY: &str = ".ingot-";

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// A verb: "read", "write", "rename".
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is larger than what may be read into memory.
    #[error("`{}` is larger than expected: the limit is {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that was allowed, in bytes.
        limit: u64,
    },
    /// A text file is not UTF-8.
    #[error("`{}` is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Storage
    }

    fn hint(&self) -> Option<String> {
        let Error::Io { source, path, action } = self else { return None };
        let reading = ["open", "read", "map", "list", "look at"].contains(action);
        match source.kind() {
            io::ErrorKind::PermissionDenied if reading => {
                Some(format!("this user must be allowed to read `{}`", path.display()))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                "the file system of `{}` is full: free some space, or set INGOT_CACHE to another one",
                path.display()
            )),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(
                "choose a folder that this user may write to (INGOT_CACHE for the store, -o for the output)".into(),
            ),
            _ => None,
        }
    }
}

/// The result of a file operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes an [`Error::Io`] of `action` on `path`; for `map_err`.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

/// Reads at most `limit` bytes; a longer file is an error, not a cut.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_path_buf(), limit });
    }
    Ok(bytes)
}

/// Reads a UTF-8 file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| Error::NotText { path: path.to_path_buf() })
}

/// Like [`read`], but a missing file is `None`.
pub fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(failed("open", path))
}

/// Opens a regular file and nothing else: a link, a pipe or a device in its place is refused without waiting for
/// it. A missing file is `None`.
pub fn open_regular(path: &Path) -> Result<Option<File>> {
    use rustix::fs::{FileType, Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(failed("open", path)(io::Error::new(io::ErrorKind::InvalidData, "it is a symbolic link")));
        }
        Err(error) => return Err(failed("open", path)(error.into())),
    };
    let found = rustix::fs::fstat(&fd).map_err(|error| failed("look at", path)(error.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(failed("open", path)(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")));
    }
    Ok(Some(File::from(fd)))
}

/// Metadata of what `path` names, without following a link.
pub fn symlink_metadata(path: &Path) -> Result<fs::Metadata> {
    fs::symlink_metadata(path).map_err(failed("look at", path))
}

/// Whether something that can be reached has this name.
pub fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

/// The absolute path without links; the path itself if it cannot be found out.
pub fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The most links that are followed on the way to one file.
const LINKS: usize = 40;

/// Where a path leads, links followed as far as they are there: also one to nothing, behind which something may appear.
pub fn resolved(path: &Path) -> PathBuf {
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (mut out, mut left, mut links) = (PathBuf::new(), parts(path), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            out.pop();
            continue;
        }
        let next = out.join(part);
        match fs::read_link(&next) {
            Ok(to) if links < LINKS => {
                links += 1;
                left.extend(parts(&to));
            }
            _ => out = next,
        }
    }
    out
}

/// Makes a folder and its parents.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(failed("create the folder", path))
}

/// Makes a folder and its parents; returns those that were not there, the innermost first.
pub fn create_missing(path: &Path) -> Result<Vec<PathBuf>> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err();
    let made = path.ancestors().take_while(missing).map(Path::to_path_buf).collect();
    create_dir_all(path)?;
    Ok(made)
}

/// Makes a folder that nobody else looks into (mode 0700), and its parents; why it is not that if it is there and is not.
pub fn create_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create the folder", path)(error));
        }
        _ => {}
    }
    match private::not_private(path)? {
        Some(why) => Err(failed("use", path)(io::Error::new(io::ErrorKind::InvalidData, why))),
        None => Ok(()),
    }
}

/// Sets a file's or a folder's mode.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))
}

/// Opens a file to write behind what is in it; made with mode 0600 if it is not there.
pub fn append(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed("open", path))
}

/// Like [`write_atomic`], with mode 0600.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, bytes, 0o600)
}

/// Like [`write_atomic`], with a mode, which the file has before it has its name.
pub fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = Temporary::new_in(parent)?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.file().set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))?;
    file.persist_unflushed(path)
}

/// Removes a folder, if nothing is in it.
pub fn remove_empty_dir(path: &Path) {
    // Whatever is wrong with it, it stays.
    let _ = fs::remove_dir(path);
}

/// Removes a file; a missing one is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The entries of a folder, sorted by name.
pub fn read_dir(path: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path)
        .map_err(failed("list", path))?
        .map(|entry| entry.map(|e| e.path()).map_err(failed("list", path)))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// How often a folder is removed into which somebody writes.
const REMOVALS: usize = 10;

static TEMPORARIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn temporaries() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARIES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Removes every temporary file and folder of this process. For the signal handler and the end of the program: from
/// then on no new ones are made, whoever tries waits for that end.
#[allow(clippy::mem_forget, reason = "the lock is held until the program ends")]
pub fn remove_temporaries() {
    let paths = temporaries();
    for path in paths.iter() {
        remove_temporary(path);
    }
    std::mem::forget(paths);
}

fn remove_temporary(path: &Path) {
    if !path.is_dir() || path.is_symlink() {
        let _ = fs::remove_file(path);
        return;
    }
    // Another thread may still be writing into it.
    for _ in 0..REMOVALS {
        if fs::remove_dir_all(path).is_ok() {
            return;
        }
    }
}

/// Marks a folder for temporary files as used until the returned value is dropped. What programs have left there
/// that were killed is removed, if nobody uses the folder now. A folder that cannot be locked is used as it is.
pub fn claim_temporaries(folder: &Path, lock: &Path) -> Option<File> {
    let file = File::open(lock).or_else(|_| File::create_new(lock)).or_else(|_| File::open(lock)).ok()?;
    if file.try_lock().is_ok() {
        for path in read_dir(folder).unwrap_or_default() {
            remove_temporary(&path);
        }
    }
    file.lock_shared().ok()?;
    Some(file)
}

/// A name in the list of temporaries, taken out again when dropped.
#[derive(Debug)]
struct Remembered(PathBuf);

impl Remembered {
    /// Makes something with a name and remembers it, in one step for the signal handler.
    fn make<T>(make: impl FnOnce() -> Result<T>, path: impl FnOnce(&T) -> &Path) -> Result<(T, Self)> {
        let mut all = temporaries();
        let made = make()?;
        let path = path(&made).to_path_buf();
        all.insert(path.clone());
        Ok((made, Remembered(path)))
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        temporaries().remove(&self.0);
    }
}

/// A name of something that this process has made and that goes when the value goes, or the process ends.
#[derive(Debug)]
pub struct TemporaryName(Remembered);

impl TemporaryName {
    /// Of what is there now: a socket.
    pub fn of(path: &Path) -> Self {
        temporaries().insert(path.to_path_buf());
        TemporaryName(Remembered(path.to_path_buf()))
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0.0);
    }
}

/// A file that has no final name yet. Dropped without [`Temporary::persist`], it is removed.
#[derive(Debug)]
pub struct Temporary {
    file: tempfile::NamedTempFile,
    name: Remembered,
}

impl Temporary {
    /// A new file in `folder`, which must be on the file system of the final name. Mode 0600 until persisted.
    pub fn new_in(folder: &Path) -> Result<Self> {
        let make = || {
            let made = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder);
            // Without the random name that could not be made.
            made.map_err(|error| failed("create a temporary file in", folder)(error.kind().into()))
        };
        let (file, name) = Remembered::make(make, |file| file.path())?;
        Ok(Temporary { file, name })
    }

    /// Its present name.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives it its final name without waiting for the disk: for what is noticed, and missed by nobody, if a crash
    /// damages it. Mode 0600.
    pub fn persist_unflushed(self, target: &Path) -> Result<()> {
        self.file.persist(target).map_err(|error| failed("rename to", target)(error.error))?;
        Ok(())
    }

    /// Flushes to disk, sets mode 0644 whatever the umask, renames, and flushes the folder.
    pub fn persist(self, target: &Path) -> Result<()> {
        self.settle(target)?.rename(target)?;
        sync_parent(target)
    }

    /// All of [`Temporary::persist`] but the name. `target` is for messages.
    pub fn settle(self, target: &Path) -> Result<Settled> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.file.as_file();
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed("set the mode of", target))?;
        file.sync_all().map_err(failed("flush", target))?;
        Ok(Settled { path: self.file.into_temp_path(), _name: self.name, is_link: false })
    }
}

/// A file that lacks nothing but its final name. Dropped without [`Settled::rename`], it is removed.
#[derive(Debug)]
pub struct Settled {
    path: tempfile::TempPath,
    _name: Remembered,
    /// Whether it is one more name of a file that has others.
    is_link: bool,
}

impl Settled {
    /// Gives it its final name. The name is lost in a crash before the folder is flushed ([`sync_folder`]).
    pub fn rename(self, target: &Path) -> Result<()> {
        let left = self.is_link.then(|| self.path.to_path_buf());
        // A failed rename drops, and so removes, the temporary file.
        self.path.persist(target).map_err(|error| failed("rename to", target)(error.error))?;
        // If the target was a name of the same file, both are still there.
        left.map_or(Ok(()), |left| remove_file(&left))
    }
}

impl Write for Temporary {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub struct TemporaryDir {
    folder: tempfile::TempDir,
    _name: Remembered,
}

impl TemporaryDir {
    /// A new folder in `parent`, mode 0700.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let make = || {
            let made = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent);
            made.map_err(|error| failed("create a temporary folder in", parent)(error.kind().into()))
        };
        let (folder, name) = Remembered::make(make, |folder| folder.path())?;
        Ok(TemporaryDir { folder, _name: name })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its final name; if that name is taken, the existing one stays and this one is removed.
    pub fn persist(self, target: &Path) -> Result<()> {
        match fs::rename(self.folder.path(), target) {
            Ok(()) => sync_parent(target),
            Err(_) if target.is_dir() => Ok(()),
            Err(error) => Err(failed("rename to", target)(error)),
        }
    }
}

fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Flushes the names in a folder to disk.
pub fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("flush", path))
}

/// Writes `bytes` under `path` so that a reader sees the old file or the whole new one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = Temporary::new_in(parent)?;
    temporary.write_all(bytes).map_err(failed("write", path))?;
    temporary.persist(path)
}

/// The new content of a file that is there, complete but for the name: for what a link names, with the mode and the owner
/// that it has. Dropped without [`Replacement::rename`], the file stays as it is.
#[derive(Debug)]
pub struct Replacement {
    settled: Settled,
    path: PathBuf,
}

impl Replacement {
    /// Writes the content beside the file.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let path = canonical(path);
        let old = symlink_metadata(&path)?;
        let mut temporary = Temporary::new_in(path.parent().unwrap_or(Path::new(".")))?;
        temporary.write_all(bytes).map_err(failed("write", &path))?;
        let settled = temporary.settle(&path)?;
        // Only root can give a file away; whoever cannot, owns what he wrote.
        let _ = std::os::unix::fs::chown(&settled.path, Some(old.uid()), Some(old.gid()));
        fs::set_permissions(&settled.path, old.permissions()).map_err(failed("set the mode of", &path))?;
        Ok(Replacement { settled, path })
    }

    /// Puts it in the file's place.
    pub fn rename(self) -> Result<()> {
        self.settled.rename(&self.path)?;
        sync_parent(&self.path)
    }
}

/// Whether its owner has closed a file to writing. Nothing is closed to root, and a rename asks the folder only.
pub fn is_closed(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o200 == 0)
}

/// So many bytes of a mapped file may have been read and not be released.
const PASSED: usize = 16 << 20;

/// A read-only file in memory. Only for files that Ingot owns (its store): nobody shortens those.
pub struct Mapped {
    map: memmap2::Mmap,
    path: PathBuf,
    /// How many bytes were passed.
    passed: AtomicUsize,
}

impl Mapped {
    /// Maps the whole file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        // SAFETY: store files are written once, then renamed, and never changed in place.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed("map", path))?;
        Ok(Mapped { map, path: path.to_path_buf(), passed: AtomicUsize::new(0) })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that so many bytes were read, somewhere: every now and then, all are released. Whoever reads all of a file,
    /// in whatever order and on however many threads, has no more of it in memory than [`PASSED`] and what he reads.
    pub fn passed(&self, bytes: usize) {
        let before = self.passed.fetch_add(bytes, Ordering::Relaxed);
        if before / PASSED != before.wrapping_add(bytes) / PASSED {
            self.release(0..self.map.len());
        }
    }

    /// Says that these bytes are not needed for now, so that they do not count as this program's memory. They are
    /// read again from the file if they are.
    pub fn release(&self, range: std::ops::Range<usize>) {
        // A page is at most this large on any machine; what is mapped ends where the file does.
        const PAGE: usize = 64 << 10;
        let start = range.start.min(self.map.len()) / PAGE * PAGE;
        let end = range.end.min(self.map.len()) / PAGE * PAGE;
        if end > start {
            // SAFETY: the mapping is of a file that nobody changes, so what is read again is what was there.
            let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapped({}, {} bytes)", self.path.display(), self.map.len())
    }
}
