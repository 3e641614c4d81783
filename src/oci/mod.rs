//! The standard's documents, without any I/O: digests, media types, descriptors, platforms, manifests,
//! configurations, references, and the one canonical JSON writer.
//!
//! Types for parsing and the field names come from `oci-spec`; its maps are unordered and it drops fields that
//! it does not know, so documents leave only through [`json::canonical`], and configurations are edited as values.

mod config;
mod descriptor;
mod digest;
mod epoch;
mod error;
pub mod json;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use config::{Config, History};
pub use descriptor::Descriptor;
pub use digest::{Digest, Hasher};
pub use epoch::Epoch;
pub use error::Error;
pub use manifest::{Document, Index, Manifest};
pub use platform::Platform;
pub use reference::{Reference, without_password};

/// The largest manifest, index or configuration that is read, in bytes. The distribution specification asks
/// registries to take at least 4 MiB.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;
