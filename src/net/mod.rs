//! HTTP for package indexes and registries, as a blocking facade over one small async runtime.
//!
//! Everything that crosses the network passes here: TLS with the system's roots, proxies from the environment,
//! connect and idle timeouts, retries with backoff and Retry-After, size limits, and credentials that belong to
//! one origin (scheme, host, port) and are never carried to another.
//!
//! - [`Http::fetch`]: a small document in memory.
//! - [`Http::download`] and [`Transfer`]: a large body into a sink, resumed where it broke off.
//! - [`Socket`]: the other side, a service on a unix socket. [`probe()`]: a question to a service of this machine.
//! - [`Http::exchange`] and [`Http::upload`]: any method, for protocols that look at every answer themselves.

mod client;
mod download;
mod error;
mod origin;
mod parallel;
mod probe;
mod request;
mod retry;
mod runtime;
mod service;
#[cfg(test)]
pub(crate) mod testing;
mod upload;

pub use client::Http;
pub use download::Transfer;
pub use error::Error;
pub use origin::{is_internal, redacted, same_origin};
pub use parallel::in_parallel;
pub use probe::{Listening, Probed, probe};
pub use request::{Call, Credentials, Request, Response};
pub use reqwest::Method;
pub use service::{Answer, Ask, Body, Gone, Handler, Pieces, Socket};

/// How many redirects are followed.
pub const REDIRECT_LIMIT: usize = 10;
/// How much of an error's body is read, in bytes.
pub const ERROR_BODY_LIMIT: u64 = 64 << 10;
/// How much of an error's body is shown, in characters.
pub const MESSAGE_LIMIT: usize = 200;
