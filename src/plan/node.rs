//! The packages of a Node application: what they are made for, which of the lock, and the layer that they become.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Base, ahead};
use crate::debian::{self, Installed};
use crate::error::{During, Result};
use crate::image::Access;
use crate::layer::{BaseKind, TreePath};
use crate::net::Http;
use crate::node::{
    self, Lock, Manifest, ModulesLayer, ModulesSpec, NodeTarget, Package, Registries, Selection, Tarball,
};
use crate::oci::Platform;
use crate::project::{NodeSpec, Variant};

/// Where a base has Node, in the order of the default PATH.
const INTERPRETERS: [&str; 2] = ["usr/local/bin/node", "usr/bin/node"];

/// How long who has nothing to do waits before he looks whether there is work for him.
const PAUSE: Duration = Duration::from_millis(1);

/// The packages of an image, planned.
pub struct Modules {
    /// Their layer.
    pub layer: Arc<ModulesLayer>,
    /// What they are made for.
    pub target: NodeTarget,
    /// Packages of the lock that are for other platforms: "name@version".
    pub other_platforms: Vec<String>,
    /// Packages that are for other versions of Node: "name@version", and what it wants.
    pub other_nodes: Vec<(String, String)>,
}

impl Modules {
    /// Packages whose install scripts were not run: "name@version".
    pub fn scripts(&self) -> Vec<String> {
        self.layer.spec().scripts()
    }

    /// Whether packages have programs.
    pub fn has_programs(&self) -> bool {
        self.layer.spec().has_programs()
    }
}

/// The lock, which is that of the package.json beside it.
fn lock(spec: &NodeSpec) -> Result<Lock> {
    let file = &spec.lock.value;
    let lock = Lock::read(file).during(|| format!("reading `{}`", file.display()))?;
    let package = spec.package.value.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let manifest = Manifest::read(&spec.package.value)?;
    manifest.agrees(&package, &lock)?;
    node::fits(&lock, &manifest, &package)?;
    Ok(lock)
}

fn fetch(packages: &[Package], place: &str, folder: &Path, access: &Access) -> Result<Vec<Option<Tarball>>> {
    let registries = || Registries::of_this_machine(folder);
    let http = || Ok(Http::new()?);
    node::fetch(packages, place, &registries, &http, &access.store, &access.progress)
}

/// Packages on their way, begun before it is known for certain which they are: a base has to be opened to know its C
/// library and its Node, and both decide about few packages. If it turns out otherwise, all are chosen anew, and what was
/// fetched is in the store: bytes do not depend on what was begun.
pub(super) struct Ahead {
    packages: Vec<Package>,
    way: JoinHandle<Result<Vec<Option<Tarball>>>>,
}

impl Ahead {
    /// Begins; `None` if nothing can be begun. What is wrong with the lock is told when its turn comes.
    pub(super) fn begin(spec: &NodeSpec, variant: &Variant, platform: &Platform, access: &Access) -> Option<Ahead> {
        let lock = lock(spec).ok()?;
        let target = NodeTarget::new(platform, ahead::expected_libc(variant), None);
        let packages = node::select(&lock, &target).ok()?.packages;
        let (wanted, access, file) = (packages.clone(), access.clone(), spec.lock.value.clone());
        let work = move || {
            let stage = access.progress.stage("fetch packages of Node");
            let fetched = fetch(&wanted, &lock.place, file.parent().unwrap_or(Path::new(".")), &access);
            drop(stage);
            fetched
        };
        let way = thread::Builder::new().name("ingot-packages".into()).spawn(work).ok()?;
        Some(Ahead { packages, way })
    }

    /// The tarballs, in the order of the packages.
    fn end(self) -> Result<Vec<Option<Tarball>>> {
        while !self.way.is_finished() {
            // A thread of the pool helps meanwhile: it may be the only one.
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                thread::sleep(PAUSE);
            }
        }
        self.way.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Plans the packages of one image: they are chosen for its base and fetched into the store.
pub(super) fn modules(
    spec: &NodeSpec,
    variant: &Variant,
    base: &Base,
    platform: &Platform,
    access: &Access,
    ahead: Option<Ahead>,
) -> Result<Modules> {
    let interpreter = interpreter(spec, base)?;
    let file = &spec.lock.value;
    let lock = lock(spec)?;
    let target = NodeTarget::new(platform, base.facts.libc, version(base, &interpreter, platform)?);
    let mut selection = node::select(&lock, &target)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    for link in &selection.links {
        let place = format!("{}/package.json", link.target);
        let Some(locked) = lock.entries.get(&link.target) else { continue };
        Manifest::read(&folder.join(&place))?.agrees_with(&place, &locked.dependencies, &lock, &link.target)?;
    }
    workspaces(spec, variant, folder, &mut selection)?;
    let tarballs = match ahead.filter(|ahead| ahead.packages == selection.packages) {
        Some(ahead) => ahead.end()?,
        // What was fetched for nothing is in the store.
        None => fetch(&selection.packages, &lock.place, folder, access)?,
    };
    let other_platforms = std::mem::take(&mut selection.other_platforms);
    let other_nodes = std::mem::take(&mut selection.other_nodes);
    let root = TreePath::new(&spec.modules.value)?.parent();
    let layer = Arc::new(ModulesLayer::new(ModulesSpec::new(root, selection, tarballs)));
    Ok(Modules { layer, target, other_platforms, other_nodes })
}

/// Where Node is; an error at `[node]` if there is none to run the application.
fn interpreter(spec: &NodeSpec, base: &Base) -> Result<TreePath> {
    let path = base.config.env_var("PATH").unwrap_or_default();
    let folders = path.split(':').filter_map(|folder| folder.strip_prefix('/')).map(|folder| format!("{folder}/node"));
    let mut places = folders.chain(INTERPRETERS.map(str::to_string)).filter_map(|path| TreePath::new(&path).ok());
    let is_file = |path: &TreePath| base.rootfs.entry(path).is_some_and(|entry| entry.kind == BaseKind::File);
    if let Some(path) = places.find(is_file) {
        return Ok(path);
    }
    let hint = match base.facts.dpkg {
        true => "add it to the packages: `[os]` with `packages = [\"nodejs\"]`, or choose a base that has it",
        false => {
            "choose a base that has it, or one of Debian's or Ubuntu's packages with `nodejs` among `[os] packages`"
        }
    };
    Err(spec.at.error(format!("base `{}` has no `node`", base.name), Some(hint.into())))
}

/// Which Node it is, if that can be told without running it: its package says so, or, where it came without one, the
/// variable that Node's own images have.
fn version(base: &Base, interpreter: &TreePath, platform: &Platform) -> Result<Option<node::Version>> {
    if !interpreter.as_str().starts_with("usr/bin/") {
        return Ok(base.config.env_var("NODE_VERSION").and_then(|text| node::Version::of_release(&text)));
    }
    let Some(architecture) = debian::architecture(platform).filter(|_| base.facts.dpkg) else { return Ok(None) };
    let installed = Installed::of(&base.rootfs)?;
    // Behind an epoch, if there is one.
    let text = installed.version("nodejs", architecture).map(ToString::to_string);
    Ok(text.and_then(|text| node::Version::of_release(text.split_once(':').map_or(text.as_str(), |(_, rest)| rest))))
}

/// Links to folders of the project are good where the application has those folders in the same places.
fn workspaces(spec: &NodeSpec, variant: &Variant, folder: &Path, selection: &mut Selection) -> Result<()> {
    let Some(first) = selection.links.first() else { return Ok(()) };
    let target = variant.app.as_ref().map(|app| format!("{}/node_modules", app.target.value.trim_end_matches('/')));
    let same = variant.app.as_ref().is_some_and(|app| components(&app.source.value).eq(components(folder)));
    if !same || target.as_deref() != Some(spec.modules.value.as_str()) {
        let message = format!("`{}` is a workspace of the project, and would not be in the image", first.target);
        let hint = "`app.source` must be the folder of the lock, and `modules` be `node_modules` in `app.target`";
        return Err(spec.lock.at.error(message, Some(hint.into())));
    }
    for link in &mut selection.links {
        let own = folder.join(&link.target);
        // As npm does: what is not there gets no link.
        link.bins.retain(|_, program| own.join(program).is_file());
    }
    Ok(())
}

/// A path without `.`.
fn components(path: &Path) -> impl Iterator<Item = std::path::Component<'_>> {
    path.components().filter(|part| *part != std::path::Component::CurDir)
}
