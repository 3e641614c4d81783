//! Blobs to a registry: not at all if it has them, by mount if a neighbour has them, else by upload.
//!
//! An upload is one streaming PATCH and a PUT that commits, as docker does it: that is what registries are tested
//! with. A PATCH that dies is resumed where the registry says it stopped. Chunks of a fixed size are avoided: GHCR
//! refuses those over 4 MiB. A registry without PATCH gets one PUT with the whole blob.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::PoisonError;
use std::thread;

use url::Url;

use super::client::{Scope, odd};
use super::error::expect_success;
use super::location::location;
use super::manifest::check_claim;
use super::{Error, Registry, Result};
use crate::error::Result as RoomResult;
use crate::fs;
use crate::layer::BlobSource;
use crate::net::{Call, Method, Response};
use crate::oci::{Descriptor, Reference};
use crate::progress::Task;

/// The limit of answers to upload requests, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;
/// How often an upload is resumed although every attempt brought something.
const RESUME_LIMIT: u32 = 40;

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another repository.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// What became of the request for a session.
enum Session {
    Mounted,
    Open(Url),
}

/// What became of sending bytes.
enum Sent {
    /// The registry has all; the session waits for its commit.
    All(Url),
    /// The registry has so many bytes.
    Part(Url, u64),
    /// The blob is stored.
    Committed,
    /// The registry does not do it this way.
    Unsupported,
}

impl Registry {
    /// Makes sure that the repository has a blob: asks, mounts it from `mount_from` (of the same registry), or sends
    /// it from `source`.
    pub fn push_blob(
        &self,
        to: &Reference,
        blob: &Descriptor,
        source: &dyn BlobSource,
        mount_from: Option<&Reference>,
        task: &Task,
    ) -> RoomResult<Pushed> {
        let during = |error: crate::error::Error| {
            error.during(format!("pushing blob {} to `{}`", blob.digest.short(), to.name()))
        };
        let turn = self.turn(to, &blob.digest);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.exists(to, blob, &Scope::PUSH).map_err(|error| during(error.into()))? {
            task.advance(blob.size);
            return Ok(Pushed::Existed);
        }
        let upload = Upload { registry: self, to, blob, source, task, shown: Cell::new(0) };
        match upload.begin(mount_from).map_err(|error| during(error.into()))? {
            Session::Mounted => {
                task.advance(blob.size);
                Ok(Pushed::Mounted)
            }
            Session::Open(url) => upload.run(url).map(|()| Pushed::Uploaded).map_err(during),
        }
    }
}

/// One blob on its way.
struct Upload<'a> {
    registry: &'a Registry,
    to: &'a Reference,
    blob: &'a Descriptor,
    source: &'a dyn BlobSource,
    task: &'a Task,
    /// How far the progress was shown: it never goes back.
    shown: Cell<u64>,
}

impl Upload<'_> {
    /// Tries a mount, which may open a session instead; whatever goes wrong with it, there is the plain way.
    fn begin(&self, mount_from: Option<&Reference>) -> Result<Session> {
        let neighbour = mount_from
            .filter(|from| from.registry() == self.to.registry() && from.repository() != self.to.repository());
        if let Some(from) = neighbour {
            let mut url = self.registry.url(self.to, "blobs/uploads/")?;
            let digest = self.blob.digest.to_string();
            url.query_pairs_mut().append_pair("mount", &digest).append_pair("from", from.repository());
            let call = Call::new(Method::POST, url);
            if let Ok(response) = self.registry.send(self.to, &Scope::mount(from), &call, ANSWER_LIMIT) {
                match response.status {
                    201 => return Ok(Session::Mounted),
                    202 => {
                        if let Some(url) = location(&response)? {
                            return Ok(Session::Open(url));
                        }
                    }
                    _ => {}
                }
            }
        }
        self.open().map(Session::Open)
    }

    /// A new upload session.
    fn open(&self) -> Result<Url> {
        let call = Call::new(Method::POST, self.registry.url(self.to, "blobs/uploads/")?);
        let response = self.registry.send(self.to, &Scope::PUSH, &call, ANSWER_LIMIT)?;
        let response = expect_success(response, &Method::POST, &Scope::PUSH, self.to, "")?;
        location(&response)?.ok_or_else(|| odd(&response.url, "its upload session has no Location"))
    }

    /// Sends until the blob is stored, or until trying again is of no use.
    fn run(&self, first: Url) -> RoomResult<()> {
        let pace = self.registry.http().pace();
        let (mut session, mut offset) = (Some(first), 0);
        let (mut whole, mut best, mut failures, mut resumed) = (false, 0, 0, 0);
        loop {
            let url = match session.take() {
                Some(url) => url,
                None => {
                    offset = 0;
                    self.open()?
                }
            };
            let outcome = match self.send(&url, offset, whole)? {
                Ok(Sent::All(url)) => self.commit(&url),
                other => other,
            };
            let error = match outcome {
                Ok(Sent::Committed) => return Ok(()),
                Ok(Sent::Unsupported) if !whole => {
                    whole = true;
                    continue;
                }
                Ok(Sent::Part(url, stored)) => {
                    (session, offset) = (Some(url), stored);
                    self.stuck(stored)
                }
                Ok(Sent::All(_) | Sent::Unsupported) => self.stuck(offset),
                Err(error) if !error.is_transient() && !is_lost_session(&error) => return Err(error.into()),
                Err(error) => {
                    // The registry may have stored it all before the connection died (N18).
                    if self.registry.exists(self.to, self.blob, &Scope::PUSH).unwrap_or(false) {
                        return Ok(());
                    }
                    if !whole && let Some((url, stored)) = self.status(&url) {
                        (session, offset) = (Some(url), stored);
                    }
                    error
                }
            };
            if offset > best && resumed < RESUME_LIMIT {
                (best, failures, resumed) = (offset, 0, resumed + 1);
            }
            failures += 1;
            if failures >= pace.attempts {
                return Err(error.into());
            }
            thread::sleep(pace.pause(failures));
        }
    }

    fn stuck(&self, sent: u64) -> Error {
        Error::Stuck { digest: self.blob.digest, to: self.to.name(), sent, size: self.blob.size }
    }

    /// Sends what is after `offset`: by PATCH, or `whole` by the PUT that also commits. The outer error is one of
    /// the source.
    fn send(&self, url: &Url, offset: u64, whole: bool) -> RoomResult<Result<Sent>> {
        let length = self.blob.size - offset;
        if length == 0 && !whole {
            return Ok(Ok(Sent::All(url.clone())));
        }
        let (method, target) = if whole { (Method::PUT, self.with_digest(url)) } else { (Method::PATCH, url.clone()) };
        let mut call = Call::new(method.clone(), target).header("Content-Type", "application/octet-stream");
        if offset > 0 {
            call = call.header("Content-Range", &format!("{offset}-{}", self.blob.size - 1));
        }
        let mut unreadable = None;
        let answer = self.registry.authorized(self.to, &Scope::PUSH, &call.request.url, |header| {
            let mut call = call.clone();
            call.request.headers.extend(header.map(|header| ("Authorization".into(), header.into())));
            // Another request for the same bytes is another reading of them, verified from the start.
            let mut reader: Box<dyn Read + Send> = match self.reader(offset) {
                Ok(reader) => reader,
                Err(error) => {
                    unreadable = Some(error);
                    Box::new(io::empty())
                }
            };
            let sent = Cell::new(offset);
            self.registry.http().upload(&call, &mut reader, length, &|count| self.show(&sent, count))
        });
        if let Some(error) = unreadable {
            return Err(error);
        }
        Ok(answer.and_then(|response| if whole { self.committed(response) } else { self.patched(response, offset) }))
    }

    fn reader(&self, offset: u64) -> RoomResult<Box<dyn Read + Send>> {
        let mut reader = self.source.open(self.blob)?;
        let path = std::path::PathBuf::from(self.blob.digest.to_string());
        io::copy(&mut (&mut reader).take(offset), &mut io::sink()).map_err(fs::failed("read", &path))?;
        Ok(reader)
    }

    fn show(&self, sent: &Cell<u64>, count: u64) {
        sent.set(sent.get() + count);
        if sent.get() > self.shown.get() {
            self.task.advance(sent.get() - self.shown.get());
            self.shown.set(sent.get());
        }
    }

    /// What an answer to PATCH means.
    fn patched(&self, response: Response, offset: u64) -> Result<Sent> {
        match response.status {
            200..=299 => {
                let next = location(&response)?.unwrap_or_else(|| response.url.clone());
                Ok(match response.header("range").and_then(stored) {
                    Some(count) if count < self.blob.size => Sent::Part(next, count),
                    _ => Sent::All(next),
                })
            }
            400 | 404 | 405 | 411 | 413 | 415 | 416 | 501 if offset == 0 => Ok(Sent::Unsupported),
            _ => Err(self.refused(response, &Method::PATCH)),
        }
    }

    /// Asks for the commit of a session that has all bytes.
    fn commit(&self, url: &Url) -> Result<Sent> {
        let call = Call::new(Method::PUT, self.with_digest(url)).header("Content-Type", "application/octet-stream");
        let response = self.registry.authorized(self.to, &Scope::PUSH, &call.request.url, |header| {
            let mut call = call.clone();
            call.request.headers.extend(header.map(|header| ("Authorization".into(), header.into())));
            self.registry.http().upload(&call, &mut io::empty(), 0, &|_| {})
        })?;
        self.committed(response)
    }

    fn committed(&self, response: Response) -> Result<Sent> {
        if !response.is_success() {
            return Err(self.refused(response, &Method::PUT));
        }
        check_claim(&response, self.blob.digest, &format!("blob pushed to `{}`", self.to.name()))?;
        Ok(Sent::Committed)
    }

    fn refused(&self, response: Response, method: &Method) -> Error {
        let status = response.status;
        match expect_success(response, method, &Scope::PUSH, self.to, "") {
            Err(error) if matches!(error.code(), Some("DIGEST_INVALID")) => Error::Digest {
                what: format!("blob pushed to `{}`", self.to.name()),
                expected: self.blob.digest,
                found: "DIGEST_INVALID".into(),
            },
            Err(error) => error,
            Ok(response) => odd(&response.url, format!("status {status} is unexpected")),
        }
    }

    /// How many bytes the session has, and where it goes on. `None`: it is lost, or not sure; start another.
    fn status(&self, url: &Url) -> Option<(Url, u64)> {
        let call = Call::new(Method::GET, url.clone()).stay();
        let response = self.registry.send(self.to, &Scope::PUSH, &call, ANSWER_LIMIT).ok()?;
        if !response.is_success() {
            return None;
        }
        let count = stored(response.header("range")?).filter(|count| *count <= self.blob.size)?;
        let next = location(&response).ok()?.unwrap_or_else(|| url.clone());
        Some((next, count))
    }

    fn with_digest(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        url
    }
}

/// How many bytes `Range: 0-END` means. `0-0` is one byte for some registries and none for others: not sure.
fn stored(range: &str) -> Option<u64> {
    let range = range.trim();
    let (start, end) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let end: u64 = end.parse().ok()?;
    (start == "0" && end > 0).then(|| end.saturating_add(1))
}

/// Whether a new session may help.
fn is_lost_session(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 404 | 416, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use crate::layer::Store;
    use crate::progress::Progress;
    use crate::registry::testing::{Act, Seen, Server, at, client};

    const SIZE: usize = 2 << 20;

    fn blob() -> Vec<u8> {
        (0..SIZE).map(|i| (i % 251) as u8).collect()
    }

    fn source() -> (tempfile::TempDir, Store, Descriptor) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        store.put(&blob()).unwrap();
        (folder, store, Descriptor::of("x/y", &blob()))
    }

    fn push(server: &Server, from: Option<&str>) -> RoomResult<Pushed> {
        let (_folder, store, blob) = source();
        let (registry, _file) = client("{}");
        let from = from.map(|from| at(server, from));
        registry.push_blob(&at(server, "a:1"), &blob, &store, from.as_ref(), &Progress::silent().task("x", None))
    }

    /// What a sound registry does: HEAD 404, POST 202, PATCH 202, PUT 201.
    fn sound(seen: &Seen) -> Act {
        match seen.method.as_str() {
            "HEAD" => Act::status(404),
            "POST" => Act::status(202).with("Location", "/up/1?_state=a"),
            "PATCH" => {
                Act::status(202).with("Location", "/up/1?_state=b").with("Range", format!("0-{}", seen.body.len() - 1))
            }
            _ => Act::status(201),
        }
    }

    fn methods(server: &Server) -> Vec<String> {
        server.seen().iter().map(|seen| seen.method.clone()).collect()
    }

    #[test]
    fn an_upload_is_one_stream_and_a_commit_at_the_latest_location() {
        let server = Server::start(sound);
        assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
        assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "PUT"]);
        let seen = server.seen();
        assert_eq!((seen[2].target.as_str(), seen[2].header("content-length")), ("/up/1?_state=a", Some("2097152")));
        assert!(seen[2].body == blob() && seen[2].header("content-range").is_none());
        let digest = Descriptor::of("", &blob()).digest.hex();
        assert_eq!(seen[3].target, format!("/up/1?_state=b&digest=sha256%3A{digest}"));
        assert_eq!(seen[3].header("content-length"), Some("0"));
    }

    #[test]
    fn what_is_there_is_not_sent() {
        let server = Server::start(|_| Act::status(200).length(Some(SIZE as u64)));
        assert_eq!(push(&server, Some("base:1")).unwrap(), Pushed::Existed);
        assert_eq!(methods(&server), ["HEAD"]);
    }

    #[test]
    fn a_mount_succeeds_opens_a_session_or_gives_way_to_an_upload() {
        for (status, pushed, posts) in [
            (201, Pushed::Mounted, 1),
            (202, Pushed::Uploaded, 1),
            (405, Pushed::Uploaded, 2),
            (401, Pushed::Uploaded, 2),
        ] {
            let server = Server::start(move |seen| match seen.target.contains("mount=") {
                true => Act::status(status).with("Location", "/up/1?_state=a"),
                false => sound(seen),
            });
            assert_eq!(push(&server, Some("team/base:1")).unwrap(), pushed, "{status}");
            let seen = server.seen();
            assert_eq!(seen.iter().filter(|seen| seen.method == "POST").count(), posts, "{status}");
            assert!(seen[1].target.ends_with("&from=team%2Fbase"), "{}", seen[1].target);
        }
        let server = Server::start(sound);
        let (_folder, store, blob) = source();
        let (registry, _file) = client("{}");
        let elsewhere = "other.example/base:1".parse().unwrap();
        let task = Progress::silent().task("x", None);
        registry.push_blob(&at(&server, "a:1"), &blob, &store, Some(&elsewhere), &task).unwrap();
        assert!(server.seen().iter().all(|seen| !seen.target.contains("mount")));
    }

    #[test]
    fn a_mount_asks_for_a_token_that_may_read_the_neighbour() {
        let server = Server::start(|seen| match (seen.path(), seen.header("authorization")) {
            ("/token", _) => Act::body(200, br#"{"token":"t"}"#),
            (_, None) => {
                let host = seen.header("host").unwrap();
                Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
            _ if seen.target.contains("mount=") => Act::status(201),
            _ => sound(seen),
        });
        assert_eq!(push(&server, Some("base:1")).unwrap(), Pushed::Mounted);
        let tokens: Vec<_> = server.seen().into_iter().filter(|seen| seen.path() == "/token").collect();
        assert!(tokens[1].target.ends_with("scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Abase%3Apull"));
    }

    #[test]
    fn a_patch_that_dies_is_resumed_where_the_registry_says() {
        let eaten = 1 << 20;
        let server = Server::start_at(
            "127.0.0.1",
            move |seen| match seen.method.as_str() {
                "GET" => Act::status(204).with("Location", "/up/1?_state=c").with("Range", format!("0-{}", eaten - 1)),
                "PATCH" => Act::status(202).with("Location", "/up/1?_state=d").with("Range", format!("0-{}", SIZE - 1)),
                _ => sound(seen),
            },
            move |seen| (seen.method == "PATCH" && seen.earlier == 0).then_some(eaten),
        );
        assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
        assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "HEAD", "GET", "PATCH", "PUT"]);
        let seen = server.seen();
        assert_eq!(seen[5].header("content-range"), Some(format!("{eaten}-{}", SIZE - 1).as_str()));
        assert!(seen[5].target == "/up/1?_state=c" && [&seen[2].body[..], &seen[5].body].concat() == blob());
        assert!(seen[6].target.starts_with("/up/1?_state=d&digest="));
    }

    #[test]
    fn a_session_that_is_lost_is_begun_anew() {
        for lost in [404, 204] {
            let server = Server::start_at(
                "127.0.0.1",
                move |seen| if seen.method == "GET" { Act::status(lost).with("Range", "0-0") } else { sound(seen) },
                |seen| (seen.method == "PATCH" && seen.earlier == 0).then_some(9),
            );
            assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
            assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "HEAD", "GET", "POST", "PATCH", "PUT"]);
            assert!(server.seen()[6].body == blob());
        }
    }

    #[test]
    fn a_registry_that_took_only_a_part_gets_the_rest() {
        let server = Server::start(|seen| match (seen.method.as_str(), seen.earlier) {
            ("PATCH", 0) => Act::status(202).with("Location", "/up/1?_state=b").with("Range", "0-1023"),
            ("PATCH", _) => Act::status(202).with("Range", format!("0-{}", SIZE - 1)),
            _ => sound(seen),
        });
        assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
        assert!(server.seen()[3].body == blob()[1024..]);
        let never = Server::start(|seen| match seen.method.as_str() {
            "PATCH" => Act::status(202).with("Location", "/up/1").with("Range", "0-1023"),
            _ => sound(seen),
        });
        let error = push(&never, None).unwrap_err();
        assert!(error.to_string().contains("got stuck at 1024 of 2097152 bytes"), "{error}");
        assert_eq!(error.class(), Class::Network);
    }

    #[test]
    fn a_registry_without_patch_gets_one_put() {
        for status in [405, 416] {
            let server = Server::start(move |seen| match seen.method.as_str() {
                "PATCH" => Act::status(status),
                _ => sound(seen),
            });
            assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
            assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "POST", "PUT"]);
            assert!(server.seen()[4].body == blob());
        }
    }

    #[test]
    fn a_commit_whose_answer_is_lost_is_looked_up() {
        let server = Server::start(|seen| match (seen.method.as_str(), seen.earlier) {
            ("PUT", _) => Act::hang_up(),
            ("HEAD", 1) => Act::status(200).length(Some(SIZE as u64)),
            _ => sound(seen),
        });
        assert_eq!(push(&server, None).unwrap(), Pushed::Uploaded);
        assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "PUT", "HEAD"]);
    }

    #[test]
    fn a_registry_that_stored_something_else_is_an_error() {
        for act in [
            Act::status(201).with("Docker-Content-Digest", crate::oci::Digest::of(b"other").to_string()),
            Act::body(400, br#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#),
        ] {
            let server = Server::start(move |seen| if seen.method == "PUT" { act.clone() } else { sound(seen) });
            let error = push(&server, None).unwrap_err();
            assert_eq!(error.class(), Class::Verification, "{error}");
        }
    }

    #[test]
    fn a_location_elsewhere_gets_no_authorization() {
        let storage = Server::start(|seen| match seen.method.as_str() {
            "PATCH" => Act::status(202),
            _ => Act::status(201),
        });
        let away = storage.url("/up?sig=1");
        let server = Server::start(move |seen| match (seen.header("authorization"), seen.method.as_str()) {
            (None, _) => Act::status(401).with("WWW-Authenticate", "Basic realm=x"),
            (_, "POST") => Act::status(202).with("Location", away.as_str()),
            _ => sound(seen),
        });
        let (_folder, store, blob) = source();
        let (registry, _file) = client(&format!(r#"{{"{}":{{"auth":"dTpw"}}}}"#, server.authority()));
        let task = Progress::silent().task("x", None);
        registry.push_blob(&at(&server, "a:1"), &blob, &store, None, &task).unwrap();
        assert!(server.seen().last().unwrap().header("authorization").is_some());
        assert_eq!(methods(&storage), ["PATCH", "PUT"]);
        assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
        assert!(storage.seen()[1].target.starts_with("/up?sig=1&digest="));
    }

    #[test]
    fn damaged_sources_missing_locations_and_refusals_end_the_upload() {
        let server = Server::start(sound);
        let (_folder, store, blob) = source();
        let mut damaged = self::blob();
        damaged[SIZE - 1] ^= 1;
        std::fs::write(store.blob_path(&blob.digest), damaged).unwrap();
        let (registry, _file) = client("{}");
        let task = Progress::silent().task("x", None);
        let error = registry.push_blob(&at(&server, "a:1"), &blob, &store, None, &task).unwrap_err();
        assert_eq!(error.class(), Class::Verification, "{error}");
        assert!(!methods(&server).contains(&"PUT".to_string()));
        store.discard(&blob.digest).unwrap();
        let error = registry.push_blob(&at(&server, "a:1"), &blob, &store, None, &task).unwrap_err();
        assert!(error.to_string().contains("is not in the store"), "{error}");
        let lost = Server::start(|seen| if seen.method == "POST" { Act::status(202) } else { sound(seen) });
        assert!(push(&lost, None).unwrap_err().to_string().contains("no Location"));
        let closed = Server::start(|seen| if seen.method == "POST" { Act::status(403) } else { sound(seen) });
        assert!(push(&closed, None).unwrap_err().to_string().contains("denies to push `a`"));
        let broken = Server::start(|seen| if seen.method == "PUT" { Act::status(418) } else { sound(seen) });
        assert!(push(&broken, None).unwrap_err().to_string().contains("status 418"));
    }

    #[test]
    fn a_registry_that_is_always_busy_is_given_up() {
        let server = Server::start(|seen| if seen.method == "PATCH" { Act::status(503) } else { sound(seen) });
        let error = push(&server, None).unwrap_err();
        assert!(error.to_string().contains("status 503"), "{error}");
        assert_eq!(methods(&server).iter().filter(|method| *method == "PATCH").count(), 5);
    }

    #[test]
    fn ranges_say_how_much_is_stored() {
        assert_eq!((stored("0-9"), stored("bytes=0-99 "), stored("0-1")), (Some(10), Some(100), Some(2)));
        for unsure in ["0-0", "", "5-9", "0-", "-9", "0-x", "0-18446744073709551616"] {
            assert_eq!(stored(unsure), None, "{unsure}");
        }
    }
}
