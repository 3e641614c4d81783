//! The program under test, in an environment of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::Ran;
use super::{Scratch, TestUser};

/// What passes into the program's environment: how this machine reaches its package index, and nothing else.
const PASSED: [&str; 9] =
    ["PIP_", "UV_", "npm_config_", "SSL_CERT_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy"];

/// `ingot` as an unprivileged user with an empty HOME and store.
pub struct Ingot {
    scratch: Scratch,
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(OsString, Option<OsString>)>,
    prefix: Vec<OsString>,
    privileged: bool,
}

impl Ingot {
    /// A fresh one: nothing in its home, nothing in its store.
    pub fn new() -> Ingot {
        let scratch = Scratch::new();
        // The build folder may be closed to other users.
        let program = scratch.join("ingot");
        // Not by this process: what another thread forks meanwhile would have the file open for writing, and a program
        // that somebody writes cannot be started ("Text file busy").
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_ingot")).arg(&program);
        Ran::of(copy).ok();
        let folder = scratch.join("work");
        for name in ["home", "cache", "work"] {
            std::fs::create_dir(scratch.join(name)).unwrap();
            TestUser::get().own(&scratch.join(name));
        }
        Ingot { scratch, program, folder, environment: Vec::new(), prefix: Vec::new(), privileged: false }
    }

    /// The same, as whoever runs the tests.
    pub fn privileged() -> Ingot {
        Ingot { privileged: true, ..Ingot::new() }
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Ingot {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Runs without a variable.
    pub fn unset(mut self, name: impl Into<OsString>) -> Ingot {
        self.environment.push((name.into(), None));
        self
    }

    /// Runs through another program: `["taskset", "-c", "0"]`. It is found on the PATH of the tests.
    #[track_caller]
    pub fn through<S: AsRef<OsStr>>(mut self, prefix: &[S]) -> Ingot {
        self.prefix = prefix.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Runs in another folder than the empty one it has.
    pub fn within(mut self, folder: &Path) -> Ingot {
        self.folder = folder.to_owned();
        self
    }

    /// Its store.
    pub fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    /// Its home.
    pub fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    /// A place where it may write, removed with it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join("work").join(name)
    }

    /// The command, for tests that need more than its end.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let words: Vec<&OsStr> =
            self.prefix.iter().map(OsString::as_os_str).chain([self.program.as_os_str()]).collect();
        let program = Path::new(words[0]);
        let mut command = if self.privileged { Command::new(program) } else { TestUser::get().command(program) };
        command.args(&words[1..]).args(args).current_dir(&self.folder).env_clear();
        let passed =
            std::env::vars_os().filter(|(name, _)| PASSED.iter().any(|p| name.to_string_lossy().starts_with(p)));
        command.envs(passed).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        command.env("HOME", self.home()).env("INGOT_CACHE", self.cache());
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs it to its end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        Ran::of(self.command(args))
    }
}
