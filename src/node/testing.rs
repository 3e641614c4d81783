//! Tarballs, locks and stores for tests.

use std::io::Write;

use base64::Engine as _;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha512};

use super::fetch::Tarball;
use crate::layer::Store;
use crate::layer::read::testing::RawTar;

/// A store in a folder that goes with it.
pub fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    (folder, store)
}

/// A gzip stream of these bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A tarball with these files below `package/`, as npm packs it.
pub fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let tar =
        files.iter().fold(RawTar::new(), |tar, (path, text)| tar.file(&format!("package/{path}"), text.as_bytes()));
    gzip(&tar.end())
}

/// The hash that a lock has of it.
pub fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes)))
}

/// A tarball in a store.
pub fn put(bytes: &[u8], store: &Store) -> Tarball {
    Tarball { digest: store.put(bytes).unwrap(), size: bytes.len() as u64 }
}
