//! What must not go into an image is found before anything is built, and never shown.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::*;

/// A token that nobody has: no such literal stands in this repository.
fn token() -> String {
    format!("{}_{}", "npm", "k2J9xQ7vRt4Wm8Zs1Lp6Hd3Nc5Bf0Gy2Ua7E")
}

/// `ingot hygiene PROJECT MORE`.
fn hygiene(ingot: &Ingot, project: &Project, more: &[&str]) -> Ran {
    let folder = project.folder().display().to_string();
    ingot.run([&["hygiene", folder.as_str()], more].concat())
}

#[track_caller]
fn shows_no(secret: &str, ran: &Ran) {
    let shown = &secret[4..];
    assert!(!ran.stdout.contains(shown) && !ran.stderr.contains(shown), "the secret is shown: {ran:?}");
}

#[test]
fn a_clean_project_has_no_findings() {
    let project = service();
    let ran = hygiene(&Ingot::new(), &project, &[]).ok();
    assert_eq!(ran.stdout, "0 errors and 0 warnings in 5 files (263 B)\n");
    assert_eq!(ran.stderr, "");
    let ran = hygiene(&Ingot::new(), &example(), &[]).ok();
    assert!(ran.stdout.contains("\n0 errors and 0 warnings in "), "{}", ran.stdout);
}

#[test]
fn a_secret_stops_a_build_and_is_never_shown() {
    let project = service().file("src/service/settings.py", format!("A = 1\nTOKEN = '{}'\n", token()));
    let ingot = ingot_for(&project);
    let line = "src/service/settings.py:2: an npm token: `npm_...`, 40 characters [secret-npm-token]";
    let ran = hygiene(&ingot, &project, &[]).exits(3);
    assert!(ran.stdout.contains(&format!("error   {line}\n")), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("error: the project must not be packed as it is: 1 error\n"), "{}", ran.stderr);
    shows_no(&token(), &ran);
    for format in ["json", "sarif", "junit"] {
        let ran = hygiene(&ingot, &project, &["--format", format]).exits(3);
        assert!(ran.stdout.contains("secret-npm-token"), "{}", ran.stdout);
        shows_no(&token(), &ran);
    }
    let json = hygiene(&ingot, &project, &["--format", "json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["errors"], &json["findings"][0]["line"]), (&1.into(), &2.into()));
    let sarif = hygiene(&ingot, &project, &["--format", "sarif"]).stdout;
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "src/service/settings.py");

    let image = ingot.path("image");
    let (folder, output) = (project.folder().display().to_string(), format!("oci:{}", image.display()));
    let ran = ingot.run(["build", &folder, "-o", &output]).exits(3);
    assert!(ran.stderr.contains(line) && ran.stdout.is_empty() && !image.exists(), "{}", ran.stderr);
    shows_no(&token(), &ran);
    let kept = std::fs::read_dir(ingot.cache().join("hygiene-v1")).unwrap().next().unwrap().unwrap();
    assert!(!std::fs::read_to_string(kept.path()).unwrap().contains(&token()[4..]), "the store keeps no secret");
    ingot.run(["build", &folder, "-o", &output, "--no-hygiene"]).ok();

    // Corrected, it is found clean although it was remembered.
    let project = project.file("src/service/settings.py", "A = 1\n");
    ingot.run(["build", &project.folder().display().to_string(), "-o", &output]).ok();
}

#[test]
fn other_formats_are_for_checks_alone() {
    let ran = Ingot::new().run(["doctor", "--format", "sarif"]).exits(2);
    assert!(
        ran.stderr.contains("only `ingot hygiene`, `ingot validate` and `ingot stack check` print SARIF"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_ends_in_the_configuration_is_looked_at() {
    let project = service_with(|toml| {
        toml.replace(
            "[variants.small]",
            "[args]\nKEY = \"\"\n\n[env]\nUPSTREAM = \"${KEY}\"\nDB_PASSWORD = \"sesame7\"\n\n[variants.small]",
        )
    });
    let ingot = Ingot::new();
    let ran = hygiene(&ingot, &project, &[]).ok();
    assert!(
        ran.stdout.contains("`env.DB_PASSWORD` is called like a secret, and has a value [config-secret]"),
        "{ran:?}"
    );
    let ran = hygiene(&ingot, &project, &["--build-arg", &format!("KEY={}", token())]).exits(3);
    assert!(ran.stdout.contains("an npm token in `env.UPSTREAM`: `npm_...`"), "{}", ran.stdout);
    shows_no(&token(), &ran);
}

#[test]
fn stray_files_are_told_and_a_build_goes_on() {
    let project = service()
        .file("src/.env", "DEBUG=1\n")
        .file("src/app.log", "x\n")
        .file("src/a/.mypy_cache/x.json", "{}")
        .file("src/a/.mypy_cache/y.json", "{}")
        .file("src/n.ipynb", r#"{"cells": [{"cell_type": "code", "outputs": [{"text": "x"}]}]}"#)
        .file(".dockerignore", "*.log\n");
    let ingot = ingot_for(&project);
    let output = format!("oci:{}", ingot.path("image").display());
    let ran = ingot.run(["build", &project.folder().display().to_string(), "-o", &output]).ok();
    let warnings: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let expected = [
        "warning: .dockerignore:1: `*.log` does not match `src/app.log` [ignored-elsewhere]",
        "warning: src/.env: a file of environment variables [env-file]",
        "warning: src/a/.mypy_cache: a folder `.mypy_cache` [cache]",
        "warning: src/app.log: a database, a dump, a log or a backup [dump]",
        "warning: src/n.ipynb: a notebook with the output of its cells [notebook-output]",
    ];
    assert_eq!(warnings, expected);
    for name in ["id_rsa", "key.p12", ".git/config"] {
        let project = service().file(&format!("src/{name}"), "x");
        hygiene(&ingot, &project, &[]).exits(3);
    }
    let project = service().file("src/.env", format!("API_TOKEN=\"{}\"\n", &token()[4..]));
    let ran = hygiene(&ingot, &project, &[]).exits(3);
    assert!(ran.stdout.contains("src/.env:1: a secret in a file of environment variables"), "{}", ran.stdout);
}

#[test]
fn a_project_answers_for_findings_and_sets_severities() {
    let with = |allow: &str| service().file("src/x.py", format!("T = '{}'\n", token())).file(".ingot-allow", allow);
    let ingot = Ingot::new();
    let project = with("secret-npm-token src/*.py revoked long ago\nenv-file src for tests\n");
    let ran = hygiene(&ingot, &project, &[]).ok();
    assert!(ran.stdout.contains(".ingot-allow:2: no finding of `env-file` in `src` [allow-unused]"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("; 1 finding answered for\n"), "{}", ran.stdout);
    for (line, message) in [
        ("secret-npm-token src/*.py\n", "the line gives no reason"),
        ("npm-token src/*.py reason\n", "there is no rule `npm-token`"),
    ] {
        let ran = hygiene(&ingot, &with(line), &[]).exits(2);
        assert!(ran.stderr.contains(message) && ran.stderr.contains(".ingot-allow:1:1"), "{}", ran.stderr);
    }
    let settings = |text: &str| {
        let text = format!("[hygiene]\n{text}\n\n[variants.small]");
        service_with(move |toml| toml.replace("[variants.small]", &text))
            .file("src/x.py", format!("T = '{}'\n", token()))
    };
    hygiene(&ingot, &settings("skip = [\"secret-npm-token\"]"), &[]).ok();
    let ran = hygiene(&ingot, &settings("severity = { secret-npm-token = \"warning\" }"), &[]).ok();
    assert!(ran.stdout.contains("warning src/x.py:1"), "{}", ran.stdout);
    hygiene(&ingot, &settings("large-file = \"1KB\""), &["--skip", "secret-npm-token"]).ok();
    for (text, message) in [
        ("skip = [\"secret-npm-tokn\"]", "did you mean `secret-npm-token`?"),
        ("severity = { env-files = \"error\" }", "did you mean `env-file`?"),
        ("severity = { env-file = \"fatal\" }", "`fatal` is not a severity"),
        ("skips = []", "did you mean `skip`?"),
    ] {
        let ran = hygiene(&ingot, &settings(text), &[]).exits(2);
        assert!(ran.stderr.contains(message) && ran.stderr.contains("ingot.toml:"), "{}", ran.stderr);
    }
    let ran = hygiene(&ingot, &with(""), &["--skip", "nothing"]).exits(2);
    assert!(ran.stderr.contains("there is no rule `nothing`"), "{}", ran.stderr);
}

#[test]
fn a_lock_that_nothing_can_be_installed_from_is_told() {
    let ingot = Ingot::new();
    let ran = hygiene(&ingot, &service().file("requirements.lock", "alpha>=1\n"), &[]).exits(3);
    assert!(ran.stdout.contains("[lock-unusable]") && ran.stdout.contains("requirements.lock:1"), "{}", ran.stdout);
    let hash = "0".repeat(64);
    let twice = format!("alpha==1 --hash=sha256:{hash}\nalpha==2 --hash=sha256:{hash}\n");
    let ran = hygiene(&ingot, &service().file("requirements.lock", twice), &[]).ok();
    assert!(ran.stdout.contains("requirements.lock:2: `alpha` is locked twice"), "{}", ran.stdout);
    let project =
        service_with(|toml| toml.replace("lock = \"requirements.lock\"\n", "")).file("requirements.txt", "x\n");
    let ran = hygiene(&ingot, &project, &[]).ok();
    assert!(ran.stdout.contains("`requirements.txt` is not used"), "{}", ran.stdout);
}

#[test]
fn hostile_files_neither_hang_nor_mislead() {
    let mut line = "token=secret:password".repeat(1 << 18).into_bytes();
    line.extend(b"\n");
    let mut garbage: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    garbage.extend(token().into_bytes());
    let project = service()
        .file("src/line.txt", &line)
        .file("src/garbage.bin", garbage)
        .file("src/broken.txt", [b"\xff\xfe \x80 '".as_slice(), token().as_bytes(), b"'\n"].concat())
        .file("src/a\u{1b}[2J\n.py", format!("'{}'", token()));
    let large = std::fs::File::create(project.folder().join("src/large.txt")).unwrap();
    large.set_len(1 << 30).unwrap();
    for number in 0..2000 {
        std::fs::write(project.folder().join(format!("src/{number}.txt")), format!("{number}\n")).unwrap();
    }
    let project = project.file("src/last", "");
    let ingot = Ingot::new();
    let ran = hygiene(&ingot, &project, &[]).exits(3);
    assert!(ran.stdout.contains("src/broken.txt:1: an npm token"), "{}", ran.stdout);
    assert!(ran.stdout.contains("src/a\\u{1b}[2J\\n.py:1: an npm token"), "{}", ran.stdout);
    assert!(ran.stdout.contains("src/large.txt: 1.1 GB large, over 100.0 MB [large-file]"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("; 1 file too large to be searched\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains("garbage.bin"), "{}", ran.stdout);
    let again = hygiene(&ingot, &project, &[]).exits(3);
    assert_eq!(again.stdout, ran.stdout, "what is remembered says the same");
}

#[test]
fn what_cannot_be_packed_is_said_as_a_build_says_it() {
    let project = service().file("src/closed", "x");
    let mut closed = std::fs::metadata(project.folder().join("src/closed")).unwrap().permissions();
    closed.set_mode(0o000);
    std::fs::set_permissions(project.folder().join("src/closed"), closed).unwrap();
    let ran = hygiene(&Ingot::new(), &project, &[]).exits(6);
    assert!(ran.stderr.contains("src/closed"), "{}", ran.stderr);
    let project = service();
    std::os::unix::fs::symlink("/etc/passwd", project.folder().join("src/out")).unwrap();
    let ran = hygiene(&Ingot::new(), &project, &[]).exits(2);
    assert!(ran.stderr.contains("the link `src/out` to `/etc/passwd` is absolute"), "{}", ran.stderr);
}
