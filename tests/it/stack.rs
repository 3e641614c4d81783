//! `ingot stack`: what is printed of Compose files, and what is found in them.

use serde_json::Value;

use crate::support::*;

const FILE: &str = "services:
  db:
    image: postgres:16
    environment: [\"POSTGRES_PASSWORD=${DB_PASSWORD:-postgres}\"]
    volumes: [\"data:/var/lib/postgresql/data\"]
  web:
    image: web:${TAG}
    ports: [\"80:8080\"]
    volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]
    depends_on: [db]
volumes: {data: }
";

/// A folder with these files, and an ingot that runs in it.
fn folder(files: &[(&str, &str)]) -> Ingot {
    let ingot = Ingot::new();
    for (name, text) in files {
        std::fs::write(ingot.path(name), text).unwrap();
    }
    ingot
}

#[test]
fn a_stack_is_printed_resolved_and_reads_the_same_again() {
    let over = "services: {web: {environment: {MODE: \"a $$ b\"}}}\n";
    let ingot = folder(&[("compose.yaml", FILE), ("over.yaml", over), (".env", "TAG=1.2\n")]);
    let files = ["-f", "compose.yaml", "-f", "over.yaml"];
    let first = ingot.run([&["stack", "config"], &files[..]].concat()).ok();
    assert!(first.stdout.contains("    image: \"web:1.2\"\n"), "{}", first.stdout);
    assert!(first.stdout.contains("      MODE: \"a $$ b\"\n"), "{}", first.stdout);
    assert_eq!(first.stderr, "");
    std::fs::write(ingot.path("resolved.yaml"), &first.stdout).unwrap();
    let again = ingot.run(["stack", "config", "-f", "resolved.yaml"]).ok();
    assert_eq!(again.stdout, first.stdout);
    // docker compose's own reading agrees, where its words are the same as ours.
    let json: Value =
        serde_json::from_str(&ingot.run([&["stack", "config", "--format", "json"], &files[..]].concat()).ok().stdout)
            .unwrap();
    assert_eq!(json["services"]["web"]["ports"][0]["published"], "80");
    assert_eq!(json["services"]["web"]["depends_on"]["db"]["condition"], "service_started");
}

#[test]
fn what_is_dangerous_stops_with_its_line() {
    let ingot = folder(&[("compose.yaml", FILE)]);
    let ran = ingot.run(["stack", "check"]).exits(3);
    assert!(
        ran.stdout.contains("error   compose.yaml:9: `web` gets `/var/run/docker.sock` [engine-socket]\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("warning compose.yaml:8: `web` publishes 80 on every address [port-public]\n"),
        "{}",
        ran.stdout
    );
    let password = "compose.yaml:4: `POSTGRES_PASSWORD` of `db` has a value that everybody tries first: `...`, 8 characters [secret-value]\n";
    assert!(ran.stdout.contains(&format!("warning {password}")), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("error: the stack must not be started as it is: 1 error\n"), "{}", ran.stderr);
    let ran = ingot.run(["stack", "check", "--skip", "engine-socket"]).exits(2);
    assert!(ran.stderr.contains("the rule `engine-socket` cannot be switched off"), "{}", ran.stderr);
    let ran = ingot.run(["stack", "check", "--env", "production", "--skip", "image-moves"]).exits(3);
    assert!(ran.stdout.contains(&format!("error   {password}")), "{}", ran.stdout);
    let sarif: Value =
        serde_json::from_str(&ingot.run(["stack", "check", "--format", "sarif"]).exits(3).stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "engine-socket");
    assert!(ingot.run(["stack", "check", "--skip", "nothing"]).exits(2).stderr.contains("docs/stack.md"));
}

#[test]
fn what_is_not_looked_at_is_told() {
    let text = "services:\n  a: {image: x}\n  b: {image: y, privileged: true, profiles: [debug]}\n";
    let ingot = folder(&[("compose.yaml", text)]);
    let said = "not looked at, for other profiles: `b` (--profile '*' takes all)";
    let report = ingot.run(["stack", "check", "--format", "json"]).ok().json();
    assert_eq!(report["notes"], serde_json::json!([said]), "{report}");
    let ran = ingot.run(["stack", "check"]).ok();
    assert!(ran.stdout.contains(&format!("note: {said}\n")), "{ran:?}");
    assert!(ingot.run(["stack", "check", "--fix", "--dry-run"]).ok().stderr.contains(said));
    let all = ingot.run(["stack", "check", "--profile", "*"]).exits(3);
    assert!(all.stdout.contains("[privileged]") && !all.stdout.contains("not looked at"), "{all:?}");
}

#[test]
fn mistakes_are_shown_with_a_hint() {
    let ingot = folder(&[("compose.yaml", "services:\n  web:\n    imag: x\n")]);
    let ran = ingot.run(["stack", "config"]).exits(2);
    assert!(ran.stderr.contains("`compose.yaml`, line 3: there is no key `imag` in `services.web`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: did you mean `image`?"), "{}", ran.stderr);
    let ran = Ingot::new().run(["stack", "config"]).exits(2);
    assert!(ran.stderr.contains("there is no Compose file in `.`"), "{}", ran.stderr);
}
