//! The root while it is configured: what is missing is made, what is there is kept. Whiteouts are never made.

use std::sync::Arc;

use crate::debian::root::is_marker;
use crate::debian::{Root, tree_path};
use crate::error::Result;
use crate::layer::{BaseEntry, BaseKind, Content, Entry, Kind, TreePath};

/// The largest configuration file that is read, in bytes.
pub(super) const TEXT_LIMIT: u64 = 8 << 20;

/// The root, and in whose name things are put into it.
pub(super) struct Site<'a> {
    pub root: &'a mut Root,
    input: Arc<str>,
}

impl<'a> Site<'a> {
    /// `input` is named when something else wants the same path.
    pub fn new(root: &'a mut Root, input: &str) -> Site<'a> {
        Site { root, input: input.into() }
    }

    /// A path of the root, as a script or a configuration file names it.
    pub fn path(&self, text: &str) -> Result<TreePath> {
        Ok(tree_path(&self.input, text)?)
    }

    /// Whether something can be made at this path: not a whiteout, wherever links on the way lead.
    pub fn takes(&self, path: &str) -> bool {
        self.path(path).is_ok_and(|path| !is_marker(self.root.place(&path).as_str()))
    }

    /// What is at exactly this path; folders on the way may be links.
    pub fn at(&self, path: &TreePath) -> Option<BaseEntry> {
        self.root.entry(&self.root.place(path))
    }

    /// What the path leads to.
    pub fn target(&self, path: &str) -> Option<BaseEntry> {
        self.root.entry(&self.root.resolve(path)?)
    }

    /// Whether the path leads to a folder.
    pub fn is_folder(&self, path: &str) -> bool {
        self.target(path).is_some_and(|entry| entry.kind == BaseKind::Directory)
    }

    /// A small file as text.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        self.root.read_text(path, TEXT_LIMIT)
    }

    /// A folder, if nothing is there. Whether it was made.
    pub fn folder(&mut self, path: &str, mode: u32, uid: u32, gid: u32) -> Result<bool> {
        if self.root.exists(path) {
            return Ok(false);
        }
        let path = self.path(path)?;
        if self.at(&path).is_some() {
            return Ok(false);
        }
        let entry = Entry { mode, ..Entry::directory(&self.input) }.owned(uid, gid);
        Ok(self.root.replace(&path, entry))
    }

    /// A file of root, mode 0644, if nothing is there. Whether it was made.
    pub fn new_file(&mut self, path: &str, content: impl Into<Content>) -> Result<bool> {
        self.new_file_as(path, content, 0o644, 0, 0)
    }

    /// The same with mode and owner.
    pub fn new_file_as(
        &mut self,
        path: &str,
        content: impl Into<Content>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<bool> {
        let path = self.path(path)?;
        if self.at(&path).is_some() {
            return Ok(false);
        }
        Ok(self.root.replace(&path, Entry::file(content, mode, &self.input).owned(uid, gid)))
    }

    /// A copy of a file that a package has, if there is nothing yet.
    pub fn copy(&mut self, from: &str, to: &str) -> Result<bool> {
        let Some(real) = self.root.resolve(from) else { return Ok(false) };
        let Some(BaseEntry { mode, uid, gid, .. }) = self.root.entry(&real) else { return Ok(false) };
        match self.root.read(from, TEXT_LIMIT)? {
            Some(bytes) => self.new_file_as(to, bytes, mode, uid, gid),
            None => Ok(false),
        }
    }

    /// A file with these bytes, in the place of the one that is there, whose mode and owner stay.
    pub fn write(&mut self, path: &str, bytes: Vec<u8>, mode: u32, uid: u32, gid: u32) -> Result<()> {
        let path = match self.root.resolve(path) {
            Some(real) => real,
            None => self.path(path)?,
        };
        let mut entry = Entry::file(bytes, mode, &self.input).owned(uid, gid);
        if let Some(BaseEntry { kind: BaseKind::File, mode, uid, gid }) = self.root.entry(&path) {
            (entry.mode, entry.uid, entry.gid) = (mode, uid, gid);
        }
        self.root.replace(&path, entry);
        Ok(())
    }

    /// A link, if nothing is there. Whether it was made.
    pub fn new_link(&mut self, path: &str, target: &str) -> Result<bool> {
        let path = self.path(path)?;
        if self.at(&path).is_some() {
            return Ok(false);
        }
        Ok(self.root.replace(&path, Entry::symlink(target, &self.input)))
    }

    /// A link in the place of what is there, unless that is a folder.
    pub fn link(&mut self, path: &str, target: &str) -> Result<bool> {
        let path = self.path(path)?;
        match self.at(&path).map(|entry| entry.kind) {
            Some(BaseKind::Directory) => return Ok(false),
            Some(BaseKind::Symlink(old)) if old == target => return Ok(false),
            _ => {}
        }
        Ok(self.root.replace(&path, Entry::symlink(target, &self.input)))
    }

    /// An empty folder becomes a link.
    pub fn folder_to_link(&mut self, path: &str, target: &str) -> Result<bool> {
        let tree = self.path(path)?;
        match self.at(&tree).map(|entry| entry.kind) {
            Some(BaseKind::Directory) if self.root.list(path).is_empty() => self.root.remove(&tree),
            Some(_) => return Ok(false),
            None => {}
        }
        self.new_link(path, target)
    }

    /// Another mode or owner of what is at exactly this path; a file of the layers below comes along.
    pub fn change(&mut self, path: &TreePath, change: impl FnOnce(&mut Entry)) -> Result<bool> {
        let place = self.root.place(path);
        let mut entry = match (self.root.own(&place), self.root.entry(&place)) {
            (Some(own), _) => own.clone(),
            (None, Some(below)) => {
                let kind = match below.kind {
                    BaseKind::Directory => Kind::Directory,
                    BaseKind::Symlink(target) => Kind::Symlink(target),
                    BaseKind::File => match self.root.read(&format!("/{place}"), TEXT_LIMIT)? {
                        Some(bytes) => Kind::File(bytes.into()),
                        None => return Ok(false),
                    },
                    BaseKind::Special => return Ok(false),
                };
                Entry { kind, mode: below.mode, uid: below.uid, gid: below.gid, input: self.input.clone() }
            }
            (None, None) => return Ok(false),
        };
        let before = (entry.mode, entry.uid, entry.gid);
        change(&mut entry);
        if before != (entry.mode, entry.uid, entry.gid) {
            self.root.replace(&place, entry);
        }
        Ok(true)
    }
}
