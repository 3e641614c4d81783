//! The bases that Ingot knows without looking into them: `base-manifests/`, one file for each family.
//!
//! They say what a plan must know before a base is pulled: its Python, its C library, its package archive. No file
//! names a package host: where packages come from is the base's own configuration and the machine's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::oci::Reference;
use crate::python::{Libc, PythonVersion};

/// Every file of `base-manifests/`.
const MANIFESTS: &[(&str, &str)] = &[
    ("cuda-12.1-ubuntu20.04", include_str!("../../base-manifests/cuda-12.1-ubuntu20.04.toml")),
    ("cuda-12.1-ubuntu22.04", include_str!("../../base-manifests/cuda-12.1-ubuntu22.04.toml")),
    ("debian-12", include_str!("../../base-manifests/debian-12.toml")),
    ("debian-13", include_str!("../../base-manifests/debian-13.toml")),
    ("python", include_str!("../../base-manifests/python.toml")),
    ("python-bookworm", include_str!("../../base-manifests/python-bookworm.toml")),
    ("ubuntu-20.04", include_str!("../../base-manifests/ubuntu-20.04.toml")),
    ("ubuntu-22.04", include_str!("../../base-manifests/ubuntu-22.04.toml")),
    ("ubuntu-24.04", include_str!("../../base-manifests/ubuntu-24.04.toml")),
];

/// What ends the name of a base that is made of packages alone.
pub const PACKAGES_SUFFIX: &str = "/packages";

/// A base and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBase {
    /// The file of `base-manifests/` that says so, without `.toml`.
    pub manifest: &'static str,
    /// As people write it: "ubuntu:22.04", "debian:12/packages".
    pub reference: String,
    /// "debian" or "ubuntu", as in `ID` of os-release.
    pub distribution: String,
    /// As in `VERSION_ID` of os-release.
    pub release: String,
    /// As in `VERSION_CODENAME` of os-release.
    pub codename: String,
    /// Whose packages it has.
    pub family: Family,
    /// The interpreter that is in it; `None` if there is none.
    pub python: Option<KnownPython>,
    /// The C library; the oldest where the reference is a moving one.
    pub libc: Libc,
    /// Whether `/bin` and `/lib` are links into `/usr`.
    pub usr_merge: bool,
    /// CUDA, if it is in it.
    pub cuda: Option<Cuda>,
    /// Its package archive.
    pub apt: Apt,
    /// Whether it is assembled from packages, so that there is no image of it.
    pub packages_only: bool,
}

/// Whose packages a base has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Debian's.
    Debian,
    /// Ubuntu's.
    Ubuntu,
}

/// An interpreter in a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPython {
    /// Its version.
    pub version: PythonVersion,
    /// Its path in the image.
    pub path: String,
}

/// CUDA in a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuda {
    /// "12.1.0".
    pub version: String,
    /// "base", "runtime", "devel", "cudnn8-runtime", "cudnn8-devel".
    pub flavour: String,
}

/// The package archive of a base, without its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apt {
    /// "bookworm", "bookworm-updates", "bookworm-security".
    pub suites: Vec<String>,
    /// "main".
    pub components: Vec<String>,
    /// What the package `python3` is.
    pub python: PythonVersion,
    /// What a base that is made of packages alone has, besides what the project asks for.
    pub packages: Vec<String>,
}

/// A file of `base-manifests/` as it is written: `{name}` stands for each of the choices of that name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    references: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    distribution: String,
    release: String,
    codename: String,
    family: Family,
    libc: String,
    usr_merge: bool,
    apt: WrittenApt,
    #[serde(default)]
    choices: BTreeMap<String, Vec<String>>,
    python: Option<WrittenPython>,
    cuda: Option<WrittenCuda>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenApt {
    suites: Vec<String>,
    components: Vec<String>,
    python: String,
    #[serde(default)]
    packages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPython {
    version: String,
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCuda {
    version: String,
    flavour: String,
}

/// All known bases by their name; a test shows that every file is read.
static KNOWN: LazyLock<BTreeMap<String, KnownBase>> = LazyLock::new(|| {
    let bases = MANIFESTS.iter().filter_map(|(name, text)| expand(name, text).ok()).flatten();
    bases.map(|base| (base.reference.clone(), base)).collect()
});

/// The base that this reference means: Docker Hub's, by its tag, whatever digest it is pinned to.
pub fn known_base(reference: &Reference) -> Option<KnownBase> {
    let tag = reference.tag()?;
    let name = reference.name();
    let repository = name.strip_prefix("docker.io/")?;
    let familiar = repository.strip_prefix("library/").unwrap_or(repository);
    KNOWN.get(&format!("{familiar}:{tag}")).filter(|base| !base.packages_only).cloned()
}

/// The base that is made of packages alone and has this name: "debian:12/packages".
pub fn known_packages(name: &str) -> Option<KnownBase> {
    KNOWN.get(name).filter(|base| base.packages_only).cloned()
}

/// The names of all known bases, sorted.
pub fn known_bases() -> impl Iterator<Item = &'static KnownBase> {
    KNOWN.values()
}

fn expand(name: &'static str, text: &str) -> Result<Vec<KnownBase>, String> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let mut choices = vec![BTreeMap::new()];
    for (key, values) in &manifest.choices {
        let with = |chosen: &BTreeMap<String, String>, value: &String| {
            let mut chosen = chosen.clone();
            chosen.insert(format!("{{{key}}}"), value.clone());
            chosen
        };
        choices = choices.iter().flat_map(|chosen| values.iter().map(move |value| with(chosen, value))).collect();
    }
    let written = manifest.references.iter().map(|pattern| (pattern, false));
    let patterns: Vec<_> = written.chain(manifest.packages.iter().map(|pattern| (pattern, true))).collect();
    let mut bases = Vec::new();
    for chosen in &choices {
        for (pattern, packages_only) in &patterns {
            bases.push(one(name, &manifest, pattern, *packages_only, chosen)?);
        }
    }
    Ok(bases)
}

fn one(
    name: &'static str,
    manifest: &Manifest,
    pattern: &str,
    packages_only: bool,
    chosen: &BTreeMap<String, String>,
) -> Result<KnownBase, String> {
    let fill = |text: &str| chosen.iter().fold(text.to_string(), |text, (mark, value)| text.replace(mark, value));
    let version = |text: &str| fill(text).parse::<PythonVersion>();
    let python = match &manifest.python {
        Some(python) => Some(KnownPython { version: version(&python.version)?, path: fill(&python.path) }),
        None => None,
    };
    Ok(KnownBase {
        manifest: name,
        reference: fill(pattern),
        distribution: manifest.distribution.clone(),
        release: manifest.release.clone(),
        codename: manifest.codename.clone(),
        family: manifest.family,
        python,
        libc: libc(&manifest.libc)?,
        usr_merge: manifest.usr_merge,
        cuda: manifest.cuda.as_ref().map(|cuda| Cuda { version: fill(&cuda.version), flavour: fill(&cuda.flavour) }),
        apt: Apt {
            suites: manifest.apt.suites.clone(),
            components: manifest.apt.components.clone(),
            python: version(&manifest.apt.python)?,
            packages: manifest.apt.packages.clone(),
        },
        packages_only,
    })
}

/// "glibc 2.36".
fn libc(text: &str) -> Result<Libc, String> {
    let refuse = || format!("`{text}` is not a C library");
    let (name, version) = text.split_once(' ').ok_or_else(refuse)?;
    let (major, minor) = version.split_once('.').ok_or_else(refuse)?;
    let (major, minor) = (major.parse().map_err(|_| refuse())?, minor.parse().map_err(|_| refuse())?);
    match name {
        "glibc" => Ok(Libc::Glibc(major, minor)),
        "musl" => Ok(Libc::Musl(major, minor)),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<KnownBase> {
        known_base(&text.parse().unwrap())
    }

    #[test]
    fn every_file_is_listed_and_read_and_no_name_is_said_twice() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("base-manifests");
        let mut files: Vec<String> = crate::fs::read_dir(&folder)
            .unwrap()
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, MANIFESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let all: Vec<_> = MANIFESTS.iter().flat_map(|(name, text)| expand(name, text).unwrap()).collect();
        assert_eq!(all.len(), KNOWN.len());
        for base in all {
            assert!(!base.reference.contains('{'), "{}", base.reference);
            assert!(base.apt.suites.iter().all(|suite| suite.starts_with(&base.codename)), "{}", base.reference);
            assert!(!base.packages_only || base.apt.packages.contains(&"base-files".to_string()), "{}", base.reference);
            assert_eq!(base.packages_only, base.reference.ends_with(PACKAGES_SUFFIX));
        }
    }

    #[test]
    fn the_usual_bases_are_found_with_their_python_and_libc() {
        for (reference, inside, archive, libc) in [
            ("ubuntu:22.04", None, "3.10", Libc::Glibc(2, 35)),
            ("docker.io/library/ubuntu:24.04", None, "3.12", Libc::Glibc(2, 39)),
            ("debian:12", None, "3.11", Libc::Glibc(2, 36)),
            ("debian:12-slim", None, "3.11", Libc::Glibc(2, 36)),
            ("debian:13", None, "3.13", Libc::Glibc(2, 41)),
            ("python:3.10-slim", Some("/usr/local/bin/python3.10"), "3.13", Libc::Glibc(2, 36)),
            ("python:3.13-slim-bookworm", Some("/usr/local/bin/python3.13"), "3.11", Libc::Glibc(2, 36)),
            ("nvidia/cuda:12.1.0-base-ubuntu22.04", None, "3.10", Libc::Glibc(2, 35)),
            ("nvidia/cuda:12.1.1-devel-ubuntu20.04", None, "3.8", Libc::Glibc(2, 31)),
        ] {
            let base = find(reference).unwrap_or_else(|| panic!("{reference}"));
            assert_eq!(base.python.as_ref().map(|python| python.path.as_str()), inside, "{reference}");
            assert_eq!((base.apt.python.to_string().as_str(), base.libc), (archive, libc), "{reference}");
            assert!(base.usr_merge);
        }
        let cuda = find("nvidia/cuda:12.1.0-cudnn8-runtime-ubuntu22.04").unwrap().cuda.unwrap();
        assert_eq!((cuda.version.as_str(), cuda.flavour.as_str()), ("12.1.0", "cudnn8-runtime"));
        assert_eq!(known_packages("debian:12/packages").unwrap().codename, "bookworm");
        assert_eq!(known_packages("ubuntu:22.04/packages").unwrap().family, Family::Ubuntu);
        let pinned = format!("ubuntu:22.04@sha256:{}", "0".repeat(64));
        assert_eq!(find(&pinned).unwrap().codename, "jammy");
    }

    #[test]
    fn lookalikes_are_not_found() {
        for text in [
            "evil.example/ubuntu:22.04",
            "evil.example/library/ubuntu:22.04",
            "localhost:5000/debian:12",
            "someone/ubuntu:22.04",
            "ubuntu:22.04-x",
            "ubuntu",
            "nvidia/cuda:12.1.0-cudnn8-base-ubuntu22.04",
            "cuda:12.1.0-base-ubuntu22.04",
            "debian:12/packages",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
        assert_eq!(find(&format!("ubuntu@sha256:{}", "0".repeat(64))), None);
        assert!(known_packages("debian:12").is_none() && known_packages("evil:12/packages").is_none());
    }
}
