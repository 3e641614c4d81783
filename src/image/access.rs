//! What opening and writing images needs: the store, the registries, the engines, somewhere to report to.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Engine, Kind};
use crate::error::Result;
use crate::layer::Store;
use crate::net::Http;
use crate::progress::Progress;
use crate::registry::{Options, Registry};

/// Everything that a name may have to be looked up with. What is not needed is never made; clones share it.
#[derive(Clone)]
pub struct Access {
    /// Blobs of registries are kept here, and temporary archives.
    pub store: Store,
    /// Where to say what takes time.
    pub progress: Progress,
    /// Whether an engine on another machine may be used.
    pub remote_engine: bool,
    options: Options,
    registry: Arc<Mutex<Option<Registry>>>,
}

impl Access {
    /// Registries are found as podman and docker find them.
    pub fn new(store: &Store, progress: &Progress) -> Self {
        Access {
            store: store.clone(),
            progress: progress.clone(),
            remote_engine: false,
            options: Options::default(),
            registry: Arc::default(),
        }
    }

    /// With what the user said about registries.
    pub fn with_registries(mut self, options: Options) -> Self {
        (self.options, self.registry) = (options, Arc::default());
        self
    }

    /// The client of all registries, made when it is first needed.
    pub fn registry(&self) -> Result<Registry> {
        let mut made = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(registry) => Ok(registry.clone()),
            None => Ok(made.insert(Registry::new(Http::new()?, self.options.clone())?).clone()),
        }
    }

    pub(super) fn engine(&self, kind: Kind) -> Result<Engine> {
        Ok(Engine::detect_where(Some(kind), self.remote_engine)?)
    }
}
