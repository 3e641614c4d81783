//! What the guard finds and what a run comes to.

use serde::{Deserialize, Serialize};

/// One limit: what was asked for and what the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// "memory", "network".
    pub name: String,
    /// What has to be.
    pub asked: String,
    /// What is.
    pub found: String,
    /// Whether it is in force.
    pub holds: bool,
}

/// How the program ended, as the guard saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether its time was over.
    pub timed_out: bool,
    /// Whether the kernel, or the guard in its stead, ended it because of its memory.
    pub out_of_memory: bool,
    /// Milliseconds from start to end.
    pub wall_ms: u64,
    /// Milliseconds of CPU time in the program and in the kernel, of all its processes.
    pub user_ms: u64,
    /// See `user_ms`.
    pub system_ms: u64,
    /// The most bytes of memory that it had at once.
    pub peak_memory: u64,
    /// All bytes that it wrote to stdout, kept or not.
    pub stdout_bytes: u64,
    /// All bytes that it wrote to stderr.
    pub stderr_bytes: u64,
}

/// A file that was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Relative to the output folder.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// What it lost: "the setuid bit".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something in the output folder that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Relative to the output folder; odd characters are escaped.
    pub path: String,
    /// Why not.
    pub reason: String,
}

/// What a run came to. Its output went where the events went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Bytes of stdout that were handed over.
    pub stdout_kept: u64,
    /// Bytes of stderr that were handed over.
    pub stderr_kept: u64,
    /// What the kernel said.
    pub checks: Vec<Check>,
    /// What was taken out.
    pub files: Vec<Saved>,
    /// What was not.
    pub refused: Vec<Refused>,
    /// Whether somebody ended it before its time.
    pub cancelled: bool,
}

impl Outcome {
    /// The exit code that says it all: the program's own, 124 for a timeout, 137 for out of memory, 128 and the signal.
    pub fn code(&self) -> u8 {
        let byte = |code: i32| u8::try_from(code).unwrap_or(255);
        match &self.ended {
            ended if ended.timed_out => 124,
            Ended { out_of_memory: true, signal: Some(_), .. } => 137,
            Ended { signal: Some(signal), .. } => byte(128 + signal),
            Ended { exit_code: Some(code), .. } => byte(*code),
            _ => 125,
        }
    }

    /// The limits that are not in force.
    pub fn weak(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| !check.holds).collect()
    }
}

/// "SIGKILL" and its like; `None` for numbers without a common name.
pub fn signal_name(number: i32) -> Option<&'static str> {
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_say_how_it_ended() {
        let of = |ended: Ended| Outcome { ended, ..Outcome::default() }.code();
        assert_eq!(of(Ended { exit_code: Some(3), ..Ended::default() }), 3);
        assert_eq!(of(Ended { signal: Some(15), timed_out: true, ..Ended::default() }), 124);
        assert_eq!(of(Ended { exit_code: Some(0), timed_out: true, ..Ended::default() }), 124);
        assert_eq!(of(Ended { signal: Some(9), out_of_memory: true, ..Ended::default() }), 137);
        assert_eq!(of(Ended { exit_code: Some(1), out_of_memory: true, ..Ended::default() }), 1);
        assert_eq!(of(Ended { signal: Some(11), ..Ended::default() }), 139);
        assert_eq!(of(Ended::default()), 125);
        assert_eq!((signal_name(9), signal_name(40)), (Some("SIGKILL"), None));
    }
}
