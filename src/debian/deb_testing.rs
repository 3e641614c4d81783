//! Hand-made .debs for tests: any control file, any tar, any compression.

use std::io::Write;
use std::sync::Arc;

use super::ar::testing::archive;
use super::deb::{Deb, Limits};
use crate::error::Result;
use crate::fs::Mapped;
use crate::layer::Store;
use crate::layer::read::testing::RawTar;

/// A .deb under construction.
#[derive(Clone)]
pub(crate) struct RawDeb {
    /// The control tar, with the control file.
    pub control: RawTar,
    /// The data tar.
    pub data: RawTar,
    /// "", ".gz", ".xz", ".zst".
    pub suffix: &'static str,
}

impl RawDeb {
    /// A package without files. `fields` are further lines of the control file.
    pub fn new(name: &str, version: &str, architecture: &str, fields: &str) -> RawDeb {
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Nobody\n{fields}\
             Description: short\n long\n"
        );
        let control = RawTar::new().folder("./").file("./control", control.as_bytes());
        RawDeb { control, data: RawTar::new().folder("./"), suffix: "" }
    }

    /// Adds to the data tar.
    pub fn data(mut self, add: impl FnOnce(RawTar) -> RawTar) -> RawDeb {
        self.data = add(self.data);
        self
    }

    /// Adds a file to the control tar.
    pub fn with(mut self, name: &str, text: &str) -> RawDeb {
        self.control = self.control.file(&format!("./{name}"), text.as_bytes());
        self
    }

    /// As a file.
    pub fn bytes(&self) -> Vec<u8> {
        let (control, data) =
            (pack(&self.control.clone().end(), self.suffix), pack(&self.data.clone().end(), self.suffix));
        let (control_name, data_name) = (format!("control.tar{}", self.suffix), format!("data.tar{}", self.suffix));
        archive(&[("debian-binary", b"2.0\n"), (&control_name, &control), (&data_name, &data)])
    }

    /// Unpacked into `store`.
    pub fn open(&self, store: &Store) -> Result<Deb> {
        open(&self.bytes(), store)
    }
}

pub(crate) fn pack(bytes: &[u8], suffix: &str) -> Vec<u8> {
    match suffix {
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => liblzma::encode_all(bytes, 1).unwrap(),
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// Opens bytes as the .deb of package `evil`.
pub(crate) fn open(bytes: &[u8], store: &Store) -> Result<Deb> {
    open_with(None, bytes, store)
}

pub(super) fn open_with(limits: Option<Limits>, bytes: &[u8], store: &Store) -> Result<Deb> {
    let mut file = store.temporary_file().unwrap();
    file.write_all(bytes).unwrap();
    let mapped = Mapped::open(file.path()).unwrap();
    match limits {
        Some(limits) => Deb::open_within(limits, &mapped, "evil", store),
        None => Deb::open(Arc::new(mapped), "evil", store),
    }
}
