//! The base of an image: opened, listed, and held against what the project wants of it.

use std::path::Path;
use std::sync::Arc;

use super::known;
use crate::error::Result;
use crate::fs;
use crate::image::{self, Access, BaseFacts, BaseImage, ImageName, Rootfs};
use crate::layer::TreePath;
use crate::oci::Platform;
use crate::project::{PACKAGES_SUFFIX, Project, PythonSpec, Upgrade, Variant};
use crate::python::PythonVersion;

/// The largest package database that is read, in bytes.
const STATUS_LIMIT: u64 = 64 << 20;

/// A base image, its listing, and what it is.
pub struct Base {
    /// As the project names it.
    pub name: String,
    /// Documents and layers.
    pub image: BaseImage,
    /// All its files, merged.
    pub rootfs: Arc<Rootfs>,
    /// What it is.
    pub facts: BaseFacts,
}

impl Base {
    /// Opens the variant's base for one platform.
    pub fn open(project: &Project, variant: &Variant, platform: &Platform, access: &Access) -> Result<Base> {
        let name = &variant.base.value;
        if name.ends_with(PACKAGES_SUFFIX) {
            let hint = "name an image: a reference, `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`";
            let message = format!("base `{name}`: assembling a base from packages is not supported by this version");
            return Err(variant.base.at.error(message, Some(hint.into())));
        }
        let parsed: ImageName = name
            .parse()
            .map_err(|error: crate::error::Error| variant.base.at.error(error.to_string(), error.hint()))?;
        let parsed = below(parsed, &project.root);
        if let Some(path) = missing(&parsed) {
            let message = format!("base `{name}` is not there: `{}` does not exist", path.display());
            return Err(variant.base.at.error(message, Some("paths are relative to the project file".into())));
        }
        if let ImageName::Registry(reference) = &parsed {
            known::check(variant, reference)?;
        }
        let mut image = image::open(&parsed, access)?.image(Some(platform))?;
        let rootfs = Rootfs::open(&image.layers, image.blobs.clone(), &access.store, &access.progress)?;
        for (layer, size) in image.layers.iter_mut().zip(rootfs.layer_sizes()) {
            layer.uncompressed_size = Some(*size);
        }
        let facts = BaseFacts::of(&rootfs)?;
        Ok(Base { name: name.clone(), image, rootfs: Arc::new(rootfs), facts })
    }

    /// The interpreter that the project's version asks for; an error at that version if the base lacks it.
    pub fn python(&self, spec: &PythonSpec) -> Result<(TreePath, PythonVersion)> {
        let wanted = spec.version.value;
        if let Some(found) = self.facts.python(&wanted) {
            return Ok((found.path.clone(), found.version));
        }
        let others: Vec<String> = self.facts.pythons.iter().map(|python| python.version.to_string()).collect();
        let has = if others.is_empty() { "no Python".to_string() } else { format!("Python {}", others.join(", ")) };
        let hint = if others.is_empty() {
            "choose a base that has it (installing OS packages is not supported by this version)".to_string()
        } else {
            format!("set the version to {}, or choose another base", wanted_of(&others))
        };
        let message = format!("base `{}` has no Python {}: it has {has}", self.name, wanted.short());
        Err(spec.version.at.error(message, Some(hint)))
    }

    /// Packages of `[os]` must be in the base already: installing them is another capability.
    pub fn check_packages(&self, variant: &Variant) -> Result<()> {
        if variant.os.packages.is_empty() && variant.os.upgrade == Upgrade::None {
            return Ok(());
        }
        let status = match TreePath::new("var/lib/dpkg/status") {
            Ok(path) => self.rootfs.read(&path, STATUS_LIMIT)?.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let status = String::from_utf8_lossy(&status);
        for package in &variant.os.packages {
            let name = package.value.split(['=', ':']).next().unwrap_or_default();
            if !installed(&status, name) {
                let message = format!(
                    "package `{}` is not in base `{}`, and installing packages is not supported by this version",
                    package.value, self.name
                );
                return Err(package.at.error(message, Some("choose a base that has it".into())));
            }
        }
        if variant.os.upgrade != Upgrade::None {
            let message = "`os.upgrade` is not supported by this version: only \"none\" is";
            return Err(variant.at.error(message, Some("choose a newer base, or set `upgrade = \"none\"`".into())));
        }
        Ok(())
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

/// Whether dpkg's database says that the package is installed.
fn installed(status: &str, name: &str) -> bool {
    status.split("\n\n").any(|paragraph| {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        field("Package:") == Some(name) && field("Status:").is_some_and(|status| status.ends_with(" installed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dpkg_calls_installed_is_installed() {
        let status = "Package: python3\nStatus: install ok installed\nVersion: 3.11\n\n\
                      Package: gone\nStatus: deinstall ok config-files\n\nPackage: python3-extra\nStatus: install ok installed\n";
        assert!(installed(status, "python3") && installed(status, "python3-extra"));
        assert!(!installed(status, "gone") && !installed(status, "python") && !installed("", "x"));
    }
}
