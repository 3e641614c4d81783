//! All that Ingot knows of Debian and Ubuntu: apt's sources, signed indexes, the resolver, .deb files, and the
//! configuration that maintainer scripts would do.
//!
//! ```text
//! sources -> release (signature) -> index -> Universe -+
//! dpkg status of the base -----------------------------+-> solve -> Solution -> debs -> unpack -> Root -> configure -> LayerTree
//! ```

mod apt_conf;
mod ar;
mod archive;
mod archive_error;
mod armor;
mod cast;
mod cast_elf;
mod cast_file;
pub mod configure;
mod control;
mod control_tar;
mod data;
mod data_stream;
pub mod database;
mod database_status;
mod database_triggers;
mod deb;
mod deb_error;
#[cfg(test)]
pub(crate) mod deb_testing;
mod diversion;
mod elf;
pub(crate) mod elf_view;
mod error;
mod exclude;
mod fetch;
mod index;
mod install;
mod install_base;
mod install_error;
mod install_select;
#[cfg(test)]
mod install_testing;
mod install_upgrade;
mod installed;
mod keyring;
mod layer;
mod package;
mod preferences;
mod relation;
mod release;
mod request;
mod root;
mod signature;
mod solve;
mod sources;
#[cfg(test)]
pub(crate) mod trust_testing;
mod version;

pub use archive::{Archive, ReleaseInfo};
pub use archive_error::ArchiveError;
pub use cast::cast;
pub use control::{Paragraph, paragraphs};
pub use deb::Deb;
pub use deb_error::DebError;
pub use error::Error;
pub use exclude::Keep;
pub use fetch::{Context, fetch_debs, fetch_locations};
pub use install::{Installation, install};
pub use install_error::InstallError;
pub use installed::{Installed, InstalledPackage};
pub use keyring::{Keyring, Keys};
pub use layer::{Chosen, OS_LAYER, OsLayer, OsReport, OsSpec, PrivilegedFile, ScriptNotRun, architecture};
pub use package::{Candidate, Location, MultiArch, Package, Provided, Universe};
pub use preferences::{Pocket, Preferences};
pub use relation::{Alternatives, ArchQualifier, Operator, Relation, parse_relations};
pub use release::Floor;
pub use request::{Request, Upgrade, Wanted};
pub use root::{Root, tree_path};
pub use solve::{Change, Left, Reason, Solution, SolveError, solve};
pub use sources::{Machine, Source, Sources, SourcesError};
pub use version::Version;
