//! Copying an image from one place to another, with its own bytes: no digest changes.

use super::open::{Opened, Platforms};
use super::sink::{Receipt, Sink};
use crate::error::Result;
use crate::progress::Progress;

/// Writes what is behind a name to `sink`. This is `ingot pull`, `ingot push` and `ingot copy`.
pub fn copy(opened: &Opened, platforms: &Platforms, sink: &dyn Sink, progress: &Progress) -> Result<Receipt> {
    let artifact = opened.artifact(platforms)?;
    sink.write(&artifact, &*opened.blobs(), progress)
}
