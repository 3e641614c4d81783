//! The root file system that a stack of layers makes, without unpacking it.
//!
//! Layers are listed (or their listings found in the store), then merged as engines do it: a layer's whiteouts
//! hide what is below that layer, wherever they stand in it, then its entries are added. In the result every
//! parent of an entry is a folder. A file's bytes stay where they are: [`Rootfs::read`] fetches them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use rayon::prelude::*;

use super::listing::{self, LayerListing, Listed, ListedKind, Listing, Soon, below, remove_below};
use crate::error::{During, Result};
use crate::layer::{BaseEntry, BaseKind, BaseView, BlobSource, Error, LayerBlob, Store, TreePath};
use crate::oci::Digest;
use crate::progress::Progress;

/// The most links that are followed on the way to one path (Linux has the same limit).
const LINK_LIMIT: usize = 40;
/// The largest file that is remembered once it was read, in bytes.
const REMEMBER_LIMIT: u64 = 1 << 20;

/// The most entries without a place that are told of one layer.
const ERRORS_LIMIT: usize = 100;

/// How long the paths of all folders may be together that are made because no layer has them, in bytes.
const IMPLIED_LIMIT: usize = 64 << 20;

/// Where a file's bytes are: which layer, which entry of its tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub layer: usize,
    pub ordinal: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub entry: BaseEntry,
    pub size: u64,
    pub source: Option<Source>,
}

/// The merged view of a stack of layers.
pub struct Rootfs {
    pub(super) nodes: BTreeMap<TreePath, Node>,
    pub(super) layers: Vec<LayerBlob>,
    sizes: Vec<u64>,
    implied: usize,
    blobs: Option<Arc<dyn BlobSource>>,
    kept: BTreeMap<Source, Vec<u8>>,
    libc: BTreeMap<Source, String>,
    remembered: Mutex<BTreeMap<Source, Arc<[u8]>>>,
}

/// Where a path leads.
enum Walk {
    Found(String),
    /// The folder that is there, and the components that are not.
    Missing(String, Vec<String>),
    /// A component that is neither a folder nor a link to one.
    Blocked(String),
    Loop,
}

impl Rootfs {
    /// Nothing at all.
    pub fn empty() -> Rootfs {
        Rootfs {
            nodes: BTreeMap::new(),
            layers: Vec::new(),
            sizes: Vec::new(),
            implied: 0,
            blobs: None,
            kept: BTreeMap::new(),
            libc: BTreeMap::new(),
            remembered: Mutex::default(),
        }
    }

    /// Lists `layers`, the lowest first, and merges them. A layer whose listing is in the store is not opened.
    pub fn open(
        layers: &[LayerBlob],
        blobs: Arc<dyn BlobSource>,
        store: &Store,
        progress: &Progress,
    ) -> Result<Rootfs> {
        Rootfs::open_for(layers, blobs, store, progress, &|_, _| false)
    }

    /// [`Rootfs::open`]; of a layer that has to be read, the files that are read `soon` are remembered.
    pub fn open_for(
        layers: &[LayerBlob],
        blobs: Arc<dyn BlobSource>,
        store: &Store,
        progress: &Progress,
        soon: Soon<'_>,
    ) -> Result<Rootfs> {
        let of = |layer| listing::of(layer, &*blobs, store, progress, soon);
        let listings = layers
            .par_iter()
            .map(|layer| of(layer).during(|| format!("listing {}", layer.name)))
            .collect::<Result<Vec<Listing>>>()?;
        let mut rootfs = Rootfs { layers: layers.to_vec(), blobs: Some(blobs), ..Rootfs::empty() };
        for (number, (listing, layer)) in listings.into_iter().zip(layers).enumerate() {
            rootfs.sizes.push(listing.uncompressed_size);
            if let Some(error) = rootfs.apply(number, listing, &layer.descriptor.digest).into_iter().next() {
                return Err(error.into());
            }
        }
        Ok(rootfs)
    }

    /// Merges layers that somebody has read, the lowest first. A layer that cannot be merged is merged as far as it
    /// can be, and what stopped it is returned.
    pub fn merge(
        layers: &[LayerBlob],
        listings: Vec<LayerListing>,
        blobs: Arc<dyn BlobSource>,
    ) -> (Rootfs, Vec<(usize, Error)>) {
        let mut rootfs = Rootfs { layers: layers.to_vec(), blobs: Some(blobs), ..Rootfs::empty() };
        let mut errors = Vec::new();
        for (number, (one, layer)) in listings.into_iter().zip(layers).enumerate() {
            rootfs.sizes.push(one.listing.uncompressed_size);
            let unmerged = rootfs.apply(number, one.listing, &layer.descriptor.digest);
            errors.extend(unmerged.into_iter().map(|error| (number, error)));
        }
        (rootfs, errors)
    }

    /// Takes over what is remembered of the same layers below.
    pub fn inherit(&self, below: &Rootfs) {
        let known = below.remembered().clone();
        self.remembered().extend(known);
    }

    /// The whole file of an entry, if it was read before.
    pub(super) fn known(&self, source: Source) -> Option<Arc<[u8]>> {
        let kept = || self.kept.get(&source).map(|bytes| bytes.as_slice().into());
        self.remembered().get(&source).cloned().or_else(kept)
    }

    /// Where the file that `path` leads to is: the number of its layer, and how many entries come before it there.
    pub fn place(&self, path: &TreePath) -> Option<(usize, u64)> {
        let source = self.nodes.get(&self.resolve(path)?)?.source?;
        Some((source.layer, source.ordinal))
    }

    /// The length of each layer's tar in bytes, the lowest first.
    pub fn layer_sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The real path that `path` leads to: links are followed inside the root, absolute ones and `..` too.
    pub fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        if !path.as_str().contains('/')
            && let Some((path, node)) = self.nodes.get_key_value(path)
            && !matches!(node.entry.kind, BaseKind::Symlink(_))
        {
            return Some(path.clone());
        }
        self.follow(path.as_str())
    }

    /// The same for a path as programs write it: `/usr/lib/../x`. The root itself is `None`.
    pub fn follow(&self, path: &str) -> Option<TreePath> {
        match self.walk(path) {
            Walk::Found(path) => TreePath::new(&path).ok(),
            _ => None,
        }
    }

    /// The entry that `path` leads to, links followed.
    pub fn entry(&self, path: &TreePath) -> Option<BaseEntry> {
        self.lookup(&self.resolve(path)?)
    }

    /// The length of the file that `path` leads to.
    pub fn size(&self, path: &TreePath) -> Option<u64> {
        self.nodes.get(&self.resolve(path)?).filter(|node| node.source.is_some()).map(|node| node.size)
    }

    /// The bytes of the file that `path` leads to, of at most `limit` bytes; `None` if there is no such file.
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(node) = self.resolve(path).and_then(|path| self.nodes.get(&path)) else { return Ok(None) };
        let Some(source) = node.source else { return Ok(None) };
        self.fetch(source, node.size, limit).map(Some).during(|| format!("reading `/{path}` of the base image"))
    }

    /// The bytes of the files that these paths lead to, each of at most `limit`. Every layer is read once at most;
    /// what is no file is left out. Small ones are remembered.
    pub fn read_many(&self, paths: &[TreePath], limit: u64) -> Result<BTreeMap<TreePath, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut wanted: BTreeMap<usize, BTreeMap<u64, Vec<&TreePath>>> = BTreeMap::new();
        for path in paths {
            let Some(node) = self.resolve(path).and_then(|path| self.nodes.get(&path)) else { continue };
            let Some(source) = node.source else { continue };
            let known = self.kept.get(&source).cloned();
            match known.or_else(|| self.remembered().get(&source).map(|bytes| bytes.to_vec())) {
                Some(known) if known.len() as u64 <= limit => drop(found.insert(path.clone(), known)),
                Some(_) => {
                    let Some(layer) = self.layers.get(source.layer) else { continue };
                    let digest = layer.descriptor.digest;
                    let large = Error::Limit { digest, what: "bytes in one file", limit };
                    return Err(large).during(|| format!("reading files of {}", layer.name));
                }
                None => wanted.entry(source.layer).or_default().entry(source.ordinal).or_default().push(path),
            }
        }
        for (number, mut files) in wanted {
            let Some(layer) = self.layers.get(number) else { continue };
            let mut reader = listing::open(layer, self.blobs(layer)?)?;
            while let Some(member) = reader.next_member()? {
                let Some(names) = files.remove(&member.ordinal) else { continue };
                let bytes = reader.read_body(limit).during(|| format!("reading files of {}", layer.name))?;
                if bytes.len() as u64 <= REMEMBER_LIMIT {
                    let source = Source { layer: number, ordinal: member.ordinal };
                    self.remembered().insert(source, bytes.as_slice().into());
                }
                found.extend(names.into_iter().map(|name| (name.clone(), bytes.clone())));
            }
            reader.finish()?;
            if !files.is_empty() {
                let reason = "an entry is gone".into();
                return Err(Error::Damaged { digest: layer.descriptor.digest, reason }.into());
            }
        }
        Ok(found)
    }

    /// Everything below `folder` (a link to one is followed), sorted by path.
    pub fn list(&self, folder: &TreePath) -> Vec<(TreePath, BaseEntry)> {
        let Some(folder) = self.resolve(folder) else { return Vec::new() };
        below(&self.nodes, folder.as_str()).map(|(path, node)| (path.clone(), node.entry.clone())).collect()
    }

    /// Every entry, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &BaseEntry)> {
        self.nodes.iter().map(|(path, node)| (path, &node.entry))
    }

    /// Every file, sorted by path, and where it is: the number of its layer, and how many entries come before it there.
    pub fn places(&self) -> impl Iterator<Item = (&TreePath, usize, u64)> {
        let places = self.nodes.iter().filter_map(|(path, node)| Some((path, node.source?)));
        places.map(|(path, source)| (path, source.layer, source.ordinal))
    }

    /// What the file that `path` leads to says of its C library's version: "glibc 2.36", "musl 1.2.4".
    pub(super) fn libc(&self, path: &TreePath) -> Option<&str> {
        let source = self.nodes.get(&self.resolve(path)?)?.source?;
        self.libc.get(&source).map(String::as_str)
    }

    pub(super) fn blobs(&self, layer: &LayerBlob) -> Result<&dyn BlobSource> {
        let missing = || Error::Missing { digest: layer.descriptor.digest };
        Ok(self.blobs.as_deref().ok_or_else(missing)?)
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<Source, Arc<[u8]>>> {
        self.remembered.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn fetch(&self, source: Source, size: u64, limit: u64) -> Result<Vec<u8>> {
        let Some(layer) = self.layers.get(source.layer) else { return Ok(Vec::new()) };
        if size > limit {
            return Err(Error::Limit { digest: layer.descriptor.digest, what: "bytes in one file", limit }.into());
        }
        if let Some(kept) = self.kept.get(&source) {
            return Ok(kept.clone());
        }
        if let Some(bytes) = self.remembered().get(&source) {
            return Ok(bytes.to_vec());
        }
        let mut reader = listing::open(layer, self.blobs(layer)?)?;
        let mut found = None;
        while let Some(member) = reader.next_member()? {
            if member.ordinal == source.ordinal {
                found = Some(reader.read_body(limit)?);
            }
        }
        reader.finish()?;
        let gone = || Error::Damaged { digest: layer.descriptor.digest, reason: "an entry is gone".into() };
        let bytes = found.ok_or_else(gone)?;
        if size <= REMEMBER_LIMIT {
            self.remembered().insert(source, bytes.as_slice().into());
        }
        Ok(bytes)
    }

    /// Adds a layer. What of it has no place is left out, and told (not more than a few).
    fn apply(&mut self, layer: usize, mut listing: Listing, digest: &Digest) -> Vec<Error> {
        self.hide(&listing);
        // Entries of the lowest layer are where they say, sorted: they need not be placed one by one.
        if self.nodes.is_empty() && is_whole(&listing.entries) {
            let entries = std::mem::take(&mut listing.entries);
            self.nodes = entries.into_iter().map(|(path, listed)| (path, node(layer, listed))).collect();
        }
        let (mut links, mut errors) = (Vec::new(), Vec::new());
        let mut keep = |result: Result<(), Error>| {
            errors.extend(result.err().filter(|_| errors.len() < ERRORS_LIMIT));
        };
        for (path, listed) in listing.entries {
            match &listed.kind {
                ListedKind::Link(target) => match self.link(target) {
                    Some(node) => keep(self.add(layer, &path, node, digest)),
                    None => links.push((path, target.clone())),
                },
                _ => keep(self.add(layer, &path, node(layer, listed), digest)),
            }
        }
        for (path, target) in links {
            let gone = || Error::Damaged {
                digest: *digest,
                reason: format!("`/{path}` is a hard link to `/{target}`, which is not there"),
            };
            let linked = self.link(&target).ok_or_else(gone);
            keep(linked.and_then(|node| self.add(layer, &path, node, digest)));
        }
        let at = |ordinal| Source { layer, ordinal };
        self.kept.extend(listing.kept.into_iter().map(|(ordinal, bytes)| (at(ordinal), bytes)));
        self.libc.extend(listing.libc.into_iter().map(|(ordinal, version)| (at(ordinal), version)));
        self.remembered().extend(listing.spared.into_iter().map(|(ordinal, bytes)| (at(ordinal), bytes.into())));
        errors
    }

    /// Applies whiteouts to the layers below. Exactly the paths they name: no link is followed.
    fn hide(&mut self, listing: &Listing) {
        for folder in &listing.opaques {
            match folder {
                Some(folder) => remove_below(&mut self.nodes, folder.as_str()),
                None => self.nodes.clear(),
            }
        }
        for path in &listing.whiteouts {
            remove_below(&mut self.nodes, path.as_str());
            self.nodes.remove(path);
        }
    }

    fn link(&self, target: &TreePath) -> Option<Node> {
        let real = match target.parent() {
            Some(parent) => self.resolve(&parent)?.join(target.name()).ok()?,
            None => target.clone(),
        };
        self.nodes.get(&real).filter(|node| node.entry.kind != BaseKind::Directory).cloned()
    }

    fn add(&mut self, layer: usize, path: &TreePath, node: Node, digest: &Digest) -> Result<(), Error> {
        let path = self.seat(layer, path, digest)?;
        let is_folder = node.entry.kind == BaseKind::Directory;
        if let Some(old) = self.nodes.insert(path.clone(), node)
            && old.entry.kind == BaseKind::Directory
            && !is_folder
        {
            remove_below(&mut self.nodes, path.as_str());
        }
        Ok(())
    }

    /// Where an entry really goes: links in its parents are followed, missing parents are made.
    fn seat(&mut self, layer: usize, path: &TreePath, digest: &Digest) -> Result<TreePath, Error> {
        let Some(parent) = path.parent() else { return Ok(path.clone()) };
        if self.nodes.get(&parent).is_some_and(|node| node.entry.kind == BaseKind::Directory) {
            return Ok(path.clone());
        }
        let damaged = |what: String| Error::Damaged { digest: *digest, reason: format!("`/{path}` {what}") };
        let (mut real, missing) = match self.walk(parent.as_str()) {
            Walk::Found(real) => (real, Vec::new()),
            Walk::Missing(real, missing) if missing.iter().all(|part| part != "..") => (real, missing),
            Walk::Missing(..) => return Err(damaged("leads through a link to nowhere".into())),
            Walk::Blocked(at) => return Err(damaged(format!("leads through `/{at}`, which is not a folder"))),
            Walk::Loop => return Err(damaged(format!("leads through more than {LINK_LIMIT} links"))),
        };
        for part in missing {
            push(&mut real, &part);
            self.implied += real.len();
            if self.implied > IMPLIED_LIMIT {
                return Err(damaged("is below too many folders that no layer has".into()));
            }
            let folder = Listed { kind: ListedKind::Directory, mode: 0o755, uid: 0, gid: 0 };
            self.nodes.insert(TreePath::new(&real)?, node(layer, folder));
        }
        push(&mut real, path.name());
        let real = TreePath::new(&real)?;
        if self.nodes.get(&parent_of(&real)).is_some_and(|node| node.entry.kind != BaseKind::Directory) {
            return Err(damaged("leads through something that is not a folder".into()));
        }
        Ok(real)
    }

    fn walk(&self, path: &str) -> Walk {
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
            match self.nodes.get(real.as_str()).map(|node| &node.entry.kind) {
                Some(BaseKind::Directory) => {}
                Some(BaseKind::Symlink(target)) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Walk::Loop;
                    }
                    real.truncate(if target.starts_with('/') { 0 } else { before });
                    for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                        pending.push_front(part);
                    }
                }
                Some(_) if pending.is_empty() => {}
                Some(_) => return Walk::Blocked(real),
                None => {
                    real.truncate(before);
                    pending.push_front(part);
                    return Walk::Missing(real, pending.into());
                }
            }
        }
        Walk::Found(real)
    }
}

impl BaseView for Rootfs {
    fn lookup(&self, path: &TreePath) -> Option<BaseEntry> {
        self.nodes.get(path).map(|node| node.entry.clone())
    }
}

/// Whether every parent is there as a folder, and nothing is another name of something below.
fn is_whole(entries: &BTreeMap<TreePath, Listed>) -> bool {
    // Most entries are in the folder of the one before.
    let mut known = "";
    entries.iter().all(|(path, listed)| {
        let parent = path.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent != known && !parent.is_empty() {
            if entries.get(parent).is_none_or(|folder| folder.kind != ListedKind::Directory) {
                return false;
            }
            known = parent;
        }
        !matches!(listed.kind, ListedKind::Link(_))
    })
}

fn node(layer: usize, listed: Listed) -> Node {
    let (kind, size, source) = match listed.kind {
        ListedKind::Directory => (BaseKind::Directory, 0, None),
        ListedKind::File { ordinal, size } => (BaseKind::File, size, Some(Source { layer, ordinal })),
        ListedKind::Symlink(target) => (BaseKind::Symlink(target), 0, None),
        ListedKind::Link(_) | ListedKind::Special => (BaseKind::Special, 0, None),
    };
    Node { entry: BaseEntry { kind, mode: listed.mode, uid: listed.uid, gid: listed.gid }, size, source }
}

fn parts(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_string)
}

fn push(path: &mut String, part: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}

fn parent_of(path: &TreePath) -> TreePath {
    path.parent().unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests;
