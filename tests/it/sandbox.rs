//! `ingot sandbox run`: what code in it can do, how it ends, what comes out of it, and that nothing of it stays.
//!
//! The same probes run with podman, docker, and podman of an ordinary user. A limit that a machine cannot enforce is
//! told by ingot, which then does what it can itself: the probes hold all the same.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::*;

const PROBE: &str = include_str!("../tools/sandbox/probe.py");

/// The result of a run that ingot itself had no trouble with.
#[track_caller]
fn result(ran: &Ran) -> Value {
    assert!(ran.code != 125, "{ran:?}");
    let result = ran.json();
    assert_eq!(result["code"], ran.code, "{ran:?}");
    result
}

/// Every probe, one assertion each.
#[track_caller]
fn probes_hold(place: &Sandboxes) {
    let limits = ["--tmp", "1m", "--pids", "32", "--timeout", "30s", "--env", "ASKED=for"];
    let ran = place.run("run", &limits, PROBE);
    let result = result(&ran);
    assert_eq!(ran.code, 0, "{ran:?}");
    let found: Value = serde_json::from_str(result["stdout"]["text"].as_str().unwrap()).unwrap();
    let say = serde_json::to_string_pretty(&found).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(found["status"][set], "0000000000000000", "{set}: {say}");
    }
    assert_eq!((&found["status"]["NoNewPrivs"], &found["status"]["Seccomp"]), (&"1".into(), &"2".into()), "{say}");
    for ids in ["Uid", "Gid"] {
        let ids: Vec<u32> =
            found["status"][ids].as_str().unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert!(ids.iter().all(|id| (61184..65520).contains(id)), "{say}");
    }
    for (call, said) in found["calls"].as_object().unwrap() {
        assert_eq!(said, "EPERM", "{call}: {say}");
    }
    for (kind, said) in found["sockets"].as_object().unwrap() {
        assert!(["EPERM", "EAFNOSUPPORT"].contains(&said.as_str().unwrap()), "{kind}: {say}");
    }
    assert_eq!(found["network"]["interfaces"], serde_json::json!(["lo"]), "{say}");
    assert_eq!((&found["network"]["tcp"], &found["network"]["udp"]), (&"ENETUNREACH".into(), &"ENETUNREACH".into()));
    assert_eq!(found["network"]["dns"], "gaierror", "{say}");
    for (path, said) in found["write"].as_object().unwrap() {
        assert!(["EROFS", "EACCES", "EPERM", "ENOENT"].contains(&said.as_str().unwrap()), "{path}: {said}");
    }
    let own = |path: &&String| path.starts_with("/.ingot-");
    assert_eq!(found["write"].as_object().unwrap().keys().filter(own).count(), 2, "{say}");
    for (path, said) in found["hidden"].as_object().unwrap() {
        assert!(["EACCES", "EPERM", "ENOENT", "[]", "b''"].contains(&said.as_str().unwrap()), "{path}: {said}");
    }
    assert_eq!(found["sockets of engines"], serde_json::json!([]), "{say}");
    assert_eq!(found["environ"], "ASKED=for\0", "neither the host's variables nor the image's nor a proxy");
    assert_eq!(found["descriptors"], serde_json::json!([0, 1, 2]), "{say}");
    assert_eq!(found["processes"], serde_json::json!([1, found["own id"]]), "{say}");
    assert_eq!(found["its own limits and threads"], true, "{say}");
    assert_eq!(found["hostname"], "sandbox");
    assert_eq!(found["a program in /tmp"], "EACCES", "{say}");
    assert_eq!(found["a device in /tmp"], "EPERM", "{say}");
    assert!(["EPERM", "EINVAL"].contains(&found["setuid"].as_str().unwrap()), "{say}");
    assert_eq!(found["a full /tmp"], "ENOSPC", "{say}");
    let size = found["its size"].as_u64().unwrap();
    assert!((900_000..=1 << 20).contains(&size), "{size}");
    let bomb = found["fork bomb"].as_str().unwrap();
    let forks: u32 = bomb.strip_prefix("EAGAIN after ").unwrap_or_else(|| panic!("{bomb}")).parse().unwrap();
    assert!((25..32).contains(&forks), "{bomb}");
    // It got its signals and lives: it has told all this.
    assert_eq!(found["kill process 1"], serde_json::json!(["None", "None", "None", "None"]), "{say}");
    let told: Vec<&str> = result["weak"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(told, place.weak, "what is not in force is told");
    place.empty_within(5);
}

/// The ways to end.
#[track_caller]
fn ends_are_told(place: &Sandboxes) {
    let run = |options: &[&str], code: &str| {
        let ran = place.run("run", options, code);
        (result(&ran), ran.code)
    };
    let (told, code) = run(&[], "import sys; print('ä\\x1b[31m'); print('oops', file=sys.stderr); sys.exit(7)");
    assert_eq!((code, &told["exit_code"], &told["signal"]), (7, &7.into(), &Value::Null), "{told}");
    assert_eq!(told["stdout"]["text"], "ä\x1b[31m\n", "JSON is exact");
    assert_eq!(told["stderr"]["text"], "oops\n");
    assert!(told["wall_ms"].as_u64().unwrap() < 10_000 && told["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);

    let stubborn = "import os, signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n\
                    if os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\nprint('up')\nwhile True: time.sleep(1)";
    let (told, code) = run(&["--timeout", "3s"], stubborn);
    assert_eq!((code, &told["timed_out"], &told["signal"]), (124, &true.into(), &"SIGKILL".into()), "{told}");
    assert!((3_000..12_000).contains(&told["wall_ms"].as_u64().unwrap()), "{told}");
    // Two processes say it at once, and the end of the line after it.
    let text = told["stdout"]["text"].as_str().unwrap();
    assert!(text.contains("up") && text.replace("up", "").trim().is_empty(), "what it said is kept: {told}");

    let (told, code) = run(&["--timeout", "1s"], "while True: pass");
    assert_eq!((code, &told["signal"]), (124, &"SIGTERM".into()), "{told}");
    assert!(told["cpu_user_ms"].as_u64().unwrap() > 0, "{told}");

    let eater = "kept = []\nwhile True: kept.append(b'x' * 1_000_000)";
    let (told, code) = run(&["--memory", "64m", "--timeout", "20s"], eater);
    assert_eq!((code, &told["out_of_memory"], &told["timed_out"]), (137, &true.into(), &false.into()), "{told}");

    if !place.weak.contains(&"memory".to_string()) {
        memory_that_outlives_the_code(place);
    }

    let flood = "import os\npiece = b'x' * 65536\nfor _ in range(10_000): os.write(1, piece); os.write(2, piece)";
    let (told, code) = run(&["--max-output", "100k", "--timeout", "60s"], flood);
    assert_eq!(code, 0, "{told}");
    for stream in ["stdout", "stderr"] {
        assert_eq!(told[stream]["text"].as_str().unwrap().len(), 100 << 10);
        assert_eq!((&told[stream]["bytes"], &told[stream]["truncated"]), (&655_360_000.into(), &true.into()));
    }

    let (told, code) = run(&[], "import os; os.write(1, b'\\xff\\x00'); os.kill(os.getpid(), 11)");
    assert_eq!((code, &told["signal"], &told["stdout"]["base64"]), (139, &"SIGSEGV".into(), &"/wA=".into()), "{told}");

    // Its children go with it.
    let orphan = "import subprocess, sys\nsubprocess.Popen(['/bin/sleep', '1000']); print('left')";
    let (told, code) = run(&[], orphan);
    assert!(code == 0 && told["wall_ms"].as_u64().unwrap() < 5_000, "{told}");
    place.empty_within(5);
}

/// What is written to folders in memory stays when the code is killed: the guard may have none left, and is killed, too.
#[track_caller]
fn memory_that_outlives_the_code(place: &Sandboxes) {
    let hoarder = "import itertools\nfor folder in ('/dev/shm', '/tmp', '/output'):\n  for n in itertools.count():\n    try:\n      \
                   open(f'{folder}/{n}', 'wb').write(b'x' * 1_000_000)\n    except OSError: break\n\
                   kept = []\nwhile True: kept.append(b'x' * 1_000_000)";
    let target = place.ingot.path("hoard");
    let ran = place.run("run", &["--memory", "64m", "--timeout", "60s", "--output", target.to_str().unwrap()], hoarder);
    let told = result(&ran);
    assert_eq!((ran.code, &told["out_of_memory"]), (137, &true.into()), "{told}");
    // podman's monitor leaves a file where it stands.
    assert!(!place.ingot.path("oom").exists());
    // What is there is whole.
    let there = std::fs::read_dir(&target).unwrap().count();
    assert_eq!(told["files"].as_array().unwrap().len(), there, "{told}");
}

#[test]
fn podman_holds_what_it_promises() {
    let place = Sandboxes::alone();
    probes_hold(&place);
    ends_are_told(&place);
}

#[test]
fn docker_holds_what_it_promises() {
    let place = Sandboxes::docker();
    assert_eq!(place.weak, Vec::<String>::new());
    probes_hold(&place);
    ends_are_told(&place);
}

#[test]
fn podman_of_an_ordinary_user_holds_it_or_says_so() {
    let place = Sandboxes::rootless();
    probes_hold(&place);
    ends_are_told(&place);
    if place.weak.is_empty() {
        return;
    }
    // Without leave, nothing that is not in force is accepted.
    let ran = Ran::fed(place.ingot.command(["sandbox", "run", "--image", &place.image, "-"]), b"print('ran')");
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{ran:?}");
    for limit in &place.weak {
        assert!(ran.stderr.contains(&format!("`{limit}`")), "{limit}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("no limit") && ran.stderr.contains("--allow-weak"), "{}", ran.stderr);
    place.empty_within(5);
}

#[test]
fn results_come_out_as_plain_files() {
    let place = sandboxes();
    let code = r#"
import os, socket
os.chdir("/output")
os.makedirs("a/b"); open("a/b/text", "w").write("plain")
os.symlink("/etc/passwd", "link"); os.symlink("/", "root"); os.mkfifo("pipe")
s = socket.socket(socket.AF_UNIX); s.bind("socket")
open("setuid", "w").write("x"); os.chmod("setuid", 0o6755)
os.link("a/b/text", "hard")
open("sparse", "wb").truncate(1 << 20)
open("huge", "wb").truncate(4 << 20)
open("odd\nname", "w"); open(b"bad\xff", "w"); open("-rf", "w").write("dash")
os.makedirs("d/" * 12); open("d/" * 12 + "x", "w")
open("locked", "w").write("secret"); os.chmod("locked", 0)
open("taken", "w").write("new")
for n in range(300): os.symlink("/", "zmany%d" % n)
for n in range(9): open("z%d" % n, "w")
"#;
    let target = place.ingot.path("results");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("taken"), "old").unwrap();
    let options = ["--output", target.to_str().unwrap(), "--output-size", "4m", "--output-files", "9"];
    let ran = place.run("run", &options, code);
    let told = result(&ran);
    assert_eq!(ran.code, 0, "{told}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let list = |name: &str, field: &str| -> Vec<String> {
        let list = told[name].as_array().unwrap().iter();
        list.map(|one| format!("{}: {}", text(&one["path"]), text(&one[field]))).collect()
    };
    let files = list("files", "note");
    let expected = [
        "-rf: ",
        "a/b/text: a copy of a hard link",
        "hard: a copy of a hard link",
        "setuid: without its setuid or setgid bit",
        "sparse: ",
        "z0: ",
        "z1: ",
        "z2: ",
    ];
    assert_eq!(files, expected);
    let refused = list("refused", "reason");
    for left in [
        "link: it is a symbolic link",
        "root: it is a symbolic link",
        "pipe: it is a pipe",
        "socket: it is a socket",
        "huge: it is larger than what is left of the limit",
        "odd\\nname: its name is not plain text",
        "bad\u{fffd}: its name is not plain text",
        "d/d/d/d/d/d/d/d: it is too deep",
        "locked: it cannot be read",
        "taken: it exists already",
    ] {
        assert!(refused.contains(&left.to_string()), "{left}: {refused:?}");
    }
    assert!(refused.iter().any(|left| left.starts_with("...: and ")), "{refused:?}");
    assert!(refused.len() <= 103, "{}", refused.len());
    assert_eq!(std::fs::read_to_string(target.join("taken")).unwrap(), "old");
    assert_eq!(std::fs::read_to_string(target.join("a/b/text")).unwrap(), "plain");
    for (path, length) in [("setuid", 1), ("sparse", 1 << 20), ("hard", 5)] {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found = std::fs::symlink_metadata(target.join(path)).unwrap();
        assert!(found.is_file() && found.len() == length && found.nlink() == 1, "{path}: {found:?}");
        assert_eq!(found.permissions().mode() & 0o7111, 0, "{path}");
    }
    let count = std::fs::read_dir(&target).unwrap().count();
    assert_eq!(count, expected.len() + 1, "nothing else is there");
}

#[test]
fn code_comes_as_a_file_a_folder_or_a_text() {
    let place = sandboxes();
    let folder = place.ingot.path("game");
    std::fs::create_dir_all(folder.join("lib")).unwrap();
    std::fs::write(folder.join("main.py"), "import sys, lib.rules\nprint(lib.rules.NAME, sys.argv[1:], sys.path[0])\n")
        .unwrap();
    std::fs::write(folder.join("lib/rules.py"), "NAME = 'chess'\n").unwrap();
    let run = |words: &[&str]| {
        let mut all = vec!["sandbox", "run", "--image", &place.image];
        if !place.weak.is_empty() {
            all.push("--allow-weak");
        }
        place.ingot.run([&all, words].concat())
    };
    let ran = run(&[folder.to_str().unwrap(), "--", "--a", "-b"]).ok();
    assert_eq!(ran.stdout, "chess ['--a', '-b'] /code\n");
    assert!(ran.stderr.starts_with("sandbox: exit code 0 after "), "{}", ran.stderr);
    let ran = run(&[folder.join("lib/rules.py").to_str().unwrap()]).ok();
    assert_eq!(ran.stdout, "");
    let script = place.ingot.path("tool");
    std::fs::write(&script, "#!/bin/sh\necho \"$0 $# $(pwd)\"; exit 9\n").unwrap();
    let ran = run(&[script.to_str().unwrap(), "--", "x"]).exits(9);
    assert_eq!(ran.stdout, "/code/tool 1 /code\n");
    // What cannot be started, or is not there, is the sandbox's failure and not the program's.
    std::fs::write(&script, "no program\n").unwrap();
    let ran = run(&[script.to_str().unwrap()]).exits(125);
    assert!(ran.stderr.contains("could not start `/code/tool`"), "{}", ran.stderr);
    let ran = run(&["/no/such/file"]).exits(125);
    assert!(ran.stderr.contains("cannot run `/no/such/file`: it is not there"), "{}", ran.stderr);
    let ran = run(&["--interpreter", "/no/python", folder.to_str().unwrap()]).exits(125);
    assert!(ran.stderr.contains("`/no/python`"), "{}", ran.stderr);
    std::os::unix::fs::symlink("/etc/shadow", folder.join("shadow")).unwrap();
    let ran = run(&[folder.to_str().unwrap()]).exits(125);
    assert!(ran.stderr.contains("only regular files"), "{}", ran.stderr);
    let ran = run(&["--memory", "1m", script.to_str().unwrap()]).exits(125);
    assert!(ran.stderr.contains("`memory` cannot be 1048576: at least"), "{}", ran.stderr);
    run(&["--memory", "1x", "-"]).exits(2);
    let ran = run(&["--pids", "16", "--memory", "32m", folder.join("lib/rules.py").to_str().unwrap()]).ok();
    assert_eq!(ran.stdout, "", "the least that is allowed is enough to start: {}", ran.stderr);
    let missing = place.ingot.run(["sandbox", "run", "--image", "localhost/not-here:1", "/dev/null"]).exits(125);
    assert!(
        missing.stderr.contains("has no image `localhost/not-here:1`, and a sandbox never pulls one"),
        "{missing:?}"
    );
}

/// A run that would go on for a minute, once its container is up.
fn long_run(place: &Sandboxes) -> ingot::process::Running {
    let mut command = place.command("run", &["--timeout", "100s"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let before = place.containers().len();
    let mut running = ingot::process::Running::start(command).unwrap();
    let mut stdin = running.child().stdin.take().unwrap();
    stdin.write_all(b"import time\ntime.sleep(90)\n").unwrap();
    drop(stdin);
    let deadline = Instant::now() + Duration::from_secs(30);
    while place.containers().len() == before {
        assert!(Instant::now() < deadline, "it never came up");
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

#[test]
fn nothing_survives_a_host_that_is_killed() {
    let place = Sandboxes::alone();
    for (signal, code) in [(Signal::KILL, None), (Signal::INT, Some(130)), (Signal::TERM, Some(143))] {
        let mut running = long_run(&place);
        std::thread::sleep(Duration::from_millis(300));
        // Only the program itself: what it started has groups of its own.
        let id = rustix::process::Pid::from_raw(running.child().id() as i32).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
        let status = running.wait(Duration::from_secs(20)).unwrap();
        assert_eq!(status.code(), code, "{signal:?}");
        place.empty_within(10);
    }
    // Before it is up as well.
    for delay in [5, 30, 60, 120, 200] {
        let mut command = place.command("run", &["--timeout", "60s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = ingot::process::Running::start(command).unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(running.child().id() as i32).unwrap(),
            Signal::KILL,
        );
        let _ = running.wait(Duration::from_secs(20));
    }
    place.empty_within(10);
}
