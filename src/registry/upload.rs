//! Blobs to a registry: not at all if it has them, by mount if a neighbour has them, else by upload.
//!
//! An upload is one streaming PATCH and a PUT that commits, as docker does it: that is what registries are tested
//! with. A PATCH that dies is resumed where the registry says it stopped. Chunks of a fixed size are avoided: GHCR
//! refuses those over 4 MiB. A registry without PATCH gets one PUT with the whole blob.

use std::cell::Cell;
use std::io::{self, Read};
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
        let response = expect_success(response, &Method::POST, self.to, "")?;
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
        let answer = self.registry.authorized(self.to, &Scope::PUSH, &call.request.url, &method, |header| {
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
        let response = self.registry.authorized(self.to, &Scope::PUSH, &call.request.url, &Method::PUT, |header| {
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
        match expect_success(response, method, self.to, "") {
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

    #[test]
    fn ranges_say_how_much_is_stored() {
        assert_eq!((stored("0-9"), stored("bytes=0-99 "), stored("0-1")), (Some(10), Some(100), Some(2)));
        for unsure in ["0-0", "", "5-9", "0-", "-9", "0-x", "0-18446744073709551616"] {
            assert_eq!(stored(unsure), None, "{unsure}");
        }
    }
}
