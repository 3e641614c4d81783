//! Layers on their way while others are still being made.
//!
//! A few threads of their own wait for networks and disks. When the work fails, what is in the queue is forgotten and
//! what is on its way is broken off: a registry keeps blobs that nothing names for a while, which is harmless.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Sink;
use super::parallel::WORKERS;
use crate::error::Result;
use crate::image::Blob;
use crate::layer::{BlobSource, LayerBlob};
use crate::oci::Descriptor;
use crate::progress::Progress;

/// Destinations of one run, and the layers that they are to get early.
pub struct Early<'a> {
    sinks: Vec<(String, &'a dyn Sink)>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(usize, Blob)>,
    /// By destination: how many layers are in the queue or on their way, and whether one failed.
    pending: Vec<usize>,
    failed: Vec<bool>,
    closed: bool,
}

impl<'a> Early<'a> {
    /// For these destinations, each with the variant that it gets.
    pub fn new(sinks: Vec<(String, &'a dyn Sink)>) -> Self {
        let queue = Queue { pending: vec![0; sinks.len()], failed: vec![false; sinks.len()], ..Queue::default() };
        Early { sinks, queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A layer of this variant may leave.
    pub fn ready(&self, variant: &str, layer: &LayerBlob) {
        let mut queue = self.queue();
        for (number, (wanted, sink)) in self.sinks.iter().enumerate() {
            if wanted == variant && sink.takes_early() {
                let (descriptor, name) = (layer.descriptor.clone(), layer.name.clone());
                queue.waiting.push_back((number, Blob { descriptor, name, layer: Some(layer.clone()) }));
                queue.pending.iter_mut().skip(number).take(1).for_each(|pending| *pending += 1);
            }
        }
        self.changed.notify_all();
    }

    /// Waits until a destination, by its number, has all layers that are ready.
    pub fn settle(&self, number: usize) {
        let mut queue = self.queue();
        while queue.pending.get(number).is_some_and(|pending| *pending > 0) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does `work`, and meanwhile sends what gets ready, from `blobs`.
    pub fn during<T>(
        &self,
        blobs: &dyn BlobSource,
        progress: &Progress,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let workers = if self.sinks.iter().any(|(_, sink)| sink.takes_early()) { WORKERS } else { 0 };
        let stopped = Arc::new(AtomicBool::new(false));
        let blobs = Stoppable { inner: blobs, stopped: stopped.clone() };
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.send_all(&blobs, progress));
            }
            let _closing = Closing { early: self, stopped: &stopped };
            work()
        })
    }

    fn send_all(&self, blobs: &dyn BlobSource, progress: &Progress) {
        loop {
            let mut queue = self.queue();
            let (number, blob) = loop {
                if let Some(next) = queue.waiting.pop_front() {
                    break next;
                }
                if queue.closed {
                    return;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            let skipped = queue.failed.get(number).copied().unwrap_or(true);
            drop(queue);
            let mut sending = Sending { early: self, number, failed: true };
            let sink = self.sinks.get(number).filter(|_| !skipped);
            sending.failed = sink.is_none_or(|(_, sink)| sink.send(&blob, blobs, progress).is_err());
        }
    }
}

/// One layer on its way; nobody waits for it any more when this is dropped, be it in a panic.
struct Sending<'a> {
    early: &'a Early<'a>,
    number: usize,
    failed: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut queue = self.early.queue();
        if let Some(pending) = queue.pending.get_mut(self.number) {
            *pending -= 1;
        }
        if let Some(failed) = queue.failed.get_mut(self.number) {
            *failed |= self.failed;
        }
        drop(queue);
        self.early.changed.notify_all();
    }
}

/// Ends the threads, also if the work panics: what is still waiting is forgotten, what is on its way is broken off.
struct Closing<'a> {
    early: &'a Early<'a>,
    stopped: &'a AtomicBool,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut queue = self.early.queue();
        queue.closed = true;
        queue.waiting.clear();
        drop(queue);
        self.early.changed.notify_all();
    }
}

/// Blobs that cannot be read any more once nobody wants them.
struct Stoppable<'a> {
    inner: &'a dyn BlobSource,
    stopped: Arc<AtomicBool>,
}

impl BlobSource for Stoppable<'_> {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(StoppableReader { inner: self.inner.open(descriptor)?, stopped: self.stopped.clone() }))
    }
}

struct StoppableReader {
    inner: Box<dyn Read + Send>,
    stopped: Arc<AtomicBool>,
}

impl Read for StoppableReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the build has failed"));
        }
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::image::fixture::Fixture;
    use crate::image::{Artifact, Receipt};
    use crate::oci::media_type::Compression;

    /// Takes layers slowly, and remembers them.
    #[derive(Default)]
    struct Slow {
        sent: Mutex<Vec<String>>,
        fails: bool,
        closed: bool,
    }

    impl Sink for Slow {
        fn name(&self) -> String {
            "slow".into()
        }
        fn takes_early(&self) -> bool {
            !self.closed
        }
        fn send(&self, layer: &Blob, blobs: &dyn BlobSource, _: &Progress) -> Result<()> {
            self.sent.lock().unwrap().push(layer.name.clone());
            let mut reader = blobs.open(&layer.descriptor)?;
            std::thread::sleep(Duration::from_millis(50));
            let read = io::copy(&mut reader, &mut io::sink());
            if self.fails || read.is_err() {
                return Err(crate::fs::Error::NotText { path: "x".into() }.into());
            }
            self.sent.lock().unwrap().push(format!("{} done", layer.name));
            Ok(())
        }
        fn write(&self, _: &Artifact, _: &dyn BlobSource, _: &Progress) -> Result<Receipt> {
            unreachable!()
        }
    }

    fn broken() -> crate::error::Error {
        crate::fs::Error::NotText { path: "y".into() }.into()
    }

    #[test]
    fn layers_go_to_the_destinations_of_their_variant_and_are_waited_for() {
        let fixture = Fixture::new();
        let layers = [fixture.layer("a", Compression::Gzip), fixture.layer("b", Compression::Gzip)];
        let (one, two, none) = (Slow::default(), Slow::default(), Slow { closed: true, ..Slow::default() });
        let early = Early::new(vec![("x".into(), &one), ("y".into(), &two), ("x".into(), &none)]);
        let sent = early.during(&fixture.access.store, &Progress::silent(), || {
            layers.iter().for_each(|layer| early.ready("x", layer));
            early.ready("y", &layers[0]);
            (0..3).for_each(|number| early.settle(number));
            let mut sent = one.sent.lock().unwrap().clone();
            sent.sort();
            Ok(sent)
        });
        assert_eq!(sent.unwrap(), ["a", "a done", "b", "b done"]);
        assert_eq!((two.sent.lock().unwrap().len(), none.sent.lock().unwrap().len()), (2, 0));
    }

    #[test]
    fn a_failure_stops_what_is_on_its_way_and_is_not_repeated() {
        let fixture = Fixture::new();
        let layer = fixture.layer("a", Compression::Gzip);
        let slow = Slow::default();
        let early = Early::new(vec![("x".into(), &slow)]);
        let ended: Result<()> = early.during(&fixture.access.store, &Progress::silent(), || {
            (0..50).for_each(|_| early.ready("x", &layer));
            while slow.sent.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            Err(broken())
        });
        assert!(ended.is_err());
        let sent = slow.sent.lock().unwrap();
        assert!(sent.len() <= WORKERS && !sent.contains(&"a done".to_string()), "{sent:?}");

        // A destination that failed gets nothing more before it is written to, where it is tried again.
        let failing = Slow { fails: true, ..Slow::default() };
        let early = Early::new(vec![("x".into(), &failing)]);
        let ended = early.during(&fixture.access.store, &Progress::silent(), || {
            early.ready("x", &layer);
            early.settle(0);
            early.ready("x", &layer);
            early.settle(0);
            Ok(())
        });
        assert!(ended.is_ok() && failing.sent.lock().unwrap().len() == 1);
    }

    #[test]
    fn a_panic_ends_it_too() {
        let fixture = Fixture::new();
        let slow = Slow::default();
        let early = Early::new(vec![("x".into(), &slow)]);
        let run =
            || early.during(&fixture.access.store, &Progress::silent(), || -> Result<()> { panic!("on purpose") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}
