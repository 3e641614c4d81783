//! The layer of `node_modules`: packages in their places, and links to their programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::Error;
use super::bins;
use super::fetch::Tarball;
use super::place::NODE_MODULES;
use super::select::{Link, Package, Selection};
use super::tarball::{self, PackedFile};
use crate::error::{During, Result};
use crate::layer::{Content, Context, Entry, Fingerprint, Kind, LayerSource, LayerTree, TreePath};

/// The name of the layer.
pub const LAYER: &str = "node_modules";
/// The version of everything that decides what packages become in a layer.
const VERSION: u32 = 1;
/// The largest script whose first line is looked at, in bytes.
const SCRIPT_LIMIT: u64 = 64 << 20;

/// A package and its tarball.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// `None` if it is in the tarball of the package that it is in.
    pub tarball: Option<Tarball>,
}

/// What the layer is made of.
#[derive(Clone, Debug)]
pub struct ModulesSpec {
    /// What the places of the lock are below, in the image: `app`. `None` is the root.
    pub root: Option<TreePath>,
    /// Sorted by path.
    pub packages: Vec<Installed>,
    /// Sorted by path.
    pub links: Vec<Link>,
    /// Places of the lock where nothing is unpacked.
    pub left_out: Vec<String>,
}

/// A program, by places of the lock.
struct Program<'a> {
    /// Where its link is.
    place: String,
    /// What the link says; `None` if there can be none.
    link: Option<String>,
    /// The file that is run.
    file: String,
    /// The name of the folder of the package.
    folder: &'a str,
    /// Whether the file is the application's.
    is_workspace: bool,
}

impl ModulesSpec {
    /// Of a selection, and the tarballs of its packages in their order.
    pub fn new(root: Option<TreePath>, selection: Selection, tarballs: Vec<Option<Tarball>>) -> Self {
        let packages = selection.packages.into_iter().zip(tarballs);
        let packages = packages.map(|(package, tarball)| Installed { package, tarball }).collect();
        ModulesSpec { root, packages, links: selection.links, left_out: selection.left_out }
    }

    /// Where a place of the lock is in the image.
    fn at(&self, path: &str) -> Result<TreePath, crate::layer::Error> {
        match &self.root {
            Some(root) => root.join(path),
            None => TreePath::new(path),
        }
    }

    /// Packages of which npm would run a script: "name@version", sorted, each once.
    pub fn scripts(&self) -> Vec<String> {
        let with = self.packages.iter().filter(|installed| installed.package.install_script);
        let names: BTreeSet<String> = with.map(|installed| installed.package.called()).collect();
        names.into_iter().collect()
    }

    /// The programs of all packages. Of several with one name, the first in npm's order gets it.
    fn programs(&self) -> Vec<Program<'_>> {
        let packages = self
            .packages
            .iter()
            .map(|Installed { package, .. }| (false, &package.path, &package.path, &package.folder, &package.bins));
        let links = self.links.iter().map(|link| (true, &link.path, &link.target, &link.folder, &link.bins));
        let mut all: Vec<_> = packages.chain(links).filter(|(.., bins)| !bins.is_empty()).collect();
        let depth = |path: &str| path.matches("node_modules/").count();
        all.sort_by_cached_key(|(link, path, ..)| (*link, depth(path), bins::collation(path)));
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut found = Vec::new();
        for (is_workspace, path, real, folder, programs) in all {
            let Some(modules) = path.strip_suffix(folder.as_str()) else { continue };
            for (name, target) in programs {
                let place = format!("{modules}.bin/{name}");
                if taken.insert(place.clone()) {
                    let (link, file) = (bins::link(path, folder, target), format!("{real}/{target}"));
                    found.push(Program { place, link, file, folder, is_workspace });
                }
            }
        }
        found
    }

    /// The programs that are files of the application: their paths below the folder of the lock.
    pub fn workspace_programs(&self) -> BTreeSet<String> {
        let own = self.programs().into_iter().filter(|program| program.is_workspace && program.link.is_some());
        own.map(|program| program.file).collect()
    }

    /// Whether there are programs in the outermost `.bin`.
    pub fn has_programs(&self) -> bool {
        let outermost = |path: &str, folder: &str| path.strip_suffix(folder) == Some("node_modules/");
        self.packages
            .iter()
            .any(|one| outermost(&one.package.path, &one.package.folder) && !one.package.bins.is_empty())
            || self.links.iter().any(|link| outermost(&link.path, &link.folder) && !link.bins.is_empty())
    }
}

/// The source of layer "node_modules".
pub struct ModulesLayer {
    spec: ModulesSpec,
}

impl ModulesLayer {
    /// Reads nothing yet.
    pub fn new(spec: ModulesSpec) -> Self {
        ModulesLayer { spec }
    }

    /// What it is made of.
    pub fn spec(&self) -> &ModulesSpec {
        &self.spec
    }

    fn add(&self, tree: &mut LayerTree, installed: &Installed, files: BTreeMap<String, PackedFile>) -> Result<()> {
        let Installed { package, .. } = installed;
        let input: Arc<str> = format!("package `{}`", package.called()).into();
        for (path, file) in files {
            let path = format!("{}/{path}", package.path);
            if self.is_anothers(&package.path, &path) {
                continue;
            }
            let at = self
                .spec
                .at(&path)
                .map_err(|error| Error::Tarball { package: package.called(), reason: error.to_string() })?;
            tree.insert(at, Entry::file(file.content, if file.executable { 0o755 } else { 0o644 }, &input))?;
        }
        Ok(())
    }

    /// Whether what a package has at `path` is in the place of another one that the lock has there.
    fn is_anothers(&self, own: &str, path: &str) -> bool {
        let inner = path.get(own.len() + 1..).unwrap_or_default();
        if !inner.starts_with("node_modules/") {
            return false;
        }
        let mut above = path.match_indices('/').filter_map(|(at, _)| path.get(..at)).filter(|at| at.len() > own.len());
        above.any(|place| {
            let unpacked = |installed: &Installed| installed.tarball.is_some();
            let found = self.spec.packages.binary_search_by(|one| one.package.path.as_str().cmp(place)).ok();
            found.and_then(|at| self.spec.packages.get(at)).is_some_and(unpacked)
                || self.spec.links.iter().any(|link| link.path == place)
                || self.spec.left_out.binary_search_by(|one| one.as_str().cmp(place)).is_ok()
        })
    }

    /// What is said to be in the tarball of another package is there.
    fn check_bundled(&self, tree: &LayerTree) -> Result<()> {
        for Installed { package, tarball } in &self.spec.packages {
            if tarball.is_none() && tree.get(&self.spec.at(&format!("{}/package.json", package.path))?).is_none() {
                let around = package.path.strip_suffix(&format!("/{NODE_MODULES}/{}", package.folder));
                let parent = self.spec.packages.iter().find(|one| Some(one.package.path.as_str()) == around);
                return Err(Error::Tarball {
                    package: parent.map_or_else(|| package.called(), |parent| parent.package.called()),
                    reason: format!("the lock says that `{}` is in it, and it is not", package.called()),
                }
                .into());
            }
        }
        Ok(())
    }

    fn link_programs(&self, tree: &mut LayerTree) -> Result<()> {
        for Program { place, link, file, folder, is_workspace } in self.spec.programs() {
            let Some(link) = link else { continue };
            if is_workspace || mend(tree, &self.spec.at(&file)?)? {
                tree.replace(
                    self.spec.at(&place)?,
                    Entry::symlink(link, &format!("the programs of `{folder}`").into()),
                );
            }
        }
        Ok(())
    }
}

/// Makes a file one that can be run; whether there is anything at `path`.
fn mend(tree: &mut LayerTree, path: &TreePath) -> Result<bool> {
    let Some(entry) = tree.get(path) else { return Ok(tree.below(path).next().is_some()) };
    let mut entry = entry.clone();
    if let Kind::File(content) = &entry.kind {
        entry.mode = 0o755;
        if content.size() <= SCRIPT_LIMIT
            && let Some(bytes) = entry.read(path, SCRIPT_LIMIT)?
            && let Some(fixed) = bins::fixed(&bytes)
        {
            entry.kind = Kind::File(Content::from(fixed));
        }
        tree.replace(path.clone(), entry);
    }
    Ok(true)
}

impl LayerSource for ModulesLayer {
    fn name(&self) -> &str {
        LAYER
    }

    fn created_by(&self) -> String {
        let root = self.spec.root.as_ref().map(|root| format!("/{root}")).unwrap_or_default();
        format!("ingot: {} packages in {root}/{NODE_MODULES}", self.spec.packages.len())
    }

    fn fingerprint(&self, _: &Context<'_>) -> Result<Fingerprint> {
        let root = self.spec.root.as_ref().map_or("", TreePath::as_str);
        let mut fingerprint = Fingerprint::new(LAYER, "node", VERSION).field("root", root);
        let programs = |bins: &BTreeMap<String, String>| {
            bins.iter().map(|(name, target)| format!(" {name}={target}")).collect::<String>()
        };
        for Installed { package, tarball } in &self.spec.packages {
            let bytes = tarball.map_or_else(|| "bundled".to_string(), |tarball| tarball.digest.to_string());
            let value = format!("{} {bytes}{}", package.called(), programs(&package.bins));
            fingerprint = fingerprint.field(format!("package {}", package.path), value);
        }
        for link in &self.spec.links {
            let value = format!("{}{}", link.target, programs(&link.bins));
            fingerprint = fingerprint.field(format!("link {}", link.path), value);
        }
        for place in &self.spec.left_out {
            fingerprint = fingerprint.field("left out", place);
        }
        Ok(fingerprint)
    }

    fn cost(&self) -> u64 {
        self.spec.packages.iter().filter_map(|one| one.tarball).map(|tarball| tarball.size).sum()
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let total = tarball::Total::default();
        let unpacked: Vec<Result<BTreeMap<String, PackedFile>>> = self
            .spec
            .packages
            .par_iter()
            .map(|Installed { package, tarball }| match tarball {
                Some(tarball) => tarball::unpack(tarball, &package.called(), context.store, &total)
                    .during(|| format!("unpacking `{}`", package.called())),
                None => Ok(BTreeMap::new()),
            })
            .collect();
        let mut tree = LayerTree::new();
        for (installed, files) in self.spec.packages.iter().zip(unpacked) {
            self.add(&mut tree, installed, files?)?;
        }
        for link in &self.spec.links {
            // Out of the folder of the link, which may be a scope's, and into the workspace's.
            let up = "../".repeat(link.path.matches('/').count());
            let input: Arc<str> = format!("workspace `{}`", link.target).into();
            tree.insert(self.spec.at(&link.path)?, Entry::symlink(format!("{up}{}", link.target), &input))?;
        }
        self.check_bundled(&tree)?;
        self.link_programs(&mut tree)?;
        Ok(tree)
    }
}

#[cfg(test)]
#[path = "modules_tests.rs"]
mod tests;
