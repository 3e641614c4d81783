//! The project file: `ingot.toml`, or `[tool.ingot]` in pyproject.toml.
//!
//! [`Project::load`] finds, parses and checks the file against the schema; [`Project::variant`] gives one variant as
//! plain, typed data. Every mistake is an error that shows file, line and caret; what comes later in the flow reports
//! mistakes of the file in the same way, through [`Place::error`].
//! The known bases of `base-manifests/` are here too, and what `ingot init` writes (`init`).

pub mod init;

mod check;
mod document;
mod error;
mod expand;
mod facts;
mod file;
mod hygiene;
mod known_base;
#[cfg(test)]
pub(crate) mod page;
mod place;
mod repository;
mod resolve;
mod rule;
mod schema;
mod suggest;
mod variant;

pub use error::Error;
pub use facts::{Commit, commit, facts};
pub use file::{BuildArgs, FILE_LIMIT, FILE_NAME, PYPROJECT, Project};
pub use hygiene::{HygieneSpec, LARGE_FILE, RulesSpec};
pub use known_base::{
    Apt, Cuda, Family, KnownBase, KnownPython, PACKAGES_SUFFIX, known_base, known_bases, known_packages,
};
pub use place::{Located, Place, Source};
pub use rule::{Port, Protocol};
pub use schema::markdown;
pub use suggest::hint as suggestion;
pub use variant::{
    AppSpec, Budget, GpuSpec, Healthcheck, ImageSpec, NodeSpec, OsSpec, PythonSpec, Upgrade, UserSpec, Variant,
};
