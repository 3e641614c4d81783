//! `examples/stack`, whole: cast, started, played in a real browser, and all that goes wrong while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ingot::process::Running;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::*;

/// The services in the order in which they have to start.
const ORDER: [&str; 3] = ["postgres", "express", "flask"];
/// How many games run at once.
const SEATS: usize = 5;
/// How long what mends itself may take.
const MENDED: Duration = Duration::from_secs(120);
/// How long an engine may take to load all images.
const LOADED: Duration = Duration::from_secs(240);

#[test]
fn the_example_by_podman() {
    let _alone = Podman::networks();
    let platform = Platform::new(Place::Podman(Podman::new()));
    platform.cast();
    platform.is_hardened();
    platform.says_that_the_executor_image_is_missing();
    platform.says_what_is_left_when_it_is_interrupted();
    platform.says_which_port_is_taken();
    platform.says_that_the_password_is_wrong();
    platform.comes_up_in_order();
    platform.plays_in_a_browser();
    platform.tells_its_health();
    platform.keeps_hostile_games_in();
    platform.has_five_seats_for_twenty();
    platform.outlives_its_database();
    platform.notices_that_its_executor_image_goes();
    platform.goes_down();
    platform.is_demonstrated();
}

#[test]
fn the_example_by_docker() {
    let platform = Platform::new(Place::Docker(Docker::start()));
    platform.cast();
    platform.is_demonstrated();
    platform.goes_down();
    platform.comes_up_in_order();
    platform.plays_in_a_browser();
    platform.tells_its_health();
    platform.has_five_seats_for_twenty();
    platform.outlives_its_database();
    platform.says_that_the_engine_has_stopped();
}

/// Where it runs.
enum Place {
    Podman(Podman),
    Docker(Docker),
}

impl Place {
    fn name(&self) -> &'static str {
        match self {
            Place::Podman(_) => "podman",
            Place::Docker(_) => "docker",
        }
    }
}

/// The example in a folder of its own, with secrets and a port of its own.
struct Platform {
    ingot: Ingot,
    project: Project,
    place: Place,
    port: u16,
}

impl Platform {
    fn new(place: Place) -> Platform {
        let project = copy_of("stack");
        let mut secrets = Command::new(project.folder().join("secrets.sh"));
        secrets.current_dir("/");
        Ran::of(secrets).ok();
        let port = free_port();
        // What both cast is cast once.
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stack-example");
        let providers = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/compose/bin");
        assert!(Path::new(providers).is_dir(), "no compose providers: make install-test-tools");
        let mut ingot = Ingot::privileged()
            .env("PATH", format!("{providers}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"))
            .within(&project.folder())
            .env("INGOT_CACHE", cache)
            .env("GATEWAY_PORT", port.to_string())
            .env("GAME_SECONDS", "3");
        ingot = match &place {
            Place::Podman(podman) => podman.configure(ingot),
            Place::Docker(docker) => ingot.env("DOCKER_HOST", format!("unix://{}", docker.socket().display())),
        };
        Platform { ingot, project, place, port }
    }

    /// `ingot stack ARGS` with the engine of the place.
    fn stack(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        self.ingot.command([&["stack"], args, &["--engine", self.place.name()]].concat())
    }

    fn engine<const N: usize>(&self, words: [&str; N]) -> Ran {
        match &self.place {
            Place::Podman(podman) => podman.run(words),
            Place::Docker(docker) => docker.run(words),
        }
    }

    /// The container of a service.
    fn container(&self, service: &str) -> String {
        let names = self.engine(["ps", "--all", "--format", "{{.Names}}"]).ok().stdout;
        let own = names.lines().find(|name| name.contains(service)).map(str::to_string);
        own.unwrap_or_else(|| panic!("no container of {service}: {names}"))
    }

    fn inspect(&self, service: &str, what: &str) -> String {
        let name = self.container(service);
        self.engine(["inspect", "--format", what, &name]).ok().stdout.trim().to_owned()
    }

    fn gateway(&self, path: &str) -> Answer {
        get(self.port, path).unwrap()
    }

    /// Plays a game through the gateway.
    fn play(&self, code: &str) -> Answer {
        post(self.port, "/api/games", &json!({ "code": code })).unwrap()
    }

    /// Waits until the gateway's health has this status.
    #[track_caller]
    fn until(&self, status: u16) -> Answer {
        let deadline = Instant::now() + MENDED;
        loop {
            let answer = self.gateway("/api/health");
            if answer.status == status {
                return answer;
            }
            assert!(Instant::now() < deadline, "not {status} but {}: {}", answer.status, answer.text());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What `make stack` runs: from the secrets to `down`, with a game in a browser and the health document between.
    fn is_demonstrated(&self) {
        let ingot = self.command(&["up"]);
        let environment = ingot.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut demo = Command::new(self.project.folder().join("demo.sh"));
        demo.arg(ingot.get_program()).args(["--engine", self.place.name()]).env_clear().envs(environment);
        let ran = Ran::of(demo).ok();
        for part in ["0 errors and 0 warnings", "a draw\nYou have played 1 game.\nbest scores: Ada: 42\n"] {
            assert!(ran.stdout.contains(part), "`{part}` is not in {ran:?}");
        }
        assert!(!ran.stderr.contains("does not enforce"), "all limits are in force: {}", ran.stderr);
        let (_, health) = ran.stdout.rsplit_once("\n{\n").unwrap_or_else(|| panic!("no health document: {ran:?}"));
        let document: Value =
            serde_json::Deserializer::from_str(&format!("{{\n{health}")).into_iter().next().unwrap().unwrap();
        assert_eq!(document["status"], "healthy", "{document}");
        assert!(ORDER.iter().all(|service| document["services"][service].is_object()), "{document}");
        assert_eq!(self.engine(["ps", "--all", "--quiet"]).ok().stdout, "", "it is taken down");
    }

    /// Both places cast the same: the second takes what the first has made.
    fn cast(&self) {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        self.stack(&["build"]).ok();
    }

    fn is_hardened(&self) {
        let ran = self.stack(&["check"]).ok();
        assert!(ran.stdout.contains("0 errors and 0 warnings"), "{ran:?}");
        let production = self.ingot.command(["stack", "check", "--env", "production"]);
        assert!(Ran::of(production).exits(2).stderr.contains("the folder with the secrets of production"));
        let mut production = self.ingot.command(["stack", "check", "--env", "production"]);
        production.env("GAMEFORGE_SECRETS", "/srv/gameforge/secrets");
        let ran = Ran::of(production).ok();
        assert!(ran.stdout.contains("0 errors and 0 warnings"), "{ran:?}");
    }

    fn says_that_the_executor_image_is_missing(&self) {
        let text = std::fs::read_to_string(self.project.folder().join("compose.yaml")).unwrap();
        let missing = text.replace("project: ./game-executor,", "image: localhost/none:1,");
        assert_ne!(text, missing);
        std::fs::write(self.project.folder().join("missing.yaml"), missing).unwrap();
        let start = Instant::now();
        let ran = self.stack(&["up", "--file", "missing.yaml"]).exits(7);
        assert!(ran.stderr.contains("localhost/none:1"), "{ran:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "it is told at once");
        assert_eq!(self.engine(["ps", "--all", "--quiet"]).ok().stdout, "", "nothing was started");
    }

    fn says_what_is_left_when_it_is_interrupted(&self) {
        let mut command = self.command(&["up"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::start(command).unwrap();
        let deadline = Instant::now() + LOADED;
        // PostgreSQL makes its cluster now.
        while !self.engine(["ps", "--format", "{{.Names}}"]).stdout.contains("postgres") {
            assert!(Instant::now() < deadline, "nothing is started");
            std::thread::sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_raw(running.child().id() as i32).unwrap(), Signal::INT).unwrap();
        let mut said = String::new();
        let status = running.wait(Duration::from_secs(30)).unwrap();
        std::io::Read::read_to_string(&mut running.child().stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains("postgres") && said.contains("ingot stack down"), "it is told what is left: {said}");
    }

    fn says_which_port_is_taken(&self) {
        let taken = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        let ran = self.stack(&["up"]).exits(7);
        assert!(ran.stderr.contains(&format!("port {} of 127.0.0.1", self.port)), "{ran:?}");
        assert!(ran.stderr.contains("`express`"), "{ran:?}");
        drop(taken);
    }

    fn says_that_the_password_is_wrong(&self) {
        let file = self.project.folder().join("secrets/database_password");
        let right = std::fs::read(&file).unwrap();
        let write = |text: &[u8]| {
            // In place: a container that is there has this very file.
            let mut command = Command::new("tee");
            command.arg(&file);
            Ran::fed(command, text).ok();
        };
        write(b"wrong");
        let ran = self.stack(&["up"]).exits(7);
        write(&right);
        assert!(ran.stderr.contains("the database refuses user game: password authentication failed"), "{ran:?}");
        assert!(ran.stderr.contains("error: `express` "), "{ran:?}");
        assert!(!ran.stderr.contains(&*String::from_utf8_lossy(&right)), "secrets stay secret");
    }

    fn comes_up_in_order(&self) {
        self.stack(&["up"]).ok();
        let started: Vec<String> =
            ORDER.iter().map(|service| self.inspect(service, "{{json .State.StartedAt}}")).collect();
        assert!(started.is_sorted(), "{ORDER:?}: {started:?}");
        for service in ORDER {
            assert_eq!(self.inspect(service, "{{.HostConfig.ReadonlyRootfs}}"), "true", "{service}");
        }
        // The database is on no network with a way out, and nobody outside reaches it.
        let reached = self.inspect("postgres", "{{json .NetworkSettings.Ports}}");
        assert!(!reached.contains("HostPort"), "{reached}");
    }

    fn plays_in_a_browser(&self) {
        let mut command = Command::new(self.project.folder().join("play.py"));
        command.arg(format!("http://127.0.0.1:{}/", self.port));
        let ran = Ran::of(command).ok();
        assert!(ran.stdout.contains("a draw\nYou have played 1 game.\nbest scores: Ada: 42\n"), "{ran:?}");
        assert!(ran.stdout.contains("\"status\": \"healthy\""), "{ran:?}");
    }

    fn tells_its_health(&self) {
        let answer = self.gateway("/api/health");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let express = answer.json();
        let shape = json!({
            "status": "healthy", "service": "express", "timestamp": "", "environment": "development", "uptime": 0,
            "memory": {}, "dependencies": {"database": {}, "flask": {}},
            "checks": {"database": true, "flask": true, "sandbox": true},
        });
        same_shape(&express, &shape);
        assert_eq!(express["checks"], shape["checks"]);

        let name = self.container("flask");
        let ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/api/health').read().decode())";
        let flask = self.engine(["exec", &name, "python", "-c", ask]).ok().json();
        let shape = json!({
            "status": "healthy", "service": "flask", "timestamp": "", "environment": "development",
            "system": {"cpu_count": 0, "memory_total": 0, "memory_available": 0, "disk_usage": 0},
            "game_sessions": {"active_count": 0, "max_allowed": SEATS, "sessions": []},
            "checks": {"sandbox_available": true, "executor_image": true, "force_docker_mode": true},
        });
        same_shape(&flask, &shape);
        assert_eq!((&flask["checks"], &flask["game_sessions"]), (&shape["checks"], &shape["game_sessions"]));

        let all = self.stack(&["health"]).ok();
        assert!(all.stdout.contains("express") && all.stdout.contains("flask"), "{all:?}");
    }

    /// Loops, forks, eats memory, looks for a way out: each ends, and the platform goes on.
    fn keeps_hostile_games_in(&self) {
        let games = [
            ("loop", "while True: pass"),
            ("fork", "import os\nwhile True: os.fork()"),
            ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))"),
            (
                "socket",
                "import socket\nfor host in ('192.0.2.1', '127.0.0.1', 'flask', 'postgres'):\n    try:\n        \
                 socket.create_connection((host, 5432), 2)\n        print('connected')\n    except OSError as error:\n        \
                 print(host, type(error).__name__)",
            ),
        ];
        let ended: BTreeMap<&str, Answer> = std::thread::scope(|scope| {
            let threads = games.map(|(name, code)| (name, scope.spawn(move || self.play(code))));
            threads.map(|(name, thread)| (name, thread.join().unwrap())).into()
        });
        let told = |name: &str| {
            assert_eq!(ended[name].status, 200, "{name}: {}", ended[name].text());
            ended[name].json()
        };
        assert_eq!(told("loop")["ended"], "its time was over");
        assert_ne!(told("fork")["ended"], "done", "{}", told("fork"));
        assert_eq!(told("memory")["ended"], "out of memory");
        let output = told("socket")["stdout"].as_str().unwrap().to_owned();
        assert!(output.lines().count() == 4 && !output.contains("connected"), "{output}");
        assert_eq!(self.gateway("/api/health").status, 200);
    }

    fn has_five_seats_for_twenty(&self) {
        let code = "import time\ntime.sleep(2)\nprint('played')";
        let (answers, most) = std::thread::scope(|scope| {
            let players: Vec<_> = (0..20).map(|_| scope.spawn(move || self.play(code))).collect();
            let mut most = 0;
            while players.iter().any(|player| !player.is_finished()) {
                most = most.max(self.sandboxes());
                std::thread::sleep(Duration::from_millis(100));
            }
            (players.into_iter().map(|player| player.join().unwrap()).collect::<Vec<_>>(), most)
        });
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for answer in &answers {
            *counts.entry(answer.status).or_default() += 1;
            let text = answer.text();
            match answer.status {
                200 => assert_eq!(answer.json()["stdout"], "played\n", "{text}"),
                429 => {
                    assert!(answer.head.to_lowercase().contains("retry-after") && text.contains("try again"), "{text}")
                }
                _ => panic!("{}: {text}", answer.status),
            }
        }
        assert!(counts[&200] >= SEATS && counts[&429] > 0, "{counts:?}");
        assert!((1..=SEATS).contains(&most), "{most} ran at once");
        assert_eq!(self.play("print('again')").status, 200, "there are free seats again");
    }

    /// How many games run, as the engine sees it.
    fn sandboxes(&self) -> usize {
        let names = self.engine(["ps", "--format", "{{.Names}}"]).ok().stdout;
        names.lines().filter(|name| !ORDER.iter().any(|service| name.contains(service))).count()
    }

    fn outlives_its_database(&self) {
        let gateway = self.inspect("express", "{{json .State.StartedAt}}");
        let process = self.inspect("postgres", "{{.State.Pid}}");
        let mut kill = Command::new(tool("sh", "dash"));
        let as_root = if rustix::process::getuid().is_root() { "" } else { "sudo -n " };
        kill.arg("-c").arg(format!("{as_root}kill -9 {process}"));
        Ran::of(kill).ok();
        let answer = self.until(503);
        assert_eq!(answer.json()["checks"]["database"], false, "{}", answer.text());
        assert_eq!(answer.json()["status"], "unhealthy");
        // The engine starts the database again, and the gateway finds it: nobody else does anything.
        self.until(200);
        let scores = self.gateway("/api/scores").json();
        assert_eq!((&scores[0]["player"], &scores[0]["score"]), (&"Ada".into(), &42.into()), "{scores}");
        assert_eq!(self.inspect("express", "{{json .State.StartedAt}}"), gateway, "the gateway itself never ended");
    }

    fn notices_that_its_executor_image_goes(&self) {
        let images = self.engine(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout;
        let image = images.lines().find(|name| name.contains("sandbox")).unwrap_or_else(|| panic!("{images}"));
        self.engine(["rmi", "--force", image]).ok();
        let start = Instant::now();
        let answer = self.play("print(1)");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("image"), "it says what is missing: {}", answer.text());
        assert!(start.elapsed() < Duration::from_secs(10), "it fails fast");
        let document = self.until(503).json();
        assert_eq!(document["checks"], json!({"database": true, "flask": false, "sandbox": false}), "{document}");
        let ran = self.stack(&["health"]);
        assert_ne!(ran.code, 0, "{ran:?}");
    }

    fn goes_down(&self) {
        self.stack(&["down", "--volumes"]).ok();
        assert_eq!(self.engine(["ps", "--all", "--quiet"]).ok().stdout, "");
        assert!(get(self.port, "/api/live").is_err(), "the port is free again");
    }

    fn says_that_the_engine_has_stopped(&self) {
        let Place::Docker(docker) = &self.place else { panic!("only docker has a daemon") };
        let sandbox = self.stack(&["health"]).json()["sandbox"]["pid"].to_string();
        docker.stop();
        assert!(get(self.port, "/api/health").is_err(), "its containers end with it");
        // A process that has ended, and that nobody has asked about yet, has no command line.
        let serves =
            || std::fs::read(Path::new("/proc").join(&sandbox).join("cmdline")).is_ok_and(|line| !line.is_empty());
        assert!(serves(), "the sandbox service waits for an engine");
        for command in ["up", "ps", "health", "down"] {
            let ran = self.stack(&[command]).exits(7);
            assert!(ran.stderr.contains("docker"), "{ran:?}");
        }
        assert!(!serves(), "what can be taken down is");
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a test has left would hold networks and processes.
            self.stack(&["down", "--volumes"]);
        }
    }
}

/// The same keys, all the way down; what an empty object or list stands for is left open.
#[track_caller]
fn same_shape(found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) if !expected.is_empty() => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(keys(found), keys(expected));
            expected.iter().for_each(|(key, value)| same_shape(&found[key], value));
        }
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Object(_), Value::Object(_))
        | (Value::Array(_), Value::Array(_)) => {}
        _ => panic!("expected {expected}, found {found}"),
    }
}
