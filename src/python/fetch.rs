//! From locked requirements to wheels in the store: the best wheel for the target among those whose hash is locked.
//!
//! The store is asked first, then the paths in the lock, then folders (`--find-links`), then indexes. What was chosen
//! once is remembered, so that a build from a warm store needs no network.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use url::Url;

use super::config::Indexes;
use super::location::{Links, Location};
use super::lock::Locked;
use super::names::{WheelName, normalize, same_version, shown};
use super::simple::{self, Listed};
use super::tags::Tags;
use super::wheel::{OpenWheel, Wheel};
use super::{Error, Target};
use crate::error::{During, Result};
use crate::fs;
use crate::layer::{self, Bucket, Store};
use crate::net::{Http, Request, in_parallel, redacted, same_origin};
use crate::oci::{Digest, Hasher};
use crate::progress::Progress;

/// How many requests run at the same time.
const PARALLEL: usize = 12;
/// The largest page of an index, in bytes.
const PAGE_LIMIT: u64 = 128 << 20;
/// The largest wheel, in bytes.
const WHEEL_LIMIT: u64 = 8 << 30;
/// The version of what is remembered of a choice.
const CHOICE_VERSION: u32 = 1;

/// A file that may be the wheel of a requirement.
#[derive(Clone, Debug)]
struct Candidate {
    filename: String,
    digest: Option<Digest>,
    size: Option<u64>,
    source: Source,
    yanked: Option<String>,
}

#[derive(Clone, Debug)]
enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// A file of this index.
    Url(Url, Location),
    /// Only the lock says that it exists.
    Named,
}

/// Which wheel was chosen for a requirement and a target.
#[derive(Serialize, Deserialize)]
struct Choice {
    filename: String,
    digest: Digest,
    size: u64,
}

/// Who looks on while wheels are fetched.
pub struct Watch<'a> {
    /// Hears of every wheel that was not in the store before, as soon as it is: in whatever order, from whatever thread.
    pub arrived: &'a (dyn Fn(&Wheel) + Sync),
    /// Set when nobody wants the wheels any more: then nothing new begins, and what is on its way is broken off.
    pub unwanted: &'a AtomicBool,
}

/// Everything that one fetch works with.
struct Job<'a> {
    watch: &'a Watch<'a>,
    target: &'a Target,
    tags: Tags,
    indexes: &'a Indexes,
    store: &'a Store,
    progress: &'a Progress,
}

/// The network part: made only if it is needed.
struct Network {
    http: Http,
    indexes: Vec<Location>,
    pages: Vec<Candidate>,
    /// What is in folders and did not do, to explain a failure.
    folders: Vec<Candidate>,
}

/// Puts a wheel for each requirement into the store, and returns them in the order of `locked`.
///
/// `http` is called at most once, and not at all if everything is on this machine.
pub fn fetch(
    locked: &[Locked],
    target: &Target,
    indexes: &Indexes,
    store: &Store,
    http: &dyn Fn() -> Result<Http>,
    progress: &Progress,
    watch: &Watch<'_>,
) -> Result<Vec<Wheel>> {
    let job = Job { watch, target, tags: Tags::of(target), indexes, store, progress };
    let mut wheels = locked.iter().map(|locked| job.known(locked)).collect::<Result<Vec<_>>>()?;
    let mut folders = Vec::new();
    if wheels.iter().any(Option::is_none) {
        folders = job.folders()?;
        let local: Vec<Result<Option<Wheel>>> = locked
            .par_iter()
            .zip(wheels.par_iter())
            .map(|(locked, known)| if known.is_some() { Ok(None) } else { job.local(locked, &folders) })
            .collect();
        for (wheel, local) in wheels.iter_mut().zip(local) {
            *wheel = wheel.take().or(local?);
        }
    }
    let missing: Vec<usize> = (0..locked.len()).filter(|at| wheels.get(*at).is_some_and(Option::is_none)).collect();
    if !missing.is_empty() {
        let network = job.network(http, folders)?;
        let found = in_parallel(&missing, PARALLEL, |at| job.remote(&locked[*at], &network))?;
        for (at, wheel) in missing.into_iter().zip(found) {
            wheels[at] = Some(wheel);
        }
    }
    Ok(wheels.into_iter().flatten().collect())
}

/// The wheels that are in the store, as far as that has to do with no network and no other folder.
pub fn known(locked: &[Locked], target: &Target, store: &Store) -> Result<Vec<Option<Wheel>>> {
    let watch = Watch { arrived: &|_| {}, unwanted: &AtomicBool::new(false) };
    let (indexes, progress) = (&Indexes::default(), &Progress::silent());
    let job = Job { watch: &watch, target, tags: Tags::of(target), indexes, store, progress };
    locked.iter().map(|locked| job.known(locked)).collect()
}

impl Job<'_> {
    /// What decides a choice, as the name of an entry in the store.
    fn key(&self, locked: &Locked) -> String {
        let platform = format!("{} {} {}", self.target.python.short(), self.target.platform, self.target.libc);
        let text = format!("{} {} {:?} {platform}", locked.name, locked.version, locked.hashes);
        format!("choice-v{CHOICE_VERSION}-{}", Digest::of(text.as_bytes()).hex())
    }

    fn remember(&self, locked: &Locked, wheel: &Wheel) -> Result<()> {
        let choice = Choice { filename: wheel.filename.clone(), digest: wheel.digest, size: wheel.size };
        let bytes = crate::oci::json::canonical(&choice);
        self.store.put_entry(Bucket::Index, &self.key(locked), &bytes)
    }

    fn wheel(&self, locked: &Locked, filename: &str, digest: Digest, size: u64) -> Wheel {
        Wheel {
            name: locked.name.clone(),
            version: locked.version.clone(),
            filename: filename.to_string(),
            digest,
            size,
            place: locked.place.clone(),
        }
    }

    /// The wheel that was chosen before, or that the lock itself decides on, if the store has it.
    fn known(&self, locked: &Locked) -> Result<Option<Wheel>> {
        let stored = |filename: &str, digest: Digest| -> Result<Option<Wheel>> {
            if !self.store.has(&digest) {
                return Ok(None);
            }
            let size = fs::symlink_metadata(&self.store.blob_path(&digest))?.len();
            Ok(Some(self.wheel(locked, filename, digest, size)))
        };
        if !locked.files.is_empty() {
            let best = self.best(locked, &self.named(locked))?;
            return best.digest.map_or(Ok(None), |digest| stored(&best.filename, digest));
        }
        let Some(bytes) = self.store.get_entry(Bucket::Index, &self.key(locked), 1 << 16)? else { return Ok(None) };
        // A note that cannot be read is no note.
        match serde_json::from_slice::<Choice>(&bytes) {
            Ok(choice) if locked.hashes.contains(&choice.digest) && self.rank(locked, &choice.filename).is_some() => {
                stored(&choice.filename, choice.digest)
            }
            _ => Ok(None),
        }
    }

    fn named(&self, locked: &Locked) -> Vec<Candidate> {
        let candidate = |file: &super::lock::LockedFile| Candidate {
            filename: file.filename.clone(),
            digest: Some(file.digest),
            size: file.size,
            source: file.path.clone().map_or(Source::Named, Source::File),
            yanked: None,
        };
        locked.files.iter().map(candidate).collect()
    }

    /// The rank of a wheel of this requirement for the target; `None` if it is another's, or does not fit.
    fn rank(&self, locked: &Locked, filename: &str) -> Option<(usize, std::cmp::Reverse<Option<(u64, String)>>)> {
        let name = WheelName::parse(filename).ok()?;
        if name.name != locked.name || !same_version(&name.version, &locked.version) {
            return None;
        }
        Some((self.tags.rank(&name.tags)?, std::cmp::Reverse(name.build)))
    }

    /// The best candidate whose hash is locked, or is not said.
    fn best(&self, locked: &Locked, candidates: &[Candidate]) -> Result<Candidate, Error> {
        let allowed = |candidate: &&Candidate| candidate.digest.is_none_or(|digest| locked.hashes.contains(&digest));
        let ranked = candidates
            .iter()
            .filter(allowed)
            .filter_map(|candidate| Some(((self.rank(locked, &candidate.filename)?, &candidate.filename), candidate)));
        if let Some((_, best)) = ranked.min_by(|a, b| a.0.cmp(&b.0)) {
            return Ok(best.clone());
        }
        Err(self.nothing(locked, candidates))
    }

    /// Why no candidate will do.
    fn nothing(&self, locked: &Locked, candidates: &[Candidate]) -> Error {
        let (requirement, place) = (locked.requirement(), locked.place.clone());
        let own: Vec<(&Candidate, Option<WheelName>)> = candidates
            .iter()
            .filter(|candidate| belongs(&candidate.filename, locked))
            .map(|candidate| (candidate, WheelName::parse(&candidate.filename).ok()))
            .collect();
        // One that would fit, but has another hash.
        let fitting = own.iter().filter(|(candidate, _)| self.rank(locked, &candidate.filename).is_some());
        let other = fitting
            .filter_map(|(c, _)| Some((self.rank(locked, &c.filename)?, c, c.digest?)))
            .min_by(|a, b| a.0.cmp(&b.0));
        if let Some((_, candidate, found)) = other {
            let (file, expected) = (shown(&candidate.filename), locked.hashes.clone());
            return Error::HashMismatch { requirement, place, file, expected, found };
        }
        let wheels: Vec<String> =
            own.iter().filter(|(_, name)| name.is_some()).map(|(candidate, _)| candidate.filename.clone()).collect();
        if !wheels.is_empty() {
            return Error::NoWheel {
                requirement,
                place,
                target: self.target.to_string(),
                wanted: some(self.tags.ordered().iter().map(ToString::to_string)),
                found: some(wheels.into_iter()),
            };
        }
        match own.first() {
            Some((candidate, _)) => Error::OnlySource { requirement, place, file: shown(&candidate.filename) },
            None => Error::NotFound { requirement, place, places: self.places() },
        }
    }

    /// Where was looked, for a message.
    fn places(&self) -> String {
        let mut places: Vec<String> = Vec::new();
        for links in &self.indexes.options.links {
            places.push(match links {
                Links::Folder(path) => format!("`{}`", path.display()),
                Links::Page(page) => format!("`{}`", redacted(&page.url)),
            });
        }
        if !self.indexes.options.no_index {
            let options = &self.indexes.options;
            let named = options.index.iter().chain(&options.extra).map(|index| format!("`{}`", redacted(&index.url)));
            places.extend(named);
            if options.index.is_none() {
                places.push("the default index of pip".into());
            }
        }
        if places.is_empty() { "no place at all (--no-index without --find-links)".into() } else { places.join(", ") }
    }

    /// The wheels and source distributions in all folders.
    fn folders(&self) -> Result<Vec<Candidate>> {
        let mut found = Vec::new();
        for links in &self.indexes.options.links {
            let Links::Folder(path) = links else { continue };
            if !fs::exists(path) {
                self.progress.message(&format!("the folder `{}` of --find-links does not exist", path.display()));
                continue;
            }
            let files = if path.is_dir() { fs::read_dir(path)? } else { vec![path.clone()] };
            for file in files {
                let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
                let filename = name.to_string();
                found.push(Candidate { filename, digest: None, size: None, source: Source::File(file), yanked: None });
            }
        }
        Ok(found)
    }

    /// A wheel from a path in the lock, or from a folder.
    fn local(&self, locked: &Locked, folders: &[Candidate]) -> Result<Option<Wheel>> {
        self.wanted(locked)?;
        if !locked.files.is_empty() {
            let best = self.best(locked, &self.named(locked))?;
            if let (Source::File(path), Some(_)) = (&best.source, best.digest) {
                return self.copy(locked, &best, path).map(Some);
            }
        }
        if let Some(wheel) = self.only(locked, folders)? {
            return Ok(Some(wheel));
        }
        let candidates: Vec<Candidate> = folders.iter().filter_map(|found| self.hashed(locked, found)).collect();
        match self.best(locked, &candidates) {
            Ok(best) => match &best.source {
                Source::File(path) => self.copy(locked, &best, path).map(Some),
                _ => Ok(None),
            },
            Err(_) => Ok(None),
        }
    }

    /// If one file alone fits, it need not be hashed before it is copied, which hashes it.
    fn only(&self, locked: &Locked, folders: &[Candidate]) -> Result<Option<Wheel>> {
        let mut fitting = folders.iter().filter(|candidate| self.rank(locked, &candidate.filename).is_some());
        let (Some(only), None) = (fitting.next(), fitting.next()) else { return Ok(None) };
        let Source::File(path) = &only.source else { return Ok(None) };
        let mut writer = self.writer()?;
        let copied = fs::open(path).map(|mut file| io::copy(&mut file, &mut writer).is_ok());
        // One that cannot be read is as good as none; one with another hash is told of where all are looked at.
        if copied.unwrap_or_default() && locked.hashes.contains(&writer.blob.digest()) {
            return self.finish(locked, only, writer.blob).map(Some);
        }
        self.wanted(locked)?;
        Ok(None)
    }

    /// A file of a folder that is one of this requirement; with its digest, if it is a wheel that fits.
    fn hashed(&self, locked: &Locked, candidate: &Candidate) -> Option<Candidate> {
        let Source::File(path) = &candidate.source else { return None };
        match self.rank(locked, &candidate.filename) {
            // One that cannot be read is as good as none.
            Some(_) => Some(Candidate { digest: Some(digest_of(path).ok()?), ..candidate.clone() }),
            None => belongs(&candidate.filename, locked).then(|| candidate.clone()),
        }
    }

    fn copy(&self, locked: &Locked, candidate: &Candidate, path: &Path) -> Result<Wheel> {
        let mut writer = self.writer()?;
        io::copy(&mut fs::open(path)?, &mut writer).map_err(fs::failed("read", path))?;
        self.finish(locked, candidate, writer.blob)
    }

    fn wanted(&self, locked: &Locked) -> Result<(), Error> {
        if !self.watch.unwanted.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::Unwanted { requirement: locked.requirement() })
    }

    fn writer(&self) -> Result<Wanted<'_>> {
        Ok(Wanted { blob: self.store.writer()?, unwanted: self.watch.unwanted })
    }

    /// Verifies what was written against the lock, and names it.
    fn finish(&self, locked: &Locked, candidate: &Candidate, writer: layer::BlobWriter) -> Result<Wheel> {
        let mismatch = |found: Digest| Error::HashMismatch {
            requirement: locked.requirement(),
            place: locked.place.clone(),
            file: shown(&candidate.filename),
            expected: locked.hashes.clone(),
            found,
        };
        let (digest, size) = match candidate.digest {
            Some(digest) => match writer.finish_as(&digest, None) {
                Ok(size) => (digest, size),
                Err(error) => {
                    let found = match error.cause().downcast_ref::<layer::Error>() {
                        Some(layer::Error::Digest { found, .. }) => found.parse().ok(),
                        _ => None,
                    };
                    return Err(found.map_or(error, |found| mismatch(found).into()));
                }
            },
            None => {
                let found = writer.digest();
                if !locked.hashes.contains(&found) {
                    return Err(mismatch(found).into());
                }
                writer.finish()?
            }
        };
        let wheel = self.wheel(locked, &candidate.filename, digest, size);
        // Here others are still on their way; when a layer is made, everything waits for it.
        OpenWheel::open(&wheel, self.store)?.verify_content(self.store)?;
        self.remember(locked, &wheel)?;
        (self.watch.arrived)(&wheel);
        Ok(wheel)
    }

    fn network(&self, http: &dyn Fn() -> Result<Http>, folders: Vec<Candidate>) -> Result<Network> {
        let indexes = self.indexes.locations()?;
        let pages: Vec<&Location> = self
            .indexes
            .options
            .links
            .iter()
            .filter_map(|links| match links {
                Links::Page(page) => Some(page),
                Links::Folder(_) => None,
            })
            .collect();
        let mut network = Network { http: http()?, indexes, pages: Vec::new(), folders };
        for page in pages {
            let listed = self.page(&network.http, page, page.url.clone())?.unwrap_or_default();
            network.pages.extend(listed.into_iter().map(|listed| candidate(listed, page)));
        }
        Ok(network)
    }

    /// Reads a page; `None` if the server does not have it.
    fn page(&self, http: &Http, index: &Location, url: Url) -> Result<Option<Vec<Listed>>> {
        let refuse = |reason| Error::Index { url: redacted(&url), reason };
        let mut request = Request::get(url.clone()).header("Accept", simple::ACCEPT);
        request.credentials = index.login.clone().or_else(|| self.indexes.credentials(&url));
        let response = match http.fetch(&request, PAGE_LIMIT) {
            Ok(response) => response,
            Err(error) if matches!(error.status(), Some(404 | 410)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let kind = response.header("content-type").unwrap_or_default().to_string();
        Ok(Some(simple::parse(&response.body, &kind, &response.url).map_err(refuse)?))
    }

    /// A wheel from an index.
    fn remote(&self, locked: &Locked, network: &Network) -> Result<Wheel> {
        self.wanted(locked)?;
        let mut candidates: Vec<Candidate> =
            network.pages.iter().filter(|candidate| belongs(&candidate.filename, locked)).cloned().collect();
        let mut failure = None;
        for index in &network.indexes {
            let refuse = || Error::Index { url: redacted(&index.url), reason: "it is not an http URL".into() };
            let mut url = index.url.clone();
            url.path_segments_mut().map_err(|()| refuse())?.pop_if_empty().extend([locked.name.as_str(), ""]);
            match self.page(&network.http, index, url) {
                Ok(listed) => candidates.extend(listed.into_iter().flatten().map(|listed| candidate(listed, index))),
                // Another index may have it; if none has, this is why.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // A pylock file decides by itself which wheel is the best; the index only says where it is.
        if !locked.files.is_empty() {
            let best = self.best(locked, &self.named(locked))?;
            candidates.retain(|candidate| candidate.filename == best.filename);
        }
        let best = match (self.best(locked, &candidates), failure) {
            (Ok(best), _) => best,
            (Err(_), Some(failure)) => {
                return Err(failure).during(|| format!("looking for `{}` ({})", locked.requirement(), locked.place));
            }
            (Err(_), None) => {
                candidates.extend(network.folders.iter().filter_map(|candidate| self.hashed(locked, candidate)));
                return Err(self.nothing(locked, &candidates).into());
            }
        };
        if let Some(reason) = &best.yanked {
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
            self.progress.message(&format!("`{}` ({}) was withdrawn{reason}", locked.requirement(), locked.place));
        }
        self.download(locked, &best, &network.http)
    }

    fn download(&self, locked: &Locked, best: &Candidate, http: &Http) -> Result<Wheel> {
        let Source::Url(url, index) = &best.source else {
            return Err(self.nothing(locked, &[]).into());
        };
        // Another image of the run may be fetching it; the blob may be there without a note of it.
        let wanted = || !self.watch.unwanted.load(Ordering::Relaxed);
        let _fetching = best.digest.map(|digest| self.store.fetching(&digest, &wanted));
        self.wanted(locked)?;
        if let Some(digest) = best.digest.filter(|digest| self.store.has(digest)) {
            let size = fs::symlink_metadata(&self.store.blob_path(&digest))?.len();
            let wheel = self.wheel(locked, &best.filename, digest, size);
            self.remember(locked, &wheel)?;
            (self.watch.arrived)(&wheel);
            return Ok(wheel);
        }
        let task = self.progress.task(&shown(&best.filename), best.size);
        let mut request = Request::get(url.clone());
        let own = index.login.clone().filter(|_| same_origin(url, &index.url));
        request.credentials = own.or_else(|| self.indexes.credentials(url));
        let mut writer = self.writer()?;
        http.download(&request, &mut writer, best.size.unwrap_or(WHEEL_LIMIT).min(WHEEL_LIMIT), &|n| task.advance(n))
            .during(|| format!("fetching `{}` ({})", locked.requirement(), locked.place))?;
        let wheel = self.finish(locked, best, writer.blob)?;
        task.finish("fetched");
        Ok(wheel)
    }
}

/// A blob that is written as long as somebody wants it.
struct Wanted<'a> {
    blob: layer::BlobWriter,
    unwanted: &'a AtomicBool,
}

impl Write for Wanted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unwanted.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody wants the wheel any more"));
        }
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

fn candidate(listed: Listed, index: &Location) -> Candidate {
    let Listed { filename, url, digest, size, yanked } = listed;
    Candidate { filename, digest, size, source: Source::Url(url, index.clone()), yanked }
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(&mut fs::open(path)?, &mut hasher as &mut dyn Write).map_err(fs::failed("read", path))?;
    Ok(hasher.finish())
}

/// Whether a file is one of this requirement: a wheel, or a source distribution by its usual name.
fn belongs(filename: &str, locked: &Locked) -> bool {
    if let Ok(name) = WheelName::parse(filename) {
        return name.name == locked.name && same_version(&name.version, &locked.version);
    }
    let stem = [".tar.gz", ".zip", ".tar.bz2", ".tgz"].iter().find_map(|suffix| filename.strip_suffix(suffix));
    stem.and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(name, version)| normalize(name) == locked.name && same_version(version, &locked.version))
}

/// The first few of a list.
fn some(items: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let all: Vec<String> = items.collect();
    let mut text: Vec<String> = all.iter().take(SHOWN).map(|item| format!("`{}`", shown(item))).collect();
    if all.len() > SHOWN {
        text.push(format!("{} more", all.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
