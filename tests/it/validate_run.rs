//! `ingot validate` with a real engine: what is found of an image that runs, and that nothing of it is left behind.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// What the findings of the rules at run time say, with the rule's id before each; sorted.
fn findings(ran: &Ran) -> Vec<String> {
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let list = report["findings"].as_array().unwrap().iter();
    let told = |one: &Value| {
        format!(
            "{} {} {}",
            one["rule"].as_str().unwrap(),
            one["path"].as_str().unwrap(),
            one["message"].as_str().unwrap()
        )
    };
    let mut told: Vec<String> =
        list.filter(|one| one["rule"].as_str().unwrap().starts_with("run-")).map(told).collect();
    told.sort();
    told
}

fn notes(ran: &Ran) -> String {
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["notes"].to_string()
}

/// `ingot validate oci:LAYOUT MORE --format json`.
fn validate(ingot: &Ingot, layout: &std::path::Path, more: &[&str]) -> Ran {
    let name = format!("oci:{}", layout.display());
    ingot.run([&["validate", &name, "--format", "json"], more].concat())
}

/// The launcher of the example, which checks nothing any more.
fn careless_launcher() -> Vec<u8> {
    let layout = Layout::open(&distroless().layout());
    let members = (0..layout.layers()).flat_map(|number| layout.layer(number));
    let launcher = members.into_iter().find(|member| member.path == "usr/local/bin/ingot-launcher").unwrap();
    let text = String::from_utf8(launcher.content.clone()).unwrap();
    assert!(text.contains("    if problems:\n"));
    text.replace("    if problems:\n", "    if False:\n").into_bytes()
}

#[test]
fn the_example_runs_and_leaves_nothing() {
    let podman = Podman::new();
    let ingot = podman.configure(Ingot::privileged());
    let ran = validate(&ingot, &distroless().layout(), &["--require-engine"]).ok();
    assert_eq!(findings(&ran), Vec::<String>::new());
    assert!(notes(&ran).contains("ran with podman"), "{ran:?}");
    assert_eq!(podman.run(["ps", "--all", "--quiet"]).ok().stdout, "");
    assert_eq!(podman.run(["images", "--all", "--quiet"]).ok().stdout, "", "the image is gone again");
}

#[test]
fn docker_finds_the_same() {
    let docker = Docker::start();
    let ingot = Ingot::privileged().env("DOCKER_HOST", format!("unix://{}", docker.socket().display()));
    let ran = validate(&ingot, &distroless().layout(), &["--engine", "docker"]).ok();
    assert_eq!(findings(&ran), Vec::<String>::new());
    assert!(notes(&ran).contains("ran with docker"), "{ran:?}");
    assert_eq!(docker.run(["ps", "--all", "--quiet"]).ok().stdout, "");
    let layout = broken(&ingot);
    let ran = validate(&ingot, &layout, &["--engine", "docker"]).exits(3);
    assert_eq!(findings(&ran), expected());
    assert_eq!(docker.run(["images", "--all", "--quiet"]).ok().stdout, "", "the image is gone again");
}

/// An image with many faults: a careless launcher, code of the user, a folder behind a closed one, a package that cannot be
/// imported, a health check that never passes.
fn broken(ingot: &Ingot) -> PathBuf {
    let (layout, launcher) = (ingot.path("broken"), careless_launcher());
    let site = |rest: &str| format!("opt/venv/lib/python{}/site-packages/{rest}", release().1);
    let (package, record) = (site("broken/__init__.py"), site("broken-1.dist-info/RECORD"));
    let (good, quiet) = (site("sound/__init__.py"), site("quiet/__init__.py"));
    let tar = tar_of(&[
        ("usr/local/bin/ingot-launcher", Some(&launcher), 0o755, 0),
        ("app", None, 0o755, 1001),
        ("closed", None, 0o700, 0),
        ("closed/data", None, 0o755, 1001),
        (&package, Some(b"import nothing_of_that_name\n"), 0o644, 0),
        (&good, Some(b"print('noise on stdout')\n"), 0o644, 0),
        (&quiet, Some(b"import os\nos._exit(0)\n"), 0o644, 0),
        // Of another Python: not what the application's would import.
        ("usr/lib/python3.1/site-packages/foreign-1.dist-info/RECORD", Some(b"foreign/__init__.py,,\n"), 0o644, 0),
        (&record, Some(b"broken/__init__.py,,\nsound/__init__.py,,\nquiet/__init__.py,,\n"), 0o644, 0),
    ]);
    let check = json!({ "Test": ["CMD", "python", "-c", "raise SystemExit('not well')"], "Interval": 1_000_000_000u64, "Retries": 1 });
    // The environment is found by its programs, too.
    let edit = |config: &mut Value| {
        config["Healthcheck"] = check.clone();
        let env = config["Env"].as_array_mut().unwrap();
        env.retain(|variable| !variable.as_str().unwrap().starts_with("VIRTUAL_ENV="));
    };
    derive(&distroless().layout(), &layout, edit, Some(tar));
    layout
}

/// What is to be found of it.
fn expected() -> [&'static str; 6] {
    [
        "run-code-writable /app the user of the image can write here",
        "run-healthcheck config.Healthcheck it did not pass within 1 s",
        "run-import broken ModuleNotFoundError: No module named 'nothing_of_that_name'",
        "run-import quiet it ended the process with code 0",
        "run-launcher /usr/local/bin/ingot-launcher with another GAMEFORGE_ENV it ended with exit code 42, expected 78",
        "run-not-writable /closed/data it belongs to the user of the image, who cannot write here",
    ]
}

#[test]
fn what_is_broken_is_found() {
    let podman = Podman::new();
    let ingot = podman.configure(Ingot::privileged());
    let ran = validate(&ingot, &broken(&ingot), &[]).exits(3);
    assert_eq!(findings(&ran), expected());
    assert!(ran.stdout.contains("not well"), "what the check said is told: {ran:?}");

    // A command that ends at once, as root.
    let layout = ingot.path("root");
    let edit = |config: &mut Value| {
        config["User"] = json!("");
        config["Cmd"] = json!([
            "python",
            "-c",
            "import time; print('no database', flush=True); time.sleep(3); raise SystemExit(3)"
        ]);
        config.as_object_mut().unwrap().remove("Healthcheck");
        config["Env"].as_array_mut().unwrap().push(json!("X=1"));
    };
    derive(&distroless().layout(), &layout, edit, None);
    let ran = validate(&ingot, &layout, &[]).exits(3);
    let found = findings(&ran).join("\n");
    assert!(found.contains("run-user config.User the process is root"), "{found}");
    let layout = ingot.path("ends");
    let edit = |config: &mut Value| config["Cmd"] = json!(["python", "-c", "raise SystemExit('no database')"]);
    derive(&distroless().layout(), &layout, edit, None);
    let ran = validate(&ingot, &layout, &[]).exits(3);
    let found = findings(&ran);
    assert!(
        found.len() == 1 && found[0].starts_with("run-starts config.Cmd its own command ended with exit code 1 after"),
        "{found:?}"
    );
    assert!(ran.stdout.contains("no database"), "{ran:?}");
    assert_eq!(podman.run(["ps", "--all", "--quiet"]).ok().stdout, "");
}

#[test]
fn ctrl_c_leaves_no_container_and_no_image() {
    let podman = Podman::new();
    let ingot = podman.configure(Ingot::privileged());
    let layout = ingot.path("waiting");
    let check = json!({ "Test": ["CMD", "python", "-c", "raise SystemExit(1)"], "StartPeriod": 300_000_000_000u64 });
    derive(&distroless().layout(), &layout, |config| config["Healthcheck"] = check.clone(), None);
    let name = format!("oci:{}", layout.display());
    let command = ingot.command(["validate", &name]);
    let mut running = ingot::process::Running::start(command).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while podman.run(["ps", "--quiet", "--filter", "label=ingot.validate=1"]).ok().stdout.is_empty() {
        assert!(Instant::now() < deadline && matches!(running.child().try_wait(), Ok(None)), "no container appears");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pid = rustix::process::Pid::from_raw(running.child().id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = running.wait(Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(podman.run(["ps", "--all", "--quiet"]).ok().stdout, "");
    assert_eq!(podman.run(["images", "--all", "--quiet"]).ok().stdout, "");
}

#[test]
fn without_an_engine_it_is_told_or_refused() {
    let ingot = Ingot::new();
    let empty = ingot.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let ingot = ingot.env("PATH", &empty);
    let ran = validate(&ingot, &distroless().layout(), &[]).ok();
    assert!(
        notes(&ran)
            .contains("not run: no container engine can be used: podman is not installed; docker is not installed"),
        "{ran:?}"
    );
    let ran = validate(&ingot, &distroless().layout(), &["--require-engine"]).exits(7);
    assert!(ran.stderr.contains("no container engine can be used"), "{ran:?}");
    let ran = validate(&ingot, &distroless().layout(), &["--engine", "lxc"]).exits(2);
    assert!(ran.stderr.contains("`lxc` is not a container engine"), "{ran:?}");
    assert_eq!(notes(&validate(&ingot, &distroless().layout(), &["--static"]).ok()), "[]");
}

#[test]
fn a_build_that_does_not_validate_writes_nothing() {
    let podman = Podman::new();
    let wheels = service();
    let ingot = podman.configure(Ingot::privileged()).env("PIP_FIND_LINKS", wheels.folder().join("wheels"));
    let base = format!("oci:{}", debian_base().display());
    let with = |more: &str| service_with(|toml| toml.replace("\"oci:base\"", &format!("{base:?}")) + more);
    let registry = Registry::start();
    let tag = registry.reference("team/service:1");
    let build = |project: &Project| {
        let (folder, layout) = (project.folder().display().to_string(), format!("oci:{}", ingot.path("out").display()));
        ingot.run(["build", &folder, "--validate", "-t", &tag, "--push", "-o", &layout])
    };
    // The example's command prints and ends: a service that does not stay.
    let ran = build(&with("")).exits(3);
    assert!(ran.stderr.contains("config.Cmd: its own command ended with exit code 1"), "{ran:?}");
    assert!(
        ran.stderr.starts_with("error: the image must not be shipped as it is")
            || ran.stderr.contains("\nerror: the image must not be shipped as it is"),
        "{ran:?}"
    );
    assert!(!ingot.path("out").join("index.json").exists(), "nothing is written");
    assert!(
        registry.requests().iter().all(|request| request.method != "PUT" && request.method != "POST"),
        "nothing is pushed"
    );
    let ran = build(&with("\n[validate]\nskip = [\"run-starts\"]\n")).ok();
    assert!(ran.stderr.contains("note: ran with podman"), "{ran:?}");
    assert!(ingot.path("out").join("index.json").exists());
    let ran = build(&with("\n[validate]\nskip = [\"run-start\"]\n")).exits(2);
    assert!(
        ran.stderr.contains("there is no rule `run-start`") && ran.stderr.contains("did you mean `run-starts`?"),
        "{ran:?}"
    );
}
