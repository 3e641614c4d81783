//! Files of archives into the store: indexes, and the .debs that indexes or the lock name with their hash.
//!
//! What is in the store is not fetched again: with a warm store nothing here needs a network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use url::Url;

use super::archive_error::ArchiveError;
use super::release::now;
use super::sources::Sources;
use super::{Location, Package};
use crate::error::{During, Result};
use crate::layer::{self, Store};
use crate::net::{self, Credentials, Http, Request, in_parallel, redacted};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::text::escape;

/// How many requests run at the same time.
pub(super) const PARALLEL: usize = 12;
/// The largest .deb, in bytes.
const DEB_LIMIT: u64 = 8 << 30;

/// What fetching works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where files go.
    pub store: &'a Store,
    /// Where to say what takes time.
    pub progress: &'a Progress,
    /// Makes the client; called only if something is missing.
    pub http: &'a (dyn Fn() -> Result<Http> + Sync),
    /// What time it is.
    pub(super) now: Timestamp,
}

impl<'a> Context<'a> {
    /// A context of now.
    pub fn new(store: &'a Store, progress: &'a Progress, http: &'a (dyn Fn() -> Result<Http> + Sync)) -> Context<'a> {
        Context { store, progress, http, now: now() }
    }
}

/// Puts the .debs of packages into the store; their digests in the same order. See [`fetch_locations`].
pub fn fetch_debs(packages: &[Arc<Package>], sources: &Sources, context: &Context<'_>) -> Result<Vec<Digest>> {
    let locations: Vec<Location> = packages.iter().filter_map(|package| package.location.clone()).collect();
    fetch_locations(&locations, sources, context, |_| Ok(()))
}

/// Puts .debs into the store; their digests in the same order.
///
/// Each is asked of its own archive, with that archive's credentials; if it is not there, or not what was promised,
/// the other archives of `sources` are asked: the digest decides what is believed.
///
/// What is to be done with a .deb is done by rayon's threads while others are fetched: `arrived` hears of each that
/// was not there before.
pub fn fetch_locations(
    locations: &[Location],
    sources: &Sources,
    context: &Context<'_>,
    arrived: impl Fn(&Location) -> Result<()> + Sync,
) -> Result<Vec<Digest>> {
    let missing: BTreeMap<Digest, &Location> = locations
        .iter()
        .filter(|location| !context.store.has(&location.sha256))
        .map(|location| (location.sha256, location))
        .collect();
    if !missing.is_empty() {
        let http = (context.http)()?;
        // The largest first: the last one to arrive decides when all are there.
        let mut missing: Vec<&Location> = missing.into_values().collect();
        missing.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        let failures = Mutex::new(BTreeMap::new());
        rayon::in_place_scope(|scope| {
            let (failures, arrived) = (&failures, &arrived);
            in_parallel(&missing, PARALLEL, |location| {
                fetch_one(location, sources, context, &http)?;
                let location: &Location = location;
                scope.spawn(move |_| {
                    if let Err(error) = arrived(location) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).insert(&location.path, error);
                    }
                });
                Ok(())
            })
        })?;
        // Of several failures the first one by name, whatever was done first.
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.into_values().next().map_or(Ok(()), Err)?;
    }
    Ok(locations.iter().map(|location| location.sha256).collect())
}

fn fetch_one(location: &Location, sources: &Sources, context: &Context<'_>, http: &Http) -> Result<()> {
    let name = escape(location.path.rsplit('/').next().unwrap_or_default());
    let others = sources.sources.iter().map(|source| source.archive.as_str());
    let mut archives: Vec<&str> = vec![&location.archive];
    for other in others {
        if !archives.contains(&other) {
            archives.push(other);
        }
    }
    let mut failure = None;
    for archive in archives {
        let known = sources.sources.iter().filter(|source| source.archive.as_str() == archive);
        let credentials = known.filter_map(|source| source.credentials.clone()).next();
        let wanted = Wanted { size: location.size.min(DEB_LIMIT), sha256: location.sha256 };
        let fetched = below(archive, &location.path)
            .map_err(Into::into)
            .and_then(|url| download(&url, credentials, &name, wanted, context, http));
        match fetched {
            Ok(()) => return Ok(()),
            // What its own archive says of it explains more than that others do not have it.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err).during(|| format!("fetching `{name}`"))
}

/// What a file must be.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub size: u64,
    pub sha256: Digest,
}

/// Fetches a file into the store, verified.
pub(super) fn download(
    url: &Url,
    credentials: Option<Credentials>,
    name: &str,
    wanted: Wanted,
    context: &Context<'_>,
    http: &Http,
) -> Result<()> {
    let task = context.progress.task(name, Some(wanted.size));
    let mut request = Request::get(url.clone());
    request.credentials = credentials;
    let mut writer = context.store.writer()?;
    let mismatch = |expected: String, found: String| ArchiveError::Mismatch { url: redacted(url), expected, found };
    match http.download(&request, &mut writer, wanted.size, &|n| task.advance(n)) {
        Ok(_) => {}
        Err(net::Error::TooLarge { .. }) => {
            return Err(mismatch(format!("{} bytes", wanted.size), "more".into()).into());
        }
        Err(error) => return Err(error.into()),
    }
    let length = writer.length();
    if length != wanted.size {
        return Err(mismatch(format!("{} bytes", wanted.size), format!("{length}")).into());
    }
    match writer.finish_as(&wanted.sha256, None) {
        Ok(_) => {
            task.finish("fetched");
            Ok(())
        }
        Err(error) => match error.cause().downcast_ref::<layer::Error>() {
            Some(layer::Error::Digest { found, .. }) => Err(mismatch(wanted.sha256.to_string(), found.clone()).into()),
            _ => Err(error),
        },
    }
}

/// The URL of a file below a folder. Every character of the path is itself, `%` and `?` too.
pub(super) fn below(folder: &str, path: &str) -> Result<Url, ArchiveError> {
    let refuse = || ArchiveError::Malformed {
        url: escape(&folder.chars().take(200).collect::<String>()),
        reason: "it is no http URL".into(),
    };
    let mut url = Url::parse(folder).map_err(|_| refuse())?;
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    url.path_segments_mut().map_err(|()| refuse())?.pop_if_empty().extend(parts);
    Ok(url)
}
