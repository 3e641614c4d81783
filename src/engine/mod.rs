//! podman and docker as programs: which of them is there, handing images to and from their stores, running containers,
//! and the compose providers that start several of them.
//!
//! Nothing here knows their sockets or libraries. Every call has a timeout, every value that comes from outside is
//! checked before it becomes an argument, and what an engine says is cut and cleaned before it is shown.

mod container;
mod detect;
mod error;
mod known_image;
mod lifecycle;
mod logs;
mod project;
mod provider;
#[cfg(test)]
mod testing;
mod transfer;

use std::fmt;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::process::{self, Output};

pub use container::{Container, Limits, Mount, Overridden, Tmpfs, unique_name};
pub use error::Error;
pub use known_image::KnownImage;
pub use lifecycle::{Attached, Held, HeldImage, remove_all};
pub use logs::{LastLine, Line, Logs};
pub use project::{Health, HealthCheck, Port, Service, State};
pub use provider::{Provider, ProviderKind, ProviderProject};

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// podman, without a daemon.
    Podman,
    /// docker, and the daemon that its client talks to.
    Docker,
}

impl Kind {
    /// Both, in the order in which they are tried.
    pub const ALL: [Kind; 2] = [Kind::Podman, Kind::Docker];

    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Podman => "podman",
            Kind::Docker => "docker",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.program() == text)
            .ok_or_else(|| Error::Unknown { text: error::clean(text) })
    }
}

/// An engine that answered.
#[derive(Clone, Debug)]
pub struct Engine {
    kind: Kind,
    program: String,
    version: String,
}

impl Engine {
    /// Which one.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says its version is: podman's own, docker's of the daemon.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One that is another program, for tests of other rooms.
    #[cfg(test)]
    pub(crate) fn fake(kind: Kind, program: &str) -> Engine {
        Engine { kind, program: program.into(), version: "1".into() }
    }

    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        command
    }

    /// Runs a command to its end, however that is.
    fn output(&self, command: Command, timeout: Duration) -> Result<Output, Error> {
        process::run(command, b"", timeout).map_err(|source| Error::Run { kind: self.kind, source })
    }

    /// Runs a command that has to succeed; what it says. `verb` is what it is called in an error.
    fn succeeds(&self, verb: &str, command: Command, timeout: Duration) -> Result<String, Error> {
        let output = self.output(command, timeout)?;
        if output.status.success() {
            return Ok(output.stdout_text());
        }
        Err(Error::Failed { command: format!("{} {verb}", self.kind), said: error::last_line(&output.stderr_text()) })
    }
}
