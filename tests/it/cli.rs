//! Commands and options as they are typed.

use std::path::Path;
use std::process::Command;

use crate::support::*;

const COMMANDS: [&str; 12] =
    ["build", "plan", "hygiene", "push", "pull", "copy", "inspect", "history", "ls", "init", "completions", "doctor"];

#[test]
fn every_command_explains_itself() {
    let ingot = Ingot::new();
    let help = ingot.run(["--help"]).ok().stdout;
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let ran = ingot.run([command, "--help"]).ok();
        assert!(ran.stdout.contains(&format!("Usage: ingot {command}")) && ran.stderr.is_empty(), "{ran:?}");
    }
    assert!(ingot.run(["--version"]).ok().stdout.starts_with("ingot "));
    assert!(!ingot.cache().join("blobs").exists(), "help makes no store");
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    let ingot = Ingot::new();
    let mistakes: [&[&str]; 9] = [
        &[],
        &["--unknown"],
        &["cast"],
        &["build", "--unknown"],
        &["build", "--platform", "amd64"],
        &["build", "--format", "yaml"],
        &["plan", "one", "two"],
        &["push", "only-one"],
        &["inspect"],
    ];
    for mistake in mistakes {
        let ran = ingot.run(mistake).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
    let ran = ingot.run(["build", "nowhere"]).exits(2);
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("nowhere"), "{}", ran.stderr);
    let ran = ingot.run(["build"]).exits(2);
    assert!(ran.stderr.contains("ingot init"), "an empty folder is told how to begin: {}", ran.stderr);
}

#[test]
fn completions_are_scripts_that_shells_read() {
    let ingot = Ingot::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = ingot.run(["completions", shell]).ok().stdout;
        assert!(script.contains("metadata-file"), "{shell}: {script}");
        // bash is everywhere; zsh and fish are asked where they are.
        let path = [Path::new("/bin"), Path::new("/usr/bin")].map(|folder| folder.join(shell));
        let Some(program) = path.iter().find(|program| program.is_file()) else {
            assert_ne!(shell, "bash");
            continue;
        };
        let mut command = Command::new(program);
        command.arg("-n");
        Ran::fed(command, script.as_bytes()).ok();
    }
    ingot.run(["completions", "cmd"]).exits(2);
}

#[test]
fn the_doctor_needs_no_engine() {
    let ingot = Ingot::new();
    let bare = ingot.path("bare");
    std::fs::create_dir(&bare).unwrap();
    TestUser::get().own(&bare);
    let ingot = ingot.env("PATH", &bare).env("PIP_INDEX_URL", "https://canary:s3cret@index.example/simple");
    let ran = ingot.run(["doctor"]).ok();
    for word in ["store", "podman", "docker", "python 3.11", "index.example"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    let report = ingot.run(["doctor", "--format", "json"]).ok();
    assert!(report.json()["checks"].as_array().unwrap().len() >= 8, "{}", report.stdout);
    for text in [&ran.stdout, &ran.stderr, &report.stdout, &report.stderr] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn init_finds_a_flask_app_and_the_plan_works() {
    let project = Project::new("")
        .file("app.py", "from flask import Flask\n\napp = Flask(__name__)\n")
        .file("requirements.txt", "flask==3.0\n");
    let folder = project.folder();
    std::fs::remove_file(folder.join("ingot.toml")).unwrap();
    let ingot = ingot_for(&project);
    let ran = ingot.run(["init", folder.to_str().unwrap(), "--stdout"]).ok();
    assert!(!folder.join("ingot.toml").exists());
    let made = ingot.run(["init", folder.to_str().unwrap()]).ok();
    assert!(made.stdout.trim_end().ends_with("ingot.toml") && made.stderr.contains("ingot plan"), "{made:?}");
    let text = std::fs::read_to_string(folder.join("ingot.toml")).unwrap();
    assert_eq!(text, ran.stdout);
    assert!(text.contains("app:app"), "{text}");
    ingot.run(["init", folder.to_str().unwrap()]).exits(2);

    // What it wrote is a project file: with the tiny base and a lock there is a plan.
    tiny_base(&folder.join("base"));
    let (flask, line) = Wheel::new("flask", "3.0").write(&folder.join("wheels"));
    assert!(flask.is_file());
    let base = text.lines().find(|line| line.starts_with("base = ")).unwrap();
    let lock = text
        .lines()
        .find_map(|line| line.strip_prefix("lock = \""))
        .unwrap_or("requirements.lock\"")
        .trim_end_matches('"');
    let version = text.lines().find(|line| line.starts_with("version = ")).unwrap();
    let project = project
        .file("ingot.toml", text.replace(base, "base = \"oci:base\"").replace(version, "version = \"3.11\""))
        .file(lock, line);
    let plan = ingot.run(["plan", project.folder().to_str().unwrap()]).ok();
    assert!(plan.stdout.contains("app") && plan.stdout.contains("miss"), "{}", plan.stdout);
}

#[test]
fn the_plan_touches_nothing_and_says_why() {
    let project = service();
    let ingot = ingot_for(&project);
    let folder = project.folder();
    let plan = || {
        let ran = ingot.run(["plan", folder.to_str().unwrap(), "--format", "json"]).ok();
        let layers = ran.json()["images"][0]["layers"].as_array().unwrap().clone();
        layers
            .iter()
            .map(|layer| {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let reasons = layer["reasons"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(", ");
                format!("{} {} {reasons}", text(&layer["name"]), text(&layer["state"])).trim_end().to_owned()
            })
            .collect::<Vec<_>>()
    };
    let before = tree(&folder);
    let never = "it was never built here";
    let expected = |state: &[&str]| state.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        plan(),
        expected(&[
            "base 1/1 base",
            &format!("venv miss {never}"),
            &format!("app miss {never}"),
            &format!("runtime miss {never}")
        ])
    );
    assert_eq!(tree(&folder), before, "a plan changes nothing in the project");
    assert_eq!(std::fs::read_dir(ingot.path("")).unwrap().count(), 0, "nor where it runs");

    let output = format!("oci:{}", ingot.path("image").display());
    ingot.run(["build", folder.to_str().unwrap(), "-o", &output]).ok();
    assert_eq!(tree(&folder), before, "a build with an output elsewhere changes nothing in the project");
    assert_eq!(plan(), expected(&["base 1/1 base", "venv hit", "app hit", "runtime hit"]));

    let project = project.file("src/service/health.py", "x = 1\n");
    assert_eq!(
        plan(),
        expected(&["base 1/1 base", "venv hit", "app miss file service/health.py changed", "runtime hit"])
    );
    let project = project.file("src/service/health.py", "y = 1\n").file("src/new.txt", "new\n");
    let app = plan().remove(2);
    assert!(app.contains("service/health.py") && app.contains("new.txt"), "{app}");
    let text = ingot.run(["plan", project.folder().to_str().unwrap()]).ok().stdout;
    assert!(text.contains("WHY") && text.contains("miss") && text.contains("hit"), "{text}");
}

/// Every file with its size and time.
fn tree(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = std::fs::symlink_metadata(&path).unwrap();
        lines.push(format!("{} {} {:?}", path.display(), found.len(), found.modified().unwrap()));
        if found.is_dir() {
            lines.extend(tree(&path));
        }
    }
    lines.sort();
    lines
}
