//! What is asked and what is answered.

use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use reqwest::Method;
use url::Url;

use super::redacted;

/// A user name and a password, sent as `Authorization: Basic` to the origin of the request and to no other.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl Credentials {
    /// The value of the `Authorization` header.
    pub fn basic(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// A GET.
#[derive(Clone)]
pub struct Request {
    /// Where. A user name and a password in it become credentials, unless there are others.
    pub url: Url,
    /// More headers. `Authorization` and `Cookie` stay with the origin, too.
    pub headers: Vec<(String, String)>,
    /// For the origin of `url`.
    pub credentials: Option<Credentials>,
}

impl Request {
    /// A plain GET of `url`.
    pub fn get(url: Url) -> Self {
        Request { url, headers: Vec::new(), credentials: None }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request(GET {})", redacted(&self.url))
    }
}

/// A request of any method, for protocols that look at every status themselves.
#[derive(Clone)]
pub struct Call {
    /// GET, HEAD, POST, ...
    pub method: Method,
    /// Where, who, and with which headers.
    pub request: Request,
    /// The body; empty for none.
    pub body: Bytes,
    /// Whether redirects are followed. Only ever for GET and HEAD.
    pub redirects: bool,
    /// Whether it may be sent again after a fault: it must do no harm twice.
    pub retry: bool,
}

impl Call {
    /// A call that may be repeated; GET and HEAD follow redirects.
    pub fn new(method: Method, url: Url) -> Self {
        let redirects = method == Method::GET || method == Method::HEAD;
        Call { method, request: Request::get(url), body: Bytes::new(), redirects, retry: true }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sent once, whatever happens.
    pub fn once(mut self) -> Self {
        self.retry = false;
        self
    }

    /// Does not follow redirects.
    pub fn stay(mut self) -> Self {
        self.redirects = false;
        self
    }
}

/// The final answer.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: Url,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; of an error at most [`super::ERROR_BODY_LIMIT`] bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every header of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(|(known, _)| same(known)).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first printable characters of the body, for an error message.
    pub fn message(&self) -> String {
        printable(&self.body)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} from {}, {} bytes)", self.status, redacted(&self.url), self.body.len())
    }
}

/// What of a body may stand in a message: no control characters, no bidirectional overrides, one line, and short.
pub(super) fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| word.chars().filter(|c| !c.is_control() && !hidden(*c)).collect())
        .take(super::MESSAGE_LIMIT)
        .collect();
    words.join(" ").chars().take(super::MESSAGE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_debug_texts() {
        let credentials = Credentials { username: "u".into(), password: "canary".into() };
        let mut request = Request::get(Url::parse("https://u:canary@a.example/x?t=canary").unwrap());
        request.headers.push(("Authorization".into(), "Bearer canary".into()));
        request.credentials = Some(credentials.clone());
        let text = format!("{credentials:?} {request:?}");
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(credentials.basic(), "Basic dTpjYW5hcnk=");
    }

    #[test]
    fn messages_of_servers_cannot_reach_the_terminal() {
        let text = printable("a\u{1b}]52;c;x\u{7}\r\n  b\u{202e}c\0".as_bytes());
        assert_eq!(text, "a]52;c;x bc");
        assert_eq!(printable(&vec![b'x'; 10_000]).len(), 200);
    }
}
