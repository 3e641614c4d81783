//! Bases and packages made in code, for tests of what is installed over what.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deb_testing::RawDeb;
use super::{Deb, Installation, Installed, Keep, Root, database, install};
use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::read::testing::{RawTar, layer};
use crate::layer::{Content, Entry, Kind, Store, TreePath};
use crate::progress::Progress;

/// A store, and what is installed from it.
pub(super) struct Site {
    _folder: tempfile::TempDir,
    pub store: Store,
    pub base: Arc<Rootfs>,
}

/// Path, kind, mode and content of each entry of a tree.
pub(super) type Listing = BTreeMap<String, String>;

impl Site {
    /// Over nothing.
    pub fn empty() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        Site { store, _folder: folder, base: Arc::new(Rootfs::empty()) }
    }

    /// Over one layer.
    pub fn over(tar: RawTar) -> Site {
        let site = Site::empty();
        let layers = [layer(&site.store, "base", tar.end())];
        let base = Rootfs::open(&layers, Arc::new(site.store.clone()), &site.store, &Progress::silent()).unwrap();
        Site { base: Arc::new(base), ..site }
    }

    /// These packages, with the database.
    pub fn install(&self, debs: &[&RawDeb]) -> Result<Installation> {
        self.install_into(Root::new(self.base.clone()), debs)
    }

    pub fn install_into(&self, root: Root, debs: &[&RawDeb]) -> Result<Installation> {
        let debs: Vec<Deb> = debs.iter().map(|deb| deb.open(&self.store).unwrap()).collect();
        let installed = Installed::of(&self.base).unwrap();
        let mut installation = install(root, &debs, &installed, &Keep::default())?;
        database::write(&mut installation, &debs, &installed)?;
        Ok(installation)
    }

    /// Why these packages cannot be installed.
    pub fn refused(&self, debs: &[&RawDeb]) -> String {
        let error = self.install(debs).err().expect("it is refused");
        assert_eq!(error.class(), crate::error::Class::Usage);
        assert!(error.hint().is_some());
        error.to_string()
    }
}

/// What the layer has, without the database.
pub(super) fn files(installation: Installation) -> Listing {
    let mut all = everything(installation);
    all.retain(|path, _| !path.starts_with("var/lib/dpkg/"));
    all
}

/// What the layer has.
pub(super) fn everything(installation: Installation) -> Listing {
    let tree = installation.root.finish().unwrap();
    let line = |path: &TreePath, entry: &Entry| match &entry.kind {
        Kind::Directory => format!("folder {:o}", entry.mode),
        Kind::Symlink(target) => format!("-> {target}"),
        Kind::Hardlink(first) => {
            assert!(first < path && matches!(tree.get(first).unwrap().kind, Kind::File(_)));
            format!("= {first}")
        }
        Kind::File(content) => {
            assert!(Content::size(content) < 1 << 20);
            String::from_utf8(entry.read(path, 1 << 20).unwrap().unwrap()).unwrap()
        }
    };
    tree.iter().map(|(path, entry)| (path.to_string(), line(path, entry))).collect()
}

/// A package with one file.
pub(super) fn one(name: &str, fields: &str, path: &str, content: &str) -> RawDeb {
    RawDeb::new(name, "1", "all", fields).data(|tar| tar.file(path, content.as_bytes()))
}

/// A listing in one line for each path.
#[track_caller]
pub(super) fn is(listing: &Listing, expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = listing.iter().map(|(path, line)| (path.as_str(), line.as_str())).collect();
    assert_eq!(found, expected);
}
