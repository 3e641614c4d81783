//! podman with storage of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::program::{Ran, tool};
use super::{Ingot, Scratch, get_until_ready};
use crate::support::http::free_port;

/// Two podmans that make networks would choose the same bridge for them.
static NETWORKS: Mutex<()> = Mutex::new(());

/// podman with a storage that goes with the value.
pub struct Podman {
    scratch: Scratch,
}

impl Podman {
    /// Empty storage.
    pub fn new() -> Podman {
        tool("runc", "runc");
        let scratch = Scratch::new();
        // Networks of its own, too: `system reset` removes all that it knows.
        let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/containers.conf");
        let folder = scratch.join("networks");
        let text = std::fs::read_to_string(common).unwrap();
        // Others do not see them: each storage has addresses of its own.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let block = 130 + (std::process::id() + NUMBER.fetch_add(1, Ordering::Relaxed) * 7) % 120;
        let pools = format!("default_subnet_pools = [{{base = \"10.{block}.0.0/16\", size = 24}}]\n");
        // The last table is [network].
        let text = format!("{text}network_config_dir = {folder:?}\n{pools}");
        std::fs::write(scratch.join("containers.conf"), text).unwrap();
        let podman = Podman { scratch };
        // Whoever comes first decides which folders this storage goes with.
        podman.run(["ps"]).ok();
        podman
    }

    /// While it is held, nobody else makes networks; it has to outlive the podman that makes some.
    pub fn networks() -> MutexGuard<'static, ()> {
        NETWORKS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `podman ARGS`, not yet run.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = Command::new(tool("podman", "podman"));
        command.env("CONTAINERS_CONF", self.scratch.join("containers.conf"));
        command.args(["--storage-driver", driver(), "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.arg("--root").arg(self.scratch.join("root")).arg("--runroot").arg(self.scratch.join("run"));
        command.arg("--tmpdir").arg(self.scratch.join("tmp")).args(args);
        command
    }

    /// `podman ARGS`.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        Ran::of(self.command(args))
    }

    /// Makes the podman that `ingot` calls use this storage.
    pub fn configure(&self, ingot: Ingot) -> Ingot {
        let file = self.scratch.join("storage.conf");
        let folder = |name: &str| self.scratch.join(name).display().to_string();
        let text = format!(
            "[storage]\ndriver = {0:?}\ngraphroot = {1:?}\nrootless_storage_path = {1:?}\nrunroot = {2:?}\n",
            driver(),
            folder("root"),
            folder("run")
        );
        std::fs::write(&file, text).unwrap();
        ingot.env("CONTAINERS_STORAGE_CONF", file).env("CONTAINERS_CONF", self.scratch.join("containers.conf"))
    }

    /// Takes an image in (`oci:DIR:TAG`, `docker-archive:FILE`) and returns its id.
    #[track_caller]
    pub fn pull(&self, source: &str) -> String {
        self.run(["pull", "--quiet", source]).ok().stdout.trim().to_owned()
    }

    /// Runs a command in a new container of the image to its end, without a network.
    pub fn once(&self, image: &str, options: &[&str], command: &[&str]) -> Ran {
        self.run([&["run", "--rm", "--network=none"], options, &[image], command].concat())
    }

    /// Starts a service that listens on 8080 in its container.
    #[track_caller]
    pub fn serve(&self, image: &str, options: &[&str]) -> Container<'_> {
        let port = free_port();
        let publish = format!("127.0.0.1:{port}:8080");
        let ran = self.run([&["run", "--detach", "--publish", &publish], options, &[image]].concat()).ok();
        Container { podman: self, id: ran.stdout.trim().to_owned(), port }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Mounts and network rules go with the containers; the folder alone would leave them.
        let _ =
            ingot::process::run(self.command(["system", "reset", "--force"]), b"", std::time::Duration::from_secs(60));
    }
}

/// A running service.
pub struct Container<'a> {
    podman: &'a Podman,
    /// Its id.
    pub id: String,
    /// Where it is reached on loopback.
    pub port: u16,
}

impl Container<'_> {
    /// Waits until `path` answers 200, and shows the log if it never does.
    #[track_caller]
    pub fn ready(&self, path: &str) -> super::Answer {
        let answer = std::panic::catch_unwind(|| get_until_ready(self.port, path));
        answer.unwrap_or_else(|_| panic!("the service is not ready:\n{}", self.logs()))
    }

    /// Runs a command inside.
    pub fn exec(&self, command: &[&str]) -> Ran {
        self.podman.run([&["exec", &self.id], command].concat())
    }

    /// What the service said.
    pub fn logs(&self) -> String {
        let ran = self.podman.run(["logs", &self.id]);
        ran.stdout + &ran.stderr
    }

    /// Stops it and says how it ended.
    #[track_caller]
    pub fn stop(&self) -> i64 {
        self.podman.run(["stop", "--time", "20", &self.id]).ok();
        let state = self.podman.run(["inspect", "--format", "{{.State.ExitCode}}", &self.id]).ok();
        state.stdout.trim().parse().unwrap()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.podman.run(["rm", "--force", "--time", "2", &self.id]);
    }
}

/// overlay where this machine can mount one, else vfs, which copies every layer and is slow.
fn driver() -> &'static str {
    static OVERLAY: OnceLock<bool> = OnceLock::new();
    let works = *OVERLAY.get_or_init(|| {
        let scratch = Scratch::new();
        let folders = ["lower", "upper", "work", "merged"].map(|name| scratch.join(name));
        folders.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let [lower, upper, work, merged] = folders.map(|folder| folder.display().to_string());
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "overlay", "-o"]);
        command.arg(format!("lowerdir={lower},upperdir={upper},workdir={work}")).arg(&merged);
        let mounted = Ran::of(command).code == 0;
        if mounted {
            let mut command = Command::new("umount");
            command.arg(&merged);
            Ran::of(command).ok();
        }
        mounted
    });
    if works { "overlay" } else { "vfs" }
}
