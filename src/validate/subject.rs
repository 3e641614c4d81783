//! An image as the rules see it.

use std::sync::Arc;

use rayon::prelude::*;

use super::content::Content;
use super::layer::{self, Layer};
use crate::error::Result;
use crate::image::{Access, BaseImage, Rootfs};
use crate::layer::TreePath;
use crate::layer::read::Member;
use crate::oci::{Config, Manifest, Platform};

/// What the project says that the image is for; empty for an image that comes without a project.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The profiles of `--target`.
    pub targets: Vec<String>,
}

/// An entry of a layer, and what was seen of its content.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The entry.
    pub member: Member,
    /// Of a file only: what its bytes say.
    pub content: Content,
}

impl Fact {
    /// `/usr/bin/x`; `/` for the root.
    pub fn place(&self) -> String {
        self.member.path.as_ref().map_or("/".into(), |path| format!("/{path}"))
    }
}

/// An image that was read from its documents to the content of every file.
pub struct Subject {
    /// As it was named.
    pub name: String,
    /// What it runs on, as its configuration says.
    pub platform: Platform,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Arc<[u8]>,
    /// The configuration.
    pub config: Config,
    /// Whether an index led to it.
    pub in_index: bool,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The file system that the layers make.
    pub root: Rootfs,
    /// Layers that could not be merged, and why.
    pub unmerged: Vec<(usize, String)>,
    /// What it is for.
    pub declared: Declared,
}

impl Subject {
    /// Reads every layer of an image once.
    pub fn read(image: &BaseImage, in_index: bool, declared: Declared, access: &Access) -> Result<Subject> {
        let blobs = image.own_layers();
        let read: Vec<_> = blobs
            .par_iter()
            .map(|blob| layer::read(blob, &*image.blobs, &access.store, &access.progress))
            .collect::<Result<_>>()?;
        let (layers, listings): (Vec<Layer>, Vec<_>) = read.into_iter().unzip();
        let (root, errors) = Rootfs::merge(&blobs, listings, image.blobs.clone());
        Ok(Subject {
            name: image.name.to_string(),
            platform: image.platform.clone(),
            manifest: image.manifest.clone(),
            manifest_bytes: image.manifest_bytes.clone(),
            config: image.config.clone(),
            in_index,
            layers,
            root,
            unmerged: errors.into_iter().map(|(layer, error)| (layer, error.to_string())).collect(),
            declared,
        })
    }

    /// The file that `path` leads to in the merged file system, links followed.
    pub fn file(&self, path: &TreePath) -> Option<&Fact> {
        let (layer, ordinal) = self.root.place(path)?;
        self.layers.get(layer)?.fact(ordinal)
    }

    /// Every file of the merged file system with its path, sorted; of several names of one file, each.
    pub fn files(&self) -> impl Iterator<Item = (&TreePath, &Fact)> {
        self.root.iter().filter_map(|(path, entry)| match entry.kind {
            crate::layer::BaseKind::File => Some((path, self.file(path)?)),
            _ => None,
        })
    }

    /// The text that was kept of the file that `path` leads to (see [`super::content`]).
    pub fn text(&self, path: &str) -> Option<&str> {
        let content = &self.file(&TreePath::new(path.trim_start_matches('/')).ok()?)?.content;
        std::str::from_utf8(content.text.as_deref()?).ok()
    }
}
