//! What can go wrong while a layer is put together, stored or read.

use std::io;

use crate::error::{Class, Explain};
use crate::oci::Digest;

/// A layer that could not be made, stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that no layer may hold.
    #[error("`{path}` cannot be a path in a layer: {reason}")]
    Path {
        /// What was given, without control characters.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Two inputs write the same path.
    #[error("`/{path}` comes from two inputs: {first} and {second}")]
    Collision {
        /// The path in the image.
        path: String,
        /// Who wrote it first.
        first: String,
        /// Who else wants to.
        second: String,
    },
    /// A path leads through something that is not a folder.
    #[error("`/{path}` of {input} cannot be written: `/{parent}` is {found}, expected a folder")]
    Parent {
        /// The path in the image.
        path: String,
        /// Who writes it.
        input: String,
        /// The ancestor at fault.
        parent: String,
        /// "a file", "a link to ...".
        found: String,
    },
    /// A blob is not what its descriptor says.
    #[error("blob {expected} does not verify: found {found}")]
    Digest {
        /// The digest that was promised.
        expected: Digest,
        /// What was found instead: a digest, or a size.
        found: String,
    },
    /// A blob of the store is not what its name says.
    #[error("blob {digest} of the store does not verify: found {found}")]
    Rotten {
        /// Its name.
        digest: Digest,
        /// What was found instead: a digest, or a size.
        found: String,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A referenced piece of content does not match what the plan knew of it.
    #[error("the content of `/{path}` ({input}) changed or is damaged: {reason}")]
    Content {
        /// The path in the image.
        path: String,
        /// Where it comes from.
        input: String,
        /// Expected and found.
        reason: String,
    },
    /// A layer's compressed stream or its tar is damaged.
    #[error("layer {digest} is damaged: {reason}")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A limit of the reader.
    #[error("layer {digest} has more than {limit} {what}")]
    Limit {
        /// The blob.
        digest: Digest,
        /// "entries", "bytes".
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Reading or writing a stream failed.
    #[error("could not {action} {object}")]
    Stream {
        /// A verb.
        action: &'static str,
        /// "blob sha256:...", "layer `app`".
        object: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The error of this room that an encoder's error carries; else what it is for the caller.
    pub(super) fn carried(source: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
        source.downcast().unwrap_or_else(otherwise)
    }
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Path { .. } | Error::Collision { .. } | Error::Parent { .. } => Class::Usage,
            Error::Stream { .. } | Error::Missing { .. } => Class::Storage,
            _ => Class::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Collision { .. } => Some("leave one of the two out, or give it another place".into()),
            Error::Content { .. } => Some("do not change the project while it is being built; then build again".into()),
            Error::Rotten { .. } => Some(
                "it was removed: run the command again, and it is made or fetched anew; look after this disk".into(),
            ),
            Error::Stream { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the file system of the store is full: free some space, or set INGOT_CACHE to another one".into())
            }
            Error::Missing { .. } => Some("run the command again: what is missing is fetched anew".into()),
            _ => None,
        }
    }
}
