//! Lock files: what is to be installed, version by version, hash by hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pep440_rs::{Version, VersionSpecifiers};

use super::location::IndexOptions;
use super::markers::{self, Marker};
use super::names::{same_version, shown};
use super::requirements::{self, Constraint};
use super::{Error, Target, pylock};
use crate::error::Result;
use crate::fs;
use crate::oci::{Digest, Hasher};

/// The largest lock file, in bytes.
const LOCK_LIMIT: u64 = 64 << 20;

/// A distribution with one version and the hashes of the files that it may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The sha256 hashes that are allowed, sorted. Never empty, unless `unusable`.
    pub hashes: Vec<Digest>,
    /// When it is needed; always if absent.
    pub marker: Option<Marker>,
    /// "requirements.lock:12".
    pub place: String,
    /// The wheels, where the lock names them (pylock).
    pub files: Vec<LockedFile>,
    /// Its own condition on Python (pylock).
    pub requires_python: Option<String>,
    /// Why it cannot be installed; matters only if it is needed.
    pub unusable: Option<Unusable>,
}

impl Locked {
    /// "name==version", for messages.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

/// A wheel that a lock names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// Its file name, as it is written: not yet checked.
    pub filename: String,
    /// Its sha256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Where it is on this machine.
    pub path: Option<PathBuf>,
}

/// Why a locked distribution cannot be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has a source distribution only, this one.
    Source(String),
    /// It is a folder, a repository, an archive.
    NotAWheel(&'static str),
}

/// What a lock file says.
#[derive(Clone, Debug)]
pub struct Lock {
    /// In their order.
    pub requirements: Vec<Locked>,
    /// A digest of all that decides what is installed: equal for two files that differ in comments or order only.
    pub digest: Digest,
    /// Index options that stand in the file.
    pub options: IndexOptions,
    constraints: Vec<Constraint>,
    environments: Vec<Marker>,
    requires_python: Option<String>,
    file: String,
}

impl Lock {
    /// Reads a requirements file, or a pylock file (by its name, or by its content if it is another TOML file).
    pub fn read(path: &Path) -> Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "requirements files may name variables")]
        Lock::read_with(path, &|name| std::env::var(name).ok())
    }

    fn read_with(path: &Path, variables: requirements::Variables<'_>) -> Result<Self> {
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut lock = Lock {
            requirements: Vec::new(),
            digest: Digest::of(b""),
            options: IndexOptions::default(),
            constraints: Vec::new(),
            environments: Vec::new(),
            requires_python: None,
            file: file.clone(),
        };
        if file == "uv.lock" {
            let reason = "Ingot does not read uv.lock itself: run `uv export --format pylock.toml -o pylock.toml`";
            return Err(Error::Syntax { place: file, reason: reason.into() }.into());
        }
        if file.ends_with(".toml") {
            let found = pylock::parse(&fs::read_text(path, LOCK_LIMIT)?, path)?;
            lock.requirements = found.locked;
            lock.environments = found.environments;
            lock.requires_python = found.requires_python;
        } else {
            let found = requirements::read(path, variables)?;
            lock.requirements = found.pinned.into_iter().map(Locked::from).collect();
            lock.constraints = found.constraints;
            lock.options = found.options;
        }
        lock.digest = lock.content();
        Ok(lock)
    }

    fn content(&self) -> Digest {
        let mut lines: Vec<String> = self.requirements.iter().map(Locked::line).collect();
        lines.extend(self.constraints.iter().map(|constraint| {
            let marker = constraint.marker.as_ref().map_or("", Marker::text);
            format!("-c {} {:?} {:?} ; {marker}", constraint.name, constraint.versions.to_string(), constraint.hashes)
        }));
        lines.extend(self.environments.iter().map(|marker| format!("environment {}", marker.text())));
        lines.extend(self.requires_python.iter().map(|versions| format!("requires-python {versions}")));
        lines.sort();
        lines.dedup();
        let mut hasher = Hasher::new();
        for line in lines {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        hasher.finish()
    }

    /// What the target needs, sorted by name: markers are those of the target, each name comes once, and no
    /// constraint is broken.
    pub fn select(&self, target: &Target) -> Result<Vec<Locked>> {
        let environment = markers::environment(target)?;
        self.check_target(target)?;
        let applies = |marker: &Option<Marker>| marker.as_ref().is_none_or(|marker| marker.holds(&environment));
        let mut selected: BTreeMap<String, Locked> = BTreeMap::new();
        for locked in self.requirements.iter().filter(|locked| applies(&locked.marker)) {
            if let Some(first) = selected.get(&locked.name) {
                if !same_version(&first.version, &locked.version) || first.hashes != locked.hashes {
                    let shown = |locked: &Locked| format!("{} ({})", locked.version, locked.place);
                    let (first, second) = (shown(first), shown(locked));
                    return Err(Error::Conflict { name: locked.name.clone(), first, second }.into());
                }
                continue;
            }
            selected.insert(locked.name.clone(), locked.clone());
        }
        for constraint in self.constraints.iter().filter(|constraint| applies(&constraint.marker)) {
            if let Some(locked) = selected.get_mut(&constraint.name) {
                locked.constrain(constraint)?;
            }
        }
        selected.into_values().map(|locked| locked.usable(target)).collect()
    }

    fn check_target(&self, target: &Target) -> Result<()> {
        let environment = markers::environment(target)?;
        let refuse = |reason| Error::OtherTarget { place: format!("`{}`", self.file), reason };
        if let Some(wanted) = self.requires_python.as_deref().filter(|wanted| !allows(wanted, target)) {
            return Err(refuse(format!("it is for Python {}, found {}", shown(wanted), target.python)).into());
        }
        if !self.environments.is_empty() && !self.environments.iter().any(|marker| marker.holds(&environment)) {
            let wanted: Vec<&str> = self.environments.iter().map(Marker::text).collect();
            return Err(refuse(format!("it is for {}, found {target}", shown(&wanted.join(" or ")))).into());
        }
        Ok(())
    }
}

/// Whether a `requires-python` allows the target's Python. A text that is no specifier allows nothing.
fn allows(specifiers: &str, target: &Target) -> bool {
    let python = target.python;
    let release = [python.major, python.minor, python.micro.unwrap_or(0)];
    let version = Version::new(release.map(u64::from));
    specifiers.parse::<VersionSpecifiers>().is_ok_and(|specifiers| specifiers.contains(&version))
}

impl Locked {
    fn line(&self) -> String {
        let files: Vec<_> = self.files.iter().map(|file| (&file.filename, file.digest)).collect();
        format!(
            "{} {} {:?} {files:?} {:?} {:?} ; {}",
            self.name,
            self.version,
            self.hashes,
            self.requires_python,
            self.unusable,
            self.marker.as_ref().map_or("", Marker::text),
        )
    }

    fn constrain(&mut self, constraint: &Constraint) -> Result<(), Error> {
        let refuse = |locked: &Locked| Error::Constraint {
            requirement: locked.requirement(),
            place: locked.place.clone(),
            constraint: constraint.text.clone(),
            constrained_at: constraint.place.clone(),
        };
        let allowed = constraint.versions.is_empty()
            || self.version.parse::<Version>().is_ok_and(|version| constraint.versions.contains(&version));
        if !allowed {
            return Err(refuse(self));
        }
        if !constraint.hashes.is_empty() {
            self.hashes.retain(|hash| constraint.hashes.contains(hash));
        }
        if self.hashes.is_empty() { Err(refuse(self)) } else { Ok(()) }
    }

    fn usable(self, target: &Target) -> Result<Self> {
        match &self.unusable {
            Some(Unusable::Source(file)) => {
                let (requirement, place, file) = (self.requirement(), self.place, file.clone());
                return Err(Error::OnlySource { requirement, place, file }.into());
            }
            Some(Unusable::NotAWheel(what)) => {
                return Err(Error::Requirement {
                    place: self.place,
                    problem: format!("is {what}, not a wheel"),
                    line: self.name,
                    hint: "build a wheel of it and lock that; the application itself belongs in [app], not in the lock",
                }
                .into());
            }
            None => {}
        }
        if let Some(wanted) = self.requires_python.as_deref().filter(|wanted| !allows(wanted, target)) {
            let reason = format!("`{}` needs Python {}, found {}", self.requirement(), shown(wanted), target.python);
            return Err(Error::OtherTarget { place: self.place, reason }.into());
        }
        Ok(self)
    }
}

impl From<requirements::Pinned> for Locked {
    fn from(pinned: requirements::Pinned) -> Self {
        Locked {
            name: pinned.name,
            version: pinned.version,
            hashes: pinned.hashes,
            marker: pinned.marker,
            place: pinned.place,
            files: Vec::new(),
            requires_python: None,
            unusable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::Libc;
    use crate::python::tags::tests::target;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn lock(name: &str, text: &str) -> Result<Lock> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(folder.path().join("c.txt"), format!("x==1 --hash={A}\ny<5\n")).unwrap();
        std::fs::write(&path, text.replace("HA", A).replace("HB", B)).unwrap();
        Lock::read_with(&path, &|_| None)
    }

    fn py(minor: u8) -> Target {
        target(minor, "amd64", Libc::Glibc(2, 36))
    }

    fn selected(text: &str) -> Result<Vec<String>> {
        Ok(lock("r.lock", text)?.select(&py(10))?.iter().map(Locked::requirement).collect())
    }

    #[test]
    fn markers_choose_between_versions() {
        let text =
            "b==1 --hash=HA\na==1 ; python_version < '3.11' --hash=HA\na==2 ; python_version >= '3.11' --hash=HA";
        assert_eq!(selected(text).unwrap(), ["a==1", "b==1"]);
    }

    #[test]
    fn the_digest_is_of_what_decides() {
        let of = |text: &str| lock("r.lock", text).unwrap().digest;
        let one = of("a==1 --hash=HA --hash=HB\nb==1 --hash=HA");
        assert_eq!(one, of("# hello\nb==1 --hash=HA\na==1 \\\n --hash=HB \\\n --hash=HA # via\n--no-index"));
        assert_ne!(one, of("a==1 --hash=HA\nb==1 --hash=HA"));
        assert_ne!(one, of("a==1 --hash=HA --hash=HB\nb==1;python_version<'4' --hash=HA"));
    }

    #[test]
    fn a_name_comes_once() {
        assert_eq!(selected("a==1 --hash=HA\nA[x]==1.0 --hash=HA").unwrap(), ["a==1"]);
        for text in ["a==1 --hash=HA\na==2 --hash=HA", "a==1 --hash=HA\na==1 --hash=HB"] {
            let error = selected(text).unwrap_err();
            assert!(error.to_string().starts_with("`a` is locked twice: 1 (r.lock:1) and "), "{error}");
            assert_eq!(error.class().code(), 2);
        }
    }

    #[test]
    fn constraints_agree_or_the_build_stops() {
        assert_eq!(selected("-c c.txt\nx==1.0 --hash=HA\ny==4 --hash=HB").unwrap(), ["x==1.0", "y==4"]);
        for (text, expected) in [
            ("-c c.txt\nx==1 --hash=HB", "`x==1` (r.lock:2) contradicts the constraint `x==1` (c.txt:1)"),
            ("-c c.txt\nx==2 --hash=HA", "`x==2` (r.lock:2) contradicts the constraint `x==1` (c.txt:1)"),
            ("-c c.txt\ny==5 --hash=HA", "`y==5` (r.lock:2) contradicts the constraint `y<5` (c.txt:2)"),
        ] {
            assert_eq!(selected(text).unwrap_err().to_string(), expected);
        }
        let narrowed = lock("r.lock", "-c c.txt\nx==1 --hash=HA --hash=HB").unwrap().select(&py(10)).unwrap();
        assert_eq!(narrowed[0].hashes, [A.parse().unwrap()]);
    }

    #[test]
    fn a_pylock_is_for_its_python_and_environment() {
        let text = |head: &str| {
            format!(
                "lock-version = '1.0'\n{head}\n[[packages]]\nname = 'a'\nversion = '1'\nmarker = \"sys_platform == 'win32'\"
sdist = {{ name = 'a-1.tar.gz', hashes = {{ sha256 = '{}' }} }}",
                &A[7..]
            )
        };
        assert!(lock("pylock.toml", &text("")).unwrap().select(&py(10)).unwrap().is_empty());
        let refused = |head: &str| lock("pylock.gpu.toml", &text(head)).unwrap().select(&py(10)).unwrap_err();
        let error = refused("requires-python = '>=3.11'");
        assert_eq!(error.to_string(), "`pylock.gpu.toml` is not for this image: it is for Python >=3.11, found 3.10");
        let error = refused("environments = [\"platform_machine == 'aarch64'\"]");
        assert!(error.to_string().contains("it is for platform_machine == 'aarch64', found Python 3.10 on"), "{error}");
    }

    #[test]
    fn what_cannot_be_installed_matters_only_if_it_is_needed() {
        let text = |what: &str| format!("lock-version = '1.0'\n[[packages]]\nname = 'a'\nversion = '1'\n{what}");
        let refused = |what: &str| lock("pylock.toml", &text(what)).unwrap().select(&py(10)).unwrap_err();
        let error = refused("sdist = { name = 'a-1.tar.gz' }");
        assert_eq!(error.to_string(), "`a==1` (pylock.toml:3) has no wheel, only a source distribution: `a-1.tar.gz`");
        assert!(error.hint().is_some_and(|hint| hint.contains("--find-links")));
        let error = refused("directory = { path = '.' }");
        assert_eq!(error.to_string(), "pylock.toml:3: `a` is a folder, not a wheel");
        let error = lock("uv.lock", "version = 1").unwrap_err();
        assert!(error.to_string().contains("uv export"), "{error}");
    }
}
