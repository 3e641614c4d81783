//! Places where sandboxes run: podman, docker, podman of an ordinary user.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use super::program::{Ran, tool};
use super::{Docker, Ingot, Podman, Scratch, TestUser, debian_base};

/// `ingot sandbox` in one place.
pub struct Sandboxes {
    /// The program, with the engine's settings.
    pub ingot: Ingot,
    /// An image with Python.
    pub image: String,
    /// The limits that cannot be in force here, as `ingot sandbox check` says.
    pub weak: Vec<String>,
    engine: Engine,
}

enum Engine {
    Podman(Arc<(Podman, String)>),
    Docker(Docker),
    Rootless { podman: Vec<(String, String)>, _scratch: Scratch },
}

/// podman as whoever runs the tests, with an image in its storage; shared by the tests that run at the same time.
pub fn sandboxes() -> Sandboxes {
    static SHARED: Mutex<Weak<(Podman, String)>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let podman = shared.upgrade().unwrap_or_else(|| {
        let podman = Podman::new();
        let image = podman.pull(&format!("oci:{}", debian_base().display()));
        let made = Arc::new((podman, image));
        *shared = Arc::downgrade(&made);
        made
    });
    drop(shared);
    let ingot = podman.0.configure(Ingot::privileged()).env("HTTP_PROXY", "http://user:secret@proxy.example:1");
    let image = podman.1.clone();
    Sandboxes::checked(ingot, image, Engine::Podman(podman))
}

impl Sandboxes {
    /// podman with a storage that nobody else uses: for tests that count containers.
    pub fn alone() -> Sandboxes {
        let podman = Podman::new();
        let image = podman.pull(&format!("oci:{}", debian_base().display()));
        let ingot = podman.configure(Ingot::privileged());
        Sandboxes::checked(ingot, image.clone(), Engine::Podman(Arc::new((podman, image))))
    }

    /// A docker daemon of their own.
    pub fn docker() -> Sandboxes {
        let docker = Docker::start();
        let ingot = Ingot::privileged().env("DOCKER_HOST", format!("unix://{}", docker.socket().display()));
        let ingot = ingot.env("HTTP_PROXY", "http://user:secret@proxy.example:1");
        let image = format!("oci:{}", debian_base().display());
        Sandboxes::checked(ingot, image, Engine::Docker(docker))
    }

    /// podman of an ordinary user, in user namespaces.
    pub fn rootless() -> Sandboxes {
        tool("newuidmap", "uidmap");
        let user = TestUser::get();
        let scratch = Scratch::new();
        for name in ["home", "runtime", "graph", "run"] {
            std::fs::create_dir(scratch.join(name)).unwrap();
        }
        user.own(scratch.path());
        let folder = |name: &str| scratch.join(name).display().to_string();
        let storage = scratch.join("storage.conf");
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {0:?}\nrootless_storage_path = {0:?}\nrunroot = {1:?}\n",
            folder("graph"),
            folder("run")
        );
        std::fs::write(&storage, text).unwrap();
        let conf = scratch.join("containers.conf");
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/containers.conf"), &conf).unwrap();
        let environment = vec![
            ("HOME".to_string(), folder("home")),
            ("XDG_RUNTIME_DIR".into(), folder("runtime")),
            ("CONTAINERS_STORAGE_CONF".into(), storage.display().to_string()),
            ("CONTAINERS_CONF".into(), conf.display().to_string()),
        ];
        // Not as `Ingot::new` does it: without new privileges there are no user namespaces.
        let mut ingot = Ingot::privileged();
        if rustix::process::getuid().is_root() {
            let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
            ingot = ingot.through(&["setpriv", &uid, &gid, "--clear-groups", "--"]);
        }
        for (name, value) in &environment {
            ingot = ingot.env(name, value);
        }
        let image = format!("oci:{}", debian_base().display());
        Sandboxes::checked(ingot, image, Engine::Rootless { podman: environment, _scratch: scratch })
    }

    /// What `ingot sandbox check` says of the place, and that it says it.
    fn checked(ingot: Ingot, image: String, engine: Engine) -> Sandboxes {
        let mut made = Sandboxes { ingot, image, weak: Vec::new(), engine };
        let ran = made.run("check", &[], "");
        let report = ran.json();
        let limits = report["limits"].as_array().unwrap_or_else(|| panic!("{ran:?}"));
        let name = |limit: &Value| limit["name"].as_str().unwrap().to_string();
        made.weak = limits.iter().filter(|limit| limit["holds"] == false).map(name).collect();
        assert_eq!(ran.code, if made.weak.is_empty() { 0 } else { 125 }, "{ran:?}");
        assert_eq!(report["sound"], made.weak.is_empty(), "{ran:?}");
        made
    }

    /// `ingot sandbox COMMAND --image I --format json OPTIONS`, fed a program. What cannot be in force is accepted.
    pub fn run(&self, command: &str, options: &[&str], code: &str) -> Ran {
        Ran::fed(self.command(command, options), code.as_bytes())
    }

    /// The command, not yet run.
    pub fn command(&self, command: &str, options: &[&str]) -> Command {
        let mut words = vec!["sandbox", command, "--image", &self.image, "--format", "json"];
        if !self.weak.is_empty() {
            words.push("--allow-weak");
        }
        self.ingot.command([&words, options].concat())
    }

    /// What the engine answers.
    pub fn ask<const N: usize>(&self, words: [&str; N]) -> Ran {
        match &self.engine {
            Engine::Podman(podman) => podman.0.run(words),
            Engine::Docker(docker) => docker.run(words),
            Engine::Rootless { podman, .. } => Ran::of(rootless_podman(podman, words)),
        }
    }

    /// The names of all containers, and that the engine answers.
    pub fn containers(&self) -> Vec<String> {
        let ran = self.ask(["ps", "--all", "--format", "{{.Names}}"]);
        ran.ok().stdout.split_whitespace().map(str::to_string).collect()
    }

    /// Removes every image of podman's.
    pub fn remove_images(&self) {
        if let Engine::Podman(podman) = &self.engine {
            podman.0.run(["rmi", "--all", "--force"]).ok();
        }
    }

    /// Waits until there is no container.
    #[track_caller]
    pub fn empty_within(&self, seconds: u64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        while !self.containers().is_empty() {
            assert!(std::time::Instant::now() < deadline, "still there: {:?}", self.containers());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

fn rootless_podman<S: AsRef<OsStr>>(environment: &[(String, String)], words: impl IntoIterator<Item = S>) -> Command {
    let user = TestUser::get();
    let mut command = Command::new(tool("setpriv", "util-linux"));
    command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups").arg("--");
    if !rustix::process::getuid().is_root() {
        command = Command::new("env");
    }
    command.arg("podman").args(words).envs(environment.iter().cloned()).current_dir("/");
    command
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        if let Engine::Rootless { podman, .. } = &self.engine {
            Ran::of(rootless_podman(podman, ["system", "reset", "--force"]));
        }
    }
}
