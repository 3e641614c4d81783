//! A binary package as an index, a .deb or dpkg's status describes it.

use std::sync::Arc;

use super::{Alternatives, Error, Paragraph, Version, parse_relations};
use crate::oci::Digest;

/// `Multi-Arch` of a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultiArch {
    /// It satisfies relations of its own architecture.
    #[default]
    No,
    /// It can be installed for several architectures at once.
    Same,
    /// It satisfies relations of every architecture.
    Foreign,
    /// It satisfies `name:any` of every architecture.
    Allowed,
}

/// A name that a package provides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// The name.
    pub name: String,
    /// In which version, if it says so.
    pub version: Option<Version>,
}

/// Where a package's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The archive's base URL, ending in `/`; without credentials.
    pub archive: Arc<str>,
    /// `Filename`: relative to the archive.
    pub path: String,
    /// The length of the .deb in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// A binary package in one version for one architecture.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// "amd64", "all".
    pub architecture: String,
    /// The name of the source package.
    pub source: String,
    /// How it behaves beside other architectures.
    pub multi_arch: MultiArch,
    /// Whether every system has it.
    pub essential: bool,
    /// "required", "important", "standard", "optional", "extra".
    pub priority: String,
    /// What has to be there: `Pre-Depends` and `Depends`.
    pub depends: Vec<Alternatives>,
    /// What should be there.
    pub recommends: Vec<Alternatives>,
    /// What must not be there: `Conflicts`.
    pub conflicts: Vec<Alternatives>,
    /// What must not be there: `Breaks`.
    pub breaks: Vec<Alternatives>,
    /// Whose files it may overwrite.
    pub replaces: Vec<Alternatives>,
    /// Other names that it goes by.
    pub provides: Vec<Provided>,
    /// `Installed-Size`, in KiB.
    pub installed_size: u64,
    /// Where its file is; `None` for one that is installed.
    pub location: Option<Location>,
}

impl Package {
    /// From a paragraph, without a location.
    pub fn parse(paragraph: &Paragraph) -> Result<Package, Error> {
        let name = paragraph.get("Package").unwrap_or_default().to_string();
        let field = |field: &'static str| {
            let missing = || Error::Field { package: name.clone(), field };
            paragraph.get(field).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let version: Version = field("Version")?.parse()?;
        let relations = |field: &str| parse_relations(paragraph.get(field).unwrap_or_default());
        let mut depends = relations("Pre-Depends")?;
        depends.extend(relations("Depends")?);
        let source = paragraph.get("Source").and_then(|source| source.split(' ').next()).unwrap_or_default();
        Ok(Package {
            architecture: field("Architecture")?.to_string(),
            source: if source.is_empty() { field("Package")? } else { source }.to_string(),
            multi_arch: match paragraph.get("Multi-Arch") {
                Some("same") => MultiArch::Same,
                Some("foreign") => MultiArch::Foreign,
                Some("allowed") => MultiArch::Allowed,
                _ => MultiArch::No,
            },
            essential: paragraph.get("Essential") == Some("yes"),
            priority: paragraph.get("Priority").unwrap_or("optional").to_string(),
            depends,
            recommends: relations("Recommends")?,
            conflicts: relations("Conflicts")?,
            breaks: relations("Breaks")?,
            replaces: relations("Replaces")?,
            provides: provides(paragraph.get("Provides").unwrap_or_default())?,
            installed_size: paragraph.get("Installed-Size").and_then(|size| size.parse().ok()).unwrap_or_default(),
            location: None,
            name: field("Package")?.to_string(),
            version,
        })
    }

    /// `name` if it is for `native` or for all architectures, else `name:architecture`.
    pub fn qualified(&self, native: &str) -> String {
        if self.architecture == native || self.architecture == "all" {
            self.name.clone()
        } else {
            format!("{}:{}", self.name, self.architecture)
        }
    }
}

fn provides(text: &str) -> Result<Vec<Provided>, Error> {
    let provided = parse_relations(text)?.into_iter().flatten();
    Ok(provided.map(|one| Provided { name: one.name, version: one.version.map(|(_, version)| version) }).collect())
}

/// A package that could be installed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The package; it has a location.
    pub package: Arc<Package>,
    /// apt's pin priority (apt_preferences(5)): 500 where nothing is said, below 0 never.
    pub priority: i32,
    /// Whether it comes from a security pocket: a suite whose name ends in `-security`, or an archive of that label.
    pub security: bool,
}

/// All packages that the sources offer for one architecture (and for all).
pub trait Universe: Send + Sync {
    /// Every version of the package of this name: highest priority first, then the latest version. The same version
    /// is there once.
    fn versions(&self, name: &str) -> Result<Vec<Candidate>, Error>;

    /// Every package that provides this name, without those that have it: sorted by name, then as above.
    fn providers(&self, name: &str) -> Result<Vec<Candidate>, Error>;

    /// Names of packages that look like this one, for a hint.
    fn similar(&self, name: &str) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_becomes_a_package() {
        let text = "Package: python3\nSource: python3-defaults (3.11.2-1)\nVersion: 3.11.2-1+b1\nArchitecture: amd64\n\
                    Multi-Arch: allowed\nPre-Depends: python3-minimal (= 3.11.2-1+b1)\nDepends: python3.11 (>= 3.11.2)\n\
                    Provides: python3-profiler, x (= 2)\nInstalled-Size: 82\n";
        let package = Package::parse(&Paragraph::parse(text)).unwrap();
        assert_eq!(
            (package.source.as_str(), package.multi_arch, package.installed_size),
            ("python3-defaults", MultiArch::Allowed, 82)
        );
        assert_eq!(package.depends.len(), 2);
        assert_eq!(package.provides[1].version.as_ref().unwrap().as_str(), "2");
        assert_eq!(
            (package.qualified("amd64"), package.qualified("arm64")),
            ("python3".into(), "python3:amd64".into())
        );
        for field in ["Package", "Version", "Architecture"] {
            let mut paragraph = Paragraph::parse(text);
            paragraph.remove(field);
            let error = Package::parse(&paragraph).unwrap_err();
            assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        }
    }
}
