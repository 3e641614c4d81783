//! What the scripts of packages would do, done without running any: accounts, links, caches, bundles.
//!
//! ```text
//! unpacked packages -> accounts -> base files, time zone, tmpfiles -> alternatives, certificates -> libraries -> what is left
//! ```
//! Each topic has its file, and each is compared with the real tool (`tests/it/ldconfig.rs`). What nobody did is
//! listed in [`Configured::not_run`], with the reason why it could matter.

mod accounts;
mod alternatives;
mod base_files;
mod budget;
mod certificates;
mod commands;
mod curated;
mod expand;
mod files;
mod ldcache;
mod ldcache_file;
mod reader;
mod scripts;
mod shell;
mod shell_words;
mod site;
mod subject_hash;
mod syntax;
mod sysusers;
mod tmpfiles;
mod users;

use std::collections::BTreeMap;

use self::accounts::Accounts;
pub(crate) use self::ldcache_file::Cache as LibraryCache;
use self::site::Site;
use super::Root;
use crate::error::Result;
use crate::layer::TreePath;

/// Who put things into the root that no package has.
const INPUT: &str = "the configuration of packages";

/// What the configuration needs to know of one package that was unpacked into the root.
#[derive(Clone, Copy, Debug)]
pub struct Scripts<'a> {
    /// Its name.
    pub package: &'a str,
    /// The version that was unpacked.
    pub version: &'a str,
    /// Its maintainer scripts by name: preinst, postinst, prerm, postrm, config.
    pub scripts: &'a BTreeMap<String, String>,
    /// Its `triggers` file.
    pub triggers: Option<&'a str>,
    /// The version that it replaces.
    pub upgraded_from: Option<&'a str>,
}

/// A script that was not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotRun {
    /// Whose script.
    pub package: String,
    /// Which: "postinst".
    pub script: String,
    /// Why that could matter, in words; `None` if it does not.
    pub matters: Option<String>,
}

/// What the configuration has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// The scripts of which something was left undone.
    pub not_run: Vec<NotRun>,
    /// What was done otherwise than the real tools do it.
    pub notes: Vec<String>,
}

/// How to configure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Debian's name of the architecture: "amd64".
    pub architecture: String,
    /// Nothing is below: the base is made of these packages alone.
    pub fresh: bool,
}

/// Makes the folders and, with a merged /usr, the links that must be there before anything is unpacked.
pub fn prepare_fresh(root: &mut Root, usr_merge: bool, architecture: &str) -> Result<()> {
    base_files::prepare(&mut Site::new(root, INPUT), usr_merge, architecture)
}

/// Does what the packages' scripts would do, in the order of the packages.
pub fn configure(root: &mut Root, packages: &[Scripts<'_>], options: &Options) -> Result<Configured> {
    if !options.fresh {
        remember(root)?;
    }
    let mut site = Site::new(root, INPUT);
    let has = |name: &str| packages.iter().any(|package| package.package == name);
    let new = |name: &str| packages.iter().any(|package| package.package == name && package.upgraded_from.is_none());

    let mut accounts = Accounts::read(&site)?;
    if has("base-passwd") {
        accounts.add_masters(&site)?;
    }
    if new("passwd") {
        accounts.shadow();
    }
    for package in packages.iter().filter(|package| package.upgraded_from.is_none()) {
        base_files::first_installation(&mut site, package)?;
    }
    if has("tzdata") {
        base_files::time_zone(&mut site)?;
    }
    let not_run = scripts::read(&mut site, &mut accounts, packages, &options.architecture)?;
    let strangers = tmpfiles::apply(&mut site, &accounts)?;
    accounts.write(&mut site)?;
    if has("debianutils") || site.root.tree().below(&site.path(base_files::SHELLS)?).next().is_some() {
        base_files::shells(&mut site)?;
    }
    if has("ca-certificates") {
        certificates::update(&mut site)?;
    }
    ldcache::update(&mut site, &options.architecture)?;
    let notes = strangers.into_iter().map(|line| format!("{line} names a user or a group that is not there"));
    Ok(Configured { not_run, notes: notes.collect() })
}

/// Reads what the layers below have of these files at once: one by one, each would cost the reading of a layer.
fn remember(root: &Root) -> Result<()> {
    const FILES: [&str; 14] = [
        "etc/passwd",
        "etc/group",
        "etc/shadow",
        "etc/gshadow",
        "etc/os-release",
        "etc/ld.so.conf",
        "etc/ld.so.cache",
        "etc/shells",
        "etc/ca-certificates.conf",
        "var/lib/shells.state",
        "var/lib/dpkg/statoverride",
        "usr/share/debianutils/shells",
        "usr/share/libc-bin/nsswitch.conf",
        "usr/lib/os-release",
    ];
    const FOLDERS: [&str; 3] = ["etc/ld.so.conf.d", "usr/share/debianutils/shells.d", "var/lib/dpkg/alternatives"];
    const LIMIT: u64 = 1 << 20;
    let below = root.below();
    let mut paths: Vec<TreePath> = FILES.into_iter().map(TreePath::new).collect::<Result<_, _>>()?;
    for folder in FOLDERS {
        paths.extend(below.list(&TreePath::new(folder)?).into_iter().map(|(path, _)| path));
    }
    paths.retain(|path| root.own(path).is_none() && below.size(path).is_some_and(|size| size <= LIMIT));
    below.read_many(&paths, LIMIT).map(drop)
}
