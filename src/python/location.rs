//! Where wheels may come from: URLs whose credentials are never shown, and folders.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::Error;
use crate::net::Credentials;

/// A package index or a page of links. What is shown of it has no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Without credentials.
    pub url: Url,
    /// What stood before the `@`.
    pub login: Option<Credentials>,
}

impl Location {
    /// From `https://[user[:password]@]host/path`. `place` is for the error, which does not repeat the text.
    pub fn parse(text: &str, place: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Configuration { place: place.to_string(), reason };
        let mut url = Url::parse(text.trim()).map_err(|error| refuse(format!("an index is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https" | "file") {
            return Err(refuse(format!("an index has the scheme `{}`, expected https", url.scheme())));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty() || url.password().is_some()).then(|| Credentials {
            username: decode(url.username()),
            password: decode(url.password().unwrap_or_default()),
        });
        // Both fail only for URLs that cannot have credentials, which then have none.
        let _ = (url.set_username(""), url.set_password(None));
        Ok(Location { url, login })
    }
}

/// A folder with wheels, or a page of links to wheels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// A folder of this machine, or one wheel in it.
    Folder(PathBuf),
    /// A page.
    Page(Location),
}

impl Links {
    /// From a path (relative to `folder`), a `file:` URL or another URL.
    pub fn parse(text: &str, folder: &Path, place: &str) -> Result<Self, Error> {
        if !text.contains("://") {
            let path = match text.strip_prefix("file:") {
                Some(path) => Path::new(path),
                None => Path::new(text),
            };
            return Ok(Links::Folder(folder.join(path)));
        }
        let location = Location::parse(text, place)?;
        match location.url.scheme() {
            "file" => match location.url.to_file_path() {
                Ok(path) => Ok(Links::Folder(path)),
                Err(()) => {
                    Err(Error::Configuration { place: place.into(), reason: "a file URL names no local path".into() })
                }
            },
            _ => Ok(Links::Page(location)),
        }
    }
}

/// What one source of configuration (a file, the environment, a lock) says of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// The index that replaces the default.
    pub index: Option<Location>,
    /// Indexes besides it.
    pub extra: Vec<Location>,
    /// Folders and pages of links.
    pub links: Vec<Links>,
    /// Whether no index is to be asked at all.
    pub no_index: bool,
}

impl IndexOptions {
    /// Adds what a source of lower rank says: its index only if there is none yet, its others behind these.
    pub fn then(mut self, lower: IndexOptions) -> Self {
        self.index = self.index.or(lower.index);
        for extra in lower.extra {
            if !self.extra.contains(&extra) {
                self.extra.push(extra);
            }
        }
        for links in lower.links {
            if !self.links.contains(&links) {
                self.links.push(links);
            }
        }
        self.no_index |= lower.no_index;
        self
    }
}

/// Takes `user:password` out of every URL in a text.
pub fn redact(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        safe.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace() || c == '"' || c == '\'').unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        safe.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = after;
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_kept_and_never_shown() {
        let location = Location::parse("https://me:s%40cret@index.example/simple/", "pip.conf").unwrap();
        assert_eq!(location.login, Some(Credentials { username: "me".into(), password: "s@cret".into() }));
        assert_eq!(location.url.as_str(), "https://index.example/simple/");
        assert!(!format!("{location:?}").contains("cret"));
        assert_eq!(redact("a @ https://u:canary@x.example/b c https://t@y"), "a @ https://x.example/b c https://y");
        let error = Location::parse("ftp://u:canary@x.example", "PIP_INDEX_URL").unwrap_err();
        assert_eq!(error.to_string(), "PIP_INDEX_URL: an index has the scheme `ftp`, expected https");
        assert!(!Location::parse("canary", "x").unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn links_are_folders_or_pages() {
        let at = Path::new("/project");
        assert_eq!(Links::parse("wheels", at, "x").unwrap(), Links::Folder("/project/wheels".into()));
        assert_eq!(Links::parse("/opt/wheels", at, "x").unwrap(), Links::Folder("/opt/wheels".into()));
        assert_eq!(Links::parse("file:///opt/a%20b", at, "x").unwrap(), Links::Folder("/opt/a b".into()));
        assert!(matches!(Links::parse("https://index.example/links.html", at, "x").unwrap(), Links::Page(_)));
    }
}
