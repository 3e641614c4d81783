//! The tree of one layer: sorted paths, their metadata, and references to their content.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Error;
use crate::fs::Mapped;

/// A path in an image: relative to its root, `/`-separated, without `.`, `..`, empty or too long components,
/// NUL or control characters. Sorted by bytes, so a folder comes before what is in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TryFrom<String> for TreePath {
    type Error = Error;
    fn try_from(path: String) -> Result<Self, Error> {
        TreePath::new(&path)
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0
    }
}

/// The longest path, in bytes (Linux PATH_MAX less the final NUL).
pub const PATH_LIMIT: usize = 4095;
/// The longest component, in bytes (Linux NAME_MAX).
pub const COMPONENT_LIMIT: usize = 255;

impl TreePath {
    /// From `usr/bin/x`, `/usr/bin/x` or `./usr/bin/x`. Never rewrites `..`: it refuses.
    pub fn new(path: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Path { path: path.escape_debug().take(200).collect(), reason };
        let relative = path.trim_start_matches('/');
        let relative = relative.strip_prefix("./").unwrap_or(relative);
        if relative.is_empty() {
            return Err(refuse("it is empty"));
        }
        if relative.len() > PATH_LIMIT {
            return Err(refuse("it is longer than 4095 bytes"));
        }
        // Most paths are ASCII, and most have no control character in any component.
        let plain = relative.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        for component in relative.split('/') {
            match component {
                "" => return Err(refuse("it has an empty component")),
                "." | ".." => return Err(refuse("it has a `.` or `..` component")),
                long if long.len() > COMPONENT_LIMIT => return Err(refuse("a component is longer than 255 bytes")),
                _ if !plain && component.chars().any(char::is_control) => {
                    return Err(refuse("it has a control character"));
                }
                _ => {}
            }
        }
        Ok(TreePath(relative.to_string()))
    }

    /// `usr/bin/x`, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder that holds it; `None` at the top.
    pub fn parent(&self) -> Option<TreePath> {
        self.0.rsplit_once('/').map(|(parent, _)| TreePath(parent.to_string()))
    }

    /// All folders above it, outermost first.
    pub fn ancestors(&self) -> Vec<TreePath> {
        self.0.match_indices('/').map(|(at, _)| TreePath(self.0[..at].to_string())).collect()
    }

    /// This path with `relative` below it.
    pub fn join(&self, relative: &str) -> Result<TreePath, Error> {
        TreePath::new(&format!("{}/{relative}", self.0))
    }

    /// Whether `self` is `folder` or below it.
    pub fn is_under(&self, folder: &TreePath) -> bool {
        self.0 == folder.0 || self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl std::borrow::Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// How a member of an archive is packed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Stored,
    /// A raw deflate stream (RFC 1951).
    Deflated,
}

/// A member of a mapped archive (a wheel in the store): content that need not be unpacked to be placed in a layer.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The archive.
    pub archive: Arc<Mapped>,
    /// Where the member's bytes begin in it.
    pub offset: u64,
    /// How many packed bytes.
    pub length: u64,
    /// Stored or deflated.
    pub packing: Packing,
    /// CRC-32 of the unpacked bytes, as the archive says; checked when they are read.
    pub crc32: u32,
    /// The unpacked length, as the archive says; checked when they are read.
    pub size: u64,
}

/// The bytes of a file, loaded or not.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A file of this machine that had `size` bytes when it was planned; another size is an error.
    File {
        /// Where.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// A member of an archive.
    Packed(Packed),
}

impl Content {
    /// The unpacked length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { size, .. } => *size,
            Content::Packed(packed) => packed.size,
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Bytes(text.as_bytes().into())
    }
}

/// What is at a path.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with this target, written as it is.
    Symlink(String),
    /// A second name of a file that is in the same tree.
    Hardlink(TreePath),
}

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Which input made it, for messages: "wheel `numpy-2.1.0-...whl`".
    pub input: Arc<str>,
}

impl Entry {
    /// A folder of root, mode 0755.
    pub fn directory(input: &Arc<str>) -> Self {
        Entry { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, input: input.clone() }
    }

    /// A file of root with these permission bits.
    pub fn file(content: impl Into<Content>, mode: u32, input: &Arc<str>) -> Self {
        Entry { kind: Kind::File(content.into()), mode, uid: 0, gid: 0, input: input.clone() }
    }

    /// A symbolic link of root.
    pub fn symlink(target: impl Into<String>, input: &Arc<str>) -> Self {
        Entry { kind: Kind::Symlink(target.into()), mode: 0o777, uid: 0, gid: 0, input: input.clone() }
    }

    /// The bytes of a file, of at most `limit`, verified as they are in a layer; `None` if it is no file.
    pub fn read(&self, path: &TreePath, limit: u64) -> crate::error::Result<Option<Vec<u8>>> {
        let Kind::File(content) = &self.kind else { return Ok(None) };
        if content.size() > limit {
            let reason = format!("it has {} bytes, of at most {limit} allowed", content.size());
            return Err(Error::Content { path: path.to_string(), input: self.input.to_string(), reason }.into());
        }
        super::tar::read_content(path, self, content).map(Some)
    }

    /// The same entry with another owner.
    pub fn owned(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

/// The entries of one layer, sorted by path.
#[derive(Clone, Debug, Default)]
pub struct LayerTree {
    entries: BTreeMap<TreePath, Entry>,
}

impl LayerTree {
    /// No entries.
    pub fn new() -> Self {
        LayerTree::default()
    }

    /// Adds an entry. The same folder with the same mode and owner may come twice; anything else is a collision.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), Error> {
        if let Some(first) = self.entries.get(&path) {
            let same_folder = matches!((&first.kind, &entry.kind), (Kind::Directory, Kind::Directory))
                && (first.mode, first.uid, first.gid) == (entry.mode, entry.uid, entry.gid);
            if same_folder {
                return Ok(());
            }
            return Err(Error::Collision {
                path: path.to_string(),
                first: first.input.to_string(),
                second: entry.input.to_string(),
            });
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Puts an entry in the place of whatever is there, and returns that. What is below a folder stays.
    pub fn replace(&mut self, path: TreePath, entry: Entry) -> Option<Entry> {
        self.entries.insert(path, entry)
    }

    /// Takes an entry out. What is below a folder stays.
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Everything below a folder, sorted by path.
    pub fn below(&self, folder: &TreePath) -> impl Iterator<Item = (&TreePath, &Entry)> {
        // `/` is followed by `0`.
        let (first, end) = (format!("{folder}/"), format!("{folder}0"));
        let range = (std::ops::Bound::Included(first.as_str()), std::ops::Bound::Excluded(end.as_str()));
        self.entries.range::<str, _>(range)
    }

    /// Adds all entries of another tree.
    pub fn merge(&mut self, other: LayerTree) -> Result<(), Error> {
        other.entries.into_iter().try_for_each(|(path, entry)| self.insert(path, entry))
    }

    /// The entry at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Path and entry, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The unpacked bytes of all files.
    pub fn size(&self) -> u64 {
        self.iter().map(|(_, entry)| if let Kind::File(content) = &entry.kind { content.size() } else { 0 }).sum()
    }

    /// Adds every missing parent, with the base's mode and owner where the base has that folder, else root's 0755.
    /// A parent that is a file, or a link in the base (usr-merge: `/lib`), is an error: a layer must not hide it.
    /// Returns what was seen of the base.
    pub fn complete(&mut self, base: &dyn super::BaseView) -> Result<super::Observed, Error> {
        let mut observed = super::Observed::new();
        let mut missing: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, entry) in &self.entries {
            for parent in path.ancestors() {
                if missing.contains_key(&parent) {
                    continue;
                }
                let refuse = |found: String| Error::Parent {
                    path: path.to_string(),
                    input: entry.input.to_string(),
                    parent: parent.to_string(),
                    found,
                };
                match self.entries.get(&parent).map(|own| &own.kind) {
                    Some(Kind::Directory) => continue,
                    Some(_) => return Err(refuse("not a folder in this layer".into())),
                    None => {}
                }
                let mut folder = Entry::directory(&entry.input);
                let below = base.lookup(&parent);
                if let Some(found) = &below {
                    match &found.kind {
                        super::BaseKind::Directory => {
                            (folder.mode, folder.uid, folder.gid) = (found.mode, found.uid, found.gid);
                        }
                        super::BaseKind::Symlink(target) => return Err(refuse(format!("a link to `{target}`"))),
                        _ => return Err(refuse("a file".into())),
                    }
                }
                observed.insert(parent.clone(), below);
                missing.insert(parent, folder);
            }
        }
        self.entries.extend(missing);
        Ok(observed)
    }
}

impl IntoIterator for LayerTree {
    type Item = (TreePath, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<TreePath, Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{BaseEntry, BaseKind, BaseView, EmptyBase};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn input() -> Arc<str> {
        "test".into()
    }

    #[test]
    fn paths_are_refused_not_rewritten() {
        let long = "a".repeat(256);
        for bad in ["", "/", ".", "..", "a/../b", "a//b", "a/", "a/./b", "a\nb", "a\0b", "..././x/..", &long] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(path("/usr/bin/x").ancestors(), [path("usr"), path("usr/bin")]);
        assert_eq!((path("./a/b").as_str(), path("a/b").name()), ("a/b", "b"));
        assert!(path("a/b").is_under(&path("a")) && !path("ab").is_under(&path("a")));
    }

    #[test]
    fn a_collision_names_both_inputs() {
        let mut tree = LayerTree::new();
        tree.insert(path("opt/x"), Entry::file("1", 0o644, &"wheel `a`".into())).unwrap();
        let error = tree.insert(path("opt/x"), Entry::file("1", 0o644, &"wheel `b`".into())).unwrap_err();
        assert_eq!(error.to_string(), "`/opt/x` comes from two inputs: wheel `a` and wheel `b`");
        tree.insert(path("opt"), Entry::directory(&input())).unwrap();
        tree.insert(path("opt"), Entry::directory(&input())).unwrap();
    }

    struct UsrMerged;

    impl BaseView for UsrMerged {
        fn lookup(&self, path: &TreePath) -> Option<BaseEntry> {
            let kind = match path.as_str() {
                "lib" => BaseKind::Symlink("usr/lib".into()),
                "tmp" => BaseKind::Directory,
                _ => return None,
            };
            Some(BaseEntry { kind, mode: 0o1777, uid: 0, gid: 7 })
        }
    }

    #[test]
    fn parents_are_the_bases_and_links_stay() {
        let mut tree = LayerTree::new();
        tree.insert(path("tmp/a/b"), Entry::file("", 0o644, &input())).unwrap();
        tree.complete(&UsrMerged).unwrap();
        let tmp = tree.get(&path("tmp")).unwrap();
        assert_eq!((tmp.mode, tmp.gid, tree.get(&path("tmp/a")).unwrap().mode), (0o1777, 7, 0o755));

        let mut tree = LayerTree::new();
        tree.insert(path("lib/x"), Entry::file("", 0o644, &input())).unwrap();
        let error = tree.complete(&UsrMerged).unwrap_err();
        assert!(error.to_string().contains("`/lib` is a link to `usr/lib`, expected a folder"), "{error}");
        tree.complete(&EmptyBase).unwrap();
    }
}
