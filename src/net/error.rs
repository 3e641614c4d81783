//! What can go wrong on the network. No text holds a credential: URLs are shown without user, query and fragment.

use std::error::Error as StdError;
use std::io;

use crate::error::{Class, Explain};

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no runtime, or TLS could not be set up.
    #[error("could not set up the HTTP client")]
    Setup {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody can connect.
    #[error("could not listen on the socket `{}`", path.display())]
    Socket {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The request itself is impossible.
    #[error("`{method} {url}` is not a possible request")]
    Request {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No connection: the name does not resolve, nobody listens, nobody answers.
    #[error("could not connect to `{host}` for `{method} {url}`")]
    Connect {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// The host that could not be reached.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// TLS does not hold.
    #[error("could not trust `{host}` for `{url}`")]
    Certificate {
        /// Where, redacted.
        url: String,
        /// The host that could not be trusted.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing, or next to nothing, came for too long.
    #[error("`{method} {url}` stalled: {what} for {seconds} s")]
    Stalled {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// "no answer", "no data", "less than 1 KiB/s".
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The answer broke off.
    #[error("the answer to `{method} {url}` broke off after {received} bytes{}", expected.map(|n| format!(" of {n}")).unwrap_or_default())]
    Interrupted {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// How much of the body came.
        received: u64,
        /// How much was promised.
        expected: Option<u64>,
        /// Why, where the connection said so.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// A redirect that is not followed.
    #[error("`{url}` redirects {reason}")]
    Redirect {
        /// Where, redacted.
        url: String,
        /// "more than 10 times", "from https to http", ...
        reason: &'static str,
    },
    /// The server refuses.
    #[error("`{method} {url}` was answered with status {status}{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Status {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the body, printable.
        message: String,
    },
    /// The body is larger than it may be.
    #[error("the answer to `{method} {url}` is larger than expected: the limit is {limit} bytes")]
    TooLarge {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// The most that was allowed, in bytes.
        limit: u64,
    },
    /// The body is encoded although that was not asked for: its bytes are not those that were hashed.
    #[error("`{url}` was sent with the encoding `{encoding}`, expected none")]
    Encoding {
        /// Where, redacted.
        url: String,
        /// What the server says.
        encoding: String,
    },
    /// The body changed between two parts of one download.
    #[error("`{url}` changed while it was downloaded: {reason}")]
    Changed {
        /// Where, redacted.
        url: String,
        /// Expected and found.
        reason: String,
    },
    /// What came could not be stored.
    #[error("could not store the answer to `GET {url}`")]
    Sink {
        /// Where, redacted.
        url: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What should be sent could not be read.
    #[error("could not read what should be sent to `{url}`")]
    Source {
        /// Where, redacted.
        url: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Stalled { .. } | Error::Interrupted { .. })
    }

    /// The status, if the server answered with one that is not a success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Whether TLS is the cause.
pub(super) fn is_tls(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return true;
        }
        // An io::Error hides what it wraps from `source`.
        if let Some(wrapped) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            if wrapped.is::<rustls::Error>() {
                return true;
            }
            next = Some(wrapped);
            continue;
        }
        next = cause.source();
    }
    false
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::TooLarge { .. } | Error::Encoding { .. } | Error::Changed { .. } => Class::Verification,
            Error::Source { source, .. } if source.kind() == io::ErrorKind::InvalidData => Class::Verification,
            Error::Sink { .. } | Error::Source { .. } => Class::Storage,
            _ => Class::Network,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Setup { .. } => {
                "check that the system has CA certificates (package `ca-certificates`), or name some in SSL_CERT_FILE"
                    .into()
            }
            Error::Connect { host, .. } => format!(
                "check the name `{host}` and the network; behind a proxy set HTTPS_PROXY (and NO_PROXY for hosts inside)"
            ),
            Error::Certificate { .. } => {
                "check this machine's clock, and that the CA of the server (or of the proxy) is among the system's \
                 certificates (package `ca-certificates`) or in SSL_CERT_FILE"
                    .into()
            }
            Error::Stalled { .. } | Error::Interrupted { .. } => {
                "run the command again: what was stored is not fetched twice".into()
            }
            Error::Status { status: 407, .. } => "the proxy wants credentials: put them into HTTPS_PROXY".into(),
            Error::Status { status: 401 | 403, .. } => "check the credentials for this server".into(),
            Error::Status { status: 429, .. } => "the server limits requests: log in, or try again later".into(),
            Error::Encoding { .. } => "a proxy on the way changes what it passes on: exempt this host".into(),
            _ => return None,
        })
    }
}
