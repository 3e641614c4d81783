//! A docker daemon, started by hand.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingot::process::Running;

use super::Scratch;
use super::program::{Ran, tool};

/// Two daemons would quarrel about one bridge.
static ONE: Mutex<()> = Mutex::new(());

/// `dockerd` with storage of its own. It needs root, or sudo without a password; it ends with the value.
pub struct Docker {
    running: Running,
    scratch: Scratch,
    /// The bridges that it has made, by their names on this machine.
    bridges: Mutex<BTreeSet<String>>,
    _one: MutexGuard<'static, ()>,
}

impl Docker {
    /// Starts the daemon and waits until it answers.
    pub fn start() -> Docker {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        tool("iptables", "iptables");
        let scratch = Scratch::new();
        let log = File::create(scratch.join("log")).unwrap();
        // Not the machine's own configuration.
        let config = scratch.join("daemon.json");
        std::fs::write(&config, "{}").unwrap();
        let mut command = as_root(&tool("dockerd", "docker.io"));
        command.arg("--host").arg(format!("unix://{}", scratch.join("socket").display()));
        command.arg("--data-root").arg(scratch.join("data")).arg("--exec-root").arg(scratch.join("exec"));
        command.arg("--pidfile").arg(scratch.join("pid")).arg("--config-file").arg(&config);
        command.arg("--group").arg(rustix::process::getgid().as_raw().to_string());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        // Layers are inflated by Go's own reader, not by a pigz that happens to be installed.
        command.env("MOBY_DISABLE_PIGZ", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // The machine's own docker may have made it; any other is of a network that only this daemon knows.
        let own = (!is_link("docker0")).then(|| "docker0".to_string());
        let bridges = Mutex::new(own.into_iter().collect());
        let mut docker = Docker { running: Running::start(command).unwrap(), scratch, bridges, _one: one };
        docker.wait();
        docker
    }

    fn wait(&mut self) {
        for _ in 0..600 {
            if self.socket().exists() && self.run(["version"]).code == 0 {
                return;
            }
            let ended = self.running.child().try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {ended:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("dockerd does not answer\n{}", self.log());
    }

    /// Ends the daemon, and with it its containers, while whoever holds the value goes on.
    pub fn stop(&self) {
        self.note_bridges();
        let file = self.scratch.join("pid");
        let mut command = as_root(Path::new("kill"));
        command.arg(std::fs::read_to_string(&file).unwrap().trim());
        Ran::of(command).ok();
        for _ in 0..600 {
            if !file.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("dockerd does not end\n{}", self.log());
    }

    /// Remembers which bridges its networks have: it leaves them when it ends.
    fn note_bridges(&self) {
        let listed = self.run(["network", "ls", "--quiet", "--no-trunc", "--filter", "driver=bridge"]).stdout;
        let names = listed.split_whitespace().filter_map(|id| Some(format!("br-{}", id.get(..12)?)));
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// Its socket: `DOCKER_HOST=unix://SOCKET`.
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("socket")
    }

    /// `docker ARGS`.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        let mut command = Command::new(tool("docker", "docker.io"));
        command.env("DOCKER_CONFIG", self.scratch.join("config"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(args);
        Ran::of(command)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let containers = self.run(["ps", "--all", "--quiet"]).stdout;
        for id in containers.split_whitespace() {
            self.run(["rm", "--force", "--volumes", id]);
        }
        self.note_bridges();
        self.run(["network", "prune", "--force"]);
        // Asked to end, it unmounts and removes its containerd; killed, it would leave both.
        if let Ok(pid) = std::fs::read_to_string(self.scratch.join("pid")) {
            let mut command = as_root(Path::new("kill"));
            command.arg(pid.trim());
            Ran::of(command);
            let _ = self.running.wait(Duration::from_secs(20));
        }
        // About thirty that are left use up the addresses that docker has for networks.
        for bridge in std::mem::take(&mut *self.bridges.lock().unwrap_or_else(PoisonError::into_inner)) {
            if is_link(&bridge) {
                let mut command = as_root(&tool("ip", "iproute2"));
                command.args(["link", "delete", &bridge]);
                Ran::of(command);
            }
        }
        if !rustix::process::getuid().is_root() {
            let mut command = as_root(Path::new("rm"));
            command.arg("-rf").arg(self.scratch.join("data")).arg(self.scratch.join("exec"));
            Ran::of(command);
        }
    }
}

fn is_link(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn as_root(program: &Path) -> Command {
    if rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(tool("sudo", "sudo"));
    command.arg("--non-interactive").arg(program);
    command
}
