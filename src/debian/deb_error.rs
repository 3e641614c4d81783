//! What can be wrong with a .deb.

use std::io;

use crate::error::{Class, Explain};
use crate::text::escape;

/// A .deb that Ingot refuses.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The archive or one of its tars is not what deb(5) says.
    #[error("the .deb of package `{package}` is damaged: {reason}")]
    Damaged {
        /// The package, as the caller names it.
        package: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// It holds more than any package does.
    #[error("the .deb of package `{package}` has more than {limit} {what}")]
    Limit {
        /// The package, as the caller names it.
        package: String,
        /// "entries", "uncompressed bytes in `data.tar.xz`".
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A member cannot be decompressed.
    #[error("`{member}` in the .deb of package `{package}` cannot be decompressed")]
    Compression {
        /// The package, as the caller names it.
        package: String,
        /// The member of the archive.
        member: String,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// Something that no image gets from a package.
    #[error("package `{package}` cannot be unpacked: `/{path}` {reason}")]
    Entry {
        /// The package, as the caller names it.
        package: String,
        /// The path in the package.
        path: String,
        /// "is a device, a pipe or a socket".
        reason: String,
    },
    /// The control file is none.
    #[error("the control file of package `{package}` cannot be used")]
    Control {
        /// The package, as the caller names it.
        package: String,
        /// Why not.
        #[source]
        source: super::Error,
    },
    /// The index promised another package.
    #[error("the .deb of package `{package}` is another one: expected {field} `{expected}`, found `{found}`")]
    Other {
        /// The package, as the caller names it.
        package: String,
        /// "version".
        field: &'static str,
        /// What the index says.
        expected: String,
        /// What the control file says.
        found: String,
    },
}

impl DebError {
    /// [`DebError::Damaged`]; what is foreign in `reason` is escaped.
    pub(super) fn damaged(package: &str, reason: impl AsRef<str>) -> DebError {
        DebError::Damaged { package: package.into(), reason: escape(reason.as_ref()) }
    }

    /// [`DebError::Entry`].
    pub(super) fn entry(package: &str, path: impl AsRef<str>, reason: impl Into<String>) -> DebError {
        DebError::Entry { package: package.into(), path: escape(path.as_ref()), reason: reason.into() }
    }
}

impl Explain for DebError {
    fn class(&self) -> Class {
        Class::Verification
    }

    fn hint(&self) -> Option<String> {
        Some("the package is broken or hostile: choose another version or another archive".into())
    }
}
