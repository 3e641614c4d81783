//! The image as it would run: its own entry point and command, looked at from outside.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Stand;
use crate::engine::Attached;
use crate::error::Result;
use crate::fs;
use crate::validate::findings::{Draft, Findings};

/// How long an image without a health check must stay up.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a health check may take to pass, whatever it says itself.
const HEALTH_LIMIT: Duration = Duration::from_secs(600);
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the engine may take until the container runs.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The most that is kept of what the container says, in bytes.
const TAIL: usize = 16 << 10;
/// How many of its last lines are shown.
const LINES: usize = 8;
/// The largest file of /proc that is read, in bytes.
const PROC_LIMIT: u64 = 64 << 10;

/// A health check of the configuration, docker's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    words: Vec<String>,
    timeout: Duration,
    /// By when it must have passed.
    within: Duration,
}

/// Starts the image's own command. Returns what could not be looked at.
pub(super) fn look(stand: &Stand<'_>, findings: &mut Findings<'_>) -> Result<Vec<String>> {
    let check = stand.subject.config.get("Healthcheck").and_then(check);
    let patience = check.as_ref().map_or(SETTLE, |check| check.within);
    let mut container = stand.container();
    container.timeout = START_LIMIT + patience;
    let mut attached = stand.engine.attach(&container)?;
    let said = Tail::of(&mut attached);
    let mut notes = Vec::new();
    let (begun, mut up, mut user_seen) = (Instant::now(), None, false);
    loop {
        if let Some(status) = ended(&mut attached) {
            attached.held.is_gone();
            let code = status.code().unwrap_or(137);
            stand.engine.refused(status.code(), &said.text())?;
            if code != 0 || check.is_some() {
                let message =
                    format!("its own command ended with exit code {code} after {:.1} s", begun.elapsed().as_secs_f32());
                findings.add(Draft::new("run-starts", "config.Cmd", message).detail(said.lines()));
            }
            return Ok(notes);
        }
        if !user_seen && let Some(ids) = ids(stand, &container.name) {
            user_seen = true;
            up = Some(Instant::now());
            user(stand, ids, findings);
        }
        let since = up.map_or(Duration::ZERO, |up| up.elapsed());
        match &check {
            Some(check) if up.is_some() => {
                let words: Vec<&str> = check.words.iter().map(String::as_str).collect();
                let answer = match stand.engine.execute(&container.name, &words, check.timeout) {
                    Ok(output) if output.status.success() => return Ok(notes),
                    Ok(output) => last_lines(&[output.stdout, output.stderr].concat()),
                    Err(error) => error.to_string(),
                };
                if since > check.within && ended(&mut attached).is_none() {
                    let message = format!("it did not pass within {} s", check.within.as_secs());
                    findings.add(
                        Draft::new("run-healthcheck", "config.Healthcheck", message)
                            .detail(answer)
                            .detail(said.lines()),
                    );
                    return Ok(notes);
                }
            }
            None if since > SETTLE => return Ok(notes),
            _ if up.is_none() && begun.elapsed() > START_LIMIT => {
                notes.push("the user and the health check were not looked at: the engine does not say which process the container is".into());
                return Ok(notes);
            }
            _ => {}
        }
        thread::sleep(PAUSE);
    }
}

fn ended(attached: &mut Attached) -> Option<std::process::ExitStatus> {
    attached.client.child().try_wait().ok().flatten()
}

/// User and group of the container's first process, as the container sees them.
fn ids(stand: &Stand<'_>, name: &str) -> Option<(u32, u32)> {
    let pid = stand.engine.pid(name).ok().flatten()?;
    let read = |file: &str| fs::read_text(format!("/proc/{pid}/{file}").as_ref(), PROC_LIMIT).ok();
    let status = read("status")?;
    let effective = |field: &str| -> Option<u32> {
        status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().nth(1)?.parse().ok()
    };
    Some((inside(&read("uid_map")?, effective("Uid:")?)?, inside(&read("gid_map")?, effective("Gid:")?)?))
}

/// The number that a user namespace has for one of the host (user_namespaces(7)).
fn inside(map: &str, outside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let row: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [inner, outer, count] = row[..] else { return None };
        let offset = u64::from(outside).checked_sub(outer).filter(|offset| *offset < count)?;
        u32::try_from(inner + offset).ok()
    })
}

fn user(stand: &Stand<'_>, (uid, gid): (u32, u32), findings: &mut Findings<'_>) {
    if uid == 0 {
        findings.add(Draft::new("run-user", "config.User", "the process is root"));
        return;
    }
    let Some((expected, group)) = stand.facts.user else { return };
    if uid != expected || group.is_some_and(|group| group != gid) {
        let group = group.map(|group| format!(":{group}")).unwrap_or_default();
        let message = format!("the process is {uid}:{gid}, expected {expected}{group}");
        findings.add(Draft::new("run-user", "config.User", message));
    }
}

/// The health check, unless it is none: `["NONE"]`, or something that no engine runs.
fn check(field: &Value) -> Option<Check> {
    let words: Vec<String> =
        field.get("Test")?.as_array()?.iter().filter_map(|word| word.as_str().map(str::to_string)).collect();
    let words = match words.split_first()? {
        (kind, rest) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
        (kind, [line]) if kind == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        _ => return None,
    };
    let time = |name: &str, usual: u64| {
        let nanoseconds = field.get(name).and_then(Value::as_u64).filter(|nanoseconds| *nanoseconds > 0);
        nanoseconds.map_or(Duration::from_secs(usual), Duration::from_nanos)
    };
    let retries = field.get("Retries").and_then(Value::as_u64).filter(|retries| *retries > 0).unwrap_or(3);
    let retries = u32::try_from(retries).unwrap_or(u32::MAX);
    let failing = time("Interval", 30).saturating_mul(retries);
    let within = time("StartPeriod", 0).saturating_add(failing).min(HEALTH_LIMIT);
    Some(Check { words, timeout: time("Timeout", 30).min(HEALTH_LIMIT), within })
}

/// The last of what a container says on stdout and stderr.
struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn of(attached: &mut Attached) -> Tail {
        let tail = Tail(Arc::default());
        let child = attached.client.child();
        if let Some(pipe) = child.stdout.take() {
            tail.follow(pipe);
        }
        if let Some(pipe) = child.stderr.take() {
            tail.follow(pipe);
        }
        tail
    }

    /// Reads until the pipe is closed, which it is when the container is gone.
    fn follow(&self, mut pipe: impl Read + Send + 'static) {
        let tail = self.0.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = pipe.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(buffer.iter().take(count));
                let over = tail.len().saturating_sub(TAIL);
                tail.drain(..over);
            }
        });
    }

    fn text(&self) -> String {
        // What it said last may still be in the pipe.
        thread::sleep(PAUSE / 5);
        let bytes: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn lines(&self) -> String {
        last_lines(self.text().as_bytes())
    }
}

/// The last lines of some output, joined by ` | `.
pub(super) fn last_lines(bytes: &[u8]) -> String {
    let tail = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" | ");
    if shown.is_empty() { "it said nothing".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_checks_are_read_as_engines_do() {
        let full = json!({ "Test": ["CMD", "a", "b"], "Interval": 2_000_000_000u64, "Timeout": 1_000_000_000, "Retries": 2, "StartPeriod": 5_000_000_000u64 });
        let expected = Check {
            words: vec!["a".into(), "b".into()],
            timeout: Duration::from_secs(1),
            within: Duration::from_secs(9),
        };
        assert_eq!(check(&full), Some(expected));
        let shell = check(&json!({ "Test": ["CMD-SHELL", "exit 0"] })).unwrap();
        assert_eq!((shell.words.join(" ").as_str(), shell.within.as_secs()), ("/bin/sh -c exit 0", 90));
        for none in [
            json!({ "Test": ["NONE"] }),
            json!({ "Test": [] }),
            json!({ "Test": ["CMD"] }),
            json!({}),
            json!(null),
            json!({ "Test": "x" }),
        ] {
            assert_eq!(check(&none), None, "{none}");
        }
        let absurd =
            check(&json!({ "Test": ["CMD", "a"], "Interval": u64::MAX, "Retries": u64::MAX, "StartPeriod": -1 }))
                .unwrap();
        assert_eq!(absurd.within, HEALTH_LIMIT);
    }

    #[test]
    fn users_are_those_that_the_container_sees() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!((inside(map, 1000), inside(map, 101000), inside(map, 5)), (Some(0), Some(1001), None));
        assert_eq!(inside("0 0 4294967295", 1001), Some(1001));
        assert_eq!(inside("x", 1), None);
    }

    #[test]
    fn the_last_lines_are_told() {
        assert_eq!(last_lines(b"a\n\n b \n"), "a | b");
        assert_eq!(last_lines(b"\n"), "it said nothing");
        assert!(last_lines(&b"x\n".repeat(100_000)).len() < 100);
    }
}
