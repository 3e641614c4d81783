//! Compose files in the styles of many authors: the right findings, Docker Compose's own reading, and `--fix`.
//!
//! Each folder of `tests/compose` is one author's habit, written for this test after what is seen in public. `findings`
//! beside it has what is to be found; it is written anew with UPDATE=1, and read by a person before it is committed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// A long random value, for what is to come from outside.
const SECRET: &str = "k2J9xQ7vRt4Wm8Zs";

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let mut all: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 20, "{} folders", all.len());
    all
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// A copy of a folder that can be written to, and an ingot that runs in it.
fn copy(folder: &Path) -> Ingot {
    fn all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        // ingot runs as an ordinary user, and writes there.
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o777)).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if from.is_dir() {
                all(&from, &to);
            } else {
                std::fs::copy(&from, &to).unwrap();
            }
        }
    }
    let ingot = Ingot::new().env("DB_PASSWORD", SECRET).env("COMPOSE_PROJECT_NAME", "x");
    all(folder, &ingot.path("."));
    ingot
}

/// Findings as `PLACE RULE`, those of one place in one line.
fn listed(report: &Value) -> String {
    let mut places: BTreeMap<(String, u64), Vec<String>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let place = (finding["path"].as_str().unwrap().to_string(), finding["line"].as_u64().unwrap_or_default());
        let mark = if finding["severity"] == "error" { "!" } else { "" };
        places.entry(place).or_default().push(format!("{mark}{}", finding["rule"].as_str().unwrap()));
    }
    let mut out = String::new();
    for ((path, line), mut rules) in places {
        rules.sort();
        out += &format!("{path}:{line}: {}\n", rules.join(" "));
    }
    out
}

fn check(ingot: &Ingot, more: &[&str]) -> Value {
    let args = [&["stack", "check", "--profile", "*", "--format", "json"], more].concat();
    let ran = ingot.run(args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

#[test]
fn every_style_has_the_right_findings() {
    for folder in folders() {
        let ingot = copy(&folder);
        let found = format!(
            "# in development\n{}# in production\n{}",
            listed(&check(&ingot, &[])),
            listed(&check(&ingot, &["--env", "production"]))
        );
        let file = folder.join("findings");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, expected, "{}", name(&folder));
    }
}

/// Docker Compose's program, which `make install-test-tools` puts there.
fn compose() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/compose/bin/docker-compose");
    assert!(tools.exists(), "Docker Compose is not installed: run `make install-test-tools`");
    tools
}

/// What Docker Compose makes of a file, as JSON without the profiles: a resolved file has the services that were asked for.
fn understood(files: &[&str], folder: &Path) -> Value {
    let files = files.iter().flat_map(|file| ["-f", file]);
    let ran = Command::new(compose())
        .args(["--project-name", "x", "--profile", "*", "--project-directory"])
        .arg(folder)
        .args(files.clone())
        .args(["config", "--format", "json"])
        .current_dir(folder)
        .env("DB_PASSWORD", SECRET)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&ran.stderr));
    let mut json: Value = serde_json::from_slice(&ran.stdout).unwrap();
    for service in json["services"].as_object_mut().into_iter().flat_map(|services| services.values_mut()) {
        service.as_object_mut().unwrap().remove("profiles");
    }
    json
}

#[test]
fn docker_compose_reads_the_same_in_the_file_and_in_what_is_resolved_of_it() {
    for folder in folders() {
        let ingot = copy(&folder);
        let place = ingot.path(".").canonicalize().unwrap();
        let mut all = vec![vec!["compose.yaml"]];
        for over in ["compose.override.yaml", "compose.production.yaml"] {
            all.extend(place.join(over).exists().then(|| vec!["compose.yaml", over]));
        }
        for files in all {
            let named = files.iter().flat_map(|file| ["-f", file]);
            let args: Vec<&str> = ["stack", "config", "--profile", "*"].into_iter().chain(named).collect();
            std::fs::write(ingot.path("resolved.yaml"), ingot.run(args).ok().stdout).unwrap();
            let (original, resolved) = (understood(&files, &place), understood(&["resolved.yaml"], &place));
            assert_eq!(resolved, original, "{} {files:?}", name(&folder));
        }
    }
}

#[test]
fn every_style_is_hardened_and_docker_compose_still_reads_it() {
    for folder in folders() {
        let ingot = copy(&folder);
        let before = std::fs::read(ingot.path("compose.yaml")).unwrap();
        let dry = check(&ingot, &["--fix", "--dry-run"]);
        assert_eq!(
            std::fs::read(ingot.path("compose.yaml")).unwrap(),
            before,
            "{}: a dry run writes nothing",
            name(&folder)
        );
        let fixed = check(&ingot, &["--fix"]);
        assert_eq!(fixed["changes"], dry["changes"], "{}", name(&folder));
        // One lacks nothing that can be written, one everything but a second document that would be in the way.
        let is_left = ["documents", "everything", "hardened"].contains(&name(&folder).as_str());
        assert_eq!(fixed["changes"].as_array().unwrap().is_empty(), is_left, "{}: {fixed:#}", name(&folder));
        for finding in fixed["findings"].as_array().unwrap() {
            assert!(finding["details"][0].as_str().unwrap_or_default().starts_with("left: "), "{finding}");
        }
        let again = check(&ingot, &["--fix"]);
        assert_eq!(again["changes"].as_array().unwrap().len(), 0, "{}", name(&folder));
        let place = ingot.path(".").canonicalize().unwrap();
        understood(&["compose.yaml"], &place);
    }
}

#[test]
fn a_fix_is_shown_as_a_diff_and_the_exit_code_is_that_of_what_is_left() {
    let text = "services:\n  web:\n    image: web:1  # ours\n    restart: always\n";
    let ingot = Ingot::new();
    std::fs::write(ingot.path("compose.yaml"), text).unwrap();
    let ran = ingot.run(["stack", "check", "--fix", "--dry-run"]).ok();
    let diff = "--- a/compose.yaml\n+++ b/compose.yaml\n@@ -1,4 +1,7 @@\n services:\n   web:\n     image: web:1  # ours\n-    restart: always\n+    restart: \"on-failure:5\"\n+    security_opt: [\"no-new-privileges:true\"]\n+    cpus: 1.0\n+    pids_limit: 2048\n\n";
    assert!(ran.stdout.starts_with(diff), "{}", ran.stdout);
    assert!(ran.stdout.contains("        left: the digest is in a registry, which is not asked\n"), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("would write compose.yaml\nnote: "), "{}", ran.stderr);
    let by_hand = "note: `web`: `web:1` is not known, so `cap_drop`, `healthcheck`, `mem_limit`, `user`, `read_only` is left to you: try one after the other\n";
    assert!(ran.stderr.contains(by_hand), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(ingot.path("compose.yaml")).unwrap(), text);
    let ran = ingot.run(["stack", "check", "--fix", "--fix-unknown", "--dry-run"]).ok();
    assert!(
        ran.stdout.contains("+    read_only: true\n") && ran.stdout.contains("+    cap_drop: [ALL]\n"),
        "{}",
        ran.stdout
    );
    let tried = "note: `web`: `web:1` is not known, and `cap_drop`, `mem_limit`, `read_only` may keep it from starting: try it\n";
    assert!(ran.stderr.contains(tried), "{}", ran.stderr);
    assert!(ingot.run(["stack", "check", "--fix-unknown"]).exits(2).stderr.contains("--fix"));
    assert!(ingot.run(["stack", "check", "--fix"]).ok().stderr.starts_with("wrote compose.yaml\n"));
    assert!(std::fs::read_to_string(ingot.path("compose.yaml")).unwrap().contains("    image: web:1  # ours\n"));
    let socket = "services:\n  web:\n    image: web\n    volumes: [\"/var/run/docker.sock:/x\"]\n";
    std::fs::write(ingot.path("compose.yaml"), socket).unwrap();
    let ran = ingot.run(["stack", "check", "--fix"]).exits(3);
    assert!(ran.stderr.contains("error: the stack must not be started as it is: 1 error\n"), "{}", ran.stderr);
    assert!(ingot.run(["stack", "check", "--dry-run"]).exits(2).stderr.contains("--fix"));
}

#[test]
fn files_that_are_none_are_refused_in_clear_words() {
    let ingot = Ingot::new();
    let refused = |bytes: &[u8], expected: &str| {
        std::fs::write(ingot.path("compose.yaml"), bytes).unwrap();
        let started = std::time::Instant::now();
        let ran = ingot.run(["stack", "check"]);
        assert!(matches!(ran.code, 2 | 6), "{:?}: {}", ran.code, ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(started.elapsed().as_secs() < 60);
    };
    refused(b"services:\n  a: {image: \xff\xfe}\n", "compose.yaml");
    refused(&vec![b'#'; 10 << 20], "compose.yaml");
    refused(format!("a: {}", "[".repeat(100_000)).as_bytes(), "line 1");
    refused(format!("services: {}1{}", "{a: ".repeat(500), "}".repeat(500)).as_bytes(), "more than 64 deep");
    let mut bomb = String::from("x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    (1..12).for_each(|n| bomb += &format!("x-{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
    refused(bomb.as_bytes(), "with what aliases stand for");
    refused(b"services:\n  a:\n    image: x\n    image: y\n", "line 4: the key `image` is there twice");
    refused(b"services:\n  a:\n    imgae: x\n", "did you mean `image`?");
    refused(b"services:\n\ta:\n", "line 2");
    refused(b"include: ['https://example.test/c.yaml']\nservices: {}\n", "is not on this machine");
    refused(b"include: ['git@example.test:x/y.git']\nservices: {}\n", "is not on this machine");
    refused(b"services: {a: {extends: {file: 'oci://example.test/x', service: a}}}\n", "is not on this machine");
    refused(b"services: {a: {image: i, env_file: /etc/hosts}}\n", "is outside of the project's folder");
    refused(b"services: {a: {image: i, env_file: .env.missing}}\n", "`.env.missing` is not there");
    refused(b"include: [compose.yaml]\nservices: {}\n", "include one another more than 16 deep");
    refused(b"services: {a: {image: i, extends: b}, b: {extends: a}}\n", "extends itself");
    refused(
        b"services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}\n",
        "in a circle: a -> b -> a",
    );
    refused(b"services: {a: {image: '${X:?set it}'}}\n", "`X` has no value: set it");
    refused(b"services: {a: {image: '${X'}}\n", "`${` without `}`");
}

#[test]
fn a_variable_is_text_whatever_is_in_it() {
    let evil = "x\n    privileged: true\n    b: [";
    let ingot = Ingot::new().env("EVIL", evil);
    let text = "services:\n  a:\n    image: i\n    command: [\"$EVIL\", \"$$EVIL\", \"$(date) $? $1\", \"${NONE-${EVIL}}\"]\n    labels: {a: \"${EVIL}\"}\n";
    std::fs::write(ingot.path("compose.yaml"), text).unwrap();
    let json: Value = serde_json::from_str(&ingot.run(["stack", "config", "--format", "json"]).ok().stdout).unwrap();
    let service = &json["services"]["a"];
    assert_eq!(service["command"], serde_json::json!([evil, "$EVIL", "$(date) $? $1", evil]));
    assert_eq!((service.get("privileged"), &service["labels"]["a"]), (None, &Value::from(evil)));
    // Docker Compose reads the resolved file back to the same.
    let resolved = ingot.run(["stack", "config"]).ok().stdout;
    std::fs::write(ingot.path("resolved.yaml"), resolved).unwrap();
    let place = ingot.path(".").canonicalize().unwrap();
    assert_eq!(
        understood(&["resolved.yaml"], &place)["services"]["a"]["labels"]["a"],
        Value::from(evil.replace('$', "$$"))
    );
}
