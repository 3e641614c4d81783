//! What can go wrong between Ingot and a registry. No text holds a credential.

use std::path::PathBuf;

use oci_client::errors::{OciEnvelope, OciErrorCode};

use super::client::Scope;
use crate::error::{Class, Explain};
use crate::net::{self, Method, Response, redacted};
use crate::oci::{Digest, Reference};
use crate::{fs, process};

/// An operation on a registry that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401, with or without credentials.
    #[error("registry `{registry}` does not let {} {what}{}", if *known { "these credentials" } else { "anonymous users" }, tail(message))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// "pull `team/app`".
        what: String,
        /// Whether there were credentials.
        known: bool,
        /// What the registry said.
        message: String,
    },
    /// 403.
    #[error("registry `{registry}` denies to {what}{}", tail(message))]
    Denied {
        /// The registry.
        registry: String,
        /// "push `team/app`".
        what: String,
        /// What the registry said.
        message: String,
    },
    /// 404.
    #[error("{what} is not in the registry{}", tail(message))]
    NotFound {
        /// "manifest `localhost:5000/x:1`".
        what: String,
        /// What the registry said.
        message: String,
    },
    /// Any other status that is not a success.
    #[error("`{method} {url}` was answered with status {status}{}", tail(message))]
    Refused {
        /// The method.
        method: String,
        /// Where, redacted.
        url: String,
        /// The status code.
        status: u16,
        /// The specification's error code, where there is one.
        code: Option<String>,
        /// What the registry said.
        message: String,
    },
    /// Bytes that are not those of the digest, or a registry that says so.
    #[error("{what} does not verify: expected {expected}, found {found}")]
    Digest {
        /// "manifest `localhost:5000/x:1`".
        what: String,
        /// The digest that was promised or computed.
        expected: Digest,
        /// What was found instead.
        found: String,
    },
    /// A `WWW-Authenticate` header that cannot be used.
    #[error("registry `{registry}` asks for credentials in a way that is not understood: {reason}")]
    Challenge {
        /// The registry.
        registry: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A token server that gets no credentials.
    #[error("registry `{registry}` sends for a token to `{realm}`: {reason}")]
    Realm {
        /// The registry.
        registry: String,
        /// Where to, redacted.
        realm: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A token server that gives none.
    #[error("the token server `{realm}` of registry `{registry}` gave no token: {reason}")]
    Token {
        /// The registry.
        registry: String,
        /// Where, redacted.
        realm: String,
        /// What it said instead.
        reason: String,
    },
    /// A registry that answers, but not as the specification says.
    #[error("`{url}` does not follow the distribution specification: {reason}")]
    Protocol {
        /// Where, redacted.
        url: String,
        /// What is missing or odd.
        reason: String,
    },
    /// An upload that got stuck: it was resumed several times without getting further.
    #[error("the upload of blob {digest} to `{to}` got stuck at {sent} of {size} bytes")]
    Stuck {
        /// The blob.
        digest: Digest,
        /// The repository.
        to: String,
        /// How much the registry has.
        sent: u64,
        /// How much there is.
        size: u64,
    },
    /// A credentials file that cannot be used.
    #[error("`{}` is not a usable credentials file: {reason}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper that does not answer. Going on without credentials could send others elsewhere.
    #[error("credential helper `{helper}` has no usable answer for `{registry}`: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// Which credentials were asked for.
        registry: String,
        /// What happened; never what it printed on stdout.
        reason: String,
    },
    /// A credential helper that cannot be run.
    #[error("could not ask a credential helper for `{registry}`")]
    HelperProcess {
        /// Which credentials were asked for.
        registry: String,
        /// Why not.
        #[source]
        source: process::Error,
    },
    /// The network.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] fs::Error),
}

fn tail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Error {
    /// Whether the same operation may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Net(error) => error.is_transient(),
            Error::Refused { status, .. } => matches!(status, 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522),
            _ => false,
        }
    }

    /// The same error once more, if the registry does not let in who asks: asking again does not change that.
    pub fn refusal(&self) -> Option<Error> {
        match self {
            Error::Unauthorized { registry, what, known, message } => Some(Error::Unauthorized {
                registry: registry.clone(),
                what: what.clone(),
                known: *known,
                message: message.clone(),
            }),
            Error::Denied { registry, what, message } => {
                Some(Error::Denied { registry: registry.clone(), what: what.clone(), message: message.clone() })
            }
            _ => None,
        }
    }

    /// The specification's error code, if this is a plain refusal.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => code.as_deref(),
            _ => None,
        }
    }
}

/// The answer if it is a success, else the error that its status means for `what` of `at`.
pub(super) fn expect_success(
    response: Response,
    method: &Method,
    scope: &Scope,
    at: &Reference,
    what: &str,
) -> Result<Response, Error> {
    if response.is_success() {
        return Ok(response);
    }
    let (code, message) = envelope(&response);
    Err(match response.status {
        403 => Error::Denied {
            registry: at.registry().into(),
            what: format!("{} `{}`", scope.verb(), at.repository()),
            message,
        },
        404 if matches!(*method, Method::GET | Method::HEAD) => Error::NotFound { what: what.to_string(), message },
        status => Error::Refused { method: method.to_string(), url: redacted(&response.url), status, code, message },
    })
}

/// Code and message of the specification's error body; anything else is shown as it is.
pub(super) fn envelope(response: &Response) -> (Option<String>, String) {
    let parsed = serde_json::from_slice::<OciEnvelope>(&response.body).ok();
    let Some(first) = parsed.and_then(|envelope| envelope.errors.into_iter().next()) else {
        return (None, response.message());
    };
    let code = match &first.code {
        OciErrorCode::Other(code) => code.clone(),
        known => serde_json::to_value(known).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default(),
    };
    let printable = Response { body: format!("{code} {}", first.message).into_bytes(), ..empty(response) };
    (Some(code), printable.message().trim().to_string())
}

fn empty(response: &Response) -> Response {
    Response { status: response.status, url: response.url.clone(), headers: Vec::new(), body: Vec::new() }
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Digest { .. } => Class::Verification,
            Error::AuthFile { .. } => Class::Usage,
            Error::Net(error) => error.class(),
            Error::File(error) => error.class(),
            _ => Class::Network,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Unauthorized { registry, known: false, .. } => {
                format!("log in with `podman login {registry}` or `docker login {registry}`, or set REGISTRY_AUTH_FILE")
            }
            Error::Unauthorized { registry, .. } => {
                format!("check the stored credentials: `podman login {registry}` again")
            }
            Error::Denied { .. } => "ask for access to this repository, or use other credentials".into(),
            Error::NotFound { .. } => {
                "check the name, the tag and the registry; private images look missing, too".into()
            }
            Error::Refused { status: 413, .. } => "a proxy before the registry limits the size of requests".into(),
            Error::Refused { status: 429, .. } => "the registry limits requests: log in, or try again later".into(),
            Error::Refused { code: Some(code), .. } if code == "MANIFEST_BLOB_UNKNOWN" => {
                "push again: the registry does not see all blobs yet, or has removed some".into()
            }
            Error::Digest { .. } => {
                "do not use these bytes; a registry or a proxy on the way changes them, or the tag is a lie".into()
            }
            Error::Realm { .. } => "no credentials were sent; check that this is the registry that you mean".into(),
            Error::Helper { helper, .. } => {
                format!("repair or remove `{helper}` in the credentials file; nothing was sent to the registry")
            }
            Error::HelperProcess { source, .. } => return source.hint(),
            Error::AuthFile { .. } => "write it anew with `podman login` or `docker login`".into(),
            Error::Net(error) => return error.hint(),
            Error::File(error) => return error.hint(),
            _ => return None,
        })
    }
}
