//! What can go wrong with a sandbox; what goes wrong in it is its outcome.

use std::path::PathBuf;

use super::outcome::Check;
use crate::error::{Class, Explain};
use crate::text::{Align, Table};

/// A sandbox that could not be had, or that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine did not get as far as the guard.
    #[error("{engine} could not start the sandbox: {said}")]
    NotStarted {
        /// Which engine.
        engine: String,
        /// What it said last.
        said: String,
    },
    /// Some limits are not in force.
    #[error("{} not in force in the sandbox", listed(checks))]
    Weak {
        /// Those that do not hold.
        checks: Vec<Check>,
    },
    /// The guard gave up.
    #[error("the sandbox gave up: {said}")]
    GaveUp {
        /// Why.
        said: String,
    },
    /// What came from inside is not what a guard says.
    #[error("the sandbox's answer cannot be trusted: {what}")]
    Broken {
        /// What is wrong with it.
        what: String,
    },
    /// Nothing came within the time.
    #[error("the sandbox did not end within {seconds} s and was removed")]
    Hangs {
        /// How long it was given.
        seconds: u64,
    },
    /// Somebody ended it before it had a result.
    #[error("the run was cancelled")]
    Cancelled,
    /// There is no such image.
    #[error("{engine} has no image `{name}`, and a sandbox never pulls one")]
    NoImage {
        /// Which engine.
        engine: String,
        /// As it was given.
        name: String,
    },
    /// The engine's image is another one.
    #[error("{engine} holds another image under `{name}`: expected {expected}, found {found}")]
    OtherImage {
        /// Which engine.
        engine: String,
        /// The name.
        name: String,
        /// The digest that it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// What shall run is not there or not fit.
    #[error("cannot run `{}`: {reason}", path.display())]
    Code {
        /// What was given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A limit that no container can have.
    #[error("`{name}` cannot be {value}: at least {least}, at most {most}")]
    Limit {
        /// Which limit.
        name: &'static str,
        /// What was asked.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// The folder for results cannot be used.
    #[error("cannot write results to `{}`: {reason}", path.display())]
    Results {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Ingot's own program cannot go into the container.
    #[error("ingot's own program cannot be mounted into a sandbox: {reason}")]
    Own {
        /// Why not.
        reason: String,
    },
    /// No engine, and production.
    #[error("PRODUCTION MODE: container execution required but unavailable: {why}")]
    Production {
        /// Why there is none.
        why: String,
    },
}

/// What control groups limit.
const GROUPS: [&str; 4] = ["memory", "swap", "processes", "cpus"];

fn listed(checks: &[Check]) -> String {
    let names: Vec<String> = checks.iter().map(|check| format!("`{}`", check.name)).collect();
    match names.split_last() {
        Some((last, [])) => format!("the limit {last} is"),
        Some((last, rest)) => format!("the limits {} and {last} are", rest.join(", ")),
        None => "no limit is".into(),
    }
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Code { .. } | Error::Limit { .. } => Class::Usage,
            Error::Results { .. } => Class::Storage,
            Error::Broken { .. } | Error::OtherImage { .. } => Class::Verification,
            Error::Weak { .. } | Error::Production { .. } => Class::Policy,
            _ => Class::Engine,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Weak { checks } if !checks.iter().any(|check| GROUPS.contains(&check.name.as_str())) => {
                Some("use another image or another engine, or accept what is left with --allow-weak".into())
            }
            Error::Weak { .. } => Some(
                "let this user's containers have cgroups (cgroup v2 with delegation), run the engine as root, or accept \
                 what is left with --allow-weak"
                    .into(),
            ),
            Error::NoImage { .. } => Some("load it first (`ingot build -o containers-storage:REF`, `podman pull`), or name it as `oci:DIR` or `oci-archive:FILE`".into()),
            Error::OtherImage { .. } => Some("remove that image from the engine and try again".into()),
            Error::Production { .. } => Some(
                "install podman, or start docker; unset INGOT_ENV and FORCE_DOCKER_EXECUTION on a developer's machine"
                    .into(),
            ),
            _ => None,
        }
    }

    fn details(&self) -> Option<String> {
        let Error::Weak { checks } = self else { return None };
        let mut table = Table::new([("LIMIT", Align::Left), ("ASKED", Align::Left), ("FOUND", Align::Left)]);
        for check in checks {
            table.row([check.name.clone(), check.asked.clone(), check.found.clone()]);
        }
        Some(table.render())
    }
}
