//! The client: sends one request, follows its redirects, reads its body within limits, and tries again.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use url::Url;

use super::error::is_tls;
use super::origin::is_loopback;
use super::request::printable;
use super::retry::{self, Gate, Pace};
use super::{
    Call, Credentials, ERROR_BODY_LIMIT, Error, REDIRECT_LIMIT, Request, Response, redacted, runtime, same_origin,
};

/// Headers that belong to the origin of a request and never travel with a redirect.
const PERSONAL: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// An HTTP client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Through the proxies of the environment.
    proxied: OnceLock<reqwest::Client>,
    /// For this machine: a proxy could not reach it.
    direct: OnceLock<reqwest::Client>,
    /// For this machine without TLS: reading the system's certificates takes longer than what is asked there.
    plain: OnceLock<reqwest::Client>,
    pace: Pace,
    gate: Gate,
}

impl Http {
    /// A client with the system's certificates and the environment's proxies, which are looked up when a request
    /// needs them.
    pub fn new() -> Result<Http, Error> {
        Http::with_pace(Pace::DEFAULT)
    }

    pub(crate) fn with_pace(pace: Pace) -> Result<Http, Error> {
        let (proxied, direct, plain) = Default::default();
        Ok(Http { inner: Arc::new(Inner { proxied, direct, plain, pace, gate: Gate::default() }) })
    }

    /// The times and counts of this client.
    pub(crate) fn pace(&self) -> Pace {
        self.inner.pace
    }

    /// GETs a small document; any final status but 2xx is [`Error::Status`].
    pub fn fetch(&self, request: &Request, limit: u64) -> Result<Response, Error> {
        let mut call = Call::new(Method::GET, request.url.clone());
        call.request = request.clone();
        self.exchange(&call, limit)?.into_success(&Method::GET)
    }

    /// Sends a call, as often as it takes, and returns the last answer whatever its status.
    ///
    /// The body of a success may have `limit` bytes; of an error the first [`ERROR_BODY_LIMIT`] are kept.
    pub fn exchange(&self, call: &Call, limit: u64) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(call, limit);
            self.heed(&call.request.url, &outcome);
            match retry::decide(&self.inner.pace, attempt, &outcome).filter(|_| call.retry) {
                None => return outcome,
                Some(pause) => thread::sleep(pause),
            }
            attempt += 1;
        }
    }

    /// Closes the gate of an origin that asks for a pause.
    pub(super) fn heed(&self, url: &Url, outcome: &Result<Response, Error>) {
        if let Ok(response) = outcome
            && retry::is_transient(response.status)
            && let Some(pause) = retry::retry_after(response).filter(|pause| *pause <= self.inner.pace.wait_limit)
        {
            self.inner.gate.close(url, pause);
        }
    }

    fn attempt(&self, call: &Call, limit: u64) -> Result<Response, Error> {
        let answer = self.follow(call)?;
        runtime::get()?.block_on(self.collect(answer, &call.method, limit))
    }

    /// Sends a call and follows its redirects; the answer's body is not read yet.
    pub(super) fn follow(&self, call: &Call) -> Result<reqwest::Response, Error> {
        let mut url = call.request.url.clone();
        // Once a redirect has left the origin, nobody is trusted again, wherever the next ones lead.
        let mut trusted = true;
        for _ in 0..=REDIRECT_LIMIT {
            self.inner.gate.pass(&url);
            let request = self.build(call, &url, trusted)?;
            let sent = self.client(&url)?.execute(request);
            let answer = runtime::get()?.block_on(self.answered(&call.method, &url, self.inner.pace.idle, sent))?;
            let moved = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = answer.headers().get(LOCATION).filter(|_| moved && call.redirects) else {
                return Ok(answer);
            };
            let next = next_hop(&url, location)?;
            trusted &= same_origin(&next, &call.request.url);
            url = next;
        }
        Err(Error::Redirect { url: redacted(&call.request.url), reason: "more than 10 times" })
    }

    /// The client for this URL, made when it is first needed.
    pub(super) fn client(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        let pace = self.inner.pace;
        match (is_loopback(url), url.scheme()) {
            (true, "http") => made(&self.inner.plain, &|| builder(pace).no_proxy().tls_certs_only([])),
            (true, _) => made(&self.inner.direct, &|| builder(pace).no_proxy()),
            (false, _) => made(&self.inner.proxied, &|| builder(pace)),
        }
    }

    /// Waits for the head of an answer.
    pub(super) async fn answered(
        &self,
        method: &Method,
        url: &Url,
        patience: Duration,
        sent: impl Future<Output = reqwest::Result<reqwest::Response>>,
    ) -> Result<reqwest::Response, Error> {
        match tokio::time::timeout(patience, sent).await {
            Ok(result) => result.map_err(|error| failure(method, url, error)),
            Err(_) => Err(stalled(method, url, "no answer", patience)),
        }
    }

    pub(super) fn build(&self, call: &Call, url: &Url, trusted: bool) -> Result<reqwest::Request, Error> {
        let impossible =
            |source| Error::Request { method: call.method.to_string(), url: redacted(&call.request.url), source };
        let mut headers = HeaderMap::new();
        for (name, value) in &call.request.headers {
            if !trusted && PERSONAL.iter().any(|personal| name.eq_ignore_ascii_case(personal)) {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| impossible(io::Error::other(e)))?;
            headers.append(name, header_value(value).map_err(impossible)?);
        }
        // A body that is compressed on the way is not the one that was hashed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut plain = url.clone();
        let inline = userinfo(&call.request.url);
        let _ = plain.set_username("");
        let _ = plain.set_password(None);
        if let Some(credentials) = call.request.credentials.as_ref().or(inline.as_ref()).filter(|_| trusted)
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, header_value(&credentials.basic()).map_err(impossible)?);
        }
        if !matches!(plain.scheme(), "http" | "https") {
            return Err(impossible(io::Error::other("its scheme is neither http nor https")));
        }
        let mut request = reqwest::Request::new(call.method.clone(), plain);
        *request.headers_mut() = headers;
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }

    /// Reads a whole body into memory.
    pub(super) async fn collect(
        &self,
        answer: reqwest::Response,
        method: &Method,
        limit: u64,
    ) -> Result<Response, Error> {
        let mut response = Response {
            status: answer.status().as_u16(),
            url: answer.url().clone(),
            headers: header_pairs(answer.headers()),
            body: Vec::new(),
        };
        let mut body = Vec::new();
        if !response.is_success() {
            // Whatever comes of it: the status is what matters.
            let _ = self.drain(answer, method, ERROR_BODY_LIMIT, &mut |chunk| keep(&mut body, chunk)).await;
        } else if *method != Method::HEAD {
            check_encoding(&response)?;
            self.drain(answer, method, limit, &mut |chunk| keep(&mut body, chunk)).await?;
        }
        response.body = body;
        Ok(response)
    }

    /// Hands every piece of a body to `sink`; fails if it stalls, breaks off, or has more than `limit` bytes.
    pub(super) async fn drain(
        &self,
        mut answer: reqwest::Response,
        method: &Method,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let pace = self.inner.pace;
        let url = answer.url().clone();
        let expected = answer.content_length();
        let mut received = 0u64;
        let (mut window, mut in_window) = (Instant::now(), 0u64);
        let broken = |received, source| Error::Interrupted {
            method: method.to_string(),
            url: redacted(&url),
            received,
            expected,
            source,
        };
        if expected.is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { method: method.to_string(), url: redacted(&url), limit });
        }
        loop {
            let chunk = match tokio::time::timeout(pace.idle, answer.chunk()).await {
                Err(_) => return Err(stalled(method, &url, "no data", pace.idle)),
                Ok(Err(error)) => return Err(broken(received, Some(error.without_url()))),
                Ok(Ok(None)) if expected.is_some_and(|length| length != received) => {
                    return Err(broken(received, None));
                }
                Ok(Ok(None)) => return Ok(received),
                Ok(Ok(Some(chunk))) => chunk,
            };
            received += chunk.len() as u64;
            if received > limit {
                let allowed = chunk.len() as u64 - (received - limit);
                sink(chunk.get(..allowed as usize).unwrap_or_default())?;
                return Err(Error::TooLarge { method: method.to_string(), url: redacted(&url), limit });
            }
            in_window += chunk.len() as u64;
            if window.elapsed() >= pace.window {
                if in_window < pace.window_minimum {
                    return Err(stalled(method, &url, "less than the minimum rate", pace.window));
                }
                (window, in_window) = (Instant::now(), 0);
            }
            sink(&chunk)?;
        }
    }
}

fn builder(pace: Pace) -> reqwest::ClientBuilder {
    // Fails only if a provider is installed already: that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("ingot/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(pace.connect)
        .pool_idle_timeout(Duration::from_secs(20))
}

fn made<'a>(
    slot: &'a OnceLock<reqwest::Client>,
    make: &dyn Fn() -> reqwest::ClientBuilder,
) -> Result<&'a reqwest::Client, Error> {
    if let Some(client) = slot.get() {
        return Ok(client);
    }
    // Without any CA certificate nothing is trusted, but plain http still works.
    let client = make().build().or_else(|_| make().tls_certs_only([]).build());
    let client = client.map_err(|error| Error::Setup { source: io::Error::other(error.without_url()) })?;
    Ok(slot.get_or_init(|| client))
}

impl Response {
    /// The response, if its status is 2xx.
    pub fn into_success(self, method: &Method) -> Result<Response, Error> {
        if self.is_success() {
            return Ok(self);
        }
        let mut message = printable(&self.body);
        if let Some(wait) = self.header("retry-after").filter(|_| retry::is_transient(self.status)) {
            message.push_str(&format!(" (Retry-After: {})", printable(wait.as_bytes())));
        }
        Err(Error::Status { method: method.to_string(), url: redacted(&self.url), status: self.status, message })
    }
}

fn keep(body: &mut Vec<u8>, chunk: &[u8]) -> Result<(), Error> {
    body.extend_from_slice(chunk);
    Ok(())
}

fn header_value(text: &str) -> Result<HeaderValue, io::Error> {
    let mut value = HeaderValue::from_str(text).map_err(io::Error::other)?;
    value.set_sensitive(true);
    Ok(value)
}

fn userinfo(url: &Url) -> Option<Credentials> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Credentials { username: decode(url.username()), password: decode(url.password().unwrap_or_default()) })
}

pub(super) fn header_pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// Refuses a body that is not sent as it is.
pub(super) fn check_encoding(response: &Response) -> Result<(), Error> {
    match response.header("content-encoding").map(str::trim) {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => {
            Err(Error::Encoding { url: redacted(&response.url), encoding: printable(encoding.as_bytes()) })
        }
    }
}

fn next_hop(url: &Url, location: &HeaderValue) -> Result<Url, Error> {
    let refuse = |reason| Error::Redirect { url: redacted(url), reason };
    let text = location.to_str().map_err(|_| refuse("to something that is not a URL"))?;
    let mut next = url.join(text).map_err(|_| refuse("to something that is not a URL"))?;
    let _ = next.set_username("");
    let _ = next.set_password(None);
    match (url.scheme(), next.scheme()) {
        ("http" | "https", "https") | ("http", "http") => Ok(next),
        (_, "http") => Err(refuse("from https to http")),
        _ => Err(refuse("to a scheme that is neither http nor https")),
    }
}

pub(super) fn stalled(method: &Method, url: &Url, what: &'static str, span: Duration) -> Error {
    Error::Stalled { method: method.to_string(), url: redacted(url), what, seconds: span.as_secs() }
}

/// Sorts what reqwest reports into what a caller can act on.
pub(super) fn failure(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let (method, shown) = (method.to_string(), redacted(url));
    let host = url.host_str().unwrap_or_default().to_string();
    if is_tls(&error) {
        Error::Certificate { url: shown, host, source: error }
    } else if error.is_builder() {
        Error::Request { method, url: shown, source: io::Error::other(error) }
    } else if error.is_connect() {
        Error::Connect { method, url: shown, host, source: error }
    } else {
        Error::Interrupted { method, url: shown, received: 0, expected: None, source: Some(error) }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::error::{Class, Explain};
    use crate::net::testing::{Act, Server, quick};
    use crate::process;

    fn get(server: &Server, target: &str) -> Request {
        Request::get(server.url(target))
    }

    #[test]
    fn a_fetch_says_who_it_is_and_wants_no_encoding() {
        let server = Server::start(|_| Act::body(200, b"hello").with("X-A", "1"));
        let response = quick().fetch(&get(&server, "/a?b=c").header("Accept", "text/x"), 5).unwrap();
        assert_eq!((response.status, &response.body[..], response.header("x-a")), (200, &b"hello"[..], Some("1")));
        let seen = &server.seen()[0];
        assert_eq!((seen.target.as_str(), seen.header("accept")), ("/a?b=c", Some("text/x")));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert!(seen.header("user-agent").unwrap().starts_with("ingot/"));
    }

    #[test]
    fn faults_are_tried_again_and_refusals_are_not() {
        let server = Server::start(|seen| match (seen.path(), seen.earlier) {
            ("/drop", 0) => Act::hang_up(),
            ("/drop", 1) => Act::body(200, b"hello").cut(2),
            ("/busy", 0..=3) => Act::status(503),
            ("/limit", 0) => Act::status(429).with("Retry-After", "0"),
            ("/chunked", 0) => Act::body(200, b"3\r\nhel\r\n").with("Transfer-Encoding", "chunked").length(None),
            ("/no", _) => Act::body(404, b"no \x1b[31msuch\nthing"),
            ("/never", _) => Act::status(502),
            ("/later", _) => Act::status(429).with("Retry-After", "86400"),
            _ => Act::body(200, b"hello"),
        });
        for (path, requests) in [("/drop", 3), ("/busy", 5), ("/limit", 2), ("/chunked", 2)] {
            assert_eq!(quick().fetch(&get(&server, path), 9).unwrap().body, b"hello", "{path}");
            assert_eq!(server.seen().iter().filter(|seen| seen.path() == path).count(), requests, "{path}");
        }
        for (path, requests, text) in [
            ("/no", 1, "status 404: no [31msuch thing"),
            ("/never", 5, "status 502"),
            ("/later", 1, "status 429:  (Retry-After: 86400)"),
        ] {
            let error = quick().fetch(&get(&server, path), 9).unwrap_err();
            assert!(matches!(error, Error::Status { .. }));
            assert!(error.to_string().ends_with(text), "{error}");
            assert_eq!(error.class(), Class::Network);
            assert_eq!(server.seen().iter().filter(|seen| seen.path() == path).count(), requests, "{path}");
        }
        let once = Call::new(Method::POST, server.url("/never")).once();
        assert_eq!(quick().exchange(&once, 9).unwrap().status, 502);
        assert_eq!(server.lines().iter().filter(|line| *line == "POST /never").count(), 1);
    }

    #[test]
    fn bodies_have_limits_and_no_encoding() {
        let server = Server::start(|seen| match seen.path() {
            "/declared" => Act::body(200, b"x").length(Some(1 << 40)),
            "/endless" => Act::body(200, &[b'x'; 4096]).length(None),
            "/gzip" => Act::body(200, b"hello").with("Content-Encoding", "gzip"),
            _ => Act::body(500, &vec![b'e'; 3 << 20]),
        });
        for path in ["/declared", "/endless"] {
            let error = quick().fetch(&get(&server, path), 1000).unwrap_err();
            assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{error}");
            assert_eq!(error.class(), Class::Verification);
        }
        let error = quick().fetch(&get(&server, "/gzip"), 1000).unwrap_err();
        assert!(matches!(&error, Error::Encoding { encoding, .. } if encoding == "gzip"), "{error}");
        assert!(error.hint().is_some());
        let response = quick().exchange(&Call::new(Method::GET, server.url("/error")).once(), 10).unwrap();
        assert!(response.body.len() as u64 <= ERROR_BODY_LIMIT);
    }

    #[test]
    fn redirects_lose_credentials_on_the_way_out_and_do_not_get_them_back() {
        let inner = Server::start(|_| Act::body(200, b"stored"));
        let (away, inner_url) = (inner.url("/blob?sig=1"), inner.url("/back"));
        let outer = Server::start(move |seen| match seen.path() {
            "/same" => Act::status(307).with("Location", "here?x=1"),
            "/away" => Act::status(302).with("Location", away.as_str()),
            "/there-and-back" => Act::status(302).with("Location", inner_url.as_str()),
            "/loop" => Act::status(302).with("Location", "/loop"),
            "/file" => Act::status(302).with("Location", "file:///etc/passwd"),
            "/bad" => Act::status(302).with("Location", "http://[x"),
            _ => Act::body(200, b"here"),
        });
        let mut request = get(&outer, "/same").header("Cookie", "c=1");
        request.credentials = Some(Credentials { username: "u".into(), password: "canary".into() });
        let fetch = |path: &str| quick().fetch(&Request { url: outer.url(path), ..request.clone() }, 99);
        assert_eq!(fetch("/same").unwrap().body, b"here");
        assert_eq!(outer.seen()[1].target, "/here?x=1");
        assert!(outer.seen()[1].header("authorization").is_some() && outer.seen()[1].header("cookie").is_some());
        assert_eq!(fetch("/away").unwrap().body, b"stored");
        let seen = &inner.seen()[0];
        assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None));
        for (path, reason) in [("/loop", "10 times"), ("/file", "scheme"), ("/bad", "not a URL")] {
            let error = fetch(path).unwrap_err();
            assert!(matches!(error, Error::Redirect { .. }) && error.to_string().contains(reason), "{error}");
        }
        assert_eq!(outer.lines().iter().filter(|line| *line == "GET /loop").count(), 11);
    }

    #[test]
    fn trust_that_is_lost_stays_lost() {
        let home = Server::start(|_| Act::body(200, b"home"));
        let back = home.url("/end");
        let away = Server::start(move |_| Act::status(302).with("Location", back.as_str()));
        let out = away.url("/");
        let start = Server::start(move |_| Act::status(302).with("Location", out.as_str()));
        let mut request = Request::get(start.url("/"));
        request.headers.push(("Authorization".into(), "Bearer canary".into()));
        quick().fetch(&request, 99).unwrap();
        assert!(start.seen()[0].header("authorization").is_some());
        assert!(away.seen()[0].header("authorization").is_none() && home.seen()[0].header("authorization").is_none());
    }

    #[test]
    fn https_is_never_left() {
        let https = Url::parse("https://a.example/").unwrap();
        let hop = |to: &'static str| next_hop(&https, &HeaderValue::from_static(to));
        assert!(matches!(hop("http://a.example/"), Err(Error::Redirect { reason: "from https to http", .. })));
        assert_eq!(hop("https://u:p@b.example/x").unwrap().as_str(), "https://b.example/x");
        assert_eq!(hop("//b.example/x").unwrap().as_str(), "https://b.example/x");
    }

    #[test]
    fn credentials_in_the_url_become_a_header() {
        let server = Server::start(|_| Act::body(200, b""));
        let mut url = server.url("/x");
        url.set_username("us%40er").unwrap();
        url.set_password(Some("p")).unwrap();
        quick().fetch(&Request::get(url), 9).unwrap();
        let expected = Credentials { username: "us@er".into(), password: "p".into() }.basic();
        assert_eq!(server.seen()[0].header("authorization"), Some(expected.as_str()));
    }

    #[test]
    fn silence_and_trickles_end() {
        let server = Server::start(|seen| match seen.path() {
            "/silent" => Act::status(200).delay(Duration::from_millis(900)),
            "/stall" => Act::body(200, b"xyz").trickle(Duration::from_millis(900)),
            _ => Act::body(200, &[b'x'; 40]).trickle(Duration::from_millis(25)),
        });
        for (path, expected) in
            [("/silent", "no answer"), ("/stall", "no data"), ("/trickle", "less than the minimum rate")]
        {
            let error = quick().exchange(&Call::new(Method::GET, server.url(path)).once(), 99).unwrap_err();
            assert!(matches!(error, Error::Stalled { what, .. } if what == expected), "{error}");
            assert!(error.hint().is_some() && error.is_transient());
        }
    }

    #[test]
    fn nobody_there_is_said_with_the_host() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = Url::parse(&format!("http://127.0.0.1:{port}/x?secret=canary")).unwrap();
        let error = crate::error::Error::from(quick().fetch(&Request::get(url), 9).unwrap_err());
        assert!(error.to_string().starts_with("could not connect to `127.0.0.1`"), "{error}");
        assert!(!error.to_string().contains("canary") && error.hint().unwrap().contains("proxy"));
        assert_eq!(error.class().code(), 5);
    }

    #[test]
    fn impossible_requests_are_refused_without_being_sent() {
        let server = Server::start(|_| Act::status(200));
        let split = get(&server, "/").header("X-A", "b\r\nX-C: d");
        assert!(matches!(quick().fetch(&split, 9), Err(Error::Request { .. })));
        let scheme = Request::get(Url::parse("ftp://a.example/x").unwrap());
        assert!(matches!(quick().fetch(&scheme, 9), Err(Error::Request { .. })));
        assert_eq!(server.seen().len(), 0);
    }

    #[test]
    fn a_server_without_tls_is_no_https_server() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _ = io::copy(&mut stream, &mut io::sink());
            listener.set_nonblocking(true).unwrap();
            listener.accept().is_ok()
        });
        let url = Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
        let error = quick().fetch(&Request::get(url), 9).unwrap_err();
        assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("clock"));
        assert!(!connections.join().unwrap(), "neither tried again nor over http");
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_ends_it_at_once() {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-keyout", "-", "-days", "2", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]);
        let pem = process::run(openssl, b"", process::DEFAULT_TIMEOUT).expect("apt-get install openssl").stdout;
        let http = quick();
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let request = tls.complete_io(&mut stream).is_ok() && !tls.is_handshaking();
            listener.set_nonblocking(true).unwrap();
            (request, listener.accept().is_ok())
        });
        let mut request = Request::get(Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap());
        request.credentials = Some(Credentials { username: "u".into(), password: "p".into() });
        let error = http.fetch(&request, 9).unwrap_err();
        assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
        assert_eq!((error.class(), error.is_transient()), (Class::Network, false));
        assert!(!requests.join().unwrap().1, "not tried again");
    }

    /// The body of the test below, in a process that has the variables.
    #[test]
    fn in_another_environment() {
        let Some(url) = std::env::var_os("INGOT_TEST_FETCH") else { return };
        let request = Request::get(Url::parse(url.to_str().unwrap()).unwrap());
        match quick().fetch(&request, 99) {
            Ok(response) => println!("said {}", String::from_utf8(response.body).unwrap()),
            Err(error) => println!("failed {error} {error:?} {:?}", error.hint()),
        }
    }

    fn elsewhere(url: &str, variables: &[(&str, &str)]) -> String {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "net::client::tests::in_another_environment", "--nocapture"]);
        test.env("INGOT_TEST_FETCH", url).envs(variables.iter().copied());
        process::run(test, b"", process::DEFAULT_TIMEOUT).unwrap().stdout_text()
    }

    #[test]
    fn the_proxy_of_the_environment_is_used_but_not_for_this_machine() {
        let proxy = Server::start(|seen| match seen.target.as_str() {
            "http://a.example/x" => Act::body(200, b"by proxy"),
            _ => Act::status(407),
        });
        let server = Server::start(|_| Act::body(200, b"direct"));
        let address = format!("http://u:canary@{}", proxy.authority());
        let through = |url: &str| {
            elsewhere(url, &[("HTTP_PROXY", &address), ("http_proxy", &address), ("NO_PROXY", ""), ("no_proxy", "")])
        };
        let said = through("http://a.example/x");
        assert!(said.contains("said by proxy"), "{said}");
        let expected = Credentials { username: "u".into(), password: "canary".into() }.basic();
        assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some(expected.as_str()));
        let said = through(server.url("/x").as_str());
        assert!(said.contains("said direct"), "{said}");
        let said = through("http://b.example/");
        assert!(said.contains("failed") && said.contains("407") && !said.contains("canary"), "{said}");
    }

    #[test]
    fn without_any_certificate_plain_http_still_works() {
        let server = Server::start(|_| Act::body(200, b"plain"));
        let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "")];
        let said = elsewhere(server.url("/x").as_str(), &none);
        assert!(said.contains("said plain"), "{said}");
    }

    #[test]
    fn the_system_certificates_are_used() {
        // Which index this machine uses is pip's to say.
        let mut pip = Command::new("python3");
        pip.args(["-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"]);
        let said = process::run(pip, b"", process::DEFAULT_TIMEOUT).expect("apt-get install python3-pip");
        let mut url = Url::parse(&said.stdout_text()).expect("apt-get install python3-pip");
        url.path_segments_mut().unwrap().pop_if_empty().extend(["six", ""]);
        let response = Http::new().unwrap().fetch(&Request::get(url), 16 << 20).unwrap();
        assert!(response.status == 200 && !response.body.is_empty());
    }

    #[test]
    fn set_up_failures_name_the_certificates() {
        let error = Error::Setup { source: io::Error::other("no roots") };
        assert!(error.hint().unwrap().contains("SSL_CERT_FILE"));
    }
}
