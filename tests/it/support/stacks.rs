//! Small stacks of services that do as they are told, in an engine of their own, started by a real compose provider.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;

use ingot::process::Running;
use serde_json::Value;

use super::program::Ran;
use super::{Docker, Ingot, Podman, Scratch, debian_base};

/// A service that can be told to be slow, to ask another one, to end, or to be ill.
const APP: &str = r#"
import http.server, os, signal, sys, time, urllib.request

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

def told(name):
    return os.environ.get(name, "")

ill = told("ILL")
# In one write: podman 4 loses the begin of what came in pieces when it is asked for the end of a log.
sys.stdout.write("begin %s\n" % told("NAME"))
sys.stdout.flush()
if told("ASK"):
    print("answer", urllib.request.urlopen(told("ASK"), timeout=5).status, flush=True)
if told("READ"):
    print("read", open(told("READ")).read(), flush=True)
time.sleep(float(told("DELAY") or 0))
if told("END"):
    print("end", told("END"), flush=True)
    sys.exit(int(told("END")))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global ill
        if self.path == "/break":
            ill = "yes"
        if self.path == "/keep":
            open("/data/kept", "w").write("kept")
        if self.path == "/kept":
            self.answer(200 if os.path.exists("/data/kept") else 404)
        else:
            self.answer(500 if ill and self.path == "/health" else 200)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"name": "%s", "status": %d}' % (told("NAME").encode(), status))

    def log_message(self, *words):
        pass

print("serve", told("NAME"), flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"#;

/// What it is cast with.
const PROJECT: &str = r#"[image]
name = "service"

[python]
version = "3.11"

[app]
source = "src"
target = "/app"
command = ["python", "-m", "service"]
expose = [8080]
writable = ["/data"]

[healthcheck]
command = ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
interval = "1s"
timeout = "10s"
start-period = "2s"
retries = 2

[variants.small]
base = "oci:BASE"
"#;

/// Where stacks run.
pub enum Place {
    /// podman and podman-compose.
    Podman(Podman),
    /// docker and Docker Compose.
    Docker(Box<Docker>),
}

/// A folder with a service to cast, an engine of its own, and the ingot that uses them.
pub struct Stacks {
    /// The ingot; it runs in the folder.
    pub ingot: Ingot,
    /// The engine.
    pub place: Place,
    folder: Scratch,
    runtime: Scratch,
    /// The last to go.
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Stacks {
    /// With podman.
    pub fn podman() -> Stacks {
        let alone = Podman::networks();
        Stacks::new(Place::Podman(Podman::new()), Some(alone))
    }

    /// With docker.
    pub fn docker() -> Stacks {
        Stacks::new(Place::Docker(Box::new(Docker::start())), None)
    }

    fn new(place: Place, alone: Option<MutexGuard<'static, ()>>) -> Stacks {
        let (folder, runtime) = (Scratch::new(), Scratch::new());
        // As a session has it.
        std::fs::set_permissions(runtime.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let source = folder.join("app/src/service");
        std::fs::create_dir_all(&source).unwrap();
        let project = PROJECT.replace("BASE", debian_base().to_str().unwrap());
        std::fs::write(folder.join("app/ingot.toml"), project).unwrap();
        std::fs::write(source.join("__init__.py"), "").unwrap();
        std::fs::write(source.join("__main__.py"), APP).unwrap();
        // What all cast is cast once.
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stacks");
        let ingot = Ingot::privileged()
            .within(folder.path())
            .env("INGOT_CACHE", cache)
            .env("XDG_RUNTIME_DIR", runtime.path())
            .env("PATH", path_with_providers());
        let ingot = match &place {
            Place::Podman(podman) => podman.configure(ingot),
            Place::Docker(docker) => ingot.env("DOCKER_HOST", format!("unix://{}", docker.socket().display())),
        };
        Stacks { ingot, place, folder, runtime, _alone: alone }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The files that containers have of a stack's own, by name.
    pub fn files(&self) -> Vec<String> {
        let stacks = std::fs::read_dir(self.runtime.join("ingot")).into_iter().flatten();
        let files = stacks.flat_map(|stack| std::fs::read_dir(stack.unwrap().path().join("files"))).flatten();
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a stack of this name is really called: engines on one machine have networks of one name in common.
    pub fn named(&self, name: &str) -> String {
        let unique = self.folder.path().file_name().unwrap().to_str().unwrap().to_lowercase();
        format!("{name}{}", unique.rsplit('-').next().unwrap())
    }

    /// Writes `compose.yaml`. Every service has the same image.
    pub fn compose(&self, text: &str) -> &Self {
        let name = text.lines().find_map(|line| line.strip_prefix("name: ")).unwrap();
        let text = text.replace(&format!("name: {name}\n"), &format!("name: {}\n", self.named(name)));
        let text = text.replace("CAST", "x-ingot: {project: ./app, health: 'http://:8080/health'}");
        std::fs::write(self.folder.join("compose.yaml"), text).unwrap();
        self
    }

    /// `ingot stack ARGS`.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// The command, not yet run.
    pub fn command(&self, args: &[&str]) -> Command {
        let engine = match &self.place {
            Place::Podman(_) => "podman",
            Place::Docker(_) => "docker",
        };
        self.ingot.command([&["stack", "--engine", engine], args].concat())
    }

    /// `ingot stack ARGS` in the background; what it says on stderr is to be read.
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command).unwrap()
    }

    /// `podman ARGS` or `docker ARGS`.
    pub fn engine(&self, args: &[&str]) -> Ran {
        match &self.place {
            Place::Podman(podman) => podman.run(args),
            Place::Docker(docker) => docker.run(args),
        }
    }

    /// `ingot stack ps`, by service.
    #[track_caller]
    pub fn ps(&self) -> Value {
        let report = self.run(&["ps", "--format", "json"]).ok().json();
        let services = report["services"].as_array().unwrap();
        services.iter().map(|one| (one["service"].as_str().unwrap().to_string(), one.clone())).collect()
    }

    /// The IDs of all containers, sorted.
    pub fn containers(&self) -> Vec<String> {
        let listed = self.engine(&["ps", "--all", "--quiet", "--no-trunc"]).ok().stdout;
        let mut ids: Vec<String> = listed.split_whitespace().map(str::to_string).collect();
        ids.sort();
        ids
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // Its sandbox, if it has one, is no container.
        if self.path("compose.yaml").exists() && !std::thread::panicking() {
            self.run(&["down", "--volumes"]);
        } else if self.path("compose.yaml").exists() {
            let _ = ingot::process::run(self.command(&["down"]), b"", std::time::Duration::from_secs(60));
        }
    }
}

/// The folder with the compose providers.
#[track_caller]
pub fn providers() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/compose/bin");
    for name in ["docker-compose", "podman-compose"] {
        assert!(folder.join(name).is_file(), "`{name}` is missing: make install-test-tools");
    }
    folder
}

/// A PATH that has them.
#[track_caller]
pub fn path_with_providers() -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", providers().display())
}
