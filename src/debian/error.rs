//! What can go wrong between apt's sources and the layer of OS packages.

use crate::error::{Class, Explain};

/// A source, an index, a package or a set of packages that Ingot refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A version that is none.
    #[error("`{text}` is not a version of a package: {reason}")]
    Version {
        /// What stands there, shortened.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// A relation between packages that is none.
    #[error("`{text}` is not a relation between packages")]
    Relation {
        /// What stands there, shortened.
        text: String,
    },
    /// A path in a package that no image can have.
    #[error("package `{package}` has a path that no image can have")]
    Path {
        /// The package's name.
        package: String,
        /// Why not.
        #[source]
        source: crate::layer::Error,
    },
    /// A package without a field that every package has.
    #[error("the description of package `{package}` has no field `{field}`")]
    Field {
        /// The package's name, if it has one.
        package: String,
        /// The field.
        field: &'static str,
    },
    // What is installed.
    /// A paragraph of dpkg's status that does not parse.
    #[error("dpkg's database has no readable description of package `{package}`")]
    Status {
        /// The package's name.
        package: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Version { .. } | Error::Relation { .. } | Error::Field { .. } | Error::Path { .. } => {
                Class::Verification
            }
            Error::Status { .. } => Class::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Version { .. } | Error::Relation { .. } | Error::Field { .. } | Error::Path { .. } => {
                "the package or the index that says so is broken: choose another version or another archive".into()
            }
            Error::Status { .. } => "the base image's `/var/lib/dpkg/status` is damaged: choose another base".into(),
        })
    }
}
