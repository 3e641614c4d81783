//! The unprivileged user as whom builds run.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::program::{Ran, tool};

/// Who is made for the tests when they run as root.
const NAME: &str = "ingot-test";

/// An ordinary user: `ingot-test` if the tests run as root, else whoever runs them.
#[derive(Clone, Copy, Debug)]
pub struct TestUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl TestUser {
    /// The user; made on first use.
    pub fn get() -> TestUser {
        static USER: OnceLock<TestUser> = OnceLock::new();
        *USER.get_or_init(|| {
            let own = TestUser { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
            if own.uid != 0 { own } else { Self::named().unwrap_or_else(Self::make) }
        })
    }

    fn named() -> Option<TestUser> {
        let id = |kind: &str| {
            let mut command = Command::new("id");
            command.args([kind, NAME]);
            Ran::of(command).stdout.trim().parse().ok()
        };
        Some(TestUser { uid: id("-u")?, gid: id("-g")? })
    }

    fn make() -> TestUser {
        let mut command = Command::new(tool("useradd", "passwd"));
        // Not the 1001 that images use: a file with this owner in a layer is a mistake.
        command.args(["--create-home", "--uid", "4711", NAME]);
        // Another test program may have been quicker: what counts is that the user is there.
        let ran = Ran::of(command);
        Self::named().unwrap_or_else(|| panic!("useradd: {}", ran.stderr))
    }

    /// A command that runs as this user.
    pub fn command(&self, program: &Path) -> Command {
        if !rustix::process::getuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new(tool("setpriv", "util-linux"));
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        command.args(["--clear-groups", "--no-new-privs", "--"]).arg(program);
        command
    }

    /// Gives a folder and all in it to this user.
    pub fn own(&self, path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.own(&entry.unwrap().path());
            }
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).unwrap();
    }
}
