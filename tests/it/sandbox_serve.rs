//! `ingot sandbox serve`: what a back end sees of it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ingot::process::Running;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::*;

/// A service on a socket of its own.
struct Service {
    place: Sandboxes,
    socket: PathBuf,
    running: Running,
}

impl Service {
    fn start(options: &[&str]) -> Service {
        let place = Sandboxes::alone();
        let socket = place.ingot.path("socket");
        let running = Self::launch(&place, &socket, options);
        Service { place, socket, running }
    }

    fn launch(place: &Sandboxes, socket: &std::path::Path, options: &[&str]) -> Running {
        let mut command = place.command("serve", &[&["--socket", socket.to_str().unwrap()], options].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(command).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // It listens before it has proved its place, and answers afterwards.
            if let Ok(mut stream) = UnixStream::connect(socket) {
                stream.write_all(b"GET /sessions HTTP/1.1\r\nHost: ingot\r\nConnection: close\r\n\r\n").unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                assert_eq!(answer(stream).0, 200);
                return running;
            }
            assert!(Instant::now() < deadline, "the service does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_raw(self.running.child().id() as i32).unwrap(), signal).unwrap();
        self.running.wait(Duration::from_secs(20)).unwrap().code()
    }

    fn send(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: ingot\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        // A request that is too large is answered before it is read.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        stream
    }

    /// Status, head and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, Vec<u8>) {
        answer(self.send(method, path, body))
    }

    fn run(&self, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.ask("POST", "/run", &body.to_string());
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn sessions(&self) -> Vec<Value> {
        serde_json::from_slice(&self.ask("GET", "/sessions", "").2).unwrap()
    }
}

fn answer(mut stream: UnixStream) -> (u16, String, Vec<u8>) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, bytes.split_off(end + 4))
}

const SLEEP: &str = "import time\ntime.sleep(60)";

#[test]
fn a_back_end_is_served() {
    let mut service =
        Service::start(&["--max-sessions", "2", "--timeout", "90s", "--memory", "128m", "--max-output", "8m"]);
    let mode = std::fs::symlink_metadata(&service.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else connects");

    let (status, told) = service.run(&json!({
        "files": {"main.py": "import sys, lib\nprint(lib.X, sys.argv[1], sys.stdin.read(), open('/proc/self/environ').read())\nopen('/output/r', 'w').write('won')", "lib.py": "X = 1"},
        "args": ["a"], "env": {"E": "f"}, "stdin": "typed", "output": true, "limits": {"timeout_ms": 5000},
    }));
    assert_eq!((status, &told["stdout"]["text"]), (200, &"1 a typed E=f\0\n".into()), "{told}");
    assert_eq!((&told["output"]["r"], &told["code"]), (&"d29u".into(), &0.into()), "{told}");

    requests_that_are_refused(&service);
    output_comes_while_it_is_made(&service);

    let (status, _, body) = service.ask("GET", "/health", "");
    let health: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &health["healthy"], &health["max_sessions"]), (200, &true.into(), &2.into()), "{health}");
    for check in ["engine", "daemon", "image", "limits", "sessions"] {
        assert_eq!(health["checks"][check]["ok"], service.place.weak.is_empty() || check != "limits", "{health}");
    }
    assert_eq!(health["weak"], json!(service.place.weak), "{health}");

    places_are_few(&service);

    // A client that goes takes its run with it.
    let stream = service.send("POST", "/run", &json!({"code": SLEEP}).to_string());
    while service.sessions().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !service.sessions().is_empty() {
        assert!(Instant::now() < deadline, "it runs on without anybody");
        std::thread::sleep(Duration::from_millis(50));
    }

    clients_of_streams_that_do_not_read_or_go(&service);

    // At the end everybody is ended, and told.
    let stream = service.send("POST", "/run", &json!({"code": SLEEP}).to_string());
    while service.place.containers().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(service.signal(Signal::TERM), Some(143));
    assert_eq!(answer(stream).0, 409);
    assert!(!service.socket.exists(), "the socket goes with it");
    service.place.empty_within(5);
}

fn clients_of_streams_that_do_not_read_or_go(service: &Service) {
    let ended = |why: &str| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !service.sessions().is_empty() {
            assert!(Instant::now() < deadline, "{why}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // More than fits into everything between the code and a client that does not read.
    let flood = "import os, time\nfor _ in range(100): os.write(1, b'x' * 60_000)\ntime.sleep(60)";
    let request = |code: &str| json!({"code": code, "id": "mute", "stream": true}).to_string();
    let mute = service.send("POST", "/run", &request(flood));
    while service.place.containers().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(service.ask("DELETE", "/sessions/mute", "").0, 202);
    ended("it cannot be cancelled");
    drop(mute);
    // A client that goes while its code says nothing.
    let stream = service.send("POST", "/run", &request(SLEEP));
    while service.place.containers().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(stream);
    ended("it runs on without anybody");
    service.place.empty_within(5);
}

fn requests_that_are_refused(service: &Service) {
    for (body, status, says) in [
        (json!({"code": "1", "image": "other"}), 400, "unknown field `image`"),
        (json!({"code": "1", "limits": {"memory": 1u64 << 31}}), 400, "`memory` can be at most 134217728 here"),
        (json!({"code": "1", "limits": {"timeout_ms": 90_001}}), 400, "`timeout` can be at most"),
        (json!({"code": "1", "allow_weak": true}), 400, "unknown field"),
        (json!({"files": {"../x.py": "1"}, "main": "../x.py"}), 400, "no relative path"),
        (json!({"files": {"x.py": "1"}}), 400, "not among the files"),
        (json!({"code": "1", "id": "-x"}), 400, "an id is"),
        (json!("1"), 400, "invalid type"),
    ] {
        let (found, told) = service.run(&body);
        assert!(found == status && told["error"].as_str().unwrap().contains(says), "{body}: {found} {told}");
    }
    assert_eq!(service.ask("GET", "/run", "").0, 405);
    assert_eq!(service.ask("GET", "/containers/json", "").0, 404, "it is not the engine's socket");
    assert_eq!(service.ask("DELETE", "/sessions/none", "").0, 404);
    assert_eq!(service.ask("POST", "/run", &"x".repeat(17 << 20)).0, 413);
    assert!(service.sessions().is_empty());
}

fn output_comes_while_it_is_made(service: &Service) {
    let code = "import time\nfor n in range(3): print(n); time.sleep(0.5)";
    let mut stream = service.send("POST", "/run", &json!({"id": "game-1", "code": code, "stream": true}).to_string());
    let mut said = Vec::new();
    let mut buffer = [0u8; 4096];
    while !String::from_utf8_lossy(&said).contains("\"text\":\"0") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&buffer[..count]);
    }
    let early = String::from_utf8_lossy(&said).into_owned();
    assert!(!early.contains("\"event\":\"result\""), "it comes while it is made: {early}");
    assert!(early.contains("{\"event\":\"session\",\"id\":\"game-1\"}"), "{early}");
    assert_eq!(service.sessions()[0]["id"], "game-1");
    assert_eq!(service.run(&json!({"code": "1", "id": "game-1"})).0, 409, "an id is one session's");
    stream.read_to_end(&mut said).unwrap();
    let text = String::from_utf8_lossy(&said).into_owned();
    assert!(text.contains("\"text\":\"2") && text.contains("\"event\":\"result\""), "{text}");
}

fn places_are_few(service: &Service) {
    let streams: Vec<_> = ["a", "b"]
        .iter()
        .map(|id| service.send("POST", "/run", &json!({"code": SLEEP, "id": id}).to_string()))
        .collect();
    while service.place.containers().len() < 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, head, body) = service.ask("POST", "/run", &json!({"code": "1"}).to_string());
    assert!(status == 429 && head.contains("retry-after: 1"), "{head} {}", String::from_utf8_lossy(&body));
    let states: Vec<Value> = service.sessions().iter().map(|session| session["state"].clone()).collect();
    assert_eq!(states, ["running", "running"]);
    for id in ["a", "b"] {
        assert_eq!(service.ask("DELETE", &format!("/sessions/{id}"), "").0, 202);
    }
    for stream in streams {
        let (status, _, body) = answer(stream);
        assert!(status == 409 && String::from_utf8_lossy(&body).contains("cancelled"), "{status}");
    }
    service.place.empty_within(5);
}

#[test]
fn a_service_that_was_killed_leaves_nothing_and_starts_again() {
    let mut service = Service::start(&["--max-sessions", "1", "--queue", "1", "--timeout", "90s"]);
    let _stream = service.send("POST", "/run", &json!({"code": SLEEP}).to_string());
    while service.place.containers().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Another one on the same socket is refused, and does no harm.
    let ran = service.place.run("serve", &["--socket", service.socket.to_str().unwrap()], "").exits(125);
    assert!(ran.stderr.contains("another service answers there"), "{ran:?}");
    assert_eq!(service.place.containers().len(), 1);
    assert_eq!(service.signal(Signal::KILL), None);
    service.place.empty_within(10);
    assert!(service.socket.exists(), "it was killed");

    service.running = Service::launch(&service.place, &service.socket, &["--max-sessions", "1", "--queue", "1"]);
    // Who waits gets his turn.
    let first = service.send("POST", "/run", &json!({"code": "import time\ntime.sleep(1)"}).to_string());
    while service.sessions().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, told) = service.run(&json!({"code": "print('second')"}));
    assert_eq!((status, &told["stdout"]["text"]), (200, &"second\n".into()), "{told}");
    assert_eq!(answer(first).0, 200);

    // An image that is gone is found out.
    service.place.remove_images();
    std::thread::sleep(Duration::from_millis(2100));
    let (status, _, body) = service.ask("GET", "/health", "");
    let health: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &health["healthy"], &health["checks"]["image"]["ok"]),
        (503, &false.into(), &false.into()),
        "{health}"
    );
    assert_eq!(service.signal(Signal::INT), Some(130));
}
