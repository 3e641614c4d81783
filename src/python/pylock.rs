//! `pylock.toml` (PEP 751), as far as wheels go.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::Error;
use super::lock::{Locked, LockedFile, Unusable};
use super::markers::Marker;
use super::names::{WheelName, normalize, shown};
use crate::oci::Digest;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    lock_version: String,
    requires_python: Option<String>,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: Spanned<String>,
    version: Option<String>,
    marker: Option<String>,
    requires_python: Option<String>,
    vcs: Option<toml::Table>,
    directory: Option<toml::Table>,
    archive: Option<toml::Table>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl File {
    /// Its name, or the last component of its path or URL, as the PEP says.
    fn name(&self) -> Option<String> {
        let last = |text: &String| text.rsplit(['/', '\\']).next().map(str::to_string);
        let from_url = || self.url.as_ref().and_then(|url| last(&url.split(['?', '#']).next()?.to_string()));
        let name = self.name.clone().or_else(|| self.path.as_ref().and_then(last)).or_else(from_url)?;
        let decoded = percent_encoding::percent_decode_str(&name).decode_utf8().ok()?;
        Some(decoded.into_owned())
    }
}

/// What a pylock file says.
pub struct Pylock {
    /// Which Python versions it is for, as it is written.
    pub requires_python: Option<String>,
    /// For which environments it is; for all if there is none.
    pub environments: Vec<Marker>,
    /// In their order.
    pub locked: Vec<Locked>,
}

/// Parses the text of `path`, whose folder local wheels are relative to.
pub fn parse(text: &str, path: &Path) -> Result<Pylock, Error> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let document: Document = toml::from_str(text).map_err(|error: toml::de::Error| {
        let place = error.span().map_or(name.clone(), |span| format!("{name}:{}", line_of(span.start)));
        Error::Syntax { place, reason: error.message().to_string() }
    })?;
    if document.lock_version != "1.0" && !document.lock_version.starts_with("1.") {
        let reason = format!("lock-version is `{}`, expected `1.0`", shown(&document.lock_version));
        return Err(Error::Syntax { place: name, reason });
    }
    let environments =
        document.environments.iter().map(|text| Marker::parse(text, &name)).collect::<Result<Vec<_>, _>>()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let locked = document
        .packages
        .into_iter()
        .map(|package| {
            let place = format!("{name}:{}", line_of(package.name.span().start));
            locked(package, place, folder)
        })
        .collect::<Result<_, _>>()?;
    Ok(Pylock { requires_python: document.requires_python, environments, locked })
}

fn locked(package: Package, place: String, folder: &Path) -> Result<Locked, Error> {
    let name = normalize(package.name.get_ref());
    let marker = package.marker.as_deref().map(|text| Marker::parse(text, &place)).transpose()?;
    let mut unusable =
        [(&package.vcs, "a repository"), (&package.directory, "a folder"), (&package.archive, "an archive")]
            .into_iter()
            .find(|(table, _)| table.is_some())
            .map(|(_, what)| Unusable::NotAWheel(what));
    let mut files = Vec::new();
    for wheel in &package.wheels {
        let Some(filename) = wheel.name() else { continue };
        let Some(hash) = wheel.hashes.get("sha256") else { continue };
        let digest = Digest::from_hex(&hash.to_ascii_lowercase()).map_err(|_| Error::Syntax {
            place: place.clone(),
            reason: format!("the sha256 of `{}` is not 64 hexadecimal digits", shown(&filename)),
        })?;
        let path = wheel.path.as_ref().map(|path| folder.join(path));
        files.push(LockedFile { filename, digest, size: wheel.size, path });
    }
    if unusable.is_none() && package.wheels.is_empty() {
        let file = package.sdist.as_ref().and_then(File::name).unwrap_or_else(|| name.clone());
        unusable = Some(Unusable::Source(shown(&file)));
    }
    let of_wheel = || files.first().and_then(|file| WheelName::parse(&file.filename).ok()).map(|wheel| wheel.version);
    let version = package.version.clone().or_else(of_wheel).unwrap_or_default();
    if files.is_empty() && unusable.is_none() {
        return Err(Error::NoHash { requirement: format!("{name}=={version}"), place });
    }
    let mut hashes: Vec<Digest> = files.iter().map(|file| file.digest).collect();
    hashes.sort();
    hashes.dedup();
    Ok(Locked { name, version, hashes, marker, place, files, requires_python: package.requires_python, unusable })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn wheels_of_a_pylock() {
        let text = format!(
            "lock-version = '1.0'\ncreated-by = 'x'\nrequires-python = '>=3.9'\nenvironments = [\"sys_platform == 'linux'\"]
[[packages]]
name = 'Attrs'
version = '25.1.0'
marker = \"python_version < '4'\"
sdist = {{ url = 'https://index.example/attrs-25.1.0.tar.gz', hashes = {{ sha256 = '{HASH}' }} }}
wheels = [
  {{ name = 'attrs-25.1.0-py3-none-any.whl', url = 'https://index.example/x', size = 5, hashes = {{ sha256 = '{HASH}' }} }},
  {{ path = 'wheels/attrs-25.1.0-py2-none-any.whl', hashes = {{ sha256 = '{HASH}', md5 = '0' }} }},
  {{ url = 'https://index.example/a/attrs-25.1.0%2Bx-py3-none-any.whl?a=b#c', hashes = {{ sha256 = '{HASH}' }} }},
]
[[packages]]
name = 'source'
version = '1'
sdist = {{ url = 'https://index.example/source-1.tar.gz', hashes = {{ sha256 = '{HASH}' }} }}
[[packages]]
name = 'mine'
directory = {{ path = '.' }}
"
        );
        let lock = parse(&text, Path::new("/p/pylock.toml")).unwrap();
        let names: Vec<_> = lock.locked[0].files.iter().map(|file| file.filename.as_str()).collect();
        assert_eq!(
            names,
            ["attrs-25.1.0-py3-none-any.whl", "attrs-25.1.0-py2-none-any.whl", "attrs-25.1.0+x-py3-none-any.whl"]
        );
        assert_eq!((lock.locked[0].name.as_str(), lock.locked[0].place.as_str()), ("attrs", "pylock.toml:6"));
        assert_eq!(lock.locked[0].files[1].path.as_deref(), Some(Path::new("/p/wheels/attrs-25.1.0-py2-none-any.whl")));
        assert_eq!(lock.locked[1].unusable, Some(Unusable::Source("source-1.tar.gz".into())));
        assert_eq!(lock.locked[2].unusable, Some(Unusable::NotAWheel("a folder")));
        assert_eq!((lock.environments.len(), lock.requires_python.as_deref()), (1, Some(">=3.9")));
    }

    #[test]
    fn a_bad_pylock_says_where() {
        for (text, expected) in [
            ("lock-version = '2.0'", "pylock.toml: lock-version is `2.0`, expected `1.0`"),
            ("lock-version = '1.0'\nx = ", "pylock.toml:2: "),
            ("lock-version = '1.0'\n[[packages]]\nversion = '1'", "missing field `name`"),
            (
                "lock-version = '1.0'\n[[packages]]\nname = 'a'\nversion = '1'\nwheels = [{name = 'a-1-py3-none-any.whl', hashes = {}}]",
                "pylock.toml:3: `a==1` has no sha256 hash",
            ),
            (
                "lock-version = '1.0'\n[[packages]]\nname = 'a'\nwheels = [{name = 'a-1-py3-none-any.whl', hashes = {sha256 = '../x'}}]",
                "is not 64 hexadecimal digits",
            ),
        ] {
            let error = parse(text, Path::new("pylock.toml")).err().expect("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
