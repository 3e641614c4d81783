//! The tarball of a package: its files, unpacked once and kept out of memory (pacote, `fetcher.js`).
//!
//! What npm does with a member, it does here: the first part of its path is taken away; only files count, folders are made
//! as they are needed, links and devices are passed over; a file can be run if its owner can run it; `.gitignore` becomes
//! `.npmignore`; of two members with one path the later one holds; several gzip members are one stream, a tar may come
//! without gzip, and nobody looks behind its end. What npm passes over with a warning, because it leads out of the package,
//! is an error here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

use super::Error;
use super::fetch::Tarball;
use crate::error::Result;
use crate::fs::{self, Mapped};
use crate::layer::read::{MemberKind, Members, TarSource};
use crate::layer::{self, Content, Packed, Packing, Store, TreePath};
use crate::oci::Digest;

/// The longest tar of a package, in bytes.
const UNPACKED_LIMIT: u64 = 8 << 30;
/// How many times larger than its tarball a tar may be, once it is larger than [`RATIO_FLOOR`].
const RATIO_LIMIT: u64 = crate::layer::read::RATIO_LIMIT;
/// Tars up to this many bytes may have any ratio.
const RATIO_FLOOR: u64 = 256 << 20;
/// What a gzip stream begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The most files of a package.
const FILES_LIMIT: usize = 200_000;
/// The longest that the tars of all packages of an image may be together, in bytes.
const ALL_UNPACKED_LIMIT: u64 = 32 << 30;
/// The most files of all packages of an image together.
const ALL_FILES_LIMIT: u64 = 1_000_000;

/// One file of a package.
#[derive(Clone, Debug)]
pub struct PackedFile {
    /// Its bytes.
    pub content: Content,
    /// Whether its owner may run it.
    pub executable: bool,
}

/// The limits of one tarball.
#[derive(Clone, Copy, Debug)]
struct Limits {
    unpacked: u64,
    floor: u64,
    files: usize,
    all_unpacked: u64,
    all_files: u64,
}

/// What all packages of an image have been so far.
#[derive(Debug, Default)]
pub struct Total {
    unpacked: AtomicU64,
    files: AtomicU64,
}

const LIMITS: Limits = Limits {
    unpacked: UNPACKED_LIMIT,
    floor: RATIO_FLOOR,
    files: FILES_LIMIT,
    all_unpacked: ALL_UNPACKED_LIMIT,
    all_files: ALL_FILES_LIMIT,
};

/// The files of a tarball of the store, by their path in the package. The blob is verified on the way.
pub fn unpack(tarball: &Tarball, package: &str, store: &Store, total: &Total) -> Result<BTreeMap<String, PackedFile>> {
    unpack_within(tarball, package, store, LIMITS, total)
}

fn unpack_within(
    tarball: &Tarball,
    package: &str,
    store: &Store,
    limits: Limits,
    total: &Total,
) -> Result<BTreeMap<String, PackedFile>> {
    let blob = Mapped::open(&store.blob_path(&tarball.digest))?;
    intact(tarball, &blob, store)?;
    let limit = limits.unpacked.min(tarball.size.saturating_mul(RATIO_LIMIT).max(limits.floor));
    let bytes = Bytes::of(&blob);
    let stream = Stream { bytes, count: 0, limit, all: limits.all_unpacked, total, package };
    let mut members = Members::new(stream).without_owners();
    let mut unpacking =
        Unpacking { package, spill: Spill::new(store)?, files: BTreeMap::new(), ignores: BTreeSet::new() };
    unpacking.all(&mut members, limits, total)?;
    unpacking.finish()
}

/// Compares a blob with its name; one that the disk has damaged is removed, so that the next run fetches it anew.
fn intact(tarball: &Tarball, bytes: &Mapped, store: &Store) -> Result<()> {
    let found = Digest::of(bytes);
    if found == tarball.digest {
        return Ok(());
    }
    store.discard(&tarball.digest)?;
    Err(layer::Error::Rotten { digest: tarball.digest, found: found.to_string() }.into())
}

struct Unpacking<'a> {
    package: &'a str,
    spill: Spill,
    /// Where each file is in the spilt ones: offset, size, CRC; and whether it can be run.
    files: BTreeMap<String, (u64, u64, u32, bool)>,
    /// Every `.npmignore` that came.
    ignores: BTreeSet<String>,
}

impl Unpacking<'_> {
    fn refuse(&self, path: &str, problem: &str) -> Error {
        let reason = format!("`{}` {problem}", super::document::shown(path));
        Error::Tarball { package: self.package.to_string(), reason }
    }

    fn all(&mut self, members: &mut Members<Stream<'_>>, limits: Limits, total: &Total) -> Result<()> {
        let mut is_empty = true;
        while let Some(member) = members.next_member()? {
            is_empty = false;
            let path = member.path.as_ref().map_or("", TreePath::as_str);
            match member.kind {
                MemberKind::File => {}
                MemberKind::Whiteout | MemberKind::Opaque | MemberKind::Ignored => {
                    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
                    let written = match member.kind {
                        MemberKind::Whiteout if folder.is_empty() => format!(".wh.{name}"),
                        MemberKind::Whiteout => format!("{folder}/.wh.{name}"),
                        MemberKind::Opaque => format!("{path}/.wh..wh..opq"),
                        _ => path.to_string(),
                    };
                    let problem = "has a name that begins with `.wh.`, which layers give a meaning";
                    return Err(self.refuse(&written, problem).into());
                }
                MemberKind::Directory | MemberKind::Symlink(_) | MemberKind::Hardlink(_) | MemberKind::Special => {
                    continue;
                }
            }
            if member.absolute {
                return Err(self.refuse(path, "is written as an absolute path").into());
            }
            if member.lossy {
                return Err(self.refuse(path, "has a name that is not UTF-8 text, or has control characters").into());
            }
            // npm has no use for a file beside the package's folder.
            let Some((_, path)) = path.split_once('/') else { continue };
            let Some(path) = self.named(path) else { continue };
            if self.files.len() == limits.files && !self.files.contains_key(&path) {
                let reason = format!("it has more than {} files", limits.files);
                return Err(Error::Tarball { package: self.package.to_string(), reason }.into());
            }
            if total.files.fetch_add(1, Ordering::Relaxed) >= limits.all_files {
                let reason = format!("with it, the packages have more than {} files together", limits.all_files);
                return Err(Error::Tarball { package: self.package.to_string(), reason }.into());
            }
            let (offset, crc32) = self.spill.add(members)?;
            self.files.insert(path, (offset, member.size, crc32, member.mode & 0o100 != 0));
        }
        if is_empty {
            let reason = "there is nothing in it".to_string();
            return Err(Error::Tarball { package: self.package.to_string(), reason }.into());
        }
        Ok(())
    }

    /// The path under which npm has a file; `None` if it has none.
    fn named(&mut self, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let at = |name: &str| if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
        match name {
            ".npmignore" => {
                self.ignores.insert(path.to_string());
                Some(path.to_string())
            }
            ".gitignore" => Some(at(".npmignore")).filter(|ignore| !self.ignores.contains(ignore)),
            _ => Some(path.to_string()),
        }
    }

    fn finish(self) -> Result<BTreeMap<String, PackedFile>> {
        for path in self.files.keys() {
            let mut above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
            if let Some(file) = above.find(|folder| self.files.contains_key(*folder)) {
                let problem = format!("is below `{}`, which is a file", super::document::shown(file));
                return Err(self.refuse(path, &problem).into());
            }
        }
        let archive = self.spill.finish()?;
        let content = |(offset, size, crc32, executable)| {
            let packed = |archive: &Arc<Mapped>| {
                let archive = archive.clone();
                Content::Packed(Packed { archive, offset, length: size, packing: Packing::Stored, crc32, size })
            };
            let content = archive.as_ref().filter(|_| size > 0).map_or_else(|| Content::from(""), packed);
            PackedFile { content, executable }
        };
        Ok(self.files.into_iter().map(|(path, place)| (path, content(place))).collect())
    }
}

/// The bytes of all files, behind each other in a file without a name.
struct Spill {
    file: BufWriter<fs::Temporary>,
    length: u64,
}

impl Spill {
    fn new(store: &Store) -> Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, store.temporary_file()?);
        Ok(Spill { file, length: 0 })
    }

    /// Adds the present member; where it begins, and its CRC.
    fn add<S: TarSource>(&mut self, members: &mut Members<S>) -> Result<(u64, u32)>
    where
        S::Error: Into<crate::error::Error>,
    {
        let (offset, mut crc, mut buffer) = (self.length, crc32fast::Hasher::new(), [0; 32 << 10]);
        loop {
            let count = members.read_part(&mut buffer).map_err(Into::into)?;
            let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
            crc.update(part);
            let written = self.file.write_all(part);
            written.map_err(|source| fs::failed("write", self.file.get_ref().path())(source))?;
            self.length += count as u64;
        }
        Ok((offset, crc.finalize()))
    }

    /// The mapped file; `None` if there is nothing in it.
    fn finish(self) -> Result<Option<Arc<Mapped>>> {
        let path = self.file.get_ref().path().to_path_buf();
        let file = self.file.into_inner().map_err(|error| fs::failed("write", &path)(error.into_error()))?;
        // The mapping stays when the name goes.
        if self.length == 0 { Ok(None) } else { Ok(Some(Arc::new(Mapped::open(file.path())?))) }
    }
}

/// The tar, with gzip around it or without.
enum Bytes<'a> {
    Gzip(GzDecoder<&'a [u8]>),
    Plain(&'a [u8]),
}

impl<'a> Bytes<'a> {
    fn of(blob: &'a [u8]) -> Self {
        if blob.starts_with(&GZIP) { Bytes::Gzip(GzDecoder::new(blob)) } else { Bytes::Plain(blob) }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let gzip = match self {
            Bytes::Plain(bytes) => return bytes.read(buffer),
            Bytes::Gzip(gzip) => gzip,
        };
        loop {
            let count = gzip.read(buffer)?;
            let rest = *gzip.get_ref();
            // Another member, or, from a first zero on, what fills the last block of a medium.
            if count > 0 || buffer.is_empty() || matches!(rest, [] | [0, ..]) {
                return Ok(count);
            }
            *gzip = GzDecoder::new(rest);
        }
    }
}

/// The bytes of the tar: counted and limited.
struct Stream<'a> {
    bytes: Bytes<'a>,
    count: u64,
    limit: u64,
    all: u64,
    total: &'a Total,
    package: &'a str,
}

impl Stream<'_> {
    fn refuse(&self, reason: String) -> Error {
        Error::Tarball { package: self.package.to_string(), reason }
    }
}

impl TarSource for Stream<'_> {
    type Error = Error;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = loop {
            match self.bytes.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| self.refuse(format!("its gzip stream is damaged: {error}")))?,
            }
        };
        self.count += count as u64;
        if self.count > self.limit {
            return Err(self.limit("unpacked bytes", self.limit));
        }
        if self.total.unpacked.fetch_add(count as u64, Ordering::Relaxed) + count as u64 > self.all {
            let reason = format!("with it, the packages have more than {} unpacked bytes together", self.all);
            return Err(self.refuse(reason));
        }
        Ok(count)
    }

    fn damaged(&self, reason: String) -> Error {
        match self.bytes {
            Bytes::Plain(_) => self.refuse(format!("it is no gzip stream, and as a tar: {reason}")),
            Bytes::Gzip(_) => self.refuse(reason),
        }
    }

    fn behind_end(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Many programs that pack leave the end out, and npm does not miss it.
    fn unmarked_end(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        let reason = format!("it has more than {limit} {what}");
        Error::Tarball { package: self.package.to_string(), reason }
    }
}

#[cfg(test)]
#[path = "tarball_tests.rs"]
mod tests;
