//! Manifests, indexes and tags.

use std::thread;

use serde::Deserialize;

use super::client::{Scope, odd};
use super::error::expect_success;
use super::location::next_page;
use super::{Error, Registry, Result};
use crate::net::{Call, Method, Response};
use crate::oci::{DOCUMENT_LIMIT, Digest, Reference, media_type};

/// How many pages of tags are read.
const PAGE_LIMIT: usize = 100;
/// How many tags a page should have.
const PAGE_SIZE: usize = 1000;
/// How often a manifest is sent again when the registry does not see its blobs yet.
const BLOB_UNKNOWN_RETRIES: u32 = 3;

/// A manifest or an index as it came, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What the registry says they are.
    pub content_type: Option<String>,
    /// Their digest, computed here.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

/// "latest" or "sha256:...": the digest decides where both are given.
fn selector(at: &Reference) -> String {
    at.digest().map(|digest| digest.to_string()).unwrap_or_else(|| at.tag().unwrap_or("latest").to_string())
}

impl Registry {
    /// A manifest or an index by tag or digest, verified against the reference and the registry's own claim.
    pub fn manifest(&self, at: &Reference) -> Result<Fetched> {
        let call = self.manifest_call(Method::GET, at)?;
        let response = self.send(at, &Scope::PULL, &call, DOCUMENT_LIMIT)?;
        let what = format!("manifest `{at}`");
        let response = expect_success(response, &Method::GET, at, &what)?;
        let digest = Digest::of(&response.body);
        if let Some(expected) = at.digest().filter(|expected| *expected != digest) {
            return Err(Error::Digest { what, expected, found: digest.to_string() });
        }
        check_claim(&response, digest, &what)?;
        let content_type = response.header("content-type").map(str::to_string);
        Ok(Fetched { content_type, digest, bytes: response.body })
    }

    /// The digest of a tag, if the registry says. `None`: there is no such manifest, or it does not say.
    pub fn head(&self, at: &Reference) -> Result<Option<Digest>> {
        let call = self.manifest_call(Method::HEAD, at)?;
        let response = self.send(at, &Scope::PULL, &call, 0)?;
        if response.status == 404 {
            return Ok(None);
        }
        let response = expect_success(response, &Method::HEAD, at, &format!("manifest `{at}`"))?;
        Ok(response.header("docker-content-digest").and_then(|text| text.parse().ok()))
    }

    fn manifest_call(&self, method: Method, at: &Reference) -> Result<Call> {
        let url = self.url(at, &format!("manifests/{}", selector(at)))?;
        Ok(Call::new(method, url).header("Accept", &media_type::ACCEPT.join(", ")))
    }

    /// Pushes a manifest or an index, by tag where the reference has one, else by digest.
    pub fn push_manifest(&self, to: &Reference, bytes: &[u8], media_type: &str) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let what = format!("manifest `{to}`");
        if let Some(expected) = to.digest().filter(|expected| *expected != digest) {
            return Err(Error::Digest { what, expected, found: digest.to_string() });
        }
        let name = to.tag().map_or_else(|| digest.to_string(), str::to_string);
        let url = self.url(to, &format!("manifests/{name}"))?;
        let call = Call::new(Method::PUT, url).header("Content-Type", media_type).body(bytes.to_vec());
        let pace = self.http().pace();
        let mut attempt = 1;
        loop {
            let response = self.send(to, &Scope::PUSH, &call, DOCUMENT_LIMIT)?;
            match expect_success(response, &Method::PUT, to, &what) {
                // Blobs that were just pushed may take a moment until every server of the registry sees them.
                Err(error)
                    if attempt <= BLOB_UNKNOWN_RETRIES
                        && matches!(error.code(), Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN")) =>
                {
                    thread::sleep(pace.pause(attempt));
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(response) => {
                    check_claim(&response, digest, &what)?;
                    return Ok(digest);
                }
            }
        }
    }

    /// All tags of a repository, in the registry's order.
    pub fn tags(&self, at: &Reference) -> Result<Vec<String>> {
        let mut url = self.url(at, &format!("tags/list?n={PAGE_SIZE}"))?;
        let mut tags = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let response = self.send(at, &Scope::PULL, &Call::new(Method::GET, url.clone()), DOCUMENT_LIMIT)?;
            let response = expect_success(response, &Method::GET, at, &format!("repository `{}`", at.name()))?;
            let page: TagPage =
                serde_json::from_slice(&response.body).map_err(|_| odd(&url, "its list of tags is malformed"))?;
            tags.extend(page.tags.unwrap_or_default());
            match next_page(&response)? {
                Some(next) => url = next,
                None => return Ok(tags),
            }
        }
        Err(odd(&url, format!("its list of tags has more than {PAGE_LIMIT} pages")))
    }
}

/// Compares `Docker-Content-Digest`, if it is there and a sha256, with the digest of the bytes.
pub(super) fn check_claim(response: &Response, digest: Digest, what: &str) -> Result<()> {
    match response.header("docker-content-digest").map(str::trim) {
        Some(claim) if claim.starts_with("sha256:") && claim != digest.to_string() => Err(Error::Digest {
            what: what.to_string(),
            expected: digest,
            found: claim.chars().filter(|c| c.is_ascii_graphic()).take(71).collect(),
        }),
        _ => Ok(()),
    }
}
