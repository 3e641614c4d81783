//! From the start of the code to the end of its last process: output, time, memory, orphans.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait as wait_for_any};

use super::cgroup::Cgroups;
use super::outbox::Outbox;
use super::start::Child;
use super::{kill, kill_adopted};
use crate::fs;
use crate::sandbox::frame::{DATA_BYTES, Kind};
use crate::sandbox::order::{Order, Place};
use crate::sandbox::outcome::{Check, Ended};

/// How often is looked where the kernel does not wake us.
const TICK: Duration = Duration::from_millis(10);
/// How often memory is counted where no control group limits it.
const MEMORY_TICK: Duration = Duration::from_millis(50);
/// How many pieces are taken of one stream before the clock is looked at.
const TURNS: usize = 16;
/// How long what is left in the pipes may take when everybody is dead.
const DRAIN: Duration = Duration::from_secs(2);
/// The most processes that are counted.
const PROCESSES_LIMIT: usize = 4096;

/// One of the code's two streams.
struct Stream<P> {
    pipe: Option<P>,
    kind: Kind,
    limit: u64,
    seen: u64,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(pipe: P, kind: Kind, limit: u64) -> Self {
        if let Ok(flags) = rustix::fs::fcntl_getfl(&pipe) {
            let _ = rustix::fs::fcntl_setfl(&pipe, flags | OFlags::NONBLOCK);
        }
        Stream { pipe: Some(pipe), kind, limit, seen: 0 }
    }

    /// Takes what is there. What is beyond the limit is counted and forgotten.
    fn take(&mut self, outbox: &mut Outbox) {
        let mut buffer = [0u8; DATA_BYTES];
        for _ in 0..TURNS {
            let Some(pipe) = &mut self.pipe else { return };
            if self.seen < self.limit && outbox.full() {
                return;
            }
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = usize::try_from(self.limit.saturating_sub(self.seen)).unwrap_or(usize::MAX);
                    let kept = buffer.get(..count.min(room)).unwrap_or_default();
                    if !kept.is_empty() {
                        outbox.push(self.kind, kept);
                    }
                    self.seen += count as u64;
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

struct Watch<'a> {
    order: &'a Order,
    pid: Pid,
    started: Instant,
    status: Option<WaitStatus>,
    ended_at: Option<Instant>,
    /// When SIGTERM was sent.
    warned: Option<Instant>,
    killed: bool,
    timed_out: bool,
    /// Whether nobody but the guard counts the memory.
    counts_memory: bool,
    counted_at: Instant,
    peak: u64,
    over: bool,
}

/// Relays until the code and everything that it started is gone.
pub fn until_ended(
    child: Child,
    order: &Order,
    cgroups: &Cgroups,
    checks: &[Check],
    input: &OwnedFd,
    outbox: &mut Outbox,
) -> Result<Ended, String> {
    let Child { running, pid, stdout, stderr } = child;
    let counts_memory = checks.iter().any(|check| check.name == "memory" && !check.holds);
    // Groups that limit nothing are somebody else's: they count for others, too.
    let nobodys = Cgroups::default();
    let cgroups = if counts_memory { &nobodys } else { cgroups };
    let kills_before = cgroups.oom_kills().unwrap_or_default();
    let mut out = Stream::new(stdout, Kind::Stdout, order.limits.stdout);
    let mut err = Stream::new(stderr, Kind::Stderr, order.limits.stderr);
    let now = Instant::now();
    let mut watch = Watch {
        order,
        pid,
        started: now,
        status: None,
        ended_at: None,
        warned: None,
        killed: false,
        timed_out: false,
        counts_memory,
        counted_at: now,
        peak: 0,
        over: false,
    };
    let ends = pidfd_open(pid, PidfdFlags::empty()).ok();
    while watch.status.is_none() {
        wait(&watch, &out, &err, ends.as_ref(), input, outbox)?;
        out.take(outbox);
        err.take(outbox);
        outbox.send();
        watch.reap();
        watch.keep_time();
        watch.count_memory();
    }
    // Whatever it has left behind goes with it.
    kill(order.place, Some(pid), libc::SIGKILL);
    drain(&mut out, &mut err, &mut watch, input, outbox)?;
    drop(running);
    let killed_now = cgroups.oom_kills().unwrap_or_default() > kills_before;
    Ok(watch.ended(killed_now || watch.over, cgroups, out.seen, err.seen))
}

fn wait<A: AsFd, B: AsFd>(
    watch: &Watch<'_>,
    out: &Stream<A>,
    err: &Stream<B>,
    ends: Option<&OwnedFd>,
    input: &OwnedFd,
    outbox: &Outbox,
) -> Result<(), String> {
    // A closed pipe of the host is told without asking.
    let mut waits = vec![PollFd::new(input, PollFlags::empty())];
    if outbox.waiting() {
        waits.push(PollFd::from_borrowed_fd(outbox.pipe(), PollFlags::OUT));
    }
    if let Some(ends) = ends {
        waits.push(PollFd::new(ends, PollFlags::IN));
    }
    if let Some(pipe) = out.pipe.as_ref().filter(|_| !outbox.full() || out.seen >= out.limit) {
        waits.push(PollFd::new(pipe, PollFlags::IN));
    }
    if let Some(pipe) = err.pipe.as_ref().filter(|_| !outbox.full() || err.seen >= err.limit) {
        waits.push(PollFd::new(pipe, PollFlags::IN));
    }
    let mut timeout = watch.next_deadline();
    if ends.is_none() {
        timeout = timeout.min(TICK);
    }
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let _ = poll(&mut waits, Some(&timeout));
    let host = waits.first().map_or(PollFlags::empty(), PollFd::revents);
    if outbox.closed() || host.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        kill(watch.order.place, Some(watch.pid), libc::SIGKILL);
        if watch.order.place == Place::Host {
            // Those of the group are gone in a moment; then their children are ours.
            std::thread::sleep(TICK);
            kill_adopted();
        }
        return Err("the host is gone".into());
    }
    Ok(())
}

/// What is still in the pipes, until nobody has them open any more.
fn drain<A: Read + AsFd, B: Read + AsFd>(
    out: &mut Stream<A>,
    err: &mut Stream<B>,
    watch: &mut Watch<'_>,
    input: &OwnedFd,
    outbox: &mut Outbox,
) -> Result<(), String> {
    let until = Instant::now() + DRAIN;
    while (out.pipe.is_some() || err.pipe.is_some() || watch.reap()) && Instant::now() < until {
        out.take(outbox);
        err.take(outbox);
        outbox.send();
        kill(watch.order.place, Some(watch.pid), libc::SIGKILL);
        if watch.order.place == Place::Host {
            kill_adopted();
        }
        wait_shortly(input, outbox)?;
    }
    Ok(())
}

fn wait_shortly(input: &OwnedFd, outbox: &Outbox) -> Result<(), String> {
    let mut waits = vec![PollFd::new(input, PollFlags::empty())];
    if outbox.waiting() {
        waits.push(PollFd::from_borrowed_fd(outbox.pipe(), PollFlags::OUT));
    }
    let _ = poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 2_000_000 }));
    let host = waits.first().map_or(PollFlags::empty(), PollFd::revents);
    match host.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        true => Err("the host is gone".into()),
        false => Ok(()),
    }
}

impl Watch<'_> {
    fn next_deadline(&self) -> Duration {
        let end = match self.warned {
            None => self.started + Duration::from_millis(self.order.limits.timeout_ms),
            Some(warned) if !self.killed => warned + Duration::from_millis(self.order.grace_ms),
            Some(_) => Instant::now() + TICK,
        };
        let left = end.saturating_duration_since(Instant::now());
        if self.counts_memory { left.min(MEMORY_TICK) } else { left }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        let place = self.order.place;
        match self.warned {
            None if now >= self.started + Duration::from_millis(self.order.limits.timeout_ms) => {
                (self.timed_out, self.warned) = (true, Some(now));
                kill(place, Some(self.pid), libc::SIGTERM);
                // One that is stopped would not hear it.
                kill(place, Some(self.pid), libc::SIGCONT);
            }
            Some(warned) if now >= warned + Duration::from_millis(self.order.grace_ms) => {
                self.killed = true;
                kill(place, Some(self.pid), libc::SIGKILL);
            }
            _ => {}
        }
    }

    /// Takes in whoever has died, orphans too; whether somebody is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait_for_any(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => {
                    (self.status, self.ended_at) = (Some(status), Some(Instant::now()));
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Where the kernel does not limit memory, the guard does what it can.
    fn count_memory(&mut self) {
        if !self.counts_memory || self.counted_at.elapsed() < MEMORY_TICK || self.status.is_some() {
            return;
        }
        self.counted_at = Instant::now();
        let used = match self.order.place {
            Place::Container => everybody(),
            Place::Host => resident(&format!("/proc/{}", self.pid.as_raw_nonzero())),
        };
        self.peak = self.peak.max(used);
        if used > self.order.limits.memory {
            self.over = true;
            kill(self.order.place, Some(self.pid), libc::SIGKILL);
        }
    }

    fn ended(&self, out_of_memory: bool, cgroups: &Cgroups, stdout_bytes: u64, stderr_bytes: u64) -> Ended {
        let usage = children_usage();
        let wall = self.ended_at.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        Ended {
            exit_code: self.status.and_then(WaitStatus::exit_status),
            signal: self.status.and_then(WaitStatus::terminating_signal),
            timed_out: self.timed_out,
            out_of_memory,
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            user_ms: usage.0,
            system_ms: usage.1,
            peak_memory: cgroups.peak_memory().unwrap_or(usage.2.max(self.peak)),
            stdout_bytes,
            stderr_bytes,
        }
    }
}

/// Bytes of their own of every process that can be seen but this one.
fn everybody() -> u64 {
    let own = super::own_id().to_string();
    let numbered = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name != own && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let folders = fs::read_dir(std::path::Path::new("/proc")).unwrap_or_default();
    folders
        .iter()
        .filter(|path| numbered(path))
        .take(PROCESSES_LIMIT)
        .map(|path| resident(&path.to_string_lossy()))
        .sum()
}

fn resident(folder: &str) -> u64 {
    let text = fs::read_text(std::path::Path::new(&format!("{folder}/statm")), 4096).unwrap_or_default();
    // size resident shared: what several of them map of one file would count several times.
    let mut pages = text.split_whitespace().skip(1).map(|pages| pages.parse::<u64>().unwrap_or_default());
    let (resident, shared) = (pages.next().unwrap_or_default(), pages.next().unwrap_or_default());
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}

/// Milliseconds in programs and in the kernel, and the peak of the largest, of all children that ended.
fn children_usage() -> (u64, u64, u64) {
    // SAFETY: the structure is the kernel's to fill, and zero is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let millis = |time: libc::timeval| (time.tv_sec as u64).saturating_mul(1000) + (time.tv_usec as u64) / 1000;
    (millis(usage.ru_utime), millis(usage.ru_stime), (usage.ru_maxrss as u64).saturating_mul(1024))
}
