//! What can go wrong with podman and docker.

use crate::error::{Class, Explain};
use crate::process;

use super::Kind;

/// The most that is shown of what an engine says, in characters.
const SAID_LIMIT: usize = 400;

/// An engine that is not there, does not answer, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither engine can be used.
    #[error("no container engine can be used: {}", reasons.join("; "))]
    None {
        /// Per engine that was tried, why not.
        reasons: Vec<String>,
    },
    /// A name that is no engine's.
    #[error("`{text}` is not a container engine: expected `podman` or `docker`")]
    Unknown {
        /// What was given.
        text: String,
    },
    /// The engine is on another machine.
    #[error("{kind} would talk to `{host}`, which is not this machine")]
    Remote {
        /// Which engine.
        kind: Kind,
        /// Where it would go, without credentials.
        host: String,
    },
    /// A value that could be taken for an option.
    #[error("`{text}` is not a name that {kind} can be given")]
    Argument {
        /// Which engine.
        kind: Kind,
        /// What was given.
        text: String,
    },
    /// It ended with an error.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// Program and subcommand.
        command: String,
        /// The last line of its stderr.
        said: String,
    },
    /// It said something that is not understood.
    #[error("`{command}` did not say which image it loaded: `{said}`")]
    Answer {
        /// Program and subcommand.
        command: String,
        /// The last line of its stdout.
        said: String,
    },
    /// It said something that is not understood.
    #[error("`{command}` gave an answer that is not understood: `{said}`")]
    Nonsense {
        /// Program and subcommand.
        command: String,
        /// The last line of its stdout.
        said: String,
    },
    /// An image with more metadata than anybody needs.
    #[error("the image has {count} {what}, at most {limit} are accepted of an image that is run")]
    Metadata {
        /// "labels", "variables".
        what: &'static str,
        /// How many.
        count: usize,
        /// The most.
        limit: usize,
    },
    /// It could not be run.
    #[error("could not run {kind}")]
    Run {
        /// Which engine.
        kind: Kind,
        /// Why not.
        #[source]
        source: process::Error,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Unknown { .. } | Error::Argument { .. } => Class::Usage,
            _ => Class::Engine,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::None { .. } => {
                Some("install podman, or start docker; `oci:DIR` and `oci-archive:FILE` need neither".into())
            }
            Error::Remote { kind: Kind::Docker, .. } => {
                Some("unset DOCKER_HOST (or `docker context use default`), or push to a registry instead".into())
            }
            Error::Remote { kind: Kind::Podman, .. } => {
                Some("unset CONTAINER_HOST, or push to a registry instead".into())
            }
            Error::Run { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// The last line that says something, short enough for a message, without control characters.
pub(super) fn last_line(text: &str) -> String {
    clean(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason"))
}

/// Cut, and without control characters.
pub(super) fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(SAID_LIMIT).collect()
}
