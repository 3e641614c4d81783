//! A tar that is written member by member under a temporary name: same members, same bytes.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::fs::{self, Temporary};
use crate::image::Error;
use crate::image::blobs::transfer;
use crate::layer::BlobSource;
use crate::oci::{Descriptor, Epoch};
use crate::progress::Task;

const BLOCK: usize = 512;

/// The tar. Dropped before [`TarFile::finish`], it leaves nothing behind.
pub(super) struct TarFile {
    path: PathBuf,
    file: Temporary,
}

impl TarFile {
    /// Begins the tar that shall be at `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)?;
        Ok(TarFile { path: path.into(), file: Temporary::new_in(folder)? })
    }

    /// The folder in which the tar will be.
    pub fn folder(&self) -> &Path {
        self.file.path().parent().unwrap_or(Path::new("."))
    }

    fn header(&mut self, name: &str, size: u64, kind: tar::EntryType) -> Result<()> {
        let object = || Error::Stream {
            action: "name",
            object: format!("the member `{name}`"),
            source: std::io::Error::from(std::io::ErrorKind::InvalidInput),
        };
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(|_| object())?;
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(Epoch::ENTRIES.seconds().unsigned_abs());
        header.set_size(size);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all(bytes).map_err(fs::failed("write", &self.path))?)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        if rest == 0 { Ok(()) } else { self.write(&[0; BLOCK][rest..]) }
    }

    /// Adds a folder.
    pub fn folder_member(&mut self, name: &str) -> Result<()> {
        self.header(name, 0, tar::EntryType::Directory)
    }

    /// Adds a small file.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.header(name, bytes.len() as u64, tar::EntryType::Regular)?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Adds a blob, whose reader verifies it.
    pub fn blob(&mut self, name: &str, blobs: &dyn BlobSource, descriptor: &Descriptor, task: &Task) -> Result<()> {
        self.header(name, descriptor.size, tar::EntryType::Regular)?;
        let length = transfer(blobs, descriptor, &mut self.file, &self.path, task)?;
        if length != descriptor.size {
            let (expected, found) = (format!("{} bytes", descriptor.size), format!("{length} bytes"));
            let name = self.path.display().to_string();
            return Err(Error::Blob { name, digest: descriptor.digest, expected, found }.into());
        }
        self.pad(length)
    }

    /// Ends the tar and gives it its name.
    pub fn finish(mut self) -> Result<()> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.file.persist(&self.path)?)
    }
}
