//! Builds of what did not change: no program is started, nobody is asked but a registry that is pushed to, once.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::support::*;

/// Waits until what was written is clearly past: only then a file that looks the same is the same.
fn settle() {
    std::thread::sleep(Duration::from_millis(300));
}

/// The same, under strace: the programs that were started and the addresses that were called.
fn traced(ingot: Ingot, args: &[&str]) -> (Ran, Vec<String>) {
    tool("strace", "strace");
    let log = ingot.path("strace.log");
    let path = log.display().to_string();
    let ingot = ingot.through(&["strace", "-f", "-qq", "-e", "trace=execve,execveat,connect", "-o", &path]);
    let ran = ingot.run(args).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    let calls = text.lines().filter(|line| line.contains("exec") || line.contains("connect(")).map(str::to_owned);
    // The first is ingot itself.
    (ran, calls.skip(1).collect())
}

fn git(project: &Project, script: &str) {
    tool("git", "git");
    let mut command = TestUser::get().command(Path::new("/bin/sh"));
    let script = format!("git() {{ command git -c user.name=a -c user.email=a@b.example \"$@\"; }}\n{script}");
    command.args(["-ec", &script]).current_dir(project.folder()).env("HOME", "/nonexistent");
    Ran::of(command).ok();
}

#[test]
fn a_layout_is_looked_at_and_nothing_else_is_done() {
    let project = service();
    git(&project, "git init -q . && git add . && git commit -qm 1 && git tag v1.2");
    let folder = project.folder().display().to_string();
    let ingot = || ingot_for(&project);
    let first = ingot();
    let (output, cache) = (format!("oci:{}", first.path("image").display()), first.cache());
    let args = ["build", &folder, "-o", &output];
    let made = first.run(args).ok();
    for _ in 0..3 {
        settle();
        first.run(args).ok();
    }
    // Somebody with another home could have another configuration of git.
    let again = ingot().env("INGOT_CACHE", cache).env("HOME", first.home());
    let (ran, calls) = traced(again, &args);
    assert_eq!(calls, Vec::<String>::new());
    assert_eq!(ran.stdout, made.stdout);
    let layout = Layout::open(&first.path("image"));
    assert_eq!(layout.config()["config"]["Labels"]["org.opencontainers.image.version"], "v1.2");
    for line in ["layer app: cached", "layer venv: cached", "configuration", "base 1/1"] {
        assert!(ran.stderr.contains(line), "{line}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches(": exists\n").count(), 5, "{}", ran.stderr);

    // A change is seen, although size and time are the same.
    let file = project.folder().join("src/service/health.py");
    let text = std::fs::read_to_string(&file).unwrap();
    git(&project, "touch -r src/service/health.py reference");
    std::fs::write(&file, text.replace("'one'", "'eno'")).unwrap();
    git(&project, "touch -r reference src/service/health.py; rm reference");
    let changed = first.run(args).ok();
    assert_ne!(changed.stdout, made.stdout);
    let labels = Layout::open(&first.path("image")).config()["config"]["Labels"].clone();
    assert_eq!(labels["org.opencontainers.image.version"], "v1.2-dirty");
    // And a change back.
    std::fs::write(&file, text).unwrap();
    assert_eq!(first.run(args).ok().stdout, made.stdout);
}

#[test]
fn a_blob_of_a_layout_that_somebody_changed_is_written_again() {
    let project = service();
    let ingot = ingot_for(&project);
    let output = format!("oci:{}", ingot.path("image").display());
    let args = ["build", &project.folder().display().to_string(), "-o", &output, "--format", "json"];
    ingot.run(args).ok();
    settle();
    assert_eq!(ingot.run(args).ok().json()[0]["outputs"][0]["existed"]["count"], 5);
    let layout = Layout::open(&ingot.path("image"));
    let digest = layout.manifest()["layers"][1]["digest"].as_str().unwrap().to_owned();
    let blob = ingot.path("image").join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    let sound = std::fs::read(&blob).unwrap();
    let mut damaged = sound.clone();
    damaged[100] ^= 1;
    // The layout's file is the store's.
    assert_eq!(std::fs::metadata(&blob).unwrap().mode() & 0o777, 0o444);
    overwrite(&blob, &damaged);
    let ran = ingot.run(args).ok();
    assert!(ran.stderr.contains("does not verify") && ran.stderr.contains("is made or fetched anew"), "{}", ran.stderr);
    let written = ran.json()[0]["outputs"][0]["written"]["count"].clone();
    assert_eq!((written, std::fs::read(&blob).unwrap()), (1.into(), sound.clone()));
    store_is_sound(&ingot.cache());

    // A copy can be changed without harm.
    let copies = ingot_for(&project).env("INGOT_LINK_MODE", "copy");
    let output = format!("oci:{}", copies.path("image").display());
    let args = ["build", &project.folder().display().to_string(), "-o", &output];
    copies.run(args).ok();
    let blob = copies.path("image").join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    assert_eq!(std::fs::metadata(&blob).unwrap().nlink(), 1);
    std::fs::write(&blob, &damaged).unwrap();
    let ran = copies.run(args).ok();
    assert!(!ran.stderr.contains("verify") && std::fs::read(&blob).unwrap() == sound, "{}", ran.stderr);
    let ran = ingot_for(&project).env("INGOT_LINK_MODE", "hard").run(args).exits(2);
    assert!(ran.stderr.contains("error: INGOT_LINK_MODE is `hard`"), "{}", ran.stderr);
}

#[test]
fn a_registry_that_has_it_is_asked_once() {
    let (registry, project) = (Registry::start(), service());
    let ingot = ingot_for(&project);
    let target = registry.reference("team/service:1");
    let args = ["build", &project.folder().display().to_string(), "-t", &target, "--push", "--format", "json"];
    let made = ingot.run(args).ok().json();
    settle();
    ingot.run(args).ok();
    let before = registry.requests().len();
    let cache = ingot.cache();
    let (ran, calls) = traced(ingot_for(&project).env("INGOT_CACHE", cache), &args);
    let asked = registry.requests().split_off(before);
    let lines: Vec<String> = asked.iter().map(|request| format!("{} {}", request.method, request.uri)).collect();
    assert_eq!(lines, ["HEAD /v2/team/service/manifests/1"]);
    assert!(calls.len() == 1 && calls[0].contains(&format!("htons({})", registry.port)), "{calls:?}");
    let receipt = &ran.json()[0]["outputs"][0];
    assert_eq!((&receipt["existed"]["count"], &receipt["digest"]), (&5.into(), &made[0]["outputs"][0]["digest"]));
    assert_eq!(ran.stderr.matches(": exists\n").count(), 5, "{}", ran.stderr);

    // Another tag: the manifest is sent, and nothing else.
    let other = registry.reference("team/service:2");
    let before = registry.requests().len();
    let more = ["build", &project.folder().display().to_string(), "-t", &other, "--push"];
    ingot.run(more).ok();
    let sent: Vec<Request> = registry.requests().split_off(before);
    assert!(!sent.iter().any(|request| request.method == "POST" || request.is_upload()), "{sent:?}");
    assert!(sent.iter().any(|request| request.method == "PUT" && request.uri.ends_with("/manifests/2")));
}
