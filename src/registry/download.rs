//! Blobs from a registry into the store.

use std::cell::Cell;
use std::io::Read;

use super::client::Scope;
use super::error::expect_success;
use super::{Error, Registry, Result};
use crate::error::{Class, Result as RoomResult};
use crate::layer::{BlobFile, BlobSource, BlobWriter, Store};
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
        let response = expect_success(response, &Method::HEAD, scope, at, &format!("blob {}", blob.digest))?;
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

    fn fetch(&self, descriptor: &Descriptor) -> RoomResult<()> {
        if self.store.has(&descriptor.digest) {
            return Ok(());
        }
        let name = format!("pulling {}", descriptor.digest.short());
        let task = self.progress.task(&name, Some(descriptor.size));
        self.registry.pull_blob(&self.from, descriptor, &self.store, &task)
    }
}

impl BlobSource for RemoteBlobs {
    fn open(&self, descriptor: &Descriptor) -> RoomResult<Box<dyn Read + Send>> {
        self.fetch(descriptor)?;
        BlobSource::open(&self.store, descriptor)
    }

    fn file(&self, descriptor: &Descriptor) -> RoomResult<Option<BlobFile>> {
        self.fetch(descriptor)?;
        self.store.file(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::registry::testing::{Act, Seen, Server, at, client};

    fn blob() -> Vec<u8> {
        (0..50_000u32).map(|i| (i % 251) as u8).collect()
    }

    fn descriptor() -> Descriptor {
        Descriptor::of("x/y", &blob())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        (folder, store)
    }

    fn pull(server: &Server, store: &Store) -> RoomResult<()> {
        let (registry, _file) = client("{}");
        registry.pull_blob(&at(server, "a:1"), &descriptor(), store, &Progress::silent().task("x", None))
    }

    fn rest(seen: &Seen) -> Act {
        let start: usize =
            seen.header("range").unwrap().strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        let all = blob();
        let range = format!("bytes {start}-{}/{}", all.len() - 1, all.len());
        Act::body(206, &all[start..]).with("Content-Range", range)
    }

    #[test]
    fn a_blob_is_pulled_once() {
        let server = Server::start(|_| Act::body(200, &blob()));
        let (_folder, store) = store();
        pull(&server, &store).unwrap();
        pull(&server, &store).unwrap();
        assert_eq!((server.seen().len(), store.read(&descriptor().digest, 1 << 20).unwrap()), (1, blob()));
        assert_eq!(server.seen()[0].path(), format!("/v2/a/blobs/{}", descriptor().digest));
    }

    #[test]
    fn a_blob_that_breaks_off_is_resumed() {
        let server = Server::start(|seen| match seen.earlier {
            0 => Act::body(200, &blob()).cut(20_000),
            _ => rest(seen),
        });
        let (_folder, store) = store();
        pull(&server, &store).unwrap();
        assert_eq!(server.seen().len(), 2);
        assert!(server.seen()[1].header("range").is_some());
    }

    #[test]
    fn wrong_bytes_are_fetched_once_more_and_never_stored() {
        let mut wrong = blob();
        wrong[7] ^= 1;
        let (bad, worse) = (wrong.clone(), wrong);
        let once =
            Server::start(move |seen| if seen.earlier == 0 { Act::body(200, &bad) } else { Act::body(200, &blob()) });
        let (_folder, first) = store();
        pull(&once, &first).unwrap();
        assert_eq!(once.seen().len(), 2);
        let always = Server::start(move |_| Act::body(200, &worse));
        let (_folder, second) = store();
        let error = pull(&always, &second).unwrap_err();
        assert_eq!((error.class(), always.seen().len()), (Class::Verification, 2));
        assert!(error.to_string().starts_with("pulling blob "), "{error}");
        assert!(!second.has(&descriptor().digest));
        for body in [blob()[..49_999].to_vec(), [blob(), vec![0]].concat()] {
            let server = Server::start(move |_| Act::body(200, &body));
            let error = pull(&server, &second).unwrap_err();
            assert_eq!(error.class(), Class::Verification, "{error}");
        }
        assert_eq!(crate::fs::read_dir(&second.root().join("tmp")).unwrap().len(), 0);
    }

    #[test]
    fn storage_elsewhere_gets_no_authorization_and_its_401_no_credentials() {
        let storage = Server::start(|seen| match seen.path() {
            "/blob" => Act::body(200, &blob()),
            _ => Act::status(401).with("WWW-Authenticate", "Basic realm=x"),
        });
        for (path, fine) in [("/blob", true), ("/greedy", false)] {
            let away = storage.url(path);
            let server = Server::start(move |seen| match seen.header("authorization") {
                Some(_) => Act::status(307).with("Location", away.as_str()),
                None => Act::status(401).with("WWW-Authenticate", "Basic realm=x"),
            });
            let (registry, _file) = client(&format!(r#"{{"{}":{{"auth":"dTpw"}}}}"#, server.authority()));
            let (_folder, store) = store();
            let task = Progress::silent().task("x", None);
            let outcome = registry.pull_blob(&at(&server, "a:1"), &descriptor(), &store, &task);
            assert_eq!(outcome.is_ok(), fine, "{outcome:?}");
        }
        assert!(!storage.seen().is_empty() && storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
    }

    #[test]
    fn a_token_that_ends_on_the_way_is_renewed() {
        let server = Server::start(|seen| match (seen.path(), seen.header("authorization")) {
            ("/token", _) => Act::body(200, format!(r#"{{"token":"t{}"}}"#, seen.earlier).as_bytes()),
            (_, Some("Bearer t0")) if seen.header("range").is_none() && seen.method == "GET" => {
                Act::body(200, &blob()).cut(20_000)
            }
            (_, Some("Bearer t1")) if seen.method == "GET" => rest(seen),
            (_, Some("Bearer t1")) => Act::status(200),
            (_, Some("Bearer t0")) if seen.method == "HEAD" && seen.earlier == 1 => Act::status(200),
            _ => {
                let host = seen.header("host").unwrap();
                Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
        });
        let (registry, _file) = client("{}");
        // The manifest came first, as always: its token serves the blob.
        let _ = registry.manifest(&at(&server, "a:1"));
        let (_folder, store) = store();
        let task = Progress::silent().task("x", None);
        registry.pull_blob(&at(&server, "a:1"), &descriptor(), &store, &task).unwrap();
        assert!(store.has(&descriptor().digest));
    }

    #[test]
    fn a_size_that_is_wrong_is_no_blob() {
        let server = Server::start(|seen| match seen.path().split('/').nth(2) {
            Some("right") => Act::body(200, &blob()),
            Some("wrong") => Act::body(200, b"x"),
            Some("broken") => Act::status(418),
            _ => Act::status(404),
        });
        let (registry, _file) = client("{}");
        let has = |name: &str| registry.has_blob(&at(&server, name), &descriptor());
        assert_eq!((has("right").unwrap(), has("wrong").unwrap(), has("none").unwrap()), (true, false, false));
        assert!(has("broken").is_err());
        let (_folder, store) = store();
        let error = registry
            .pull_blob(&at(&server, "none:1"), &descriptor(), &store, &Progress::silent().task("x", None))
            .unwrap_err();
        assert!(error.to_string().contains("is not in the registry"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn remote_blobs_are_read_from_the_store() {
        let server = Server::start(|_| Act::body(200, &blob()));
        let (registry, _file) = client("{}");
        let (_folder, store) = store();
        let remote = RemoteBlobs::new(registry, at(&server, "a:1"), store.clone(), Progress::silent());
        for _ in 0..2 {
            let mut bytes = Vec::new();
            BlobSource::open(&remote, &descriptor()).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(Digest::of(&bytes), descriptor().digest);
        }
        assert_eq!(server.seen().len(), 1);
    }
}
