//! Why packages cannot be installed, in words.

use crate::debian::{Error, Version};
use crate::error::{Class, Explain};

/// A request that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// An index has something that is no package.
    #[error(transparent)]
    Universe(#[from] Error),
    /// What was written names no package.
    #[error("`{text}` is not a package: {reason}")]
    Wanted {
        /// What was written, shortened.
        text: String,
        /// Why it is none.
        reason: &'static str,
        /// Which one of the caller's.
        index: usize,
    },
    /// No index has it.
    #[error("there is no package `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// Names like it.
        similar: Vec<String>,
        /// Which one of the caller's.
        index: usize,
    },
    /// The name is one that several packages provide.
    #[error("`{name}` is no package, but what several packages provide")]
    Virtual {
        /// The name.
        name: String,
        /// Who provides it.
        providers: Vec<String>,
        /// Which one of the caller's.
        index: usize,
    },
    /// The package is there, but not in this version.
    #[error("there is no version `{version}` of package `{name}`")]
    NoVersion {
        /// The name.
        name: String,
        /// What was wanted.
        version: Version,
        /// What is there.
        versions: Vec<Version>,
        /// Which one of the caller's.
        index: usize,
    },
    /// No source may give this package: its pin is negative.
    #[error("a pin of the base's apt forbids package `{name}`")]
    Forbidden {
        /// The name.
        name: String,
        /// Which one of the caller's.
        index: usize,
    },
    /// The base has a later version.
    #[error("package `{name}` is wanted in version `{version}`, but the base has `{installed}`")]
    Older {
        /// The name.
        name: String,
        /// What was wanted.
        version: Version,
        /// What the base has.
        installed: Version,
        /// Which one of the caller's.
        index: usize,
    },
    /// The package was wanted for another architecture.
    #[error("package `{name}` is wanted for `{architecture}`, but the image is for `{native}`")]
    Architecture {
        /// The name.
        name: String,
        /// What was wanted.
        architecture: String,
        /// The image's.
        native: String,
        /// Which one of the caller's.
        index: usize,
    },
    /// One package was wanted in two versions.
    #[error("package `{name}` is wanted in two versions: `{first}` and `{second}`")]
    Twice {
        /// The name.
        name: String,
        /// The first version.
        first: Version,
        /// The second.
        second: Version,
        /// Which one of the caller's the second is.
        index: usize,
    },
    /// Each can be installed, but not both.
    #[error("packages `{first}` and `{second}` cannot be installed together")]
    Together {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Why not, line by line.
        reasons: Vec<String>,
        /// Which one of the caller's the second is.
        index: usize,
    },
    /// It cannot be installed.
    #[error("package `{name}` cannot be installed")]
    Unsatisfiable {
        /// The name.
        name: String,
        /// Why not, line by line.
        reasons: Vec<String>,
        /// Which one of the caller's.
        index: usize,
    },
    /// Nothing was wanted that could be at fault.
    #[error("the packages of the base cannot be kept as they are")]
    Base {
        /// Why not, line by line.
        reasons: Vec<String>,
    },
}

impl SolveError {
    /// Which of the packages that the caller wanted is at fault.
    pub fn wanted_index(&self) -> Option<usize> {
        match self {
            SolveError::Universe(_) | SolveError::Base { .. } => None,
            SolveError::Wanted { index, .. }
            | SolveError::Unknown { index, .. }
            | SolveError::Virtual { index, .. }
            | SolveError::NoVersion { index, .. }
            | SolveError::Forbidden { index, .. }
            | SolveError::Older { index, .. }
            | SolveError::Architecture { index, .. }
            | SolveError::Twice { index, .. }
            | SolveError::Together { index, .. }
            | SolveError::Unsatisfiable { index, .. } => Some(*index),
        }
    }
}

fn list(names: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Explain for SolveError {
    fn class(&self) -> Class {
        match self {
            SolveError::Universe(error) => error.class(),
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SolveError::Universe(error) => return error.hint(),
            SolveError::Wanted { .. } => "write `name`, `name=version` or `name:architecture`".into(),
            SolveError::Unknown { similar, .. } if similar.is_empty() => {
                "look at its name, and at the suites and components of apt's sources".into()
            }
            SolveError::Unknown { similar, .. } => format!("did you mean {}", list(similar)),
            SolveError::Virtual { providers, .. } => format!("choose one of {}", list(providers)),
            SolveError::NoVersion { versions, .. } => format!("there is {}", list(versions)),
            SolveError::Forbidden { .. } => "look at `/etc/apt/preferences` and `/etc/apt/preferences.d`".into(),
            SolveError::Older { .. } => {
                "leave the version out, choose an older base, or pin the version with a priority of 1000 or more".into()
            }
            SolveError::Architecture { .. } => "an image has packages of one architecture: leave it out".into(),
            SolveError::Twice { .. } => "leave one of them out".into(),
            SolveError::Together { .. } => "leave one of them out, or put them into different images".into(),
            SolveError::Unsatisfiable { .. } => {
                "choose another version or package, or add the archive that has what is missing to apt's sources".into()
            }
            SolveError::Base { .. } => "choose another base".into(),
        })
    }

    fn details(&self) -> Option<String> {
        match self {
            SolveError::Together { reasons, .. }
            | SolveError::Unsatisfiable { reasons, .. }
            | SolveError::Base { reasons } => Some(reasons.join("\n")).filter(|text| !text.is_empty()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_and_why_and_what_to_do() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let name = || "x".to_string();
        let reasons = || vec!["`x` needs `y`".to_string(), "`z` conflicts with `y`".to_string()];
        let errors = [
            SolveError::Universe("1 2".parse::<Version>().unwrap_err()),
            SolveError::Wanted { text: "X y".into(), reason: "no", index: 1 },
            SolveError::Unknown { name: name(), similar: vec!["xx".into()], index: 1 },
            SolveError::Unknown { name: name(), similar: Vec::new(), index: 1 },
            SolveError::Virtual { name: name(), providers: vec!["y".into(), "z".into()], index: 1 },
            SolveError::NoVersion { name: name(), version: version("3"), versions: vec![version("2")], index: 1 },
            SolveError::Forbidden { name: name(), index: 1 },
            SolveError::Older { name: name(), version: version("1"), installed: version("2"), index: 1 },
            SolveError::Architecture { name: name(), architecture: "arm64".into(), native: "amd64".into(), index: 1 },
            SolveError::Twice { name: name(), first: version("1"), second: version("2"), index: 1 },
            SolveError::Together { first: name(), second: "y".into(), reasons: reasons(), index: 1 },
            SolveError::Unsatisfiable { name: name(), reasons: reasons(), index: 1 },
            SolveError::Base { reasons: reasons() },
        ];
        let shown = |error: &SolveError| {
            let details = error.details().map(|text| format!("\n  {}", text.replace('\n', "\n  "))).unwrap_or_default();
            let (code, index) = (error.class().code(), error.wanted_index());
            format!("{code} {index:?} {error}{details}\n  hint: {}\n", error.hint().unwrap())
        };
        insta::assert_snapshot!(errors.iter().map(shown).collect::<String>(), @"
        4 None `1 2` is not a version of a package: it has a character that no version has
          hint: the package or the index that says so is broken: choose another version or another archive
        2 Some(1) `X y` is not a package: no
          hint: write `name`, `name=version` or `name:architecture`
        2 Some(1) there is no package `x`
          hint: did you mean `xx`
        2 Some(1) there is no package `x`
          hint: look at its name, and at the suites and components of apt's sources
        2 Some(1) `x` is no package, but what several packages provide
          hint: choose one of `y`, `z`
        2 Some(1) there is no version `3` of package `x`
          hint: there is `2`
        2 Some(1) a pin of the base's apt forbids package `x`
          hint: look at `/etc/apt/preferences` and `/etc/apt/preferences.d`
        2 Some(1) package `x` is wanted in version `1`, but the base has `2`
          hint: leave the version out, choose an older base, or pin the version with a priority of 1000 or more
        2 Some(1) package `x` is wanted for `arm64`, but the image is for `amd64`
          hint: an image has packages of one architecture: leave it out
        2 Some(1) package `x` is wanted in two versions: `1` and `2`
          hint: leave one of them out
        2 Some(1) packages `x` and `y` cannot be installed together
          `x` needs `y`
          `z` conflicts with `y`
          hint: leave one of them out, or put them into different images
        2 Some(1) package `x` cannot be installed
          `x` needs `y`
          `z` conflicts with `y`
          hint: choose another version or package, or add the archive that has what is missing to apt's sources
        2 None the packages of the base cannot be kept as they are
          `x` needs `y`
          `z` conflicts with `y`
          hint: choose another base
        ");
    }
}
