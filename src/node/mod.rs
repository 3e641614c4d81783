//! All that Ingot knows of Node: package-lock.json, npm's registries, tarballs of packages, `node_modules`.
//!
//! What `npm ci --omit=dev --ignore-scripts` would leave in a folder, without npm and without running anything: the lock
//! says which packages, [`select()`] which of them belong in this image, [`fetch()`] puts each tarball into the store once its
//! integrity holds, and [`ModulesLayer`] is the tree.

mod bins;
mod config;
mod document;
mod error;
mod fetch;
mod fit;
mod graph;
mod integrity;
mod lock;
mod manifest;
mod modules;
mod npmrc;
mod overrides;
mod place;
mod range;
mod registry;
mod select;
mod tarball;
mod target;
#[cfg(test)]
mod testing;

pub use bins::fixed as mended_program;
pub use config::Registries;
pub use error::Error;
pub use fetch::{Tarball, fetch};
pub use fit::fits;
pub use integrity::Integrity;
pub use lock::{Lock, Locked, Source};
pub use manifest::Manifest;
pub use modules::{Installed, ModulesLayer, ModulesSpec};
pub use range::{Range, Version};
pub use select::{Link, Package, Selection, select};
pub use target::NodeTarget;
