//! A cast: the file of the store that a .deb becomes once, so that no layer unpacks or compresses it again.
//!
//! ```text
//! content of files ...  files of the control tar ...  index (JSON)  end (text)
//! ```
//! A file of some size stands there as a deflate stream that layers splice, any other as it is. What is what depends
//! on the file alone. The end has the length of the index and the SHA-256 of everything before it: a cast that
//! does not verify is none.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cast_elf;
use super::elf::{self, Facts, Known};
use crate::error::Result;
use crate::fs::{self, Mapped, Temporary};
use crate::layer::{self, Packed, Packing, Store, TreePath, deflate_run, encode};
use crate::oci::{Digest, Hasher};

/// The version of the format and of what is deflated: it is part of a cast's name.
pub(super) const VERSION: u32 = 2;
/// Files whose stream is shorter stay as they are: each stream ends the run of headers and small files before it,
/// and has a window of its own.
const DEFLATED_FROM: usize = 8 << 10;
/// How much of a cast is looked at at once.
const WINDOW: usize = 1 << 20;
/// Length of the index, digest, what it is.
const END: usize = 20 + 1 + 71 + 1 + MAGIC.len();
const MAGIC: &str = "ingot deb cast\n";

/// Where bytes are in a cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub offset: u64,
    pub length: u64,
    pub deflated: bool,
    pub size: u64,
    pub crc32: u32,
}

impl Stretch {
    /// As the content of an entry.
    pub fn packed(self, cast: &Arc<Mapped>) -> Packed {
        let packing = if self.deflated { Packing::Deflated } else { Packing::Stored };
        let Stretch { offset, length, crc32, size, .. } = self;
        Packed { archive: cast.clone(), offset, length, packing, crc32, size }
    }
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Found {
    Directory,
    /// `None` is an empty file.
    File(Option<Stretch>),
    Symlink(String),
    Hardlink(TreePath),
}

/// One entry of the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub path: TreePath,
    pub found: Found,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// What it says of itself, if it has the name of a shared library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<Known>,
}

/// What a cast says of itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// Of which .deb.
    pub deb: Digest,
    /// Files of the control tar: name, offset, length.
    pub control: Vec<(String, u64, u64)>,
    /// Sorted by path.
    pub rows: Vec<Row>,
}

/// A cast that is being written.
pub(super) struct Writer {
    file: BufWriter<Temporary>,
    hasher: Hasher,
    /// The last part of the file that came last.
    run: Vec<u8>,
    /// Where the parts of that file begin.
    runs: Vec<u64>,
}

impl Writer {
    pub fn new(store: &Store) -> Result<Writer> {
        let file = BufWriter::with_capacity(256 << 10, store.temporary_file()?);
        Ok(Writer { file, hasher: Hasher::new(), run: Vec::new(), runs: Vec::new() })
    }

    /// Adds bytes as they are; where they begin.
    pub fn add(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.hasher.length();
        let written = self.file.write_all(bytes);
        written.map_err(|source| fs::failed("write", self.file.get_ref().path())(source))?;
        self.hasher.update(bytes);
        Ok(offset)
    }

    /// Adds a file of `size` bytes, which `fill` gives in parts: each whole, in their order.
    pub fn add_file<E: Into<crate::error::Error>>(
        &mut self,
        size: u64,
        mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Stretch>> {
        if size == 0 {
            return Ok(None);
        }
        let (offset, mut crc) = (self.hasher.length(), crc32fast::Hasher::new());
        let mut deflated = size > encode::RUN as u64;
        let mut left = size;
        let mut run = std::mem::take(&mut self.run);
        self.runs.clear();
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(encode::RUN);
            run.resize(count, 0);
            fill(&mut run).map_err(Into::into)?;
            crc.update(&run);
            left -= count as u64;
            let failed =
                |source| layer::Error::Stream { action: "compress", object: "a file of a package".into(), source };
            let stream = match count < DEFLATED_FROM && !deflated {
                true => Vec::new(),
                false => deflate_run(&run, left == 0).map_err(failed)?,
            };
            deflated |= stream.len() >= DEFLATED_FROM;
            let begin = self.add(if deflated { &stream } else { &run })?;
            self.runs.push(begin);
        }
        self.run = run;
        let length = self.hasher.length() - offset;
        Ok(Some(Stretch { offset, length, deflated, size, crc32: crc.finalize() }))
    }

    /// What the file that came last says of itself, if it is a library. Of a large one only the parts are read again
    /// that matter.
    pub fn library(&mut self, file: Stretch) -> Result<Known> {
        Ok(self.facts(file)?.map_or(Known::Other, Known::Library))
    }

    fn facts(&mut self, file: Stretch) -> Result<Option<Facts>> {
        if let [_] = self.runs.as_slice() {
            return Ok(elf::facts(self.run.as_slice()));
        }
        let path = self.file.get_ref().path().to_path_buf();
        self.file.flush().map_err(fs::failed("write", &path))?;
        let open = self.file.get_mut().file();
        let ends = self.runs.iter().skip(1).copied().chain([file.offset + file.length]);
        let runs: Vec<Range<u64>> = self.runs.iter().zip(ends).map(|(begin, end)| *begin..end).collect();
        cast_elf::facts(file.size, |run| {
            let plain = runs.get(run).map(|place| inflate(open, place)).transpose();
            Ok(plain.map_err(fs::failed("read", &path))?)
        })
    }

    /// Writes the index; the file is whole then.
    pub fn finish(mut self, index: &Index) -> Result<Temporary> {
        let index = serde_json::to_vec(index).map_err(|source| layer::Error::Stream {
            action: "write",
            object: "the index of a package".into(),
            source: source.into(),
        })?;
        self.add(&index)?;
        self.add(format!("{:020}", index.len()).as_bytes())?;
        let digest = std::mem::take(&mut self.hasher).finish();
        self.add(format!(" {digest} {MAGIC}").as_bytes())?;
        let path = self.file.get_ref().path().to_path_buf();
        self.file.into_inner().map_err(|error| fs::failed("write", &path)(error.into_error()).into())
    }
}

/// One part of a file.
fn inflate(cast: &File, place: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(place.end - place.start).map_err(io::Error::other)?;
    let mut packed = vec![0; length];
    cast.read_exact_at(&mut packed, place.start)?;
    let mut plain = Vec::with_capacity(encode::RUN);
    let mut inflater = flate2::Decompress::new(false);
    inflater.decompress_vec(&packed, &mut plain, flate2::FlushDecompress::Sync)?;
    Ok(plain)
}

/// The index of the cast of this .deb; `None` if that is not what the file is.
pub(super) fn verified(cast: &Mapped, deb: &Digest) -> Option<Index> {
    let content = cast.len().checked_sub(END)?;
    let (length, end) = cast.get(content..)?.split_at_checked(20)?;
    let mut hasher = Hasher::new();
    let hashed = cast.get(..content + 20)?;
    for (n, part) in hashed.chunks(WINDOW).enumerate() {
        hasher.update(part);
        // A large one does not stay in memory.
        cast.release(n * WINDOW..n * WINDOW + part.len());
    }
    if end != format!(" {} {MAGIC}", hasher.finish()).as_bytes() {
        return None;
    }
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let index: Index = serde_json::from_slice(cast.get(content.checked_sub(length)?..content)?).ok()?;
    (index.deb == *deb).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::elf::testing::made_at;

    /// Otherwise the library would be none for good: the cast would say so.
    #[test]
    fn a_library_that_cannot_be_read_again_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut library: Vec<u8> = (0..3 * encode::RUN).map(|_| noise()).collect();
        let head = made_at(62, "liba.so.1", [300, 400, 500], library.len() as u64);
        library[..600].copy_from_slice(&head[..600]);
        let written = || {
            let mut writer = Writer::new(&store).unwrap();
            let mut rest = library.as_slice();
            let fill = |part: &mut [u8]| -> Result<()> {
                part.copy_from_slice(rest.split_off(..part.len()).unwrap());
                Ok(())
            };
            let file = writer.add_file(library.len() as u64, fill).unwrap().unwrap();
            (writer, file)
        };
        let (mut writer, file) = written();
        let expected = elf::facts(library.as_slice()).unwrap();
        assert_eq!(writer.library(file).unwrap(), Known::Library(expected));
        let (mut writer, file) = written();
        let path = writer.file.get_ref().path().to_path_buf();
        writer.file.get_mut().file().set_len(0).unwrap();
        let error = writer.library(file).unwrap_err();
        assert!(error.to_string().contains(&format!("could not read `{}`", path.display())), "{error}");
    }
}
