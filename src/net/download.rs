//! Large bodies: streamed into a sink, and resumed with Range where they broke off.

use std::io::Write;
use std::thread;
use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::client::{check_encoding, header_pairs};
use super::retry::{self, Pace};
use super::{Call, Error, Http, Request, Response, redacted, runtime};

/// How often a download is resumed although every attempt brought something.
const RESUME_LIMIT: u32 = 40;

impl Http {
    /// Streams a body into `sink`; returns its length. `on(n)` is told of every `n` more bytes.
    ///
    /// Fails if there are more than `limit` bytes or fewer than promised. What was written before a failure stays
    /// in the sink: the caller verifies the whole.
    pub fn download(
        &self,
        request: &Request,
        sink: &mut dyn Write,
        limit: u64,
        on: &dyn Fn(u64),
    ) -> Result<u64, Error> {
        Transfer::default().run(self, request, sink, limit, on)
    }
}

/// How far a download got. A caller that changes the request in between (new token, other mirror) runs it again.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    written: u64,
    total: Option<u64>,
    etag: Option<String>,
    /// The server does not do ranges, or does them wrong: start over and skip.
    no_ranges: bool,
    resumed: u32,
}

/// What one attempt ended with.
enum Step {
    Done,
    Refused(Response),
}

impl Transfer {
    /// How many bytes are in the sink.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Downloads what is still missing.
    pub fn run(
        &mut self,
        http: &Http,
        request: &Request,
        sink: &mut dyn Write,
        limit: u64,
        on: &dyn Fn(u64),
    ) -> Result<u64, Error> {
        let pace = http.pace();
        let mut failures = 0;
        loop {
            let before = (self.written, self.no_ranges);
            let outcome = self.attempt(http, request, sink, limit, on);
            if (self.written, self.no_ranges) != before && self.resumed < RESUME_LIMIT {
                self.resumed += 1;
                failures = 0;
            }
            failures += 1;
            let pause = match outcome {
                Ok(Step::Done) => return Ok(self.written),
                Ok(Step::Refused(response)) => {
                    let outcome = Ok(response);
                    http.heed(&request.url, &outcome);
                    match retry::decide(&pace, failures, &outcome) {
                        Some(pause) => pause,
                        None => return Err(refusal(outcome)),
                    }
                }
                Err(error) => match self.pause(&pace, failures, &error) {
                    Some(pause) => pause,
                    None => return Err(error),
                },
            };
            thread::sleep(pause);
        }
    }

    fn pause(&self, pace: &Pace, failures: u32, error: &Error) -> Option<Duration> {
        (error.is_transient() && failures < pace.attempts).then(|| pace.pause(failures))
    }

    fn attempt(
        &mut self,
        http: &Http,
        request: &Request,
        sink: &mut dyn Write,
        limit: u64,
        on: &dyn Fn(u64),
    ) -> Result<Step, Error> {
        let mut call = Call::new(Method::GET, request.url.clone());
        call.request = request.clone();
        let ranged = self.written > 0 && !self.no_ranges;
        if ranged {
            call = call.header("Range", &format!("bytes={}-", self.written));
            if let Some(etag) = self.etag.as_ref().filter(|etag| etag.starts_with('"')) {
                call = call.header("If-Range", etag);
            }
        }
        let answer = http.follow(&call)?;
        let head = Response {
            status: answer.status().as_u16(),
            url: answer.url().clone(),
            headers: header_pairs(answer.headers()),
            body: Vec::new(),
        };
        match head.status {
            206 if ranged => {
                check_encoding(&head)?;
                if !self.continues(&head)? {
                    self.no_ranges = true;
                    return Err(broken(&head.url, self.written, self.total));
                }
                self.receive(http, answer, 0, sink, limit, on)
            }
            200 => {
                check_encoding(&head)?;
                self.agree(&head, answer.content_length())?;
                self.receive(http, answer, self.written, sink, limit, on)
            }
            416 if ranged => {
                self.no_ranges = true;
                Err(broken(&head.url, self.written, self.total))
            }
            _ => {
                let body = runtime::get()?.block_on(http.collect(answer, &Method::GET, limit))?;
                Ok(Step::Refused(body))
            }
        }
    }

    /// Whether a 206 is the rest of what came before. Another entity is an error, another range is not.
    fn continues(&self, head: &Response) -> Result<bool, Error> {
        let Some((start, total)) = head.header("content-range").and_then(content_range) else { return Ok(false) };
        if let (Some(old), Some(new)) = (self.total, total)
            && old != new
        {
            return Err(changed(&head.url, format!("{new} bytes instead of {old}")));
        }
        self.same_etag(head)?;
        Ok(start == self.written)
    }

    /// Remembers, or compares, what a 200 says of the whole.
    fn agree(&mut self, head: &Response, length: Option<u64>) -> Result<(), Error> {
        if let (Some(old), Some(new)) = (self.total, length)
            && old != new
        {
            return Err(changed(&head.url, format!("{new} bytes instead of {old}")));
        }
        self.same_etag(head)?;
        self.total = self.total.or(length);
        if self.etag.is_none() {
            self.etag = head.header("etag").map(str::to_string);
        }
        Ok(())
    }

    fn same_etag(&self, head: &Response) -> Result<(), Error> {
        match (&self.etag, head.header("etag")) {
            (Some(old), Some(new)) if old != new => Err(changed(&head.url, "its ETag is another one".into())),
            _ => Ok(()),
        }
    }

    fn receive(
        &mut self,
        http: &Http,
        answer: reqwest::Response,
        mut skip: u64,
        sink: &mut dyn Write,
        limit: u64,
        on: &dyn Fn(u64),
    ) -> Result<Step, Error> {
        let url = answer.url().clone();
        let room = if skip > 0 { limit } else { limit - self.written.min(limit) };
        let written = &mut self.written;
        let mut store = |chunk: &[u8]| {
            let known = skip.min(chunk.len() as u64);
            skip -= known;
            let new = chunk.get(known as usize..).unwrap_or_default();
            sink.write_all(new).map_err(|source| Error::Sink { url: redacted(&url), source })?;
            *written += new.len() as u64;
            on(new.len() as u64);
            Ok(())
        };
        runtime::get()?.block_on(http.drain(answer, &Method::GET, room, &mut store))?;
        match self.total {
            Some(total) if total != self.written => Err(broken(&url, self.written, self.total)),
            _ => Ok(Step::Done),
        }
    }
}

fn refusal(outcome: Result<Response, Error>) -> Error {
    match outcome.and_then(|response| {
        // A success that nobody asked for (204, 206 without a range) is no content.
        let status = response.status;
        let url = redacted(&response.url);
        response.into_success(&Method::GET).map(|_| (status, url))
    }) {
        Ok((status, url)) => Error::Status { method: "GET".into(), url, status, message: "expected 200".into() },
        Err(error) => error,
    }
}

/// Start and total of `bytes START-END/TOTAL`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, end) = range.trim().split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

fn broken(url: &Url, received: u64, expected: Option<u64>) -> Error {
    Error::Interrupted { method: "GET".into(), url: redacted(url), received, expected, source: None }
}

fn changed(url: &Url, reason: String) -> Error {
    Error::Changed { url: redacted(url), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};
    use crate::net::testing::{Act, Seen, Server, quick};

    use std::io;

    const SIZE: usize = 100_000;

    fn body() -> Vec<u8> {
        (0..SIZE).map(|i| (i * 7 % 251) as u8).collect()
    }

    fn start_of(seen: &Seen) -> Option<usize> {
        seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn partial(start: usize) -> Act {
        let range = format!("bytes {start}-{}/{SIZE}", SIZE - 1);
        Act::body(206, &body()[start..]).with("Content-Range", range).with("ETag", "\"v1\"")
    }

    fn download(server: &Server, limit: u64) -> Result<Vec<u8>, Error> {
        let mut sink = Vec::new();
        let told = std::cell::Cell::new(0);
        let request = Request::get(server.url("/blob"));
        let count = quick().download(&request, &mut sink, limit, &|n| told.set(told.get() + n))?;
        assert_eq!((count, told.get()), (sink.len() as u64, sink.len() as u64));
        Ok(sink)
    }

    #[test]
    fn a_body_that_breaks_off_ten_times_is_resumed() {
        let server = Server::start(|seen| match start_of(seen) {
            None => Act::body(200, &body()).with("ETag", "\"v1\"").cut(SIZE / 10),
            Some(start) => partial(start).cut(SIZE / 10),
        });
        assert_eq!(download(&server, SIZE as u64).unwrap(), body());
        let seen = server.seen();
        assert!((10..=11).contains(&seen.len()), "{}", seen.len());
        assert_eq!(seen[1].header("if-range"), Some("\"v1\""));
    }

    #[test]
    fn servers_without_ranges_are_asked_for_everything_and_the_known_part_is_skipped() {
        for second in [0, 1, 2] {
            let server = Server::start(move |seen| match (seen.earlier, start_of(seen)) {
                (0, _) => Act::body(200, &body()).cut(SIZE / 2),
                (_, None) => Act::body(200, &body()),
                (_, Some(_)) if second == 0 => Act::body(200, &body()),
                (_, Some(_)) if second == 1 => Act::status(416),
                (_, Some(start)) => {
                    Act::body(206, &body()[start..]).with("Content-Range", format!("bytes 0-{}/{SIZE}", SIZE - 1))
                }
            });
            assert_eq!(download(&server, SIZE as u64).unwrap(), body(), "{second}");
        }
    }

    #[test]
    fn another_body_on_the_way_is_noticed() {
        for other_length in [true, false] {
            let server = Server::start(move |seen| match start_of(seen) {
                None => Act::body(200, &body()).with("ETag", "\"v1\"").cut(SIZE / 2),
                Some(start) if other_length => {
                    Act::body(206, &body()[start..]).with("Content-Range", format!("bytes {start}-{SIZE}/{}", SIZE + 1))
                }
                Some(_) => Act::body(200, &body()).with("ETag", "\"v2\""),
            });
            let error = download(&server, SIZE as u64).unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{error}");
            assert_eq!(error.class(), Class::Verification);
        }
    }

    #[test]
    fn too_long_too_short_and_refused() {
        let server = Server::start(|_| Act::body(200, &body()));
        assert!(matches!(download(&server, SIZE as u64 - 1), Err(Error::TooLarge { .. })));
        let endless = Server::start(|_| Act::body(200, &body()).length(None));
        assert!(matches!(download(&endless, SIZE as u64 - 1), Err(Error::TooLarge { .. })));
        let short = Server::start(|_| Act::body(200, &body()).cut(0));
        let error = download(&short, SIZE as u64).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        assert_eq!(short.seen().len(), 5);
        let gone = Server::start(|_| Act::body(410, b"gone"));
        assert_eq!(download(&gone, 9).unwrap_err().status(), Some(410));
        let odd = Server::start(|_| Act::status(204));
        assert!(matches!(download(&odd, 9), Err(Error::Status { status: 204, .. })));
        let busy = Server::start(|seen| if seen.earlier < 2 { Act::status(500) } else { Act::body(200, &body()) });
        assert_eq!(download(&busy, SIZE as u64).unwrap(), body());
    }

    #[test]
    fn a_sink_that_is_full_is_a_storage_error_and_no_retry() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let server = Server::start(|_| Act::body(200, &body()));
        let error = quick().download(&Request::get(server.url("/")), &mut Full, 1 << 20, &|_| {}).unwrap_err();
        assert!(matches!(error, Error::Sink { .. }), "{error}");
        assert_eq!((error.class(), server.seen().len()), (Class::Storage, 1));
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes 5-9", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "bytes -5/10", "items 5-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
