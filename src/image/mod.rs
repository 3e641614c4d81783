//! Images: where they come from, what they consist of, where they go.
//!
//! A name ([`ImageName`]) is opened ([`open()`]): that reads an index or a manifest and nothing else. [`Opened::image`]
//! chooses a platform and reads manifest and configuration; layers are read through [`BaseImage::blobs`] if somebody
//! needs them. An [`Image`] is frozen documents and finished layers; an [`Artifact`] of one or several is written to
//! a [`Sink`], and [`copy()`] passes one on unchanged. [`Rootfs`] is the merged view of an image's layers.
//!
//! Everything that is read is checked against its digest and size, and has a limit.

mod access;
mod archive;
mod blobs;
mod copy;
mod docker_archive;
mod error;
mod examine;
#[cfg(test)]
mod fixture;
mod frozen;
mod layout;
mod listing;
mod materialise;
mod name;
mod open;
mod probe;
mod rootfs;
mod sink;
mod source;

pub use access::Access;
pub use blobs::Blobs;
pub use copy::copy;
pub use error::Error;
pub use examine::{DocumentFlaw, DocumentFlawKind, Examined, examine};
pub use frozen::{Artifact, Blob, Extra, Frozen, Image, MultiImage};
pub use listing::{LayerListing, Soon, remember_listing};
pub use name::ImageName;
pub use open::{BaseImage, Opened, Platforms, open};
pub use probe::{BaseFacts, BasePython};
pub use rootfs::Rootfs;
pub use sink::{Early, Receipt, Sink, Tally, sink};
