//! Installs packages into a root as dpkg would unpack them, with a result that does not depend on their order.
//!
//! Links come first, because they decide where everything else goes (usr-merge: `/lib` is `/usr/lib`), then folders,
//! then files. Each path of a file has one owner, or packages that say that they may share it or take it over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::diversion::Diversions;
use super::install_base::{BaseFiles, BaseLists, info_name, predecessor, who};
use super::install_error::InstallError;
use super::install_select::{Selected, select};
use super::install_upgrade::Obsolete;
use super::{Deb, Installed, Keep, MultiArch, Package, Root};
use crate::error::Result;
use crate::layer::{BaseKind, BaseView, Content, Entry, Kind, TreePath};

/// dpkg's own list of diversions.
pub(super) const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// The longest file that is moved by a diversion, in bytes.
const MOVED_LIMIT: u64 = 256 << 20;

/// Packages that were installed.
pub struct Installation {
    /// Where they went.
    pub root: Root,
    /// What each package owns, as in its own paths ("/.", "/lib", "/lib/x"), by the name that dpkg gives its files:
    /// "zlib1g:amd64", "dash".
    pub owned: BTreeMap<String, BTreeSet<String>>,
    /// The bytes of files that were left out by rule.
    pub left_out: u64,
    /// Files that run with the rights of their owner or group, their modes, and the packages' names.
    pub privileged: Vec<(TreePath, u32, String)>,
    /// Paths of new packages that others of them have, by the names of their lists.
    pub(super) lost: BTreeMap<String, BTreeSet<String>>,
    /// Paths that packages of the base have lost to others, by the names of their lists.
    pub(super) disowned: BTreeMap<String, BTreeSet<TreePath>>,
    /// Conffiles that new versions do not ship and that are still there, with their MD5, by the names of lists.
    pub(super) obsolete: Obsolete,
    /// Names of the lists of versions that were replaced.
    pub(super) replaced: BTreeSet<String>,
    pub(super) diversions: Diversions,
    /// What the base's dpkg had.
    pub(super) files: BaseFiles,
}

/// Installs packages over what is there. `installed` is what the base's dpkg says.
pub fn install(mut root: Root, debs: &[Deb], installed: &Installed, keep: &Keep) -> Result<Installation> {
    let mut debs: Vec<&Deb> = debs.iter().collect();
    // base-files decides on the folders that others ship too, as in a system that grew.
    let key =
        |deb: &Deb| (deb.package.name != "base-files", deb.package.name.clone(), deb.package.architecture.clone());
    debs.sort_by_cached_key(|deb| key(deb));
    let upgrades = debs.iter().any(|deb| predecessor(&deb.package, installed).is_some());
    let files = BaseFiles::read(&root, &debs, upgrades)?;
    let diversions = Diversions::of(&files.text(DIVERSIONS), &debs)?;
    let packages: Vec<Selected> = debs.iter().map(|deb| select(deb, keep)).collect();
    debs.iter().for_each(|deb| root.know(&deb.libraries));
    let mut installer = Installer {
        prefilled: root.tree().iter().map(|(path, _)| path.clone()).collect(),
        root,
        parents: BTreeMap::new(),
        packages: &packages,
        installed,
        diversions,
        lists: upgrades.then(|| Arc::new(BaseLists::of_base(&files))),
        files,
        owned: BTreeMap::new(),
        lost: BTreeMap::new(),
        disowned: BTreeMap::new(),
    };
    installer.own();
    installer.divert()?;
    installer.links()?;
    installer.folders()?;
    let claims = installer.claims();
    let winners = installer.resolve(&claims)?;
    let privileged = installer.files(&winners);
    let obsolete = installer.remove_old(&claims)?;
    let left_out = packages.iter().map(|package| package.left_out).sum();
    Ok(installer.finish(left_out, privileged, obsolete))
}

/// A file, a link or another name of a file that a package wants at a path: which package, which of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    package: usize,
    entry: usize,
}

/// All claims, by their real paths.
pub(super) type Claims = BTreeMap<TreePath, Vec<Claim>>;

pub(super) struct Installer<'a> {
    pub root: Root,
    /// What was in the layer before.
    prefilled: BTreeSet<TreePath>,
    /// The real places of folders, once all links are there.
    parents: BTreeMap<Option<TreePath>, Option<TreePath>>,
    pub packages: &'a [Selected<'a>],
    pub installed: &'a Installed,
    pub diversions: Diversions,
    /// Read when they are needed for the first time.
    pub lists: Option<Arc<BaseLists>>,
    pub files: BaseFiles,
    owned: BTreeMap<String, BTreeSet<String>>,
    lost: BTreeMap<String, BTreeSet<String>>,
    disowned: BTreeMap<String, BTreeSet<TreePath>>,
}

impl<'a> Installer<'a> {
    fn at(&self, claim: Claim) -> Option<(&'a Deb, &'a TreePath, &'a Entry)> {
        let package = self.packages.get(claim.package)?;
        let (path, entry) = package.entries.get(claim.entry)?;
        Some((package.deb, path, entry))
    }

    /// Entries of all packages: shallow paths first, then by path, then in the packages' order.
    fn sorted(&self, wanted: fn(&Kind) -> bool) -> Vec<(&'a Deb, &'a TreePath, &'a Entry)> {
        let all = self.packages.iter().flat_map(|package| {
            package
                .entries
                .iter()
                .filter(|(_, entry)| wanted(&entry.kind))
                .map(|(path, entry)| (package.deb, *path, *entry))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, path, _)| (path.as_str().matches('/').count(), path.as_str()));
        all
    }

    fn own(&mut self) {
        for package in self.packages {
            let paths = package.entries.iter().map(|(path, _)| format!("/{path}"));
            let paths = paths.chain(["/.".to_string()]).collect();
            self.owned.insert(info_name(&package.deb.package), paths);
        }
    }

    /// What new diversions move of the base.
    fn divert(&mut self) -> Result<()> {
        for one in self.diversions.added().to_vec() {
            let found = self.root.below().lookup(&self.root.place(&one.from));
            let diverter = self.installed.named(&one.package);
            let (Some(found), true, true) = (found, one.rename, diverter.is_empty()) else { continue };
            let input = "moved by a diversion".into();
            let kind = match found.kind {
                BaseKind::Symlink(target) => Kind::Symlink(target),
                BaseKind::File => {
                    let bytes = self.root.read(one.from.as_str(), MOVED_LIMIT)?.unwrap_or_default();
                    Kind::File(Content::from(bytes))
                }
                BaseKind::Directory | BaseKind::Special => continue,
            };
            let entry = Entry { kind, mode: found.mode, uid: found.uid, gid: found.gid, input };
            self.root.remove(&one.from);
            self.root.replace(&one.to, entry);
        }
        Ok(())
    }

    /// Puts all links in their places, for now whoever owns them.
    fn links(&mut self) -> Result<()> {
        for (deb, path, entry) in self.sorted(|kind| matches!(kind, Kind::Symlink(_))) {
            let Kind::Symlink(target) = &entry.kind else { continue };
            let place = self.root.place(self.diversions.apply(path, &deb.package.name));
            match self.root.entry(&place).map(|found| found.kind) {
                // dpkg leaves folders that are there.
                Some(BaseKind::Directory) => {}
                Some(BaseKind::Symlink(there)) if same_target(&place, &there, target) => {}
                Some(_) if self.prefilled.contains(&place) => return Err(self.prefilled(&place, &deb.package)),
                Some(_) if self.root.own(&place).is_some() => {}
                Some(BaseKind::Symlink(_)) if self.leads(&place) => return Err(self.hides_link(&place, &deb.package)),
                _ => {
                    self.root.replace(&place, entry.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether this is a link of the base to a folder, at the top: `/lib` is not to lead elsewhere, or nowhere.
    fn leads(&self, place: &TreePath) -> bool {
        let below = self.root.below();
        let link = below.lookup(place).is_some_and(|found| matches!(found.kind, BaseKind::Symlink(_)));
        let real = below.entry(place).is_some_and(|real| real.kind == BaseKind::Directory);
        place.parent().is_none() && link && real
    }

    fn hides_link(&self, place: &TreePath, package: &Package) -> crate::error::Error {
        let (path, second) = (place.to_string(), "the base".to_string());
        InstallError::Collision { path, first: who(package), second }.into()
    }

    /// Makes all folders. One that is there stays as it is, as with dpkg; so does a link to a folder.
    fn folders(&mut self) -> Result<()> {
        let mut through: BTreeMap<TreePath, &Deb> = BTreeMap::new();
        for (deb, path, entry) in self.sorted(|kind| matches!(kind, Kind::Directory)) {
            let place = self.place(path);
            match self.root.entry(&place).map(|found| found.kind) {
                None => {
                    self.root.replace(&place, entry.clone());
                }
                Some(BaseKind::Directory) => {
                    if self.root.own(&place).is_none() && self.root.below().lookup(&place).is_none() {
                        self.root.replace(&place, entry.clone());
                    }
                }
                Some(BaseKind::Symlink(_)) => drop(through.entry(place).or_insert(deb)),
                Some(_) if self.owned_by(&place, &deb.package)? => {
                    self.root.replace(&place, entry.clone());
                }
                Some(_) => return Err(self.no_folder(&place, &deb.package, "a file")),
            }
        }
        for (place, deb) in through {
            let real = self.root.resolve(place.as_str()).and_then(|real| self.root.entry(&real));
            if !real.is_some_and(|real| real.kind == BaseKind::Directory) {
                return Err(self.no_folder(&place, &deb.package, "a link to no folder"));
            }
        }
        Ok(())
    }

    fn no_folder(&self, place: &TreePath, package: &Package, what: &str) -> crate::error::Error {
        let of = self.root.own(place).map_or_else(|| "the base".to_string(), |entry| entry.input.to_string());
        InstallError::Folder { path: place.to_string(), folder: who(package), other: format!("{what} of {of}") }.into()
    }

    fn prefilled(&self, place: &TreePath, package: &Package) -> crate::error::Error {
        let first = self.root.own(place).map_or_else(String::new, |entry| entry.input.to_string());
        InstallError::Collision { path: place.to_string(), first, second: who(package) }.into()
    }

    /// [`Root::place`], from here on with a memory: all links are in place.
    pub fn place(&mut self, path: &TreePath) -> TreePath {
        let parent = path.parent();
        if let Some(real) = self.parents.get(&parent) {
            let found = match real {
                Some(real) => real.join(path.name()),
                None => TreePath::new(path.name()),
            };
            return found.unwrap_or_else(|_| path.clone());
        }
        let place = self.root.place(path);
        self.parents.insert(parent, place.parent());
        place
    }

    /// Who wants a file, a link or another name of a file where.
    fn claims(&mut self) -> Claims {
        let mut claims = Claims::new();
        for (number, package) in self.packages.iter().enumerate() {
            for (entry, (path, found)) in package.entries.iter().enumerate() {
                if !matches!(found.kind, Kind::Directory) {
                    let path = self.diversions.apply(path, &package.deb.package.name).clone();
                    claims.entry(self.place(&path)).or_default().push(Claim { package: number, entry });
                }
            }
        }
        claims
    }

    /// Who gets each path; a path of the base that stays as it is is not among them.
    fn resolve(&mut self, claims: &Claims) -> Result<BTreeMap<TreePath, Claim>> {
        let below = self.root.below().clone();
        let over: BTreeSet<TreePath> = claims
            .keys()
            .filter(|path| below.lookup(path).is_some_and(|found| found.kind != BaseKind::Directory))
            .cloned()
            .collect();
        let owners = self.owners(&over)?;
        let kept = self.kept_conffiles(claims)?;
        let mut winners = BTreeMap::new();
        for (path, wanted) in claims {
            let Some(winner) = self.choose(path, wanted)? else { continue };
            let Some((deb, _, entry)) = self.at(winner) else { continue };
            let is_link = matches!(entry.kind, Kind::Symlink(_));
            let there = self.root.entry(path).map(|found| found.kind);
            match there {
                Some(BaseKind::Directory) if is_link => continue,
                Some(BaseKind::Directory) => {
                    let own = self.root.own(path).map(|folder| folder.input.to_string());
                    let folder = own.unwrap_or_else(|| "the base".into());
                    let other = format!("a file of {}", who(&deb.package));
                    return Err(InstallError::Folder { path: path.to_string(), folder, other }.into());
                }
                _ if !is_link && self.leads(path) => return Err(self.hides_link(path, &deb.package)),
                _ if self.prefilled.contains(path) => match (there, &entry.kind) {
                    (Some(BaseKind::Symlink(there)), Kind::Symlink(target)) if same_target(path, &there, target) => {
                        continue;
                    }
                    _ => return Err(self.prefilled(path, &deb.package)),
                },
                _ => {}
            }
            let shared = self.over_base(path, deb, owners.get(path).map(Vec::as_slice).unwrap_or_default())?;
            if !shared && !kept.contains(path) {
                winners.insert(path.clone(), winner);
            }
        }
        Ok(winners)
    }

    /// The claim that holds among those of several packages; the others lose the path.
    fn choose(&mut self, path: &TreePath, claims: &[Claim]) -> Result<Option<Claim>> {
        if let [only] = claims {
            return Ok(Some(*only));
        }
        let beats = |first: Claim, second: Claim| {
            let (Some((deb, _, entry)), Some((other, _, loser))) = (self.at(first), self.at(second)) else {
                return false;
            };
            if first.package == second.package {
                // One file under the two names of a merged folder.
                let link = matches!(loser.kind, Kind::Symlink(_)) && !matches!(entry.kind, Kind::Symlink(_));
                return first == second || link || same_content(entry, loser);
            }
            replaces(&deb.package, &other.package) || shares(deb, entry, other, loser)
        };
        let winner = claims.iter().copied().find(|one| claims.iter().all(|other| beats(*one, *other)));
        let Some(winner) = winner else { return Err(self.collision(path, claims)) };
        let lost: Vec<(String, String)> = claims
            .iter()
            .filter_map(|claim| {
                let (deb, path, entry) = self.at(*claim)?;
                let (first, _, own) = self.at(winner)?;
                let lost = claim.package != winner.package && !shares(first, own, deb, entry);
                lost.then(|| (info_name(&deb.package), format!("/{path}")))
            })
            .collect();
        for (name, path) in lost {
            self.owned.entry(name.clone()).or_default().remove(&path);
            self.lost.entry(name).or_default().insert(path);
        }
        Ok(Some(winner))
    }

    fn collision(&self, path: &TreePath, claims: &[Claim]) -> crate::error::Error {
        let mut names = claims.iter().filter_map(|claim| self.at(*claim)).map(|(deb, _, _)| who(&deb.package));
        let (first, second) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        InstallError::Collision { path: path.to_string(), first, second }.into()
    }

    /// Whether a file of the base may be overwritten; `true` if it is shared with the base and stays.
    fn over_base(&mut self, path: &TreePath, deb: &Deb, owners: &[(String, TreePath)]) -> Result<bool> {
        let mut shared = false;
        for (list, listed) in owners {
            let (name, architecture) = list.split_once(':').unwrap_or((list, ""));
            let package = &deb.package;
            let old = self.installed.named(name);
            let old = old.iter().find(|one| architecture.is_empty() || one.package.architecture == architecture);
            let in_new = self.packages.iter().any(|one| {
                let new = &one.deb.package;
                new.name == name
                    && (architecture.is_empty() || info_name(new) == *list || new.multi_arch != MultiArch::Same)
            });
            // Its own old version, or one that is replaced at the same time and does not want it any more.
            if in_new {
                continue;
            }
            match old {
                Some(old) if old.package.name == package.name && old.package.version == package.version => {
                    shared = true
                }
                Some(old) if replaces(package, &old.package) => {
                    self.disowned.entry(list.clone()).or_default().insert(listed.clone());
                }
                // A list without a package: it was removed, and its conffiles stayed.
                None => {}
                Some(_) => {
                    let second = format!("package `{name}` of the base");
                    return Err(InstallError::Collision { path: path.to_string(), first: who(package), second }.into());
                }
            }
        }
        Ok(shared)
    }

    /// Puts the winners in their places; returns the privileged ones.
    fn files(&mut self, winners: &BTreeMap<TreePath, Claim>) -> Vec<(TreePath, u32, String)> {
        // All names of one file, by the package and the name that its bytes have there.
        let mut names: BTreeMap<(usize, &TreePath), &TreePath> = BTreeMap::new();
        let mut privileged = Vec::new();
        let below = self.root.below().clone();
        for (place, claim) in winners {
            let Some((deb, path, entry)) = self.at(*claim) else { continue };
            let mut entry = entry.clone();
            let first = match &entry.kind {
                Kind::Hardlink(first) => self.named(claim.package, first),
                Kind::File(_) => Some((path, entry.clone())),
                _ => None,
            };
            if let Some((first, whole)) = first {
                // The first name in the image's order is the file, the others are links to it.
                match names.get(&(claim.package, first)) {
                    Some(placed) => entry.kind = Kind::Hardlink((*placed).clone()),
                    None => {
                        names.insert((claim.package, first), place);
                        entry = whole;
                    }
                }
                if entry.mode & 0o6000 != 0 {
                    privileged.push((place.clone(), entry.mode, deb.package.name.clone()));
                }
            }
            let unchanged = match (&entry.kind, below.lookup(place).map(|found| found.kind)) {
                (Kind::Symlink(target), Some(BaseKind::Symlink(there))) => same_target(place, &there, target),
                _ => false,
            };
            if !unchanged {
                self.root.replace(place, entry);
            }
        }
        privileged
    }

    /// The entry of a package that has a file's bytes, whether it is left out or not.
    fn named(&self, package: usize, path: &TreePath) -> Option<(&'a TreePath, Entry)> {
        let entries = &self.packages.get(package)?.deb.entries;
        let at = entries.binary_search_by(|(other, _)| other.cmp(path)).ok()?;
        entries.get(at).map(|(path, entry)| (path, entry.clone()))
    }

    fn finish(mut self, left_out: u64, privileged: Vec<(TreePath, u32, String)>, obsolete: Obsolete) -> Installation {
        for (name, paths) in &obsolete {
            self.owned.entry(name.clone()).or_default().extend(paths.keys().map(|path| format!("/{path}")));
        }
        let replaced = self.replaced();
        let Installer { root, owned, lost, disowned, diversions, files, .. } = self;
        Installation { root, owned, left_out, privileged, lost, disowned, obsolete, replaced, diversions, files }
    }
}

/// Whether two targets of a link at the same place are the same; at the top, `/usr/lib` is `usr/lib`.
fn same_target(place: &TreePath, first: &str, second: &str) -> bool {
    let trim = |target: &str| {
        if place.as_str().contains('/') { target.to_string() } else { target.trim_matches('/').to_string() }
    };
    trim(first) == trim(second)
}

/// Whether the first package may overwrite files of the second (deb-control(5) "Replaces").
fn replaces(package: &Package, other: &Package) -> bool {
    let relations = package.replaces.iter().flatten();
    relations.filter(|one| one.name == other.name).any(|one| one.fits(Some(&other.version)))
}

/// Whether one package for several architectures brings the same file with each.
fn shares(first: &Deb, entry: &Entry, second: &Deb, other: &Entry) -> bool {
    let (a, b) = (&first.package, &second.package);
    a.name == b.name && a.multi_arch == MultiArch::Same && b.multi_arch == MultiArch::Same && same_content(entry, other)
}

fn same_content(entry: &Entry, other: &Entry) -> bool {
    match (&entry.kind, &other.kind) {
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        (Kind::Hardlink(a), Kind::Hardlink(b)) => a == b,
        (Kind::File(Content::Packed(a)), Kind::File(Content::Packed(b))) => (a.size, a.crc32) == (b.size, b.crc32),
        (Kind::File(a), Kind::File(b)) => a.size() == 0 && b.size() == 0,
        _ => false,
    }
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
