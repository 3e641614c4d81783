//! The one async runtime of the process: two worker threads, started when the network is first used.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use super::Error;

const WORKERS: usize = 2;

/// The runtime. Callers are ordinary threads: none of them may itself be a worker of it.
pub(super) fn get() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(WORKERS).thread_name("ingot-net").enable_all().build()
    });
    started.as_ref().map_err(|error| Error::Setup { source: io::Error::new(error.kind(), error.to_string()) })
}
