//! What can go wrong between an image's name and its bytes.

use std::path::PathBuf;

use crate::error::{Class, Explain};
use crate::oci::{Digest, Platform};

/// An image that could not be named, opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name of an image.
    #[error("`{text}` is not the name of an image: {reason}")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A layout or archive that is not one, or is damaged.
    #[error("`{}` is not a sound {what}: {reason}", path.display())]
    Malformed {
        /// The folder or file.
        path: PathBuf,
        /// "OCI layout", "OCI archive", "docker archive".
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No folder where a layout should be.
    #[error("there is no folder `{}`", dir.display())]
    NoLayout {
        /// The folder.
        dir: PathBuf,
    },
    /// No image of this name, or none was named and there are several.
    #[error("`{source_name}` {problem}")]
    Choice {
        /// The layout or archive.
        source_name: String,
        /// "has no image `x`", "holds 3 images".
        problem: String,
        /// What there is.
        available: Vec<String>,
    },
    /// No image for this platform.
    #[error("`{name}` is not for {wanted}: found {}", listed(found))]
    Platform {
        /// The image.
        name: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        found: Vec<Platform>,
    },
    /// An index says one platform and the image itself another.
    #[error("`{name}`: the index lists manifest {manifest} for {listed}, but its configuration is for {found}")]
    PlatformMismatch {
        /// The image.
        name: String,
        /// The manifest.
        manifest: Digest,
        /// What the index says.
        listed: String,
        /// What the configuration says.
        found: String,
    },
    /// A blob that is listed is not there.
    #[error("`{name}` has no blob {digest}")]
    BlobMissing {
        /// The layout or archive.
        name: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob is there, but cannot be it.
    #[error("blob {digest} of `{name}` does not verify: expected {expected}, found {found}")]
    Blob {
        /// The layout or archive.
        name: String,
        /// The blob.
        digest: Digest,
        /// What was promised.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A document is larger than documents may be.
    #[error("document {digest} of `{name}` has {size} bytes: the limit is {limit}")]
    TooLarge {
        /// The image.
        name: String,
        /// The manifest, index or configuration.
        digest: Digest,
        /// What its descriptor says.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Manifest and configuration do not agree.
    #[error("the image's {what} do not agree: expected {expected}, found {found}")]
    Inconsistent {
        /// "diffIDs and layers".
        what: &'static str,
        /// According to the one.
        expected: String,
        /// According to the other.
        found: String,
    },
    /// A manifest of something else: a chart, a signature, a module.
    #[error("`{name}` is not a container image: its configuration is a `{media_type}`")]
    NotAnImage {
        /// The name.
        name: String,
        /// The configuration's media type.
        media_type: String,
    },
    /// An index within an index within an index.
    #[error("`{name}` nests indexes more than {limit} deep")]
    Nested {
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// A destination that cannot hold this.
    #[error("`{destination}` cannot hold {what}")]
    Unsupported {
        /// Where to.
        destination: String,
        /// What it was given.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Reading or writing a stream failed.
    #[error("could not {action} {object}")]
    Stream {
        /// A verb.
        action: &'static str,
        /// Which blob or file.
        object: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The most characters of a foreign text in a message.
const SHOWN_LIMIT: usize = 200;
/// The most names in a hint.
const NAMES_LIMIT: usize = 20;

/// A text from somebody else's document, fit for a message: short, and nothing that a terminal would act on.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_LIMIT).collect()
}

fn names_of(all: &[String]) -> String {
    let mut names: Vec<String> = all.iter().take(NAMES_LIMIT).map(|name| shown(name)).collect();
    if all.len() > NAMES_LIMIT {
        names.push(format!("... ({} in all)", all.len()));
    }
    names.join(", ")
}

fn listed(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().take(NAMES_LIMIT).map(|platform| shown(&platform.to_string())).collect();
    if names.is_empty() { "no image at all".into() } else { names.join(", ") }
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Name { .. }
            | Error::NoLayout { .. }
            | Error::Choice { .. }
            | Error::Platform { .. }
            | Error::Unsupported { .. } => Class::Usage,
            Error::Stream { .. } => Class::Storage,
            _ => Class::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Name { meant: Some(meant), .. } => Some(format!("did you mean `{meant}`?")),
            Error::Name { .. } => Some(
                "images are named REF or docker://REF, oci:DIR[:TAG], oci-archive:FILE[:REF], docker-archive:FILE[:REF], \
                 containers-storage:REF, docker-daemon:REF"
                    .into(),
            ),
            Error::NoLayout { .. } => Some("check the path: one in a project file is relative to that file".into()),
            Error::Choice { available, .. } if available.is_empty() => None,
            Error::Choice { available, .. } => Some(format!("name one of: {}", names_of(available))),
            Error::Platform { found, .. } if !found.is_empty() => {
                Some("choose one of these platforms, or an image that has the one you want".into())
            }
            Error::Unsupported { hint, .. } => Some((*hint).into()),
            Error::Malformed { .. } | Error::Blob { .. } | Error::BlobMissing { .. } => {
                Some("make or fetch it again: it is damaged or incomplete".into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_shown_short_and_clean() {
        let available: Vec<String> = (0..30).map(|n| format!("\u{1b}[31mv{n}{}", "x".repeat(500))).collect();
        let error = Error::Choice { source_name: "oci:x".into(), problem: "holds 30 images".into(), available };
        let hint = error.hint().unwrap();
        assert!(hint.ends_with("... (30 in all)") && !hint.contains('\u{1b}') && hint.len() < 5000, "{hint}");
        let platform = Platform { os: "li\u{7}nux".into(), architecture: "amd64".into(), variant: None };
        let found = vec![platform];
        let error = Error::Platform { name: "x".into(), wanted: Platform::linux("arm64"), found };
        assert_eq!(error.to_string(), "`x` is not for linux/arm64: found linux/amd64");
    }

    #[test]
    fn a_stream_that_fails_is_a_matter_of_storage() {
        let source = std::io::Error::other("bad sector");
        let error = Error::Stream { action: "read", object: "blob sha256:x".into(), source };
        assert_eq!((error.to_string().as_str(), error.class()), ("could not read blob sha256:x", Class::Storage));
    }
}
