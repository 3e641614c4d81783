//! What can go wrong between a package lock and the layer of `node_modules`.

use super::target::NodeTarget;
use crate::error::{Class, Explain};

/// How a lock is written anew.
const RENEW: &str = "run `npm install --package-lock-only` in its folder";

/// A lock, a registry or a package that Ingot refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A lock or a package.json that is not what npm writes.
    #[error("{place}: {reason}")]
    Document {
        /// The file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A lock in a format that says too little, or that nobody knows.
    #[error("{place}: lockfileVersion is {found}, expected 2 or 3")]
    LockVersion {
        /// The file.
        place: String,
        /// What stands there.
        found: String,
    },
    /// An entry of a lock that cannot be used.
    #[error("{place}: `{entry}` {problem}")]
    Entry {
        /// The file.
        place: String,
        /// The key below `packages`.
        entry: String,
        /// Why not, as the rest of a sentence.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// The lock is not the one of this package.json.
    #[error("{place} is out of date: {difference}")]
    Outdated {
        /// The lock.
        place: String,
        /// Expected and found.
        difference: String,
    },
    /// What the project overrides, it wants otherwise itself.
    #[error("{place}: `overrides` want `{instead}` of `{name}`, and the project itself wants `{wish}`")]
    Overridden {
        /// The package.json.
        place: String,
        /// The package.
        name: String,
        /// What the project wants.
        wish: String,
        /// What it overrides it with.
        instead: String,
    },
    /// A package without a hash that is worth something.
    #[error("{place}: `{package}` has {found}, expected a sha512 hash in `integrity`")]
    NoIntegrity {
        /// The file.
        place: String,
        /// "name@version".
        package: String,
        /// "no hash", "only a sha1 hash".
        found: String,
    },
    /// A package that must be there is not for this image.
    #[error("{place}: `{package}` is not for {target}: {wanted}")]
    OtherPlatform {
        /// The file.
        place: String,
        /// "name@version".
        package: String,
        /// What the image is.
        target: NodeTarget,
        /// What the package is for.
        wanted: String,
    },
    /// A tarball that is not the one of the lock.
    #[error("`{package}` from {url} does not match {place}: expected {expected}, found {found}")]
    Mismatch {
        /// "name@version".
        package: String,
        /// The lock.
        place: String,
        /// Where it came from, without credentials.
        url: String,
        /// The hashes in the lock.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// A tarball that is the one of the lock, and cannot be unpacked.
    #[error("the tarball of `{package}` is not sound: {reason}")]
    Tarball {
        /// "name@version".
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting of npm that cannot be used.
    #[error("{place}: {reason}")]
    Configuration {
        /// A file or a variable.
        place: String,
        /// What is wrong; never the value, which may hold a password.
        reason: String,
    },
    /// Nobody says where packages come from.
    #[error("no npm registry is configured, and there is no npm to ask for its default")]
    NoRegistry,
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Mismatch { .. } | Error::Tarball { .. } => Class::Verification,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Document { .. } => format!("it must be as npm writes it: {RENEW}"),
            Error::LockVersion { .. } => format!("{RENEW}, with npm 7 or later"),
            Error::Entry { hint, .. } => (*hint).to_string(),
            Error::Outdated { .. } => RENEW.to_string(),
            Error::Overridden { name, .. } => format!("npm refuses that, too: want the same in both, or override with `${name}`"),
            Error::NoIntegrity { .. } => {
                "delete the lock and write it anew with `npm install --package-lock-only`, from a registry that tells \
                 sha512 hashes: a sha1 hash can be forged"
                    .into()
            }
            Error::OtherPlatform { .. } => {
                "depend on it in `optionalDependencies`, where packages for other platforms are left out".into()
            }
            Error::Mismatch { .. } => {
                "the registry's package was replaced, or damaged on the way: compare it with what the lock was made from"
                    .into()
            }
            Error::Tarball { .. } => "it is what the lock names: tell the authors of the package".into(),
            Error::Configuration { .. } => "npm reads the same setting: `npm config list` shows where it stands".into(),
            Error::NoRegistry => {
                "set `npm_config_registry`, or `registry = https://registry.example/` in an .npmrc, or install npm".into()
            }
        })
    }
}
