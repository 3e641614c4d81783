//! What can be wrong with a document of the standard.

use crate::error::{Class, Explain};

/// A document or a name that does not follow the specification.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("`{text}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
    Digest {
        /// What was found.
        text: String,
    },
    /// Not an image reference.
    #[error("`{text}` is not an image reference: {reason}")]
    Reference {
        /// What was found.
        text: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Not `os/architecture[/variant]`.
    #[error("`{text}` is not a platform: expected `os/architecture` or `os/architecture/variant`")]
    Platform {
        /// What was found.
        text: String,
    },
    /// The document is not JSON, or not of the expected shape.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// "manifest", "index", "configuration".
        what: &'static str,
        /// What is wrong, with the position where there is one.
        reason: String,
    },
    /// The document declares a media type that Ingot does not handle.
    #[error("unsupported media type `{media_type}` of {what}")]
    MediaType {
        /// "manifest", "layer".
        what: &'static str,
        /// What was found.
        media_type: String,
    },
    /// A value is not a time.
    #[error("`{text}` is not a time: expected seconds since 1970 or RFC 3339")]
    Time {
        /// What was found.
        text: String,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Reference { .. } | Error::Platform { .. } | Error::Time { .. } => Class::Usage,
            _ => Class::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Reference { .. } => {
                Some("references look like `ubuntu:22.04` or `registry.example:5000/team/app:1.2`".into())
            }
            Error::Platform { .. } => Some("for example `linux/amd64` or `linux/arm64`".into()),
            _ => None,
        }
    }
}
