//! Where CUDA's own libraries are, and for which CUDA the image's parts are.

use std::collections::BTreeMap;

use crate::layer::TreePath;
use crate::python::shown;
use crate::validate::python::{Distribution, Pythons};
use crate::validate::subject::{Fact, Subject};

/// CUDA's libraries by what their names begin with.
const FAMILIES: [&str; 18] = [
    "libcudart",
    "libcublas",
    "libcublasLt",
    "libcudnn",
    "libcufft",
    "libcufftw",
    "libcufile",
    "libcupti",
    "libcurand",
    "libcusolver",
    "libcusolverMg",
    "libcusparse",
    "libcusparseLt",
    "libnccl",
    "libnvJitLink",
    "libnvjpeg",
    "libnvrtc",
    "libnvshmem_host",
];

/// One of them.
pub(super) struct Library {
    pub path: String,
    pub size: u64,
}

/// What of CUDA an image has.
#[derive(Default)]
pub(super) struct Installed {
    /// CUDA's libraries outside all environments, by family.
    pub base: BTreeMap<String, Vec<Library>>,
    /// Those in an environment.
    pub environment: BTreeMap<String, Vec<Library>>,
    /// Distributions that are for CUDA: their place and what they are.
    pub distributions: Vec<(String, String)>,
    /// Versions of CUDA, each with what says so.
    pub versions: BTreeMap<(u32, u32), Vec<(String, String)>>,
}

impl Installed {
    /// Looks for it.
    pub fn of(subject: &Subject, pythons: &Pythons<'_>) -> Self {
        let mut installed = Installed::default();
        for (path, fact) in subject.files() {
            installed.library(pythons, path, fact);
        }
        for distribution in pythons.installed.values().flatten() {
            installed.distribution(distribution);
        }
        installed
    }

    fn library(&mut self, pythons: &Pythons<'_>, path: &TreePath, fact: &Fact) {
        let Some(family) = family(path.name()).filter(|_| fact.content.elf.is_some()) else { return };
        // Stubs are for linkers; they have no code.
        if path.as_str().contains("/stubs/") {
            return;
        }
        let place = format!("/{path}");
        let is_own = pythons.environment_of(path).is_some();
        let libraries = if is_own { &mut self.environment } else { &mut self.base };
        let library = Library { path: place.clone(), size: fact.member.size };
        libraries.entry(family.to_string()).or_default().push(library);
        // `libcudart.so.12.1.55` is the runtime of CUDA 12.1; a wheel's has the major number alone, its metadata the rest.
        let version = path.name().strip_prefix("libcudart.so.").and_then(version);
        if let Some(version) = version {
            self.versions.entry(version).or_default().push((place, format!("`{}`", path.name())));
        }
    }

    fn distribution(&mut self, distribution: &Distribution<'_>) {
        let name = distribution.name.as_str();
        let local = distribution.version.split_once("+cu").and_then(|(_, digits)| local(digits));
        let nvidia = name.strip_prefix("nvidia-").filter(|name| {
            name.ends_with("-cu11") || name.ends_with("-cu12") || name.ends_with("-cu13") || is_family_of_13(name)
        });
        let cupy = name.strip_prefix("cupy-cuda");
        if local.is_none() && nvidia.is_none() && cupy.is_none() {
            return;
        }
        let place = format!("/{}", distribution.info);
        let told = format!("{name} {}", shown(&distribution.version));
        let runtime =
            nvidia.filter(|name| name.starts_with("cuda-runtime")).and_then(|_| version(&distribution.version));
        if let Some(version) = local.or(runtime).or(cupy.and_then(cupy_version)) {
            self.versions.entry(version).or_default().push((place.clone(), told.clone()));
        }
        self.distributions.push((place, told));
    }
}

/// `libcublas` of `libcublas.so.12`; of `libcudnn_ops.so.9` `libcudnn`.
fn family(name: &str) -> Option<&'static str> {
    let (stem, _) = name.split_once(".so")?;
    let stem = stem.split('-').next()?;
    let exact = FAMILIES.iter().find(|family| **family == stem);
    exact.or_else(|| FAMILIES.iter().find(|family| stem.starts_with(&format!("{family}_")))).copied()
}

/// Since CUDA 13 the names have no `-cu13` any more.
fn is_family_of_13(name: &str) -> bool {
    [
        "cuda-runtime",
        "cuda-nvrtc",
        "cuda-cupti",
        "cublas",
        "cufft",
        "curand",
        "cusolver",
        "cusparse",
        "nvjitlink",
        "cufile",
    ]
    .contains(&name)
}

/// 12.4 of `12.4.127`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// 12.1 of `121`, 13.0 of `130`.
fn local(digits: &str) -> Option<(u32, u32)> {
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..end).filter(|digits| (3..=4).contains(&digits.len()))?;
    Some((digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?))
}

/// `12x` is for all 12, `111` for 11.1.
fn cupy_version(text: &str) -> Option<(u32, u32)> {
    match text.strip_suffix('x') {
        Some(major) => Some((major.parse().ok()?, 0)),
        None => local(text),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn names_and_versions() {
        for (name, expected) in [
            ("libcublas.so.12", Some("libcublas")),
            ("libcublasLt.so.12.1.0.26", Some("libcublasLt")),
            ("libcudnn_ops_infer.so.8", Some("libcudnn")),
            ("libcudart-e409450e.so.11.0", Some("libcudart")),
            ("libcuda.so.1", None),
            ("libcudart.a", None),
            ("libcurandom.so", None),
        ] {
            assert_eq!(family(name), expected, "{name}");
        }
        assert_eq!((local("121"), local("118.post1"), local("130")), (Some((12, 1)), Some((11, 8)), Some((13, 0))));
        assert_eq!((local("1"), local("stom"), local("12345")), (None, None, None));
        assert_eq!((version("12.4.127"), version("x"), version("")), (Some((12, 4)), None, None));
        assert_eq!((cupy_version("12x"), cupy_version("111"), cupy_version("")), (Some((12, 0)), Some((11, 1)), None));
    }
}
