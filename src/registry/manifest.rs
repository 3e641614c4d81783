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
        let response = expect_success(response, &Method::GET, &Scope::PULL, at, &what)?;
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
        let response = expect_success(response, &Method::HEAD, &Scope::PULL, at, &format!("manifest `{at}`"))?;
        Ok(response.header("docker-content-digest").and_then(|text| text.parse().ok()))
    }

    /// Whether the reference leads to exactly this manifest or index already: then the registry has all that it lists.
    /// It is asked once; a registry that does not say so clearly is taken not to have it.
    pub fn holds(&self, at: &Reference, digest: Digest) -> bool {
        let Ok(call) = self.manifest_call(Method::HEAD, at) else { return false };
        let answer = self.send(at, &Scope::PUSH, &call.once(), 0);
        let claim =
            |response: &Response| response.header("docker-content-digest").map(|claim| claim.trim().to_string());
        answer.is_ok_and(|response| response.status == 200 && claim(&response) == Some(digest.to_string()))
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
            match expect_success(response, &Method::PUT, &Scope::PUSH, to, &what) {
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
            let response =
                expect_success(response, &Method::GET, &Scope::PULL, at, &format!("repository `{}`", at.name()))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};
    use crate::oci::{Document, media_type};
    use crate::registry::testing::{Act, Server, at, client};

    const BODY: &[u8] = br#"{"schemaVersion":2}"#;

    fn registry() -> (Registry, tempfile::TempDir) {
        client("{}")
    }

    #[test]
    fn a_manifest_comes_with_its_type_and_its_digest() {
        let server = Server::start(|_| {
            Act::body(200, BODY).with("Content-Type", "x/y").with("Docker-Content-Digest", Digest::of(BODY).to_string())
        });
        let fetched = registry().0.manifest(&at(&server, "a/b:1")).unwrap();
        assert_eq!(fetched, Fetched { bytes: BODY.into(), content_type: Some("x/y".into()), digest: Digest::of(BODY) });
        let seen = &server.seen()[0];
        assert_eq!(seen.target, "/v2/a/b/manifests/1");
        assert_eq!(seen.header("accept").unwrap().split(", ").count(), 4);
        assert_eq!(registry().0.head(&at(&server, "a/b:1")).unwrap(), Some(Digest::of(BODY)));
    }

    #[test]
    fn lies_about_digests_are_found_out() {
        let other = Digest::of(b"other");
        let server = Server::start(move |seen| match seen.path() {
            "/v2/liar/manifests/1" => Act::body(200, BODY).with("Docker-Content-Digest", other.to_string()),
            "/v2/vague/manifests/1" => Act::body(200, BODY).with("Docker-Content-Digest", "sha256:xyz"),
            "/v2/modern/manifests/1" => Act::body(200, BODY).with("Docker-Content-Digest", "sha512:xyz"),
            _ => Act::body(200, BODY),
        });
        let (registry, _file) = registry();
        for name in ["liar:1", "vague:1"] {
            let error = registry.manifest(&at(&server, name)).unwrap_err();
            assert!(matches!(error, Error::Digest { .. }) && error.class() == Class::Verification, "{error}");
            assert!(error.hint().is_some());
        }
        registry.manifest(&at(&server, "modern:1")).unwrap();
        let error = registry.manifest(&at(&server, "a").pinned(other)).unwrap_err();
        assert!(error.to_string().contains(&format!("expected {other}, found {}", Digest::of(BODY))), "{error}");
        assert_eq!(registry.manifest(&at(&server, "a").pinned(Digest::of(BODY))).unwrap().bytes, BODY);
    }

    #[test]
    fn a_manifest_that_is_too_large_or_of_another_type_is_refused() {
        let body = format!(r#"{{"schemaVersion":2,"mediaType":"{}"}}"#, media_type::MANIFEST);
        let server = Server::start(move |seen| match seen.path() {
            "/v2/huge/manifests/1" => Act::body(200, b"x").length(Some(100 << 20)),
            _ => Act::body(200, body.as_bytes()).with("Content-Type", media_type::INDEX),
        });
        let error = registry().0.manifest(&at(&server, "huge:1")).unwrap_err();
        assert!(matches!(error, Error::Net(_)) && error.class() == Class::Verification, "{error}");
        let fetched = registry().0.manifest(&at(&server, "a:1")).unwrap();
        assert!(Document::parse(&fetched.bytes, fetched.content_type.as_deref()).is_err());
    }

    #[test]
    fn absence_is_said_with_the_reference() {
        let server = Server::start(|seen| match seen.path() {
            "/v2/a/manifests/1" => {
                Act::body(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            }
            _ => Act::body(418, b"tea"),
        });
        let (registry, _file) = registry();
        let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
        let expected =
            format!("manifest `{}/a:1` is not in the registry: MANIFEST_UNKNOWN manifest unknown", server.authority());
        assert_eq!(error.to_string(), expected);
        assert_eq!(registry.head(&at(&server, "a:1")).unwrap(), None);
        let error = registry.manifest(&at(&server, "b:1")).unwrap_err();
        assert!(matches!(error, Error::Refused { status: 418, .. }), "{error}");
        assert!(error.to_string().ends_with("status 418: tea"), "{error}");
    }

    #[test]
    fn only_a_clear_answer_says_that_it_is_there() {
        let server = Server::start(|seen| match seen.path() {
            "/v2/same/manifests/1" => Act::status(200).with("Docker-Content-Digest", Digest::of(BODY).to_string()),
            "/v2/error/manifests/1" => Act::status(500).with("Docker-Content-Digest", Digest::of(BODY).to_string()),
            "/v2/other/manifests/1" => Act::status(200).with("Docker-Content-Digest", Digest::of(b"x").to_string()),
            "/v2/silent/manifests/1" => Act::status(200),
            _ => Act::status(404),
        });
        let (registry, _file) = registry();
        let holds = |name: &str| registry.holds(&at(&server, name), Digest::of(BODY));
        assert!(holds("same:1") && !["error:1", "other:1", "silent:1", "none:1"].iter().any(|name| holds(name)));
        assert!(server.seen().iter().all(|seen| seen.method == "HEAD" && seen.earlier == 0), "each asked once");
    }

    #[test]
    fn a_pushed_manifest_is_sent_again_until_its_blobs_are_seen() {
        let server = Server::start(|seen| match (seen.path(), seen.earlier) {
            ("/v2/late/manifests/1", 2) => Act::status(201),
            ("/v2/liar/manifests/1", _) => {
                Act::status(201).with("Docker-Content-Digest", Digest::of(b"other").to_string())
            }
            ("/v2/by-digest/manifests/1", _) => Act::status(500),
            (path, _) if path.contains("sha256:") => Act::status(201),
            _ => Act::body(404, br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#),
        });
        let (registry, _file) = registry();
        let digest = Digest::of(BODY);
        assert_eq!(registry.push_manifest(&at(&server, "late:1"), BODY, media_type::MANIFEST).unwrap(), digest);
        let seen = server.seen();
        assert_eq!((seen.len(), seen[0].header("content-type")), (3, Some(media_type::MANIFEST)));
        assert_eq!(seen[0].body, BODY);
        let error = registry.push_manifest(&at(&server, "never:1"), BODY, "x/y").unwrap_err();
        assert!(matches!(&error, Error::Refused { code: Some(code), .. } if code == "MANIFEST_BLOB_UNKNOWN"));
        assert!(error.hint().unwrap().contains("push again"));
        let error = registry.push_manifest(&at(&server, "liar:1"), BODY, "x/y").unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{error}");
        // By digest, and without a Location in the answer.
        assert_eq!(registry.push_manifest(&at(&server, "by-digest").pinned(digest), BODY, "x/y").unwrap(), digest);
        let wrong = at(&server, "by-digest").pinned(Digest::of(b"other"));
        assert!(matches!(registry.push_manifest(&wrong, BODY, "x/y"), Err(Error::Digest { .. })));
    }

    #[test]
    fn tags_are_read_page_by_page_and_not_for_ever() {
        let server = Server::start(|seen| match seen.target.as_str() {
            "/v2/a/tags/list?n=1000" => {
                Act::body(200, br#"{"name":"a","tags":["1","2"]}"#).with("Link", r#"<list?n=1000&last=2>; rel="next""#)
            }
            "/v2/a/tags/list?n=1000&last=2" => Act::body(200, br#"{"name":"a","tags":null}"#),
            "/v2/odd/tags/list?n=1000" => Act::body(200, b"[]"),
            _ => Act::body(200, br#"{"tags":["x"]}"#).with("Link", "<list?n=1000>; rel=next"),
        });
        let (registry, _file) = registry();
        assert_eq!(registry.tags(&at(&server, "a")).unwrap(), ["1", "2"]);
        let error = registry.tags(&at(&server, "loop")).unwrap_err();
        assert!(
            matches!(&error, Error::Protocol { .. }) && error.to_string().contains("more than 100 pages"),
            "{error}"
        );
        assert!(matches!(registry.tags(&at(&server, "odd")), Err(Error::Protocol { .. })));
    }
}
