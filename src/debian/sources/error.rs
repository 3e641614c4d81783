//! What can be wrong with apt's sources, preferences and keyring files.

use crate::error::{Class, Explain};

/// apt's configuration does not say where packages come from, or says what Ingot cannot do.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A source that cannot be read.
    #[error("`{origin}` is not a source of packages: {reason}")]
    Syntax {
        /// File and line, or file and paragraph.
        origin: String,
        /// Why not.
        reason: String,
    },
    /// A source that is reached in a way that Ingot does not know.
    #[error("`{origin}` names a source by `{scheme}:`, and only http and https are supported")]
    Scheme {
        /// Where it stands.
        origin: String,
        /// What stands before the colon.
        scheme: String,
    },
    /// `Signed-By` names a file that is not there.
    #[error("`{origin}` is signed by the keyring `{path}`, which is not there")]
    NoKeyring {
        /// Where it stands.
        origin: String,
        /// The file.
        path: String,
    },
    /// No source fits a suite.
    #[error("no source for the suite `{suite}` of {at}")]
    NoSuite {
        /// The suite.
        suite: String,
        /// For what: "`debian:12/packages`".
        at: String,
        /// What is wrong with sources that were passed over.
        left_out: Vec<String>,
    },
    /// A mirror without keys.
    #[error("no keyring that says who may sign the suite `{suite}` of {at}")]
    NoKeys {
        /// The suite.
        suite: String,
        /// For what.
        at: String,
    },
    /// A preference that cannot be read.
    #[error("`{origin}` is not a preference: {reason}")]
    Preference {
        /// File and paragraph.
        origin: String,
        /// Why not.
        reason: String,
    },
}

impl Explain for SourcesError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SourcesError::Syntax { .. } | SourcesError::Preference { .. } => {
                "correct the file, as sources.list(5) or apt_preferences(5) describes it".into()
            }
            SourcesError::Scheme { .. } => "name the archive itself, by its http or https URL".into(),
            SourcesError::NoKeyring { .. } => "install the package that has the keyring, or correct Signed-By".into(),
            SourcesError::NoSuite { .. } => {
                "name a mirror and a keyring: `--mirror URL --keyring FILE`, or `mirror` and `keyring` under [os]"
                    .into()
            }
            SourcesError::NoKeys { .. } => "name the keyring: `--keyring FILE`, or `keyring` under [os]".into(),
        })
    }

    fn details(&self) -> Option<String> {
        match self {
            SourcesError::NoSuite { left_out, .. } if !left_out.is_empty() => {
                Some(format!("passed over:\n  {}", left_out.join("\n  ")))
            }
            _ => None,
        }
    }
}
