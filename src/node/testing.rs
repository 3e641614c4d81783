//! Tarballs, locks and stores for tests.

use std::io::Write;

use base64::Engine as _;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::Lock;
use super::fetch::Tarball;
use crate::layer::Store;
use crate::layer::read::testing::RawTar;

/// A hash of something.
pub const HASH: &str =
    "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";

/// A lock with these packages. Those that are installed have a version and a hash if they do not say one.
pub fn lock(mut packages: Value) -> Lock {
    for (key, entry) in packages.as_object_mut().unwrap() {
        if key.contains("node_modules") && entry.get("link").is_none() {
            let fields = entry.as_object_mut().unwrap();
            fields.entry("version").or_insert(json!("1.0.0"));
            fields.entry("integrity").or_insert(json!(HASH));
        }
    }
    let text = json!({"lockfileVersion": 3, "packages": packages}).to_string();
    Lock::parse(text.as_bytes(), "package-lock.json").unwrap()
}

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
