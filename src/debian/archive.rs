//! All packages of all sources: signed indexes, opened for one architecture, as the resolver's universe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::archive_error::ArchiveError;
use super::fetch::{Context, PARALLEL, Wanted, download};
use super::index::{At, Index, PACKED_LIMIT, PACKINGS, Packed, Packing};
use super::preferences::{Pocket, Preferences};
use super::release::{Floor, Listed, Release, listed_url};
use super::sources::{Source, Sources};
use super::{Candidate, Error, Package, Universe};
use crate::error::{During, Result};
use crate::net::Http;
use crate::net::in_parallel;
use crate::oci::Digest;
use crate::text::escape;

/// How many similar names are told.
const SIMILAR: usize = 5;
/// How many letters may differ in a similar name.
const DISTANCE: usize = 2;

/// What a lock remembers of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// The archive's base URL, ending in `/`; without credentials.
    pub archive: String,
    /// The suite that was asked for.
    pub suite: String,
    /// Its code name.
    pub codename: String,
    /// `Date`, as RFC 3339.
    pub date: String,
    /// The digest of InRelease (or Release).
    pub sha256: Digest,
}

/// The packages of all sources for one architecture.
pub struct Archive {
    parts: Vec<Part>,
    releases: Vec<ReleaseInfo>,
    preferences: Preferences,
    parsed: Mutex<BTreeMap<(usize, At), Arc<Package>>>,
}

/// One index.
struct Part {
    index: Index,
    archive: Arc<str>,
    pocket: Pocket,
    security: bool,
}

/// An index that is wanted.
struct Want<'a> {
    source: &'a Source,
    release: &'a Release,
    component: &'a str,
    /// With the compression's ending.
    path: String,
    listed: Listed,
    plain: Option<(u64, Digest)>,
    packing: Packing,
    url: String,
}

impl Archive {
    /// Fetches and verifies the suites and their indexes; indexes that are in the store are not fetched again.
    ///
    /// A source that does not answer, or does not verify, is an error: none is left out silently.
    pub fn open(sources: &Sources, architecture: &str, floor: &Floor, context: &Context<'_>) -> Result<Archive> {
        let used =
            |source: &&Source| source.architectures.as_ref().is_none_or(|list| list.iter().any(|a| a == architecture));
        let used: Vec<Source> =
            sources.sources.iter().filter(used).map(|source| for_architecture(source, architecture)).collect();
        let http = (context.http)()?;
        let releases = in_parallel(&used, PARALLEL, |source| {
            Release::fetch(source, &http, floor, context.now).during(|| action(source))
        })?;
        let mut wants = Vec::new();
        for (source, release) in used.iter().zip(&releases) {
            let for_all = ["all", architecture];
            let known = &release.architectures;
            if !known.is_empty() && !known.iter().any(|name| for_all.contains(&name.as_str())) {
                let (suite, archive) = (&source.suite, &source.archive);
                context.progress.message(&format!("the suite `{suite}` of `{archive}` has nothing for {architecture}"));
                continue;
            }
            wants.extend(wanted(source, release, architecture).during(|| action(source))?);
        }
        let missing: BTreeMap<Digest, &Want<'_>> = wants
            .iter()
            .rev()
            .filter(|want| !context.store.has(&want.listed.sha256))
            .map(|want| (want.listed.sha256, want))
            .collect();
        let missing: Vec<&Want<'_>> = missing.into_values().collect();
        in_parallel(&missing, PARALLEL, |want| want.fetch(context, &http).during(|| action(want.source)))?;
        let parts = wants
            .par_iter()
            .map(|want| want.open(architecture, context, &http).during(|| action(want.source)))
            .collect::<Result<Vec<Part>>>()?;
        let info = |(source, release): (&Source, &Release)| ReleaseInfo {
            archive: source.archive.to_string(),
            suite: source.suite.clone(),
            codename: release.pocket.codename.clone(),
            date: release.date.to_string(),
            sha256: release.sha256,
        };
        Ok(Archive {
            releases: used.iter().zip(&releases).map(info).collect(),
            preferences: sources.preferences.clone(),
            parts,
            parsed: Mutex::default(),
        })
    }

    /// What was believed, in the order of the sources.
    pub fn releases(&self) -> &[ReleaseInfo] {
        &self.releases
    }

    /// How many packages there are, those of other names too.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.index.len()).sum()
    }

    /// Whether there is no package at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn candidate(&self, number: usize, part: &Part, at: At) -> Result<Candidate, Error> {
        let known = || self.parsed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = known().get(&(number, at)).cloned();
        let package = match found {
            Some(package) => package,
            None => {
                let package = Arc::new(part.index.package(at, &part.archive)?);
                known().insert((number, at), package.clone());
                package
            }
        };
        let version = package.version.as_str();
        let priority = self.preferences.priority(&package.name, &package.source, version, &part.pocket);
        Ok(Candidate { package, priority, security: part.security })
    }
}

/// Of candidates in the order of their sources: each version of a name once, from the source that is preferred; by
/// name, the highest priority first, then the latest version.
fn ordered(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let same = |other: &&mut Candidate| {
            other.package.name == candidate.package.name && other.package.version == candidate.package.version
        };
        match kept.iter_mut().find(same) {
            Some(other) => {
                let security = other.security || candidate.security;
                if candidate.priority > other.priority {
                    *other = candidate;
                }
                other.security = security;
            }
            None => kept.push(candidate),
        }
    }
    kept.sort_by(|a, b| {
        a.package
            .name
            .cmp(&b.package.name)
            .then_with(|| b.priority.cmp(&a.priority))
            .then_with(|| b.package.version.cmp(&a.package.version))
    });
    kept
}

impl Universe for Archive {
    fn versions(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            for at in part.index.named(name) {
                found.push(self.candidate(number, part, at)?);
            }
        }
        Ok(ordered(found))
    }

    fn providers(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            for at in part.index.providing(name) {
                let candidate = self.candidate(number, part, at)?;
                if candidate.package.name != name {
                    found.push(candidate);
                }
            }
        }
        Ok(ordered(found))
    }

    fn similar(&self, name: &str) -> Vec<String> {
        let names: BTreeSet<&str> = self.parts.iter().flat_map(|part| part.index.names()).collect();
        let mut near: Vec<(usize, &str)> = names
            .into_iter()
            .filter_map(|known| {
                let distance = distance(name, known);
                let inside = name.len() > 3 && (known.contains(name) || name.contains(known) && known.len() > 3);
                (distance <= DISTANCE || inside).then_some((distance, known))
            })
            .collect();
        near.sort_unstable();
        near.into_iter().map(|(_, name)| name.to_string()).take(SIMILAR).collect()
    }
}

/// How many letters must be put in, left out or changed; more than [`DISTANCE`] is only told as more.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > DISTANCE {
        return a.len().abs_diff(b.len());
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn action(source: &Source) -> String {
    format!("reading the packages of `{}` ({})", source.suite, source.origin)
}

/// The source with `$(ARCH)` in its suite replaced.
fn for_architecture(source: &Source, architecture: &str) -> Source {
    Source { suite: source.suite.replace("$(ARCH)", architecture), ..source.clone() }
}

/// The indexes of a suite for an architecture.
fn wanted<'a>(source: &'a Source, release: &'a Release, architecture: &str) -> Result<Vec<Want<'a>>> {
    if source.components.is_empty() {
        let want = find(source, release, "", "Packages")?;
        return want.map(|want| vec![want]).ok_or_else(|| no_index(source, "", architecture).into());
    }
    let mut wants = Vec::new();
    for component in &source.components {
        let of = |architecture: &str| {
            find(source, release, component, &format!("{component}/binary-{architecture}/Packages"))
        };
        // An index that the suite does not claim to keep may be a forgotten one: apt does not read it either.
        let is_kept = release.architectures.iter().any(|name| name == "all") && !release.all_is_inside;
        let (own, all) = (of(architecture)?, if is_kept { of("all")? } else { None });
        if own.is_none() && all.is_none() {
            return Err(no_index(source, component, architecture).into());
        }
        wants.extend(own.into_iter().chain(all));
    }
    Ok(wants)
}

fn no_index(source: &Source, component: &str, architecture: &str) -> ArchiveError {
    ArchiveError::NoIndex {
        suite: source.suite.clone(),
        url: source.release_folder(),
        component: component.to_string(),
        architecture: architecture.to_string(),
    }
}

/// The best packed form of an index.
fn find<'a>(source: &'a Source, release: &'a Release, component: &'a str, path: &str) -> Result<Option<Want<'a>>> {
    for (ending, packing) in PACKINGS {
        let packed = format!("{path}{ending}");
        let Some(listed) = release.files.get(&packed) else { continue };
        let url = listed_url(source, &packed)?.to_string();
        if listed.size > PACKED_LIMIT {
            return Err(ArchiveError::TooLarge { url, limit: PACKED_LIMIT }.into());
        }
        let plain = release.files.get(path).map(|plain| (plain.size, plain.sha256));
        return Ok(Some(Want { source, release, component, path: packed, listed: *listed, plain, packing, url }));
    }
    Ok(None)
}

impl Want<'_> {
    fn fetch(&self, context: &Context<'_>, http: &Http) -> Result<()> {
        let wanted = Wanted { size: self.listed.size, sha256: self.listed.sha256 };
        let name = escape(&format!("{} {}", self.source.suite, self.path));
        let get = |path: &str| {
            let url = listed_url(self.source, path)?;
            download(&url, self.source.credentials.clone(), &name, wanted, context, http)
        };
        if self.release.by_hash {
            let folder = self.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            match get(&format!("{folder}by-hash/SHA256/{}", wanted.sha256.hex())) {
                Err(error) if is_absent(&error) => {}
                done => return done,
            }
        }
        match get(&self.path) {
            Err(error) if is_absent(&error) => Err(ArchiveError::Absent { url: self.url.clone() }.into()),
            done => done,
        }
    }

    fn open(&self, architecture: &str, context: &Context<'_>, http: &Http) -> Result<Part> {
        let packed = Packed {
            url: &self.url,
            digest: self.listed.sha256,
            size: self.listed.size,
            packing: self.packing,
            plain: self.plain,
        };
        let index = match Index::open(context.store, &packed, architecture) {
            // The store's copy was damaged: it is gone now, and fetched anew.
            Err(_) if !context.store.has(&packed.digest) => {
                self.fetch(context, http)?;
                Index::open(context.store, &packed, architecture)?
            }
            opened => opened?,
        };
        Ok(Part {
            index,
            archive: self.source.archive.as_str().into(),
            pocket: Pocket { component: self.component.to_string(), ..self.release.pocket.clone() },
            security: self.release.is_security(&self.source.suite),
        })
    }
}

fn is_absent(error: &crate::error::Error) -> bool {
    let status = error.cause().downcast_ref::<crate::net::Error>().and_then(crate::net::Error::status);
    matches!(status, Some(404 | 410))
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
