//! The layers of a virtual environment: one for each heavy wheel, one or two for all that remains ([`super::grouping`]).
//!
//! That the wheels of an environment do not collide is found once for each set of wheels and remembered in the store;
//! after that, planning opens none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::bytecode::{BytecodeMode, Compile, ModuleSet, Source};
use super::grouping::{Grouping, Limits, Place, Weight, group};
use super::install::{self, File, Layout};
use super::wheel::{OpenWheel, Wheel};
use super::{Error, Target, marshal};
use crate::error::Result;
use crate::layer::{Bucket, Context, Entry, Fingerprint, LayerSource, LayerTree, Store, TreePath};
use crate::oci::{Digest, Hasher};

/// The version of what decides the tree of a venv layer.
const VENV_VERSION: u32 = 2;
/// The version of what is looked at before wheels are said to fit each other.
const CHECK_VERSION: u32 = 1;

/// What an environment is made of, besides wheels.
#[derive(Clone)]
pub struct VenvSpec {
    /// Where it is in the image.
    pub path: TreePath,
    /// What it is made for.
    pub target: Target,
    /// The interpreter in the image, absolute: "/usr/bin/python3.11".
    pub interpreter: String,
    /// What becomes of modules.
    pub bytecode: BytecodeMode,
    /// Who compiles them; needed unless `bytecode` is `None`.
    pub compiler: Option<Arc<dyn Compile>>,
}

impl VenvSpec {
    fn layout(&self) -> Layout {
        Layout { root: self.path.clone(), python: self.target.python }
    }
}

/// The layers of an environment, in order, and which wheels are in which. `previous` is where the wheels were before.
///
/// All wheels are compared with each other first: the same path in two wheels is an error, unless both mean the same
/// bytes (as namespace packages do).
pub fn venv_layers(
    mut wheels: Vec<Wheel>,
    spec: Arc<VenvSpec>,
    store: &Store,
    previous: Option<&Grouping>,
    limits: Limits,
) -> Result<(Vec<Box<dyn LayerSource>>, Grouping)> {
    if spec.bytecode != BytecodeMode::None && spec.compiler.is_none() {
        let reason = "bytecode is wanted, and there is no compiler for it".to_string();
        return Err(Error::Configuration { place: "python.bytecode".into(), reason }.into());
    }
    wheels.sort_by(|a, b| a.name.cmp(&b.name));
    check(&wheels, &spec, store)?;
    let weight = |wheel: &Wheel| Weight { name: wheel.name.clone(), digest: wheel.digest, size: wheel.size };
    let grouping = group(&wheels.iter().map(weight).collect::<Vec<_>>(), previous, limits);
    let mut layers: Vec<Box<dyn LayerSource>> = Vec::new();
    let (mut shared, mut small) = (Vec::new(), Vec::new());
    for wheel in wheels {
        match grouping.place(&wheel.name) {
            Place::Own => layers.push(own_layer(wheel, spec.clone())),
            Place::Shared => shared.push(wheel),
            Place::Small => small.push(wheel),
        }
    }
    let split = grouping.is_split();
    let layer = |name: &str, place, wheels, scaffold| -> Box<dyn LayerSource> {
        Box::new(VenvLayer { name: name.into(), place, wheels, spec: spec.clone(), scaffold })
    };
    if !split || !shared.is_empty() {
        layers.push(layer("venv", Place::Shared, shared, !split));
    }
    if split {
        layers.push(layer("venv (small)", Place::Small, small, true));
    }
    Ok((layers, grouping))
}

/// The layer of a wheel that has one of its own.
pub fn own_layer(wheel: Wheel, spec: Arc<VenvSpec>) -> Box<dyn LayerSource> {
    let name = format!("venv: {}", wheel.name);
    Box::new(VenvLayer { name, place: Place::Own, wheels: vec![wheel], spec, scaffold: false })
}

/// Verifies a wheel and compiles its modules, so that its layer finds both done: what can begin as soon as the wheel is
/// in the store. It decides nothing, and may be left out.
pub fn prepare(wheel: &Wheel, spec: &VenvSpec, store: &Store) -> Result<()> {
    Installed::new(wheel, spec, store).map(|_| ())
}

/// Whether the wheels fit each other and the environment: looked at once for each set of them.
fn check(wheels: &[Wheel], spec: &VenvSpec, store: &Store) -> Result<()> {
    let own = scaffold(spec)?;
    let mut hasher = Hasher::new();
    for part in [spec.path.as_str(), &spec.target.python.name()] {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    for wheel in wheels {
        let Wheel { name, version, filename, digest, .. } = wheel;
        hasher.update(format!("{digest} {name} {version} {filename}\n").as_bytes());
    }
    let key = format!("fits-v{CHECK_VERSION}-{}", hasher.finish().hex());
    if store.get_entry(Bucket::Index, &key, 16)?.is_some() {
        return Ok(());
    }
    let opened: Vec<Result<OpenWheel>> = wheels.par_iter().map(|wheel| OpenWheel::open(wheel, store)).collect();
    collisions(&opened.into_iter().collect::<Result<Vec<_>>>()?, &own, spec)?;
    store.put_entry(Bucket::Index, &key, b"ok")
}

/// Finds two wheels that write the same path, or one that writes below a file of another.
fn collisions(wheels: &[OpenWheel], own: &[(String, Entry)], spec: &VenvSpec) -> Result<(), Error> {
    let layout = spec.layout();
    let files: Vec<Result<Vec<File>, Error>> = wheels.par_iter().map(|wheel| install::files(wheel, &layout)).collect();
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
    let environment = "the environment itself".to_string();
    let name = |owner: Option<usize>| {
        owner.and_then(|at| wheels.get(at)).map_or(environment.clone(), |wheel| wheel.wheel.input().to_string())
    };
    let mut owners: BTreeMap<&str, (Option<usize>, Option<&File>)> = BTreeMap::new();
    for (below, entry) in own {
        if !matches!(entry.kind, crate::layer::Kind::Directory) {
            owners.insert(below, (None, None));
        }
    }
    for (at, files) in files.iter().enumerate() {
        for file in files {
            if let Some((owner, first)) = owners.insert(&file.below, (Some(at), Some(file)))
                && !first.is_some_and(|first| first.digest == file.digest && first.mode == file.mode)
            {
                let path = format!("{}/{}", spec.path, file.below);
                return Err(Error::SamePath { path, first: name(owner), second: name(Some(at)) });
            }
        }
    }
    for (below, (owner, _)) in &owners {
        for (end, _) in below.match_indices('/') {
            if let Some((above, _)) = owners.get(&below[..end]) {
                let path = format!("{}/{}", spec.path, &below[..end]);
                return Err(Error::SamePath { path, first: name(*above), second: name(*owner) });
            }
        }
    }
    Ok(())
}

/// What makes a folder a virtual environment, by path below its root.
fn scaffold(spec: &VenvSpec) -> Result<Vec<(String, Entry)>, Error> {
    let input: Arc<str> = "the virtual environment".into();
    let python = spec.target.python;
    let (home, _) =
        spec.interpreter.rsplit_once('/').filter(|_| spec.interpreter.starts_with('/')).ok_or_else(|| {
            let reason = "the interpreter of the image is not an absolute path".to_string();
            Error::Configuration { place: "python".into(), reason }
        })?;
    let home = if home.is_empty() { "/" } else { home };
    let configuration = format!(
        "home = {home}\ninclude-system-site-packages = false\nversion = {python}\nexecutable = {}\n",
        spec.interpreter
    );
    let link = |target: &str| Entry::symlink(target, &input);
    let mut entries = vec![
        ("bin".to_string(), Entry::directory(&input)),
        ("bin/python".to_string(), link(&spec.interpreter)),
        ("bin/python3".to_string(), link("python")),
        (format!("bin/{}", python.name()), link("python")),
        ("include".to_string(), Entry::directory(&input)),
        (spec.layout().library(), Entry::directory(&input)),
        ("lib64".to_string(), link("lib")),
        ("pyvenv.cfg".to_string(), Entry::file(configuration.as_str(), 0o644, &input)),
    ];
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// One layer of an environment.
struct VenvLayer {
    name: String,
    place: Place,
    wheels: Vec<Wheel>,
    spec: Arc<VenvSpec>,
    /// Whether it has `pyvenv.cfg` and `bin/python`.
    scaffold: bool,
}

impl LayerSource for VenvLayer {
    fn name(&self) -> &str {
        &self.name
    }

    fn created_by(&self) -> String {
        let venv = &self.spec.path;
        match (&self.wheels[..], self.place) {
            ([one], Place::Own) => format!("ingot venv /{venv}: {} {}", one.name, one.version),
            (wheels, Place::Small) => format!("ingot venv /{venv}: {} wheels, small or new", wheels.len()),
            (wheels, _) => format!("ingot venv /{venv}: {} wheels", wheels.len()),
        }
    }

    fn fingerprint(&self, _: &Context<'_>) -> Result<Fingerprint> {
        let spec = &self.spec;
        // Of the target only what the tree has: markers and tags chose the wheels, which are named here.
        let mut fingerprint = Fingerprint::new(&self.name, "venv", VENV_VERSION)
            .field("venv", &spec.path)
            .field("python", spec.target.python.short())
            .field("bytecode", format!("{:?}", spec.bytecode));
        if self.scaffold {
            let python = spec.target.python;
            fingerprint = fingerprint.field("interpreter", &spec.interpreter).field("python-version", python);
        }
        if let Some(compiler) = spec.compiler.as_ref().filter(|_| spec.bytecode != BytecodeMode::None) {
            fingerprint = fingerprint
                .field("compiler", compiler.version())
                .field("magic", hex::encode(compiler.magic()))
                .field("normaliser", marshal::NORMALISER);
        }
        for Wheel { name, filename, digest, .. } in &self.wheels {
            fingerprint = fingerprint.field(format!("wheel {name}"), format!("{filename} {digest}"));
        }
        Ok(fingerprint)
    }

    fn cost(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.size).sum()
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let mut tree = LayerTree::new();
        if self.scaffold {
            for (below, entry) in scaffold(&self.spec)? {
                tree.insert(self.spec.path.join(&below)?, entry)?;
            }
        }
        let installed: Vec<Result<Installed>> =
            self.wheels.par_iter().map(|wheel| Installed::new(wheel, &self.spec, context.store)).collect();
        let mut seen = BTreeSet::new();
        for installed in installed {
            let Installed { wheel, mut files } = installed?;
            files.push(install::record_of(&wheel, &files, &self.spec.layout()));
            let input = wheel.wheel.input();
            for file in &files {
                let path = self.spec.path.join(&file.below)?;
                // `collisions` has seen that both have the same bytes.
                if seen.insert(path.clone()) {
                    tree.insert(path, file.entry(&input))?;
                }
            }
        }
        Ok(tree)
    }
}

/// What a verified wheel installs: its files, and the bytecode of its modules.
struct Installed {
    wheel: OpenWheel,
    files: Vec<File>,
}

impl Installed {
    fn new(wheel: &Wheel, spec: &VenvSpec, store: &Store) -> Result<Self> {
        let layout = spec.layout();
        let wheel = OpenWheel::open(wheel, store)?;
        wheel.verify(store)?;
        let files = install::files(&wheel, &layout)?;
        let mut installed = Installed { wheel, files };
        if let Some(compiler) = spec.compiler.as_ref().filter(|_| spec.bytecode != BytecodeMode::None) {
            installed.compile(spec, &layout, &**compiler)?;
        }
        Ok(installed)
    }

    /// Adds the bytecode of all modules; one that does not compile stays a source, as pip leaves it.
    fn compile(&mut self, spec: &VenvSpec, layout: &Layout, compiler: &dyn Compile) -> Result<()> {
        let (wheel, files) = (&self.wheel, &self.files);
        let modules: Vec<&File> = files.iter().filter(|file| file.is_module(layout)).collect();
        let source = |file: &&File| -> Result<Source> {
            let path = format!("/{}/{}", spec.path, file.below);
            // Its RECORD has the digest, which was compared with the bytes.
            let digest = match file.digest {
                Some(digest) => digest,
                None => Digest::of(&file.read(wheel)?),
            };
            Ok(Source { path, digest, size: file.content.size() })
        };
        let sources = modules.iter().map(source).collect::<Result<Vec<_>>>()?;
        let read = |at: usize| match modules.get(at) {
            Some(file) => Ok(file.read(wheel)?),
            None => Ok(Arc::from([])),
        };
        let slot = format!("wheel {} in /{}", wheel.wheel.name, spec.path);
        let compiled = compiler.compile_set(&ModuleSet { slot, sources, read: &read })?;
        let mut taken: BTreeSet<String> = files.iter().map(|file| file.below.clone()).collect();
        let mut replaced = BTreeSet::new();
        let mut made = Vec::new();
        for (module, result) in modules.into_iter().zip(compiled) {
            let Ok(bytecode) = result else { continue };
            let below = bytecode_path(&module.below, spec.bytecode, layout);
            if taken.insert(below.clone()) {
                made.push(File::bytecode(below, bytecode));
                replaced.insert(module.below.clone());
            }
        }
        if spec.bytecode == BytecodeMode::Only {
            self.files.retain(|file| !replaced.contains(&file.below));
        }
        self.files.extend(made);
        Ok(())
    }
}

/// Where the bytecode of a module goes: PEP 3147's folder, or beside where the source was.
fn bytecode_path(source: &str, mode: BytecodeMode, layout: &Layout) -> String {
    let stem = source.strip_suffix(".py").unwrap_or(source);
    if mode == BytecodeMode::Only {
        return format!("{stem}.pyc");
    }
    let tag = format!("cpython-{}{}", layout.python.major, layout.python.minor);
    match stem.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/__pycache__/{name}.{tag}.pyc"),
        None => format!("__pycache__/{stem}.{tag}.pyc"),
    }
}

#[cfg(test)]
#[path = "venv_tests.rs"]
mod tests;
