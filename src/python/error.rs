//! What can go wrong between a lock file and the layers of a virtual environment.

use crate::error::{Class, Explain};
use crate::oci::Digest;

/// A lock, an index, a wheel or an environment that Ingot refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A wheel that nobody waits for any more, because something else failed. Nobody sees it.
    #[error("`{requirement}` is not wanted any more")]
    Unwanted {
        /// "name==version".
        requirement: String,
    },
    /// A line of a requirements file or an entry of a pylock file that a locked build cannot use.
    #[error("{place}: `{line}` {problem}")]
    Requirement {
        /// "requirements.lock:12".
        place: String,
        /// What stands there, shortened and without credentials.
        line: String,
        /// Why not, as the rest of a sentence.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// A requirement without a sha256 hash.
    #[error("{place}: `{requirement}` has no sha256 hash")]
    NoHash {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
    },
    /// A document (TOML, JSON, HTML, INI) that does not parse.
    #[error("{place}: {reason}")]
    Syntax {
        /// File and line.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The same distribution is required twice, differently.
    #[error("`{name}` is locked twice: {first} and {second}")]
    Conflict {
        /// The normalised name.
        name: String,
        /// Version and place.
        first: String,
        /// Version and place.
        second: String,
    },
    /// A constraint and a requirement contradict each other.
    #[error("`{requirement}` ({place}) contradicts the constraint `{constraint}` ({constrained_at})")]
    Constraint {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
        /// The constraint as it is written.
        constraint: String,
        /// Where that stands.
        constrained_at: String,
    },
    /// The lock is for another Python or environment.
    #[error("{place} is not for this image: {reason}")]
    OtherTarget {
        /// The lock file.
        place: String,
        /// Expected and found.
        reason: String,
    },
    /// A file that was offered has another hash than the lock says.
    #[error("`{file}` does not match `{requirement}` ({place}): expected {}, found {found}", any(expected))]
    HashMismatch {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
        /// The file name.
        file: String,
        /// The hashes in the lock.
        expected: Vec<Digest>,
        /// The hash of what was offered.
        found: Digest,
    },
    /// Only source distributions have a locked hash.
    #[error("`{requirement}` ({place}) has no wheel, only a source distribution: `{file}`")]
    OnlySource {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
        /// The source distribution.
        file: String,
    },
    /// Wheels there are, but none for the target.
    #[error("no wheel of `{requirement}` ({place}) is for {target}: expected one of {wanted}, found {found}")]
    NoWheel {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
        /// What the environment is made for.
        target: String,
        /// The best tags, shortened.
        wanted: String,
        /// The wheels that there are, shortened.
        found: String,
    },
    /// Nobody offers the distribution.
    #[error("`{requirement}` ({place}) was not found: looked in {places}")]
    NotFound {
        /// "name==version".
        requirement: String,
        /// Where it stands.
        place: String,
        /// Indexes and folders, without credentials.
        places: String,
    },
    /// An index that does not answer as an index should.
    #[error("the package index at `{url}` cannot be used: {reason}")]
    Index {
        /// The page, without credentials.
        url: String,
        /// What it did.
        reason: String,
    },
    /// No index is configured, and no tool could be asked for its default.
    #[error("no package index is configured, and neither pip nor uv could be asked for its default")]
    NoIndex,
    /// A configuration file or variable of pip or uv that cannot be used.
    #[error("{place}: {reason}")]
    Configuration {
        /// The file or the variable.
        place: String,
        /// What is wrong, without the value.
        reason: String,
    },
    /// A zip file that two readers could read in two ways, or that is damaged.
    #[error("`{file}` is not a sound zip file: {reason}")]
    Zip {
        /// The wheel.
        file: String,
        /// Which rule it breaks, with the member.
        reason: String,
    },
    /// A wheel that breaks the wheel format.
    #[error("`{file}` is not a sound wheel: {reason}")]
    Wheel {
        /// The wheel.
        file: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// Two wheels that own the same path.
    #[error("`/{path}` comes from two wheels: {first} and {second}")]
    SamePath {
        /// The path in the image.
        path: String,
        /// Who wrote it first.
        first: String,
        /// Who else wants to.
        second: String,
    },
}

fn any(digests: &[Digest]) -> String {
    const SHOWN: usize = 3;
    let mut texts: Vec<String> = digests.iter().take(SHOWN).map(Digest::to_string).collect();
    if digests.len() > SHOWN {
        texts.push(format!("{} more", digests.len() - SHOWN));
    }
    texts.join(" or ")
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::HashMismatch { .. } | Error::Zip { .. } | Error::Wheel { .. } => Class::Verification,
            Error::NotFound { .. } | Error::Index { .. } | Error::NoIndex => Class::Network,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Requirement { hint, .. } => hint,
            Error::NoHash { .. } => {
                "lock with hashes: `pip-compile --generate-hashes`, `uv pip compile --generate-hashes` or `uv export`"
            }
            Error::Unwanted { .. } | Error::Syntax { .. } => return None,
            Error::Conflict { .. } => "lock again, so that each distribution has one version",
            Error::Constraint { .. } => "lock again with the constraints, or change them",
            Error::OtherTarget { .. } => "lock for the Python of the base image, or choose another base",
            Error::HashMismatch { .. } => {
                "do not build from this file; if it was replaced on purpose, lock again and review the change"
            }
            Error::OnlySource { .. } => {
                "Ingot does not run build scripts: build a wheel yourself, put it in a --find-links folder and lock its hash"
            }
            Error::NoWheel { .. } => {
                "choose a version, a Python or a base for which a wheel exists, and lock the hash of that wheel too"
            }
            Error::NotFound { .. } => {
                "check name and version, and which index pip or uv is configured for (PIP_INDEX_URL, pip.conf, uv.toml)"
            }
            Error::Index { .. } => "check PIP_INDEX_URL, pip.conf or uv.toml, and the credentials for that index",
            Error::NoIndex => "set PIP_INDEX_URL or UV_DEFAULT_INDEX, or a --find-links folder; or install pip",
            Error::Configuration { .. } => "correct it, or set PIP_CONFIG_FILE=/dev/null to leave pip's files out",
            Error::Zip { .. } | Error::Wheel { .. } => {
                "do not use this wheel; take another release, or build the wheel anew with a current tool"
            }
            Error::SamePath { .. } => "only one of the two can be installed: take the other out of the lock",
        };
        Some(text.to_string())
    }
}
