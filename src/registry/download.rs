//! Blobs from a registry into the store.

use std::cell::Cell;
use std::io::Read;

use super::client::Scope;
use super::error::expect_success;
use super::{Error, Registry, Result};
use crate::error::{Class, Result as RoomResult};
use crate::layer::{BlobSource, BlobWriter, Store};
use crate::net::{self, Call, Method, Request, Transfer};
use crate::oci::{Descriptor, Reference};
use crate::progress::{Progress, Task};

/// How often a blob that does not verify is fetched: once more, from the start.
const CLEAN_TRIES: u32 = 2;

impl Registry {
    /// Fetches a blob into the store, verified; nothing is done if the store has it.
    pub fn pull_blob(&self, from: &Reference, blob: &Descriptor, store: &Store, task: &Task) -> RoomResult<()> {
        if store.has(&blob.digest) {
            task.advance(blob.size);
            return Ok(());
        }
        let shown = Cell::new(0);
        for attempt in 1.. {
            let mut writer = store.writer()?;
            let got = Cell::new(0u64);
            let on = |count: u64| {
                got.set(got.get() + count);
                if got.get() > shown.get() {
                    task.advance(got.get() - shown.get());
                    shown.set(got.get());
                }
            };
            let outcome = match self.stream(from, blob, &mut writer, &on) {
                Ok(()) => writer.finish_as(&blob.digest, Some(blob.size)).map(|_| ()),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Err(error) if attempt < CLEAN_TRIES && error.class() == Class::Verification => {}
                done => return done.map_err(|error| error.during(pulling(from, blob))),
            }
        }
        Ok(())
    }

    fn stream(&self, from: &Reference, blob: &Descriptor, writer: &mut BlobWriter, on: &dyn Fn(u64)) -> Result<()> {
        let url = self.url(from, &format!("blobs/{}", blob.digest))?;
        let mut transfer = Transfer::default();
        let mut asked = false;
        loop {
            let mut request = Request::get(url.clone());
            request.headers.extend(self.known(from, &Scope::PULL));
            let outcome = transfer.run(self.http(), &request, writer, blob.size, on);
            match outcome {
                Ok(_) => return Ok(()),
                // The first request, or a token that ended on the way: a HEAD leads to a new one.
                Err(error) if error.status() == Some(401) && !asked => {
                    asked = true;
                    self.send(from, &Scope::PULL, &Call::new(Method::HEAD, url.clone()).stay(), 0)?;
                }
                Err(net::Error::Status { status: 404, message, .. }) => {
                    return Err(Error::NotFound {
                        what: format!("blob {} of `{}`", blob.digest, from.name()),
                        message,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the repository has the blob, with the size of the descriptor.
    pub fn has_blob(&self, at: &Reference, blob: &Descriptor) -> Result<bool> {
        self.exists(at, blob, &Scope::PULL)
    }

    pub(super) fn exists(&self, at: &Reference, blob: &Descriptor, scope: &Scope) -> Result<bool> {
        let url = self.url(at, &format!("blobs/{}", blob.digest))?;
        let response = self.send(at, scope, &Call::new(Method::HEAD, url), 0)?;
        if response.status == 404 {
            return Ok(false);
        }
        let response = expect_success(response, &Method::HEAD, at, &format!("blob {}", blob.digest))?;
        // A registry that is wrong about the size is not believed about the rest.
        let size = response.header("content-length").and_then(|text| text.parse::<u64>().ok());
        Ok(size.is_none_or(|size| size == blob.size))
    }
}

fn pulling(from: &Reference, blob: &Descriptor) -> String {
    format!("pulling blob {} from `{}`", blob.digest.short(), from.name())
}

/// The blobs of one repository: fetched into the store when they are opened, verified while they are read.
pub struct RemoteBlobs {
    registry: Registry,
    from: Reference,
    store: Store,
    progress: Progress,
}

impl RemoteBlobs {
    /// The blobs of `from`'s repository.
    pub fn new(registry: Registry, from: Reference, store: Store, progress: Progress) -> Self {
        RemoteBlobs { registry, from, store, progress }
    }
}

impl BlobSource for RemoteBlobs {
    fn open(&self, descriptor: &Descriptor) -> RoomResult<Box<dyn Read + Send>> {
        if !self.store.has(&descriptor.digest) {
            let name = format!("pulling {}", descriptor.digest.short());
            let task = self.progress.task(&name, Some(descriptor.size));
            self.registry.pull_blob(&self.from, descriptor, &self.store, &task)?;
        }
        BlobSource::open(&self.store, descriptor)
    }
}
