//! Sandboxes for back ends that must run code and must never see an engine's socket: HTTP and JSON on a unix socket.
//!
//! The image and the ceilings are the operator's: a request can ask for less and for nothing else. So many run at
//! once, so many wait, and everybody else is told to come back.

mod answers;
mod ask;
mod events;
mod sessions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use answers::{Health, HealthCheck};
use answers::{failure, json, told};
use ask::RunAsk;
use sessions::{Refusal, Sessions, Turn};

use super::code::{Code, Input};
use super::order::Limits;
use super::outcome::Check;
use super::result::{RunFailure, RunResult};
use super::session::{Cancel, Event, Request, Runner};
use super::{Error, LABEL};
use crate::engine::Engine;
use crate::error::Result;
use crate::net::{Answer, Ask, Body, Gone, Handler, Socket};

/// The most bytes of a request.
pub const BODY_LIMIT: usize = 16 << 20;
/// The most bytes of results that an answer carries.
const RESULTS_LIMIT: u64 = 16 << 20;
/// How long a finding about the machine is good for.
const FRESH: Duration = Duration::from_secs(2);
/// How long sessions may take to end when the service does.
const ENDING: Duration = Duration::from_secs(8);
/// How long the last answers have to reach their clients.
const GOODBYE: Duration = Duration::from_millis(200);
/// How much longer than its code may run a client may take for a streamed answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the client of a run that was cancelled has to read its last line.
const TELLING: Duration = Duration::from_secs(1);
/// What somebody who was turned away should wait, in seconds.
const RETRY_AFTER: u32 = 1;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a request gets, and the most that it may ask for.
    pub ceilings: Limits,
    /// How many run at once.
    pub max_sessions: u32,
    /// How many may wait.
    pub queue: u32,
    /// Whether limits that are not in force are accepted.
    pub allow_weak: bool,
    /// By which the service's containers are found again.
    pub label: String,
}

/// The service.
pub struct Service {
    runner: Runner,
    settings: Settings,
    sessions: Sessions,
    health: Mutex<Option<(Instant, Health)>>,
    limits: Vec<Check>,
}

impl Service {
    /// Proves that the place is fit, and removes what an earlier service with the same label has left.
    pub fn new(runner: Runner, settings: Settings) -> Result<Arc<Self>> {
        if let Some(prepared) = runner.prepared() {
            sweep(&prepared.engine, &settings.label)?;
        }
        let request = Request { allow_weak: settings.allow_weak, ..Request::new(None, settings.ceilings.clone()) };
        let proof = runner.run(&request, &Cancel::default(), &mut |_| Ok(()))?;
        let sessions = Sessions::new(settings.max_sessions, settings.queue);
        Ok(Arc::new(Service { runner, settings, sessions, health: Mutex::new(None), limits: proof.checks }))
    }

    /// Answers on the socket until the process ends.
    pub fn serve(self: &Arc<Self>, socket: Socket) -> Result<()> {
        let service = self.clone();
        let handler: Handler = Arc::new(move |ask| service.answer(ask));
        Ok(socket.serve(BODY_LIMIT, handler)?)
    }

    /// Takes no more requests, ends every session, and waits for them a while.
    pub fn stop(&self) {
        self.sessions.stop(ENDING);
        // What was answered last is on its way.
        std::thread::sleep(GOODBYE);
    }

    /// The limits as the kernel had them at the start.
    pub fn limits(&self) -> &[Check] {
        &self.limits
    }

    fn answer(self: &Arc<Self>, ask: Ask) -> Answer {
        let path = ask.path.trim_end_matches('/').to_string();
        match (ask.method.as_str(), path.as_str()) {
            ("POST", "/run") => self.run(ask),
            ("GET", "/sessions") => json(200, &self.sessions.list()),
            ("GET", "/health") => {
                let health = self.health();
                json(if health.healthy { 200 } else { 503 }, &health)
            }
            ("DELETE", path) if path.starts_with("/sessions/") => {
                match self.sessions.cancel(path.trim_start_matches("/sessions/")) {
                    true => json(202, &serde_json::json!({ "cancelled": true })),
                    false => failure(404, "there is no such session"),
                }
            }
            (_, "/run" | "/sessions" | "/health") => failure(405, "this method is not for this path"),
            _ => failure(404, "there is nothing here: POST /run, GET /sessions, DELETE /sessions/ID, GET /health"),
        }
    }

    fn run(self: &Arc<Self>, ask: Ask) -> Answer {
        let asked = match RunAsk::parse(&ask.body, &self.settings.ceilings) {
            Ok(asked) => asked,
            Err(reason) => return failure(400, &reason),
        };
        let gone = ask.gone.clone();
        let turn = match self.sessions.enter(asked.id.as_deref(), &move || gone.is_set()) {
            Ok(turn) => turn,
            Err(refusal) => return refused(&refusal),
        };
        if asked.stream {
            let (service, gone) = (self.clone(), ask.gone);
            let feed = move |pieces: &crate::net::Pieces| service.stream(&asked, &turn, gone, pieces);
            return Answer {
                body: Body::Pieces(Box::new(feed)),
                ..Answer::whole(200, "application/x-ndjson", Vec::new())
            };
        }
        let gone = ask.gone;
        let watch = Watch::start(turn.cancel(), move || gone.is_set());
        let ran = self.execute(&asked, &turn, &mut |_| Ok(()));
        drop(watch);
        match ran {
            Ok(result) => json(200, &result),
            Err(error) => told(&error),
        }
    }

    /// A client that does not read holds its place as long as its code may run, and a moment; then its run is
    /// cancelled. One that has gone is noticed also when the code says nothing.
    fn stream(&self, asked: &RunAsk, turn: &Turn, gone: Gone, pieces: &crate::net::Pieces) {
        let cancel = turn.cancel();
        let watch = Watch::start(turn.cancel(), move || gone.is_set());
        let mut until = Instant::now() + PATIENCE;
        let mut listening = pieces.send(events::started(turn.id()), &|| cancel.is_set() || Instant::now() > until);
        let ran = self.execute(asked, turn, &mut |event| {
            if matches!(event, Event::Started) {
                until = Instant::now() + Duration::from_millis(asked.limits.timeout_ms) + PATIENCE;
            }
            if let Some(line) = events::line(event) {
                listening = listening && pieces.send(line, &|| cancel.is_set() || Instant::now() > until);
            }
            if !listening {
                cancel.cancel();
            }
            Ok(())
        });
        drop(watch);
        let last = match ran {
            Ok(result) => events::result(&result),
            Err(error) => events::failure(&RunFailure::new(&error)),
        };
        // Who was cancelled and reads is told; who does not read is not waited for.
        let (ended, told) = (Instant::now(), Instant::now() + TELLING);
        pieces.send(last, &|| Instant::now() > if cancel.is_set() { told } else { until.max(ended + TELLING) });
    }

    fn execute(
        &self,
        asked: &RunAsk,
        turn: &Turn,
        tell: &mut dyn FnMut(&Event<'_>) -> Result<()>,
    ) -> Result<answers::Ran> {
        let private = self.runner.temporary()?;
        let code = Code::take(&Input::Files(&asked.files, &asked.main), private)?;
        let request = Request {
            args: asked.args.clone(),
            env: asked.env.clone(),
            stdin: asked.stdin.clone(),
            output: asked.output,
            allow_weak: self.settings.allow_weak,
            ..Request::new(Some(code), asked.limits.clone())
        };
        let mut kept = answers::Keeping::new(RESULTS_LIMIT, !asked.stream);
        let outcome = self.runner.run(&request, &turn.cancel(), &mut |event| {
            tell(&event)?;
            kept.take(&event);
            Ok(())
        })?;
        let (output, mut results) = kept.finish();
        // Half a file is none.
        results.retain(|path, _| outcome.files.iter().any(|saved| saved.path == *path));
        Ok(answers::Ran { id: turn.id().into(), result: RunResult::new(outcome, output), output: results })
    }

    /// What is fit and what is not; asked anew every few seconds at most.
    pub fn health(&self) -> Health {
        let mut known = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let (running, waiting) = self.sessions.count();
        match &*known {
            Some((when, health)) if when.elapsed() < FRESH => Health { running, waiting, ..health.clone() },
            _ => {
                let health = answers::examine(&self.runner, &self.limits, self.settings.max_sessions);
                let health = Health { running, waiting, ..health };
                *known = Some((Instant::now(), health.clone()));
                health
            }
        }
    }
}

/// Removes containers that nobody holds any more.
fn sweep(engine: &Engine, label: &str) -> Result<(), Error> {
    let failed = |error: crate::engine::Error| Error::GaveUp { said: error.to_string() };
    for name in engine.labelled(LABEL, label).map_err(failed)? {
        engine.remove(&name).map_err(failed)?;
    }
    Ok(())
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = match refusal {
        Refusal::Full { running, waiting } => {
            failure(429, &format!("{running} sessions are running and {waiting} are waiting: try again"))
        }
        Refusal::Taken => failure(409, "there is a session with this id"),
        Refusal::Ending => failure(503, "the service is ending"),
        Refusal::Gone => failure(409, "the run was cancelled"),
    };
    if matches!(refusal, Refusal::Full { .. }) {
        answer.headers.push(("retry-after", RETRY_AFTER.to_string()));
    }
    answer
}

/// Cancels a run when its client has gone.
struct Watch(Cancel);

impl Watch {
    fn start(cancel: Cancel, gone: impl Fn() -> bool + Send + 'static) -> Self {
        let over = Cancel::default();
        let ended = over.clone();
        std::thread::spawn(move || {
            while !ended.is_set() {
                if gone() {
                    cancel.cancel();
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Watch(over)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
