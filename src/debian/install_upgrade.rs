//! Packages over older versions of themselves: what the base's files were, which of them stay, which go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::install::{Claims, Installer};
use super::install_base::{BaseLists, conffiles, info_name, md5, predecessor, recorded_conffiles};
use super::{InstalledPackage, Package};
use crate::error::Result;
use crate::layer::{BaseKind, BaseView, Entry, Kind, TreePath};

/// The longest conffile, in bytes.
pub(super) const CONFFILE_LIMIT: u64 = 64 << 20;

/// Who has a path of the base: names of lists, and the path as it is in them.
pub(super) type Owners = BTreeMap<TreePath, Vec<(String, TreePath)>>;

/// Conffiles that no version ships any more and that are still there, with their MD5, by the names of lists.
pub(super) type Obsolete = BTreeMap<String, BTreeMap<TreePath, String>>;

impl Installer<'_> {
    /// The lists of the base.
    fn lists(&mut self) -> Result<Arc<BaseLists>> {
        if let Some(lists) = &self.lists {
            return Ok(lists.clone());
        }
        self.files.add_lists(&self.root)?;
        let lists = Arc::new(BaseLists::of_base(&self.files));
        self.lists = Some(lists.clone());
        Ok(lists)
    }

    /// Which packages of the base own these real paths.
    pub fn owners(&mut self, paths: &BTreeSet<TreePath>) -> Result<Owners> {
        let mut owners = Owners::new();
        if paths.is_empty() {
            return Ok(owners);
        }
        let lists = self.lists()?;
        for (list, listed) in lists.iter() {
            for path in listed {
                let place = self.place_of(path, list);
                if paths.contains(&place) {
                    owners.entry(place).or_default().push((list.to_string(), path.clone()));
                }
            }
        }
        Ok(owners)
    }

    /// Where the path of a list really is.
    fn place_of(&mut self, path: &TreePath, list: &str) -> TreePath {
        let package = list.split(':').next().unwrap_or(list);
        let path = self.diversions.apply(path, package).clone();
        self.place(&path)
    }

    /// Whether a file of the base belongs to this package, in its older version, and to nobody else.
    pub fn owned_by(&mut self, path: &TreePath, package: &Package) -> Result<bool> {
        let owners = self.owners(&BTreeSet::from([path.clone()]))?;
        let owners = owners.get(path).map(Vec::as_slice).unwrap_or_default();
        let own = |list: &str| list.split(':').next() == Some(package.name.as_str());
        Ok(!owners.is_empty() && owners.iter().all(|(list, _)| own(list)))
    }

    /// Real paths of conffiles that stay as the base has them: those that its administrator changed or removed.
    pub fn kept_conffiles(&mut self, claims: &Claims) -> Result<BTreeSet<TreePath>> {
        let mut kept = BTreeSet::new();
        let base = self.root.below().clone();
        if base.iter().next().is_none() {
            return Ok(kept);
        }
        let shipped: BTreeMap<TreePath, String> =
            self.installed.packages().iter().flat_map(recorded_conffiles).collect();
        let mut changed = BTreeMap::new();
        for package in self.packages {
            let own = conffiles(package.deb);
            let is_file = |entry: &Entry| matches!(entry.kind, Kind::File(_) | Kind::Hardlink(_));
            let entries = package.entries.iter();
            for (path, _) in entries.filter(|(path, entry)| is_file(entry) && own.contains(path.as_str())) {
                let place = self.place(&self.diversions.apply(path, &package.deb.package.name).clone());
                let found = base.lookup(&place).filter(|_| claims.contains_key(&place)).map(|found| found.kind);
                match (shipped.get(*path), found) {
                    (Some(_), None) => drop(kept.insert(place)),
                    (md5, Some(BaseKind::File)) => drop(changed.insert(place, md5)),
                    _ => {}
                }
            }
        }
        for (place, shipped) in changed {
            let found = match self.files.get(&place) {
                Some(bytes) => Some(md5(bytes)),
                // Behind a diversion.
                None => base.read(&place, CONFFILE_LIMIT)?.map(|bytes| md5(&bytes)),
            };
            // One that no package shipped is the administrator's.
            if shipped != found.as_ref() {
                kept.insert(place);
            }
        }
        Ok(kept)
    }

    /// Older versions of the packages that are installed now.
    fn predecessors(&self) -> Vec<(String, &InstalledPackage)> {
        let pairs = self.packages.iter().filter_map(|package| {
            let new = &package.deb.package;
            Some((info_name(new), predecessor(new, self.installed)?))
        });
        pairs.collect()
    }

    /// The lists of older versions.
    pub fn replaced(&self) -> BTreeSet<String> {
        let Some(lists) = &self.lists else { return BTreeSet::new() };
        let old = self.predecessors();
        old.iter().filter_map(|(_, old)| Some(lists.of(&old.package)?.0.to_string())).collect()
    }

    /// Removes the files of older versions that the new ones do not have. Conffiles stay, and are returned.
    pub fn remove_old(&mut self, claims: &Claims) -> Result<Obsolete> {
        let mut obsolete = Obsolete::new();
        if self.predecessors().is_empty() {
            return Ok(obsolete);
        }
        let lists = self.lists()?;
        let base = self.root.below().clone();
        let old: Vec<(String, InstalledPackage)> =
            self.predecessors().into_iter().map(|(name, old)| (name, old.clone())).collect();
        let mut gone = BTreeSet::new();
        for (name, old) in &old {
            let Some((list, paths)) = lists.of(&old.package) else { continue };
            let shipped = recorded_conffiles(old);
            for path in paths {
                let place = self.place_of(path, list);
                if claims.contains_key(&place) || base.lookup(&place).is_none() {
                    continue;
                }
                match shipped.get(path) {
                    Some(md5) => drop(obsolete.entry(name.clone()).or_default().insert(path.clone(), md5.clone())),
                    None => drop(gone.insert(place)),
                }
            }
        }
        for place in self.still_owned(&gone)? {
            gone.remove(&place);
        }
        self.remove(&gone);
        Ok(obsolete)
    }

    /// Those of these paths that other packages of the base have, or folders of new ones.
    fn still_owned(&mut self, paths: &BTreeSet<TreePath>) -> Result<BTreeSet<TreePath>> {
        let replaced = self.replaced();
        let owners = self.owners(paths)?;
        let others = owners.into_iter().filter(|(_, owners)| owners.iter().any(|(list, _)| !replaced.contains(list)));
        let mut still: BTreeSet<TreePath> = others.map(|(path, _)| path).collect();
        for package in self.packages {
            for (path, _) in package.entries.iter().filter(|(_, entry)| matches!(entry.kind, Kind::Directory)) {
                let place = self.place(path);
                if paths.contains(&place) {
                    still.insert(place);
                }
            }
        }
        Ok(still)
    }

    /// Removes files, then folders that are empty without them, the deepest first.
    fn remove(&mut self, gone: &BTreeSet<TreePath>) {
        let base = self.root.below().clone();
        let is_folder = |path: &&TreePath| base.lookup(path).is_some_and(|found| found.kind == BaseKind::Directory);
        let (folders, files): (Vec<_>, Vec<_>) = gone.iter().partition(is_folder);
        files.into_iter().for_each(|path| self.root.remove(path));
        for folder in folders.into_iter().rev() {
            if self.root.list(folder.as_str()).is_empty() {
                self.root.remove(folder);
            }
        }
    }
}
