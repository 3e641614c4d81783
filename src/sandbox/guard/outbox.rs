//! What the guard has to say and the host has not taken yet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use serde::Serialize;

use crate::sandbox::frame::{self, Kind};

/// From here on nothing more is read of the program.
const FULL: usize = 512 << 10;

/// Frames on their way to the host; the pipe never blocks.
pub struct Outbox {
    pipe: OwnedFd,
    pending: Vec<u8>,
    sent: usize,
    closed: bool,
}

impl Outbox {
    /// Begins the stream.
    pub fn new(pipe: OwnedFd) -> Self {
        if let Ok(flags) = rustix::fs::fcntl_getfl(&pipe) {
            let _ = rustix::fs::fcntl_setfl(&pipe, flags | OFlags::NONBLOCK);
        }
        Outbox { pipe, pending: frame::MAGIC.to_vec(), sent: 0, closed: false }
    }

    /// Adds a frame.
    pub fn push(&mut self, kind: Kind, payload: &[u8]) {
        frame::encode(kind, payload, &mut self.pending);
    }

    /// Adds a frame of JSON.
    pub fn json(&mut self, kind: Kind, value: &impl Serialize) -> Result<(), String> {
        let bytes = serde_json::to_vec(value).map_err(|error| error.to_string())?;
        self.push(kind, &bytes);
        Ok(())
    }

    /// Whether there is something to send.
    pub fn waiting(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// Whether the program's output has to wait.
    pub fn full(&self) -> bool {
        self.pending.len() - self.sent > FULL
    }

    /// Whether the host does not listen any more.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// The pipe, to wait for.
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Sends what the pipe takes now.
    pub fn send(&mut self) {
        while let Some(rest) = self.pending.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.pipe, rest) {
                Ok(count) => self.sent += count,
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    self.closed = true;
                    break;
                }
            }
        }
        self.pending.clear();
        self.sent = 0;
    }

    /// Sends everything, unless the host goes or the time is over.
    pub fn flush(&mut self, input: &OwnedFd, deadline: Instant) -> bool {
        loop {
            self.send();
            if self.closed || !self.waiting() {
                return !self.closed;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            let mut waits = [PollFd::new(&self.pipe, PollFlags::OUT), PollFd::new(input, PollFlags::empty())];
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let _ = poll(&mut waits, Some(&timeout));
            if waits.get(1).is_some_and(|wait| wait.revents().intersects(PollFlags::HUP | PollFlags::ERR)) {
                return false;
            }
        }
    }
}
