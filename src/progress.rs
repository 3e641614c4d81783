//! Progress as events: rooms report what they do, `cli/` decides how it looks.
//!
//! A [`Task`] is one thing that takes time (a layer, a blob, a wheel). Libraries never print; they get a
//! [`Progress`], start tasks on it and say one-line messages through it. A *stage* is a task that only who measures
//! wants to know of: it is not drawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws tasks: bars on a terminal, plain lines elsewhere, nothing when quiet.
pub trait Reporter: Send + Sync {
    /// A task begins; `total` is in bytes where it is known.
    fn started(&self, id: u64, name: &str, total: Option<u64>);
    /// `delta` more bytes are done.
    fn advanced(&self, id: u64, delta: u64);
    /// The task ended; `note` says how ("cached", "mounted", "12.3 MB").
    fn finished(&self, id: u64, note: &str);
    /// One line for the user that is not data (a warning, a retry).
    fn message(&self, text: &str);
    /// A stage begins. `advanced` may be told of it, too.
    fn entered(&self, _id: u64, _name: &str) {}
    /// The stage ended.
    fn left(&self, _id: u64) {}
}

struct Silent;

impl Reporter for Silent {
    fn started(&self, _: u64, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: u64, _: u64) {}
    fn finished(&self, _: u64, _: &str) {}
    fn message(&self, _: &str) {}
}

/// A cheap handle on a reporter.
#[derive(Clone)]
pub struct Progress {
    reporter: Arc<dyn Reporter>,
    next: Arc<AtomicU64>,
}

impl Progress {
    /// Reports to `reporter`.
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        Progress { reporter, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Reports to nobody.
    pub fn silent() -> Self {
        Progress::new(Arc::new(Silent))
    }

    /// Starts a task; it ends when the returned value is finished or dropped.
    pub fn task(&self, name: &str, total: Option<u64>) -> Task {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.reporter.started(id, name, total);
        Task { id, reporter: self.reporter.clone(), stage: false, done: false }
    }

    /// Begins a stage; it ends when the returned value is dropped.
    pub fn stage(&self, name: &str) -> Task {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.reporter.entered(id, name);
        Task { id, reporter: self.reporter.clone(), stage: true, done: false }
    }

    /// Who listens: for one that wants to hear the same and pass it on.
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        self.reporter.clone()
    }

    /// Says one line.
    pub fn message(&self, text: &str) {
        self.reporter.message(text);
    }
}

/// One thing that takes time.
pub struct Task {
    id: u64,
    reporter: Arc<dyn Reporter>,
    stage: bool,
    done: bool,
}

impl Task {
    /// `delta` more bytes are done.
    pub fn advance(&self, delta: u64) {
        self.reporter.advanced(self.id, delta);
    }

    /// Ends the task with a note.
    pub fn finish(mut self, note: &str) {
        self.done = true;
        self.end(note);
    }

    fn end(&self, note: &str) {
        if self.stage {
            self.reporter.left(self.id);
        } else {
            self.reporter.finished(self.id, note);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.done {
            self.end("");
        }
    }
}
