//! The interface between kinds of layers and the driver.

use super::{BaseView, Fingerprint, LayerTree, Store};
use crate::error::Result;
use crate::progress::Progress;

/// What a layer source may use while it makes its tree.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Blobs and derived data.
    pub store: &'a Store,
    /// The layers below.
    pub base: &'a dyn BaseView,
    /// Where to say what takes time.
    pub progress: &'a Progress,
}

/// A kind of layer. It never sees tar, gzip or digests of layers: the driver derives those from its tree.
pub trait LayerSource: Send + Sync {
    /// The layer's name in tables and messages: "venv", "app".
    fn name(&self) -> &str;

    /// The `created_by` of its history entry: one line, deterministic.
    fn created_by(&self) -> String;

    /// Every input that decides the tree. Must not need the tree itself.
    fn fingerprint(&self, context: &Context<'_>) -> Result<Fingerprint>;

    /// About how much work its tree and its bytes are, compared with other layers: the dearest are begun first. Bytes do
    /// not depend on it.
    fn cost(&self) -> u64 {
        0
    }

    /// The entries. A pure function of what the fingerprint names. Parents may be left out.
    fn tree(&self, context: &Context<'_>) -> Result<LayerTree>;
}
