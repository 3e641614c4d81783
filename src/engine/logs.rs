//! What containers say, line by line, as the engine keeps it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::clean;
use super::transfer::argument;
use super::{Engine, Error, Kind};
use crate::process::{self, Running};

/// The longest line; the rest of it is another line.
const LINE_BYTES: usize = 16 << 10;
/// Lines that may wait for the reader.
const WAITING: usize = 1024;
/// How long the end of a log may take: after that it is the end of what was read.
const TAIL_TIMEOUT: Duration = Duration::from_secs(20);
/// The most bytes of the end of a log.
const TAIL_BYTES: usize = 1 << 20;
/// How long the lines of a log may take to be counted.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Of a log of which nothing but its last line is wanted, so many bytes are read between two pauses: however much a
/// service says, no core is busy with it.
const SIP: usize = 64 << 10;
/// See [`SIP`].
const BREATH: Duration = Duration::from_millis(20);
/// How long a log that has ended is left alone: its container may have been started again.
const AGAIN: Duration = Duration::from_secs(2);

/// A line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the container, in the order in which they were named.
    pub container: usize,
    /// The line, whatever bytes it has.
    pub bytes: Vec<u8>,
}

/// The logs of several containers at once. Dropped, their clients are killed.
pub struct Logs {
    clients: Vec<Running>,
    lines: Receiver<Line>,
}

impl Engine {
    /// Begins to read the logs of containers: their last `tail` lines or all, and with `follow` what comes until they end.
    pub fn logs(&self, containers: &[&str], tail: Option<u32>, follow: bool) -> Result<Logs, Error> {
        let (sender, lines) = sync_channel(WAITING);
        let mut clients = Vec::new();
        for (container, name) in containers.iter().enumerate() {
            let mut skip = match tail {
                Some(tail) if self.kind == Kind::Podman => self.lines(name)?.saturating_sub(tail as usize),
                _ => 0,
            };
            let (native, sender) = (self.native_tail(tail), sender.clone());
            let (client, _) = self.read(name, &[follow.then_some("--follow"), native.as_deref()], move |bytes| {
                let wanted = skip == 0;
                skip = skip.saturating_sub(1);
                !wanted || sender.send(Line { container, bytes }).is_ok()
            })?;
            clients.push(client);
        }
        Ok(Logs { clients, lines })
    }

    /// The last lines of a container's log, stdout and stderr in the order in which the engine gives them.
    pub fn tail(&self, container: &str, lines: u32) -> Result<Vec<String>, Error> {
        let native = self.native_tail(Some(lines));
        let end = Arc::new(Mutex::new(End::default()));
        let (_client, over) = self.read(container, &[native.as_deref()], {
            let end = Arc::clone(&end);
            move |line| {
                held(&end).push(line, lines as usize);
                true
            }
        })?;
        // Whatever has come by then.
        let _ = over.recv_timeout(TAIL_TIMEOUT);
        let lines = std::mem::take(&mut held(&end).lines);
        Ok(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }

    /// Follows a container's log for its last line.
    pub fn last_line(&self, container: &str) -> Result<LastLine, Error> {
        let last = Arc::new(Mutex::new(Vec::new()));
        // For one line, podman's own `--tail` is good enough: what it mixes is gone with the next line.
        let (client, over) = self.read(container, &[Some("--follow"), Some("--tail=1")], {
            let (last, mut sipped) = (Arc::clone(&last), 0);
            move |line| {
                sipped += line.len() + 1;
                if !line.trim_ascii().is_empty() {
                    *held(&last) = line;
                }
                if sipped >= SIP {
                    sipped = 0;
                    thread::sleep(BREATH);
                }
                true
            }
        })?;
        Ok(LastLine { _client: client, last, over, begun: Instant::now() })
    }

    /// How many lines a log has by now.
    fn lines(&self, container: &str) -> Result<usize, Error> {
        let count = Arc::new(Mutex::new(0));
        let (_client, over) = self.read(container, &[], {
            let count = Arc::clone(&count);
            move |_| {
                *held(&count) += 1;
                true
            }
        })?;
        if over.recv_timeout(COUNT_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            let source = process::Error::Timeout { program: self.program.clone(), timeout: COUNT_TIMEOUT };
            return Err(Error::Run { kind: self.kind, source });
        }
        let count = *held(&count);
        Ok(count)
    }

    /// podman 4's own `--tail` loses and mixes what a program wrote in pieces, as an unbuffered Python does.
    fn native_tail(&self, tail: Option<u32>) -> Option<String> {
        tail.filter(|_| self.kind == Kind::Docker).map(|tail| format!("--tail={tail}"))
    }

    /// Gives each line of a log to somebody until he says no. The receiver is closed at the end of the log.
    fn read(
        &self,
        container: &str,
        options: &[Option<&str>],
        mut each: impl FnMut(Vec<u8>) -> bool + Send + 'static,
    ) -> Result<(Running, Receiver<()>), Error> {
        if !argument(container) {
            return Err(Error::Argument { kind: self.kind, text: clean(container) });
        }
        let words = std::iter::once("logs").chain(options.iter().copied().flatten()).chain([container]);
        let mut command = self.command(words);
        // Both streams through one pipe: what was said first comes first.
        let failed = |source| Error::Pipe { kind: self.kind, source };
        let (reader, writer) = io::pipe().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let client = Running::start(command).map_err(|source| Error::Run { kind: self.kind, source })?;
        let (over, ends) = channel();
        thread::spawn(move || {
            pass(reader, &mut each);
            drop(over);
        });
        Ok((client, ends))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of something that may be long.
#[derive(Default)]
struct End {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl End {
    fn push(&mut self, line: Vec<u8>, most: usize) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > most || self.bytes > TAIL_BYTES {
            let Some(first) = self.lines.pop_front() else { return };
            self.bytes -= first.len();
        }
    }
}

/// The last line of a log that goes on. Dropped, its client is killed.
pub struct LastLine {
    _client: Running,
    last: Arc<Mutex<Vec<u8>>>,
    over: Receiver<()>,
    begun: Instant,
}

impl LastLine {
    /// The last line that is not empty, if there was one.
    pub fn line(&self) -> Option<String> {
        let last = held(&self.last);
        (!last.is_empty()).then(|| String::from_utf8_lossy(&last).into_owned())
    }

    /// Whether the log has ended some time ago.
    pub fn is_over(&self) -> bool {
        self.begun.elapsed() >= AGAIN
            && matches!(self.over.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
    }
}

impl Logs {
    /// The next line; nothing if none comes within the time, or ever.
    pub fn next(&self, timeout: Duration) -> Option<Line> {
        self.lines.recv_timeout(timeout).ok()
    }

    /// The next line; `None` when all logs have ended.
    pub fn wait(&self) -> Option<Line> {
        loop {
            match self.lines.recv_timeout(process::DEFAULT_TIMEOUT) {
                Ok(line) => return Some(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// How many clients did not end well: call it after the last line.
    pub fn failed(&mut self) -> usize {
        let ended = |client: &mut Running| client.wait(TAIL_TIMEOUT).is_ok_and(|status| status.success());
        self.clients.iter_mut().map(ended).filter(|well| !well).count()
    }
}

fn pass(pipe: impl Read, each: &mut impl FnMut(Vec<u8>) -> bool) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let (used, ended, over) = match reader.fill_buf() {
            Ok([]) | Err(_) => (0, false, true),
            Ok(bytes) => {
                let room = LINE_BYTES - line.len();
                let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
                let taken = end.unwrap_or_else(|| bytes.len().min(room));
                line.extend(bytes.iter().take(taken));
                (taken + usize::from(end.is_some()), end.is_some() || line.len() >= LINE_BYTES, false)
            }
        };
        reader.consume(used);
        if ended || over && !line.is_empty() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !each(std::mem::take(&mut line)) {
                return;
            }
        }
        if over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::fake;

    #[test]
    fn lines_come_from_both_streams_and_have_a_limit() {
        for kind in Kind::ALL {
            let (_folder, engine) = fake(kind, "printf 'one\\r\\n'; echo two >&2; printf 'three'");
            assert_eq!(engine.tail("x", 10).unwrap(), ["one", "two", "three"]);
            assert_eq!(engine.tail("x", 1).unwrap(), ["three"], "also of an engine that gives more");
        }
        let (_folder, engine) = fake(Kind::Docker, "head -c 40000 /dev/zero | tr '\\0' x");
        let lengths: Vec<usize> = engine.tail("x", 10).unwrap().iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 40000 - 2 * LINE_BYTES]);
        assert!(matches!(engine.tail("--all", 1), Err(Error::Argument { .. })));
    }

    #[test]
    fn the_end_of_a_flood_is_small_and_read_once() {
        let mut end = End::default();
        (0..500).for_each(|number| end.push(vec![number as u8; LINE_BYTES], 100));
        assert_eq!((end.lines.len(), end.bytes), (TAIL_BYTES / LINE_BYTES, TAIL_BYTES));
        (0..500).for_each(|number| end.push(vec![number as u8], 3));
        assert_eq!((end.lines, end.bytes), (VecDeque::from([vec![241], vec![242], vec![243]]), 3));
        let script = "echo x >> \"$(dirname \"$0\")/calls\"; seq 200000";
        let (folder, engine) = fake(Kind::Podman, script);
        assert_eq!(engine.tail("x", 2).unwrap(), ["199999", "200000"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("calls")).unwrap(), "x\n");
    }

    #[test]
    fn the_last_line_of_a_log_that_goes_on_is_known_without_waiting() {
        let (_folder, engine) =
            fake(Kind::Podman, "echo one; sleep 0.2; echo two; echo; [ $4 = ends ] || exec sleep 60");
        let wait_for = |last: &LastLine, wanted: &dyn Fn(&LastLine) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !wanted(last) {
                assert!(Instant::now() < deadline, "{:?}", last.line());
                thread::sleep(Duration::from_millis(5));
            }
        };
        let last = engine.last_line("goes").unwrap();
        wait_for(&last, &|last| last.line().as_deref() == Some("one"));
        wait_for(&last, &|last| last.line().as_deref() == Some("two"));
        assert!(!last.is_over(), "an empty line says nothing");
        let last = engine.last_line("ends").unwrap();
        wait_for(&last, &LastLine::is_over);
        assert_eq!(last.line().as_deref(), Some("two"));
        assert!(matches!(engine.last_line("--all"), Err(Error::Argument { .. })));
    }

    #[test]
    fn several_logs_are_told_apart_and_end() {
        let said = |kind| {
            let (_folder, engine) = fake(kind, "echo \"$*\"; eval last=\\${$#}; [ $last = b ] && exit 1; true");
            let mut logs = engine.logs(&["a", "b"], Some(5), true).unwrap();
            let mut lines: Vec<Line> = std::iter::from_fn(|| logs.wait()).collect();
            lines.sort_by_key(|line| line.container);
            assert_eq!(logs.failed(), 1);
            lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(said(Kind::Docker), ["logs --follow --tail=5 a", "logs --follow --tail=5 b"]);
        assert_eq!(said(Kind::Podman), ["logs --follow a", "logs --follow b"]);
    }
}
