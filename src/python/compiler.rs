//! Compiles modules with interpreters that run side by side, and normalises what they write.
//!
//! Every answer goes to the place of its question and depends on the module alone: neither the number of workers
//! nor what a worker compiled before can be seen in the bytes ([`super::marshal`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::PythonVersion;
use super::bytecode::{Compile, Module, SyntaxError};
use super::bytecode_error::BytecodeError;
use super::interpreter::Interpreter;
use super::pyc_cache::PycCache;
use super::worker::Worker;
use super::{magic, marshal};
use crate::error::Result;
use crate::layer::Store;

/// The largest source that is compiled, in bytes. The largest module of common packages has 5 MB.
pub const SOURCE_LIMIT: usize = 32 << 20;

/// The stack of a thread that normalises: values may be nested [`marshal::DEPTH_LIMIT`] deep.
const STACK_SIZE: usize = 16 << 20;

/// A `.pyc` file, or why there is none.
pub(super) type Outcome = Result<Vec<u8>, SyntaxError>;

/// Compiles with one interpreter; starts as many processes of it as there are cores, when they are needed.
pub struct Compiler {
    interpreter: Interpreter,
    cache: Option<PycCache>,
    most: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Worker>,
    started: usize,
}

/// What one thread did.
#[derive(Default)]
struct Share {
    outcomes: Vec<(usize, Outcome)>,
    failure: Option<(usize, BytecodeError)>,
}

impl Compiler {
    /// Compiles with `interpreter`; what it made is kept in `store`.
    pub fn new(interpreter: Interpreter, store: Option<&Store>) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let cache = store.map(|store| PycCache::new(store, interpreter.version(), interpreter.magic()));
        Compiler { interpreter, cache, most: cores, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// Another number of processes than the cores.
    #[cfg(test)]
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle worker, or a new one, or the next one that another caller gives back.
    fn borrow(&self) -> Result<Worker, BytecodeError> {
        let mut pool = self.pool();
        loop {
            if let Some(worker) = pool.idle.pop() {
                return Ok(worker);
            }
            if pool.started < self.most {
                pool.started += 1;
                drop(pool);
                return Worker::start(&self.interpreter).inspect_err(|_| self.forget());
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, worker: Worker) {
        self.pool().idle.push(worker);
        self.returned.notify_one();
    }

    /// A worker that failed is gone; another one may be started in its place.
    fn forget(&self) {
        self.pool().started -= 1;
        self.returned.notify_one();
    }

    /// Compiles all of them, side by side, each one alone.
    fn compile_all(&self, modules: &[&Module]) -> Result<Vec<Outcome>, BytecodeError> {
        let next = AtomicUsize::new(0);
        let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut failure: Option<(usize, BytecodeError)> = None;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.most.min(modules.len()))
                .map_while(|_| {
                    let builder = thread::Builder::new().stack_size(STACK_SIZE);
                    builder.spawn_scoped(scope, || self.compile_some(modules, &next)).ok()
                })
                .collect();
            for share in threads.into_iter().filter_map(|thread| thread.join().ok()) {
                outcomes.extend(share.outcomes);
                failure = [failure.take(), share.failure].into_iter().flatten().min_by_key(|(place, _)| *place);
            }
        });
        let mut found = Vec::with_capacity(modules.len());
        for (place, module) in modules.iter().enumerate() {
            let lost = || self.failed(module, "the compiler stopped");
            match outcomes.remove(&place) {
                Some(outcome) => found.push(outcome),
                None => return Err(failure.map_or_else(lost, |(_, error)| error)),
            }
        }
        Ok(found)
    }

    /// One thread's share: whatever is next, until nothing is left or something fails.
    fn compile_some(&self, modules: &[&Module], next: &AtomicUsize) -> Share {
        let mut share = Share::default();
        let worker = match self.borrow() {
            Ok(worker) => worker,
            // Not fatal if another worker could be started.
            Err(error) => return Share { failure: Some((usize::MAX, error)), ..share },
        };
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(module) = modules.get(place) else {
                self.give_back(worker);
                return share;
            };
            match self.compile_one(&worker, module) {
                Ok(outcome) => share.outcomes.push((place, outcome)),
                Err(error) => {
                    // Every module before this one is taken, so the first failure is always found.
                    next.fetch_max(modules.len(), Ordering::Relaxed);
                    drop(worker);
                    self.forget();
                    return Share { failure: Some((place, error)), ..share };
                }
            }
        }
    }

    fn failed(&self, module: &Module, reason: &str) -> BytecodeError {
        let (interpreter, module) = (self.interpreter.label().to_string(), module.path.clone());
        BytecodeError::Worker { interpreter, module, reason: reason.to_string() }
    }

    fn compile_one(&self, worker: &Worker, module: &Module) -> Result<Outcome, BytecodeError> {
        let size = module.source.len();
        if size > SOURCE_LIMIT {
            let (module, limit) = (module.path.clone(), SOURCE_LIMIT);
            return Err(BytecodeError::SourceTooLarge { module, size, limit });
        }
        match worker.compile(module)? {
            Ok(compiled) => {
                let code = marshal::normalise(&compiled.stream, self.interpreter.version())
                    .map_err(|source| BytecodeError::Normalise { module: module.path.clone(), source })?;
                Ok(Ok(magic::pyc(self.interpreter.magic(), compiled.source_hash, &code)))
            }
            Err(error) => Ok(Err(with_line(error, module))),
        }
    }
}

/// The line as it is in the source: an interpreter looks for some lines in the file of that name, which is a path
/// in the image and may be another file on this machine.
fn with_line(mut error: SyntaxError, module: &Module) -> SyntaxError {
    let index = (error.line as usize).checked_sub(1);
    let line = std::str::from_utf8(&module.source).ok().zip(index).and_then(|(text, index)| text.lines().nth(index));
    match line {
        Some(line) => error.text = line.trim_start_matches('\u{feff}').to_string(),
        None => error.text = error.text.lines().next().unwrap_or_default().to_string(),
    }
    error
}

impl Compile for Compiler {
    fn version(&self) -> PythonVersion {
        self.interpreter.version()
    }

    fn magic(&self) -> [u8; 4] {
        self.interpreter.magic()
    }

    fn compile(&self, modules: &[Module]) -> Result<Vec<Outcome>> {
        let Some(cache) = &self.cache else {
            return Ok(self.compile_all(&modules.iter().collect::<Vec<_>>())?);
        };
        let groups = cache.groups(modules);
        let mut found: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut missing = Vec::new();
        for group in &groups {
            match cache.get(group)? {
                Some(outcomes) => found.extend(group.places.iter().copied().zip(outcomes)),
                None => missing.push(group),
            }
        }
        let places: Vec<usize> = missing.iter().flat_map(|group| group.places.iter().copied()).collect();
        let wanted: Vec<&Module> = places.iter().filter_map(|place| modules.get(*place)).collect();
        let mut compiled = self.compile_all(&wanted)?.into_iter();
        for group in missing {
            let outcomes: Vec<Outcome> = compiled.by_ref().take(group.places.len()).collect();
            cache.put(group, &outcomes)?;
            found.extend(group.places.iter().copied().zip(outcomes));
        }
        Ok(found.into_values().collect())
    }
}
