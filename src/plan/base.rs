//! The base of an image: opened, listed, and held against what the project wants of it.

use std::path::Path;
use std::sync::Arc;

use super::os::Os;
use super::{Error, known};
use crate::error::Result;
use crate::fs;
use crate::image::{self, Access, BaseFacts, ImageName, Rootfs};
use crate::layer::{BlobSource, LayerBlob, TreePath};
use crate::lock::LockedImage;
use crate::oci::{Config, Digest, Platform, Reference};
use crate::project::{PACKAGES_SUFFIX, Project, PythonSpec, Variant, known_bases, known_packages};
use crate::python::{PythonVersion, is_needed_by};

/// What an image stands on: a base image or nothing, and the operating system's packages over it.
pub struct Base {
    /// As the project names it.
    pub name: String,
    /// Its reference, if it is an image of a registry.
    pub reference: Option<Reference>,
    /// The digest of what the name leads to (an index or a manifest); `None` if it is made of packages alone.
    pub root_digest: Option<Digest>,
    /// The digest of the manifest; `None` if it is made of packages alone.
    pub manifest_digest: Option<Digest>,
    /// The configuration.
    pub config: Config,
    /// The base's own layers.
    pub layers: Vec<LayerBlob>,
    /// Reads the base's own layers.
    pub blobs: Option<Arc<dyn BlobSource>>,
    /// The files of the base's own layers, merged.
    pub below: Arc<Rootfs>,
    /// The files that Ingot's layers stand on: the base's own, and those of the layer of OS packages.
    pub rootfs: Arc<Rootfs>,
    /// What that is.
    pub facts: BaseFacts,
    /// The layer of OS packages.
    pub os: Option<Os>,
}

impl Base {
    /// Opens the variant's base for one platform.
    pub fn open(
        project: &Project,
        variant: &Variant,
        platform: &Platform,
        pins: Option<&LockedImage>,
        access: &Access,
    ) -> Result<Base> {
        let name = &variant.base.value;
        if name.ends_with(PACKAGES_SUFFIX) {
            return Base::of_packages(variant, platform);
        }
        let parsed: ImageName = name
            .parse()
            .map_err(|error: crate::error::Error| variant.base.at.error(error.to_string(), error.hint()))?;
        let mut parsed = below(parsed, &project.root);
        if let Some(path) = missing(&parsed) {
            let message = format!("base `{name}` is not there: `{}` does not exist", path.display());
            return Err(variant.base.at.error(message, Some("paths are relative to the project file".into())));
        }
        let mut reference = None;
        if let ImageName::Registry(registry) = &parsed {
            known::check(variant, registry)?;
            reference = Some(registry.clone());
            if let Some(digest) = pins.and_then(|pins| pins.base) {
                parsed = ImageName::Registry(registry.pinned(digest));
            }
        }
        let mut image = image::open(&parsed, access)?.image(Some(platform))?;
        let manifest = image.manifest_descriptor.digest;
        let pinned = pins.filter(|_| reference.is_some()).and_then(|pins| pins.manifest);
        if let Some(expected) = pinned.filter(|expected| *expected != manifest) {
            return Err(Error::OtherBase { base: name.clone(), expected, found: manifest }.into());
        }
        let needed = variant.python.as_ref().map(|python| is_needed_by(python.version.value));
        let soon = |path: &TreePath, size| needed.as_ref().is_some_and(|needed| needed(path, size));
        let rootfs = Rootfs::open_for(&image.layers, image.blobs.clone(), &access.store, &access.progress, &soon)?;
        for (layer, size) in image.layers.iter_mut().zip(rootfs.layer_sizes()) {
            layer.uncompressed_size = Some(*size);
        }
        let rootfs = Arc::new(rootfs);
        Ok(Base {
            name: name.clone(),
            reference,
            root_digest: Some(image.root_digest),
            manifest_digest: Some(image.manifest_descriptor.digest),
            config: image.config,
            layers: image.layers,
            blobs: Some(image.blobs),
            facts: BaseFacts::of(&rootfs)?,
            below: rootfs.clone(),
            rootfs,
            os: None,
        })
    }

    /// A base without an image.
    fn of_packages(variant: &Variant, platform: &Platform) -> Result<Base> {
        let name = &variant.base.value;
        if known_packages(name).is_none() {
            let known = known_bases().filter(|base| base.packages_only).map(|base| format!("`{}`", base.reference));
            let hint = format!("known are {}", known.collect::<Vec<_>>().join(", "));
            let message = format!("base `{name}` is not known as one that is made of packages");
            return Err(variant.base.at.error(message, Some(hint)));
        }
        let rootfs = Arc::new(Rootfs::empty());
        Ok(Base {
            name: name.clone(),
            reference: None,
            root_digest: None,
            manifest_digest: None,
            config: Config::empty(platform),
            layers: Vec::new(),
            blobs: None,
            facts: BaseFacts::default(),
            below: rootfs.clone(),
            rootfs,
            os: None,
        })
    }

    /// What stands for all files of [`Base::rootfs`].
    pub fn digest(&self) -> Digest {
        let own = self.layers.iter().map(|layer| layer.diff_id);
        let all = own.chain(self.os.iter().map(|os| os.blob.diff_id));
        Digest::of(all.map(|diff_id| diff_id.to_string()).collect::<Vec<_>>().join(" ").as_bytes())
    }

    /// The interpreter that the project's version asks for; an error at that version if the base lacks it.
    pub fn python(&self, spec: &PythonSpec) -> Result<(TreePath, PythonVersion)> {
        let wanted = spec.version.value;
        if let Some(found) = self.facts.python(&wanted) {
            return Ok((found.path.clone(), found.version));
        }
        Err(self.lacks(spec, None))
    }

    /// The error that it does not have the project's Python, and why it does not get it.
    pub fn lacks(&self, spec: &PythonSpec, why: Option<&str>) -> crate::error::Error {
        let wanted = spec.version.value;
        let others: Vec<String> = self.facts.pythons.iter().map(|python| python.version.to_string()).collect();
        let has = if others.is_empty() { "no Python".to_string() } else { format!("Python {}", others.join(", ")) };
        let offered = known_packages(&self.name).map(|known| known.apt.python.short());
        let hint = match (&offered, others.is_empty()) {
            (Some(offered), _) => format!("set the version to \"{offered}\", or choose another base"),
            (None, true) => "choose a base that has it, or one whose packages have it (debian, ubuntu)".to_string(),
            (None, false) => format!("set the version to {}, or choose another base", wanted_of(&others)),
        };
        let has = match (offered, why) {
            (Some(offered), _) => format!("its packages have Python {offered}"),
            (None, Some(why)) => format!("it has {has}, and of its packages {why}"),
            (None, None) => format!("it has {has}"),
        };
        let message = format!("base `{}` has no Python {}: {has}", self.name, wanted.short());
        spec.version.at.error(message, Some(hint))
    }
}

/// A file or folder that the project names is relative to the project.
fn below(name: ImageName, root: &Path) -> ImageName {
    match name {
        ImageName::OciLayout { dir, tag } => ImageName::OciLayout { dir: root.join(dir), tag },
        ImageName::OciArchive { file, reference } => ImageName::OciArchive { file: root.join(file), reference },
        ImageName::DockerArchive { file, reference } => ImageName::DockerArchive { file: root.join(file), reference },
        other => other,
    }
}

/// The file or folder of an image that is not there.
fn missing(name: &ImageName) -> Option<&Path> {
    let (ImageName::OciLayout { dir: path, .. }
    | ImageName::OciArchive { file: path, .. }
    | ImageName::DockerArchive { file: path, .. }) = name
    else {
        return None;
    };
    (!fs::exists(path)).then_some(path.as_path())
}

fn wanted_of(others: &[String]) -> String {
    let short = |text: &String| text.split('.').take(2).collect::<Vec<_>>().join(".");
    others.iter().map(|other| format!("\"{}\"", short(other))).collect::<Vec<_>>().join(" or ")
}
