//! What opening and writing images needs: the store, the registries, the engines, somewhere to report to.

use crate::engine::{Engine, Kind};
use crate::error::Result;
use crate::layer::Store;
use crate::progress::Progress;

/// Everything that a name may have to be looked up with. What is not needed is never made.
#[derive(Clone)]
pub struct Access {
    /// Blobs of registries are kept here, and temporary archives.
    pub store: Store,
    /// Where to say what takes time.
    pub progress: Progress,
    /// Whether an engine on another machine may be used.
    pub remote_engine: bool,
}

impl Access {
    /// Local names only, until a registry is added.
    pub fn new(store: &Store, progress: &Progress) -> Self {
        Access { store: store.clone(), progress: progress.clone(), remote_engine: false }
    }

    pub(super) fn engine(&self, kind: Kind) -> Result<Engine> {
        Ok(Engine::detect_where(Some(kind), self.remote_engine)?)
    }
}
