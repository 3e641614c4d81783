//! Folders of the last layer, with regard to what the base has there.

use super::Error;
use crate::image::Rootfs;
use crate::layer::{BaseEntry, BaseKind, BaseView, TreePath};

/// A folder as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub path: TreePath,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Where `path` really is: links of the base are followed, as far as the base has anything there.
pub(super) fn real(rootfs: &Rootfs, path: &TreePath) -> Result<TreePath, Error> {
    let mut known = path.ancestors();
    known.push(path.clone());
    // The deepest part that the base has; what comes after it is new.
    let Some(deepest) = known.iter().rev().find(|part| rootfs.lookup(part).is_some() || rootfs.entry(part).is_some())
    else {
        return Ok(path.clone());
    };
    let refuse = |found| Err(Error::Folder { path: path.to_string(), at: deepest.to_string(), found });
    let Some(base) = rootfs.resolve(deepest) else { return refuse("a link that leads nowhere") };
    let rest = path.as_str().get(deepest.as_str().len()..).unwrap_or_default().trim_start_matches('/');
    if rest.is_empty() {
        return Ok(base);
    }
    if rootfs.entry(&base).is_none_or(|entry| entry.kind != BaseKind::Directory) {
        return refuse("a file");
    }
    base.join(rest).or_else(|_| refuse("a path that is too long"))
}

/// A folder that `uid:gid` may write to. One that the base has keeps its mode; one that everybody may write to
/// (`/tmp`) also keeps its owner.
pub(super) fn writable(rootfs: &Rootfs, path: &TreePath, uid: u32, gid: u32) -> Result<Folder, Error> {
    let path = real(rootfs, path)?;
    match rootfs.lookup(&path) {
        None => Ok(Folder { path, mode: 0o755, uid, gid }),
        Some(BaseEntry { kind: BaseKind::Directory, mode, uid: owner, gid: group }) => {
            let everybody = mode & 0o002 != 0;
            let (uid, gid) = if everybody { (owner, group) } else { (uid, gid) };
            Ok(Folder { path, mode: mode | 0o700, uid, gid })
        }
        Some(_) => Err(Error::Folder { path: path.to_string(), at: path.to_string(), found: "a file" }),
    }
}

/// A folder of root, or what the base has there.
pub(super) fn plain(rootfs: &Rootfs, path: &TreePath) -> Result<Folder, Error> {
    let path = real(rootfs, path)?;
    match rootfs.lookup(&path) {
        None => Ok(Folder { path, mode: 0o755, uid: 0, gid: 0 }),
        Some(BaseEntry { kind: BaseKind::Directory, mode, uid, gid }) => Ok(Folder { path, mode, uid, gid }),
        Some(_) => Err(Error::Folder { path: path.to_string(), at: path.to_string(), found: "a file" }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::Store;
    use crate::layer::read::testing::{RawTar, layer};
    use crate::progress::Progress;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn the_base_decides_where_folders_really_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let tar = RawTar::new().raw(b'5', b"tmp", b"", 0, 0o1777, b"").raw(b'5', b"srv", b"", 0, 0o550, b"");
        let tar = tar.folder("run").symlink("var/run", "/run").file("f", b"").symlink("gone", "/nowhere");
        let layers = [layer(&store, "base", tar.end())];
        let rootfs = Rootfs::open(&layers, Arc::new(store.clone()), &store, &Progress::silent()).unwrap();
        let of = |text: &str| writable(&rootfs, &path(text), 7, 8);
        let folder = |text: &str, mode, uid, gid| Folder { path: path(text), mode, uid, gid };
        assert_eq!(of("app/data").unwrap(), folder("app/data", 0o755, 7, 8));
        assert_eq!(of("var/run/x/y").unwrap(), folder("run/x/y", 0o755, 7, 8));
        assert_eq!(of("srv").unwrap(), folder("srv", 0o750, 7, 8));
        assert_eq!(of("tmp").unwrap(), folder("tmp", 0o1777, 1, 2));
        assert_eq!(plain(&rootfs, &path("srv")).unwrap(), folder("srv", 0o550, 1, 2));
        assert_eq!(plain(&rootfs, &path("app")).unwrap(), folder("app", 0o755, 0, 0));
        for (bad, at) in [("f", "`/f` is a file"), ("f/x", "`/f` is a file"), ("gone/x", "`/gone` is a link that")] {
            let error = of(bad).unwrap_err();
            assert!(error.to_string().contains(at), "{error}");
        }
    }
}
