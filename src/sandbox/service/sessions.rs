//! Who runs, who waits, and who is turned away.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::engine;
use crate::sandbox::session::Cancel;

/// How often somebody who waits looks up.
const TICK: Duration = Duration::from_millis(50);

/// Why somebody gets no turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All places are taken.
    Full {
        /// How many run.
        running: usize,
        /// How many wait.
        waiting: usize,
    },
    /// Somebody else has that id.
    Taken,
    /// The service ends.
    Ending,
    /// The client has gone, or somebody has cancelled, while it waited.
    Gone,
}

/// A session, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// "running" or "waiting".
    pub state: &'static str,
    /// Milliseconds since it came.
    pub age_ms: u64,
}

struct Entry {
    cancel: Cancel,
    since: Instant,
    running: bool,
    ticket: u64,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    tickets: u64,
    ending: bool,
}

impl State {
    fn running(&self) -> usize {
        self.entries.values().filter(|entry| entry.running).count()
    }

    /// Whether nobody who waits came earlier.
    fn is_next(&self, ticket: u64) -> bool {
        !self.entries.values().any(|entry| !entry.running && entry.ticket < ticket)
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sessions.
pub struct Sessions {
    shared: Arc<Shared>,
    max: usize,
    queue: usize,
}

/// A session that may run now; its place is free again when the value goes.
pub struct Turn {
    shared: Arc<Shared>,
    id: String,
    cancel: Cancel,
}

impl Turn {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What ends it.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.state().entries.remove(&self.id);
        self.shared.changed.notify_all();
    }
}

impl Sessions {
    /// So many at once, so many waiting.
    pub fn new(max: u32, queue: u32) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
        Sessions { shared: Arc::new(shared), max: max as usize, queue: queue as usize }
    }

    /// Waits for a turn, first come, first served.
    pub fn enter(&self, id: Option<&str>, gone: &dyn Fn() -> bool) -> Result<Turn, Refusal> {
        let mut state = self.shared.state();
        if state.ending {
            return Err(Refusal::Ending);
        }
        let id = id.map_or_else(|| engine::unique_name("run"), str::to_string);
        if state.entries.contains_key(&id) {
            return Err(Refusal::Taken);
        }
        let running = state.running();
        let waiting = state.entries.len() - running;
        let free = running < self.max && waiting == 0;
        if !free && waiting >= self.queue {
            return Err(Refusal::Full { running, waiting });
        }
        let (cancel, ticket) = (Cancel::default(), state.tickets);
        state.tickets += 1;
        let entry = Entry { cancel: cancel.clone(), since: Instant::now(), running: free, ticket };
        state.entries.insert(id.clone(), entry);
        let turn = Turn { shared: self.shared.clone(), id, cancel };
        while !state.entries.get(&turn.id).is_some_and(|entry| entry.running) {
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let refusal = match (state.ending, gone() || turn.cancel.is_set()) {
                (true, _) => Some(Refusal::Ending),
                (_, true) => Some(Refusal::Gone),
                _ => None,
            };
            if let Some(refusal) = refusal {
                drop(state);
                return Err(refusal);
            }
            if state.running() < self.max
                && state.is_next(ticket)
                && let Some(entry) = state.entries.get_mut(&turn.id)
            {
                entry.running = true;
            }
        }
        drop(state);
        Ok(turn)
    }

    /// Ends a session; whether there is one.
    pub fn cancel(&self, id: &str) -> bool {
        let state = self.shared.state();
        let found = state.entries.get(id);
        found.inspect(|entry| entry.cancel.cancel()).is_some()
    }

    /// All of them, by id.
    pub fn list(&self) -> Vec<Seen> {
        let seen = |(id, entry): (&String, &Entry)| Seen {
            id: id.clone(),
            state: if entry.running { "running" } else { "waiting" },
            age_ms: u64::try_from(entry.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.shared.state().entries.iter().map(seen).collect()
    }

    /// How many run, how many wait.
    pub fn count(&self) -> (usize, usize) {
        let state = self.shared.state();
        let running = state.running();
        (running, state.entries.len() - running)
    }

    /// Lets nobody in any more, ends everybody, and waits until they are gone or the time is over.
    pub fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state();
        state.ending = true;
        state.entries.values().for_each(|entry| entry.cancel.cancel());
        while !state.entries.is_empty() && Instant::now() < deadline {
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: fn() -> bool = || false;

    #[test]
    fn places_are_counted_and_given_back() {
        let sessions = Sessions::new(2, 0);
        let first = sessions.enter(Some("a"), &HERE).ok().unwrap();
        assert_eq!(sessions.enter(Some("a"), &HERE).err(), Some(Refusal::Taken));
        let _second = sessions.enter(None, &HERE).ok().unwrap();
        assert_eq!(sessions.enter(None, &HERE).err(), Some(Refusal::Full { running: 2, waiting: 0 }));
        assert!(sessions.cancel("a") && first.cancel().is_set() && !sessions.cancel("b"));
        assert_eq!(sessions.list().len(), 2);
        drop(first);
        assert!(sessions.enter(None, &HERE).is_ok());
        assert_eq!(sessions.count(), (1, 0));
    }

    #[test]
    fn who_waits_gets_the_next_turn_in_order() {
        let sessions = Arc::new(Sessions::new(1, 2));
        let first = sessions.enter(Some("a"), &HERE).ok().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for id in ["b", "c"] {
            let (sessions, order) = (sessions.clone(), order.clone());
            threads.push(std::thread::spawn({
                let sessions = sessions.clone();
                move || {
                    let turn = sessions.enter(Some(id), &HERE).ok().unwrap();
                    order.lock().unwrap().push(turn.id().to_string());
                }
            }));
            while sessions.count().1 < threads.len() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(sessions.enter(None, &HERE).err(), Some(Refusal::Full { running: 1, waiting: 2 }));
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), ["b", "c"]);
    }

    #[test]
    fn who_goes_while_waiting_leaves_the_queue_and_an_end_is_an_end() {
        let sessions = Sessions::new(1, 1);
        let first = sessions.enter(None, &HERE).ok().unwrap();
        assert_eq!(sessions.enter(None, &|| true).err(), Some(Refusal::Gone));
        assert_eq!(sessions.count(), (1, 0));
        sessions.stop(Duration::from_millis(10));
        assert!(first.cancel().is_set());
        assert_eq!(sessions.enter(None, &HERE).err(), Some(Refusal::Ending));
    }
}
