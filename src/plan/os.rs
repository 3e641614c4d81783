//! Packages of the base's own distribution: which, from where, and the layer that they become.

use crate::layer::LayerBlob;

use super::PlannedLayer;

/// The layer of OS packages, finished: what comes after it was planned by looking at it.
pub struct Os {
    /// The layer.
    pub layer: PlannedLayer,
    /// As it stands in the manifest.
    pub blob: LayerBlob,
}
