//! What can go wrong with podman and docker.

use crate::error::{Class, Explain};
use crate::process;

use super::{Kind, ProviderKind};

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
    /// No provider can be used.
    #[error("no compose provider can be used: {}", reasons.join("; "))]
    NoProvider {
        /// Per engine and provider that was tried, why not.
        reasons: Vec<String>,
    },
    /// A name that is no provider's.
    #[error("`{text}` is not a compose provider: expected {}", ProviderKind::ALL.map(|kind| format!("`{kind}`")).join(", "))]
    UnknownProvider {
        /// What was given.
        text: String,
    },
    /// A provider that does not use the engine that was asked for.
    #[error("`{provider}` starts containers of {}, not of {engine}", provider.engine())]
    OtherEngine {
        /// Which provider.
        provider: ProviderKind,
        /// The engine that was asked for.
        engine: Kind,
    },
    /// A provider could not be run.
    #[error("could not run `{provider}`")]
    RunProvider {
        /// Which provider.
        provider: ProviderKind,
        /// Why not.
        #[source]
        source: process::Error,
    },
    /// There is no pipe for what it says.
    #[error("could not read what {kind} says")]
    Pipe {
        /// Which engine.
        kind: Kind,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// `podman compose` may call Docker Compose, which asks podman's service.
    #[error("`{provider}` calls Docker Compose, which does not reach podman's service: {said}")]
    NoService {
        /// Which provider.
        provider: ProviderKind,
        /// What it said.
        said: String,
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
            Error::Unknown { .. }
            | Error::Argument { .. }
            | Error::UnknownProvider { .. }
            | Error::OtherEngine { .. } => Class::Usage,
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
            Error::NoProvider { .. } => Some(
                "install podman-compose 1.6 or newer (`pip install podman-compose`), or docker's compose plugin; a stack is \
                 checked and built without either"
                    .into(),
            ),
            Error::NoService { .. } => Some(
                "start it (`systemctl --user start podman.socket`, or `podman system service`), or install podman-compose 1.6 \
                 or newer, which needs none"
                    .into(),
            ),
            Error::OtherEngine { .. } => Some("leave out `--engine` or `--provider`: one says the other".into()),
            Error::Run { source, .. } | Error::RunProvider { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// The last line that says something, short enough for a message, without control characters.
pub(super) fn last_line(text: &str) -> String {
    clean(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason"))
}

/// Of what a provider says, the last line that is about an error, or the last one: what it does is told there, too.
pub(super) fn complaint(text: &str) -> String {
    let about = |line: &&str| {
        let line = line.to_lowercase();
        line.contains("error") && !line.contains("level=warning")
    };
    match text.lines().rev().find(about) {
        Some(line) => clean(line),
        None => last_line(text),
    }
}

/// Cut, and without control characters.
pub(super) fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(SAID_LIMIT).collect()
}
