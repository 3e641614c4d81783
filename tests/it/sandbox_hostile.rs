//! Sandboxes under bad conditions: images that lie, engines that are missing, hang, babble or flood, and production.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// A tar of files and links: `Err` is a link's target.
fn layer(entries: &[(&str, Result<&str, &str>, u32)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, what, mode) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        match what {
            Ok(text) => {
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
            Err(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// The base with everything in its configuration that a container would inherit.
fn hostile(to: &Path) {
    let tar = layer(&[
        ("etc/ld.so.preload", Ok("/evil.so\n"), 0o644),
        ("evil.so", Ok("no library"), 0o755),
        // Where a loader looks first, if the folder of Ingot's own files had a name that images know.
        (".ingot/glibc-hwcaps/x86-64-v2/libgcc_s.so.1", Ok("no library"), 0o755),
        (".ingot/glibc-hwcaps/x86-64-v2/libc.so.6", Ok("no library"), 0o755),
        (".ingot/libc.so.6", Ok("no library"), 0o755),
        ("evil/sitecustomize.py", Ok("raise SystemExit(66)"), 0o644),
        ("evil/python3", Err("/bin/false"), 0o777),
        ("usr/bin/root-shell", Ok("#!/bin/sh\nid -u\n"), 0o6755),
    ]);
    let edit = |config: &mut serde_json::Value| {
        *config = json!({
            "User": "0:0; rm -rf /",
            "WorkingDir": "/proc/self/fd/7",
            "Entrypoint": ["/bin/sh", "-c", "echo evil"],
            "Cmd": ["x".repeat(100_000)],
            "Env": ["LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/evil", "GLIBC_TUNABLES=x=y", "PYTHONPATH=/evil",
                "PATH=/usr/bin:/bin", "HTTP_PROXY=http://evil.example", "BASH_ENV=/evil/x", "PYTHONHOME=/evil"],
            "Volumes": {"/data": {}, "/tmp": {}, "/code": {}, "/output": {}, "/var/lib/evil": {}},
            "ExposedPorts": {"22/tcp": {}},
            "StopSignal": "SIGSTOP",
            "OnBuild": ["RUN evil"],
            "Healthcheck": {"Test": ["CMD-SHELL", "touch /evil"], "Interval": 1_000_000_000},
            "Labels": {
                "io.containers.seccomp.profile": "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
                "io.podman.annotations.privileged": "TRUE",
                "run.oci.handler": "evil",
                "ingot.sandbox": "somebody else's",
                "x\u{1b}[31m": "\u{1b}]0;evil\u{7}",
            },
        });
    };
    derive(&debian_base(), to, edit, Some(tar));
}

/// What an ordinary user's podman may not be able to enforce is accepted here: `sandbox` has the tests of that.
fn leave() -> Vec<String> {
    if rustix::process::getuid().is_root() { Vec::new() } else { vec!["--allow-weak".into()] }
}

/// Whether every limit must be in force here.
fn strict(sound: &serde_json::Value) -> bool {
    *sound == true || !leave().is_empty()
}

const LOOK: &str = "import os, sys\nprint(open('/proc/self/environ').read() == '', os.getuid() > 1000, os.getcwd(), os.listdir('/tmp'), \
                    os.path.exists('/data') and os.access('/data', os.W_OK), sys.executable)";

#[track_caller]
fn is_overridden(ingot: &Ingot, layout: &Path) {
    let image = format!("oci:{}", layout.display());
    let words =
        ["sandbox", "run", "--image", &image, "--output", ingot.path("out").to_str().unwrap()].map(str::to_string);
    let ran = Ran::fed(ingot.command([&words[..], &leave()].concat()), LOOK.as_bytes()).ok();
    assert_eq!(ran.stdout, "True True /code [] False /usr/bin/python3\n", "{ran:?}");
    let words = ["sandbox", "check", "--image", &image, "--format", "json"].map(str::to_string);
    let check = ingot.run([&words[..], &leave()].concat()).ok().json();
    assert!(strict(&check["sound"]), "{check}");
}

#[test]
fn what_an_image_says_of_itself_is_overridden() {
    let scratch = Scratch::new();
    let image = scratch.join("hostile");
    hostile(&image);
    let podman = Podman::new();
    // The first to come decides where an ordinary user's podman keeps what; that has to be this one.
    podman.run(["images"]).ok();
    let ingot = podman.configure(Ingot::privileged());
    is_overridden(&ingot, &image);
    // The second time it is there already, under a name that is its digest.
    let names = podman.run(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout;
    assert!(names.starts_with("localhost/ingot-sandbox:sha256-"), "{names}");

    // Folders that lead elsewhere are found out: what is mounted is not where it should be.
    let image = scratch.join("links");
    derive(&debian_base(), &image, |_| (), Some(layer(&[("code", Err("/srv"), 0o777)])));
    let words = ["sandbox", "run", "--image", &format!("oci:{}", image.display()), "-"].map(str::to_string);
    let ran = Ran::fed(ingot.command(words), b"print('ran')").exits(125);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("`/code`"), "{ran:?}");

    // An image without a shell, a C library or anything else that runs.
    let tiny = scratch.join("tiny");
    std::fs::create_dir(&tiny).unwrap();
    tiny_base(&tiny);
    let name = format!("oci:{}", tiny.display());
    let words = ["sandbox", "check", "--image", &name, "--format", "json"].map(str::to_string);
    let check = ingot.run([&words[..], &leave()].concat()).ok().json();
    assert!(strict(&check["sound"]), "{check}");
    let words = ["sandbox", "run", "--image", &name].map(str::to_string);
    let ran = Ran::fed(ingot.command([&words[..], &leave()].concat()), b"1").exits(125);
    assert!(ran.stderr.contains("could not start") || ran.stderr.contains("no Python"), "{ran:?}");
    assert_eq!(podman.run(["ps", "--all", "--quiet"]).ok().stdout, "");
}

#[test]
fn docker_overrides_it_too() {
    let scratch = Scratch::new();
    let image = scratch.join("hostile");
    hostile(&image);
    let docker = Docker::start();
    let ingot = Ingot::privileged().env("DOCKER_HOST", format!("unix://{}", docker.socket().display()));
    let ingot = ingot.env("PATH", format!("{}:/usr/bin:/bin", only(&["docker"]).path().display()));
    is_overridden(&ingot, &image);
    assert_eq!(docker.run(["volume", "ls", "--quiet"]).ok().stdout, "", "no volume is left");
}

/// A folder with links to these programs and no others.
fn only(programs: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    for name in programs {
        std::os::unix::fs::symlink(tool(name, name), scratch.join(name)).unwrap();
    }
    // What looks like podman to `Engine::detect`, and is none.
    scratch
}

#[test]
fn absurd_images_are_refused_in_time() {
    let scratch = Scratch::new();
    let podman = Podman::new();
    let ingot = podman.configure(Ingot::privileged());
    let layers = scratch.join("layers");
    derive(&debian_base(), &layers, |_| (), None);
    many_layers(&layers, 100_000);
    let labels = scratch.join("labels");
    let many: serde_json::Map<String, serde_json::Value> = (0..5000).map(|n| (format!("l{n}"), json!("x"))).collect();
    derive(&debian_base(), &labels, |config| config["Labels"] = json!(many), None);
    let entrypoint = scratch.join("entrypoint");
    derive(&debian_base(), &entrypoint, |config| config["Entrypoint"] = json!(["x".repeat(1 << 20)]), None);
    for (image, says) in [(&layers, "layers"), (&labels, "5000 labels")] {
        let before = Instant::now();
        let name = format!("oci:{}", image.display());
        let ran = Ran::fed(ingot.command(["sandbox", "run", "--image", &name]), b"print('ran')").exits(125);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(says) && ran.stderr.len() < 4000, "{says}: {ran:?}");
        assert!(before.elapsed() < Duration::from_secs(60));
    }
    // One that is only long is never used.
    let name = format!("oci:{}", entrypoint.display());
    let words = ["sandbox", "run", "--image", &name].map(str::to_string);
    let ran = Ran::fed(ingot.command([&words[..], &leave()].concat()), b"print('ran')").ok();
    assert_eq!(ran.stdout, "ran\n");
}

/// Makes the manifest name its one layer so many times.
fn many_layers(layout: &Path, count: usize) {
    let opened = Layout::open(layout);
    let mut manifest = opened.manifest();
    let first = manifest["layers"][0].clone();
    manifest["layers"] = json!(vec![first; count]);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = ingot::oci::Digest::of(&bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let index =
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": kind, "digest": digest, "size": bytes.len() }] });
    std::fs::write(layout.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}

/// `ingot` with a podman that is this script, and no docker.
fn with_podman(script: &str) -> (Scratch, Ingot) {
    let scratch = Scratch::new();
    let program = scratch.join("podman");
    std::fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = scratch.path().display().to_string();
    (scratch, Ingot::privileged().env("PATH", path))
}

/// Whether a process has this in its command line.
fn alive(what: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(what))
}

/// A podman that has an image and does `run` when it is told to run something.
fn running(run: &str) -> (Scratch, Ingot) {
    let known = format!(r#"echo '[{{"Id":"{}","Config":{{}}}}]'"#, "0".repeat(64));
    with_podman(&format!("case $1 in\nversion) echo 4.3.1;;\nimage) {known};;\nrun) {run};;\nesac"))
}

const RUN: [&str; 5] = ["sandbox", "run", "--image", "app", "/dev/stdin"];

fn program() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let path = scratch.join("main.py");
    std::fs::write(&path, "print('ran on the host')").unwrap();
    (scratch, path)
}

#[test]
fn engines_that_misbehave_are_told() {
    let (_scratch, path) = program();
    let path = path.to_str().unwrap();
    let words = [&RUN[..4], &[path]].concat();
    for (script, says) in [
        ("echo 'Error: no space left' >&2; exit 125", "podman could not start the sandbox: Error: no space left"),
        ("exit 126", "it ended with exit code 126"),
        ("echo garbage", "podman could not start the sandbox"),
        ("yes garbage | head -c 50000000", "podman could not start the sandbox"),
        ("yes garbage | head -c 50000000 >&2; exit 1", "podman could not start the sandbox"),
        ("printf 'INGOT-SANDBOX 1\\nZ\\0\\0\\0\\0'", "cannot be trusted: a frame that does not belong there"),
        ("printf 'INGOT-SANDBOX 1\\n1\\377\\377\\377\\377'", "cannot be trusted: a frame that is too long"),
        ("printf 'INGOT-SANDBOX 1\\nC\\002\\0\\0\\0[]'", "cannot be trusted: no limits that make sense"),
        (
            "printf 'INGOT-SANDBOX 1\\nC\\104\\0\\0\\0[{\"name\":\"every limit\",\"asked\":\"x\",\"found\":\"x\",\"holds\":true,\"a\":\"\"}]'",
            "cannot be trusted: no limits that make sense",
        ),
        ("printf 'INGOT-SANDBOX 1\\nX\\003\\0\\0\\0a\\033b'", "the sandbox gave up: a\\u{1b}b"),
        (
            "printf 'INGOT-SANDBOX 1\\n'; cat /dev/zero | head -c 50000000",
            "cannot be trusted: a frame of no known kind",
        ),
        ("exec 1>&-; sleep 1; exit 137", "podman could not start the sandbox"),
    ] {
        let (_engine, ingot) = running(script);
        let before = Instant::now();
        let ran = ingot.run(words.clone()).exits(125);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(says), "{script}: {ran:?}");
        assert!(ran.stderr.len() < 2000 && !ran.stderr.contains('\x1b'), "{script}: {}", ran.stderr.len());
        assert!(before.elapsed() < Duration::from_secs(30), "{script}: {:?}", before.elapsed());
    }
    for (script, says) in [
        ("case $1 in version) echo 4.3.1;; image) echo '{';; esac", "gave an answer that is not understood"),
        ("case $1 in version) echo 4.3.1;; image) yes '[' | head -c 50000000;; esac", "not understood"),
        ("case $1 in version) echo 4.3.1;; image) echo 'image not known' >&2; exit 125;; esac", "never pulls one"),
        ("echo broken >&2; exit 1", "no container engine can be used"),
    ] {
        let (_engine, ingot) = with_podman(script);
        let ran = ingot.run(words.clone()).exits(125);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(says), "{script}: {ran:?}");
    }
}

#[test]
fn an_engine_that_hangs_is_given_up() {
    let (_scratch, path) = program();
    let (_engine, ingot) = with_podman("sleep 1000");
    let before = Instant::now();
    let ran = ingot.run([&RUN[..4], &[path.to_str().unwrap()]].concat()).exits(125);
    assert!(ran.stderr.contains("podman does not answer; docker is not installed"), "{ran:?}");
    assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
}

#[test]
fn production_means_production() {
    let (_scratch, path) = program();
    let path = path.to_str().unwrap();
    let empty = Scratch::new();
    let here = || Ingot::privileged().env("PATH", format!("{}:/usr/bin:/bin", empty.path().display()));
    let nothing = || Ingot::privileged().env("PATH", empty.path().display().to_string());
    let why = "PRODUCTION MODE: container execution required but unavailable: ";
    for (name, value) in [("INGOT_ENV", "production"), ("FORCE_DOCKER_EXECUTION", "true")] {
        for words in [
            vec!["sandbox", "run", "--image", "app", path],
            vec!["sandbox", "check", "--image", "app"],
            vec!["sandbox", "serve", "--image", "app", "--socket", "socket"],
        ] {
            let ran = nothing().env(name, value).run(words).exits(125);
            assert!(
                ran.stderr.starts_with(&format!("error: {why}no container engine can be used: podman is not")),
                "{ran:?}"
            );
            assert_eq!(ran.stdout, "");
        }
        // There is no way around it, with an engine or without.
        let ran =
            here().env(name, value).run(["sandbox", "run", "--image", "app", "--unsafe-subprocess", path]).exits(125);
        assert!(ran.stderr.contains(&format!("{why}`--unsafe-subprocess` is not allowed")), "{ran:?}");
        assert!(!ran.stdout.contains("ran"), "{ran:?}");
    }
    // Development needs the words, and is warned each time.
    let ran = nothing().run(["sandbox", "run", "--image", "app", path]).exits(125);
    assert!(ran.stderr.contains("no container engine") && !ran.stderr.contains("PRODUCTION"), "{ran:?}");
}

#[test]
fn an_unsafe_subprocess_has_limits_all_the_same() {
    let ingot = Ingot::privileged().env("SECRET", "of the host");
    let run = |options: &[&str], code: &str| {
        let words = [&["sandbox", "run", "--unsafe-subprocess", "--format", "json"], options].concat();
        let ran = Ran::fed(ingot.command(words), code.as_bytes());
        assert!(
            ran.stderr.contains("warning: --unsafe-subprocess: this code can see and change what you can"),
            "{ran:?}"
        );
        (ran.json(), ran.code)
    };
    let (told, code) = run(
        &["--env", "A=b"],
        "import os; print(dict(os.environ).get('SECRET'), os.environ['A']); raise SystemExit(4)",
    );
    assert_eq!((code, &told["stdout"]["text"]), (4, &"None b\n".into()), "{told}");
    assert!(told["weak"].as_array().unwrap().len() > 5, "{told}");
    let orphan = "import os, time\nif os.fork() == 0:\n  os.setsid(); time.sleep(60); os._exit(0)\ntime.sleep(60)";
    // The program's file is in the cache, so its name is in the command line.
    let (told, code) = run(&["--timeout", "1s"], orphan);
    assert_eq!((code, &told["timed_out"]), (124, &true.into()), "{told}");
    assert!(!alive(&ingot.cache().display().to_string()), "not even one in a session of its own is left");
    let (told, code) = run(&["--memory", "200m"], "kept = []\nwhile True: kept.append(b'x' * 1_000_000)");
    assert!(code == 137 || told["stderr"]["text"].as_str().unwrap().contains("MemoryError"), "{told}");
    let (told, _) = run(&["--max-output", "1k"], "print('x' * 100_000)");
    assert_eq!((&told["stdout"]["truncated"], &told["stdout"]["bytes"]), (&true.into(), &100_001.into()), "{told}");
    let (told, code) = run(&["--output", ingot.path("out").to_str().unwrap()], "import os; print(os.getcwd())");
    assert_eq!(code, 0, "{told}");
}
