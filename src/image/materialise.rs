//! Writing a part of the merged view into an empty folder, so that nothing outside that folder can be touched.
//!
//! Every name is opened relative to its folder's descriptor with O_NOFOLLOW, files with O_EXCL; links come last,
//! rewritten so that they stay inside; devices never; setuid and setgid are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::listing;
use super::rootfs::{Node, Rootfs, Source};
use crate::error::{During, Result};
use crate::fs;
use crate::layer::{BaseEntry, BaseKind, Error, TreePath};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Rootfs {
    /// Writes the entries that `wanted` picks, with their parents, into `into`, which exists and is empty.
    ///
    /// A link is written relative to its folder, to where it leads in this file system; one that leads nowhere
    /// is left out. So are devices and pipes. All files are readable and writable by their owner.
    pub fn materialise(&self, wanted: &dyn Fn(&TreePath, &BaseEntry) -> bool, into: &Path) -> Result<()> {
        let chosen: Vec<(&TreePath, &Node)> =
            self.nodes.iter().filter(|(path, node)| wanted(path, &node.entry)).collect();
        let folder = Folder::open(into)?;
        let mut folders = BTreeSet::new();
        for (path, node) in &chosen {
            folders.extend(path.ancestors());
            if node.entry.kind == BaseKind::Directory {
                folders.insert((*path).clone());
            }
        }
        folders.iter().try_for_each(|path| folder.make(path))?;
        self.write_files(&chosen, &folder)?;
        for (path, node) in &chosen {
            let BaseKind::Symlink(_) = node.entry.kind else { continue };
            if let Some(target) = self.resolve(path) {
                folder.link(path, &relative(path, &target))?;
            }
        }
        Ok(())
    }

    fn write_files(&self, chosen: &[(&TreePath, &Node)], folder: &Folder<'_>) -> Result<()> {
        // Layer, entry number, and the names that this file has.
        let mut sources: BTreeMap<usize, BTreeMap<u64, Vec<(&TreePath, u32)>>> = BTreeMap::new();
        for (path, node) in chosen {
            if let Some(source) = node.source {
                let files = sources.entry(source.layer).or_default();
                files.entry(source.ordinal).or_default().push((path, node.entry.mode));
            }
        }
        for (number, mut files) in sources {
            let Some(layer) = self.layers.get(number) else { continue };
            let of_layer = || format!("unpacking {}", layer.name);
            // A layer that was read for its listing need not be read again.
            let known: Option<Vec<_>> =
                files.keys().map(|ordinal| self.known(Source { layer: number, ordinal: *ordinal })).collect();
            if let Some(known) = known {
                for (bytes, names) in known.iter().zip(files.values()) {
                    let mut rest = &bytes[..];
                    folder.write(names, &mut |buffer| Ok(rest.read(buffer).unwrap_or_default())).during(of_layer)?;
                }
                continue;
            }
            let mut reader = listing::open(layer, self.blobs(layer)?)?;
            while let Some(member) = reader.next_member()? {
                let Some(names) = files.remove(&member.ordinal) else { continue };
                folder.write(&names, &mut |buffer| Ok(reader.read_part(buffer)?)).during(of_layer)?;
            }
            if !files.is_empty() {
                let reason = "an entry is gone".into();
                return Err(Error::Damaged { digest: layer.descriptor.digest, reason }.into());
            }
            reader.finish()?;
        }
        Ok(())
    }
}

/// `../../usr/bin/x` for `/etc/alternatives/x`.
fn relative(link: &TreePath, target: &TreePath) -> String {
    let up = "../".repeat(link.ancestors().len());
    format!("{up}{target}")
}

/// The folder that is written into.
struct Folder<'a> {
    root: OwnedFd,
    path: &'a Path,
}

impl<'a> Folder<'a> {
    fn open(path: &'a Path) -> Result<Self, fs::Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| fs::failed("open the folder", path)(error.into()))?;
        Ok(Folder { root, path })
    }

    fn failed(&self, action: &'static str, path: &TreePath) -> impl FnOnce(Errno) -> fs::Error + use<> {
        let full = self.path.join(path.as_str());
        move |error| fs::failed(action, &full)(io::Error::from(error))
    }

    /// The folder that holds `path`, reached component by component without following a link.
    fn parent(&self, path: &TreePath) -> Result<OwnedFd, fs::Error> {
        let failed = |error| self.failed("open the folder of", path)(error);
        let mut at = rustix::fs::openat(self.root.as_fd(), ".", FOLDER, Mode::empty()).map_err(failed)?;
        if let Some(parent) = path.parent() {
            for part in parent.as_str().split('/') {
                let failed = |error| self.failed("open the folder of", path)(error);
                at = rustix::fs::openat(&at, part, FOLDER, Mode::empty()).map_err(failed)?;
            }
        }
        Ok(at)
    }

    fn make(&self, path: &TreePath) -> Result<(), fs::Error> {
        let at = self.parent(path)?;
        match rustix::fs::mkdirat(&at, path.name(), Mode::from_raw_mode(0o755)) {
            // One that an entry before it needed; `parent` would refuse a link.
            Err(Errno::EXIST) => Ok(()),
            other => other.map_err(self.failed("create the folder", path)),
        }
    }

    /// Writes what `read` gives, until that is nothing, under all names.
    fn write(&self, names: &[(&TreePath, u32)], read: &mut dyn FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        let Some(((first, mode), others)) = names.split_first() else { return Ok(()) };
        let at = self.parent(first)?;
        let mode = Mode::from_raw_mode(mode & 0o777 | 0o600);
        let file = rustix::fs::openat(&at, first.name(), FILE, mode).map_err(self.failed("create", first))?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = read(&mut buffer)?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                match rustix::io::write(&file, rest) {
                    Err(Errno::INTR) => {}
                    other => {
                        let written = other.map_err(self.failed("write", first))?;
                        rest = rest.get(written..).unwrap_or_default();
                    }
                }
            }
        }
        // Whatever the umask.
        rustix::fs::fchmod(&file, mode).map_err(self.failed("set the mode of", first))?;
        for (name, _) in others {
            let there = self.parent(name)?;
            rustix::fs::linkat(&at, first.name(), &there, name.name(), AtFlags::empty())
                .map_err(self.failed("link", name))?;
        }
        Ok(())
    }

    fn link(&self, path: &TreePath, target: &str) -> Result<(), fs::Error> {
        let at = self.parent(path)?;
        rustix::fs::symlinkat(target, &at, path.name()).map_err(self.failed("create the link", path))
    }
}
