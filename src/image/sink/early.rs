//! Layers on their way while others are still being made.
//!
//! A few threads of their own wait for networks and disks, not all of them for one destination. When the work fails,
//! what is in the queue is forgotten and what is on its way is broken off: a registry keeps blobs that nothing names for
//! a while, which is harmless. Nobody waits for a destination that does not answer: neither the others, nor the end.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Sink;
use super::parallel::WORKERS;
use crate::error::{During, Error, Result};
use crate::image::Blob;
use crate::layer::{BlobFile, BlobSource, LayerBlob};
use crate::oci::{Descriptor, Digest};
use crate::progress::Progress;
use crate::registry;

/// How long the end waits for what is broken off. One that waits for an answer is left behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// Destinations of one run, and the layers that they are to get early.
pub struct Early {
    shared: Arc<Shared>,
}

/// What threads that are left behind keep.
struct Shared {
    sinks: Vec<(String, Arc<dyn Sink>)>,
    /// How many layers may be on their way to one destination.
    share: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(usize, Blob)>,
    /// What may not leave yet, and is on its way to where nobody sees it.
    begun: BTreeSet<(usize, Digest)>,
    /// By destination: how many layers are on their way, and whether one failed.
    sending: Vec<usize>,
    failed: Vec<bool>,
    /// By destination: how it refused to let in who pushes.
    refused: Vec<Option<registry::Error>>,
    closed: bool,
}

impl Early {
    /// For these destinations, each with the variant that it gets.
    pub fn new(sinks: Vec<(String, Arc<dyn Sink>)>) -> Self {
        let count = sinks.len();
        let refused = sinks.iter().map(|_| None).collect();
        let queue = Queue { sending: vec![0; count], failed: vec![false; count], refused, ..Queue::default() };
        let takers = sinks.iter().filter(|(_, sink)| sink.takes_early()).count();
        let share = (WORKERS / takers.max(1)).max(1);
        let (changed, stopped) = Default::default();
        Early { shared: Arc::new(Shared { sinks, share, queue: Mutex::new(queue), changed, stopped }) }
    }

    /// A layer of this variant may leave.
    pub fn ready(&self, variant: &str, layer: &LayerBlob) {
        self.send(variant, layer, |queue, at, sink| sink.takes_early() && !queue.begun.contains(&at));
    }

    /// A layer of this variant may not leave yet, but may be where nobody sees it.
    pub fn begins(&self, variant: &str, layer: &LayerBlob) {
        self.send(variant, layer, |queue, at, sink| sink.takes_unseen() && queue.begun.insert(at));
    }

    fn send(&self, variant: &str, layer: &LayerBlob, takes: impl Fn(&mut Queue, (usize, Digest), &dyn Sink) -> bool) {
        let mut queue = self.shared.queue();
        for (number, (wanted, sink)) in self.shared.sinks.iter().enumerate() {
            let (descriptor, name) = (layer.descriptor.clone(), layer.name.clone());
            if wanted == variant && takes(&mut queue, (number, descriptor.digest), sink.as_ref()) {
                queue.waiting.push_back((number, Blob { descriptor, name, layer: Some(layer.clone()) }));
            }
        }
        self.shared.changed.notify_all();
    }

    /// Fails when every destination has refused to let in who pushes: then the rest need not be made. If there is one
    /// that takes the image, it gets it.
    pub fn wanted(&self) -> Result<()> {
        let queue = self.shared.queue();
        match queue.refused.first() {
            Some(Some(first)) if queue.refused.iter().all(Option::is_some) => {
                let name = self.shared.sinks.first().map(|(_, sink)| sink.name()).unwrap_or_default();
                first.refusal().map_or(Ok(()), Err).during(|| format!("pushing to `{name}`"))
            }
            _ => Ok(()),
        }
    }

    /// Waits until nothing is on its way to a destination, given by its number. What has not left by now does not leave
    /// early: who writes to the destination sends it.
    pub fn settle(&self, number: usize) {
        let mut queue = self.shared.queue();
        queue.waiting.retain(|(to, _)| *to != number);
        while queue.sending.get(number).is_some_and(|sending| *sending > 0) {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does `work`, and meanwhile sends what gets ready, from `blobs`.
    pub fn during<T>(
        &self,
        blobs: &Arc<dyn BlobSource>,
        progress: &Progress,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let workers = if self.shared.sinks.iter().any(|(_, sink)| sink.takes_early()) { WORKERS } else { 0 };
        let _closing = Closing(&self.shared);
        for _ in 0..workers {
            let (shared, inner, progress) = (self.shared.clone(), blobs.clone(), progress.clone());
            let sending = move || {
                let blobs = Stoppable { inner, shared: shared.clone() };
                shared.send_all(&blobs, &progress);
            };
            // With fewer threads, or none, the layers leave in the end.
            if thread::Builder::new().name("ingot-early".into()).spawn(sending).is_err() {
                break;
            }
        }
        work()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_all(&self, blobs: &dyn BlobSource, progress: &Progress) {
        while let Some((number, blob)) = self.next() {
            let mut sending = Sending { shared: self, number, failed: true };
            let Some((_, sink)) = self.sinks.get(number) else { continue };
            match sink.send(&blob, blobs, progress) {
                Ok(()) => sending.failed = false,
                Err(error) => self.refused(number, &error, progress),
            }
        }
    }

    /// Says at once, and once, that a destination does not let one in: the end of the build may be minutes away. All
    /// other failures may be gone by then.
    fn refused(&self, number: usize, error: &Error, progress: &Progress) {
        let refusal = error.cause().downcast_ref().and_then(registry::Error::refusal);
        let mut queue = self.queue();
        if let Some(refusal) = refusal
            && let Some(known @ None) = queue.refused.get_mut(number)
        {
            *known = Some(refusal);
            let stopped = queue.closed;
            drop(queue);
            if !stopped {
                progress.message(&format!("warning: {error}"));
            }
        }
    }

    /// Waits for a layer whose destination may get one more, and counts it as on its way. `None`: there is no more.
    fn next(&self) -> Option<(usize, Blob)> {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return None;
            }
            let free = |number: usize| queue.sending.get(number).is_some_and(|sending| *sending < self.share);
            if let Some(place) = queue.waiting.iter().position(|(number, _)| free(*number))
                && let Some((number, blob)) = queue.waiting.remove(place)
            {
                if queue.failed.get(number).copied().unwrap_or(true) {
                    continue;
                }
                queue.sending.iter_mut().skip(number).take(1).for_each(|sending| *sending += 1);
                return Some((number, blob));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One layer on its way; nobody waits for it any more when this is dropped, be it in a panic.
struct Sending<'a> {
    shared: &'a Shared,
    number: usize,
    failed: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        if let Some(sending) = queue.sending.get_mut(self.number) {
            *sending -= 1;
        }
        if let Some(failed) = queue.failed.get_mut(self.number) {
            *failed |= self.failed;
        }
        drop(queue);
        self.shared.changed.notify_all();
    }
}

/// Ends the threads, also if the work panics: what is still waiting is forgotten, what is on its way is broken off.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        let mut queue = self.0.queue();
        queue.closed = true;
        queue.waiting.clear();
        self.0.changed.notify_all();
        let busy = |queue: &mut Queue| queue.sending.iter().any(|sending| *sending > 0);
        drop(self.0.changed.wait_timeout_while(queue, PATIENCE, busy));
        self.0.sinks.iter().for_each(|(_, sink)| sink.forget());
    }
}

/// Blobs that cannot be read any more once nobody wants them.
struct Stoppable {
    inner: Arc<dyn BlobSource>,
    shared: Arc<Shared>,
}

impl BlobSource for Stoppable {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(StoppableReader { inner: self.inner.open(descriptor)?, shared: self.shared.clone() }))
    }

    fn file(&self, descriptor: &Descriptor) -> Result<Option<BlobFile>> {
        self.inner.file(descriptor)
    }
}

struct StoppableReader {
    inner: Box<dyn Read + Send>,
    shared: Arc<Shared>,
}

impl Read for StoppableReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.shared.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the build has failed"));
        }
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;
    use crate::image::fixture::Fixture;
    use crate::image::{Artifact, Receipt};
    use crate::oci::media_type::Compression;
    use crate::progress::Reporter;

    /// Takes layers slowly, and remembers them.
    #[derive(Default)]
    struct Slow {
        sent: Mutex<Vec<String>>,
        fails: bool,
        closed: bool,
        hides: bool,
    }

    impl Sink for Slow {
        fn name(&self) -> String {
            "slow".into()
        }
        fn takes_early(&self) -> bool {
            !self.closed
        }
        fn takes_unseen(&self) -> bool {
            self.hides
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

    /// Says when a layer arrives, and does not answer before the other end says so.
    struct Stuck {
        arrived: Mutex<Sender<()>>,
        answer: Mutex<Receiver<()>>,
    }

    impl Stuck {
        fn new() -> (Arc<Stuck>, Receiver<()>, Sender<()>) {
            let ((arrived, seen), (answering, answer)) = (channel(), channel());
            (Arc::new(Stuck { arrived: Mutex::new(arrived), answer: Mutex::new(answer) }), seen, answering)
        }
    }

    impl Sink for Stuck {
        fn name(&self) -> String {
            "stuck".into()
        }
        fn takes_early(&self) -> bool {
            true
        }
        fn send(&self, _: &Blob, _: &dyn BlobSource, _: &Progress) -> Result<()> {
            let _ = self.arrived.lock().unwrap().send(());
            // As long as a test can wait to see that somebody waits.
            let _ = self.answer.lock().unwrap().recv_timeout(TOO_LONG);
            Ok(())
        }
        fn write(&self, _: &Artifact, _: &dyn BlobSource, _: &Progress) -> Result<Receipt> {
            unreachable!()
        }
    }

    const TOO_LONG: Duration = Duration::from_secs(20);

    fn store(fixture: &Fixture) -> Arc<dyn BlobSource> {
        Arc::new(fixture.access.store.clone())
    }

    fn broken() -> crate::error::Error {
        crate::fs::Error::NotText { path: "y".into() }.into()
    }

    #[test]
    fn layers_go_to_the_destinations_of_their_variant_and_are_waited_for() {
        let fixture = Fixture::new();
        let layers = [fixture.layer("a", Compression::Gzip), fixture.layer("b", Compression::Gzip)];
        let sink = |closed| Arc::new(Slow { closed, ..Slow::default() });
        let (one, two, none) = (sink(false), sink(false), sink(true));
        let early = Early::new(vec![("x".into(), one.clone()), ("y".into(), two.clone()), ("x".into(), none.clone())]);
        let sent = early.during(&store(&fixture), &Progress::silent(), || {
            layers.iter().for_each(|layer| early.ready("x", layer));
            early.ready("y", &layers[0]);
            let has = |sink: &Slow, name: &str| sink.sent.lock().unwrap().iter().any(|sent| sent == name);
            while !(has(&one, "a") && has(&one, "b") && has(&two, "a")) {
                std::thread::yield_now();
            }
            (0..3).for_each(|number| early.settle(number));
            let mut sent = one.sent.lock().unwrap().clone();
            sent.sort();
            Ok(sent)
        });
        assert_eq!(sent.unwrap(), ["a", "a done", "b", "b done"]);
        assert_eq!((two.sent.lock().unwrap().len(), none.sent.lock().unwrap().len()), (2, 0));
    }

    #[test]
    fn a_base_begins_where_nobody_sees_it_and_is_sent_once() {
        let fixture = Fixture::new();
        let layer = fixture.layer("base", Compression::Gzip);
        let sink = |hides| Arc::new(Slow { hides, ..Slow::default() });
        let (hidden, other) = (sink(true), sink(false));
        let early = Early::new(vec![("x".into(), hidden.clone()), ("x".into(), other.clone())]);
        let ended = early.during(&store(&fixture), &Progress::silent(), || {
            early.begins("x", &layer);
            early.begins("y", &layer);
            while hidden.sent.lock().unwrap().len() < 2 {
                std::thread::yield_now();
            }
            assert!(other.sent.lock().unwrap().is_empty(), "it may not leave");
            early.ready("x", &layer);
            while other.sent.lock().unwrap().len() < 2 {
                std::thread::yield_now();
            }
            Ok(())
        });
        ended.unwrap();
        assert_eq!(*hidden.sent.lock().unwrap(), ["base", "base done"]);
    }

    #[test]
    fn a_failure_stops_what_is_on_its_way_and_is_not_repeated() {
        let fixture = Fixture::new();
        let layer = fixture.layer("a", Compression::Gzip);
        let slow = Arc::new(Slow::default());
        let early = Early::new(vec![("x".into(), slow.clone())]);
        let ended: Result<()> = early.during(&store(&fixture), &Progress::silent(), || {
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
        let failing = Arc::new(Slow { fails: true, ..Slow::default() });
        let early = Early::new(vec![("x".into(), failing.clone())]);
        let ended = early.during(&store(&fixture), &Progress::silent(), || {
            for _ in 0..2 {
                early.ready("x", &layer);
                while failing.sent.lock().unwrap().is_empty() {
                    std::thread::yield_now();
                }
                early.settle(0);
            }
            Ok(())
        });
        assert!(ended.is_ok() && failing.sent.lock().unwrap().len() == 1);
    }

    #[test]
    fn a_build_that_fails_does_not_wait_for_a_destination_that_is_stuck() {
        let fixture = Fixture::new();
        let layer = fixture.layer("a", Compression::Gzip);
        let (stuck, seen, _answer) = Stuck::new();
        let early = Early::new(vec![("x".into(), stuck)]);
        let begin = Instant::now();
        let ended: Result<()> = early.during(&store(&fixture), &Progress::silent(), || {
            early.ready("x", &layer);
            seen.recv().unwrap();
            Err(broken())
        });
        assert!(ended.is_err() && begin.elapsed() < TOO_LONG / 2, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_destination_does_not_wait_for_another_that_is_stuck() {
        let fixture = Fixture::new();
        let layer = fixture.layer("a", Compression::Gzip);
        let (stuck, seen, _answer) = Stuck::new();
        let good = Arc::new(Slow::default());
        let early = Early::new(vec![("x".into(), stuck), ("x".into(), good.clone())]);
        let begin = Instant::now();
        let ended = early.during(&store(&fixture), &Progress::silent(), || {
            (0..20).for_each(|_| early.ready("x", &layer));
            // Both get some although one would take all that there is.
            seen.recv().unwrap();
            while good.sent.lock().unwrap().is_empty() && begin.elapsed() < TOO_LONG {
                std::thread::yield_now();
            }
            early.settle(1);
            let sent = good.sent.lock().unwrap().clone();
            std::thread::sleep(Duration::from_millis(100));
            // What had not left by then is for who writes.
            assert_eq!(*good.sent.lock().unwrap(), sent);
            Ok(sent)
        });
        let sent = ended.unwrap();
        let finished = sent.iter().filter(|line| *line == "a done").count();
        assert!(finished > 0 && finished * 2 == sent.len(), "{sent:?}");
        assert!(begin.elapsed() < TOO_LONG / 2, "{:?}", begin.elapsed());
        assert!(seen.try_iter().count() < WORKERS / 2, "one was seen before");
    }

    /// Lets nobody in.
    struct Closed;

    impl Sink for Closed {
        fn name(&self) -> String {
            "docker://r.example/a:1".into()
        }
        fn takes_early(&self) -> bool {
            true
        }
        fn send(&self, _: &Blob, _: &dyn BlobSource, _: &Progress) -> Result<()> {
            let (registry, what, message) = ("r.example".into(), "push `a`".into(), "who?".into());
            let error: Error = registry::Error::Unauthorized { registry, what, known: false, message }.into();
            Err(error.during("pushing blob x"))
        }
        fn write(&self, _: &Artifact, _: &dyn BlobSource, _: &Progress) -> Result<Receipt> {
            unreachable!()
        }
    }

    #[test]
    fn who_is_not_let_in_hears_it_at_once_and_makes_nothing_in_vain() {
        #[derive(Default)]
        struct Said(Mutex<Vec<String>>);
        impl Reporter for Said {
            fn started(&self, _: u64, _: &str, _: Option<u64>) {}
            fn advanced(&self, _: u64, _: u64) {}
            fn finished(&self, _: u64, _: &str) {}
            fn message(&self, text: &str) {
                self.0.lock().unwrap().push(text.into());
            }
        }
        let fixture = Fixture::new();
        let layer = fixture.layer("a", Compression::Gzip);
        for others in [false, true] {
            let mut sinks: Vec<(String, Arc<dyn Sink>)> = vec![("x".into(), Arc::new(Closed))];
            if others {
                sinks.push(("x".into(), Arc::new(Slow { closed: true, ..Slow::default() })));
            }
            let (early, said) = (Early::new(sinks), Arc::new(Said::default()));
            let wanted = early.during(&store(&fixture), &Progress::new(said.clone()), || {
                early.wanted().unwrap();
                let begin = Instant::now();
                while said.0.lock().unwrap().is_empty() && begin.elapsed() < TOO_LONG {
                    early.ready("x", &layer);
                    std::thread::sleep(Duration::from_millis(5));
                }
                early.settle(0);
                Ok([early.wanted(), early.wanted()])
            });
            let refusal = "registry `r.example` does not let anonymous users push `a`: who?";
            assert_eq!(*said.0.lock().unwrap(), [format!("warning: pushing blob x: {refusal}")]);
            for wanted in wanted.unwrap() {
                // The other one takes the image.
                let text = wanted.err().map(|error| error.to_string());
                let expected = format!("pushing to `docker://r.example/a:1`: {refusal}");
                assert_eq!(text, (!others).then_some(expected));
            }
        }
    }

    #[test]
    fn a_panic_ends_it_too() {
        let fixture = Fixture::new();
        let slow = Arc::new(Slow::default());
        let early = Early::new(vec![("x".into(), slow.clone())]);
        let run = || early.during(&store(&fixture), &Progress::silent(), || -> Result<()> { panic!("on purpose") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}
