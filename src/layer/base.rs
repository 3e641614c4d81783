//! What a layer may know of the layers below it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TreePath;

/// The kind of an entry below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaseKind {
    /// A folder.
    Directory,
    /// A regular file (or another name of one).
    File,
    /// A symbolic link and its target.
    Symlink(String),
    /// A device, a pipe, a socket.
    Special,
}

/// An entry of the layers below, as the topmost of them has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEntry {
    /// What it is.
    pub kind: BaseKind,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The merged view of all layers below. No link is followed.
pub trait BaseView: Send + Sync {
    /// The entry at exactly this path.
    fn lookup(&self, path: &TreePath) -> Option<BaseEntry>;
}

/// What a layer saw of the layers below while its parents were completed. It is part of the layer's cache entry:
/// the layer fits every base that looks the same at these paths, so variants with different bases share it.
pub type Observed = BTreeMap<TreePath, Option<BaseEntry>>;

/// Nothing below.
pub struct EmptyBase;

impl BaseView for EmptyBase {
    fn lookup(&self, _: &TreePath) -> Option<BaseEntry> {
        None
    }
}
