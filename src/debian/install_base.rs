//! What the base's own dpkg database says of its files: who owns them, and which conffiles were shipped with what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Deb, Installed, InstalledPackage, MultiArch, Package, Paragraph, Root};
use crate::error::Result;
use crate::layer::TreePath;

/// dpkg's folder.
pub(super) const FOLDER: &str = "var/lib/dpkg";
/// Which packages wait for which triggers: one file for each trigger, and `File` for paths.
pub(super) const TRIGGERS: &str = "var/lib/dpkg/triggers";
/// Where dpkg keeps lists and scripts.
pub(super) const INFO: &str = "var/lib/dpkg/info";
/// One file for each package, in images without dpkg.
pub(super) const STATUS_FOLDER: &str = "var/lib/dpkg/status.d";
/// Where the path begins in a line of md5sums: behind 32 digits and two spaces.
pub(super) const MD5_COLUMN: usize = 34;
/// The longest file of the base that is looked into, in bytes.
const BASE_FILE_LIMIT: u64 = 256 << 20;

/// The name of a package's files in dpkg's folder: with its architecture if several may be there.
pub(super) fn info_name(package: &Package) -> String {
    match package.multi_arch {
        MultiArch::Same => format!("{}:{}", package.name, package.architecture),
        _ => package.name.clone(),
    }
}

/// `package `a` 1.0`, for messages.
pub(super) fn who(package: &Package) -> String {
    format!("package `{}` {}", package.name, package.version)
}

/// The package of `installed` that this one takes the place of.
pub(super) fn predecessor<'a>(package: &Package, installed: &'a Installed) -> Option<&'a InstalledPackage> {
    let same = |one: &&InstalledPackage| {
        let old = &one.package;
        old.architecture == package.architecture
            || (old.multi_arch != MultiArch::Same && package.multi_arch != MultiArch::Same)
            || old.architecture == "all"
            || package.architecture == "all"
    };
    installed.named(&package.name).iter().find(same)
}

/// Files of the base that are looked into, fetched at once: each fetch reads whole layers.
#[derive(Debug, Default)]
pub(super) struct BaseFiles(BTreeMap<TreePath, Vec<u8>>);

impl BaseFiles {
    /// dpkg's database, and the conffiles of these packages as the base has them; the lists of packages only if they
    /// are wanted, because every package has left one in its layer.
    pub fn read(root: &Root, debs: &[&Deb], lists: bool) -> Result<BaseFiles> {
        let base = root.below();
        let dpkg = base.list(&TreePath::new(FOLDER)?).into_iter().map(|(path, _)| path);
        let needed = |path: &TreePath| match path.parent() {
            Some(folder) if folder.as_str() == INFO => lists && path.as_str().ends_with(".list"),
            Some(folder) if folder.as_str() == FOLDER => ["status", "diversions"].contains(&path.name()),
            Some(folder) => [TRIGGERS, STATUS_FOLDER].contains(&folder.as_str()),
            None => false,
        };
        let conffiles = debs.iter().flat_map(|deb| &deb.conffiles).filter_map(|path| TreePath::new(path).ok());
        let conffiles = conffiles.map(|path| root.place(&path));
        let all: BTreeSet<TreePath> = dpkg.filter(needed).chain(conffiles).collect();
        let all: Vec<TreePath> = all.into_iter().collect();
        Ok(BaseFiles(base.read_many(&all, BASE_FILE_LIMIT)?))
    }

    /// Adds the lists.
    pub fn add_lists(&mut self, root: &Root) -> Result<()> {
        self.0.extend(BaseFiles::read(root, &[], true)?.0);
        Ok(())
    }

    /// The bytes of a file, if it is one of these.
    pub fn get(&self, path: &TreePath) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// The text of a file of dpkg's; empty if there is none.
    pub fn text(&self, path: &str) -> String {
        self.0.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// Names and texts of the files in one folder.
    pub fn folder(&self, folder: &str) -> impl Iterator<Item = (&str, String)> {
        let inside = move |path: &TreePath| path.parent().is_some_and(|parent| parent.as_str() == folder);
        let found = self.0.iter().filter(move |(path, _)| inside(path));
        found.map(|(path, bytes)| (path.name(), String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// The lists of the base's packages, by the names of their files.
#[derive(Debug, Default)]
pub(super) struct BaseLists {
    lists: BTreeMap<String, Vec<TreePath>>,
}

impl BaseLists {
    /// Of the base's database.
    pub fn of_base(files: &BaseFiles) -> BaseLists {
        // Images without dpkg have no lists, but sums of the files; the names of these may be the packages' in another
        // writing.
        let package = |path: &TreePath, name: &str| {
            let description = path.parent().and_then(|folder| files.get(&folder.join(name).ok()?));
            let description = description.map(|bytes| Paragraph::parse(&String::from_utf8_lossy(bytes)));
            description.and_then(|found| found.get("Package").map(str::to_string)).unwrap_or_else(|| name.to_string())
        };
        let mut lists: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
        for (path, bytes) in &files.0 {
            let text = String::from_utf8_lossy(bytes);
            let (sums, list) = (path.name().strip_suffix(".md5sums"), path.name().strip_suffix(".list"));
            let (name, listed): (_, Vec<&str>) = match (sums, list) {
                _ if !path.as_str().starts_with(FOLDER) => continue,
                (Some(name), _) => {
                    (package(path, name), text.lines().filter_map(|line| line.get(MD5_COLUMN..)).collect())
                }
                (None, Some(name)) => (name.to_string(), text.lines().collect()),
                _ => continue,
            };
            // What no image can have is not there either.
            let listed = listed.into_iter().filter_map(|path| TreePath::new(path).ok());
            lists.entry(name).or_default().extend(listed);
        }
        BaseLists { lists }
    }

    /// Names of files and the paths in them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[TreePath])> {
        self.lists.iter().map(|(name, paths)| (name.as_str(), paths.as_slice()))
    }

    /// The list of an installed package.
    pub fn of(&self, package: &Package) -> Option<(&str, &[TreePath])> {
        let qualified = format!("{}:{}", package.name, package.architecture);
        let found = [info_name(package), package.name.clone(), qualified];
        let (name, paths) = found.iter().find_map(|name| self.lists.get_key_value(name))?;
        Some((name.as_str(), paths.as_slice()))
    }
}

/// The conffiles of an installed package and the MD5 of what was shipped; without those that are obsolete already.
pub(super) fn recorded_conffiles(old: &InstalledPackage) -> BTreeMap<TreePath, String> {
    let paragraph = Paragraph::parse(&old.text);
    let lines = paragraph.get("Conffiles").unwrap_or_default().lines();
    lines
        .filter_map(|line| {
            let mut words = line.trim().rsplitn(2, ' ');
            let (md5, path) = (words.next()?, words.next()?);
            (md5 != "obsolete" && md5 != "remove-on-upgrade").then_some(())?;
            Some((TreePath::new(path).ok()?, md5.to_string()))
        })
        .collect()
}

/// The paths of a package's conffiles.
pub(super) fn conffiles(deb: &Deb) -> BTreeSet<&str> {
    deb.conffiles.iter().map(|path| path.trim_start_matches('/')).collect()
}

/// The MD5 of a file as dpkg writes it.
pub(super) fn md5(bytes: &[u8]) -> String {
    use md5::Digest;
    hex::encode(md5::Md5::digest(bytes))
}
