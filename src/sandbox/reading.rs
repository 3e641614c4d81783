//! The guard's frames, one after the other, as the host takes them: in order, within the limits, or not at all.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Error;
use super::files::is_plain;
use super::frame::Kind;
use super::guard;
use super::order::{Limits, Order, Start};
use super::outcome::{Check, Ended, Outcome, Refused, Saved};
use super::session::{Event, Request};
use crate::error::Result;

/// Beyond this after the code's time, a container was not killed because of its memory.
const ENGINES_PATIENCE: Duration = Duration::from_secs(50);
/// The most that is told of what was not taken out.
const REFUSED_LIMIT: usize = 200;

/// What has to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The limits.
    Checks,
    /// The start, or the end of everything if nothing was to be started.
    Start,
    /// Output, until the code has ended.
    Running,
    /// Results, until all is said.
    Results,
}

/// Where the host is in the stream.
pub struct Reading<'a> {
    /// What comes next.
    pub step: Step,
    /// Bytes of stdout that were handed over.
    pub stdout: u64,
    /// Bytes of stderr that were handed over.
    pub stderr: u64,
    limits: &'a Limits,
    /// The names of the checks that have to come.
    names: Vec<String>,
    allow_weak: bool,
    only_checks: bool,
    output: bool,
    /// What is left of the file that was begun.
    missing: u64,
    bytes: u64,
}

impl<'a> Reading<'a> {
    /// At the beginning.
    pub fn new(order: &Order, request: &'a Request) -> Self {
        Reading {
            step: Step::Checks,
            stdout: 0,
            stderr: 0,
            limits: &request.limits,
            names: guard::check_names(order),
            allow_weak: order.allow_weak,
            only_checks: order.start == Start::Nothing,
            output: order.output.is_some(),
            missing: 0,
            bytes: 0,
        }
    }

    /// Takes a frame; whether it was the last.
    pub fn take(
        &mut self,
        kind: Kind,
        payload: &[u8],
        outcome: &mut Outcome,
        tell: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<bool> {
        match (self.step, kind) {
            (_, Kind::Failed) => {
                let said: String = String::from_utf8_lossy(payload).chars().take(400).collect();
                return Err(Error::GaveUp { said: crate::text::escape(&said) }.into());
            }
            (Step::Checks, Kind::Checks) => {
                self.checks(parsed(payload)?, outcome)?;
                tell(Event::Checked(&outcome.checks))?;
            }
            (Step::Start, Kind::Done) if self.only_checks => return Ok(true),
            (Step::Start, Kind::Started) => {
                self.step = Step::Running;
                tell(Event::Started)?;
            }
            (Step::Running, Kind::Stdout) => {
                self.stdout = within(self.stdout, payload, self.limits.stdout)?;
                tell(Event::Stdout(payload))?;
            }
            (Step::Running, Kind::Stderr) => {
                self.stderr = within(self.stderr, payload, self.limits.stderr)?;
                tell(Event::Stderr(payload))?;
            }
            (Step::Running, Kind::Ended) => {
                outcome.ended = parsed::<Ended>(payload)?;
                self.step = Step::Results;
            }
            (Step::Results, Kind::File) if self.output && self.missing == 0 => {
                let saved: Saved = parsed(payload)?;
                self.file(&saved, outcome)?;
                tell(Event::File(&saved))?;
                outcome.files.push(saved);
            }
            (Step::Results, Kind::Data) => {
                let left = self.missing.checked_sub(payload.len() as u64);
                self.missing = left.ok_or_else(|| broken("more of a file than it has"))?;
                tell(Event::Data(payload))?;
            }
            (Step::Results, Kind::Refused) if self.output && self.missing == 0 => {
                if outcome.refused.len() >= REFUSED_LIMIT {
                    return Err(broken("more results than there are").into());
                }
                outcome.refused.push(parsed::<Refused>(payload)?);
            }
            (Step::Results, Kind::Done) if self.missing == 0 => return Ok(true),
            _ => return Err(broken("a frame that does not belong there").into()),
        }
        Ok(false)
    }

    /// The whole container was killed, so long after the checks; whether that is the code's end, for want of memory. An
    /// engine that ends a container after its time does it much later than the guard.
    pub fn killed(&self, outcome: &mut Outcome, after: Duration) -> bool {
        let over = Duration::from_millis(self.limits.timeout_ms) + ENGINES_PATIENCE;
        if !matches!(self.step, Step::Running | Step::Results) || after > over {
            return false;
        }
        if self.missing > 0
            && let Some(cut) = outcome.files.pop()
        {
            let reason = "the sandbox was out of memory before all of it was taken".into();
            outcome.refused.push(Refused { path: cut.path, reason });
        }
        let ended = &mut outcome.ended;
        if self.step == Step::Running {
            ended.wall_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            (ended.stdout_bytes, ended.stderr_bytes) = (self.stdout, self.stderr);
        }
        (ended.exit_code, ended.signal, ended.out_of_memory) = (None, Some(libc::SIGKILL), true);
        ended.peak_memory = ended.peak_memory.max(self.limits.memory);
        true
    }

    fn checks(&mut self, checks: Vec<Check>, outcome: &mut Outcome) -> Result<()> {
        // All of them: what is left out is not in force.
        if !checks.iter().map(|check| &check.name).eq(&self.names) {
            return Err(broken("no limits that make sense").into());
        }
        let weak: Vec<Check> = checks.iter().filter(|check| !check.holds).cloned().collect();
        outcome.checks = checks;
        self.step = Step::Start;
        match weak.is_empty() || self.allow_weak {
            true => Ok(()),
            false => Err(Error::Weak { checks: weak }.into()),
        }
    }

    fn file(&mut self, saved: &Saved, outcome: &Outcome) -> Result<(), Error> {
        if !is_plain(&saved.path) {
            return Err(broken("a file with a path that is none"));
        }
        self.bytes = self.bytes.saturating_add(saved.size);
        if outcome.files.len() >= self.limits.files as usize || self.bytes > self.limits.output {
            return Err(broken("more results than it may have"));
        }
        self.missing = saved.size;
        Ok(())
    }
}

fn within(seen: u64, payload: &[u8], limit: u64) -> Result<u64, Error> {
    let sum = seen + payload.len() as u64;
    if sum > limit { Err(broken("more output than it may have")) } else { Ok(sum) }
}

fn parsed<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|_| broken("a frame that is not what it says"))
}

fn broken(what: &str) -> Error {
    Error::Broken { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let limits = Limits { stdout: 4, output: 4096, files: 1, ..Limits::default() };
        Request {
            code: None,
            args: Vec::new(),
            env: Default::default(),
            stdin: String::new(),
            limits,
            interpreter: None,
            output: true,
            allow_weak: false,
        }
    }

    fn order(request: &Request) -> Order {
        Order {
            place: super::super::Place::Container,
            limits: request.limits.clone(),
            user: (1, 1),
            folders: Vec::new(),
            mounts: vec!["/code".into(), "/own/ingot".into()],
            own: "/own".into(),
            allow_weak: false,
            start: Start::Program { path: "/x".into() },
            args: Vec::new(),
            env: Vec::new(),
            workdir: "/".into(),
            stdin: String::new(),
            grace_ms: 1,
            output: Some(super::super::OutputLimits { path: "/output".into(), bytes: 4096, files: 1 }),
        }
    }

    fn read(frames: &[(Kind, &str)]) -> Result<Outcome> {
        let request = request();
        let mut reading = Reading::new(&order(&request), &request);
        let mut outcome = Outcome::default();
        for (kind, payload) in frames {
            let payload = match *payload {
                ALL => checks(&reading.names, ""),
                ALL_BUT_MEMORY => checks(&reading.names, "memory"),
                other => other.to_string(),
            };
            if reading.take(*kind, payload.as_bytes(), &mut outcome, &mut |_| Ok(()))? {
                return Ok(outcome);
            }
        }
        Err(broken("no end").into())
    }

    const ALL: &str = "every check, all in force";
    const ALL_BUT_MEMORY: &str = "every check, one not in force";

    fn checks(names: &[String], weak: &str) -> String {
        let check = |name: &String| {
            let found = if name == weak { "no limit" } else { "1" };
            Check { name: name.clone(), asked: "1".into(), found: found.into(), holds: name != weak }
        };
        serde_json::to_string(&names.iter().map(check).collect::<Vec<_>>()).unwrap()
    }

    const CHECKS: (Kind, &str) = (Kind::Checks, ALL);
    const START: (Kind, &str) = (Kind::Started, "");
    const ENDED: (Kind, &str) = (
        Kind::Ended,
        r#"{"exit_code":0,"signal":null,"timed_out":false,"out_of_memory":false,"wall_ms":1,"user_ms":1,"system_ms":1,
           "peak_memory":1,"stdout_bytes":9,"stderr_bytes":0}"#,
    );
    const DONE: (Kind, &str) = (Kind::Done, "");

    #[test]
    fn a_whole_run_is_taken() {
        let file = (Kind::File, r#"{"path":"a/b","size":3}"#);
        let refused = (Kind::Refused, r#"{"path":"x","reason":"it is a pipe"}"#);
        let frames = [CHECKS, START, (Kind::Stdout, "abcd"), ENDED, file, (Kind::Data, "abc"), refused, DONE];
        let outcome = read(&frames).unwrap();
        assert_eq!((outcome.files.len(), outcome.refused.len(), outcome.ended.stdout_bytes), (1, 1, 9));
    }

    #[test]
    fn whatever_else_comes_is_broken() {
        let file = |text: &'static str| [CHECKS, START, ENDED, (Kind::File, text), DONE].to_vec();
        for (frames, what) in [
            (vec![START], "does not belong"),
            (vec![CHECKS, DONE], "does not belong"),
            (vec![CHECKS, START, DONE], "does not belong"),
            (vec![CHECKS, CHECKS], "does not belong"),
            (vec![(Kind::Checks, "[]")], "make sense"),
            (vec![(Kind::Checks, r#"[{"name":"memory","asked":"1","found":"1","holds":true}]"#)], "make sense"),
            (vec![(Kind::Checks, "{")], "not what it says"),
            (vec![CHECKS, START, (Kind::Stdout, "abcde")], "more output"),
            (file(r#"{"path":"../a","size":0}"#), "a path that is none"),
            (file(r#"{"path":"/a","size":0}"#), "a path that is none"),
            (file(r#"{"path":"a","size":5000}"#), "more results"),
            (file(r#"{"path":"a","size":18446744073709551615}"#), "more results"),
            (file(r#"{"path":"a","size":3}"#), "does not belong"),
            (vec![CHECKS, START, ENDED, (Kind::Data, "x")], "more of a file"),
            (vec![CHECKS, START, ENDED, (Kind::Order, "x")], "does not belong"),
        ] {
            let error = read(&frames).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(what), "{what}: {error}");
            assert_eq!(error.class().code(), 4);
        }
        let failed = read(&[(Kind::Failed, "no \x1b[31mmemory")]).map(|_| ()).unwrap_err();
        assert_eq!(failed.to_string(), "the sandbox gave up: no \\u{1b}[31mmemory");
    }

    #[test]
    fn a_container_that_is_killed_was_out_of_memory() {
        let request = request();
        let after = |frames: &[(Kind, &str)], after: u64| {
            let mut reading = Reading::new(&order(&request), &request);
            let mut outcome = Outcome::default();
            for (kind, payload) in frames {
                let payload = if *payload == ALL { checks(&reading.names, "") } else { payload.to_string() };
                reading.take(*kind, payload.as_bytes(), &mut outcome, &mut |_| Ok(())).unwrap();
            }
            reading.killed(&mut outcome, Duration::from_secs(after)).then_some(outcome)
        };
        let running = after(&[CHECKS, START, (Kind::Stdout, "ab")], 3).unwrap();
        assert_eq!((running.code(), running.ended.wall_ms, running.ended.stdout_bytes), (137, 3000, 2));
        let file = (Kind::File, r#"{"path":"a","size":3}"#);
        let results = after(&[CHECKS, START, ENDED, file, (Kind::Data, "ab")], 3).unwrap();
        assert!(results.code() == 137 && results.ended.out_of_memory && results.ended.wall_ms == 1);
        assert_eq!((results.files.len(), results.refused[0].path.as_str()), (0, "a"), "half a file is none");
        assert!(after(&[], 3).is_none() && after(&[CHECKS], 3).is_none(), "before the code there is nothing to blame");
        assert!(after(&[CHECKS, START], 3600).is_none(), "the engine ended it");
    }

    #[test]
    fn a_limit_that_is_not_in_force_is_an_error() {
        let weak = (Kind::Checks, ALL_BUT_MEMORY);
        let error = read(&[weak, DONE]).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the limit `memory` is not in force in the sandbox");
        assert!(error.details().unwrap().contains("no limit") && error.hint().unwrap().contains("--allow-weak"));
    }
}
