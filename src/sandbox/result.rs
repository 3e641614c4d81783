//! A run's result as programs read it: `ingot sandbox run --format json` and the answers of the service. The names of
//! its fields stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::outcome::{Check, Outcome, Refused, Saved, signal_name};
use super::session::Event;
use crate::error::Error;

/// The version of the fields' meaning.
const SCHEMA: u32 = 1;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunResult {
    /// 1; another number means that a field means something else.
    pub schema: u32,
    /// The code that `ingot sandbox run` exits with: the program's own, 124, 137, or 128 and the signal.
    pub code: u8,
    /// The program's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// "SIGKILL", if a signal ended it.
    pub signal: Option<String>,
    /// Whether its time was over.
    pub timed_out: bool,
    /// Whether it was ended for want of memory.
    pub out_of_memory: bool,
    /// Milliseconds from start to end.
    pub wall_ms: u64,
    /// Milliseconds of CPU time in programs.
    pub cpu_user_ms: u64,
    /// Milliseconds of CPU time in the kernel.
    pub cpu_system_ms: u64,
    /// The most bytes of memory at once.
    pub peak_memory_bytes: u64,
    /// What it said, cut at its limit.
    pub stdout: Text,
    /// What it complained, cut at its limit.
    pub stderr: Text,
    /// What was taken out of the output folder.
    pub files: Vec<Saved>,
    /// What was not.
    pub refused: Vec<Refused>,
    /// What the kernel said before the start.
    pub limits: Vec<Check>,
    /// Names of the limits that are not in force (`--allow-weak`).
    pub weak: Vec<String>,
}

/// One of the two streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// As UTF-8; bytes that are none are replaced.
    pub text: String,
    /// The bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// All bytes that were written, kept or not.
    pub bytes: u64,
    /// Whether some were not kept.
    pub truncated: bool,
}

/// A run that has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFailure {
    /// See [`RunResult::schema`].
    pub schema: u32,
    /// 125.
    pub code: u8,
    /// What, and why, outermost first.
    pub error: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl RunFailure {
    /// Of an error.
    pub fn new(error: &Error) -> Self {
        RunFailure { schema: SCHEMA, code: 125, error: error.to_string(), hint: error.hint() }
    }
}

/// The output of a run, kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Kept {
    /// Keeps what the event says.
    pub fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Stdout(bytes) => self.stdout.extend_from_slice(bytes),
            Event::Stderr(bytes) => self.stderr.extend_from_slice(bytes),
            _ => {}
        }
    }
}

impl RunResult {
    /// With the output that was kept.
    pub fn new(outcome: Outcome, kept: Kept) -> Self {
        let ended = &outcome.ended;
        let number = |signal| signal_name(signal).map_or(format!("signal {signal}"), str::to_string);
        RunResult {
            schema: SCHEMA,
            code: outcome.code(),
            exit_code: ended.exit_code,
            signal: ended.signal.map(number),
            timed_out: ended.timed_out,
            out_of_memory: ended.out_of_memory,
            wall_ms: ended.wall_ms,
            cpu_user_ms: ended.user_ms,
            cpu_system_ms: ended.system_ms,
            peak_memory_bytes: ended.peak_memory,
            stdout: Text::new(kept.stdout, ended.stdout_bytes, outcome.stdout_kept),
            stderr: Text::new(kept.stderr, ended.stderr_bytes, outcome.stderr_kept),
            weak: outcome.weak().iter().map(|check| check.name.clone()).collect(),
            files: outcome.files,
            refused: outcome.refused,
            limits: outcome.checks,
        }
    }
}

impl Text {
    fn new(kept: Vec<u8>, bytes: u64, handed: u64) -> Self {
        let truncated = bytes > handed;
        match String::from_utf8(kept) {
            Ok(text) => Text { text, base64: None, bytes, truncated },
            Err(error) => {
                let kept = error.as_bytes();
                let text = String::from_utf8_lossy(kept).into_owned();
                Text { text, base64: Some(STANDARD.encode(kept)), bytes, truncated }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Ended;

    #[test]
    fn the_fields_are_these() {
        let ended = Ended { signal: Some(9), timed_out: true, stdout_bytes: 10, ..Ended::default() };
        let weak = Check { name: "memory".into(), asked: "1".into(), found: "no limit".into(), holds: false };
        let outcome = Outcome { ended, stdout_kept: 2, checks: vec![weak], ..Outcome::default() };
        let mut kept = Kept::default();
        kept.take(&Event::Stdout(b"\xffa"));
        let json = serde_json::to_string_pretty(&RunResult::new(outcome, kept)).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "schema": 1,
          "code": 124,
          "exit_code": null,
          "signal": "SIGKILL",
          "timed_out": true,
          "out_of_memory": false,
          "wall_ms": 0,
          "cpu_user_ms": 0,
          "cpu_system_ms": 0,
          "peak_memory_bytes": 0,
          "stdout": {
            "text": "�a",
            "base64": "/2E=",
            "bytes": 10,
            "truncated": true
          },
          "stderr": {
            "text": "",
            "bytes": 0,
            "truncated": false
          },
          "files": [],
          "refused": [],
          "limits": [
            {
              "name": "memory",
              "asked": "1",
              "found": "no limit",
              "holds": false
            }
          ],
          "weak": [
            "memory"
          ]
        }
        "#);
    }
}
