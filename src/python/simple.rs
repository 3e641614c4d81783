//! Pages of a package index: JSON (PEP 691) where the server has it, else HTML (PEP 503).

use std::collections::BTreeMap;

use html5gum::{Token, Tokenizer};
use serde::Deserialize;
use url::Url;

use crate::oci::Digest;

/// What is asked for, the better form first.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// A file that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, not yet checked.
    pub filename: String,
    /// Where it is.
    pub url: Url,
    /// Its sha256, if the index says one.
    pub digest: Option<Digest>,
    /// Its length in bytes, if the index says it.
    pub size: Option<u64>,
    /// Why it was withdrawn, if it was; may be empty.
    pub yanked: Option<String>,
}

/// Parses a page by its content type. `url` is where it came from, after redirects.
pub fn parse(body: &[u8], content_type: &str, url: &Url) -> Result<Vec<Listed>, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => json(body, url),
        "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" | "" => Ok(html(body, url)),
        other => Err(format!("its page has the type `{}`, expected JSON or HTML", super::names::shown(other))),
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    meta: Meta,
    files: Vec<PageFile>,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(rename = "api-version", default)]
    version: String,
}

#[derive(Deserialize)]
struct PageFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    #[serde(default)]
    yanked: Yanked,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
    Absent(()),
}

impl Default for Yanked {
    fn default() -> Self {
        Yanked::Absent(())
    }
}

fn json(body: &[u8], base: &Url) -> Result<Vec<Listed>, String> {
    let page: Page =
        serde_json::from_slice(body).map_err(|error| format!("its page is not JSON as expected: {error}"))?;
    if !page.meta.version.is_empty() && !page.meta.version.starts_with("1.") {
        return Err(format!("its pages have version `{}`, expected 1", super::names::shown(&page.meta.version)));
    }
    let listed = page.files.into_iter().filter_map(|file| {
        let url = location(base, &file.url)?;
        let digest = file.hashes.get("sha256").and_then(|hash| Digest::from_hex(&hash.to_ascii_lowercase()).ok());
        let yanked = match file.yanked {
            Yanked::Flag(true) => Some(String::new()),
            Yanked::Reason(reason) => Some(reason),
            Yanked::Flag(false) | Yanked::Absent(()) => None,
        };
        Some(Listed { filename: file.filename, url, digest, size: file.size, yanked })
    });
    Ok(listed.collect())
}

/// An absolute URL that can be fetched.
fn location(base: &Url, text: &str) -> Option<Url> {
    base.join(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn html(body: &[u8], page: &Url) -> Vec<Listed> {
    let mut base = page.clone();
    let mut listed = Vec::new();
    for Ok(token) in Tokenizer::new(body) {
        let Token::StartTag(tag) = token else { continue };
        let attribute = |name: &str| {
            let found = tag.attributes.iter().find(|(known, _)| known.as_slice() == name.as_bytes());
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let Some(href) = attribute("href") else { continue };
        match tag.name.as_slice() {
            b"base" => base = page.join(&href).unwrap_or(base),
            b"a" => listed.extend(anchor(&base, &href, attribute("data-yanked"))),
            _ => {}
        }
    }
    listed
}

fn anchor(base: &Url, href: &str, yanked: Option<String>) -> Option<Listed> {
    let mut url = location(base, href)?;
    let fragment = url.fragment().unwrap_or_default().to_string();
    let hash = fragment.split('&').find_map(|part| part.strip_prefix("sha256="));
    let digest = hash.and_then(|hash| Digest::from_hex(&hash.to_ascii_lowercase()).ok());
    url.set_fragment(None);
    let last = url.path_segments()?.next_back()?;
    let filename = percent_encoding::percent_decode_str(last).decode_utf8().ok()?.into_owned();
    Some(Listed { filename, url, digest, size: None, yanked })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn page() -> Url {
        Url::parse("https://index.example/simple/x/").unwrap()
    }

    #[test]
    fn json_pages() {
        let body = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "x", "files": [
            {{"filename": "x-1-py3-none-any.whl", "url": "../../files/x-1-py3-none-any.whl", "size": 7,
              "hashes": {{"sha256": "{HASH}"}}, "yanked": "broken", "core-metadata": false}},
            {{"filename": "x-2.tar.gz", "url": "https://files.example/x-2.tar.gz", "hashes": {{}}, "yanked": true}},
            {{"filename": "x-3.tar.gz", "url": "https://files.example/x-3.tar.gz", "hashes": {{}}, "yanked": false}},
            {{"filename": "y", "url": "file:///etc/passwd", "hashes": {{}}}}]}}"#
        );
        let listed = parse(body.as_bytes(), "application/vnd.pypi.simple.v1+json; charset=utf-8", &page()).unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0].url.as_str(), "https://index.example/files/x-1-py3-none-any.whl");
        assert_eq!((listed[0].digest, listed[0].size), (Some(Digest::of(b"")), Some(7)));
        let yanked: Vec<_> = listed.iter().map(|file| file.yanked.as_deref()).collect();
        assert_eq!(yanked, [Some("broken"), Some(""), None]);
    }

    #[test]
    fn html_pages() {
        let body = format!(
            "<!doctype html><html><head><base href=\"/files/\"></head><body>
            <a href=\"x-1%2Bcu-py3-none-any.whl#sha256={HASH}\" data-yanked=\"a &amp; b\">whatever</a>
            <A HREF='https://files.example/x-2.tar.gz?y=1#md5=0'>x</a><a name=x>x</a><a href='javascript:x'>x</a>"
        );
        let listed = parse(body.as_bytes(), "text/html", &page()).unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].filename, "x-1+cu-py3-none-any.whl");
        assert_eq!(listed[0].url.as_str(), "https://index.example/files/x-1%2Bcu-py3-none-any.whl");
        assert_eq!((listed[0].digest, listed[0].yanked.as_deref()), (Some(Digest::of(b"")), Some("a & b")));
        assert_eq!((listed[1].filename.as_str(), listed[1].digest), ("x-2.tar.gz", None));
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        for (body, kind) in [("{", "application/json"), ("{}", "application/json"), ("x", "application/zip")] {
            assert!(parse(body.as_bytes(), kind, &page()).is_err(), "{kind}");
        }
        let version = r#"{"meta": {"api-version": "2.0"}, "files": []}"#;
        assert!(parse(version.as_bytes(), "application/json", &page()).unwrap_err().contains("version `2.0`"));
        assert!(parse(b"\xff<a href=\xff>", "text/html", &page()).is_ok());
    }
}
