//! What the host asks of the guard: the first frame, from host to guard.

use serde::{Deserialize, Serialize};

/// What a program may use. Every number is a ceiling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Milliseconds from its start to its end.
    pub timeout_ms: u64,
    /// Bytes of memory, with what it writes to folders in memory.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub millicpus: u32,
    /// Processes and threads, with the guard's one.
    pub pids: u32,
    /// Bytes of `/tmp`.
    pub tmp: u64,
    /// Bytes of `/output`.
    pub output: u64,
    /// Files that are taken out of `/output`.
    pub files: u32,
    /// Bytes of stdout that are kept.
    pub stdout: u64,
    /// Bytes of stderr that are kept.
    pub stderr: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            timeout_ms: 10_000,
            memory: 256 << 20,
            millicpus: 1000,
            pids: 64,
            tmp: 64 << 20,
            output: 64 << 20,
            files: 1000,
            stdout: 1 << 20,
            stderr: 1 << 20,
        }
    }
}

/// The least that a container can be started with, and the most that makes sense.
const RANGES: [(&str, u64, u64); 9] = [
    ("timeout", 100, 24 * 3600 * 1000),
    ("memory", 32 << 20, 1 << 40),
    ("cpus", 10, 1_000_000),
    ("pids", 16, 100_000),
    ("tmp", 4096, 1 << 40),
    ("output", 4096, 16 << 30),
    ("files", 1, 100_000),
    ("stdout", 0, 256 << 20),
    ("stderr", 0, 256 << 20),
];

impl Limits {
    fn named(&self) -> [u64; 9] {
        let Limits { timeout_ms, memory, millicpus, pids, tmp, output, files, stdout, stderr } = self;
        let (millicpus, pids, files) = (u64::from(*millicpus), u64::from(*pids), u64::from(*files));
        [*timeout_ms, *memory, millicpus, pids, *tmp, *output, files, *stdout, *stderr]
    }

    /// The first limit that no container can have: its name, the least and the most.
    pub fn impossible(&self) -> Option<(&'static str, u64, u64, u64)> {
        let pairs = RANGES.into_iter().zip(self.named());
        pairs
            .map(|((name, least, most), value)| (name, least, most, value))
            .find(|(_, least, most, value)| value < least || value > most)
    }

    /// The first limit that is higher than the ceiling: its name, the ceiling, what was asked.
    pub fn above(&self, ceiling: &Limits) -> Option<(&'static str, u64, u64)> {
        let pairs = RANGES.into_iter().zip(ceiling.named().into_iter().zip(self.named()));
        pairs.map(|((name, ..), (most, value))| (name, most, value)).find(|(_, most, value)| value > most)
    }
}

/// Where the guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Process 1 of a container.
    Container,
    /// An ordinary process of this machine: `--unsafe-subprocess`.
    Host,
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Nothing: only the limits are read back.
    Nothing,
    /// A Python program.
    Python {
        /// Its path inside.
        script: String,
        /// The interpreter to use, if it is not to be looked for.
        interpreter: Option<String>,
        /// Folders where interpreters are looked for first.
        search: Vec<String>,
    },
    /// A program that the kernel starts.
    Program {
        /// Its path inside.
        path: String,
    },
}

/// What is taken out of the output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimits {
    /// The folder, inside.
    pub path: String,
    /// The most bytes of all files.
    pub bytes: u64,
    /// The most files.
    pub files: u32,
}

/// All that the guard is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Where it is.
    pub place: Place,
    /// What it has to find in force.
    pub limits: Limits,
    /// As whom it has to find itself.
    pub user: (u32, u32),
    /// The folders in memory that have to be there, with their sizes.
    pub folders: Vec<(String, u64)>,
    /// What of the host has to be there, read-only.
    pub mounts: Vec<String>,
    /// The folder of Ingot's own files among them.
    pub own: String,
    /// Whether to go on if something is not in force.
    pub allow_weak: bool,
    /// What to start.
    pub start: Start,
    /// Its arguments.
    pub args: Vec<String>,
    /// All its variables.
    pub env: Vec<(String, String)>,
    /// Its working folder.
    pub workdir: String,
    /// What it reads.
    pub stdin: String,
    /// Milliseconds between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// What is taken out afterwards.
    pub output: Option<OutputLimits>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_range_and_a_ceiling() {
        let limits = Limits::default();
        assert_eq!((limits.impossible(), limits.above(&limits)), (None, None));
        let tiny = Limits { memory: 1 << 20, ..Limits::default() };
        assert_eq!(tiny.impossible(), Some(("memory", 32 << 20, 1 << 40, 1 << 20)));
        let big = Limits { pids: 65, ..Limits::default() };
        assert_eq!(big.above(&limits), Some(("pids", 64, 65)));
        let endless = Limits { timeout_ms: u64::MAX, ..Limits::default() };
        assert_eq!(endless.impossible().map(|found| found.0), Some("timeout"));
    }
}
