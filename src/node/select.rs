//! Which packages of a lock belong in an image: those of production, for its platform (`npm ci --omit=dev`).

use std::collections::BTreeMap;

use super::graph::Graph;
use super::integrity::Integrity;
use super::lock::{Lock, Locked, Source};
use super::target::NodeTarget;
use super::{Error, document};

/// A package to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// `node_modules/a/node_modules/@s/b`.
    pub path: String,
    /// The name of its folder.
    pub folder: String,
    /// What a registry calls it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is made of; `None` if it is in the tarball of the package that it is in.
    pub tarball: Option<Origin>,
    /// Its programs: name, and path in its folder.
    pub bins: BTreeMap<String, String>,
    /// Whether npm would run a script of it.
    pub install_script: bool,
}

/// Where a tarball was, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// As the lock has it.
    pub resolved: Option<String>,
    /// Its hashes.
    pub integrity: Integrity,
}

impl Package {
    /// "name@version".
    pub fn called(&self) -> String {
        document::shown(&format!("{}@{}", self.name, self.version))
    }
}

/// A link to a folder of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is: `node_modules/@scope/x`.
    pub path: String,
    /// The folder, relative to the project: `packages/x`.
    pub target: String,
    /// The name of its own folder.
    pub folder: String,
    /// The programs of what it leads to.
    pub bins: BTreeMap<String, String>,
}

/// What belongs in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Sorted by path.
    pub packages: Vec<Package>,
    /// Sorted by path.
    pub links: Vec<Link>,
    /// Places that the lock has and the image has not, sorted: nothing is unpacked there.
    pub left_out: Vec<String>,
    /// Packages that are left out because they are for other platforms: "name@version", sorted.
    pub other_platforms: Vec<String>,
    /// Packages that are for other versions of Node, and what they want: "name@version", ">=20"; sorted.
    pub other_nodes: Vec<(String, String)>,
}

/// What of the lock belongs in an image for `target`.
pub fn select(lock: &Lock, target: &NodeTarget) -> Result<Selection, Error> {
    let graph = Graph::of(lock);
    let omitted = |entry: &Locked| {
        let entry = lock.target(entry);
        entry.dev || entry.extraneous
    };
    let gone = |key: &str| lock.entries.get(key).is_some_and(omitted);
    let mut unfit: Vec<&str> = Vec::new();
    for (key, entry) in lock.entries.iter().filter(|(_, entry)| !omitted(entry)) {
        let wanted = target.refuses(&entry.wants);
        if wanted.is_none() && (!entry.optional || target.is_other_node(&entry.wants).is_none()) {
            continue;
        }
        if let Some(wanted) = wanted.filter(|_| !entry.optional) {
            return Err(other_platform(lock, entry, target, wanted));
        }
        unfit.push(key);
    }
    let fallen = graph.falls_with(&unfit);
    // What the lock says of an entry may be wrong: what the project needs is needed all the same.
    for (key, by) in graph.needed() {
        let Some(entry) = lock.entries.get(key) else { continue };
        if omitted(entry) {
            let mark = if lock.target(entry).dev { "dev" } else { "extraneous" };
            let difference = format!("`{}`, which {} needs, is marked `{mark}` in it", entry.called(), told(by));
            return Err(Error::Outdated { place: lock.place.clone(), difference });
        }
        if fallen.contains(key)
            && let Some(wanted) = target.refuses(&entry.wants)
        {
            return Err(other_platform(lock, entry, target, wanted));
        }
    }
    let absent = |by: &str| gone(by) || fallen.contains(by) || in_bundle(lock, by);
    if let Some((by, name)) = graph.missing.iter().find(|(by, _)| !absent(by)) {
        let difference = format!("`{}`, which {} needs, is not in it", document::shown(name), told(by));
        return Err(Error::Outdated { place: lock.place.clone(), difference });
    }
    let mut selection = Selection::default();
    for (key, entry) in &lock.entries {
        if omitted(entry) {
            // What came in somebody's tarball without being wanted stays there, as with npm.
            let own = matches!(&entry.source, Source::Tarball { resolved, integrity } if resolved.is_some() || integrity.is_ok());
            selection.left_out.extend(Some(key.clone()).filter(|_| own));
        } else if fallen.contains(key.as_str()) {
            selection.left_out.push(key.clone());
            selection.other_platforms.push(entry.called());
        } else {
            take(lock, key, entry, &mut selection)?;
            let other = target.is_other_node(&entry.wants).map(document::shown);
            selection.other_nodes.extend(other.map(|range| (entry.called(), range)));
        }
    }
    selection.other_platforms.sort();
    selection.other_platforms.dedup();
    selection.other_nodes.sort();
    selection.other_nodes.dedup();
    Ok(selection)
}

fn other_platform(lock: &Lock, entry: &Locked, target: &NodeTarget, wanted: String) -> Error {
    Error::OtherPlatform { place: lock.place.clone(), package: entry.called(), target: target.clone(), wanted }
}

/// Who needs something.
fn told(by: &str) -> String {
    if by.is_empty() { "the project".to_string() } else { format!("`{}`", document::shown(by)) }
}

fn take(lock: &Lock, key: &str, entry: &Locked, selection: &mut Selection) -> Result<(), Error> {
    let folder = entry.place.name().unwrap_or_default().to_string();
    match &entry.source {
        Source::Folder => {}
        Source::Link(target) => selection.links.push(Link {
            path: key.to_string(),
            target: target.clone(),
            folder,
            bins: lock.target(entry).bins.clone(),
        }),
        Source::Tarball { resolved, integrity } => {
            let tarball = match (in_bundle(lock, key), integrity) {
                (true, _) => None,
                (false, Ok(integrity)) => Some(Origin { resolved: resolved.clone(), integrity: integrity.clone() }),
                (false, Err(found)) => {
                    let (place, package) = (lock.place.clone(), entry.called());
                    return Err(Error::NoIntegrity { place, package, found: found.clone() });
                }
            };
            selection.packages.push(Package {
                path: key.to_string(),
                folder,
                name: entry.name.clone(),
                version: entry.version.clone(),
                tarball,
                bins: entry.bins.clone(),
                install_script: entry.install_script,
            });
        }
    }
    Ok(())
}

/// Whether an entry is in the tarball of the package that it is in. What the project itself would bundle when it is
/// published comes from the registry.
fn in_bundle(lock: &Lock, key: &str) -> bool {
    let Some(entry) = lock.entries.get(key).filter(|entry| entry.in_bundle) else { return false };
    let parent = entry.place.parent().and_then(|parent| lock.entries.get(parent));
    parent.is_some_and(|parent| parent.place.is_installed())
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
