//! Programs with a time limit, and what they left behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long any program of a test may run.
const LIMIT: Duration = Duration::from_secs(300);

/// Folders that an ordinary user's PATH may lack.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// How a program ended.
#[derive(Debug, Default)]
pub struct Ran {
    /// What was run.
    pub command: String,
    /// The exit code; 128 + signal if a signal ended it.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: Command) -> Ran {
        Ran::fed(command, b"")
    }

    /// Runs a command to its end with something on stdin.
    pub fn fed(command: Command, stdin: &[u8]) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let shown = format!("{command:?}");
        let output = ingot::process::run(command, stdin, LIMIT).unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { command: shown, code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails the test unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert!(
            self.code == code,
            "exit code {} instead of {code}: {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}: {}", self.command, self.stdout))
    }
}

/// The path of a program, or a failure that says how to install it.
#[track_caller]
pub fn tool(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("`{name}` is missing: apt-get install {package} (or make install-test-tools)"))
}

/// `skopeo ARGS`.
#[track_caller]
pub fn skopeo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Ran {
    let mut command = Command::new(tool("skopeo", "skopeo"));
    command.args(args);
    Ran::of(command)
}

/// Unpacks `layout:tag` with umoci and returns the root file system's folder.
#[track_caller]
pub fn umoci(layout: &Path, tag: &str, bundle: &Path) -> PathBuf {
    let mut command = Command::new(tool("umoci", "umoci"));
    command.arg("unpack");
    if !rustix::process::getuid().is_root() {
        command.arg("--rootless");
    }
    command.arg("--image").arg(format!("{}:{tag}", layout.display())).arg(bundle);
    Ran::of(command).ok();
    bundle.join("rootfs")
}
