//! The store: `blobs/sha256/` by digest, and versioned buckets of derived data.
//!
//! ```text
//! $INGOT_CACHE or $XDG_CACHE_HOME/ingot
//!   blobs/sha256/HEX      blobs: base layers, made layers, wheels
//!   layers-vN/            fingerprint -> finished layer
//!   bases-vN/             listing of a base layer
//!   pyc-vN/               sources and interpreter -> bytecode
//!   debs-vN/              .deb -> its files, ready for layers
//!   hygiene-vN/           digests of contents that were searched for secrets
//!   os-vN/                what happened while OS packages became a layer
//!   packages-vN/          Packages file -> what resolving needs of it
//!   interpreters-vN/      the files of a base that its Python needs to compile
//!   stamps-vN/            folder -> digests of its files, and how they looked when they were read
//!   tmp/                  files without a final name
//!   lock                  held by whoever uses the store, so that nobody clears tmp/ meanwhile
//! ```
//! Writers: temporary file in `tmp/`, hash while writing, flush, rename. Presence is completeness. No blob is used that this
//! process did not hash: [`Store::open`] verifies while it is read, and a file to be shared says whether it was ([`BlobFile`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{BlobFile, BlobSource, Error};
use crate::error::Result;
use crate::fs::{self, Stamp, Temporary, TemporaryDir};
use crate::oci::{Descriptor, Digest, Hasher};

/// How often who waits for a blob looks whether it is still wanted.
const UNDERWAY_PAUSE: Duration = Duration::from_millis(50);

/// A folder of derived data, with the version of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// `layers-v1/FINGERPRINT.json`.
    Layers,
    /// `bases-v1/BLOB.json`: what is in a base layer.
    Bases,
    /// `pyc-v2/KEY`: the compiled modules of a wheel, an application or a library.
    Bytecode,
    /// `interpreters-v1/KEY/`: unpacked interpreters.
    Interpreters,
    /// `index-v1/`: what a package index said of a distribution.
    Index,
    /// `packages-v1/BLOB-ARCHITECTURE`: what is needed of a Packages file of an apt archive.
    Packages,
    /// `debs-v1/BLOB-N`: what is in a .deb, its files as layers want them.
    Debs,
    /// `hygiene-v1/PROJECT.json`: which contents were searched for secrets, and what was found.
    Hygiene,
    /// `os-v1/FINGERPRINT.json`: what happened while OS packages became a layer.
    OsReports,
    /// `stamps-v1/FOLDER`: digests of files that did not change.
    Stamps,
}

impl Bucket {
    fn folder(self) -> &'static str {
        match self {
            Bucket::Layers => "layers-v1",
            Bucket::Bases => "bases-v1",
            Bucket::Bytecode => "pyc-v2",
            Bucket::Interpreters => "interpreters-v1",
            Bucket::Index => "index-v1",
            Bucket::Packages => "packages-v1",
            Bucket::Debs => "debs-v1",
            Bucket::Hygiene => "hygiene-v1",
            Bucket::OsReports => "os-v1",
            Bucket::Stamps => "stamps-v1",
        }
    }
}

/// The content store of this user.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Whether [`Bucket::Stamps`] is read.
    believes_stamps: bool,
    /// Keeps other programs from clearing `tmp/`.
    _claim: Option<Arc<File>>,
    /// Blobs that somebody of this process is fetching.
    underway: Arc<Underway>,
    /// Blobs that this process wrote, and how their files looked then.
    written: Arc<Mutex<BTreeMap<Digest, Stamp>>>,
    /// Whether others may share the files of blobs.
    shares: bool,
}

#[derive(Debug, Default)]
struct Underway {
    digests: Mutex<BTreeSet<Digest>>,
    changed: Condvar,
}

/// Who has it fetches a blob; others wait until it is dropped.
pub struct Fetching {
    underway: Arc<Underway>,
    digest: Digest,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.underway.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.underway.changed.notify_all();
    }
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there.
    pub fn open_at(root: &Path) -> Result<Self> {
        fs::create_dir_all(&root.join("blobs/sha256"))?;
        let temporary = root.join("tmp");
        fs::create_dir_all(&temporary)?;
        let claim = fs::claim_temporaries(&temporary, &root.join("lock"));
        Ok(Store {
            root: root.to_path_buf(),
            believes_stamps: true,
            _claim: claim.map(Arc::new),
            underway: Arc::default(),
            written: Arc::default(),
            shares: true,
        })
    }

    /// The same store, whose blobs are copied wherever they are needed.
    pub fn without_sharing(&self) -> Store {
        Store { shares: false, ..self.clone() }
    }

    /// The same store, in which no stamp is found: every file is read, git is asked. New stamps take the place of those
    /// that are there.
    pub fn without_stamps(&self) -> Store {
        Store { believes_stamps: false, ..self.clone() }
    }

    /// Whether stamps are found in it.
    pub(super) fn believes_stamps(&self) -> bool {
        self.believes_stamps
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn temporary_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The file of a blob, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn has(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(&self.blob_path(digest)).is_ok_and(|found| found.is_file())
    }

    /// Starts a new blob.
    pub fn writer(&self) -> Result<BlobWriter> {
        let file = Temporary::new_in(&self.temporary_folder())?;
        Ok(BlobWriter { file, hasher: Hasher::new(), store: self.clone() })
    }

    /// Stores bytes under their own digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.has(&digest) {
            return Ok(digest);
        }
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(fs::failed("write", &self.blob_path(&digest)))?;
        Ok(writer.finish()?.0)
    }

    /// Waits while somebody else of this process fetches the blob, as long as `wanted` holds. Then look whether it is there.
    pub fn fetching(&self, digest: &Digest, wanted: &dyn Fn() -> bool) -> Fetching {
        let mut digests = self.underway.digests.lock().unwrap_or_else(PoisonError::into_inner);
        while digests.contains(digest) && wanted() {
            let waited = self.underway.changed.wait_timeout(digests, UNDERWAY_PAUSE);
            digests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        digests.insert(*digest);
        Fetching { underway: self.underway.clone(), digest: *digest }
    }

    /// A verifying reader; a blob that is not there is [`Error::Missing`].
    pub fn open(&self, digest: &Digest, size: Option<u64>) -> Result<BlobReader<File>> {
        if !self.has(digest) {
            return Err(Error::Missing { digest: *digest }.into());
        }
        let path = self.blob_path(digest);
        let reader = BlobReader::new(fs::open(&path)?, *digest, size);
        Ok(BlobReader { stored: Some(path), ..reader })
    }

    /// A small blob in memory, verified.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        if !self.has(digest) {
            return Err(Error::Missing { digest: *digest }.into());
        }
        let bytes = fs::read(&self.blob_path(digest), limit)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            self.discard(digest)?;
            return Err(Error::Rotten { digest: *digest, found: found.to_string() }.into());
        }
        Ok(bytes)
    }

    /// Looks at a blob whose content made no sense: whether it is what its name says, or is not there. One that is
    /// not is removed.
    pub fn is_sound(&self, digest: &Digest) -> bool {
        !self.has(digest) || self.open(digest, None).is_ok_and(|mut blob| io::copy(&mut blob, &mut io::sink()).is_ok())
    }

    /// Removes a blob (one that does not verify).
    pub fn discard(&self, digest: &Digest) -> Result<()> {
        Ok(fs::remove_file(&self.blob_path(digest))?)
    }

    /// The file of an entry in a bucket. `name` is one path component.
    pub fn entry_path(&self, bucket: Bucket, name: &str) -> PathBuf {
        debug_assert!(!name.contains('/') && !name.starts_with('.'));
        self.root.join(bucket.folder()).join(name)
    }

    /// Reads an entry of a bucket.
    pub fn get_entry(&self, bucket: Bucket, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        if bucket == Bucket::Stamps && !self.believes_stamps {
            return Ok(None);
        }
        Ok(fs::read_optional(&self.entry_path(bucket, name), limit)?)
    }

    /// Writes an entry of a bucket, atomically.
    pub fn put_entry(&self, bucket: Bucket, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.entry_path(bucket, name);
        fs::create_dir_all(&self.root.join(bucket.folder()))?;
        let mut temporary = Temporary::new_in(&self.temporary_folder())?;
        temporary.write_all(bytes).map_err(fs::failed("write", &path))?;
        Ok(temporary.persist(&path)?)
    }

    /// Writes an entry that says by itself whether it is whole: a crash may damage it.
    pub fn put_note(&self, bucket: Bucket, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.entry_path(bucket, name);
        fs::create_dir_all(&self.root.join(bucket.folder()))?;
        let mut temporary = Temporary::new_in(&self.temporary_folder())?;
        temporary.write_all(bytes).map_err(fs::failed("write", &path))?;
        Ok(temporary.persist_unflushed(&path)?)
    }

    /// A new folder inside the store, to be given a name in a bucket with [`Store::adopt`].
    pub fn temporary_dir(&self) -> Result<TemporaryDir> {
        Ok(TemporaryDir::new_in(&self.temporary_folder())?)
    }

    /// A new file inside the store.
    pub fn temporary_file(&self) -> Result<Temporary> {
        Ok(Temporary::new_in(&self.temporary_folder())?)
    }

    /// Makes a file an entry of a bucket, in the place of one that is there.
    pub fn adopt_file(&self, file: Temporary, bucket: Bucket, name: &str) -> Result<PathBuf> {
        fs::create_dir_all(&self.root.join(bucket.folder()))?;
        let path = self.entry_path(bucket, name);
        file.persist(&path)?;
        Ok(path)
    }

    /// Makes a folder an entry of a bucket.
    pub fn adopt(&self, folder: TemporaryDir, bucket: Bucket, name: &str) -> Result<PathBuf> {
        fs::create_dir_all(&self.root.join(bucket.folder()))?;
        let path = self.entry_path(bucket, name);
        folder.persist(&path)?;
        Ok(path)
    }
}

impl BlobSource for Store {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Store::open(self, &descriptor.digest, Some(descriptor.size))?))
    }

    fn file(&self, descriptor: &Descriptor) -> Result<Option<BlobFile>> {
        let path = self.blob_path(&descriptor.digest);
        let Ok(found) = fs::symlink_metadata(&path) else { return Ok(None) };
        if !self.shares || !found.is_file() || found.len() != descriptor.size {
            return Ok(None);
        }
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // The change time moves when the file gets another name.
        let is_same = |before: &Stamp, now: Stamp| Stamp { changed: now.changed, ..*before } == now;
        let is_verified = written.get(&descriptor.digest).is_some_and(|before| is_same(before, Stamp::of(&found)));
        Ok(Some(BlobFile { path, is_verified }))
    }
}

/// A blob that is being written. It has no name until it is finished; its name is what was hashed.
pub struct BlobWriter {
    file: Temporary,
    hasher: Hasher,
    store: Store,
}

impl BlobWriter {
    /// Names the blob by its digest; returns digest and size.
    pub fn finish(self) -> Result<(Digest, u64)> {
        let size = self.hasher.length();
        let digest = self.hasher.finish();
        let path = self.store.blob_path(&digest);
        if !self.store.has(&digest) {
            self.file.persist(&path)?;
            if let Ok(found) = fs::symlink_metadata(&path) {
                let mut written = self.store.written.lock().unwrap_or_else(PoisonError::into_inner);
                written.insert(digest, Stamp::of(&found));
            }
        }
        Ok((digest, size))
    }

    /// Like [`BlobWriter::finish`], but only if the bytes are the promised ones.
    pub fn finish_as(self, expected: &Digest, size: Option<u64>) -> Result<u64> {
        let length = self.hasher.length();
        if let Some(size) = size.filter(|size| *size != length) {
            return Err(
                Error::Digest { expected: *expected, found: format!("{length} bytes instead of {size}") }.into()
            );
        }
        let found = self.hasher.clone().finish();
        if found != *expected {
            return Err(Error::Digest { expected: *expected, found: found.to_string() }.into());
        }
        self.finish().map(|(_, size)| size)
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// How many bytes were written.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a blob and fails, instead of reporting its end, if the bytes are not the promised ones.
///
/// Only a reader that is read to its end has verified anything.
pub struct BlobReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    size: Option<u64>,
    /// The store's own file: one that does not verify is removed, so that the next run makes or fetches it anew.
    stored: Option<PathBuf>,
}

impl<R: Read> BlobReader<R> {
    /// Verifies `inner` against a digest and, where it is known, a size.
    pub fn new(inner: R, expected: Digest, size: Option<u64>) -> Self {
        BlobReader { inner, hasher: Some(Hasher::new()), expected, size, stored: None }
    }

    fn refuse(&self, found: String) -> io::Error {
        let error = match &self.stored {
            Some(path) if fs::remove_file(path).is_ok() => Error::Rotten { digest: self.expected, found },
            _ => Error::Digest { expected: self.expected, found },
        };
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl<R: Read> Read for BlobReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        let Some(hasher) = &mut self.hasher else { return Ok(0) };
        if count > 0 {
            hasher.update(&buffer[..count]);
            let length = hasher.length();
            return match self.size {
                Some(size) if length > size => Err(self.refuse(format!("more than {size} bytes"))),
                _ => Ok(count),
            };
        }
        let length = hasher.length();
        let found = self.hasher.take().map(Hasher::finish);
        if let Some(size) = self.size.filter(|size| *size != length) {
            return Err(self.refuse(format!("{length} bytes instead of {size}")));
        }
        match found {
            Some(found) if found != self.expected => Err(self.refuse(found.to_string())),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn a_blob_is_named_by_what_was_written() {
        let (_folder, store) = store();
        let digest = store.put(b"hello").unwrap();
        assert_eq!((digest, store.has(&digest)), (Digest::of(b"hello"), true));
        assert_eq!(store.read(&digest, 10).unwrap(), b"hello");
        assert_eq!(fs::read_dir(&store.root().join("tmp")).unwrap().len(), 0);
    }

    #[test]
    fn a_promise_that_does_not_hold_leaves_nothing() {
        let (_folder, store) = store();
        for (bytes, size) in [(&b"other"[..], None), (b"hello!", Some(5))] {
            let mut writer = store.writer().unwrap();
            writer.write_all(bytes).unwrap();
            let error = writer.finish_as(&Digest::of(b"hello"), size).unwrap_err();
            assert_eq!(error.class().code(), 4);
        }
        assert!(!store.has(&Digest::of(b"hello")));
        assert_eq!(fs::read_dir(&store.root().join("tmp")).unwrap().len(), 0);
        assert_eq!(fs::read_dir(&store.root().join("blobs/sha256")).unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_blob_fails_before_its_end() {
        let (_folder, store) = store();
        let digest = store.put(b"hello").unwrap();
        for damage in [&b"hellO"[..], b"hell", b"hello!"] {
            std::fs::write(store.blob_path(&digest), damage).unwrap();
            let mut reader = store.open(&digest, Some(5)).unwrap();
            assert!(io::copy(&mut reader, &mut io::sink()).is_err());
            // It is gone, so that the next run makes it anew.
            assert!(!store.has(&digest));
            std::fs::write(store.blob_path(&digest), damage).unwrap();
            let error = store.read(&digest, 100).unwrap_err();
            assert!(error.to_string().contains("of the store does not verify: found sha256:"), "{error}");
            assert!(error.class().code() == 4 && error.hint().is_some_and(|hint| hint.starts_with("it was removed")));
            assert!(!store.has(&digest));
        }
    }

    #[test]
    fn a_blob_is_verified_by_who_wrote_it_and_by_nobody_else() {
        let (folder, store) = store();
        let digest = store.put(b"hello").unwrap();
        let of = |size| Descriptor::new("x", digest, size);
        let file = |store: &Store, size| store.file(&of(size)).unwrap().map(|file| file.is_verified);
        assert_eq!(file(&store, 5), Some(true));
        assert_eq!(file(&Store::open_at(folder.path()).unwrap(), 5), Some(false));
        // Whoever reads it says what is wrong.
        assert_eq!(file(&store, 6), None);
        assert_eq!(file(&store.without_sharing(), 5), None);
        // Longer than a tick of the file system's clock.
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(store.blob_path(&digest), "hellO").unwrap();
        assert_eq!(file(&store, 5), Some(false));
        store.discard(&digest).unwrap();
        assert_eq!(file(&store, 5), None);
    }

    #[test]
    fn what_killed_programs_left_is_removed_when_nobody_uses_the_store() {
        let (folder, store) = store();
        let left = store.root().join("tmp/.ingot-left");
        std::fs::create_dir_all(left.join("deep")).unwrap();
        let second = Store::open_at(folder.path()).unwrap();
        assert!(left.exists(), "somebody uses the store");
        drop((store, second));
        Store::open_at(folder.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn entries_are_replaced_whole() {
        let (_folder, store) = store();
        assert_eq!(store.get_entry(Bucket::Layers, "x.json", 9).unwrap(), None);
        store.put_entry(Bucket::Layers, "x.json", b"1").unwrap();
        store.put_entry(Bucket::Layers, "x.json", b"2").unwrap();
        assert_eq!(store.get_entry(Bucket::Layers, "x.json", 9).unwrap().unwrap(), b"2");
    }
}
