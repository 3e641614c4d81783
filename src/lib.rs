//! Ingot casts an application into an OCI image: no daemon, no Dockerfile, no root, no `RUN`.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look from outside"))]

pub mod build;
pub mod check;
pub mod cli;
pub mod debian;
pub mod engine;
pub mod error;
pub mod fs;
pub mod image;
pub mod layer;
pub mod lock;
pub mod net;
pub mod node;
pub mod oci;
pub mod plan;
pub mod process;
pub mod progress;
pub mod project;
pub mod python;
pub mod registry;
pub mod report;
pub mod runtime;
pub mod sandbox;
pub mod stack;
pub mod target;
pub mod text;
pub mod validate;
