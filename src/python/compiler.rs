//! Compiles modules with interpreters that run side by side, and normalises what they write.
//!
//! Every answer goes to the place of its question and depends on the module alone: neither the number of workers
//! nor what a worker compiled before can be seen in the bytes ([`super::marshal`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::PythonVersion;
use super::bytecode::{Compile, Module, ModuleSet, Source, SyntaxError};
use super::bytecode_error::BytecodeError;
use super::interpreter::Interpreter;
use super::pyc_cache::PycCache;
use super::worker::{Answer, Worker};
use super::{magic, marshal};
use crate::error::{Error, Result};
use crate::layer::Store;
use crate::oci::Digest;

/// The largest source that is compiled, in bytes. The largest module of common packages has 5 MB.
pub const SOURCE_LIMIT: usize = 32 << 20;

/// How many modules are with a worker at once: while one is normalised here, the next ones are there already.
const IN_FLIGHT: usize = 4;

/// No further module is sent to a worker that has this many bytes of sources.
const IN_FLIGHT_BYTES: usize = 1 << 20;

/// A second worker is worth its start if there are this many bytes of sources for each.
const WORKER_BYTES: u64 = 128 << 10;

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
    failure: Option<(usize, Error)>,
}

/// Which modules of a set are compiled, in the order in which they are handed out: the largest first, so that at the
/// end no worker waits for another one's long module.
struct Work<'a> {
    set: &'a ModuleSet<'a>,
    order: Vec<usize>,
    next: AtomicUsize,
}

/// A module that a worker has: its number in the order, its place in the set, its source.
struct Sent {
    number: usize,
    place: usize,
    source: Arc<[u8]>,
}

impl<'a> Work<'a> {
    fn new(set: &'a ModuleSet<'a>, wanted: impl Fn(usize) -> bool) -> Self {
        let size = |place: &usize| set.sources.get(*place).map_or(0, |source| source.size);
        let mut order: Vec<usize> = (0..set.sources.len()).filter(|place| wanted(*place)).collect();
        order.sort_by_key(|place| (Reverse(size(place)), *place));
        Work { set, order, next: AtomicUsize::new(0) }
    }

    /// How many workers are worth it.
    fn workers(&self) -> usize {
        let sources = self.order.iter().filter_map(|place| self.set.sources.get(*place));
        let bytes = sources.map(|source| source.size).fold(0u64, u64::saturating_add);
        usize::try_from(bytes.div_ceil(WORKER_BYTES)).unwrap_or(usize::MAX).clamp(1, self.order.len().max(1))
    }

    fn take(&self) -> Option<(usize, usize)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.order.get(number).map(|place| (number, *place))
    }

    /// No further module is handed out. All before the last one were, so the first failure is always found.
    fn stop(&self) {
        self.next.fetch_max(self.order.len(), Ordering::Relaxed);
    }

    fn path(&self, place: usize) -> &str {
        self.set.sources.get(place).map_or("", |source| &source.path)
    }
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

    /// Compiles the modules of a set that are wanted, side by side, each one alone.
    fn compile_wanted(&self, work: &Work<'_>) -> Result<BTreeMap<usize, Outcome>> {
        if work.order.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut failure: Option<(usize, Error)> = None;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.most.min(work.workers()))
                .map_while(|_| {
                    let builder = thread::Builder::new().stack_size(STACK_SIZE);
                    builder.spawn_scoped(scope, || self.compile_some(work)).ok()
                })
                .collect();
            for share in threads.into_iter().filter_map(|thread| thread.join().ok()) {
                outcomes.extend(share.outcomes);
                failure = [failure.take(), share.failure].into_iter().flatten().min_by_key(|(number, _)| *number);
            }
        });
        let missing = work.order.iter().find(|place| !outcomes.contains_key(place));
        match (missing, failure) {
            (None, _) => Ok(outcomes),
            (Some(_), Some((_, error))) => Err(error),
            (Some(place), None) => Err(self.failed(work.path(*place), "the compiler stopped").into()),
        }
    }

    /// One thread's share: whatever is next, until nothing is left or something fails.
    fn compile_some(&self, work: &Work<'_>) -> Share {
        let mut share = Share::default();
        let worker = match self.borrow() {
            Ok(worker) => worker,
            // Not fatal if another worker could be started.
            Err(error) => return Share { failure: Some((usize::MAX, error.into())), ..share },
        };
        match self.pump(&worker, work, &mut share.outcomes) {
            Ok(()) => self.give_back(worker),
            Err(failure) => {
                work.stop();
                drop(worker);
                self.forget();
                share.failure = Some(failure);
            }
        }
        share
    }

    /// Keeps a worker busy until nothing is left.
    fn pump(
        &self,
        worker: &Worker,
        work: &Work<'_>,
        outcomes: &mut Vec<(usize, Outcome)>,
    ) -> Result<(), (usize, Error)> {
        let mut sent: VecDeque<Sent> = VecDeque::with_capacity(IN_FLIGHT);
        loop {
            while sent.len() < IN_FLIGHT && sent.iter().map(|sent| sent.source.len()).sum::<usize>() < IN_FLIGHT_BYTES {
                let Some((number, place)) = work.take() else { break };
                let source = self.load(work, place).map_err(|error| (number, error))?;
                worker.send(work.path(place), &source).map_err(|error| (number, error.into()))?;
                sent.push_back(Sent { number, place, source });
            }
            let Some(oldest) = sent.pop_front() else { return Ok(()) };
            let path = work.path(oldest.place);
            let answer = worker.receive(path).map_err(|error| (oldest.number, error.into()))?;
            let outcome = self.outcome(path, &oldest.source, answer).map_err(|error| (oldest.number, error.into()))?;
            outcomes.push((oldest.place, outcome));
        }
    }

    fn load(&self, work: &Work<'_>, place: usize) -> Result<Arc<[u8]>> {
        let source = (work.set.read)(place)?;
        let (path, size) = (work.path(place), source.len());
        if size > SOURCE_LIMIT {
            let (module, limit) = (path.to_string(), SOURCE_LIMIT);
            return Err(BytecodeError::SourceTooLarge { module, size, limit }.into());
        }
        // What is kept under a digest is of the source with that digest.
        if work.set.sources.get(place).is_some_and(|named| named.digest != Digest::of(&source)) {
            return Err(self.failed(path, "its source changed meanwhile").into());
        }
        Ok(source)
    }

    fn failed(&self, module: &str, reason: &str) -> BytecodeError {
        let (interpreter, module) = (self.interpreter.label().to_string(), module.to_string());
        BytecodeError::Worker { interpreter, module, reason: reason.to_string() }
    }

    fn outcome(&self, path: &str, source: &[u8], answer: Answer) -> Result<Outcome, BytecodeError> {
        match answer {
            Ok(compiled) => {
                let code = marshal::normalise(&compiled.stream, self.interpreter.version())
                    .map_err(|source| BytecodeError::Normalise { module: path.to_string(), source })?;
                Ok(Ok(magic::pyc(self.interpreter.magic(), compiled.source_hash, &code)))
            }
            Err(error) => Ok(Err(with_line(error, source))),
        }
    }
}

/// The line as it is in the source: an interpreter looks for some lines in the file of that name, which is a path
/// in the image and may be another file on this machine.
fn with_line(mut error: SyntaxError, source: &[u8]) -> SyntaxError {
    let index = (error.line as usize).checked_sub(1);
    let line = std::str::from_utf8(source).ok().zip(index).and_then(|(text, index)| text.lines().nth(index));
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
        let source = |module: &Module| Source {
            path: module.path.clone(),
            digest: Digest::of(&module.source),
            size: module.source.len() as u64,
        };
        let read = |place: usize| Ok(modules.get(place).map_or_else(|| Arc::from([]), |module| module.source.clone()));
        let sources = modules.iter().map(source).collect();
        self.compile_set(&ModuleSet { slot: String::new(), sources, read: &read })
    }

    fn compile_set(&self, set: &ModuleSet<'_>) -> Result<Vec<Outcome>> {
        let Some(cache) = &self.cache else {
            return Ok(self.compile_wanted(&Work::new(set, |_| true))?.into_values().collect());
        };
        let key = cache.key(set);
        if let Some(outcomes) = cache.get(&key, set)? {
            return Ok(outcomes);
        }
        let mut outcomes = cache.last(set)?;
        let work = Work::new(set, |place| !outcomes.contains_key(&place));
        outcomes.extend(self.compile_wanted(&work)?);
        let outcomes: Vec<Outcome> = outcomes.into_values().collect();
        cache.put(&key, set, &outcomes)?;
        Ok(outcomes)
    }
}
