//! Images, layouts and archives for tests, made in code.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Access, Artifact, Image, ImageName, Receipt, sink};
use crate::error::Result;
use crate::layer::{LayerBlob, Origin, Store};
use crate::oci::media_type::Compression;
use crate::oci::{Config, Descriptor, Digest, History, Platform};
use crate::progress::Progress;

/// A folder with a store in it.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub access: Access,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(&folder.path().join("store")).unwrap();
        Fixture { access: Access::new(&store, &Progress::silent()), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn name(&self, kind: &str, rest: &str) -> ImageName {
        format!("{kind}:{}/{rest}", self.folder.path().display()).parse().unwrap()
    }

    /// A layer with one file in it, in the store.
    pub fn layer(&self, file: &str, compression: Compression) -> LayerBlob {
        let tar = tar_of(&[(file, file.repeat(1000).as_bytes())]);
        let bytes = match compression {
            Compression::None => tar.clone(),
            Compression::Gzip => gzip(&tar),
            Compression::Zstd => zstd::encode_all(&tar[..], 3).unwrap(),
        };
        self.access.store.put(&bytes).unwrap();
        LayerBlob {
            descriptor: Descriptor::of(compression.media_type(), &bytes),
            diff_id: Digest::of(&tar),
            uncompressed_size: Some(tar.len() as u64),
            name: file.into(),
            created_by: format!("make {file}"),
            origin: Origin::Store,
        }
    }

    /// An image of these layers.
    pub fn image(&self, platform: &Platform, layers: Vec<LayerBlob>) -> Image {
        let mut config = Config::empty(platform);
        for layer in &layers {
            let created_by = Some(layer.created_by.clone());
            let history = History { created: None, created_by, comment: None, author: None, empty_layer: false };
            config.push_layer(layer.diff_id, history).unwrap();
        }
        Image::new(config, layers, BTreeMap::new()).unwrap()
    }

    /// A gzip and a plain layer for one platform.
    pub fn two_layers(&self, architecture: &str) -> Image {
        let layers = vec![self.layer("etc/base", Compression::Gzip), self.layer(architecture, Compression::None)];
        self.image(&Platform::linux(architecture), layers)
    }

    pub fn write(&self, artifact: &Artifact, to: &ImageName) -> Result<Receipt> {
        sink(to, &self.access, None)?.write(artifact, &self.access.store, &Progress::silent())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        builder.append(&header(name, bytes.len(), tar::EntryType::Regular), *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A header with exactly this name, however unsound.
pub fn header(name: &str, size: usize, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size as u64);
    header.set_cksum();
    header
}

/// Every regular file below a folder, with its bytes.
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().to_path_buf(), std::fs::read(file.path()).unwrap())).collect()
}
