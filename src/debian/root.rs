//! The file system that packages are installed into: the entries of the layer, over what the base has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Error;
use super::elf::Known;
use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::{BaseEntry, BaseKind, BaseView, Content, Entry, Kind, LayerTree, Packed, TreePath};

/// The most links that are followed on the way to one path (Linux has the same limit).
const LINK_LIMIT: usize = 40;

/// What libraries say of themselves, by the place of their bytes.
pub(super) type Libraries = BTreeMap<(usize, u64), Known>;

/// Which bytes these are, as long as their file is mapped.
pub(super) fn place_of(packed: &Packed) -> (usize, u64) {
    (Arc::as_ptr(&packed.archive) as usize, packed.offset)
}

/// A layer's tree that is being filled, over the root file system of the layers below.
pub struct Root {
    tree: LayerTree,
    below: Arc<Rootfs>,
    /// What the layers below have and this one removes.
    removed: BTreeSet<TreePath>,
    /// What is known of libraries without reading them.
    libraries: Libraries,
}

impl Root {
    /// Nothing over `below`.
    pub fn new(below: Arc<Rootfs>) -> Root {
        Root { tree: LayerTree::new(), below, removed: BTreeSet::new(), libraries: Libraries::new() }
    }

    /// What is at exactly this path; no link is followed. A hard link is a file.
    pub fn entry(&self, path: &TreePath) -> Option<BaseEntry> {
        if let Some(own) = self.tree.get(path) {
            let kind = match &own.kind {
                Kind::Directory => BaseKind::Directory,
                Kind::Symlink(target) => BaseKind::Symlink(target.clone()),
                Kind::File(_) | Kind::Hardlink(_) => BaseKind::File,
            };
            return Some(BaseEntry { kind, mode: own.mode, uid: own.uid, gid: own.gid });
        }
        let below = if self.is_removed(path) { None } else { self.below.lookup(path) };
        // A folder that nobody named, because only what is in it was.
        let implied = || BaseEntry { kind: BaseKind::Directory, mode: 0o755, uid: 0, gid: 0 };
        below.or_else(|| self.tree.below(path).next().map(|_| implied()))
    }

    /// The layer's own entry at exactly this path.
    pub fn own(&self, path: &TreePath) -> Option<&Entry> {
        self.tree.get(path)
    }

    /// The layer's own entries.
    pub fn tree(&self) -> &LayerTree {
        &self.tree
    }

    /// The layers below.
    pub fn below(&self) -> &Arc<Rootfs> {
        &self.below
    }

    /// The real path that `path` leads to, links followed inside the root; `None` if there is nothing.
    pub fn resolve(&self, path: &str) -> Option<TreePath> {
        match self.walk(path) {
            (real, rest) if rest.is_empty() => TreePath::new(&real).ok(),
            _ => None,
        }
    }

    /// Where a new entry of this path really goes: links in its parents are followed (`/lib` is `/usr/lib`), its last
    /// component is not.
    pub fn place(&self, path: &TreePath) -> TreePath {
        let Some(parent) = path.parent() else { return path.clone() };
        let (mut real, rest) = self.walk(parent.as_str());
        rest.iter().map(String::as_str).chain([path.name()]).for_each(|part| push(&mut real, part));
        TreePath::new(&real).unwrap_or_else(|_| path.clone())
    }

    /// Whether `path` leads to anything.
    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_some()
    }

    /// The bytes of the file that `path` leads to, of at most `limit`; `None` if there is no such file.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(real) = self.resolve(path) else { return Ok(None) };
        match self.tree.get(&real) {
            None => self.below.read(&real, limit),
            Some(Entry { kind: Kind::Hardlink(first), .. }) => match self.tree.get(first) {
                Some(entry) => entry.read(first, limit),
                None => self.below.read(first, limit),
            },
            Some(entry) => entry.read(&real, limit),
        }
    }

    /// What is known of the layer's own library at exactly this path.
    pub(super) fn library(&self, path: &TreePath) -> Option<&Known> {
        let content = |path: &TreePath| match &self.tree.get(path)?.kind {
            Kind::Hardlink(first) => self.tree.get(first).map(|entry| &entry.kind),
            kind => Some(kind),
        };
        match content(path)? {
            Kind::File(Content::Packed(packed)) => self.libraries.get(&place_of(packed)),
            _ => None,
        }
    }

    /// Remembers what is known of libraries that are installed.
    pub(super) fn know(&mut self, libraries: &Libraries) {
        self.libraries.extend(libraries.iter().map(|(place, known)| (*place, known.clone())));
    }

    /// The same as text; what is no UTF-8 is replaced.
    pub fn read_text(&self, path: &str, limit: u64) -> Result<Option<String>> {
        Ok(self.read(path, limit)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Everything below the folder that `path` leads to, sorted by path; no other link is followed.
    pub fn list(&self, path: &str) -> BTreeMap<TreePath, BaseEntry> {
        let Some(folder) = self.resolve(path) else { return BTreeMap::new() };
        let below = self.below.list(&folder).into_iter();
        let mut found: BTreeMap<TreePath, BaseEntry> = below.filter(|(path, _)| !self.is_removed(path)).collect();
        let own = self.tree.below(&folder).filter_map(|(path, _)| Some((path.clone(), self.entry(path)?)));
        found.extend(own);
        found
    }

    /// Adds an entry at its real place. Two inputs with one path are an error that names both, as is a name that
    /// layers give a meaning: only [`Root::finish`] makes whiteouts.
    pub fn insert(&mut self, path: &TreePath, entry: Entry) -> Result<()> {
        let place = self.place(path);
        if is_marker(place.as_str()) {
            let path = place.as_str().escape_debug().take(200).collect();
            let reason = "a component begins with `.wh.`, which layers give a meaning";
            return Err(crate::layer::Error::Path { path, reason }.into());
        }
        Ok(self.tree.insert(place, entry)?)
    }

    /// Puts an entry at its real place, whatever is there. `false`: nothing was done, since layers give the name a
    /// meaning (`.wh.NAME`).
    pub fn replace(&mut self, path: &TreePath, entry: Entry) -> bool {
        let place = self.place(path);
        if is_marker(place.as_str()) {
            return false;
        }
        self.tree.replace(place, entry);
        true
    }

    /// Removes what is at exactly this path, and what is below it.
    pub fn remove(&mut self, path: &TreePath) {
        let path = self.place(path);
        let own: Vec<TreePath> = self.tree.below(&path).map(|(path, _)| path.clone()).chain([path.clone()]).collect();
        own.iter().for_each(|path| drop(self.tree.remove(path)));
        if self.below.lookup(&path).is_some() {
            self.removed.insert(path);
        }
    }

    /// The tree of the layer, with whiteouts for what it removes of the layers below (image-spec layer.md).
    pub fn finish(mut self) -> Result<LayerTree> {
        let input: Arc<str> = "removed by an upgrade".into();
        let mut hidden = BTreeSet::new();
        for path in std::mem::take(&mut self.removed) {
            // A whiteout of a folder hides all that is in it.
            if path.ancestors().iter().any(|folder| hidden.contains(folder)) {
                continue;
            }
            if self.tree.get(&path).is_some() || self.tree.below(&path).next().is_some() {
                continue;
            }
            let name = format!(".wh.{}", path.name());
            let whiteout = match path.parent() {
                Some(parent) => parent.join(&name)?,
                None => TreePath::new(&name)?,
            };
            self.tree.insert(whiteout, Entry::file("", 0o644, &input))?;
            hidden.insert(path);
        }
        Ok(self.tree)
    }

    fn is_removed(&self, path: &TreePath) -> bool {
        !self.removed.is_empty()
            && (self.removed.contains(path) || path.ancestors().iter().any(|parent| self.removed.contains(parent)))
    }

    /// The real path as far as it is there, and the components that are not. A loop is not there.
    fn walk(&self, path: &str) -> (String, Vec<String>) {
        let mut pending: VecDeque<String> = parts(path).collect();
        let mut real = String::new();
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            if part == ".." {
                real.truncate(real.rfind('/').unwrap_or(0));
                continue;
            }
            let before = real.len();
            push(&mut real, &part);
            let kind = TreePath::new(&real).ok().and_then(|path| self.entry(&path)).map(|entry| entry.kind);
            match kind {
                Some(BaseKind::Directory) => {}
                Some(BaseKind::Symlink(target)) if links < LINK_LIMIT => {
                    links += 1;
                    real.truncate(if target.starts_with('/') { 0 } else { before });
                    parts(&target).collect::<Vec<_>>().into_iter().rev().for_each(|part| pending.push_front(part));
                }
                Some(BaseKind::File | BaseKind::Special) if pending.is_empty() => {}
                _ => {
                    real.truncate(before);
                    pending.push_front(part);
                    return (real, pending.into_iter().filter(|part| part != "..").collect());
                }
            }
        }
        (real, Vec::new())
    }
}

fn parts(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_string)
}

/// Whether a component is a whiteout's name, which removes what is in the layers below.
pub(super) fn is_marker(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with(".wh."))
}

fn push(path: &mut String, part: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}

/// A path that a package has, as a path in an image.
pub fn tree_path(package: &str, path: &str) -> Result<TreePath, Error> {
    TreePath::new(path).map_err(|source| Error::Path { package: package.to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn root() -> Root {
        let mut root = Root::new(Arc::new(Rootfs::empty()));
        let input: Arc<str> = "package `a`".into();
        root.insert(&path("lib"), Entry::symlink("usr/lib", &input)).unwrap();
        root.insert(&path("usr/lib"), Entry::directory(&input)).unwrap();
        root.insert(&path("usr/lib/a.so.1"), Entry::file("bytes", 0o644, &input)).unwrap();
        root.insert(&path("lib/a.so"), Entry::symlink("/lib/a.so.1", &input)).unwrap();
        root.insert(&path("loop"), Entry::symlink("loop", &input)).unwrap();
        root
    }

    #[test]
    fn links_are_followed_and_entries_go_to_their_real_place() {
        let mut root = root();
        assert_eq!(root.resolve("/lib/a.so"), Some(path("usr/lib/a.so.1")));
        assert_eq!(root.resolve("lib/../lib/./a.so"), Some(path("usr/lib/a.so.1")));
        assert_eq!(root.read("lib/a.so", 10).unwrap().as_deref(), Some(&b"bytes"[..]));
        assert!(root.read("lib/a.so", 4).is_err());
        assert_eq!((root.resolve("loop"), root.resolve("lib/b"), root.resolve("lib/a.so/x")), (None, None, None));
        assert_eq!(root.place(&path("lib/new/x")), path("usr/lib/new/x"));
        assert_eq!(root.place(&path("lib")), path("lib"));
        assert_eq!(root.list("lib").into_keys().collect::<Vec<_>>(), [path("usr/lib/a.so"), path("usr/lib/a.so.1")]);
        let error = root.insert(&path("lib/a.so"), Entry::file("", 0o644, &"package `b`".into())).unwrap_err();
        assert_eq!(error.to_string(), "`/usr/lib/a.so` comes from two inputs: package `a` and package `b`");
        root.remove(&path("lib/a.so"));
        assert!(!root.exists("lib/a.so"));
        assert_eq!(root.finish().unwrap().len(), 4);
    }

    #[test]
    fn nobody_else_makes_whiteouts() {
        let mut root = root();
        let input: Arc<str> = "package `b`".into();
        root.insert(&path("usr/way"), Entry::symlink("lib/.wh.x", &input)).unwrap();
        let before = root.tree().len();
        // By name; as a folder; where a link leads to.
        for place in ["usr/.wh.lib", "usr/lib/.wh..wh..opq", ".wh.lib/x", "usr/way/x"] {
            let error = root.insert(&path(place), Entry::directory(&input)).unwrap_err();
            assert!(error.to_string().contains("begins with `.wh.`"), "{error}");
            assert!(!root.replace(&path(place), Entry::directory(&input)), "{place}");
        }
        assert!(root.replace(&path("usr/x.wh.y"), Entry::directory(&input)));
        assert_eq!(root.tree().len(), before + 1);
    }

    #[test]
    fn one_whiteout_hides_a_folder() {
        use crate::layer::read::testing::{RawTar, layer};
        let folder = tempfile::tempdir().unwrap();
        let store = crate::layer::Store::open_at(folder.path()).unwrap();
        let tar = RawTar::new().file("a/b/c", b"").file("a-/b", b"").file("a/b-", b"").file("d/e", b"").end();
        let progress = crate::progress::Progress::silent();
        let below = Rootfs::open(&[layer(&store, "base", tar)], Arc::new(store.clone()), &store, &progress).unwrap();
        let mut root = Root::new(Arc::new(below));
        for gone in ["a", "a/b", "a/b/c", "a-/b", "d/e", "nothing"] {
            root.remove(&path(gone));
        }
        assert!(!root.exists("a/b") && root.exists("d"));
        let tree = root.finish().unwrap();
        assert_eq!(tree.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [".wh.a", "a-/.wh.b", "d/.wh.e"]);
    }
}
