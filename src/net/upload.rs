//! One request with a body of known length that is read while it is sent.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use tokio::sync::mpsc;
use url::Url;

use super::client::{failure, stalled};
use super::{Call, Error, Http, Response, redacted, runtime};

/// How much is read and handed over at a time, in bytes.
const PIECE: usize = 256 << 10;
/// How many pieces may wait for the connection.
const QUEUE: usize = 4;
/// The limit of the answer's body, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

impl Http {
    /// Sends `call` once, with `length` bytes of `source` as its body; no redirect is followed.
    ///
    /// `source` is read to its end before the last piece is sent, so a reader that verifies can still stop the
    /// upload. The caller's thread reads; `on(n)` is told of every `n` bytes that were handed to the connection.
    pub fn upload(&self, call: &Call, source: &mut dyn Read, length: u64, on: &dyn Fn(u64)) -> Result<Response, Error> {
        let url = &call.request.url;
        let mut request = self.build(call, url, true)?;
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        let (sender, receiver) = mpsc::channel::<Result<Bytes, io::Error>>(QUEUE);
        let pieces = stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        });
        *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces));
        let runtime = runtime::get()?;
        let sending = runtime.spawn(self.client(url)?.execute(request));
        let fed = self.feed(url, &call.method, source, length, sender, on);
        if let Err(error) = fed {
            sending.abort();
            return Err(error);
        }
        let answer = runtime.block_on(async {
            let sent = async { sending.await.map_err(io::Error::other) };
            match tokio::time::timeout(self.pace().commit, sent).await {
                Err(_) => Err(stalled(&call.method, url, "no answer", self.pace().commit)),
                Ok(Err(source)) => Err(Error::Setup { source }),
                Ok(Ok(result)) => result.map_err(|error| failure(&call.method, url, error)),
            }
        })?;
        let outcome = runtime.block_on(self.collect(answer, &call.method, ANSWER_LIMIT));
        self.heed(url, &outcome);
        outcome
    }

    /// Reads the source and hands it on. Ends early, without an error, if the connection takes no more.
    fn feed(
        &self,
        url: &Url,
        method: &Method,
        source: &mut dyn Read,
        length: u64,
        sender: mpsc::Sender<Result<Bytes, io::Error>>,
        on: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let unreadable = |source| Error::Source { url: redacted(url), source };
        let runtime = runtime::get()?;
        let mut left = length;
        let mut piece = read_piece(source, left).map_err(unreadable)?;
        while left > 0 {
            if piece.is_empty() {
                return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
            }
            left -= piece.len() as u64;
            let next = read_piece(source, left).map_err(unreadable)?;
            let count = piece.len() as u64;
            let handed = async { tokio::time::timeout(self.pace().idle, sender.send(Ok(piece))).await };
            match runtime.block_on(handed) {
                Err(_) => return Err(stalled(method, url, "nothing was taken", self.pace().idle)),
                Ok(Err(_)) => return Ok(()),
                Ok(Ok(())) => on(count),
            }
            piece = next;
        }
        Ok(())
    }
}

/// The next piece; after the last one, checks that the source ends there too.
fn read_piece(source: &mut dyn Read, left: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut piece = Vec::with_capacity(wanted.max(1));
    if wanted == 0 {
        if io::copy(&mut source.take(1), &mut io::sink())? > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "there is more to send than was announced"));
        }
        return Ok(Bytes::new());
    }
    source.take(wanted as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};
    use crate::net::testing::{Act, Server, quick};

    const SIZE: usize = 3 << 20;

    fn put(server: &Server, source: &mut dyn Read, length: usize) -> Result<Response, Error> {
        quick().upload(&Call::new(Method::PUT, server.url("/up?x=y")), source, length as u64, &|_| {})
    }

    #[test]
    fn a_body_is_sent_with_its_length() {
        let server = Server::start(|_| Act::status(201));
        let body = vec![7u8; SIZE];
        assert_eq!(put(&server, &mut &body[..], SIZE).unwrap().status, 201);
        let seen = &server.seen()[0];
        assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("3145728"), None));
        assert!(seen.body == body && seen.target == "/up?x=y");
        assert_eq!(put(&server, &mut io::empty(), 0).unwrap().status, 201);
    }

    #[test]
    fn a_source_that_does_not_verify_never_completes_an_upload() {
        struct Damaged(usize);
        impl Read for Damaged {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "another digest"));
                }
                let count = self.0.min(buffer.len());
                self.0 -= count;
                Ok(count)
            }
        }
        let server = Server::start(|_| Act::status(201));
        let error = put(&server, &mut Damaged(SIZE), SIZE).unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error}");
        assert_eq!(error.class(), Class::Verification);
        let long = put(&server, &mut &vec![0; SIZE + 1][..], SIZE).unwrap_err();
        assert_eq!(long.class(), Class::Verification);
        let short = put(&server, &mut &vec![0; SIZE - 1][..], SIZE).unwrap_err();
        assert_eq!(short.class(), Class::Storage);
        assert!(server.seen().iter().all(|seen| seen.body.len() != SIZE || seen.body.last() == Some(&0)));
        // The server never got a whole body: it had nothing to answer.
    }

    #[test]
    fn a_connection_that_dies_or_stalls_is_reported() {
        let server = Server::start_at("127.0.0.1", |_| Act::status(201), |_| Some(1000));
        let error = put(&server, &mut &vec![0; SIZE][..], SIZE).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }) && error.is_transient(), "{error}");
    }
}
