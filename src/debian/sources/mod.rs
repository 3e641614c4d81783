//! Where packages come from: the sources of an image's or of this machine's apt.
//!
//! A [`Source`] is one suite of one archive with the keys that may sign it. The keys of a source are those that its
//! `Signed-By` names, and no others; without `Signed-By` those that apt trusts for everything (trusted.gpg.d).

mod auth;
mod entry;
mod error;
mod files;
mod machine;

use std::fmt;

use url::Url;

pub use error::SourcesError;
pub use machine::Machine;

use self::auth::Auth;
use self::entry::Entry;
use self::files::Files;
use super::apt_conf::AptConf;
use super::keyring::{Keyring, Keys};
use super::preferences::Preferences;
use crate::error::Result;
use crate::image::Rootfs;
use crate::net::{self, redacted};

/// One suite of one archive.
#[derive(Clone)]
pub struct Source {
    /// The archive's base URL, ending in `/`; without credentials.
    pub archive: Url,
    /// "bookworm-updates"; of a flat repository a path that ends in `/`.
    pub suite: String,
    /// "main", ...; none in a flat repository.
    pub components: Vec<String>,
    /// The architectures that it is used for, if that is said.
    pub architectures: Option<Vec<String>>,
    /// Who may sign it.
    pub keys: Keys,
    /// Whether its `Valid-Until` counts.
    pub check_valid_until: bool,
    /// Whether apt was told to use it unsigned, which Ingot does not; for a hint.
    pub trusted: bool,
    /// For the archive.
    pub credentials: Option<net::Credentials>,
    /// Where it stands, for messages: "sources.list.d/debian.sources:3".
    pub origin: String,
}

impl Source {
    /// The URL of the folder in which the suite's Release file is.
    pub fn release_folder(&self) -> String {
        match self.components.is_empty() {
            true => format!("{}{}", self.archive, self.suite.trim_start_matches("./").trim_start_matches('/')),
            false => format!("{}dists/{}/", self.archive, self.suite.trim_matches('/')),
        }
    }

    /// The part of the suite before the first `-`, and the rest: "bookworm" and "-updates".
    pub(super) fn code_name(suite: &str) -> (&str, &str) {
        suite.split_at(suite.find('-').unwrap_or(suite.len()))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} {} {:?} from {})", redacted(&self.archive), self.suite, self.components, self.origin)
    }
}

/// All sources, in apt's order, and the preferences among their packages.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In order: of two equal packages the one of the earlier source is used.
    pub sources: Vec<Source>,
    /// Pins.
    pub preferences: Preferences,
}

impl Sources {
    /// Those of an image's own apt; `None` if it has no source at all.
    pub fn of_base(root: &Rootfs) -> Result<Option<Sources>> {
        let files = Files::Image(root);
        let mut conf = AptConf::default();
        for name in files.names("etc/apt/apt.conf.d", &["", "conf"])? {
            conf.add(&files.text(&format!("etc/apt/apt.conf.d/{name}"))?.unwrap_or_default());
        }
        conf.add(&files.text("etc/apt/apt.conf")?.unwrap_or_default());
        let reader = Reader::new(files, &conf)?;
        let mut sources = Vec::new();
        for source in reader.sources()? {
            sources.push(source?);
        }
        if sources.is_empty() {
            return Ok(None);
        }
        Ok(Some(Sources { sources, preferences: reader.preferences()? }))
    }

    /// Those of this machine's apt.
    pub fn of_machine() -> Result<Machine> {
        Machine::read()
    }
}

/// Reads the files that a configuration names.
struct Reader<'a> {
    files: Files<'a>,
    conf: &'a AptConf,
    auth: Auth,
    /// The keys for sources that name none.
    trusted: Keys,
}

impl<'a> Reader<'a> {
    fn new(files: Files<'a>, conf: &'a AptConf) -> Result<Reader<'a>> {
        let mut reader = Reader { files, conf, auth: Auth::default(), trusted: Keys::default() };
        reader.trusted = reader.trusted()?;
        for path in reader.paths("netrc", "auth.conf", "netrcparts", "auth.conf.d", &["", "conf"])? {
            // A file that only root may read is for root alone: apt passes over it, too.
            if let Ok(Some(text)) = reader.files.text(&path) {
                reader.auth.add(&text);
            }
        }
        Ok(reader)
    }

    /// The place of a file or folder below `Dir::Etc`.
    fn place(&self, name: &str, default: &str) -> String {
        let mut path = String::new();
        let parts = [
            self.conf.get("Dir").unwrap_or("/"),
            self.conf.get("Dir::Etc").unwrap_or("etc/apt"),
            self.conf.get(&format!("Dir::Etc::{name}")).unwrap_or(default),
        ];
        for part in parts {
            if part.starts_with('/') {
                path.clear();
            }
            path.push('/');
            path.push_str(part.trim_matches('/'));
        }
        path.trim_start_matches('/').to_string()
    }

    /// The main file, if it is there, and those of its folder.
    fn paths(&self, file: &str, name: &str, parts: &str, folder: &str, extensions: &[&str]) -> Result<Vec<String>> {
        let mut paths = vec![self.place(file, name)];
        let folder = self.place(parts, folder);
        paths.extend(self.files.names(&folder, extensions)?.into_iter().map(|name| format!("{folder}/{name}")));
        Ok(paths)
    }

    fn trusted(&self) -> Result<Keys> {
        let mut rings = Vec::new();
        for path in self.paths("trusted", "trusted.gpg", "trustedparts", "trusted.gpg.d", &["gpg", "asc"])? {
            match self.files.read(&path) {
                Ok(Some(bytes)) => rings.push(Keyring::new(&format!("/{path}"), bytes)),
                Ok(None) => {}
                // As apt does: a file that this user may not read is none, and trusts nobody.
                Err(_) if self.files.are_of_machine() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Keys { rings, fingerprints: Vec::new() })
    }

    fn preferences(&self) -> Result<Preferences> {
        let mut preferences = Preferences::default();
        for path in self.paths("preferences", "preferences", "preferencesparts", "preferences.d", &["", "pref"])? {
            if let Some(text) = self.files.text(&path)? {
                preferences.add(&shown(&path), &text)?;
            }
        }
        Ok(preferences)
    }

    /// Every source; those that cannot be used as an error.
    fn sources(&self) -> Result<Vec<Result<Source, SourcesError>>> {
        let mut sources = Vec::new();
        for path in self.paths("sourcelist", "sources.list", "sourceparts", "sources.list.d", &["list", "sources"])? {
            let text = match self.files.text(&path) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                // Files with passwords in them are often for root alone.
                Err(_) if self.files.are_of_machine() => {
                    let reason = "this user cannot read the file".into();
                    sources.push(Err(SourcesError::Syntax { origin: shown(&path), reason }));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let read = if path.ends_with(".sources") { entry::deb822 } else { entry::one_line };
            for entry in read(&shown(&path), &text) {
                match entry {
                    Ok(entry) => sources.extend(self.of_entry(&entry)?),
                    Err(error) => sources.push(Err(error)),
                }
            }
        }
        Ok(sources)
    }

    fn of_entry(&self, entry: &Entry) -> Result<Vec<Result<Source, SourcesError>>> {
        let keys = match self.keys(entry)? {
            Ok(keys) => keys,
            Err(error) => return Ok(vec![Err(error)]),
        };
        let mut sources = Vec::new();
        for archive in &entry.archives {
            for suite in &entry.suites {
                sources.push(archive_url(&entry.origin, archive).map(|url| Source {
                    credentials: self.auth.of(&url),
                    archive: without_user(&url),
                    suite: suite.clone(),
                    components: entry.components.clone(),
                    architectures: entry.architectures.clone(),
                    keys: keys.clone(),
                    check_valid_until:
                        entry.check_valid_until.or(self.conf.flag("Acquire::Check-Valid-Until")).unwrap_or(true),
                    trusted: entry.trusted,
                    origin: entry.origin.clone(),
                }));
            }
        }
        Ok(sources)
    }

    /// The keys that `Signed-By` names: files, a key itself, or fingerprints of trusted keys.
    fn keys(&self, entry: &Entry) -> Result<Result<Keys, SourcesError>> {
        let Some(text) = &entry.signed_by else { return Ok(Ok(self.trusted.clone())) };
        if text.contains("-----BEGIN") {
            let lines = text.lines().map(str::trim).map(|line| if line == "." { "" } else { line });
            let key = lines.skip_while(|line| line.is_empty()).collect::<Vec<_>>().join("\n") + "\n";
            let name = format!("Signed-By of {}", entry.origin);
            return Ok(Ok(Keys { rings: vec![Keyring::new(&name, key.into_bytes())], fingerprints: Vec::new() }));
        }
        let mut keys = Keys::default();
        for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
            if word.starts_with('/') {
                let Some(bytes) = self.files.read(word)? else {
                    let path = word.escape_debug().take(200).collect();
                    return Ok(Err(SourcesError::NoKeyring { origin: entry.origin.clone(), path }));
                };
                keys.rings.push(Keyring::new(word, bytes));
            } else if word.trim_end_matches('!').bytes().all(|byte| byte.is_ascii_hexdigit()) && word.len() >= 40 {
                keys.fingerprints.push(word.to_ascii_uppercase());
            } else {
                let reason = "its Signed-By is neither a file, nor a fingerprint, nor a key".into();
                return Ok(Err(SourcesError::Syntax { origin: entry.origin.clone(), reason }));
            }
        }
        if keys.rings.is_empty() {
            keys.rings = self.trusted.rings.clone();
        }
        Ok(Ok(keys))
    }
}

/// `etc/apt/sources.list.d/x.list` as `sources.list.d/x.list`.
fn shown(path: &str) -> String {
    path.strip_prefix("etc/apt/").unwrap_or(path).to_string()
}

/// The base URL of an archive, ending in `/`.
fn archive_url(origin: &str, text: &str) -> Result<Url, SourcesError> {
    let refuse = |reason: &str| SourcesError::Syntax { origin: origin.to_string(), reason: reason.into() };
    let mut url = Url::parse(text).map_err(|_| refuse("its URI is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SourcesError::Scheme { origin: origin.to_string(), scheme: url.scheme().to_string() });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("its URI has a query or a fragment"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn without_user(url: &Url) -> Url {
    let mut plain = url.clone();
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    plain
}

#[cfg(test)]
mod tests;
