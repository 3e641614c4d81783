//! The stack's sandbox: `ingot sandbox serve` on this machine, in the background. Services talk to it through a socket in
//! a folder that they get; no container ever sees the engine.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::ingot::SandboxSpec;
use super::state::{Place, SOCKET};
use super::trouble::Trouble;
use crate::engine::Kind;
use crate::error::Result;
use crate::fs;
use crate::net::{Listening, probe};
use crate::process::Detached;

/// How long it may take until it has proved its place: it starts a container for that.
const STARTING: Duration = Duration::from_secs(120);
/// How long one answer may take.
const ANSWERING: Duration = Duration::from_secs(10);
/// How long it may take to end its sessions.
const ENDING: Duration = Duration::from_secs(15);
/// Between two questions.
const TICK: Duration = Duration::from_millis(100);
/// The most bytes of a note.
const NOTE_LIMIT: u64 = 64 << 10;
/// The most bytes of a log that is gone on with, and how many of its lines are shown.
const LOG_LIMIT: u64 = 4 << 20;
const TAIL: usize = 10;

/// What was started, to be found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    process: Detached,
    words: Vec<String>,
    socket: PathBuf,
}

/// What is known of a stack's sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxState {
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// What it says of its health, if it answers.
    pub health: Option<Json>,
    /// Whether it says that it is healthy.
    pub healthy: bool,
    /// The image that code runs in.
    pub image: String,
}

/// What is to be served.
pub struct Background<'a> {
    /// What the stack says.
    pub spec: &'a SandboxSpec,
    /// The image, as the engine calls it.
    pub image: String,
    /// Which engine.
    pub engine: Kind,
    /// Whether nothing but a container will do.
    pub production: bool,
}

impl Background<'_> {
    /// Starts the service unless it runs as it should, and waits until it is healthy. The folder of its socket.
    pub fn ensure(&self, place: &Place) -> Result<PathBuf> {
        let folder = place.sockets()?;
        let socket = folder.join(SOCKET);
        let words = self.words(&socket);
        if let Some(note) = note(place)? {
            if note.process.is_alive() && note.words == words && asked(&note).healthy {
                return Ok(folder);
            }
            note.process.end(ENDING);
        }
        let note = Note { process: self.start(&words, place)?, words, socket };
        fs::write_private(&place.sandbox_process(), &serde_json::to_vec(&note).unwrap_or_default())?;
        let deadline = Instant::now() + STARTING;
        loop {
            let state = asked(&note);
            if state.healthy {
                return Ok(folder);
            }
            let why = match (&state.pid, &state.health) {
                (None, _) => "it has ended".to_string(),
                (_, Some(health)) => format!("it is not healthy: {health}"),
                _ if Instant::now() >= deadline => format!("it does not answer after {} s", STARTING.as_secs()),
                _ => {
                    thread::sleep(TICK);
                    continue;
                }
            };
            note.process.end(ENDING);
            return Err(Trouble::Sandbox { why, log: tail(place) }.into());
        }
    }

    fn words(&self, socket: &std::path::Path) -> Vec<String> {
        let mut words: Vec<String> = ["sandbox", "serve", "--detached", "--shared"].map(str::to_string).to_vec();
        let mut pair = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        pair("socket", &socket.display().to_string());
        pair("engine", self.engine.program());
        pair("image", &self.image);
        self.spec.options.iter().for_each(|(name, value)| pair(name, value));
        if self.spec.allow_weak {
            words.push("--allow-weak".into());
        }
        words
    }

    fn start(&self, words: &[String], place: &Place) -> Result<Detached> {
        let log = place.sandbox_log();
        if fs::symlink_metadata(&log).is_ok_and(|found| found.len() > LOG_LIMIT) {
            fs::remove_file(&log)?;
        }
        let program = std::env::current_exe().map_err(fs::failed("find", std::path::Path::new("/proc/self/exe")))?;
        let mut command = Command::new(program);
        command.args(words);
        if self.production {
            command.env("INGOT_ENV", "production");
        }
        Ok(Detached::start(command, fs::append(&log)?)?)
    }
}

/// What is known of the stack's sandbox; nothing if none was started.
pub fn look(place: &Place) -> Result<Option<SandboxState>> {
    Ok(note(place)?.map(|note| asked(&note)))
}

/// Ends the stack's sandbox; whether there was one.
pub fn end(place: &Place) -> Result<bool> {
    let Some(note) = note(place)? else { return Ok(false) };
    let was = note.process.is_alive();
    note.process.end(ENDING);
    fs::remove_file(&note.socket)?;
    fs::remove_file(&place.sandbox_process())?;
    note.socket.ancestors().skip(1).take(2).for_each(fs::remove_empty_dir);
    Ok(was)
}

fn note(place: &Place) -> Result<Option<Note>> {
    let path = place.sandbox_process();
    let Some(bytes) = fs::read_optional(&path, NOTE_LIMIT)? else { return Ok(None) };
    let note = serde_json::from_slice(&bytes).map_err(|_| Trouble::State { path: path.display().to_string() })?;
    Ok(Some(note))
}

fn asked(note: &Note) -> SandboxState {
    let pid = note.process.pid();
    let image = note.words.iter().find_map(|word| word.strip_prefix("--image=")).unwrap_or_default().to_string();
    let answer = pid.and_then(|_| probe(Listening::Unix(&note.socket), "/health", ANSWERING).ok());
    let health = answer.as_ref().and_then(|answer| serde_json::from_slice::<Json>(&answer.body).ok());
    let healthy = answer.is_some_and(|answer| answer.status == 200);
    SandboxState { pid, health, healthy, image }
}

/// The last lines of its log.
pub fn tail(place: &Place) -> Vec<String> {
    let text = fs::read_text(&place.sandbox_log(), 2 * LOG_LIMIT).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL)).map(ToString::to_string).collect()
}
