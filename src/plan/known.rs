//! What `base-manifests/` tells of a base before anything of it is fetched.

use crate::error::Result;
use crate::oci::Reference;
use crate::project::{Variant, known_base};

/// An error at the project's Python version, if the base is a known one that cannot have it: a CUDA image need not be
/// downloaded to learn that there is no Python in it.
pub fn check(variant: &Variant, reference: &Reference) -> Result<()> {
    let (Some(spec), Some(known)) = (&variant.python, known_base(reference)) else { return Ok(()) };
    let wanted = spec.version.value;
    let (has, hint) = match &known.python {
        Some(python) if python.version.compatible(&wanted) => return Ok(()),
        Some(python) => {
            let version = python.version.short();
            (format!("it has Python {version}"), format!("set the version to \"{version}\", or choose another base"))
        }
        None if known.apt.python.compatible(&wanted) => return Ok(()),
        None => {
            let version = known.apt.python.short();
            let hint = format!("set the version to \"{version}\", or choose another base");
            (format!("the packages of {} {} have Python {version}", known.distribution, known.release), hint)
        }
    };
    let message = format!("base `{}` has no Python {}: {has}", reference.familiar(), wanted.short());
    Err(spec.version.at.error(message, Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{BuildArgs, Project};

    fn refusal(base: &str, version: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let text =
            format!("[image]\nname = \"x\"\n[python]\nversion = \"{version}\"\n[variants.cpu]\nbase = \"{base}\"\n");
        std::fs::write(folder.path().join("ingot.toml"), text).unwrap();
        let variant = Project::load(folder.path()).unwrap().variant("cpu", &BuildArgs::default()).unwrap();
        let error = check(&variant, &base.parse().unwrap()).err()?;
        assert_eq!(error.class().code(), 2);
        assert!(error.snippet().is_some_and(|snippet| snippet.contains("ingot.toml:4:11")), "{:?}", error.snippet());
        Some(error.to_string())
    }

    #[test]
    fn known_bases_are_refused_before_they_are_fetched() {
        assert_eq!(
            refusal("ubuntu:22.04", "3.11").as_deref(),
            Some("base `ubuntu:22.04` has no Python 3.11: the packages of ubuntu 22.04 have Python 3.10")
        );
        assert_eq!(
            refusal("nvidia/cuda:12.1.0-devel-ubuntu20.04", "3.10").as_deref(),
            Some(
                "base `nvidia/cuda:12.1.0-devel-ubuntu20.04` has no Python 3.10: the packages of ubuntu 20.04 have \
                 Python 3.8"
            )
        );
        assert_eq!(
            refusal("python:3.11-slim", "3.12").as_deref(),
            Some("base `python:3.11-slim` has no Python 3.12: it has Python 3.11")
        );
        assert_eq!(refusal("ubuntu:22.04", "3.10"), None);
        for unknown in ["python:3.12-slim", "localhost:5000/ubuntu:22.04", "registry.example/nvidia/cuda:12.1.0"] {
            assert_eq!(refusal(unknown, "3.12"), None, "{unknown}");
        }
    }
}
