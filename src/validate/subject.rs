//! An image as the rules see it.

use std::sync::Arc;

use rayon::prelude::*;

use super::content::Content;
use super::layer::{self, Layer, Reading};
use crate::error::Result;
use crate::image::{Access, BaseImage, DocumentFlaw, Examined, Image, ImageName, Rootfs, examine};
use crate::layer::read::Member;
use crate::layer::{BlobSource, TreePath};
use crate::oci::{Config, Descriptor, Manifest, Platform, media_type};
use crate::project::{Budget, GpuSpec};

/// What the project says that the image is for; empty for an image that comes without a project.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The profiles of `--target`.
    pub targets: Vec<String>,
    /// How large it may be.
    pub budget: Budget,
    /// On which GPUs it will run, if on any.
    pub gpu: Option<GpuSpec>,
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
    /// As it was opened; nothing if there is no manifest that can be read.
    pub image: Option<BaseImage>,
    /// What it runs on, as its configuration says.
    pub platform: Platform,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Arc<[u8]>,
    /// The configuration.
    pub config: Config,
    /// The configuration's bytes.
    pub config_bytes: Arc<[u8]>,
    /// What the index says that it runs on.
    pub listed: Option<Platform>,
    /// Whether an index led to it.
    pub in_index: bool,
    /// Whether there is a configuration that can be read; an empty one stands in its place otherwise.
    pub has_config: bool,
    /// What is wrong with its documents.
    pub flaws: Vec<DocumentFlaw>,
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
    /// Every image that a name leads to, or the one for `platform`, each layer read once. What is wrong with an image
    /// is in the subject; that it cannot be got is an error.
    pub fn open(
        name: &ImageName,
        platform: Option<&Platform>,
        declared: &Declared,
        access: &Access,
    ) -> Result<Vec<Subject>> {
        let examined = examine(name, platform, access)?;
        examined.into_iter().map(|one| Subject::of(one, declared.clone(), access)).collect()
    }

    /// An image that was just made; its layers are read from `blobs`.
    pub fn finished(
        image: &Image,
        name: &ImageName,
        blobs: &Arc<dyn BlobSource>,
        declared: Declared,
        access: &Access,
    ) -> Result<Subject> {
        let image = BaseImage::of(image, name, blobs.clone())?;
        let diff_ids = image.layers.len();
        let (listed, flaws, name) = (None, Vec::new(), name.clone());
        let image = Some(image);
        Subject::of(
            Examined { name, listed, in_index: false, image, has_config: true, diff_ids, flaws },
            declared,
            access,
        )
    }

    fn of(examined: Examined, declared: Declared, access: &Access) -> Result<Subject> {
        let image = examined.image.as_ref();
        let blobs = image.map(BaseImage::own_layers).unwrap_or_default();
        let (mut layers, mut listings) = (Vec::new(), Vec::new());
        if let Some(image) = image {
            let reading = Reading { blobs: &*image.blobs, store: &access.store, progress: &access.progress };
            let read = blobs.par_iter().enumerate();
            let read = read.map(|(n, blob)| layer::read(blob, n < examined.diff_ids, &reading));
            (layers, listings) = read.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        }
        let source = image.map_or_else(|| Arc::new(access.store.clone()) as Arc<dyn BlobSource>, |i| i.blobs.clone());
        let (root, errors) = Rootfs::merge(&blobs, listings, source);
        let unknown = || Platform { os: "unknown".into(), architecture: "unknown".into(), variant: None };
        let platform = image.map(|image| image.platform.clone()).or_else(|| examined.listed.clone());
        let platform = platform.unwrap_or_else(unknown);
        Ok(Subject {
            name: examined.name.to_string(),
            manifest: image.map_or_else(|| no_manifest(&platform), |image| image.manifest.clone()),
            manifest_bytes: image.map_or_else(|| Arc::from([]), |image| image.manifest_bytes.clone()),
            config: image.map_or_else(|| Config::empty(&platform), |image| image.config.clone()),
            config_bytes: image.map_or_else(|| Arc::from([]), |image| image.config_bytes.clone()),
            platform,
            image: examined.image,
            listed: examined.listed,
            in_index: examined.in_index,
            has_config: examined.has_config,
            flaws: examined.flaws,
            layers,
            root,
            unmerged: errors.into_iter().map(|(layer, error)| (layer, reason(error))).collect(),
            declared,
        })
    }

    /// Whether all of it could be read and is what its documents say: only then can an engine run it.
    pub fn is_sound(&self) -> bool {
        let layers = self.layers.iter().all(|layer| layer.flaws.is_empty() && layer.refused.is_empty());
        layers && self.flaws.is_empty() && self.unmerged.is_empty()
    }

    /// Whether every layer was read to its end: only then is what was not seen not there.
    pub fn is_whole(&self) -> bool {
        const CUT: [&str; 5] = ["layer-missing", "layer-foreign", "layer-digest", "layer-damaged", "layer-limit"];
        self.image.is_some() && !self.layers.iter().any(|layer| layer.flaws.iter().any(|flaw| CUT.contains(&flaw.rule)))
    }

    /// Of an image that Ingot cast: how many of the layers, from the lowest, are its base's. `None` where that cannot be
    /// told: of any other image, all layers are its own.
    pub fn base_layers(&self) -> Option<usize> {
        self.layers.iter().position(|layer| layer.blob.created_by.starts_with("ingot"))
    }

    /// The file that `path` leads to in the merged file system, links followed.
    pub fn file(&self, path: &TreePath) -> Option<&Fact> {
        let (layer, ordinal) = self.root.place(path)?;
        self.layers.get(layer)?.fact(ordinal)
    }

    /// Every file of the merged file system with its path, sorted; of several names of one file, each.
    pub fn files(&self) -> impl Iterator<Item = (&TreePath, &Fact)> {
        self.root.places().filter_map(|(path, layer, ordinal)| Some((path, self.layers.get(layer)?.fact(ordinal)?)))
    }

    /// The text that was kept of the file that `path` leads to (see [`super::content`]).
    pub fn text(&self, path: &str) -> Option<&str> {
        let content = &self.file(&TreePath::new(path.trim_start_matches('/')).ok()?)?.content;
        std::str::from_utf8(content.text.as_deref()?).ok()
    }
}

/// What stands in the place of a manifest that cannot be read.
fn no_manifest(platform: &Platform) -> Manifest {
    let config = Descriptor::of(media_type::CONFIG, &Config::empty(platform).to_bytes());
    let media_type = media_type::MANIFEST.to_string();
    Manifest { media_type, config, layers: Vec::new(), annotations: Default::default() }
}

/// Why an entry has no place: the layer is named elsewhere.
fn reason(error: crate::layer::Error) -> String {
    match error {
        crate::layer::Error::Damaged { reason, .. } => reason,
        other => other.to_string(),
    }
}
