//! The command line of `ingot sandbox`, as it is typed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::sandbox::Limits;

/// `ingot sandbox`.
#[derive(Debug, Subcommand)]
pub enum Sandbox {
    /// Run code once; its exit code is the program's own, 124 for a timeout, 137 for out of memory, 125 if the sandbox failed
    Run(Box<Run>),
    /// Prove that sandboxes work here: start one, and show every limit as the kernel has it
    Check(Box<Check>),
    /// Run code for others, who talk HTTP on a unix socket and never see the engine's
    Serve(Box<Serve>),
}

/// Which image, through which engine.
#[derive(Debug, Args)]
pub struct Within {
    /// The image: a name in the engine's store, `oci:DIR[:TAG]`, `oci-archive:FILE`, `containers-storage:REF`, `docker-daemon:REF`; it is never pulled
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Who runs it: `auto`, `podman` or `docker`
    #[arg(long, default_value = "auto", value_name = "ENGINE", value_parser = ["auto", "podman", "docker"])]
    pub engine: String,
    /// Go on if a limit is not in force, and say which
    #[arg(long)]
    pub allow_weak: bool,
}

/// What the code may use.
#[derive(Debug, Args)]
pub struct Ceilings {
    /// How long it may run
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Memory, with what it writes to folders in memory; swap is none
    #[arg(long, default_value = "256m", value_name = "SIZE", value_parser = size)]
    pub memory: u64,
    /// CPUs
    #[arg(long, default_value = "1", value_name = "NUMBER", value_parser = millicpus)]
    pub cpus: u32,
    /// Processes and threads, with one of ingot's own
    #[arg(long, default_value_t = 64, value_name = "NUMBER")]
    pub pids: u32,
    /// The size of /tmp
    #[arg(long, default_value = "64m", value_name = "SIZE", value_parser = size)]
    pub tmp: u64,
    /// The size of /output, and so of all results
    #[arg(long, default_value = "64m", value_name = "SIZE", value_parser = size)]
    pub output_size: u64,
    /// The most files that are taken out of /output
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pub output_files: u32,
    /// How much of stdout and of stderr is kept
    #[arg(long, default_value = "1m", value_name = "SIZE", value_parser = size)]
    pub max_output: u64,
}

impl Ceilings {
    /// As the sandbox takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            memory: self.memory,
            millicpus: self.cpus,
            pids: self.pids,
            tmp: self.tmp,
            output: self.output_size,
            files: self.output_files,
            stdout: self.max_output,
            stderr: self.max_output,
        }
    }
}

/// `ingot sandbox run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where it runs.
    #[command(flatten)]
    pub within: Within,
    /// What it may use.
    #[command(flatten)]
    pub ceilings: Ceilings,
    /// Copy what it leaves in /output to DIR, as plain files
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// A variable of its environment, which is empty otherwise
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// The image's Python to use, if it is not on the image's PATH
    #[arg(long, value_name = "PATH")]
    pub interpreter: Option<String>,
    /// Without an engine, run it as an ordinary process that sees this machine; never in production
    #[arg(long)]
    pub unsafe_subprocess: bool,
    /// A Python file, an executable, a folder with main.py or __main__.py, or `-` for a Python program on stdin
    #[arg(default_value = "-", value_name = "FILE|DIR|-")]
    pub code: PathBuf,
    /// Arguments for the program
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `ingot sandbox check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Where it would run.
    #[command(flatten)]
    pub within: Within,
    /// What code may use.
    #[command(flatten)]
    pub ceilings: Ceilings,
}

/// `ingot sandbox serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where it runs.
    #[command(flatten)]
    pub within: Within,
    /// What a request may ask for at most, and gets if it does not say.
    #[command(flatten)]
    pub ceilings: Ceilings,
    /// The unix socket to listen on; only this user may connect
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Whoever gets to the socket may connect, whatever user that is: the folder around it decides
    #[arg(long)]
    pub shared: bool,
    /// Leave the session of whoever started this: `ingot stack up` does
    #[arg(long, hide = true)]
    pub detached: bool,
    /// How many run at once; beyond that the answer is 429
    #[arg(long, default_value_t = 5, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_sessions: u32,
    /// How many may wait for their turn
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub queue: u32,
}

/// "256m", "1g", "4096": binary units, as podman and docker count memory.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, shift) = match number.chars().last() {
        Some('k') => (number.strip_suffix('k'), 10),
        Some('m') => (number.strip_suffix('m'), 20),
        Some('g') => (number.strip_suffix('g'), 30),
        _ => (Some(number), 0),
    };
    let number = number.and_then(|number| number.parse::<u64>().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected a size such as 64m or 1g".into())
}

/// "1", "0.5": thousandths of a CPU.
fn millicpus(text: &str) -> Result<u32, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{part:0<3}").parse::<u32>().ok().filter(|_| digits);
    let cpus = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(1000)).zip(thousandths);
    let sum = cpus.and_then(|(whole, part)| whole.checked_add(part)).filter(|sum| *sum > 0);
    sum.ok_or_else(|| "expected a number such as 1 or 0.5".into())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() { Err("the name is empty".into()) } else { Ok((name.into(), value.into())) }
}

/// The last of each name.
pub fn environment(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_cpus_are_read() {
        for (text, bytes) in [("4096", 4096), ("64k", 65536), ("256m", 256 << 20), ("1GiB", 1 << 30), ("2gb", 2 << 30)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "m", "-1", "1.5g", "1t", "99999999999g", "1m1"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, milli) in [("1", 1000), ("0.5", 500), ("0.25", 250), ("2.125", 2125)] {
            assert_eq!(millicpus(text).unwrap(), milli, "{text}");
        }
        for text in ["0", "", "1.2345", "-1", "1.+5", "x", "5000000"] {
            assert!(millicpus(text).is_err(), "{text}");
        }
    }
}
