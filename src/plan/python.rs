//! The virtual environment of an image: what it is made for, its wheels, its compiler.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ahead::Ahead;
use super::{Base, Error, LAYERS_LIMIT, OTHER_LAYERS, Planning};
use crate::error::Result;
use crate::image::Access;
use crate::layer::{Context, LayerCache, LayerSource, Lookup, TreePath, make_layer};
use crate::lock::{Hex, LockedImage, LockedWheel};
use crate::oci::{Digest, Platform};
use crate::project::PythonSpec;
use crate::python::bytecode::{BytecodeMode, Compile};
use crate::python::grouping::{Grouping, Limits, Weight, expects_own};
use crate::python::{
    self, BaseInterpreter, BytecodeError, Compiler, IndexOptions, Indexes, Interpreter, LazyCompiler, Lock,
    PythonVersion, Search, StdlibLayer, Target, VenvSpec, Wheel, own_layer, prepare, venv_layers,
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
    /// Layers that were made while other wheels were on their way, by name: how long each took.
    pub made: BTreeMap<String, Duration>,
}

/// What an environment is planned from, besides the base.
pub(super) struct Asked<'a> {
    pub spec: &'a PythonSpec,
    pub platform: &'a Platform,
    pub lock: Option<&'a Lock>,
    pub pins: Option<&'a LockedImage>,
    pub last: Option<&'a LockedImage>,
    /// Whose layer it is, for the layer cache, by its name.
    pub slot: &'a (dyn Fn(&str) -> String + Sync),
}

/// Sends for the wheels of an environment for this target.
pub(super) fn ahead(
    planning: &Planning<'_>,
    lock: Option<&Lock>,
    target: &Target,
    pins: Option<&LockedImage>,
) -> Result<Ahead> {
    let locked = lock.map_or(Ok(Vec::new()), |lock| lock.select(target))?;
    let indexes = || {
        Ok(Indexes::of_this_machine(&planning.project.root)?
            .with(&lock.map_or_else(IndexOptions::default, |lock| lock.options.clone())))
    };
    Ahead::begin(locked, pins, target, &indexes, planning.access)
}

/// Plans the environment of one image: wheels are chosen and fetched into the store. `ahead` are those that were sent
/// for when the base was not known yet.
pub(super) fn environment(
    planning: &Planning<'_>,
    asked: &Asked<'_>,
    base: &Base,
    ahead: Option<Ahead>,
) -> Result<Environment> {
    let access = planning.access;
    let Asked { spec, platform, .. } = *asked;
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
    let venv = Arc::new(venv);
    // Fresh or stale, the lock is what says where wheels were: a build that finds it stale groups them as the lock
    // will that is written then.
    let previous = asked.last.and_then(LockedImage::grouping);
    let limits = Limits::of_room(LAYERS_LIMIT.saturating_sub(base.layers.len() + OTHER_LAYERS));
    let making = Making { planning, asked, base, venv: &venv, previous: previous.as_ref(), limits };
    let made = Mutex::new(BTreeMap::new());
    let wheels = making.wheels(ahead, &made)?;
    let locked = wheels.iter().map(|wheel| (wheel.name.clone(), wheel.filename.clone(), Hex(wheel.digest)));
    let mut locked: Vec<(String, String, Hex)> = locked.collect();
    locked.sort();
    let (mut layers, grouping) = venv_layers(wheels, venv, &access.store, previous.as_ref(), limits)?;
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
    let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Environment { target, path, layers, compiler, wheels: locked, made })
}

/// What is made of wheels while others are on their way.
struct Making<'a> {
    planning: &'a Planning<'a>,
    asked: &'a Asked<'a>,
    base: &'a Base,
    venv: &'a Arc<VenvSpec>,
    previous: Option<&'a Grouping>,
    limits: Limits,
}

impl Making<'_> {
    /// The wheel of each requirement, in the store. `made` gets the layers that are there when all are.
    fn wheels(&self, ahead: Option<Ahead>, made: &Mutex<BTreeMap<String, Duration>>) -> Result<Vec<Wheel>> {
        let Some(lock) = self.asked.lock else { return Ok(Vec::new()) };
        let (target, pins) = (&self.venv.target, self.asked.pins);
        let ahead = match ahead {
            Some(ahead) if ahead.is_for(&lock.select(target)?, pins, target) => ahead,
            other => {
                other.into_iter().for_each(Ahead::end);
                self::ahead(self.planning, Some(lock), target, pins)?
            }
        };
        if !self.planning.request.ahead {
            return ahead.follow(&|_| {});
        }
        meanwhile(
            |arrived| ahead.follow(arrived),
            // What is not done, or fails, is done when the layer is made.
            |wheel| {
                let own = self.expects_own(wheel).then(|| self.layer(wheel));
                if let Some(Ok(Some((name, time)))) = own {
                    made.lock().unwrap_or_else(PoisonError::into_inner).insert(name, time);
                } else if own.is_none() && self.venv.bytecode != BytecodeMode::None {
                    let _stage = self.planning.access.progress.stage(&format!("compile {}", wheel.name));
                    let _: Result<()> = prepare(wheel, self.venv, &self.planning.access.store);
                }
            },
        )
    }

    fn expects_own(&self, wheel: &Wheel) -> bool {
        let weight = Weight { name: wheel.name.clone(), digest: wheel.digest, size: wheel.size };
        self.limits.own > 0 && expects_own(&weight, self.previous)
    }

    /// Makes the layer of a wheel that has one of its own, unless it is there: its name, and how long it took.
    fn layer(&self, wheel: &Wheel) -> Result<Option<(String, Duration)>> {
        let Access { store, progress, .. } = self.planning.access;
        let layer = own_layer(wheel.clone(), self.venv.clone());
        let context = Context { store, base: self.base.rootfs.as_ref(), progress };
        let fingerprint = layer.fingerprint(&context)?;
        let cache = LayerCache::new(store, self.planning.request.compression);
        let slot = (self.asked.slot)(layer.name());
        if let Lookup::Hit(_) = cache.lookup(&fingerprint, context.base, &slot)? {
            return Ok(None);
        }
        if !self.planning.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint.digest()) {
            return Ok(None);
        }
        let begin = Instant::now();
        make_layer(layer.as_ref(), &fingerprint, &cache, &context, &slot)?;
        Ok(Some((layer.name().to_string(), begin.elapsed())))
    }
}

/// Who hears of each wheel that has come.
type Arrived<'a> = &'a dyn Fn(&Wheel);

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
