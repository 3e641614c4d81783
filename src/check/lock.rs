//! What is installed: locked, by hash, once. A build refuses a bad lock itself; here it is told beside all else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::config::title;
use super::finding::Finding;
use super::memory::Search;
use super::policy::Policy;
use crate::error::Result;
use crate::fs;
use crate::lock::FILE_NAME;
use crate::project::{PACKAGES_SUFFIX, Project, Variant};
use crate::python::Lock;

/// The largest lock that is searched for secrets, in bytes.
const LOCK_LIMIT: u64 = 64 << 20;

/// Findings about the locks of these variants. `all`: also what a build tells itself, and what is good to know.
pub(super) fn look(
    project: &Project,
    variants: &[Variant],
    policy: &Policy,
    search: &Search<'_>,
    all: bool,
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let locks: BTreeSet<&Path> =
        variants.iter().filter_map(|variant| Some(variant.python.as_ref()?.lock.as_ref()?.value.as_path())).collect();
    for path in locks {
        let shown = path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
        let text = fs::read(path, LOCK_LIMIT).unwrap_or_default();
        for seen in search.text(&text)?.into_iter().filter(|seen| !seen.allowed) {
            found.extend(policy.finding(&seen.rule, (&shown, seen.line), title(&seen.rule), seen.evidence));
        }
        // A build reads it itself, and says what is wrong with it.
        if !all {
            continue;
        }
        match Lock::read(path) {
            Ok(lock) => found.extend(duplicates(&lock, &shown, policy)),
            Err(error) => found.extend(policy.finding("lock-unusable", (&shown, None), error.to_string(), None)),
        }
    }
    if !all {
        return Ok(found);
    }
    let file = project.file.strip_prefix(&project.root).unwrap_or(&project.file).display().to_string();
    for variant in variants {
        if variant.python.as_ref().is_some_and(|python| python.lock.is_none())
            && let Some(listed) = requirements(&project.root)?
        {
            let message = format!("`{listed}` is not used: `[python]` names no lock");
            found.extend(policy.finding("lock-missing", (&file, None), message, None));
        }
        if moves(&variant.base.value) && !fs::exists(&project.root.join(FILE_NAME)) {
            let line = variant.base.at.line_column().0;
            let message = format!("the base `{}` is not pinned", variant.base.value);
            found.extend(policy.finding("base-moves", (&file, Some(line)), message, None));
        }
    }
    Ok(found)
}

/// Distributions that are locked twice under the same condition.
fn duplicates(lock: &Lock, file: &str, policy: &Policy) -> Vec<Finding> {
    let mut seen: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let mut found = Vec::new();
    for locked in &lock.requirements {
        let condition = locked.marker.as_ref().map(|marker| format!("{marker:?}")).unwrap_or_default();
        let Some(first) = seen.insert((&locked.name, condition), &locked.place) else { continue };
        let line = locked.place.rsplit(':').next().and_then(|line| line.parse().ok());
        let message = format!("`{}` is locked twice: also at {first}", locked.name);
        found.extend(policy.finding("lock-duplicate", (file, line), message, None));
    }
    found
}

/// A file of requirements in the project's root.
fn requirements(root: &Path) -> Result<Option<String>> {
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_string());
    let names = fs::read_dir(root)?.iter().filter_map(name).collect::<Vec<_>>();
    Ok(names.into_iter().find(|name| {
        let stem = name.strip_suffix(".txt").or(name.strip_suffix(".in"));
        stem.is_some_and(|stem| stem == "requirements" || stem.starts_with("requirements-"))
    }))
}

/// Whether the base is a tag: neither a file, nor a digest, nor packages of an archive.
fn moves(base: &str) -> bool {
    let file = ["oci:", "oci-archive:", "docker-archive:"].iter().any(|kind| base.starts_with(kind));
    !file && !base.contains('@') && !base.ends_with(PACKAGES_SUFFIX)
}
