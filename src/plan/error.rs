//! What can be wrong with a plan. Mistakes in the project file are `project::Error`s, at their place.

use crate::error::{Class, Explain};
use crate::oci::Digest;

/// A plan that cannot be made, or that must not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variant that the project does not have.
    #[error("there is no variant `{name}`")]
    UnknownVariant {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Several variants, and no word on which.
    #[error("the project has several variants and no default")]
    NoDefaultVariant {
        /// What there is.
        known: String,
    },
    /// More layers than an image should have.
    #[error("the image would have {total} layers, base included: the limit is {limit}")]
    TooManyLayers {
        /// How many.
        total: usize,
        /// The limit.
        limit: usize,
    },
    /// The base's C library is not one that wheels are made for.
    #[error("the C library of base `{base}` was not recognised: expected glibc or musl")]
    NoLibc {
        /// The base.
        base: String,
    },
    /// Debian has no packages for this platform.
    #[error("there are no OS packages for {platform}")]
    NoArchitecture {
        /// The platform.
        platform: String,
    },
    /// A base with packages, and without a word on where they come from.
    #[error("base `{base}` has no apt sources, and its release is not one that is known")]
    NoSources {
        /// The base.
        base: String,
    },
    /// The base is not the one that the lock has.
    #[error("base `{base}` is not the one of ingot.lock: expected {expected}, found {found}")]
    OtherBase {
        /// The base.
        base: String,
        /// What the lock has.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// A budget does not hold.
    #[error("`{image}` is over its budget: {}", excesses.join("; "))]
    OverBudget {
        /// Name and variant.
        image: String,
        /// What is exceeded, with expected and found.
        excesses: Vec<String>,
        /// The largest layers and files, as a table.
        table: String,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::OverBudget { .. } => Class::Policy,
            Error::OtherBase { .. } => Class::Verification,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::UnknownVariant { known, .. } => format!("the project has {known}"),
            Error::NoDefaultVariant { known } => {
                format!("choose with --variant ({known}, or all), or set `image.default-variant`")
            }
            Error::TooManyLayers { .. } => "choose a base with fewer layers".into(),
            Error::NoLibc { .. } => "choose a base with glibc (debian, ubuntu) or musl (alpine)".into(),
            Error::NoArchitecture { .. } => {
                "choose one of amd64, arm64, arm/v7, 386, ppc64le, s390x and riscv64".into()
            }
            Error::NoSources { .. } => {
                "choose a base with apt sources in /etc/apt, or name the archive with --mirror and --keyring".into()
            }
            Error::OtherBase { .. } => "run `ingot lock` if the base was replaced on purpose".into(),
            Error::OverBudget { .. } => {
                "leave out what is not needed (see the table), raise the budget in the project \
                 file, or build with --no-size-check"
                    .into()
            }
        })
    }

    fn details(&self) -> Option<String> {
        match self {
            Error::OverBudget { table, .. } => Some(table.clone()),
            _ => None,
        }
    }
}
