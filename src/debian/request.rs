//! What is wanted of the resolver: packages by name, upgrades of what is installed, what may be left out.

use std::collections::{BTreeMap, BTreeSet};

use super::{SolveError, Version};

/// Which of the installed packages are brought up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// None but those that another package needs in a newer version.
    #[default]
    None,
    /// Those for which there is a security update.
    Security,
    /// All for which there is a newer version.
    All,
}

/// What is to be installed and upgraded.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The packages, in the order in which they were written.
    pub packages: Vec<Wanted>,
    /// Which of the installed packages are brought up to date.
    pub upgrade: Upgrade,
    /// Whether `Recommends` are installed too, where they can be.
    pub recommends: bool,
    /// The architecture of the image: "amd64".
    pub architecture: String,
    /// Names that count as installed without being so, unless they are wanted themselves: only maintainer scripts,
    /// which Ingot does not run, need them.
    pub omit: BTreeSet<String>,
    /// The same, but only for what one package needs: the package, and the names.
    pub omit_of: BTreeMap<String, BTreeSet<String>>,
}

/// One package that is wanted: `name`, `name=version`, `name:architecture`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// For which architecture, if that is said.
    pub architecture: Option<String>,
    /// In exactly this version, if that is said.
    pub version: Option<Version>,
    /// Which one of the caller's it is, for errors.
    pub index: usize,
}

impl Wanted {
    /// Reads `name`, `name=version`, `name:architecture` or `name:architecture=version`.
    pub fn parse(text: &str, index: usize) -> Result<Wanted, SolveError> {
        let refuse = |reason| SolveError::Wanted { text: text.escape_debug().take(100).collect(), reason, index };
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => {
                let version = version.parse().map_err(|_| refuse("what follows `=` is no version"))?;
                (name, Some(version))
            }
            None => (text, None),
        };
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture.to_string())),
            None => (name, None),
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if name.len() < 2 || !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(refuse("a name has at least two of the characters a-z, 0-9, `+`, `-` and `.`"));
        }
        let letters = |text: &String| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if architecture.as_ref().is_some_and(|one| !letters(one)) {
            return Err(refuse("what follows `:` is no architecture"));
        }
        Ok(Wanted { name: name.to_string(), architecture, version, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_written_as_for_apt() {
        let wanted = Wanted::parse("libstdc++6:arm64=1:2.0-1", 3).unwrap();
        assert_eq!(
            (wanted.name.as_str(), wanted.architecture.as_deref(), wanted.index),
            ("libstdc++6", Some("arm64"), 3)
        );
        assert_eq!(wanted.version.unwrap().as_str(), "1:2.0-1");
        let plain = Wanted { name: "python3".into(), architecture: None, version: None, index: 0 };
        assert_eq!(Wanted::parse("python3", 0).unwrap(), plain);
        for (bad, reason) in [
            ("", "a name has"),
            ("A b", "a name has"),
            ("a", "a name has"),
            ("-x", "a name has"),
            ("ab=", "what follows `=`"),
            ("ab=1 2", "what follows `=`"),
            ("ab:", "what follows `:`"),
            ("ab:\u{1b}", "what follows `:`"),
            ("ab (>= 1)", "what follows `=`"),
        ] {
            let error = Wanted::parse(bad, 7).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.wanted_index(), Some(7));
        }
    }
}
