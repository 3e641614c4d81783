//! Finished layers, and where blobs can be read from.

use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::oci::{Descriptor, Digest, Reference};

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the store.
    Store,
    /// In this repository of a registry: mounted or referenced, downloaded only if something needs the bytes.
    Remote(Reference),
}

/// A layer as it stands in a manifest. Complete, or it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    /// Media type, digest and size of the compressed bytes.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the uncompressed tar in bytes; `None` for a base layer that was never opened.
    pub uncompressed_size: Option<u64>,
    /// Which layer it is: "app", "venv", "base 1/3".
    pub name: String,
    /// The `created_by` of its history entry.
    pub created_by: String,
    /// Where its bytes are.
    pub origin: Origin,
}

/// What the layer cache remembers of a finished layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Media type, digest and size of the compressed bytes.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the uncompressed tar in bytes.
    pub uncompressed_size: u64,
    /// How many entries it has.
    pub entries: u64,
    /// What it weighs most by.
    pub largest: Largest,
}

/// The largest files of a layer, and the inputs whose files weigh most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Largest {
    /// Largest first.
    pub files: Vec<LargeFile>,
    /// The unpacked bytes of all files of one input, largest first.
    pub inputs: Vec<(String, u64)>,
}

/// A file that counts, when a size budget does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeFile {
    /// The path in the image, without a leading slash.
    pub path: String,
    /// Unpacked bytes.
    pub size: u64,
    /// Which input it comes from.
    pub input: String,
}

/// Something that blobs can be read from: the store, a layout, an archive, a registry.
///
/// The reader verifies: it fails before its end if the bytes are not those of the descriptor (digest and size).
pub trait BlobSource: Send + Sync {
    /// A verifying reader of the whole blob.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// The file that this blob is, if it is one that nobody changes in place and that may be shared.
    fn file(&self, _: &Descriptor) -> Result<Option<BlobFile>> {
        Ok(None)
    }
}

/// A file that is a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether this process wrote it, and hashed it meanwhile. Otherwise it proves nothing that it is there.
    pub is_verified: bool,
}
