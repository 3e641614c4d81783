//! The layers of a virtual environment: one for each heavy wheel, one for all that remains.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::bytecode::{BytecodeMode, Compile, Module};
use super::install::{self, File, Layout};
use super::wheel::{OpenWheel, Wheel};
use super::{Error, Target};
use crate::error::Result;
use crate::layer::{Context, Entry, Fingerprint, LayerSource, LayerTree, Store, TreePath};

/// A wheel of at least this many packed bytes gets a layer of its own: it changes seldom, and is shared between images.
pub const HEAVY_SIZE: u64 = 16 << 20;
/// The most layers for heavy wheels; the largest get them.
pub const HEAVY_LAYERS: usize = 20;
/// The version of what decides the tree of a venv layer.
const VENV_VERSION: u32 = 1;

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

/// The layers of an environment, in order. All wheels are opened and compared with each other first: the same path
/// in two wheels is an error, unless both mean the same bytes (as namespace packages do).
pub fn venv_layers(wheels: Vec<Wheel>, spec: Arc<VenvSpec>, store: &Store) -> Result<Vec<Box<dyn LayerSource>>> {
    if spec.bytecode != BytecodeMode::None && spec.compiler.is_none() {
        let reason = "bytecode is wanted, and there is no compiler for it".to_string();
        return Err(Error::Configuration { place: "python.bytecode".into(), reason }.into());
    }
    let opened: Vec<Result<Arc<OpenWheel>>> =
        wheels.par_iter().map(|wheel| Ok(Arc::new(OpenWheel::open(wheel, store)?))).collect();
    let mut opened = opened.into_iter().collect::<Result<Vec<_>>>()?;
    opened.sort_by(|a, b| a.wheel.name.cmp(&b.wheel.name));
    collisions(&opened, &spec)?;
    let sizes: Vec<u64> = opened.iter().map(|wheel| wheel.wheel.size).collect();
    let heavy = heavy(&sizes, HEAVY_SIZE, HEAVY_LAYERS);
    let mut layers: Vec<Box<dyn LayerSource>> = Vec::new();
    let mut rest = Vec::new();
    for (wheel, own) in opened.into_iter().zip(heavy) {
        if own {
            let name = format!("venv: {}", wheel.wheel.name);
            layers.push(Box::new(VenvLayer { name, wheels: vec![wheel], spec: spec.clone(), scaffold: false }));
        } else {
            rest.push(wheel);
        }
    }
    layers.push(Box::new(VenvLayer { name: "venv".into(), wheels: rest, spec, scaffold: true }));
    Ok(layers)
}

/// Which wheels get a layer of their own: those of at least `threshold` bytes, the `most` largest of them.
fn heavy(sizes: &[u64], threshold: u64, most: usize) -> Vec<bool> {
    let mut ranked: Vec<usize> = (0..sizes.len()).filter(|at| sizes[*at] >= threshold).collect();
    ranked.sort_by_key(|at| (std::cmp::Reverse(sizes[*at]), *at));
    ranked.truncate(most);
    (0..sizes.len()).map(|at| ranked.contains(&at)).collect()
}

/// Finds two wheels that write the same path, or one that writes below a file of another.
fn collisions(wheels: &[Arc<OpenWheel>], spec: &VenvSpec) -> Result<(), Error> {
    let layout = spec.layout();
    let files: Vec<Result<Vec<File>, Error>> = wheels.par_iter().map(|wheel| install::files(wheel, &layout)).collect();
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
    let environment = "the environment itself".to_string();
    let name = |owner: Option<usize>| {
        owner.and_then(|at| wheels.get(at)).map_or(environment.clone(), |wheel| wheel.wheel.input().to_string())
    };
    let mut owners: BTreeMap<&str, (Option<usize>, Option<&File>)> = BTreeMap::new();
    let own = scaffold(spec)?;
    for (below, entry) in &own {
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
    wheels: Vec<Arc<OpenWheel>>,
    spec: Arc<VenvSpec>,
    /// Whether it has `pyvenv.cfg` and `bin/python`.
    scaffold: bool,
}

impl LayerSource for VenvLayer {
    fn name(&self) -> &str {
        &self.name
    }

    fn created_by(&self) -> String {
        match &self.wheels[..] {
            [one] if !self.scaffold => {
                format!("ingot venv /{}: {} {}", self.spec.path, one.wheel.name, one.wheel.version)
            }
            wheels => format!("ingot venv /{}: {} wheels", self.spec.path, wheels.len()),
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
            fingerprint = fingerprint.field("magic", hex::encode(compiler.magic()));
        }
        for wheel in &self.wheels {
            let Wheel { name, filename, digest, .. } = &wheel.wheel;
            fingerprint = fingerprint.field(format!("wheel {name}"), format!("{filename} {digest}"));
        }
        Ok(fingerprint)
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let layout = self.spec.layout();
        let mut tree = LayerTree::new();
        if self.scaffold {
            for (below, entry) in scaffold(&self.spec)? {
                tree.insert(self.spec.path.join(&below)?, entry)?;
            }
        }
        let mut installed = Vec::new();
        for wheel in &self.wheels {
            wheel.verify(context.store)?;
            installed.push(install::files(wheel, &layout)?);
        }
        if let Some(compiler) = self.spec.compiler.as_ref().filter(|_| self.spec.bytecode != BytecodeMode::None) {
            self.compile(&mut installed, &layout, &**compiler)?;
        }
        let mut seen = BTreeSet::new();
        for (wheel, mut files) in self.wheels.iter().zip(installed) {
            files.push(install::record_of(wheel, &files, &layout));
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

impl VenvLayer {
    /// Adds the bytecode of all modules; one that does not compile stays a source, as pip leaves it.
    fn compile(&self, installed: &mut [Vec<File>], layout: &Layout, compiler: &dyn Compile) -> Result<()> {
        let mut modules = Vec::new();
        let mut origins = Vec::new();
        for (at, files) in installed.iter().enumerate() {
            for (index, file) in files.iter().enumerate().filter(|(_, file)| file.is_module(layout)) {
                let path = format!("/{}/{}", self.spec.path, file.below);
                modules.push(Module { path, source: file.read(&self.wheels[at])? });
                origins.push((at, index));
            }
        }
        let compiled = compiler.compile(&modules)?;
        let mut replaced = vec![Vec::new(); installed.len()];
        let mut taken: Vec<BTreeSet<String>> =
            installed.iter().map(|files| files.iter().map(|file| file.below.clone()).collect()).collect();
        for ((at, index), result) in origins.into_iter().zip(compiled) {
            let Ok(bytecode) = result else { continue };
            let files = &mut installed[at];
            let below = bytecode_path(&files[index].below, self.spec.bytecode, layout);
            if taken[at].insert(below.clone()) {
                files.push(File::bytecode(below, bytecode));
                replaced[at].push(index);
            }
        }
        if self.spec.bytecode == BytecodeMode::Only {
            for (files, replaced) in installed.iter_mut().zip(replaced) {
                let mut index = 0;
                files.retain(|_| {
                    index += 1;
                    replaced.binary_search(&(index - 1)).is_err()
                });
            }
        }
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
