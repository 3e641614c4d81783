//! The core: what a layer is made of, how it becomes bytes, and where the bytes are kept.
//!
//! - [`LayerTree`]: a sorted map from path to entry; content is referenced, not loaded.
//! - [`LayerSource`]: a kind of layer. It knows its fingerprint and its tree, and never sees tar, gzip or digests.
//! - [`LayerBlob`]: a finished layer. It is complete or it does not exist.
//! - [`Store`]: blobs by digest, and versioned buckets for what is derived from them.

mod base;
mod batch;
mod blob;
mod cache;
mod deflated;
pub mod encode;
mod error;
mod fingerprint;
mod huffman;
#[doc(hidden)]
pub mod inflate;
mod make;
mod page;
mod pipeline;
pub mod read;
mod run;
mod short;
mod source;
mod splice;
mod stamps;
mod store;
pub(crate) mod tar;
mod tree;
mod write;

pub use base::{BaseEntry, BaseKind, BaseView, EmptyBase, Observed};
pub use blob::{BlobFile, BlobRecord, BlobSource, LargeFile, Largest, LayerBlob, Origin};
pub use cache::{LayerCache, Lookup};
pub use deflated::deflate_run;
pub use error::Error;
pub use fingerprint::{Fingerprint, LAYER_FORMAT};
pub use make::{make_layer, make_layer_with};
pub use source::{Context, LayerSource};
pub use stamps::Stamps;
pub use store::{BlobReader, BlobWriter, Bucket, Fetching, Store};
#[doc(hidden)]
pub use tar::write_tree;
pub use tar::{Unpack, unpack};
pub use tree::{Content, Entry, Kind, LayerTree, Packed, Packing, TreePath};
pub use write::{LARGEST, write_layer};
