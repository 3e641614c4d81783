//! Why packages cannot be installed beside each other.

use crate::error::{Class, Explain};

/// A set of packages, or a wish for them, that cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A value of `[os] keep` that means nothing.
    #[error("`{value}` is nothing that `keep` knows")]
    Keep {
        /// What stands there.
        value: String,
    },
    /// Two packages have one path, and none replaces the other.
    #[error("`/{path}` is in two packages: {first} and {second}")]
    Collision {
        /// The path in the image.
        path: String,
        /// "package `a` 1.0".
        first: String,
        /// "package `b` 2.0", "package `b` of the base".
        second: String,
    },
    /// A folder in the one is no folder in the other.
    #[error("`/{path}` is a folder of {folder} but {other}")]
    Folder {
        /// The path in the image.
        path: String,
        /// Who says that it is a folder: "package `a` 1.0", "the base".
        folder: String,
        /// "a file of package `b` 2.0", "a link to nothing of the base".
        other: String,
    },
    /// A path that a diversion makes is none.
    #[error("the diversion of `{from}` to `{to}` by {by} has a path that no image can have")]
    Diversion {
        /// What is diverted.
        from: String,
        /// To where.
        to: String,
        /// "package `a`", "the base".
        by: String,
        /// Why not.
        #[source]
        source: crate::layer::Error,
    },
}

impl Explain for InstallError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            InstallError::Keep { .. } => {
                "keep is a list of \"docs\", \"man\", \"info\", \"locales\", \"locale:NAME\" and \"all\"".into()
            }
            InstallError::Collision { .. } | InstallError::Folder { .. } => {
                "leave one of the packages out, or choose versions that know of each other".into()
            }
            InstallError::Diversion { .. } => "leave the package out that diverts it".into(),
        })
    }
}
