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

struct Named {
    name: String,
    reporter: Arc<dyn Reporter>,
}

impl Reporter for Named {
    fn started(&self, id: u64, name: &str, total: Option<u64>) {
        self.reporter.started(id, &format!("{}: {name}", self.name), total);
    }
    fn advanced(&self, id: u64, delta: u64) {
        self.reporter.advanced(id, delta);
    }
    fn finished(&self, id: u64, note: &str) {
        self.reporter.finished(id, note);
    }
    fn message(&self, text: &str) {
        // A warning stays one at first sight.
        match text.strip_prefix("warning: ") {
            Some(text) => self.reporter.message(&format!("warning: {}: {text}", self.name)),
            None => self.reporter.message(&format!("{}: {text}", self.name)),
        }
    }
    fn entered(&self, id: u64, name: &str) {
        self.reporter.entered(id, &format!("{}: {name}", self.name));
    }
    fn left(&self, id: u64) {
        self.reporter.left(id);
    }
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

    /// The same, with a name before what is said: what several do at the same time is told apart.
    pub fn named(&self, name: &str) -> Progress {
        let reporter = Arc::new(Named { name: name.into(), reporter: self.reporter.clone() });
        Progress { reporter, next: self.next.clone() }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Heard {
        fn add(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
    }

    impl Reporter for Heard {
        fn started(&self, id: u64, name: &str, total: Option<u64>) {
            self.add(format!("{id} {name} {total:?}"));
        }
        fn advanced(&self, id: u64, delta: u64) {
            self.add(format!("{id} +{delta}"));
        }
        fn finished(&self, id: u64, note: &str) {
            self.add(format!("{id} {note}"));
        }
        fn message(&self, text: &str) {
            self.add(text.into());
        }
        fn entered(&self, id: u64, name: &str) {
            self.add(format!("{id} {name}"));
        }
        fn left(&self, id: u64) {
            self.add(format!("{id} left"));
        }
    }

    #[test]
    fn names_tell_tasks_apart_that_are_of_one_reporter() {
        let heard = Arc::new(Heard::default());
        let all = Progress::new(heard.clone());
        let (web, db) = (all.named("web"), all.named("db"));
        let first = web.task("layer app", Some(7));
        let second = db.task("layer app", None);
        first.advance(3);
        second.finish("cached");
        first.finish("written");
        web.message("a retry");
        db.message("warning: old");
        drop(db.stage("plan"));
        all.message("done");
        let expected = [
            "1 web: layer app Some(7)",
            "2 db: layer app None",
            "1 +3",
            "2 cached",
            "1 written",
            "web: a retry",
            "warning: db: old",
            "3 db: plan",
            "3 left",
            "done",
        ];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }
}
