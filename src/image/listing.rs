//! What is in one base layer: its entries, its whiteouts, and the few small files that every build asks for.
//!
//! A listing is made by reading the layer once, to its end, verified; then it is kept in the store under the
//! blob's digest, so that the next build does not need the layer's bytes at all.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::probe;
use crate::error::Result;
use crate::layer::read::{LayerReader, Member, MemberKind, member_of};
use crate::layer::{BlobRecord, BlobSource, Bucket, Error, LayerBlob, LayerTree, Store, TreePath};
use crate::oci::Digest;
use crate::oci::media_type::Compression;
use crate::progress::Progress;

/// The version of the format and of the rule what is kept.
const VERSION: u32 = 3;
/// The largest listing that is read back, in bytes.
const LISTING_LIMIT: u64 = 512 << 20;
/// The largest file that is kept with a listing, in bytes.
pub(super) const KEEP_LIMIT: u64 = 16 << 20;
/// The most that all kept files of a layer may have, in bytes.
const KEEP_TOTAL: u64 = 64 << 20;
/// The same for files that somebody spares himself to read the layer again for.
const SPARE_TOTAL: u64 = 48 << 20;

/// Says which files (path and length) are going to be read soon: if the layer has to be read for its listing, they are
/// remembered.
pub type Soon<'a> = &'a (dyn Fn(&TreePath, u64) -> bool + Sync);

/// An entry of a layer. A file's bytes are found again by the number of its entry in the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub kind: ListedKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListedKind {
    Directory,
    File {
        ordinal: u64,
        size: u64,
    },
    Symlink(String),
    /// Another name of something in the layers below.
    Link(TreePath),
    Special,
}

/// All that is known of a layer without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub entries: BTreeMap<TreePath, Listed>,
    pub whiteouts: Vec<TreePath>,
    /// `None` is the root.
    pub opaques: Vec<Option<TreePath>>,
    /// Small files by entry number.
    pub kept: BTreeMap<u64, Vec<u8>>,
    /// C library versions by entry number.
    pub libc: BTreeMap<u64, String>,
    /// The length of the tar, in bytes.
    pub uncompressed_size: u64,
    /// Files by entry number that are read soon: only in a listing that was just made.
    pub spared: BTreeMap<u64, Vec<u8>>,
}

/// How many bytes were taken out of a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    kept: u64,
    spared: u64,
}

/// Whether a file's bytes are kept: what says which system this is, who its users are, what is installed and how
/// apt is set up.
pub(super) fn keep(path: &TreePath, size: u64) -> bool {
    let path = path.as_str();
    let named = matches!(
        path,
        "etc/passwd"
            | "etc/group"
            | "etc/shadow"
            | "etc/gshadow"
            | "etc/os-release"
            | "usr/lib/os-release"
            | "etc/debian_version"
            | "etc/ld.so.conf"
            | "etc/ld.so.cache"
            | "var/lib/dpkg/status"
            | "var/lib/dpkg/diversions"
            | "lib/apk/db/installed"
    );
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    size <= KEEP_LIMIT
        && (named
            || below("etc/ld.so.conf.d/")
            || below("var/lib/dpkg/alternatives/")
            || below("etc/apt/")
            || below("usr/share/keyrings/")
            || below("var/lib/dpkg/status.d/")
            || path.ends_with("/patchlevel.h") && path.contains("include/python3"))
}

/// Finds or makes the listing of `layer`.
pub(super) fn of(
    layer: &LayerBlob,
    blobs: &dyn BlobSource,
    store: &Store,
    progress: &Progress,
    soon: Soon<'_>,
) -> Result<Listing> {
    let name = name(&layer.descriptor.digest);
    if let Some(bytes) = store.get_entry(Bucket::Bases, &name, LISTING_LIMIT)?
        && let Some(listing) = decode(&bytes, &layer.diff_id)
    {
        return Ok(listing);
    }
    let listing = match read(layer, blobs, progress, soon) {
        // The store's copy may be what is damaged: then it is gone now, and the layer is fetched anew.
        Err(_) if !store.is_sound(&layer.descriptor.digest) => read(layer, blobs, progress, soon)?,
        found => found?,
    };
    store.put_entry(Bucket::Bases, &name, &encode(&listing, &layer.diff_id))?;
    Ok(listing)
}

/// Puts the listing of a layer that was just made into the store, so that nobody has to read the layer for it.
pub fn remember_listing(tree: &LayerTree, record: &BlobRecord, store: &Store) -> Result<()> {
    let digest = record.descriptor.digest;
    let mut listing = Listing::default();
    let mut taken = Taken::default();
    for (ordinal, (path, entry)) in (0..).zip(tree.iter()) {
        let member = member_of(ordinal, path, entry).map_err(|reason| Error::Damaged { digest, reason })?;
        listing.take(&member, &digest, &mut taken, &|_, _| false, |limit| {
            Ok(entry.read(path, limit)?.unwrap_or_default())
        })?;
    }
    listing.uncompressed_size = record.uncompressed_size;
    listing.forget_replaced();
    store.put_entry(Bucket::Bases, &name(&digest), &encode(&listing, &record.diff_id))
}

fn name(blob: &Digest) -> String {
    format!("{}.listing", blob.hex())
}

/// Opens the layer's blob with a bar for it.
pub(super) fn open(layer: &LayerBlob, blobs: &dyn BlobSource) -> Result<LayerReader> {
    let compression = Compression::of_layer(&layer.descriptor.media_type)?;
    let blob = blobs.open(&layer.descriptor)?;
    Ok(LayerReader::open(blob, compression, &layer.descriptor, Some(layer.diff_id))?)
}

fn read(layer: &LayerBlob, blobs: &dyn BlobSource, progress: &Progress, soon: Soon<'_>) -> Result<Listing> {
    let task = progress.task(&format!("reading {}", layer.name), layer.uncompressed_size);
    let mut reader = open(layer, blobs)?;
    let mut listing = Listing::default();
    let mut taken = Taken::default();
    while let Some(member) = reader.next_member()? {
        task.advance(member.size);
        let digest = layer.descriptor.digest;
        listing.take(&member, &digest, &mut taken, soon, |limit| Ok(reader.read_body(limit)?))?;
    }
    listing.uncompressed_size = reader.finish()?.uncompressed_size;
    listing.forget_replaced();
    task.finish("listed");
    Ok(listing)
}

/// The listing of a layer while somebody else reads the layer.
pub struct LayerListing {
    pub(super) listing: Listing,
    digest: Digest,
    taken: Taken,
}

impl LayerListing {
    /// Of the layer with this blob, nothing of which was read yet.
    pub fn new(blob: &Digest) -> Self {
        LayerListing { listing: Listing::default(), digest: *blob, taken: Taken::default() }
    }

    /// The next member, and its whole body. An error says that no engine could unpack it.
    pub fn take(&mut self, member: &Member, body: &[u8]) -> Result<()> {
        self.listing.take(member, &self.digest, &mut self.taken, &|_, _| false, |_| Ok(body.to_vec()))
    }
}

impl Listing {
    /// Adds a member, and of its body, which is read at most once, what is kept. `taken` counts that.
    fn take(
        &mut self,
        member: &Member,
        digest: &Digest,
        taken: &mut Taken,
        soon: Soon<'_>,
        body: impl FnOnce(u64) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let Some(path) = self.add(member, digest)? else { return Ok(()) };
        let is_libc = probe::is_libc(&path) && member.size <= probe::LIBC_LIMIT;
        if keep(&path, member.size) && taken.kept + member.size <= KEEP_TOTAL {
            taken.kept += member.size;
            self.kept.insert(member.ordinal, body(KEEP_LIMIT)?);
            return Ok(());
        }
        let spared = member.size <= KEEP_LIMIT && taken.spared + member.size <= SPARE_TOTAL && soon(&path, member.size);
        if !is_libc && !spared {
            return Ok(());
        }
        let bytes = body(KEEP_LIMIT.max(probe::LIBC_LIMIT))?;
        if is_libc {
            self.libc.extend(probe::libc_version(&bytes).map(|version| (member.ordinal, version)));
        }
        if spared {
            taken.spared += member.size;
            self.spared.insert(member.ordinal, bytes);
        }
        Ok(())
    }

    /// Adds a member; returns the path if it is a file.
    fn add(&mut self, member: &Member, digest: &Digest) -> Result<Option<TreePath>, Error> {
        let Some(path) = &member.path else {
            if member.kind == MemberKind::Opaque {
                self.opaques.push(None);
            }
            return Ok(None);
        };
        let kind = match &member.kind {
            MemberKind::Ignored => return Ok(None),
            MemberKind::Whiteout => {
                self.whiteouts.push(path.clone());
                return Ok(None);
            }
            MemberKind::Opaque => {
                self.opaques.push(Some(path.clone()));
                return Ok(None);
            }
            MemberKind::Directory => ListedKind::Directory,
            MemberKind::File => ListedKind::File { ordinal: member.ordinal, size: member.size },
            MemberKind::Symlink(target) => ListedKind::Symlink(target.clone()),
            MemberKind::Special => ListedKind::Special,
            MemberKind::Hardlink(target) => match self.entries.get(target) {
                Some(Listed { kind: ListedKind::Directory, .. }) => {
                    let reason = format!("`/{path}` is a hard link to the folder `/{target}`");
                    return Err(Error::Damaged { digest: *digest, reason });
                }
                Some(first) => {
                    let first = first.clone();
                    self.insert(path, first);
                    return Ok(None);
                }
                None => ListedKind::Link(target.clone()),
            },
        };
        let is_file = matches!(kind, ListedKind::File { .. });
        self.insert(path, Listed { kind, mode: member.mode, uid: member.uid, gid: member.gid });
        Ok(is_file.then(|| path.clone()))
    }

    /// The later of two entries with one path wins; what was in a folder goes with it.
    fn insert(&mut self, path: &TreePath, listed: Listed) {
        let is_folder = listed.kind == ListedKind::Directory;
        if let Some(old) = self.entries.insert(path.clone(), listed)
            && old.kind == ListedKind::Directory
            && !is_folder
        {
            remove_below(&mut self.entries, path.as_str());
        }
    }

    fn forget_replaced(&mut self) {
        let ordinals: std::collections::BTreeSet<u64> = self
            .entries
            .values()
            .filter_map(|listed| match listed.kind {
                ListedKind::File { ordinal, .. } => Some(ordinal),
                _ => None,
            })
            .collect();
        self.spared.retain(|ordinal, _| ordinals.contains(ordinal));
        self.kept.retain(|ordinal, _| ordinals.contains(ordinal));
        self.libc.retain(|ordinal, _| ordinals.contains(ordinal));
    }
}

/// Removes everything below a folder, but not the folder.
pub(super) fn remove_below<T>(entries: &mut BTreeMap<TreePath, T>, folder: &str) {
    let paths: Vec<TreePath> = below(entries, folder).map(|(path, _)| path.clone()).collect();
    for path in paths {
        entries.remove(&path);
    }
}

/// Everything below a folder, sorted.
pub(super) fn below<'a, T>(
    entries: &'a BTreeMap<TreePath, T>,
    folder: &str,
) -> impl Iterator<Item = (&'a TreePath, &'a T)> + use<'a, T> {
    // `/` is followed by `0`.
    let (first, end) = (format!("{folder}/"), format!("{folder}0"));
    entries.range::<str, _>((Bound::Included(first.as_str()), Bound::Excluded(end.as_str())))
}

/// Path, kind, mode, uid, gid, entry number, size, target.
#[derive(Serialize, Deserialize)]
struct Row(String, char, u32, u32, u32, u64, u64, String);

#[derive(Serialize, Deserialize)]
struct Stored {
    diff_id: Digest,
    rows: Vec<Row>,
    whiteouts: Vec<String>,
    opaques: Vec<Option<String>>,
    kept: BTreeMap<u64, String>,
    libc: BTreeMap<u64, String>,
    uncompressed_size: u64,
}

fn encode(listing: &Listing, diff_id: &Digest) -> Vec<u8> {
    let row = |(path, listed): (&TreePath, &Listed)| {
        let (kind, ordinal, size, target) = match &listed.kind {
            ListedKind::Directory => ('d', 0, 0, String::new()),
            ListedKind::File { ordinal, size } => ('f', *ordinal, *size, String::new()),
            ListedKind::Symlink(target) => ('l', 0, 0, target.clone()),
            ListedKind::Link(target) => ('h', 0, 0, target.to_string()),
            ListedKind::Special => ('s', 0, 0, String::new()),
        };
        Row(path.to_string(), kind, listed.mode, listed.uid, listed.gid, ordinal, size, target)
    };
    let stored = Stored {
        diff_id: *diff_id,
        rows: listing.entries.iter().map(row).collect(),
        whiteouts: listing.whiteouts.iter().map(TreePath::to_string).collect(),
        opaques: listing.opaques.iter().map(|path| path.as_ref().map(TreePath::to_string)).collect(),
        kept: listing.kept.iter().map(|(ordinal, bytes)| (*ordinal, BASE64.encode(bytes))).collect(),
        libc: listing.libc.clone(),
        uncompressed_size: listing.uncompressed_size,
    };
    let body = serde_json::to_vec(&stored).unwrap_or_default();
    let mut bytes = format!("listing {VERSION} {}\n", Digest::of(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// `None` if it is damaged, of another version or of another tar: then the layer is read again.
fn decode(bytes: &[u8], diff_id: &Digest) -> Option<Listing> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    if head != format!("listing {VERSION} {}", Digest::of(body)).as_bytes() {
        return None;
    }
    let stored: Stored = serde_json::from_slice(body).ok().filter(|stored: &Stored| stored.diff_id == *diff_id)?;
    let path = |text: &String| TreePath::new(text).ok();
    let uncompressed_size = stored.uncompressed_size;
    let mut listing = Listing { libc: stored.libc, uncompressed_size, ..Listing::default() };
    // They are sorted, which makes the map in one go.
    let mut entries = Vec::with_capacity(stored.rows.len());
    for Row(name, kind, mode, uid, gid, ordinal, size, target) in stored.rows {
        let kind = match kind {
            'd' => ListedKind::Directory,
            'f' => ListedKind::File { ordinal, size },
            'l' => ListedKind::Symlink(target),
            'h' => ListedKind::Link(path(&target)?),
            's' => ListedKind::Special,
            _ => return None,
        };
        entries.push((path(&name)?, Listed { kind, mode, uid, gid }));
    }
    listing.entries = entries.into_iter().collect();
    listing.whiteouts = stored.whiteouts.iter().map(path).collect::<Option<_>>()?;
    listing.opaques = stored
        .opaques
        .iter()
        .map(|folder| folder.as_ref().map_or(Some(None), |folder| path(folder).map(Some)))
        .collect::<Option<_>>()?;
    for (ordinal, text) in stored.kept {
        listing.kept.insert(ordinal, BASE64.decode(text).ok()?);
    }
    Some(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Entry, Kind, Origin, write_layer};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn a_stored_listing_is_the_same_or_nothing() {
        let listed = |kind| Listed { kind, mode: 0o755, uid: 1, gid: 2 };
        let listing = Listing {
            entries: BTreeMap::from([
                (path("a"), listed(ListedKind::Directory)),
                (path("a/f"), listed(ListedKind::File { ordinal: 3, size: 4 })),
                (path("a/h"), listed(ListedKind::Link(path("b")))),
                (path("l"), listed(ListedKind::Symlink("/../x".into()))),
                (path("s"), listed(ListedKind::Special)),
            ]),
            whiteouts: vec![path("w")],
            opaques: vec![None, Some(path("o"))],
            kept: BTreeMap::from([(3, b"\0\xff".to_vec())]),
            libc: BTreeMap::from([(3, "glibc 2.36".into())]),
            uncompressed_size: 10240,
            spared: BTreeMap::new(),
        };
        let diff_id = Digest::of(b"x");
        let bytes = encode(&listing, &diff_id);
        assert_eq!(decode(&bytes, &diff_id), Some(listing));
        assert_eq!(decode(&bytes, &Digest::of(b"y")), None);
        for at in [0, 8, 40, bytes.len() - 3] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged, &diff_id), None, "{at}");
        }
        assert_eq!(decode(b"", &diff_id), None);
    }

    #[test]
    fn a_layer_that_was_made_is_listed_as_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let input: std::sync::Arc<str> = "test".into();
        let file = |text: &str, mode| Entry::file(text, mode, &input);
        let link = |first: &str| Entry { kind: Kind::Hardlink(path(first)), ..file("", 0o640) };
        let long = ["d".repeat(120), "e".repeat(120)].join("/");
        let entries = [
            ("etc", Entry::directory(&input).owned(1, 3_000_000)),
            ("etc/ld.so.cache", Entry::file(b"\0\xff".to_vec(), 0o644, &input)),
            ("etc/group", link("etc/ld.so.cache")),
            ("etc/passwd", file("root:x:0:0::/:\n", 0o4755)),
            ("etc/.wh.shadow", file("", 0o644)),
            ("opt/.wh..wh..opq", file("", 0o644)),
            (".wh..wh..opq", file("", 0o644)),
            (".wh..wh.aufs", file("", 0o644)),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", file("GNU C Library (x) stable release version 2.36.\n", 0o755)),
            ("usr/lib/other", link("of/the/base")),
            ("usr/lib/é", Entry::symlink("t".repeat(130), &input)),
            (&long, link("usr/lib/x86_64-linux-gnu/libc.so.6").owned(5_000_000, 0)),
            ("var/lib/dpkg/status", file("", 0o644)),
            ("x", Entry::file(vec![1; 3 << 20], 0o755, &input)),
        ];
        let mut tree = LayerTree::new();
        entries.into_iter().for_each(|(at, entry)| tree.insert(path(at), entry).unwrap());
        for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
            let progress = Progress::silent();
            let record = write_layer("test", &tree, compression, &store, &progress.task("test", None)).unwrap();
            remember_listing(&tree, &record, &store).unwrap();
            let name = name(&record.descriptor.digest);
            let made = store.get_entry(Bucket::Bases, &name, 1 << 20).unwrap().unwrap();
            std::fs::remove_file(store.entry_path(Bucket::Bases, &name)).unwrap();
            let layer = LayerBlob {
                descriptor: record.descriptor,
                diff_id: record.diff_id,
                uncompressed_size: None,
                name: "test".into(),
                created_by: String::new(),
                origin: Origin::Store,
            };
            let listing = of(&layer, &store, &store, &progress, &|_, _| false).unwrap();
            assert!(store.get_entry(Bucket::Bases, &name, 1 << 20).unwrap().unwrap() == made);
            assert_eq!((listing.whiteouts.len(), listing.opaques.len(), listing.libc.len()), (1, 2, 1));
            assert_eq!((listing.kept.len(), listing.entries.len()), (3, 10));
        }
    }

    #[test]
    fn only_small_system_files_are_kept() {
        for yes in ["etc/passwd", "etc/apt/sources.list.d/x.sources", "var/lib/dpkg/status.d/libc6"] {
            assert!(keep(&path(yes), 10), "{yes}");
        }
        for no in ["etc/passwd-", "home/etc/passwd", "etc/apt", "usr/bin/python3"] {
            assert!(!keep(&path(no), 10), "{no}");
        }
        assert!(!keep(&path("etc/group"), 1 << 30));
    }
}
