//! What the base's own dpkg database says of its files: who owns them, and which conffiles were shipped with what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Deb, Installed, InstalledPackage, MultiArch, Package, Paragraph};
use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::TreePath;

/// Where dpkg keeps lists and scripts.
pub(super) const INFO: &str = "var/lib/dpkg/info";
/// One file for each package, in images without dpkg.
pub(super) const STATUS_FOLDER: &str = "var/lib/dpkg/status.d";
/// Where the path begins in a line of md5sums: behind 32 digits and two spaces.
pub(super) const MD5_COLUMN: usize = 34;
/// The longest list of one package, in bytes.
const LIST_LIMIT: u64 = 64 << 20;

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

/// The lists of the base's packages, by the names of their files.
#[derive(Debug, Default)]
pub(super) struct BaseLists {
    lists: BTreeMap<String, Vec<TreePath>>,
}

impl BaseLists {
    /// Reads all lists at once.
    pub fn read(base: &Rootfs) -> Result<BaseLists> {
        let of = |folder: &str, suffix: &str| -> Result<Vec<TreePath>> {
            let all = base.list(&TreePath::new(folder)?).into_iter().map(|(path, _)| path);
            Ok(all.filter(|path| path.as_str().ends_with(suffix)).collect())
        };
        // Images without dpkg have no lists, but sums of the files; the names of these may be the packages' in another
        // writing.
        let mut paths = of(INFO, ".list")?;
        paths.extend(of(STATUS_FOLDER, "")?);
        let files = base.read_many(&paths, LIST_LIMIT)?;
        let package = |path: &TreePath, name: &str| {
            let description = path.parent().and_then(|folder| files.get(&folder.join(name).ok()?));
            let description = description.map(|bytes| Paragraph::parse(&String::from_utf8_lossy(bytes)));
            description.and_then(|found| found.get("Package").map(str::to_string)).unwrap_or_else(|| name.to_string())
        };
        let mut lists: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
        for (path, bytes) in &files {
            let text = String::from_utf8_lossy(bytes);
            let (name, listed): (_, Vec<&str>) =
                match (path.name().strip_suffix(".md5sums"), path.name().strip_suffix(".list")) {
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
        Ok(BaseLists { lists })
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
