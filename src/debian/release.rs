//! Release files: what a suite consists of, signed (apt-secure(8), the wiki's RepositoryFormat).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use url::Url;

use super::archive_error::ArchiveError;
use super::armor;
use super::preferences::Pocket;
use super::signature::{self, SKEW, When};
use super::sources::Source;
use super::{Paragraph, fetch};
use crate::error::Result;
use crate::net::{Http, Request, redacted};
use crate::oci::Digest;

/// The largest Release file, in bytes.
const RELEASE_LIMIT: u64 = 32 << 20;
/// The largest detached signature, in bytes.
const SIGNATURE_LIMIT: u64 = 1 << 20;

/// What distributions call the parts of a release; one that ends as another does comes before it.
const POCKETS: [&str; 6] = ["backports-sloppy", "proposed-updates", "backports", "security", "updates", "proposed"];

/// The dates of the Release files that a lock knows, by archive and suite: RFC 3339, as [`super::ReleaseInfo`] says
/// them. An older one is not believed.
pub type Floor = BTreeMap<(String, String), String>;

/// A file of the suite, as the Release file lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub size: u64,
    pub sha256: Digest,
}

/// A verified Release file.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// What pins look at.
    pub pocket: Pocket,
    pub date: Timestamp,
    pub valid_until: Option<Timestamp>,
    pub architectures: Vec<String>,
    /// `Acquire-By-Hash`.
    pub by_hash: bool,
    /// `No-Support-for-Architecture-all: Packages`: those for all are in each architecture's index, too.
    pub all_is_inside: bool,
    /// By path, relative to the Release file.
    pub files: BTreeMap<String, Listed>,
    /// The digest of the file that was signed.
    pub sha256: Digest,
}

/// Now. It decides what has expired, and reaches no byte of an image.
#[allow(clippy::disallowed_methods, reason = "signatures and indexes expire by the clock")]
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_second(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

impl Release {
    /// Fetches a suite's InRelease, or Release and Release.gpg, and believes it only if all holds.
    pub(super) fn fetch(source: &Source, http: &Http, floor: &Floor, now: Timestamp) -> Result<Release> {
        let get = |name: &str, limit: u64| -> Result<Option<(String, Vec<u8>)>> {
            let url = fetch::below(&source.release_folder(), name)?;
            let mut request = Request::get(url.clone());
            request.credentials = source.credentials.clone();
            match http.fetch(&request, limit) {
                Ok(response) => Ok(Some((redacted(&url), response.body))),
                Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let when = When { now: now.as_second(), then: !source.check_valid_until };
        let (url, text, sha256) = match get("InRelease", RELEASE_LIMIT)? {
            Some((url, bytes)) => {
                let message = armor::clearsigned(&bytes).map_err(|reason| malformed(&url, reason))?;
                verify(&url, &message.signatures, message.signed.as_bytes(), source, when)?;
                (url, message.text, Digest::of(&bytes))
            }
            None => {
                let unsigned = || ArchiveError::Unsigned {
                    suite: source.suite.clone(),
                    url: source.release_folder(),
                    trusted: source.trusted,
                };
                let (url, bytes) = get("Release", RELEASE_LIMIT)?.ok_or_else(unsigned)?;
                let (_, packets) = get("Release.gpg", SIGNATURE_LIMIT)?.ok_or_else(unsigned)?;
                let packets = armor::signatures(&packets).map_err(|reason| malformed(&url, reason))?;
                verify(&url, &packets, &bytes, source, when)?;
                let digest = Digest::of(&bytes);
                let text = String::from_utf8(bytes).map_err(|_| malformed(&url, "it is not UTF-8"))?;
                (url, text, digest)
            }
        };
        let release = Release::parse(&text, &url, source, sha256)?;
        release.check(&url, source, floor, now)?;
        Ok(release)
    }

    fn parse(text: &str, url: &str, source: &Source, sha256: Digest) -> Result<Release, ArchiveError> {
        // More than one paragraph: readers would not agree which one counts.
        if super::paragraphs(text).count() != 1 {
            return Err(malformed(url, "it is not one paragraph"));
        }
        let paragraph = Paragraph::parse(text);
        let field = |name: &str| paragraph.get(name).unwrap_or_default().to_string();
        let yes = |name: &str| paragraph.get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let time = |name: &str| match paragraph.get(name) {
            Some(text) => date(text).map(Some).ok_or_else(|| malformed(url, &format!("its `{name}` is no date"))),
            None => Ok(None),
        };
        Ok(Release {
            pocket: Pocket {
                suite: field("Suite"),
                codename: field("Codename"),
                origin: field("Origin"),
                label: field("Label"),
                version: field("Version"),
                component: String::new(),
                host: source.archive.host_str().unwrap_or_default().to_string(),
                not_automatic: yes("NotAutomatic"),
                automatic_upgrades: yes("ButAutomaticUpgrades"),
            },
            date: time("Date")?.ok_or_else(|| malformed(url, "it has no `Date`"))?,
            valid_until: time("Valid-Until")?,
            architectures: field("Architectures").split_whitespace().map(str::to_string).collect(),
            by_hash: yes("Acquire-By-Hash"),
            all_is_inside: field("No-Support-for-Architecture-all").split_whitespace().any(|what| what == "Packages"),
            files: files(&field("SHA256")).map_err(|reason| malformed(url, reason))?,
            sha256,
        })
    }

    fn check(&self, url: &str, source: &Source, floor: &Floor, now: Timestamp) -> Result<(), ArchiveError> {
        let url = url.to_string();
        if !source.components.is_empty() {
            self.check_suite(&url, &source.suite)?;
        }
        if self.date.as_second() > now.as_second().saturating_add(SKEW) {
            return Err(ArchiveError::Future { url, date: self.date.to_string() });
        }
        if let Some(until) = self.valid_until.filter(|until| source.check_valid_until && *until < now) {
            return Err(ArchiveError::Expired { url, until: until.to_string() });
        }
        let Some(known) = floor.get(&(source.archive.to_string(), source.suite.clone())) else { return Ok(()) };
        match known.parse::<Timestamp>() {
            Ok(known) if known <= self.date => Ok(()),
            _ => {
                let expected = known.escape_debug().take(40).collect();
                Err(ArchiveError::Older { url, expected, found: self.date.to_string() })
            }
        }
    }

    /// A Release file of another suite, however well signed, is not the one that was asked for.
    fn check_suite(&self, url: &str, asked: &str) -> Result<(), ArchiveError> {
        let named = [&self.pocket.suite, &self.pocket.codename];
        // Old security suites were `buster/updates`, with the code name `buster`.
        let base = asked.strip_suffix("/updates").unwrap_or(asked);
        let own = |name: &&&String| ***name == asked || ***name == base;
        let known = named.iter().any(|name| own(&name)) || named.iter().all(|name| name.is_empty());
        if known && !self.is_of_other_pocket(asked, base) {
            return Ok(());
        }
        let found: String =
            named.iter().filter(|name| !name.is_empty()).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        Err(ArchiveError::OtherSuite {
            url: url.to_string(),
            expected: asked.to_string(),
            found: found.escape_debug().take(100).collect(),
        })
    }

    /// Ubuntu gives all pockets of a release one code name: `jammy` is that of `jammy-proposed`, too.
    fn is_of_other_pocket(&self, asked: &str, base: &str) -> bool {
        let Pocket { suite, codename, .. } = &self.pocket;
        if suite == asked || suite == base {
            return false;
        }
        let wanted = if asked == base { ending(asked) } else { "security" };
        let below = suite.strip_prefix(codename.as_str()).filter(|_| !codename.is_empty());
        let found = below.and_then(|rest| rest.strip_prefix('-')).unwrap_or_else(|| ending(suite));
        !found.is_empty() && found != wanted
    }

    /// Whether it is a security pocket.
    pub(super) fn is_security(&self, suite: &str) -> bool {
        suite.ends_with("-security") || suite.ends_with("/updates") || self.pocket.label.ends_with("-Security")
    }
}

/// The pocket that a suite's name ends in: "security" of `oldstable-security`; nothing if there is none.
fn ending(suite: &str) -> &'static str {
    let ends = |pocket: &&str| suite.strip_suffix(*pocket).is_some_and(|start| start.ends_with('-'));
    POCKETS.into_iter().find(ends).unwrap_or_default()
}

fn malformed(url: &str, reason: &str) -> ArchiveError {
    ArchiveError::Malformed { url: url.to_string(), reason: reason.to_string() }
}

fn verify(url: &str, packets: &[u8], data: &[u8], source: &Source, when: When) -> Result<(), ArchiveError> {
    match signature::verify(packets, data, &source.keys, when) {
        Ok(_) => Ok(()),
        Err(reasons) => Err(ArchiveError::Signature { url: url.to_string(), reasons }),
    }
}

/// ` DIGEST SIZE PATH` per line.
fn files(text: &str) -> Result<BTreeMap<String, Listed>, &'static str> {
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a line of its `SHA256` is not digest, size and path");
        };
        let sha256 = Digest::from_hex(digest).map_err(|_| "a line of its `SHA256` has no digest")?;
        let size = size.parse().map_err(|_| "a line of its `SHA256` has no size")?;
        let listed = Listed { size, sha256 };
        if found.insert(path.to_string(), listed).is_some_and(|other: Listed| other != listed) {
            return Err("its `SHA256` has a file twice");
        }
    }
    match found.is_empty() {
        true => Err("it has no `SHA256`"),
        false => Ok(found),
    }
}

/// `Sat, 10 Jun 2023 08:54:07 UTC`, as RFC 5322 writes it, always in UTC.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if time.next().is_some() || !matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000") || words.next().is_some() {
        return None;
    }
    let (year, day) = (year.parse().ok()?, day.parse().ok()?);
    let local = DateTime::new(year, i8::try_from(month).ok()?, day, hour, minute, second, 0).ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The URL of a file that a Release file lists.
pub(super) fn listed_url(source: &Source, path: &str) -> Result<Url, ArchiveError> {
    fetch::below(&source.release_folder(), path)
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
