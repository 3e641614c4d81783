//! The small last layer: user and group, folders, launcher. It changes least in size and most in content, so it
//! comes after everything else.

mod accounts;
mod error;
mod folders;
mod launcher;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use accounts::{AccountFile, Accounts, User};
pub use error::Error;
pub use launcher::{LAUNCHER_PATH, Launcher};

use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::{BaseKind, Content, Context, Entry, Fingerprint, Kind, LayerSource, LayerTree, TreePath};
use crate::oci::Digest;
use folders::Folder;

/// The version of everything that this room writes.
const VERSION: u32 = 1;

/// What the last layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSpec {
    /// Who runs the application.
    pub user: User,
    /// Folders that the user may write to.
    pub writable: Vec<TreePath>,
    /// Folders of root that must be there (the working folder).
    pub folders: Vec<TreePath>,
    /// The entry point.
    pub launcher: Option<Launcher>,
}

/// The layer "runtime". Its content is decided when it is made, from the base's own account files.
pub struct RuntimeLayer {
    spec: RuntimeSpec,
    entries: BTreeMap<TreePath, Entry>,
}

impl RuntimeLayer {
    /// Plans the layer over a base. What does not fit the base is an error now, before anything is built.
    pub fn new(spec: RuntimeSpec, base: &Rootfs) -> Result<RuntimeLayer> {
        let mut layer = RuntimeLayer { spec, entries: BTreeMap::new() };
        layer.add_accounts(base)?;
        layer.add_folders(base)?;
        layer.add_launcher(base)?;
        layer.add_parents(base)?;
        Ok(layer)
    }

    fn add_accounts(&mut self, base: &Rootfs) -> Result<()> {
        let input: Arc<str> = "[user]".into();
        for file in Accounts::read(base)?.with(&self.spec.user)? {
            let entry = Entry::file(file.bytes, file.mode, &input).owned(file.uid, file.gid);
            self.entries.insert(folders::real(base, &file.path)?, entry);
        }
        Ok(())
    }

    fn add_folders(&mut self, base: &Rootfs) -> Result<()> {
        let user = &self.spec.user;
        let writable = self.spec.writable.iter().map(|path| folders::writable(base, path, user.uid, user.gid));
        let plain = self.spec.folders.iter().map(|path| folders::plain(base, path));
        // A folder that is both is writable.
        for folder in plain.chain(writable).collect::<Result<Vec<Folder>, _>>()? {
            let mut entry = Entry::directory(&"[app] writable".into()).owned(folder.uid, folder.gid);
            entry.mode = folder.mode;
            self.entries.insert(folder.path, entry);
        }
        Ok(())
    }

    fn add_launcher(&mut self, base: &Rootfs) -> Result<()> {
        let Some(launcher) = &self.spec.launcher else { return Ok(()) };
        let is_file = |path: &TreePath| base.entry(path).is_some_and(|entry| entry.kind == BaseKind::File);
        if launcher.interpreter.is_none() && !is_file(&TreePath::new("bin/sh")?) {
            return Err(Error::Shell.into());
        }
        let path = TreePath::new(LAUNCHER_PATH)?;
        let parent = path.parent().map(|parent| folders::plain(base, &parent)).transpose()?;
        let path = match parent {
            Some(parent) => parent.path.join(path.name())?,
            None => path,
        };
        let script = launcher.script()?;
        self.entries.insert(path, Entry::file(script.as_str(), 0o755, &"the launcher".into()));
        Ok(())
    }

    /// All parents, as the base has them, so that the fingerprint names everything that is written.
    fn add_parents(&mut self, base: &Rootfs) -> Result<()> {
        for path in self.entries.keys().cloned().collect::<Vec<_>>() {
            for parent in path.ancestors() {
                if self.entries.contains_key(&parent) {
                    continue;
                }
                let folder = folders::plain(base, &parent)?;
                let mut entry = Entry::directory(&"the base image".into()).owned(folder.uid, folder.gid);
                entry.mode = folder.mode;
                self.entries.insert(parent, entry);
            }
        }
        Ok(())
    }
}

impl LayerSource for RuntimeLayer {
    fn name(&self) -> &str {
        "runtime"
    }

    fn created_by(&self) -> String {
        let User { name, uid, gid, .. } = &self.spec.user;
        format!("ingot: user {name} ({uid}:{gid}), folders, launcher")
    }

    fn fingerprint(&self, _: &Context<'_>) -> Result<Fingerprint> {
        let fingerprint = Fingerprint::new(self.name(), "runtime", VERSION);
        Ok(self.entries.iter().fold(fingerprint, |fingerprint, (path, entry)| {
            let content = match &entry.kind {
                Kind::File(Content::Bytes(bytes)) => Digest::of(bytes).to_string(),
                _ => "folder".to_string(),
            };
            let value = format!("{content} {:o} {}:{}", entry.mode, entry.uid, entry.gid);
            fingerprint.field(format!("/{path}"), value)
        }))
    }

    fn tree(&self, _: &Context<'_>) -> Result<LayerTree> {
        let mut tree = LayerTree::new();
        for (path, entry) in &self.entries {
            tree.insert(path.clone(), entry.clone())?;
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests;
