//! What can be wrong with signed indexes and with the files that they name.

use crate::error::{Class, Explain};

/// An archive says what cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is neither InRelease nor a signature of Release.
    #[error("the suite `{suite}` at `{url}` is not signed")]
    Unsigned {
        /// The suite.
        suite: String,
        /// Its folder.
        url: String,
        /// Whether apt was told to use it all the same.
        trusted: bool,
    },
    /// No signature holds.
    #[error("`{url}` has no good signature: {}", reasons.join("; "))]
    Signature {
        /// The signed file.
        url: String,
        /// What is wrong with each signature.
        reasons: Vec<String>,
    },
    /// It is not what it should be.
    #[error("`{url}` is malformed: {reason}")]
    Malformed {
        /// The file.
        url: String,
        /// Why.
        reason: String,
    },
    /// It is about another suite.
    #[error("`{url}` is signed for the suite `{found}`, expected `{expected}`")]
    OtherSuite {
        /// The signed file.
        url: String,
        /// The suite that was asked for.
        expected: String,
        /// What it says.
        found: String,
    },
    /// It was made tomorrow, or later.
    #[error("`{url}` was made in the future: {date}")]
    Future {
        /// The signed file.
        url: String,
        /// Its date.
        date: String,
    },
    /// It is too old to be used.
    #[error("`{url}` was valid until {until}")]
    Expired {
        /// The signed file.
        url: String,
        /// Its `Valid-Until`.
        until: String,
    },
    /// It is older than the one that the lock knows.
    #[error("`{url}` is of {found}, and ingot.lock knows one of {expected}")]
    Older {
        /// The signed file.
        url: String,
        /// The lock's date.
        expected: String,
        /// Its date.
        found: String,
    },
    /// The suite does not have what the source names.
    #[error("the suite `{suite}` at `{url}` has no packages of the component `{component}` for {architecture}")]
    NoIndex {
        /// The suite.
        suite: String,
        /// Its folder.
        url: String,
        /// The component.
        component: String,
        /// The architecture.
        architecture: String,
    },
    /// The signed file lists an index that the server does not have.
    #[error("`{url}` is not there, though it is listed as signed")]
    Absent {
        /// The index.
        url: String,
    },
    /// The bytes are not the ones that were signed.
    #[error("`{url}` is not what was signed: expected {expected}, found {found}")]
    Mismatch {
        /// The file.
        url: String,
        /// Digest or size.
        expected: String,
        /// Digest or size.
        found: String,
    },
    /// It cannot be unpacked.
    #[error("could not unpack `{url}`")]
    Unpack {
        /// The file.
        url: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than anything that was ever made.
    #[error("`{url}` is too large: more than {limit} bytes")]
    TooLarge {
        /// The file.
        url: String,
        /// The most that is allowed.
        limit: u64,
    },
}

impl Explain for ArchiveError {
    fn class(&self) -> Class {
        match self {
            ArchiveError::NoIndex { .. } => Class::Usage,
            ArchiveError::Absent { .. } => Class::Network,
            _ => Class::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ArchiveError::Unsigned { trusted: true, .. } => {
                "`trusted=yes` makes apt use it unsigned; Ingot does not: sign it, or name another source".into()
            }
            ArchiveError::Unsigned { .. } => "name a source that is signed".into(),
            ArchiveError::Signature { .. } => {
                "the keyring of the source (Signed-By, or --keyring) must have the key of the archive; if it has, \
                 somebody may have changed the file on its way"
                    .into()
            }
            ArchiveError::OtherSuite { .. } => "correct the suite of the source".into(),
            ArchiveError::Future { .. } => "set this machine's clock, or ask who keeps the archive".into(),
            ArchiveError::Expired { .. } => {
                "use a mirror that is kept up to date; for an old snapshot say `check-valid-until=no` in its source"
                    .into()
            }
            ArchiveError::Older { .. } => {
                "the mirror is behind, or replays old packages: use another one, or write the lock anew".into()
            }
            ArchiveError::NoIndex { .. } => "correct the components of the source, or the platform".into(),
            ArchiveError::Absent { .. } => {
                "the archive may keep this architecture elsewhere (Ubuntu: at its archive of ports): name that mirror"
                    .into()
            }
            ArchiveError::Malformed { .. }
            | ArchiveError::Mismatch { .. }
            | ArchiveError::Unpack { .. }
            | ArchiveError::TooLarge { .. } => {
                "the mirror may be changing just now: try again later, or use another one".into()
            }
        })
    }
}
