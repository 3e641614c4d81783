//! The guard: process 1 of a sandbox's container. It reads the limits back from the kernel, starts the code as its
//! child, keeps its time, hands its output and its files to the host, and takes everything down with itself.
//!
//! It has one thread and waits in one place. It never blocks on the host: what the host does not take in time stays
//! here, within a limit, while the clock goes on. When the pipe from the host closes, it ends at once.

mod cgroup;
mod collect;
mod filter;
mod kernel;
mod mounts;
mod outbox;
mod relay;
mod start;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::frame::{self, Kind};
use super::order::{Order, Place, Start};
use cgroup::Cgroups;
pub use collect::{DEPTH_LIMIT, PATH_LIMIT};
pub use kernel::names as check_names;
use outbox::Outbox;

/// The word after `ingot` that makes it a guard; no command, and in no help.
pub const WORD: &str = "__sandbox-guard";
/// How long the host may take for the last frames.
const FLUSH: Duration = Duration::from_secs(20);
/// The exit code of a guard that could not do its work.
const FAILED: u8 = 125;

/// Runs as the guard. `input` brings the order and is open as long as the host is there; frames go to `output`.
pub fn run(input: OwnedFd, output: OwnedFd) -> u8 {
    // Nobody of the same user looks into this process or attaches to it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut outbox = Outbox::new(output);
    match guard(&input, &mut outbox) {
        Ok(()) => {
            outbox.push(Kind::Done, b"");
            if outbox.flush(&input, Instant::now() + FLUSH) { 0 } else { FAILED }
        }
        Err(reason) => {
            kill_everything(Place::Host, None);
            outbox.push(Kind::Failed, reason.as_bytes());
            outbox.flush(&input, Instant::now() + FLUSH);
            FAILED
        }
    }
}

fn guard(input: &OwnedFd, outbox: &mut Outbox) -> Result<(), String> {
    close_inherited();
    let order = read_order(input)?;
    if order.place == Place::Host {
        // Orphans become this process's children, so that they can be found.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let cgroups = Cgroups::find();
    start::fence(&order);
    let mut checks = kernel::checks(&order, &cgroups);
    // After the engine's own was seen; what it takes away, the guard itself does not need.
    let installed = filter::install();
    checks.push(kernel::own_filter(installed.is_ok() && filter::is_in_force()));
    let weak = checks.iter().any(|check| !check.holds);
    outbox.json(Kind::Checks, &checks)?;
    if order.start == Start::Nothing || (weak && !order.allow_weak) {
        return Ok(());
    }
    let child = start::start(&order)?;
    outbox.push(Kind::Started, b"");
    let ended = relay::until_ended(child, &order, &cgroups, &checks, input, outbox)?;
    outbox.json(Kind::Ended, &ended)?;
    if let Some(output) = &order.output {
        collect::collect(output, input, outbox)?;
    }
    Ok(())
}

fn read_order(input: &OwnedFd) -> Result<Order, String> {
    let copy = input.try_clone().map_err(|error| format!("stdin: {error}"))?;
    match frame::read(&mut std::fs::File::from(copy)) {
        Ok(Some((Kind::Order, bytes))) => serde_json::from_slice(&bytes).map_err(|error| format!("the order: {error}")),
        Ok(_) => Err("there is no order".into()),
        Err(error) => Err(format!("the order: {error}")),
    }
}

/// Descriptors that somebody left open do not reach the code.
fn close_inherited() {
    // SAFETY: it only sets flags; descriptors beyond stderr are not ours to keep across an exec.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Ends every process of the container but this one; on a host, the child's group.
fn kill_everything(place: Place, group: Option<rustix::process::Pid>) {
    kill(place, group, libc::SIGKILL);
}

fn kill(place: Place, group: Option<rustix::process::Pid>, signal: libc::c_int) {
    match (place, group) {
        // As process 1, -1 is everybody in this namespace and nobody else.
        (Place::Container, _) if own_id() == 1 => {
            // SAFETY: a plain system call.
            unsafe { libc::kill(-1, signal) };
        }
        (_, Some(group)) => {
            // SAFETY: a plain system call; the group is our child's.
            unsafe { libc::kill(-group.as_raw_nonzero().get(), signal) };
        }
        _ => {}
    }
}

/// Ends whoever this process has adopted on a host. Whose parent is ended comes to this process next.
fn kill_adopted() {
    let path = format!("/proc/self/task/{}/children", own_id());
    let listed = crate::fs::read_text(std::path::Path::new(&path), 1 << 20).unwrap_or_default();
    let ids = listed.split_whitespace().filter_map(|id| id.parse::<libc::pid_t>().ok()).filter(|id| *id > 1);
    for id in ids {
        // SAFETY: a plain system call; a child's number is its own until it is waited for, which only this thread does.
        unsafe { libc::kill(id, libc::SIGKILL) };
    }
}

/// This process's number, as its namespace counts.
fn own_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}
