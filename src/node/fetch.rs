//! From a selection to tarballs in the store: each is checked against the lock before it has a name there.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::config::Registries;
use super::integrity::Check;
use super::select::{Origin, Package};
use super::{Error, document, registry};
use crate::error::{During, Result};
use crate::layer::{BlobWriter, Bucket, Store};
use crate::net::{self, Http, Request, in_parallel, redacted};
use crate::oci::{Digest, json};
use crate::progress::{Progress, Task};

/// How many requests run at the same time.
const PARALLEL: usize = 16;
/// The largest tarball, in bytes.
const TARBALL_LIMIT: u64 = 2 << 30;
/// The largest document of a package, in bytes.
const DOCUMENT_LIMIT: u64 = 64 << 20;
/// The version of what is remembered of a tarball.
const NOTE_VERSION: u32 = 1;
/// What is asked for: the short form of a package's document.
const ACCEPT: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";

/// A tarball in the store. Its integrity held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tarball {
    /// Under which digest it is there.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Puts the tarball of each package into the store; in the order of `packages`, `None` for one that is in another's.
///
/// `registries` and `http` are called at most once, and not at all if everything is in the store.
pub fn fetch(
    packages: &[Package],
    place: &str,
    registries: &(dyn Fn() -> Result<Registries> + Sync),
    http: &dyn Fn() -> Result<Http>,
    store: &Store,
    progress: &Progress,
) -> Result<Vec<Option<Tarball>>> {
    // The same package may be in several places.
    let mut wanted: BTreeMap<String, (&Package, &Origin, Option<Tarball>)> = BTreeMap::new();
    for package in packages {
        let Some(origin) = &package.tarball else { continue };
        let name = origin.integrity.to_string();
        if let std::collections::btree_map::Entry::Vacant(free) = wanted.entry(name) {
            free.insert((package, origin, known(origin, store)?));
        }
    }
    let missing: Vec<(&Package, &Origin)> =
        wanted.values().filter(|(.., known)| known.is_none()).map(|(package, origin, _)| (*package, *origin)).collect();
    if !missing.is_empty() {
        let registries = registries()?;
        registries.warnings.iter().for_each(|warning| progress.message(&format!("warning: {warning}")));
        let task = progress.task("packages", None);
        let job = Job { place, registries: &registries, http: http()?, store, task: &task };
        let found = in_parallel(&missing, PARALLEL, |(package, origin)| {
            job.tarball(package, origin).during(|| format!("fetching `{}`", package.called()))
        })?;
        task.finish(&format!("{} fetched", found.len()));
        for ((_, origin), tarball) in missing.iter().zip(found) {
            if let Some((.., known)) = wanted.get_mut(&origin.integrity.to_string()) {
                *known = Some(tarball);
            }
        }
    }
    let tarball = |package: &Package| wanted.get(&package.tarball.as_ref()?.integrity.to_string())?.2;
    Ok(packages.iter().map(tarball).collect())
}

/// The name of what is remembered: which hashes were found to be those of which blob.
fn note(origin: &Origin) -> String {
    format!("npm-v{NOTE_VERSION}-{}", Digest::of(origin.integrity.to_string().as_bytes()).hex())
}

fn known(origin: &Origin, store: &Store) -> Result<Option<Tarball>> {
    let Some(bytes) = store.get_entry(Bucket::Index, &note(origin), 1 << 12)? else { return Ok(None) };
    // A note that cannot be read is no note.
    Ok(serde_json::from_slice::<Tarball>(&bytes).ok().filter(|tarball| store.has(&tarball.digest)))
}

struct Job<'a> {
    place: &'a str,
    registries: &'a Registries,
    http: Http,
    store: &'a Store,
    task: &'a Task,
}

impl Job<'_> {
    fn tarball(&self, package: &Package, origin: &Origin) -> Result<Tarball> {
        let resolved = origin.resolved.as_deref().map(|text| self.url(text)).transpose()?;
        let url = self.registries.tarball(&package.name, &package.version, resolved.as_ref())?;
        match self.download(package, origin, &url) {
            // Not every registry has its tarballs where others do; its document says where.
            Err(error) if resolved.is_none() && is_absent(&error) => {
                match self.documented(package)?.filter(|other| *other != url) {
                    Some(other) => self.download(package, origin, &other),
                    None => Err(error),
                }
            }
            other => other,
        }
    }

    fn url(&self, text: &str) -> Result<Url, Error> {
        Url::parse(text).map_err(|error| Error::Document {
            place: self.place.to_string(),
            reason: format!("a `resolved` is not a URL: {error}"),
        })
    }

    fn request(&self, url: &Url, package: &Package) -> Request {
        let request = Request::get(url.clone());
        match self.registries.login_for(url, &package.name) {
            Some(login) => request.header("Authorization", &login.header),
            None => request,
        }
    }

    /// Where the registry's document says that a tarball is; `None` if it does not say so.
    fn documented(&self, package: &Package) -> Result<Option<Url>> {
        let url = registry::document(&self.registries.of_package(&package.name)?, &package.name);
        let answer = self.http.fetch(&self.request(&url, package).header("Accept", ACCEPT), DOCUMENT_LIMIT);
        let body = match answer {
            Ok(answer) => answer.body,
            Err(error) if matches!(error.status(), Some(404 | 410)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let told: Value = document::parse(&body, &redacted(&url))?;
        let version = told.get("versions").and_then(|versions| versions.get(&package.version));
        let tarball = version.and_then(|version| version.get("dist")?.get("tarball")?.as_str());
        Ok(tarball.and_then(|text| Url::parse(text).ok()))
    }

    fn download(&self, package: &Package, origin: &Origin, url: &Url) -> Result<Tarball> {
        let mut writer = Checked { blob: self.store.writer()?, check: origin.integrity.check() };
        self.http.download(&self.request(url, package), &mut writer, TARBALL_LIMIT, &|n| self.task.advance(n))?;
        if let Err(found) = writer.check.finish() {
            return Err(Error::Mismatch {
                package: package.called(),
                place: self.place.to_string(),
                url: redacted(url),
                expected: origin.integrity.to_string(),
                found,
            }
            .into());
        }
        let (digest, size) = writer.blob.finish()?;
        let tarball = Tarball { digest, size };
        self.store.put_entry(Bucket::Index, &note(origin), &json::canonical(&tarball))?;
        Ok(tarball)
    }
}

/// Whether the server says that it has no such file.
fn is_absent(error: &crate::error::Error) -> bool {
    let status = error.cause().downcast_ref::<net::Error>().and_then(net::Error::status);
    matches!(status, Some(404 | 410))
}

/// A blob that is hashed as the lock wants it while it is written.
struct Checked<'a> {
    blob: BlobWriter,
    check: Check<'a>,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.blob.write(bytes)?;
        self.check.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
