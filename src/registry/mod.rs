//! Registries, by the OCI distribution specification: pull, push, mount, tags, and the credentials for it.
//!
//! One [`Registry`] serves all registries; threads share its tokens and connections. From `oci-client` come the
//! names of API hosts and the specification's error codes. Requests are sent by `net`: oci-client follows redirects
//! by itself, sends credentials to whatever realm a challenge names, and swallows token errors.
//!
//! Bytes that arrive are hashed before anybody sees them; bytes that leave are hashed while they are sent.

mod auth;
mod challenge;
mod client;
mod download;
mod error;
mod helper;
mod location;
mod manifest;
#[cfg(test)]
mod real;
#[cfg(test)]
mod testing;
mod token;
mod upload;

pub use auth::{AuthFiles, Secret};
pub use client::{Options, Registry};
pub use download::RemoteBlobs;
pub use error::Error;
pub use manifest::Fetched;
pub use upload::Pushed;

/// The result of a registry operation that involves nothing but the registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;
