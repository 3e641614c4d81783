//! One run: the container is started, the guard gets its order, and its frames are believed as far as they are within
//! what was asked for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::code::Code;
use super::frame::{self, Kind};
use super::guard::WORD;
use super::image::Prepared;
use super::order::{Limits, Order, OutputLimits, Place, Start};
use super::outcome::{Check, Outcome, Saved};
use super::own::{self, Own, Placed};
use super::reading::{Reading, Step};
use super::{Error, LABEL};
use crate::engine::{self, Attached, Container, Held, Mount};
use crate::error::Result;
use crate::fs;
use crate::layer::Store;
use crate::process::Running;
use crate::text;

/// Where the code is in the container.
const CODE: &str = "/code";
/// Where its results are.
const OUTPUT: &str = "/output";
/// An empty file that hides what an image may want to load into every program.
const PRELOAD: &str = "/etc/ld.so.preload";
/// How long an engine may take until the guard answers.
const STARTING: Duration = Duration::from_secs(90);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// How long the guard may take for results after the end.
const FINISHING: Duration = Duration::from_secs(60);
/// How long the engine may take to remove the container.
const REMOVING: Duration = Duration::from_secs(20);
/// How often is looked whether somebody has cancelled.
const TICK: Duration = Duration::from_millis(50);
/// The most that is kept of what the engine's client says.
const SAID_LIMIT: u64 = 16 << 10;
/// The exit code of an engine whose container was killed.
const KILLED: i32 = 137;
/// Frames that may wait for the host.
const WAITING: usize = 16;
/// Users that systemd keeps for services of a moment: nobody else's, also in a user namespace of 65536.
const USERS: (u32, u32) = (61184, 4336);

/// Says that a run shall end now.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the run that looks at this.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it shall end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens, when it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The limits were read back.
    Checked(&'a [Check]),
    /// The code runs.
    Started,
    /// It said something.
    Stdout(&'a [u8]),
    /// It complained.
    Stderr(&'a [u8]),
    /// A result begins.
    File(&'a Saved),
    /// More of it.
    Data(&'a [u8]),
}

/// What shall run, and how.
#[derive(Debug)]
pub struct Request {
    /// The code; without it only the limits are read back.
    pub code: Option<Code>,
    /// Its arguments.
    pub args: Vec<String>,
    /// All its variables.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: String,
    /// What it may use.
    pub limits: Limits,
    /// The Python to use, as a path in the image.
    pub interpreter: Option<String>,
    /// Whether there is an output folder.
    pub output: bool,
    /// Whether to go on if a limit is not in force.
    pub allow_weak: bool,
}

impl Request {
    /// With nothing but the code and its limits.
    pub fn new(code: Option<Code>, limits: Limits) -> Self {
        Request {
            code,
            args: Vec::new(),
            env: BTreeMap::new(),
            stdin: String::new(),
            limits,
            interpreter: None,
            output: false,
            allow_weak: false,
        }
    }
}

/// Runs code in one place.
pub struct Runner {
    place: Option<(Prepared, Own)>,
    store: Store,
    label: String,
}

/// The guard's streams, and what ends it.
struct Talk {
    client: Running,
    stdin: Option<ChildStdin>,
    frames: Receiver<std::io::Result<(Kind, Vec<u8>)>>,
    complaints: thread::JoinHandle<String>,
    held: Option<Held>,
}

impl Runner {
    /// In containers of this image; `label` is by which they are found again.
    pub fn contained(prepared: Prepared, store: &Store, label: &str) -> Result<Self> {
        Ok(Runner { place: Some((prepared, own::own()?)), store: store.clone(), label: label.into() })
    }

    /// As ordinary processes of this machine, with limits of their own and nothing else between them and it.
    pub fn uncontained(store: &Store) -> Self {
        Runner { place: None, store: store.clone(), label: String::new() }
    }

    /// The image and its engine, if there is one.
    pub fn prepared(&self) -> Option<&Prepared> {
        self.place.as_ref().map(|(prepared, _)| prepared)
    }

    /// A private folder for code.
    pub fn temporary(&self) -> Result<fs::TemporaryDir> {
        self.store.temporary_dir()
    }

    /// Runs to the end. What an event's receiver fails with ends the run.
    pub fn run(
        &self,
        request: &Request,
        cancel: &Cancel,
        tell: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        if let Some((name, least, most, value)) = request.limits.impossible() {
            return Err(Error::Limit { name, value, least, most }.into());
        }
        let scratch = self.store.temporary_dir()?;
        let empty = scratch.path().join("empty");
        fs::write_atomic(&empty, b"")?;
        let placed = self.place.as_ref().map(|(prepared, own)| own.place().map(|own| (prepared, own))).transpose()?;
        let order = self.order(request, placed.as_ref().map(|(_, own)| own), scratch.path().join("output"))?;
        let mut talk = match &placed {
            Some((prepared, own)) => self.in_container(request, &order, prepared, own, empty)?,
            None => on_host()?,
        };
        talk.send(&order)?;
        let mut reading = Reading::new(&order, request);
        let mut outcome = talk.listen(&mut reading, request, cancel, tell)?;
        talk.finish();
        outcome.stdout_kept = reading.stdout;
        outcome.stderr_kept = reading.stderr;
        Ok(outcome)
    }

    fn order(&self, request: &Request, own: Option<&Placed>, output: PathBuf) -> Result<Order> {
        let limits = &request.limits;
        let contained = own.is_some();
        let search = self.place.as_ref().map(|(prepared, _)| path_of(&prepared.image.env)).unwrap_or_default();
        let code = request.code.as_ref().map(|code| (code, code.folder().display().to_string()));
        let place = |own: &str| if contained { CODE.to_string() } else { own.to_string() };
        let start = code.as_ref().map_or(Start::Nothing, |(code, folder)| {
            code.start(&place(folder), request.interpreter.as_deref(), &search)
        });
        let workdir = code.as_ref().map_or("/".to_string(), |(_, folder)| place(folder));
        let mut folders = vec![("/tmp".to_string(), limits.tmp)];
        let mut mounts = Vec::new();
        let mut output_path = OUTPUT.to_string();
        if request.code.is_some() {
            mounts.push(CODE.to_string());
        }
        if let Some(own) = own {
            mounts.extend(own.mounts.iter().map(|mount| mount.target.clone()));
            if request.output {
                folders.push((OUTPUT.into(), limits.output));
            }
        } else {
            fs::create_dir_all(&output)?;
            (folders, mounts, output_path) = (Vec::new(), Vec::new(), output.display().to_string());
        }
        let (first, count) = USERS;
        let user = first + u32::from_le_bytes(own::random()?) % count;
        Ok(Order {
            place: if contained { Place::Container } else { Place::Host },
            limits: limits.clone(),
            user: (user, user),
            folders,
            mounts,
            own: own.map(|own| own.folder.clone()).unwrap_or_default(),
            allow_weak: request.allow_weak,
            start,
            args: request.args.clone(),
            env: request.env.clone().into_iter().collect(),
            workdir,
            stdin: request.stdin.clone(),
            grace_ms: GRACE.as_millis() as u64,
            output: request.output.then_some(OutputLimits {
                path: output_path,
                bytes: limits.output,
                files: limits.files,
            }),
        })
    }

    fn in_container(
        &self,
        request: &Request,
        order: &Order,
        prepared: &Prepared,
        own: &Placed,
        empty: PathBuf,
    ) -> Result<Talk> {
        let limits = &order.limits;
        let image = &prepared.image;
        let mut container = Container::hardened(&image.id, &engine::unique_name("ingot-sandbox"));
        container = container.with_label(LABEL, &self.label);
        container.overridden = image.inherited.clone();
        let mut entrypoint = own.entrypoint.clone();
        entrypoint.push(WORD.into());
        container.entrypoint = Some(entrypoint);
        container.user = Some(order.user);
        container.workdir = Some("/".into());
        container.stdin = true;
        container.limits = engine::Limits {
            memory: Some(limits.memory),
            millicpus: Some(limits.millicpus),
            pids: Some(limits.pids),
            // The guard lowers it for the code.
            open_files: Some(1024),
            // The user is this sandbox's own.
            user_processes: Some(u64::from(limits.pids)),
            shared_memory: Some(limits.tmp),
        };
        for (path, size) in &order.folders {
            container = container.with_tmpfs(path, *size);
        }
        container.mounts = own.mounts.clone();
        container.mounts.push(Mount { source: fs::canonical(&empty), target: PRELOAD.into() });
        if let Some(code) = &request.code {
            container.mounts.push(Mount { source: fs::canonical(code.folder()), target: CODE.into() });
        }
        container.timeout = Duration::from_millis(limits.timeout_ms) + GRACE + FINISHING;
        let Attached { client, held } = prepared.engine.attach(&container)?;
        Talk::new(client, Some(held))
    }
}

/// The guard as a process of this machine.
fn on_host() -> Result<Talk> {
    let program = std::env::current_exe().map_err(|error| Error::Own { reason: error.to_string() })?;
    let mut command = Command::new(program);
    command.arg(WORD).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Talk::new(Running::start(command)?, None)
}

/// The folders of an image's PATH.
fn path_of(env: &[String]) -> Vec<String> {
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':').filter(|folder| folder.starts_with('/')).take(50).map(str::to_string).collect()
}

impl Talk {
    fn new(mut client: Running, held: Option<Held>) -> Result<Self> {
        let child = client.child();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, frames) = sync_channel(WAITING);
        thread::spawn(move || {
            let Some(mut stdout) = stdout else { return };
            if frame::read_magic(&mut stdout).is_err() {
                return;
            }
            let mut next = || -> std::io::Result<bool> {
                match frame::read(&mut stdout)? {
                    Some(found) => Ok(sender.send(Ok(found)).is_ok()),
                    None => Ok(false),
                }
            };
            let ended = loop {
                match next() {
                    Ok(true) => {}
                    other => break other,
                }
            };
            if let Err(error) = ended {
                let _ = sender.send(Err(error));
            }
        });
        let complaints = thread::spawn(move || {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(SAID_LIMIT).read_to_end(&mut said);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Talk { client, stdin, frames, complaints, held })
    }

    fn send(&mut self, order: &Order) -> Result<()> {
        let bytes = serde_json::to_vec(order).map_err(|error| Error::Broken { what: error.to_string() })?;
        if bytes.len() > frame::FRAME_LIMIT {
            let reason = "arguments, variables and input together are larger than 1 MiB".into();
            return Err(Error::Code { path: "-".into(), reason }.into());
        }
        let mut out = Vec::new();
        frame::encode(Kind::Order, &bytes, &mut out);
        // A client that could not start says why on its stderr, which is read later.
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(&out).and_then(|()| stdin.flush());
        }
        Ok(())
    }

    fn listen(
        &mut self,
        reading: &mut Reading<'_>,
        request: &Request,
        cancel: &Cancel,
        tell: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let run = Duration::from_millis(request.limits.timeout_ms) + GRACE + FINISHING;
        let mut allowed = STARTING;
        let mut since = Instant::now();
        loop {
            match self.frames.recv_timeout(TICK) {
                Ok(Ok((kind, payload))) => {
                    if kind == Kind::Checks {
                        (allowed, since) = (run, Instant::now());
                    }
                    if reading.take(kind, &payload, &mut outcome, tell)? {
                        return Ok(outcome);
                    }
                }
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(Error::Broken { what: error.to_string() }.into());
                }
                Ok(Err(error)) => return self.cut_off(reading, outcome, since.elapsed(), &error.to_string()),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.cut_off(reading, outcome, since.elapsed(), "it ended too early");
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if cancel.is_set() {
                return Err(Error::Cancelled.into());
            }
            if since.elapsed() > allowed {
                return Err(Error::Hangs { seconds: allowed.as_secs() }.into());
            }
        }
    }

    /// The stream is over too early. A container that was killed as a whole while it worked had no memory left, not
    /// even for the guard: what is in folders in memory outlives the processes that wrote it. Anything else is a failure.
    fn cut_off(&mut self, reading: &Reading<'_>, mut outcome: Outcome, after: Duration, what: &str) -> Result<Outcome> {
        drop(self.stdin.take());
        let code = self.client.wait(REMOVING).ok().and_then(|status| status.code());
        if code == Some(KILLED) && reading.killed(&mut outcome, after) {
            return Ok(outcome);
        }
        Err(self.broken(&reading.step, code, what))
    }

    /// What it means that the stream is not as it should be.
    fn broken(&mut self, step: &Step, code: Option<i32>, what: &str) -> crate::error::Error {
        let engine = self.held.as_ref().map_or("the kernel".to_string(), |held| held.kind().to_string());
        let complaints = std::mem::replace(&mut self.complaints, thread::spawn(String::new));
        let said = complaints.join().unwrap_or_default();
        let said = text::escape(said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default());
        let said: String = said.chars().take(400).collect();
        match (step, code) {
            (Step::Checks, _) if !said.is_empty() => Error::NotStarted { engine, said }.into(),
            (Step::Checks, Some(code)) => {
                Error::NotStarted { engine, said: format!("it ended with exit code {code} and without a word") }.into()
            }
            (_, Some(KILLED)) => {
                Error::GaveUp { said: "its container was killed, probably for want of memory".into() }.into()
            }
            _ if !said.is_empty() => Error::GaveUp { said }.into(),
            _ => Error::Broken { what: what.into() }.into(),
        }
    }

    /// Waits until the engine has removed the container.
    fn finish(mut self) {
        drop(self.stdin.take());
        if self.client.wait(REMOVING).is_ok()
            && let Some(held) = &mut self.held
        {
            held.is_gone();
        }
    }
}
