//! The virtual environment of an image: what it is made for, its wheels, its compiler.

use std::sync::Arc;

use super::{Base, Error};
use crate::error::{During, Result};
use crate::image::Access;
use crate::layer::{LayerSource, TreePath};
use crate::net::Http;
use crate::oci::Platform;
use crate::project::{Project, PythonSpec};
use crate::python::bytecode::{BytecodeMode, Compile};
use crate::python::{
    self, BaseInterpreter, BytecodeError, Compiler, Indexes, Interpreter, LazyCompiler, Lock, PythonVersion, Search,
    Target, VenvSpec, fetch, venv_layers,
};

/// An environment, planned.
pub struct Environment {
    /// What it is made for.
    pub target: Target,
    /// Where it is in the image.
    pub path: TreePath,
    /// Its layers, in order.
    pub layers: Vec<Box<dyn LayerSource>>,
    /// Compiles for its Python.
    pub compiler: Arc<dyn Compile>,
}

/// Plans the environment of one image: wheels are chosen and fetched into the store.
pub fn environment(
    project: &Project,
    spec: &PythonSpec,
    base: &Base,
    platform: &Platform,
    access: &Access,
) -> Result<Environment> {
    let (interpreter, version) = base.python(spec)?;
    let libc = base.facts.libc.ok_or_else(|| Error::NoLibc { base: base.name.clone() })?;
    let target = Target { python: version, platform: platform.clone(), libc };
    let compiler = compiler(version, spec, base, platform, access)?;
    let wheels = match &spec.lock {
        None => Vec::new(),
        Some(lock) => {
            let lock = Lock::read(&lock.value).during(|| format!("reading `{}`", lock.value.display()))?;
            let locked = lock.select(&target)?;
            let indexes = Indexes::of_this_machine(&project.root)?.with(&lock.options);
            let client = || Ok(Http::new()?);
            fetch(&locked, &target, &indexes, &access.store, &client, &access.progress)?
        }
    };
    let path = TreePath::new(&spec.venv.value)?;
    let venv = VenvSpec {
        path: path.clone(),
        target: target.clone(),
        interpreter: format!("/{interpreter}"),
        bytecode: spec.bytecode,
        compiler: (spec.bytecode != BytecodeMode::None).then(|| compiler.clone()),
    };
    let layers = venv_layers(wheels, Arc::new(venv), &access.store)?;
    Ok(Environment { target, path, layers, compiler })
}

/// The compiler for the base's Python, which is looked for when a module has to be compiled.
fn compiler(
    version: PythonVersion,
    spec: &PythonSpec,
    base: &Base,
    platform: &Platform,
    access: &Access,
) -> Result<Arc<dyn Compile>> {
    let magic = python::magic(version).ok_or(BytecodeError::UnknownVersion { version })?;
    let (store, platform, files) = (access.store.clone(), platform.clone(), base.rootfs.clone());
    let (path, digest) = (base.python(spec)?.0, base.digest());
    let find = move || {
        let own = BaseInterpreter { files: files.as_ref(), base: &digest, platform: &platform, path: &path, version };
        let found = Interpreter::choose(version, Some(&own), &Search::from_environment(), &store)?;
        Ok(Compiler::new(found, Some(&store)))
    };
    Ok(Arc::new(LazyCompiler::new(version, magic, Box::new(find))))
}
