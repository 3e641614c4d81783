//! What can be wrong with a project.

use std::path::PathBuf;

use super::place::Place;
use super::suggest;
use crate::error::{Class, Explain};

/// A project that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mistake at a place in the project file.
    #[error("{message}")]
    Mistake {
        /// What is wrong there.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// Lines that belong to it.
        details: Option<String>,
        /// Where it is.
        place: Place,
    },
    /// A folder without a project file.
    #[error("no `ingot.toml` and no `[tool.ingot]` in `pyproject.toml` found in `{}`", dir.display())]
    NoProject {
        /// The folder.
        dir: PathBuf,
    },
    /// What was given as the project is not a folder.
    #[error("`{}` is not a folder", dir.display())]
    NoFolder {
        /// What was given.
        dir: PathBuf,
    },
    /// A variant that the project file does not have.
    #[error("the project has no variant `{name}`")]
    UnknownVariant {
        /// The variant that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A build argument that nothing refers to.
    #[error("the project has no build argument `{name}`")]
    UnknownArgument {
        /// The argument that was given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// `SOURCE_DATE_EPOCH` is no time.
    #[error("could not understand SOURCE_DATE_EPOCH=`{found}`")]
    SourceDateEpoch {
        /// Its value.
        found: String,
        /// Why not.
        #[source]
        source: crate::oci::Error,
    },
    /// `ingot init` found no application.
    #[error("found no application of Python or Node in `{}`", dir.display())]
    NothingFound {
        /// The folder.
        dir: PathBuf,
    },
    /// `ingot init` found a package.json whose packages nothing locks.
    #[error("`{}` has a package.json and no package-lock.json", dir.display())]
    NoNodeLock {
        /// The folder.
        dir: PathBuf,
        /// The lock of another program than npm.
        other: Option<&'static str>,
    },
    /// `ingot init` found a package.json that starts nothing.
    #[error("the package.json of `{}` does not say how the application is started", dir.display())]
    NoStart {
        /// The folder.
        dir: PathBuf,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Mistake { hint, .. } => hint.clone(),
            Error::NoProject { .. } => Some("write one with `ingot init`".into()),
            Error::NoFolder { .. } => Some("name the folder that holds `ingot.toml`".into()),
            Error::UnknownVariant { name, known } => Some(suggest::hint(name, known, "the variants are")),
            Error::UnknownArgument { name, known } => {
                Some(suggest::hint(name, known, "a new one needs a default in `[args]`; there are"))
            }
            Error::SourceDateEpoch { .. } => Some("give it as seconds since 1970, as `date +%s` prints them".into()),
            Error::NothingFound { .. } => Some(
                "`ingot init` looks for Flask, FastAPI, Django, a package.json with its lock, a `main.py` or a package with \
                 `__main__.py`"
                    .into(),
            ),
            Error::NoNodeLock { other: None, .. } => {
                Some("write one: run `npm install --package-lock-only` in it (npm 7 or later)".into())
            }
            Error::NoNodeLock { other: Some(other), .. } => Some(format!(
                "Ingot reads npm's locks, not {other}: `npm install --package-lock-only` writes one; its versions may differ"
            )),
            Error::NoStart { .. } => Some("add a script `start` to it, such as `node server.js`".into()),
        }
    }

    fn details(&self) -> Option<String> {
        match self {
            Error::Mistake { details, .. } => details.clone(),
            _ => None,
        }
    }

    fn snippet(&self) -> Option<String> {
        match self {
            Error::Mistake { place, .. } => Some(place.render()),
            _ => None,
        }
    }
}
