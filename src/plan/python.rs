//! The virtual environment of an image: what it is made for, its wheels, its compiler.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Base, Error, LAYERS_LIMIT, OTHER_LAYERS, Planning};
use crate::error::{During, Result};
use crate::fs;
use crate::image::Access;
use crate::layer::{LayerSource, TreePath};
use crate::lock::{Hex, LockedImage, LockedWheel};
use crate::net::Http;
use crate::oci::{Digest, Platform};
use crate::project::PythonSpec;
use crate::python::bytecode::{BytecodeMode, Compile};
use crate::python::grouping::Limits;
use crate::python::{
    self, BaseInterpreter, BytecodeError, Compiler, Indexes, Interpreter, LazyCompiler, Lock, Locked, PythonVersion,
    Search, StdlibLayer, Target, VenvSpec, Wheel, fetch, prepare, venv_layers,
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
    /// The wheels, for ingot.lock.
    pub wheels: Vec<LockedWheel>,
}

/// Plans the environment of one image: wheels are chosen and fetched into the store.
pub(super) fn environment(
    planning: &Planning<'_>,
    spec: &PythonSpec,
    base: &Base,
    platform: &Platform,
    pins: Option<&LockedImage>,
    last: Option<&LockedImage>,
) -> Result<Environment> {
    let Planning { project, access, .. } = *planning;
    let (interpreter, version) = base.python(spec)?;
    let libc = base.facts.libc.ok_or_else(|| Error::NoLibc { base: base.name.clone() })?;
    let target = Target { python: version, platform: platform.clone(), libc };
    let place = (base.digest(), format!("{interpreter} {version}"));
    let compiler = planning.compilers.of(place, || compiler(version, spec, base, platform, access))?;
    let path = TreePath::new(&spec.venv.value)?;
    let venv = VenvSpec {
        path: path.clone(),
        target: target.clone(),
        interpreter: format!("/{interpreter}"),
        bytecode: spec.bytecode,
        compiler: (spec.bytecode != BytecodeMode::None).then(|| compiler.clone()),
    };
    let wheels = match &spec.lock {
        None => Vec::new(),
        Some(lock) => {
            let lock = Lock::read(&lock.value).during(|| format!("reading `{}`", lock.value.display()))?;
            let locked = lock.select(&target)?;
            let indexes = Indexes::of_this_machine(&project.root)?.with(&lock.options);
            wheels(planning, locked, &venv, pins, &indexes)?
        }
    };
    let locked = wheels.iter().map(|wheel| (wheel.name.clone(), wheel.filename.clone(), Hex(wheel.digest)));
    let mut locked: Vec<(String, String, Hex)> = locked.collect();
    locked.sort();
    // Fresh or stale, the lock is what says where wheels were: a build that finds it stale groups them as the lock
    // will that is written then.
    let previous = last.and_then(LockedImage::grouping);
    let limits = Limits::of_room(LAYERS_LIMIT.saturating_sub(base.layers.len() + OTHER_LAYERS));
    let (mut layers, grouping) = venv_layers(wheels, Arc::new(venv), &access.store, previous.as_ref(), limits)?;
    let locked = locked.into_iter().map(|(name, file, sha256)| LockedWheel {
        layer: Some(grouping.place(&name)),
        name,
        file,
        sha256,
    });
    let locked = locked.collect();
    if spec.bytecode != BytecodeMode::None
        && let Some(stdlib) = stdlib(&interpreter, base, &compiler)?
    {
        layers.insert(0, Box::new(stdlib));
    }
    Ok(Environment { target, path, layers, compiler, wheels: locked })
}

/// The wheel of each requirement, in the store. One that ingot.lock names is the only one that will do.
fn wheels(
    planning: &Planning<'_>,
    mut locked: Vec<Locked>,
    venv: &VenvSpec,
    pins: Option<&LockedImage>,
    indexes: &Indexes,
) -> Result<Vec<Wheel>> {
    let Access { store, progress, .. } = planning.access;
    let mut here: Vec<Option<Wheel>> = Vec::new();
    for locked in &mut locked {
        let pin = pins.and_then(|pins| pins.wheels.iter().find(|wheel| wheel.name == locked.name));
        let pin = pin.filter(|pin| locked.hashes.contains(&pin.sha256.0));
        let Some(LockedWheel { file, sha256: Hex(digest), .. }) = pin else {
            here.push(None);
            continue;
        };
        locked.hashes = vec![*digest];
        let size = fs::symlink_metadata(&store.blob_path(digest)).ok().map(|found| found.len());
        here.push(size.map(|size| Wheel {
            name: locked.name.clone(),
            version: locked.version.clone(),
            filename: file.clone(),
            digest: *digest,
            size,
            place: locked.place.clone(),
        }));
    }
    let missing: Vec<Locked> =
        locked.into_iter().zip(&here).filter(|(_, here)| here.is_none()).map(|(locked, _)| locked).collect();
    let client = || Ok(Http::new()?);
    // While others are still on their way. What is not done, or fails, is done when the layer is made.
    let ahead = planning.request.ahead && venv.bytecode != BytecodeMode::None;
    let compile = |wheel: &Wheel| {
        let _stage = progress.stage(&format!("compile {}", wheel.name));
        let _: Result<()> = prepare(wheel, venv, store);
    };
    let wanted = |arrived: Arrived<'_>| fetch(&missing, &venv.target, indexes, store, &client, progress, arrived);
    let fetched = if ahead { meanwhile(wanted, compile) } else { wanted(&|_| {}) };
    let mut fetched = fetched?.into_iter();
    Ok(here.into_iter().filter_map(|here| here.or_else(|| fetched.next())).collect())
}

/// Who hears of each wheel that has come.
type Arrived<'a> = &'a (dyn Fn(&Wheel) + Sync);

/// Fetches, and does `work` with each wheel as soon as it is there. After a failure no further work begins: nobody
/// would use it, and whoever waits for the message would wait for all of it.
fn meanwhile<T>(fetch: impl FnOnce(Arrived<'_>) -> Result<T>, work: impl Fn(&Wheel) + Sync) -> Result<T> {
    let (failed, work) = (&AtomicBool::new(false), &work);
    rayon::in_place_scope(|scope| {
        let arrived = |wheel: &Wheel| {
            let wheel = wheel.clone();
            scope.spawn(move |_| {
                if !failed.load(Ordering::Relaxed) {
                    work(&wheel);
                }
            });
        };
        fetch(&arrived).inspect_err(|_| failed.store(true, Ordering::Relaxed))
    })
}

/// The bytecode of a standard library that OS packages bring.
fn stdlib(interpreter: &TreePath, base: &Base, compiler: &Arc<dyn Compile>) -> Result<Option<StdlibLayer>> {
    let Some(os) = &base.os else { return Ok(None) };
    let python = compiler.version().name();
    let brought = os.packages.iter().any(|package| package.name.contains(&python));
    if !brought || interpreter.as_str() != format!("usr/bin/{python}") {
        return Ok(None);
    }
    let library = TreePath::new(&format!("usr/lib/{python}"))?;
    Ok(Some(StdlibLayer::new(base.rootfs.clone(), library, compiler.clone(), base.digest())))
}

/// The compilers of a plan: images on the same base have the same one, so that each interpreter is started once a core.
#[derive(Default)]
pub(super) struct Compilers {
    known: Mutex<BTreeMap<(Digest, String), Arc<dyn Compile>>>,
}

impl Compilers {
    /// The one of a base's interpreter; `make` says how it is looked for.
    fn of(&self, place: (Digest, String), make: impl FnOnce() -> Result<Arc<dyn Compile>>) -> Result<Arc<dyn Compile>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiler) = known.get(&place) {
            return Ok(compiler.clone());
        }
        let compiler = make()?;
        known.insert(place, compiler.clone());
        Ok(compiler)
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn after_a_failed_fetch_nothing_more_is_compiled() {
        let digest = Digest::of(b"a");
        let wheel = Wheel {
            name: "a".into(),
            version: "1".into(),
            filename: "a-1-py3-none-any.whl".into(),
            digest,
            size: 1,
            place: "requirements.txt".into(),
        };
        // With one thread nothing is begun before all have come.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let done = |outcome: fn() -> Result<()>| {
            let count = AtomicUsize::new(0);
            let fetch = |arrived: Arrived<'_>| {
                (0..3).for_each(|_| arrived(&wheel));
                outcome()
            };
            let work = |_: &Wheel| {
                count.fetch_add(1, Ordering::Relaxed);
            };
            (pool.install(|| meanwhile(fetch, work)).is_ok(), count.into_inner())
        };
        assert_eq!(done(|| Ok(())), (true, 3));
        assert_eq!(
            done(|| Err(BytecodeError::UnknownVersion { version: PythonVersion::new(3, 11) }.into())),
            (false, 0)
        );
    }

    #[test]
    fn images_on_the_same_base_have_one_compiler() {
        let compilers = Compilers::default();
        let make = || -> Result<Arc<dyn Compile>> {
            let version = PythonVersion::new(3, 11);
            let find = move || Err(BytecodeError::UnknownVersion { version }.into());
            Ok(Arc::new(LazyCompiler::new(version, *b"fake", Box::new(find))))
        };
        let place = |base: &[u8], path: &str| (Digest::of(base), path.to_string());
        let first = compilers.of(place(b"1", "usr/bin/python3"), make).unwrap();
        assert!(Arc::ptr_eq(&first, &compilers.of(place(b"1", "usr/bin/python3"), make).unwrap()));
        assert!(!Arc::ptr_eq(&first, &compilers.of(place(b"2", "usr/bin/python3"), make).unwrap()));
        assert!(!Arc::ptr_eq(&first, &compilers.of(place(b"1", "opt/python"), make).unwrap()));
    }
}
