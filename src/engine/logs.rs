//! What containers say, line by line, as the engine keeps it.

use std::io::{BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
/// How long the end of a log may take.
const TAIL_TIMEOUT: Duration = Duration::from_secs(20);

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
        for (number, container) in containers.iter().enumerate() {
            clients.push(self.log(number, container, tail, follow, &sender)?);
        }
        Ok(Logs { clients, lines })
    }

    /// The last lines of a container's log, stdout and stderr in the order in which the engine gives them.
    pub fn tail(&self, container: &str, lines: u32) -> Result<Vec<String>, Error> {
        let logs = self.logs(&[container], Some(lines), false)?;
        let deadline = Instant::now() + TAIL_TIMEOUT;
        let mut found = Vec::new();
        while let Some(line) = logs.next(deadline.saturating_duration_since(Instant::now())) {
            found.push(String::from_utf8_lossy(&line.bytes).into_owned());
        }
        let surplus = found.len().saturating_sub(lines as usize);
        Ok(found.split_off(surplus))
    }

    /// How many lines a log has by now.
    fn lines(&self, container: &str) -> Result<usize, Error> {
        let logs = self.logs(&[container], None, false)?;
        let deadline = Instant::now() + TAIL_TIMEOUT;
        let more = || logs.next(deadline.saturating_duration_since(Instant::now()));
        Ok(std::iter::from_fn(more).count())
    }

    fn log(
        &self,
        number: usize,
        container: &str,
        tail: Option<u32>,
        follow: bool,
        sender: &SyncSender<Line>,
    ) -> Result<Running, Error> {
        if !argument(container) {
            return Err(Error::Argument { kind: self.kind, text: clean(container) });
        }
        // podman 4's own `--tail` loses and mixes what a program wrote in pieces, as an unbuffered Python does.
        let (tail, skip) = match tail {
            Some(tail) if self.kind == Kind::Podman => (None, self.lines(container)?.saturating_sub(tail as usize)),
            tail => (tail.map(|tail| format!("--tail={tail}")), 0),
        };
        let follow = follow.then_some("--follow");
        let words = std::iter::once("logs").chain(follow).chain(tail.as_deref()).chain([container]);
        let mut command = self.command(words);
        // Both streams through one pipe: what was said first comes first.
        let failed = |source| Error::Pipe { kind: self.kind, source };
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let client = Running::start(command).map_err(|source| Error::Run { kind: self.kind, source })?;
        let sender = sender.clone();
        thread::spawn(move || pass(reader, number, skip, &sender));
        Ok(client)
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

fn pass(pipe: impl Read, container: usize, mut skip: usize, sender: &SyncSender<Line>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let (used, ended, over) = match std::io::BufRead::fill_buf(&mut reader) {
            Ok([]) | Err(_) => (0, false, true),
            Ok(bytes) => {
                let room = LINE_BYTES - line.len();
                let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
                let taken = end.unwrap_or_else(|| bytes.len().min(room));
                line.extend(bytes.iter().take(taken));
                (taken + usize::from(end.is_some()), end.is_some() || line.len() >= LINE_BYTES, false)
            }
        };
        std::io::BufRead::consume(&mut reader, used);
        if ended || over && !line.is_empty() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let bytes = std::mem::take(&mut line);
            if skip > 0 {
                skip -= 1;
            } else if sender.send(Line { container, bytes }).is_err() {
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(kind: Kind, script: &str) -> (tempfile::TempDir, Engine) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_str().unwrap().to_string();
        (folder, Engine { kind, program, version: "4.3.1".into() })
    }

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
