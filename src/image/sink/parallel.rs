//! Several blobs at a time.

use crate::error::Result;
use crate::image::frozen::{Artifact, Blob};
use crate::layer::{BlobSource, Origin};
use crate::net::in_parallel;

/// Blobs that are transferred at a time.
pub const WORKERS: usize = 6;

/// Fetches the layers that are still in a registry, several at a time: an archive is written one after the other.
pub fn fetch_remote(artifact: &Artifact, blobs: &dyn BlobSource) -> Result<()> {
    let is_remote = |blob: &Blob| blob.layer.as_ref().is_some_and(|layer| matches!(layer.origin, Origin::Remote(_)));
    let remote: Vec<Blob> = artifact.blobs().into_iter().filter(is_remote).collect();
    // A registry's source puts a blob into the store when it is opened.
    in_parallel(&remote, WORKERS, |blob| blobs.open(&blob.descriptor).map(drop)).map(drop)
}
