//! What the service answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::{Class, Error as AnyError};
use crate::net::Answer;
use crate::sandbox::Error;
use crate::sandbox::outcome::Check;
use crate::sandbox::result::{Kept, RunFailure, RunResult};
use crate::sandbox::session::{Event, Runner};

/// A run's result, its id, and its files.
#[derive(Clone, Debug, Serialize)]
pub struct Ran {
    /// The session's id.
    pub id: String,
    /// As `ingot sandbox run --format json` has it.
    #[serde(flatten)]
    pub result: RunResult,
    /// The files of the output folder by name, as base64; those that fit into an answer.
    pub output: BTreeMap<String, String>,
}

/// Keeps what goes into one answer.
pub struct Keeping {
    text: Option<Kept>,
    files: BTreeMap<String, Vec<u8>>,
    open: Option<String>,
    left: u64,
}

impl Keeping {
    /// So many bytes of files; text only if it was not streamed.
    pub fn new(limit: u64, text: bool) -> Self {
        Keeping { text: text.then(Kept::default), files: BTreeMap::new(), open: None, left: limit }
    }

    /// Keeps what the event brings.
    pub fn take(&mut self, event: &Event<'_>) {
        if let Some(text) = &mut self.text {
            text.take(event);
        }
        match event {
            Event::File(saved) => {
                self.open = (saved.size <= self.left).then(|| saved.path.clone());
                if let Some(path) = &self.open {
                    self.left -= saved.size;
                    self.files.insert(path.clone(), Vec::new());
                }
            }
            Event::Data(bytes) => {
                if let Some(file) = self.open.as_ref().and_then(|path| self.files.get_mut(path)) {
                    file.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }

    /// Text and files.
    pub fn finish(self) -> (Kept, BTreeMap<String, String>) {
        let files = self.files.into_iter().map(|(path, bytes)| (path, STANDARD.encode(bytes))).collect();
        (self.text.unwrap_or_default(), files)
    }
}

/// Whether the service can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether every check passes; limits that the operator has accepted as they are do not count.
    pub healthy: bool,
    /// The limits that are not in force: accepted with `--allow-weak`.
    pub weak: Vec<String>,
    /// "engine", "daemon", "image", "limits", "sessions".
    pub checks: BTreeMap<&'static str, HealthCheck>,
    /// Sessions that run.
    pub running: usize,
    /// Sessions that wait.
    pub waiting: usize,
    /// How many may run at once.
    pub max_sessions: u32,
}

/// One of the checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// Whether it passes.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

fn found(ok: bool, detail: impl Into<String>) -> HealthCheck {
    HealthCheck { ok, detail: detail.into() }
}

/// Looks at engine, daemon and image now; at the limits as they were when the service started.
pub fn examine(runner: &Runner, limits: &[Check], max_sessions: u32) -> Health {
    let mut checks = BTreeMap::new();
    if let Some(prepared) = runner.prepared() {
        let kind = prepared.engine.kind();
        match Engine::detect(Some(kind)) {
            Ok(engine) => {
                checks.insert("engine", found(true, format!("{kind} {}", engine.version())));
                let image = match engine.known_image(&prepared.image.id) {
                    Ok(Some(image)) => found(true, image.id),
                    Ok(None) => found(false, format!("`{}` is not there any more", prepared.name)),
                    Err(error) => found(false, error.to_string()),
                };
                checks.insert("image", image);
            }
            Err(error) => {
                checks.insert("engine", found(false, error.to_string()));
                checks.insert("image", found(false, "nobody could be asked"));
            }
        }
        let answered = checks.get("engine").is_some_and(|check| check.ok);
        let daemon = match kind {
            crate::engine::Kind::Podman => found(true, "podman needs none"),
            crate::engine::Kind::Docker if answered => found(true, "it answers"),
            crate::engine::Kind::Docker => found(false, "it does not answer"),
        };
        checks.insert("daemon", daemon);
    }
    let healthy = checks.values().all(|check| check.ok);
    let (weak, held) = in_force(limits);
    checks.insert("limits", held);
    checks.insert("sessions", found(true, format!("{max_sessions} at once")));
    Health { healthy, weak, checks, running: 0, waiting: 0, max_sessions }
}

/// The names of those that are not, and what that is as a check.
fn in_force(limits: &[Check]) -> (Vec<String>, HealthCheck) {
    let weak: Vec<String> = limits.iter().filter(|check| !check.holds).map(|check| check.name.clone()).collect();
    let held = if weak.is_empty() {
        "all in force".into()
    } else {
        format!("accepted though not in force: {}", weak.join(", "))
    };
    (weak.clone(), found(weak.is_empty(), held))
}

/// JSON.
pub fn json(status: u16, value: &impl Serialize) -> Answer {
    Answer::whole(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// A mistake of the client.
pub fn failure(status: u16, what: &str) -> Answer {
    json(status, &serde_json::json!({ "error": what }))
}

/// A run without a result.
pub fn told(error: &AnyError) -> Answer {
    let cancelled = error.cause().downcast_ref::<Error>().is_some_and(|error| matches!(error, Error::Cancelled));
    let status = match error.class() {
        _ if cancelled => 409,
        Class::Usage => 400,
        Class::Engine => 503,
        _ => 500,
    };
    json(status, &RunFailure::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Saved;

    #[test]
    fn files_fit_or_stay_out() {
        let mut keeping = Keeping::new(4, true);
        for (path, bytes) in [("a", &b"abc"[..]), ("b", b"de"), ("c", b"f")] {
            keeping.take(&Event::File(&Saved { path: path.into(), size: bytes.len() as u64, note: None }));
            keeping.take(&Event::Data(bytes));
        }
        let (_, files) = keeping.finish();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(files["a"], "YWJj");
    }

    #[test]
    fn a_limit_that_is_not_in_force_is_told() {
        let check = |name: &str, holds| Check { name: name.into(), asked: "1".into(), found: "2".into(), holds };
        let (weak, held) = in_force(&[check("memory", false), check("cpus", true)]);
        assert_eq!((weak, held.ok), (vec!["memory".to_string()], false));
        assert_eq!(held.detail, "accepted though not in force: memory");
        assert!(in_force(&[check("cpus", true)]).1.ok);
    }

    #[test]
    fn errors_have_their_status() {
        assert_eq!(told(&Error::Cancelled.into()).status, 409);
        assert_eq!(told(&Error::GaveUp { said: "x".into() }.into()).status, 503);
        assert_eq!(told(&Error::Broken { what: "x".into() }.into()).status, 500);
    }
}
