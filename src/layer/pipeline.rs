//! Batches become a layer's bytes: made in any order by whoever has time, hashed and written in theirs.
//!
//! There is no thread here. Three kinds of work are done by the layer's own thread, which never waits while there is
//! some, and by tasks of the rayon pool, which end when there is none:
//!
//! 1. hash the tar: the plain bytes of the first batch that is not hashed yet, as soon as any are there;
//! 2. write the blob (its writer hashes it): the segments of the first batch that is not written yet;
//! 3. make the first batch that nobody has begun.
//!
//! One thread at a time hashes and one writes, so the order is kept. What is made ahead of both is bounded by
//! [`AHEAD`]: beyond it only the batch that is to be hashed next is begun, and whoever is inflating a large member
//! hashes, or waits for whoever does.
//!
//! Nothing can wait for ever: batches are begun in order, so all before a batch that is being made are made or being
//! made; a thread waits only for what another is doing at that moment, and the first of those never waits. Hence
//! any number of threads will do, one included, and so will a pool that makes several layers at once.

use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Packed;
use super::batch::{Batch, Made, Piece, Plain};
use super::run::Tools;
use super::tar;
use crate::oci::Hasher;

/// Bytes of one layer that are made and not yet hashed or written.
const AHEAD: usize = 24 << 20;
/// Literal bytes of one layer that wait for being compressed.
const WAITING: usize = 8 << 20;
/// Batches of one layer that wait for being made.
const WAITING_BATCHES: usize = 64;
/// Pieces of this many plain bytes are hashed before somebody else is let in.
const HASHED_AT_ONCE: usize = 8;
/// What the blob's writer gets at once.
const BUFFER: usize = 256 << 10;
/// Bytes of an archive that were written are let go in parts of this size.
const RELEASE: usize = 1 << 20;

/// A layer's blob and its CRC.
pub(super) struct Blob<W: Write> {
    out: BufWriter<W>,
    /// Of the whole tar.
    pub crc: crc32fast::Hasher,
    /// What was written of an archive and still counts as this program's memory.
    written: Option<(Packed, Range<usize>)>,
}

struct Slot {
    plain: VecDeque<Plain>,
    /// Literal bytes that it holds until it is hashed.
    text: usize,
    /// No more plain bytes will come.
    emitted: bool,
    hashed: bool,
    made: Option<Made>,
}

struct State<W: Write> {
    waiting: VecDeque<(u64, Batch)>,
    waiting_text: usize,
    /// Batches that are not hashed and written, begun or not; the first has the number `first`.
    slots: VecDeque<Slot>,
    first: u64,
    /// The next batch to hash and to write.
    hash_at: u64,
    write_at: u64,
    /// `None` while somebody hashes or writes.
    tar: Option<Hasher>,
    blob: Option<Blob<W>>,
    ahead: usize,
    /// How many threads are doing something.
    running: usize,
    failed: Option<(u64, io::Error)>,
    panicked: Option<Box<dyn Any + Send>>,
}

/// One layer on its way.
pub(super) struct Pipeline<W: Write> {
    state: Mutex<State<W>>,
    changed: Condvar,
}

type Guard<'a, W> = MutexGuard<'a, State<W>>;

impl<W: Write> State<W> {
    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn fail(&mut self, number: u64, error: io::Error) {
        if self.failed.as_ref().is_none_or(|(first, _)| number < *first) {
            self.failed = Some((number, error));
        }
        // Those before it are being made: one of them may fail too, and the first is the one that is told.
        self.waiting.clear();
    }

    fn is_over(&self) -> bool {
        self.failed.is_some() || self.panicked.is_some()
    }

    /// Forgets batches that are done.
    fn trim(&mut self) {
        while self.first < self.hash_at.min(self.write_at) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

impl<W: Write + Send + 'static> Pipeline<W> {
    /// Of a blob that begins with what was written to `out`.
    pub fn new(out: W) -> Arc<Self> {
        let blob = Blob { out: BufWriter::with_capacity(BUFFER, out), crc: crc32fast::Hasher::new(), written: None };
        let state = State {
            waiting: VecDeque::new(),
            waiting_text: 0,
            slots: VecDeque::new(),
            first: 0,
            hash_at: 0,
            write_at: 0,
            tar: Some(Hasher::new()),
            blob: Some(blob),
            ahead: 0,
            running: 0,
            failed: None,
            panicked: None,
        };
        Arc::new(Pipeline { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> Guard<'_, W> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next batch; works until there is room for it.
    pub fn push(self: &Arc<Self>, batch: Batch) -> io::Result<()> {
        let mut state = self.lock();
        while !state.is_over()
            && (state.waiting.len() >= WAITING_BATCHES || state.waiting_text > WAITING || state.ahead > AHEAD)
        {
            state = self.work_or_wait(state);
        }
        if state.is_over() {
            return Err(self.end(state));
        }
        let number = state.first + state.slots.len() as u64;
        let slot = Slot { plain: VecDeque::new(), text: batch.text(), emitted: false, hashed: false, made: None };
        state.slots.push_back(slot);
        state.waiting_text += batch.text();
        state.waiting.push_back((number, batch));
        drop(state);
        self.invite();
        Ok(())
    }

    /// Works until all is written. Returns the blob's writer, its CRC, and the hasher of the tar.
    pub fn finish(self: &Arc<Self>) -> io::Result<(W, crc32fast::Hasher, Hasher)> {
        let mut state = self.lock();
        while !state.is_over() && (!state.slots.is_empty() || state.running > 0) {
            state = self.work_or_wait(state);
        }
        if state.is_over() {
            return Err(self.end(state));
        }
        let taken = state.blob.take().zip(state.tar.take());
        drop(state);
        let (blob, tar) = taken.ok_or_else(stuck)?;
        let out = blob.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((out, blob.crc, tar))
    }

    /// Ends what is under way, and drops the blob's writer: nothing more will be written.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.fail(0, io::Error::other("cancelled"));
        self.changed.notify_all();
        while state.running > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.blob = None;
        state.slots.clear();
    }

    /// The error, when nobody is working any more.
    fn end(&self, mut state: Guard<'_, W>) -> io::Error {
        while state.running > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(panic) = state.panicked.take() {
            state.failed = Some((0, io::Error::other("a thread panicked")));
            drop(state);
            resume_unwind(panic);
        }
        match &mut state.failed {
            // Whoever asks again gets an error again.
            Some((_, error)) => std::mem::replace(error, io::Error::other("it failed before")),
            None => stuck(),
        }
    }

    /// Lets the pool know that there is work.
    fn invite(self: &Arc<Self>) {
        let pipeline = self.clone();
        rayon::spawn(move || {
            let mut state = pipeline.lock();
            loop {
                let (now, worked) = pipeline.work(state);
                if !worked {
                    return;
                }
                state = now;
            }
        });
    }

    fn work_or_wait<'a>(self: &'a Arc<Self>, state: Guard<'a, W>) -> Guard<'a, W> {
        let (mut state, worked) = self.work(state);
        if !worked && !state.is_over() {
            if state.running == 0 {
                state.fail(0, stuck());
                return state;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Does a piece of work, if there is any.
    fn work<'a>(self: &'a Arc<Self>, state: Guard<'a, W>) -> (Guard<'a, W>, bool) {
        let (state, worked) = self.hand_on(state);
        if worked { (state, true) } else { self.make(state) }
    }

    /// Hashes or writes, if somebody should.
    fn hand_on<'a>(self: &'a Arc<Self>, state: Guard<'a, W>) -> (Guard<'a, W>, bool) {
        let (state, worked) = self.hash(state);
        if worked { (state, true) } else { self.write(state) }
    }

    /// Calls `act` without the lock. A panic ends the layer, and goes on in the layer's own thread.
    fn unlocked<'a, T>(&'a self, mut state: Guard<'a, W>, act: impl FnOnce() -> T) -> (Guard<'a, W>, Option<T>) {
        state.running += 1;
        drop(state);
        let done = catch_unwind(AssertUnwindSafe(act));
        let mut state = self.lock();
        state.running -= 1;
        self.changed.notify_all();
        match done {
            Ok(value) => (state, Some(value)),
            Err(panic) => {
                state.waiting.clear();
                state.panicked = Some(panic);
                (state, None)
            }
        }
    }

    fn hash<'a>(self: &'a Arc<Self>, mut state: Guard<'a, W>) -> (Guard<'a, W>, bool) {
        if state.is_over() || state.tar.is_none() {
            return (state, false);
        }
        let mut plain = Vec::new();
        let (mut text, mut at) = (0, state.hash_at);
        while let Some(slot) = state.slot(at) {
            let room = HASHED_AT_ONCE.saturating_sub(plain.len()).min(slot.plain.len());
            plain.extend(slot.plain.drain(..room));
            if !slot.emitted || !slot.plain.is_empty() {
                break;
            }
            slot.hashed = true;
            text += slot.text;
            at += 1;
        }
        let moved = at > state.hash_at;
        state.hash_at = at;
        state.trim();
        if plain.is_empty() {
            state.ahead -= text;
            return (state, moved);
        }
        let Some(mut tar) = state.tar.take() else { return (state, false) };
        let weight = text + plain.len() * Plain::WEIGHT;
        let (mut state, tar) = self.unlocked(state, move || {
            for plain in plain {
                plain.pieces().for_each(|piece| tar.update(piece));
            }
            tar
        });
        state.tar = tar;
        state.ahead -= weight;
        (state, true)
    }

    fn write<'a>(self: &'a Arc<Self>, mut state: Guard<'a, W>) -> (Guard<'a, W>, bool) {
        let number = state.write_at;
        if state.is_over() || state.blob.is_none() {
            return (state, false);
        }
        let Some(made) = state.slot(number).and_then(|slot| slot.made.take()) else { return (state, false) };
        let Some(mut blob) = state.blob.take() else { return (state, false) };
        let weight = made.weight();
        let (mut state, done) = self.unlocked(state, move || {
            let written = blob.write(&made);
            (blob, written)
        });
        if let Some((blob, written)) = done {
            state.blob = Some(blob);
            if let Err(error) = written {
                state.fail(number, error);
            }
        }
        state.write_at += 1;
        state.ahead -= weight;
        state.trim();
        (state, true)
    }

    fn make<'a>(self: &'a Arc<Self>, mut state: Guard<'a, W>) -> (Guard<'a, W>, bool) {
        let begins = |(number, _): &(u64, Batch)| state.ahead <= AHEAD || *number == state.hash_at;
        if state.is_over() || !state.waiting.front().is_some_and(begins) {
            return (state, false);
        }
        let Some((number, batch)) = state.waiting.pop_front() else { return (state, false) };
        state.waiting_text -= batch.text();
        state.ahead += batch.text();
        let (mut state, done) =
            self.unlocked(state, || Tools::with(|tools| batch.make(tools, &mut |plain| self.emit(number, plain))));
        match done {
            Some(Ok(made)) => {
                state.ahead += made.weight();
                if let Some(slot) = state.slot(number) {
                    slot.emitted = true;
                    slot.made = Some(made);
                }
            }
            Some(Err(error)) => state.fail(number, error),
            None => {}
        }
        (state, true)
    }

    /// Takes plain bytes of a batch that is being made; does not return while there are too many.
    fn emit(self: &Arc<Self>, number: u64, plain: Plain) {
        let mut state = self.lock();
        if state.is_over() {
            return;
        }
        let Some(slot) = state.slot(number) else { return };
        slot.plain.push_back(plain);
        let many = slot.plain.len() > 1;
        state.ahead += Plain::WEIGHT;
        // Whoever makes a page or less hashes it next.
        if many && state.tar.is_some() && state.hash_at == number {
            self.changed.notify_all();
            self.invite();
        }
        while !state.is_over() && state.ahead > AHEAD && state.slot(number).is_some_and(|slot| slot.plain.len() > 1) {
            let (now, worked) = self.hand_on(state);
            state = now;
            if !worked && !state.is_over() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// What cannot happen; better than waiting for ever.
fn stuck() -> io::Error {
    io::Error::other("nobody makes the next segment")
}

impl<W: Write> Blob<W> {
    fn write(&mut self, made: &Made) -> io::Result<()> {
        for piece in &made.pieces {
            match piece {
                Piece::Run(part, joint) => {
                    for bytes in joint.pieces(&made.packed[part.clone()]) {
                        self.out.write_all(bytes)?;
                    }
                }
                Piece::Member(packed, joint) => {
                    let bytes = tar::packed_bytes(packed).map_err(tar::Unpack::into_io)?;
                    for bytes in joint.pieces(bytes) {
                        self.member(packed, bytes)?;
                    }
                }
            }
        }
        self.crc.combine(&made.crc);
        Ok(())
    }

    /// Writes a part of an archive (or a few bytes instead), and lets go what was written.
    fn member(&mut self, packed: &Packed, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(RELEASE) {
            self.out.write_all(part)?;
            let base = packed.archive.as_ptr() as usize;
            let start = (part.as_ptr() as usize).wrapping_sub(base);
            if start >= packed.archive.len() {
                continue;
            }
            let end = start + part.len();
            match &mut self.written {
                Some((other, range))
                    if Arc::ptr_eq(&other.archive, &packed.archive)
                        && start >= range.start
                        && start <= range.end + BUFFER =>
                {
                    range.end = range.end.max(end);
                }
                written => {
                    release(written.take());
                    *written = Some((packed.clone(), start..end));
                }
            }
            if let Some((_, range)) = &self.written
                && range.len() >= RELEASE
            {
                release(self.written.take());
            }
        }
        Ok(())
    }
}

fn release(written: Option<(Packed, Range<usize>)>) {
    if let Some((packed, range)) = written {
        packed.archive.release(range);
    }
}
