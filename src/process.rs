//! The only user of `std::process`: every program that Ingot calls has a timeout, a cap on its output, and is
//! killed with its whole tree (it leads a process group of its own).

#![allow(clippy::disallowed_methods, reason = "the only user of std::process")]

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::{Class, Explain};

/// The most that is kept of a program's stdout or stderr, in bytes. What comes after it is read and dropped.
pub const OUTPUT_LIMIT: usize = 4 << 20;

/// How long a program may run if the caller has no better idea.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a program's pipes are read after its end, if somebody who has left its group holds them.
const GRACE: Duration = Duration::from_secs(1);

/// A program that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed, or not executable.
    #[error("could not start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It ran longer than it may and was killed.
    #[error("`{program}` did not end within {} s and was killed", timeout.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// How long it was given.
        timeout: Duration,
    },
    /// Talking to it failed.
    #[error("could not talk to `{program}`")]
    Pipe {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the program is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Start { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Engine
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Start { program, .. } if self.is_missing() => {
                Some(format!("install `{program}`, or put it on PATH"))
            }
            _ => None,
        }
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// At most [`OUTPUT_LIMIT`] bytes.
    pub stdout: Vec<u8>,
    /// At most [`OUTPUT_LIMIT`] bytes.
    pub stderr: Vec<u8>,
}

impl Output {
    /// stderr as text, without what a terminal would act on.
    pub fn stderr_text(&self) -> String {
        printable(&self.stderr)
    }

    /// stdout as text, without what a terminal would act on.
    pub fn stdout_text(&self) -> String {
        printable(&self.stdout)
    }
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn groups() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Kills every program that still runs. For the signal handler.
pub fn kill_all() {
    // As long as the list is held, nobody is buried whose number is in it.
    let mut all = groups();
    for leader in std::mem::take(&mut *all) {
        kill_group(leader);
    }
}

/// Kills a group whose leader is not buried yet: until then its number is nobody else's.
fn kill_group(leader: u32) {
    if let Some(pid) = Pid::from_raw(leader as i32) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// How often a program is tried that somebody still has open for writing, 10 ms apart.
const BUSY_RETRIES: u32 = 50;

/// Starts the program. One that was written a moment ago is busy as long as a child that another thread has forked
/// holds its descriptor, which it does until its own exec: that passes.
fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY_RETRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    command.spawn()
}

/// A running program that leads its process group; dropping it kills the group.
pub struct Running {
    child: Child,
    program: String,
}

impl Running {
    /// Starts `command` with the given pipes. Its own process group, no controlling input unless piped.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        let child = spawn(&mut command).map_err(|source| Error::Start { program: program.clone(), source })?;
        groups().insert(child.id());
        Ok(Running { child, program })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it ends or `timeout` has passed; then kills the group.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        self.watch(timeout)?;
        self.bury()
    }

    /// Waits like [`Running::wait`], and leaves its number and that of its group to it.
    fn watch(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.is_over(WaitIdOptions::NOHANG) {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() >= deadline => {
                    self.kill();
                    return Err(Error::Timeout { program: self.program.clone(), timeout });
                }
                Ok(false) => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(source) => return Err(Error::Pipe { program: self.program.clone(), source }),
            }
        }
    }

    /// Whether it has ended. It is not buried.
    fn is_over(&self, how: WaitIdOptions) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.child.id() as i32) else { return Ok(true) };
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | how) {
            Ok(found) => Ok(found.is_some()),
            // Whoever holds the child has asked it, and so buried it.
            Err(Errno::CHILD) => Ok(true),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn kill(&self) {
        kill_group(self.child.id());
        while matches!(self.is_over(WaitIdOptions::empty()), Ok(false)) {}
    }

    /// How it ended. From now on its number is free.
    fn bury(&mut self) -> Result<ExitStatus, Error> {
        let mut all = groups();
        let status = self.child.wait();
        all.remove(&self.child.id());
        status.map_err(|source| Error::Pipe { program: self.program.clone(), source })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.is_over(WaitIdOptions::NOHANG), Ok(false)) {
            self.kill();
        }
        let _ = self.bury();
    }
}

/// Runs `command` to its end, feeding `stdin`, keeping at most [`OUTPUT_LIMIT`] of what it says.
///
/// A non-zero exit is not an error here: callers know what it means. Somebody who has left its process group and holds
/// its pipes is not waited for: what was read by then is kept.
pub fn run(mut command: Command, stdin: &[u8], timeout: Duration) -> Result<Output, Error> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command)?;
    let program = running.program.clone();
    let failed = |source| Error::Pipe { program: program.clone(), source };
    let (input, out, err) = {
        let child = running.child();
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    };
    // Closed when the program has ended, which whoever reads sees.
    let (ended, end) = io::pipe().map_err(failed)?;
    let ended = ended.as_fd();
    thread::scope(|scope| {
        scope.spawn(move || input.map(|pipe| feed(pipe, stdin, ended)));
        let stdout = scope.spawn(move || out.map(|pipe| capped(pipe, ended)).transpose());
        let stderr = scope.spawn(move || err.map(|pipe| capped(pipe, ended)).transpose());
        let over = running.watch(timeout);
        kill_group(running.child().id());
        drop(end);
        let status = over.and_then(|()| running.bury());
        let gather = |handle: thread::ScopedJoinHandle<'_, io::Result<Option<Vec<u8>>>>| {
            handle
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the reader stopped")))
                .map(Option::unwrap_or_default)
                .map_err(failed)
        };
        let (stdout, stderr) = (gather(stdout), gather(stderr));
        Ok(Output { status: status?, stdout: stdout?, stderr: stderr? })
    })
}

/// A program that goes on when this one ends. It can be written down and found again: its number alone would be another
/// program's some day.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Detached {
    pid: u32,
    /// This boot of the machine, and when in it the program was started.
    born: String,
}

impl Detached {
    /// Starts a program that reads nothing and says everything to `log`. It is to leave this process's session itself
    /// ([`leave_session`]), and is not killed with others.
    pub fn start(mut command: Command, log: std::fs::File) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| Error::Start { program: program.clone(), source };
        let other = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(log).stderr(other);
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id();
        match birth(pid) {
            Some(born) => Ok(Detached { pid, born }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(io::Error::other("it has no entry in /proc")))
            }
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        birth(self.pid).as_ref() == Some(&self.born)
    }

    /// Its number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.is_alive().then_some(self.pid)
    }

    /// Asks it to end, and kills it if it has not ended in time. Nothing happens to another program that has its number.
    pub fn end(&self, patience: Duration) {
        use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let Some(pid) = Pid::from_raw(self.pid as i32) else { return };
        // The number is looked at after it is held: what is held is what was looked at.
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if !self.is_alive() {
            return;
        }
        let _ = pidfd_send_signal(&held, Signal::TERM);
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                let _ = pidfd_send_signal(&held, Signal::KILL);
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Leaves the session and the process group of whoever started this program, so that neither its terminal nor its end
/// reaches it.
pub fn leave_session() {
    // Refused only to the leader of a group, who has left.
    let _ = rustix::process::setsid();
}

/// When a process was started, if it runs: fields 3 and 22 of proc_pid_stat(5).
fn birth(pid: u32) -> Option<String> {
    let text = |path: &str| String::from_utf8(crate::fs::read_optional(path.as_ref(), 4096).ok()??).ok();
    let stat = text(&format!("/proc/{pid}/stat"))?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    Some(format!("{}/{}", text("/proc/sys/kernel/random/boot_id")?.trim(), fields.nth(18)?))
}

/// Gives a program its input. One that does not read it closes the pipe: that is its right.
fn feed(mut pipe: impl Write + AsFd, mut input: &[u8], ended: BorrowedFd<'_>) {
    // Else a write would wait for room for all of it.
    if rustix::io::ioctl_fionbio(&pipe, true).is_err() {
        return;
    }
    let mut last = None;
    while !input.is_empty() && matches!(ready(pipe.as_fd(), PollFlags::OUT, ended, &mut last), Ok(true)) {
        match pipe.write(input) {
            Ok(n) => input = input.get(n..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(_) => return,
        }
    }
}

fn capped(mut pipe: impl Read + AsFd, ended: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut buffer = [0u8; 16 << 10];
    let mut last = None;
    while ready(pipe.as_fd(), PollFlags::IN, ended, &mut last)? {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                let room = OUTPUT_LIMIT - kept.len();
                kept.extend_from_slice(&buffer[..n.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}

/// Waits until a pipe can be used, or until the program has ended and [`GRACE`] has passed since; `last` is when it will
/// have.
fn ready(pipe: BorrowedFd<'_>, how: PollFlags, ended: BorrowedFd<'_>, last: &mut Option<Instant>) -> io::Result<bool> {
    loop {
        let left = last.map(|last| last.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut waits = vec![PollFd::from_borrowed_fd(pipe, how)];
        // What has ended is not waited for again.
        if last.is_none() {
            waits.push(PollFd::from_borrowed_fd(ended, PollFlags::IN));
        }
        match poll(&mut waits, timeout.as_ref()) {
            Err(Errno::INTR) => continue,
            found => found?,
        };
        let happened = |number| waits.get(number).is_some_and(|one: &PollFd<'_>| !one.revents().is_empty());
        if happened(1) {
            *last = Some(Instant::now() + GRACE);
        }
        if happened(0) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_input_pass_through() {
        let output = run(sh("cat; echo oops >&2; exit 3"), b"hello", DEFAULT_TIMEOUT).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"hello"[..]));
        assert_eq!(output.stderr_text(), "oops");
    }

    #[test]
    fn a_flood_is_cut_and_a_hang_is_killed_with_its_children() {
        let output = run(sh("yes | head -c 9000000"), b"", DEFAULT_TIMEOUT).unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
        let before = Instant::now();
        let error = run(sh("sleep 300 & sleep 300"), b"", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(before.elapsed() < Duration::from_secs(20));
    }

    /// What leaves the group of its program is not killed with it, and holds its pipes on.
    #[test]
    fn whoever_has_left_and_holds_the_pipes_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let left = "exec 3<&0; setsid sh -c 'echo $$ > pid; exec sleep 60' <&3 & while [ ! -s pid ]; do sleep 0.02; done; echo said";
        for (rest, input, timeout) in [
            ("", 0, DEFAULT_TIMEOUT),
            // More than a pipe holds, and nobody reads it.
            ("", 1 << 20, DEFAULT_TIMEOUT),
            ("; exec sleep 60", 0, Duration::from_secs(2)),
        ] {
            let _ = std::fs::remove_file(folder.path().join("pid"));
            let mut command = sh(&format!("{left}{rest}"));
            command.current_dir(folder.path());
            let before = Instant::now();
            let result = run(command, &vec![b'x'; input], timeout);
            let took = before.elapsed();
            let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
            let pid = Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it has left, and lives");
            match result {
                Ok(output) => assert_eq!((output.stdout_text().as_str(), rest), ("said", "")),
                Err(error) => assert!(matches!(error, Error::Timeout { .. }) && !rest.is_empty(), "{error}"),
            }
            assert!(took < Duration::from_secs(20), "{rest}: {took:?}");
        }
    }

    #[test]
    fn a_program_is_buried_once_whoever_asks() {
        let mut running = Running::start(sh("exit 4")).unwrap();
        let id = running.child().id();
        while running.child().try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(running.wait(DEFAULT_TIMEOUT).unwrap().code(), Some(4), "it was asked before");
        assert!(!groups().contains(&id), "its number is free");
        let mut hanging = Running::start(sh("sleep 300")).unwrap();
        assert!(matches!(hanging.wait(Duration::from_millis(50)), Err(Error::Timeout { .. })));
        let id = hanging.child().id();
        drop(hanging);
        assert!(!groups().contains(&id));
    }

    #[test]
    fn a_program_that_is_busy_for_a_moment_is_started() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "#!/bin/sh\necho ready\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let closer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            drop(writer);
        });
        let output = run(Command::new(&path), b"", DEFAULT_TIMEOUT).unwrap();
        assert_eq!(output.stdout_text(), "ready");
        closer.join().unwrap();
    }

    #[test]
    fn a_detached_program_is_found_again_and_no_other_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let detached = Detached::start(sh("echo here; trap 'exit 0' TERM; while :; do sleep 0.05; done"), log).unwrap();
        assert!(detached.is_alive() && detached.pid() == Some(detached.pid));
        let said = || std::fs::read_to_string(folder.path().join("log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while said().is_empty() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
        let other = Detached { born: "another boot/1".into(), ..detached.clone() };
        assert!(!other.is_alive());
        other.end(Duration::ZERO);
        assert!(detached.is_alive(), "its number is another program's now");
        detached.end(Duration::from_secs(20));
        assert!(!detached.is_alive());
        assert_eq!(said(), "here\n");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let stubborn = Detached::start(sh("trap '' TERM; while :; do sleep 0.05; done"), log).unwrap();
        thread::sleep(Duration::from_millis(100));
        stubborn.end(Duration::from_millis(200));
        let deadline = Instant::now() + Duration::from_secs(10);
        while stubborn.is_alive() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_missing_program_has_a_hint() {
        let error = run(Command::new("no-such-program-here"), b"", DEFAULT_TIMEOUT).unwrap_err();
        assert!(error.is_missing());
        assert_eq!(error.to_string(), "could not start `no-such-program-here`");
        assert!(error.hint().is_some_and(|hint| hint.contains("PATH")));
    }
}
