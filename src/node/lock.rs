//! package-lock.json and npm-shrinkwrap.json: which packages a project has, where, and with which hashes.
//!
//! Of version 2 only `packages` is read, as npm does; version 1 has no `packages`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::document::{self, Dependencies, shown};
use super::place::{NODE_MODULES, Place, is_name, is_version};
use super::target::Wants;
use super::{Error, Integrity, bins};
use crate::error::Result;
use crate::layer::TreePath;
use crate::oci::Digest;

/// The largest lock, in bytes.
const LOCK_LIMIT: u64 = 16 << 20;
/// The most packages of a lock.
const PACKAGES_LIMIT: usize = 50_000;

const GIT: &str = "publish it to a registry: what a repository builds cannot be checked against a hash";
const FILE: &str = "publish it to a registry, or make it a workspace of the project";

/// A lock, checked: nothing in it leads out of the project.
#[derive(Clone, Debug)]
pub struct Lock {
    /// How it is called in messages.
    pub place: String,
    /// Of the file.
    pub digest: Digest,
    /// What the project itself wants, as it was when the lock was written.
    pub project: Dependencies,
    /// Every other entry, by its key.
    pub entries: BTreeMap<String, Locked>,
}

/// An entry of a lock.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Where it is.
    pub place: Place,
    /// What a registry calls it; a folder may have another name.
    pub name: String,
    /// Its version; empty for a workspace without one.
    pub version: String,
    /// What it is made of.
    pub source: Source,
    /// Only for developers.
    pub dev: bool,
    /// Only because somebody takes it if it can be had.
    pub optional: bool,
    /// Nobody needs it.
    pub extraneous: bool,
    /// Whether npm would run a script of it.
    pub install_script: bool,
    /// Whether it came in the tarball of what it is in.
    pub in_bundle: bool,
    /// Whether it brought a lock of its own, which decides about what it needs.
    pub has_shrinkwrap: bool,
    /// What came in its tarball.
    pub bundles: BTreeSet<String>,
    /// What it has to do with others.
    pub dependencies: Dependencies,
    /// What it runs on.
    pub wants: Wants,
    /// Its programs: name, and path in its folder.
    pub bins: BTreeMap<String, String>,
}

/// What an entry is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tarball with these hashes.
    Tarball {
        /// Where it was when the lock was written; left out by some settings of npm.
        resolved: Option<String>,
        /// The hashes, or what there was instead.
        integrity: Result<Integrity, String>,
    },
    /// A folder of the project, which npm links to.
    Link(String),
    /// The folder of a workspace.
    Folder,
}

impl Locked {
    /// "name@version", for messages.
    pub fn called(&self) -> String {
        shown(&format!("{}@{}", self.name, self.version))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    lockfile_version: Value,
    packages: Option<BTreeMap<String, Value>>,
}

/// What stands in an entry. What npm does not use is not read.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", expecting = "a table")]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(deserialize_with = "document::or_default")]
    link: bool,
    #[serde(deserialize_with = "document::or_default")]
    dev: bool,
    #[serde(deserialize_with = "document::or_default")]
    optional: bool,
    #[serde(deserialize_with = "document::or_default")]
    extraneous: bool,
    #[serde(deserialize_with = "document::or_default")]
    has_install_script: bool,
    #[serde(deserialize_with = "document::or_default")]
    has_shrinkwrap: bool,
    #[serde(deserialize_with = "document::or_default")]
    in_bundle: bool,
    bundle_dependencies: Value,
    os: Value,
    cpu: Value,
    libc: Value,
    engines: Value,
    bin: Value,
    #[serde(flatten)]
    dependencies: Dependencies,
}

impl Lock {
    /// Reads a lock.
    pub fn read(path: &Path) -> Result<Lock> {
        Ok(Lock::parse(&document::read(path, LOCK_LIMIT)?, &document::called(path))?)
    }

    /// From the text of a lock; `place` is how it is called.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Lock, Error> {
        let file: File = document::parse(bytes, place)?;
        if !matches!(file.lockfile_version.as_u64(), Some(2 | 3)) {
            let found = match file.lockfile_version {
                Value::Null => "missing".to_string(),
                other => shown(&other.to_string()),
            };
            return Err(Error::LockVersion { place: place.into(), found });
        }
        let refuse = |reason: &str| Error::Document { place: place.to_string(), reason: reason.to_string() };
        let mut packages = file.packages.ok_or_else(|| refuse("it has no `packages`"))?;
        if packages.len() > PACKAGES_LIMIT {
            return Err(refuse(&format!("it has {} packages, of at most {PACKAGES_LIMIT}", packages.len())));
        }
        let project = packages.remove("").ok_or_else(|| refuse("it has no entry for the project itself (`\"\"`)"))?;
        let project: Entry = entry("", project, place)?;
        let mut entries = BTreeMap::new();
        for (key, value) in packages {
            let locked = locked(&key, entry(&key, value, place)?, place)?;
            entries.insert(key, locked);
        }
        let lock = Lock { place: place.into(), digest: Digest::of(bytes), project: project.dependencies, entries };
        lock.check_links()?;
        Ok(lock)
    }

    /// An error about one entry.
    pub fn refuse(&self, entry: &str, problem: impl Into<String>, hint: &'static str) -> Error {
        Error::Entry { place: self.place.clone(), entry: shown(entry), problem: problem.into(), hint }
    }

    fn check_links(&self) -> Result<(), Error> {
        for (key, entry) in &self.entries {
            let Source::Link(target) = &entry.source else { continue };
            if !matches!(self.entries.get(target).map(|found| &found.source), Some(Source::Folder)) {
                let problem = format!("is a link to `{}`, which is not in the lock", shown(target));
                return Err(self.refuse(key, problem, FILE));
            }
        }
        Ok(())
    }

    /// The entry that a link leads to, or the entry itself.
    pub fn target<'a>(&'a self, entry: &'a Locked) -> &'a Locked {
        match &entry.source {
            Source::Link(target) => self.entries.get(target).unwrap_or(entry),
            _ => entry,
        }
    }
}

fn entry(key: &str, value: Value, place: &str) -> Result<Entry, Error> {
    serde_json::from_value(value).map_err(|error| Error::Document {
        place: place.to_string(),
        reason: format!("`{}` is not what npm writes: {}", shown(key), shown(&error.to_string())),
    })
}

fn locked(key: &str, entry: Entry, place: &str) -> Result<Locked, Error> {
    const NPM: &str = "the lock was changed by hand, or damaged: write it anew with `npm install --package-lock-only`";
    let refuse = |problem: String, hint: &'static str| Error::Entry {
        place: place.to_string(),
        entry: shown(key),
        problem,
        hint,
    };
    let at = Place::parse(key).map_err(|problem| {
        let outside = key.split('/').any(|part| part == "..") && !key.contains("node_modules");
        refuse(problem, if outside { FILE } else { NPM })
    })?;
    let folder_name = at.name().unwrap_or_default().to_string();
    let name = entry.name.unwrap_or_else(|| folder_name.clone());
    let version = entry.version.unwrap_or_default();
    let source = match (entry.link, at.is_installed()) {
        (true, true) => {
            let target = entry.resolved.unwrap_or_default();
            let folder = Place::parse(&target).ok().filter(|found| !found.is_installed() && !target.is_empty());
            if folder.is_none() {
                return Err(refuse(format!("is a link to `{}`, which is not in the project", shown(&target)), FILE));
            }
            Source::Link(target)
        }
        (true, false) => return Err(refuse("is a link outside of `node_modules`".into(), NPM)),
        (false, false) => Source::Folder,
        (false, true) => {
            if !is_name(&name) {
                return Err(refuse(format!("is of a package `{}`: that is no name", shown(&name)), NPM));
            }
            if !is_version(&version) {
                return Err(refuse(format!("has the version `{}`, which is none", shown(&version)), NPM));
            }
            check_source(entry.resolved.as_deref()).map_err(|(problem, hint)| refuse(problem, hint))?;
            let integrity = Integrity::parse(entry.integrity.as_deref().unwrap_or_default());
            Source::Tarball { resolved: entry.resolved, integrity }
        }
    };
    let bins = bins::normalized(&entry.bin, &name);
    let is_path = |path: String| TreePath::new(&path).is_ok();
    let folder = at.folder().unwrap_or(NODE_MODULES);
    let fits = |(name, target): (&String, &String)| {
        is_path(format!("{folder}/.bin/{name}")) && is_path(format!("{key}/{target}"))
    };
    if let Some((name, _)) = bins.iter().find(|bin| !fits(*bin)) {
        return Err(refuse(format!("has a program `{}`, which has too long a name or path", shown(name)), NPM));
    }
    let bundles = match &entry.bundle_dependencies {
        Value::Bool(true) => entry.dependencies.dependencies.keys().cloned().collect(),
        listed => document::words(listed).into_iter().collect(),
    };
    Ok(Locked {
        name,
        version,
        source,
        dev: entry.dev,
        optional: entry.optional,
        extraneous: entry.extraneous,
        install_script: entry.has_install_script,
        has_shrinkwrap: entry.has_shrinkwrap,
        bundles,
        in_bundle: entry.in_bundle,
        dependencies: entry.dependencies,
        wants: Wants {
            os: document::words(&entry.os),
            cpu: document::words(&entry.cpu),
            libc: document::words(&entry.libc),
            // Old packages have a list there, of which npm makes nothing.
            node: entry.engines.get("node").and_then(Value::as_str).map(str::to_string),
        },
        bins,
        place: at,
    })
}

/// Tarballs come over HTTP, or from where the registry has them.
fn check_source(resolved: Option<&str>) -> Result<(), (String, &'static str)> {
    let Some(resolved) = resolved else { return Ok(()) };
    let scheme = resolved.split(':').next().unwrap_or_default();
    match scheme {
        "http" | "https" => Ok(()),
        git if git.starts_with("git") => Err(("comes from a git repository".into(), GIT)),
        "file" => Err(("comes from a file of the developer's machine".into(), FILE)),
        _ => Err(("comes from neither a registry nor a URL".into(), FILE)),
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
