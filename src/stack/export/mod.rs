//! A stack as Kubernetes manifests.
//!
//! What Kubernetes has another word for is translated; what it has no word for is an error that names key and line, and
//! only who asks for it (`--allow`, `--lossy`) lets it go, and is told. No value of a secret gets into a manifest: there
//! are references, and the commands that make the secrets.

mod command;
mod container;
mod environment;
mod error;
mod files;
mod keys;
mod losses;
mod manifests;
mod names;
mod output;
mod policy;
mod ports;
mod probe;
mod read;
mod resources;
mod secrets;
mod security;
mod service;
mod storage;
mod translation;
mod volumes;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

pub use error::Error;
pub use losses::markdown;
pub use manifests::Manifests;
pub use output::write;

use super::load::Stack;
use crate::error::Result;
use translation::Translation;

/// What a user decides of the translation.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the objects live; the namespace of whoever applies them if it is not given.
    pub namespace: Option<String>,
    /// The references of images, by service.
    pub images: BTreeMap<String, String>,
    /// What becomes of ports that are published on every address.
    pub publish: Option<Publish>,
    /// How large volumes are that do not say it.
    pub volume_size: Option<String>,
    /// What may be let go, by its key.
    pub allow: BTreeSet<String>,
    /// Everything that can be let go may be.
    pub lossy: bool,
}

/// What becomes of ports that are published on every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// They are reached inside the cluster only.
    None,
    /// A Service of type LoadBalancer.
    LoadBalancer,
    /// A Service of type NodePort.
    NodePort,
}

/// Translates a stack.
pub fn kubernetes(stack: &Stack, options: &Options) -> Result<Manifests> {
    let mut translation = Translation::new(stack, options)?;
    environment::collect(&mut translation);
    files::configs(&mut translation)?;
    // All texts are known now.
    secrets::collect(&mut translation);
    files::objects(&mut translation);
    names::mentioned(&mut translation);
    keys::stack(&mut translation);
    volumes::claims(&mut translation);
    for (name, service) in stack.services() {
        keys::service(&mut translation, name, service);
        workload::service(&mut translation, name, service);
    }
    policy::networks(&mut translation);
    Ok(translation.finish()?)
}

#[cfg(test)]
mod leaks;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;
