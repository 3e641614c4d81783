//! `ingot stack build`, `up`, `ps`, `logs`, `restart`, `health` and `down`, with real engines and real compose providers.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::*;

/// `second` asks `first` once, when it starts: if `first` were not healthy by then, it would end. `last` waits for one
/// that does something and ends.
fn ordered(port: u16) -> String {
    format!(
        "name: ordered
services:
  second:
    CAST
    environment: {{NAME: second, ASK: 'http://first:8080/'}}
    depends_on: {{first: {{condition: service_healthy}}}}
  first:
    CAST
    environment: {{NAME: first, DELAY: '1.5'}}
    ports: ['127.0.0.1:{port}:8080']
    volumes: ['data:/data']
  once:
    CAST
    environment: {{NAME: once, END: '0', DELAY: '0.5'}}
    healthcheck: {{disable: true}}
  last:
    CAST
    environment: {{NAME: last, READ: /run/secrets/key}}
    depends_on: {{once: {{condition: service_completed_successfully}}}}
    secrets: [key]
volumes: {{data: }}
secrets: {{key: {{environment: STACK_KEY}}}}
"
    )
}

#[test]
fn a_stack_by_podman() {
    let stacks = Stacks::podman();
    let port = free_port();
    stacks.compose(&ordered(port));
    comes_up_in_order(&stacks);
    says_how_it_is(&stacks, port);
    what_is_there_is_not_made_again(&stacks);
    a_changed_secret_is_noticed(&stacks);
    a_service_that_was_killed_comes_back(&stacks);
    one_that_is_ill_is_seen_and_restarted(&stacks, port);
    logs_are_followed_until_ctrl_c(&stacks);
    data_stays(&stacks, port);
}

#[test]
fn a_stack_by_docker() {
    let stacks = Stacks::docker();
    let port = free_port();
    stacks.compose(&ordered(port));
    comes_up_in_order(&stacks);
    says_how_it_is(&stacks, port);
    what_is_there_is_not_made_again(&stacks);
    a_changed_secret_is_noticed(&stacks);
    one_that_is_ill_is_seen_and_restarted(&stacks, port);
    data_stays(&stacks, port);
    // The same program as a plugin of docker's client.
    let config = stacks.path("docker");
    std::fs::create_dir_all(config.join("cli-plugins")).unwrap();
    std::os::unix::fs::symlink(providers().join("docker-compose"), config.join("cli-plugins/docker-compose")).unwrap();
    let mut command = stacks.command(&["up", "--provider", "docker compose", "once"]);
    command.env("DOCKER_CONFIG", &config).env("STACK_KEY", "open sesame");
    Ran::of(command).ok();
    stacks.run(&["down"]).ok();
    fails_in_a_loop(&stacks);
    the_engine_ends(&stacks);
}

#[track_caller]
fn up(stacks: &Stacks, args: &[&str]) -> Ran {
    up_with(stacks, "open sesame", args)
}

#[track_caller]
fn up_with(stacks: &Stacks, key: &str, args: &[&str]) -> Ran {
    let mut command = stacks.command(&[&["up"], args].concat());
    command.env("STACK_KEY", key);
    Ran::of(command)
}

fn comes_up_in_order(stacks: &Stacks) {
    let ran = up(stacks, &[]).ok();
    let at = |line: &str| ran.stderr.find(line).unwrap_or_else(|| panic!("{line}: {}", ran.stderr));
    assert!(at("first: running, healthy") < at("second: running"), "{}", ran.stderr);
    assert!(at("once: exited") < at("last: running"), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("loading into").count(), 1, "one image, four names: {}", ran.stderr);
    let said = |service: &str| stacks.run(&["logs", service]).ok().stdout;
    assert!(said("second").contains("second | answer 200\n"), "{}", said("second"));
    assert!(said("last").contains("read open sesame\n"), "{}", said("last"));
    let found = stacks.ps();
    for (service, state, health) in [
        ("first", "running", Value::from("healthy")),
        ("once", "exited", Value::Null),
        ("last", "running", "healthy".into()),
    ] {
        assert_eq!((&found[service]["state"], &found[service]["health"]), (&state.into(), &health), "{found}");
    }
    let image = format!("localhost/{}-first:sha256-", stacks.named("ordered"));
    assert!(found["first"]["image"].as_str().unwrap().starts_with(&image), "{found}");
}

fn says_how_it_is(stacks: &Stacks, port: u16) {
    assert_eq!(stacks.ps()["first"]["ports"][0]["published"], port);
    let table = stacks.run(&["ps"]).ok().stdout;
    assert!(table.starts_with("SERVICE  STATE       HEALTH   SINCE"), "{table}");
    assert!(table.contains(&format!("127.0.0.1:{port}->8080")), "{table}");
    let ran = stacks.run(&["health"]).ok();
    let health = ran.json();
    assert_eq!((&health["stack"], &health["status"]), (&stacks.named("ordered").into(), &"healthy".into()), "{health}");
    let first = &health["services"]["first"];
    assert_eq!((&first["endpoint"]["status"], &first["endpoint"]["body"]["name"]), (&200.into(), &"first".into()));
    assert_eq!(health["services"]["once"]["status"], "completed", "{health}");
    assert_eq!(health["services"]["second"]["status"], "healthy", "its port is not published: {health}");
    let logs = stacks.run(&["logs", "--tail", "1", "first", "second"]).ok().stdout;
    let mut lines: Vec<&str> = logs.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first  | serve first", "second | serve second"]);
    let error = stacks.run(&["logs", "third"]).exits(2).stderr;
    assert!(error.contains("has no service `third`\nhint: its services are first, last, once, second\n"), "{error}");
}

fn what_is_there_is_not_made_again(stacks: &Stacks) {
    let before = stacks.containers();
    let ran = up(stacks, &[]).ok();
    assert_eq!(stacks.containers(), before);
    assert!(!ran.stderr.contains("loading into") && !ran.stderr.contains("written"), "{}", ran.stderr);
    // The file is closed to others: it may have passwords.
    let pinned = stacks.run(&["config", "--pinned"]);
    assert!(pinned.code == 2 && pinned.stderr.contains("`STACK_KEY`, which is not set"), "{}", pinned.stderr);
}

/// Only who has the secret is made anew, with the new one; the old one is nowhere any more.
fn a_changed_secret_is_noticed(stacks: &Stacks) {
    let (before, files) = (stacks.containers(), stacks.files());
    assert!(files.len() == 1 && files[0].starts_with("secret-key-"), "{files:?}");
    up_with(stacks, "sesame street", &[]).ok();
    let after = stacks.containers();
    let new: Vec<&String> = after.iter().filter(|id| !before.contains(id)).collect();
    let last =
        stacks.engine(&["ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.service=last"]).ok();
    assert_eq!((after.len(), new), (before.len(), vec![&last.stdout.trim().to_string()]));
    assert!(stacks.run(&["logs", "last"]).ok().stdout.ends_with("read sesame street\nlast | serve last\n"));
    let now = stacks.files();
    assert!(now.len() == 1 && now != files, "{now:?}");
    let mut pinned = stacks.command(&["config", "--pinned"]);
    pinned.env("STACK_KEY", "sesame street");
    let pinned = Ran::of(pinned).ok().stdout;
    assert!(pinned.contains(&now[0]) && !pinned.contains("street"), "{pinned}");
}

fn a_service_that_was_killed_comes_back(stacks: &Stacks) {
    let (name, second) = (stacks.ps()["first"]["container"].clone(), stacks.ps()["second"]["since"].clone());
    stacks.engine(&["kill", name.as_str().unwrap()]).ok();
    assert_eq!(stacks.ps()["first"]["exit_code"], 137);
    let error = stacks.run(&["health"]).exits(7).stderr;
    assert!(error.contains(" is not well: `first` is down\n"), "{error}");
    up(stacks, &[]).ok();
    let found = stacks.ps();
    assert_eq!((&found["first"]["health"], &found["second"]["since"]), (&"healthy".into(), &second), "{found}");
    // One that was stopped has ended well, and runs no more: as all of them after the machine was restarted.
    stacks.engine(&["stop", name.as_str().unwrap()]).ok();
    assert_eq!(stacks.ps()["first"]["exit_code"], 0);
    up(stacks, &[]).ok();
    let found = stacks.ps();
    assert_eq!((&found["first"]["health"], &found["second"]["since"]), (&"healthy".into(), &second), "{found}");
}

fn one_that_is_ill_is_seen_and_restarted(stacks: &Stacks, port: u16) {
    get(port, "/break").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while stacks.ps()["first"]["health"] != "unhealthy" {
        assert!(Instant::now() < deadline, "{}", stacks.ps());
    }
    let ran = stacks.run(&["health"]).exits(7);
    assert_eq!(ran.json()["services"]["first"]["endpoint"]["status"], 500, "{}", ran.stdout);
    let ran = stacks.run(&["restart", "first"]).ok();
    assert!(ran.stderr.contains("first: running, healthy") && !ran.stderr.contains("second"), "{}", ran.stderr);
    assert_eq!(stacks.ps()["first"]["health"], "healthy");
}

fn logs_are_followed_until_ctrl_c(stacks: &Stacks) {
    let mut following = stacks.begin(&["logs", "-f", "--tail", "1", "second"]);
    let mut lines = BufReader::new(following.child().stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "second | serve second");
    assert!(following.child().try_wait().unwrap().is_none(), "it goes on");
    interrupt(&mut following);
    assert_eq!(following.wait(Duration::from_secs(20)).unwrap().code(), Some(130));
}

/// An `up` of a stack whose `db` runs by now, and what is still to be said on stderr.
fn rising(stacks: &Stacks) -> (ingot::process::Running, BufReader<std::process::ChildStderr>) {
    let mut rising = stacks.begin(&["up"]);
    let mut said = BufReader::new(rising.child().stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("db: running") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended before anything ran");
    }
    (rising, said)
}

fn interrupt(running: &mut ingot::process::Running) {
    kill_process(Pid::from_raw(running.child().id() as i32).unwrap(), Signal::INT).unwrap();
}

fn data_stays(stacks: &Stacks, port: u16) {
    get(port, "/keep").unwrap();
    // From another session, which has another folder for sockets and secrets.
    assert_eq!(stacks.files().len(), 1);
    let mut command = stacks.command(&["down"]);
    command.env_remove("XDG_RUNTIME_DIR");
    let ran = Ran::of(command).ok();
    assert_eq!(stacks.files(), [] as [String; 0]);
    let volume = format!("{}_data", stacks.named("ordered"));
    assert!(
        ran.stderr.contains("removed: ") && ran.stderr.contains(&format!("kept with all data: {volume}\n")),
        "{}",
        ran.stderr
    );
    assert_eq!(stacks.containers(), [] as [String; 0]);
    assert!(stacks.run(&["down"]).ok().stderr.contains(&format!("the stack `{}` is not up", stacks.named("ordered"))));
    assert_eq!(stacks.run(&["health"]).exits(7).json()["status"], "down");
    assert_eq!(stacks.ps(), serde_json::json!({}));
    // Only what is named, and what that needs.
    up(stacks, &["first"]).ok();
    assert_eq!(stacks.ps().as_object().unwrap().len(), 1);
    assert_eq!(get(port, "/kept").unwrap().status, 200);
    let ran = stacks.run(&["down", "--volumes"]).ok();
    assert!(ran.stderr.contains(&format!("removed with all data: {volume}\n")), "{}", ran.stderr);
    assert_eq!(stacks.engine(&["volume", "ls", "--quiet"]).ok().stdout, "");
}

#[test]
fn what_does_not_come_up_is_told() {
    let stacks = Stacks::podman();
    never_gets_healthy(&stacks);
    ends_at_once(&stacks);
    fails_in_a_loop(&stacks);
    finds_its_port_taken(&stacks);
    is_interrupted(&stacks);
    cannot_be_started_at_all(&stacks);
    runs_already_from_elsewhere(&stacks);
}

fn never_gets_healthy(stacks: &Stacks) {
    stacks.compose(
        "name: ill
services:
  db: {CAST, environment: {NAME: db, ILL: 'yes'}}
  web: {CAST, environment: {NAME: web}, depends_on: {db: {condition: service_healthy}}}
",
    );
    let started = Instant::now();
    let ran = up(stacks, &[]).exits(7);
    assert!(ran.stderr.contains("error: `db` is unhealthy: 2 checks in a row have failed\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the end of its log:\n  begin db\n  serve db\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("still there: db (running") && !ran.stderr.contains("web ("), "{}", ran.stderr);
    assert!(ran.stderr.contains("`ingot stack logs db` shows all of its log"), "{}", ran.stderr);
    assert!(started.elapsed() > Duration::from_secs(3), "failures of its first two seconds do not count");
    assert_eq!(stacks.containers().len(), 1, "nobody has started `web`");
    let ran = up(stacks, &["--timeout", "1s"]).exits(7);
    assert!(ran.stderr.contains("error: `db` is not healthy after 1 s\n"), "{}", ran.stderr);
    stacks.run(&["down"]).ok();
}

fn ends_at_once(stacks: &Stacks) {
    stacks.compose(
        "name: ends\nservices:\n  job: {CAST, environment: {NAME: job, END: '3'}, healthcheck: {disable: true}}\n",
    );
    let ran = up(stacks, &[]).exits(7);
    assert!(ran.stderr.contains("error: `job` has ended with exit code 3\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("  begin job\n  end 3\n"), "{}", ran.stderr);
    stacks.run(&["down"]).ok();
}

fn fails_in_a_loop(stacks: &Stacks) {
    stacks.compose(
        "name: loops\nservices:\n  job: {CAST, environment: {NAME: job, END: '4'}, restart: always, healthcheck: {disable: true}}\n",
    );
    let ran = up(stacks, &[]).exits(7);
    assert!(ran.stderr.contains("error: `job` ends again and again: it was started "), "{}", ran.stderr);
    assert!(ran.stderr.contains("  end 4\n"), "{}", ran.stderr);
    stacks.run(&["down"]).ok();
}

fn finds_its_port_taken(stacks: &Stacks) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    stacks.compose(&format!("name: port\nservices:\n  web: {{CAST, ports: ['127.0.0.1:{port}:8080']}}\n"));
    let ran = up(stacks, &[]).exits(7);
    assert!(
        ran.stderr.contains(&format!("error: port {port} of 127.0.0.1, which `web` publishes, is taken\n")),
        "{}",
        ran.stderr
    );
    assert_eq!(stacks.containers(), [] as [String; 0]);
    drop(taken);
    up(stacks, &[]).ok();
    stacks.run(&["down"]).ok();
}

fn is_interrupted(stacks: &Stacks) {
    stacks.compose(
        "name: broken
services:
  db: {CAST, environment: {NAME: db, DELAY: '600'}, healthcheck: {test: [CMD, 'false'], interval: 1s, start_period: 600s}}
  web: {CAST, environment: {NAME: web}, depends_on: {db: {condition: service_healthy}}}
",
    );
    let (mut rising, mut said) = rising(stacks);
    interrupt(&mut rising);
    assert_eq!(rising.wait(Duration::from_secs(30)).unwrap().code(), Some(130));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let told = format!(
        "interrupted: of the stack `{}` there is db (running, starting)\nhint: `ingot stack up` goes on from here, \
         `ingot stack down` takes everything down\n",
        stacks.named("broken")
    );
    assert!(rest.contains(&told), "{rest}");
    assert!(!rest.contains("error"), "{rest}");
    assert_eq!(stacks.containers().len(), 1);
    stacks.run(&["down"]).ok();
    assert_eq!(stacks.containers(), [] as [String; 0]);
}

fn cannot_be_started_at_all(stacks: &Stacks) {
    let refused = |text: &str, args: &[&str], code: i32, expected: &str| {
        stacks.compose(&format!("name: refused\nservices:\n  web: {{{text}}}\n"));
        let ran = up(stacks, args).exits(code);
        assert!(ran.stderr.contains(expected), "{text}: {}", ran.stderr);
        assert_eq!(stacks.containers(), [] as [String; 0], "{text}");
    };
    refused("CAST, volumes: ['/run/podman/podman.sock:/s']", &[], 3, "[engine-socket]");
    refused("CAST", &["--env", "production", "--no-check"], 2, "in production nothing starts unchecked");
    refused("build: .", &[], 2, "`web` is built from a Dockerfile, which Ingot does not run");
    refused(
        "image: 'localhost/nothing:1', pull_policy: never",
        &[],
        7,
        "podman has no image `localhost/nothing:1` for `web`",
    );
    refused("x-ingot: {project: ./nowhere}", &[], 2, "casting the image of `web`");
    refused("CAST, privileged: perhaps", &[], 2, "`privileged` is `perhaps`, expected true or false");
    refused(
        "CAST",
        &["--provider", "docker-compose"],
        2,
        "`docker-compose` starts containers of docker, not of podman",
    );
    refused("CAST", &["nobody"], 2, "has no service `nobody`");
    stacks.compose("name: refused\nservices:\n  web: {CAST, entrypoint: [/no/such/program]}\n");
    let ran = up(stacks, &[]).exits(7);
    assert!(
        ran.stderr.contains("error: could not start `web`\n  because: `podman-compose up` failed: "),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("there is web (created)"), "{}", ran.stderr);
}

fn runs_already_from_elsewhere(stacks: &Stacks) {
    stacks.run(&["down"]).ok();
    stacks.compose("name: twice\nservices:\n  web: {CAST, volumes: ['data:/data']}\nvolumes: {data: }\n");
    up(stacks, &[]).ok();
    let other = stacks.path("other");
    std::fs::create_dir(&other).unwrap();
    let name = stacks.named("twice");
    let text = format!(
        "name: {name}\nservices:\n  web: {{x-ingot: {{project: ../app}}, volumes: ['data:/data']}}\nvolumes: {{data: }}\n"
    );
    std::fs::write(other.join("compose.yaml"), text).unwrap();
    let elsewhere =
        |command: &[&str]| stacks.run(&[command, &["-f", other.join("compose.yaml").to_str().unwrap()]].concat());
    for command in ["up", "ps"] {
        let ran = elsewhere(&[command]).exits(7);
        assert!(ran.stderr.contains(&format!("error: a stack called `{name}` runs already, from `")), "{}", ran.stderr);
    }
    assert_eq!(stacks.containers().len(), 1);
    // Nobody sees from its containers whose a stack is that is down.
    stacks.run(&["down"]).ok();
    elsewhere(&["up"]).ok();
    let ran = elsewhere(&["down", "--volumes"]).exits(7);
    let told = format!("error: the volume `{name}_data` is not of this `{name}`, but of that in `");
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    assert_eq!(stacks.containers().len(), 1, "nothing was removed");
    elsewhere(&["down"]).ok();
    let ran = stacks.run(&["down", "--volumes"]).ok();
    assert_eq!(stacks.engine(&["volume", "ls", "--quiet"]).ok().stdout, "", "{}", ran.stderr);
}

/// docker's daemon goes while a service is waited for.
fn the_engine_ends(stacks: &Stacks) {
    stacks.compose(
        "name: gone\nservices:\n  db: {CAST, environment: {NAME: db, DELAY: '600'}, healthcheck: {test: [CMD, 'false'], interval: 1s, start_period: 600s}}\n",
    );
    let (mut rising, mut said) = rising(stacks);
    let Place::Docker(docker) = &stacks.place else { panic!("only docker has a daemon") };
    docker.stop();
    assert_eq!(rising.wait(Duration::from_secs(60)).unwrap().code(), Some(7));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("error: `docker ") && rest.contains("Cannot connect to the Docker daemon"), "{rest}");
    let ran = stacks.run(&["ps"]).exits(7);
    assert!(ran.stderr.contains("Cannot connect to the Docker daemon"), "{}", ran.stderr);
}

#[test]
fn without_a_provider_there_is_advice() {
    let stacks = Stacks::podman();
    stacks.compose("name: none\nservices:\n  web: {CAST}\n");
    let mut command = stacks.command(&["up"]);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let ran = Ran::of(command).exits(7);
    assert!(
        ran.stderr.contains("error: no compose provider can be used: podman-compose is not installed; "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: install podman-compose 1.6 or newer (`pip install podman-compose`)"),
        "{}",
        ran.stderr
    );
    // One that is too old is said to be.
    let old = stacks.path("old");
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("podman-compose"), "#!/bin/sh\necho 'podman-composer  version  1.0.3'\n").unwrap();
    std::fs::set_permissions(old.join("podman-compose"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = stacks.command(&["up"]);
    command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", old.display()));
    let ran = Ran::of(command).exits(7);
    assert!(ran.stderr.contains("podman-compose 1.0.3 is too old: at least 1.6 is needed"), "{}", ran.stderr);
    // Casting needs neither, and says where the images are.
    let mut command = stacks.command(&["build", "--format", "json"]);
    command.env("PATH", "/usr/bin:/bin");
    let built = Ran::of(command).ok().json();
    let layout = format!("oci:{}:web", built["layout"].as_str().unwrap());
    let found = stacks.ingot.run(["inspect", &layout, "--format", "json"]).ok().stdout;
    assert!(found.contains(built["images"][0]["digest"].as_str().unwrap()), "{found}");
}

#[test]
fn the_sandbox_of_a_stack_lives_and_dies_with_it() {
    let stacks = Stacks::podman();
    stacks.compose(
        "name: safe
x-ingot: {sandbox: {project: ./app, max-sessions: 2, timeout: 5s, memory: 128m}}
services:
  web:
    x-ingot: {project: ./app, sandbox: true}
",
    );
    up(&stacks, &[]).ok();
    let ran = "import http.client, json, os, socket
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ['INGOT_SANDBOX'])
unix = Unix('ingot')
unix.request('POST', '/run', json.dumps({'code': 'print(6 * 7)'}))
print(os.getuid(), json.loads(unix.getresponse().read())['stdout']['text'])";
    let web = stacks.ps()["web"]["container"].as_str().unwrap().to_string();
    let ask = || stacks.engine(&["exec", &web, "python", "-c", ran]);
    assert_eq!(ask().ok().stdout, "1001 42\n\n", "another user than the one who serves");
    let found = stacks.ps();
    assert_eq!((&found["sandbox"]["state"], &found["sandbox"]["health"]), (&"running".into(), &"healthy".into()));
    let health = stacks.run(&["health"]).ok().json();
    let pid = health["sandbox"]["pid"].as_i64().unwrap();
    assert_eq!(health["sandbox"]["answer"]["max_sessions"], 2);
    up(&stacks, &[]).ok();
    assert_eq!(stacks.run(&["health"]).ok().json()["sandbox"]["pid"], pid, "it runs as it should");

    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    let error = stacks.run(&["health"]).exits(7).stderr;
    assert!(error.contains("is not well: the sandbox is down"), "{error}");
    assert_eq!(stacks.ps()["sandbox"]["state"], "dead");
    assert_ne!(ask().code, 0);
    up(&stacks, &[]).ok();
    assert_eq!(ask().ok().stdout, "1001 42\n\n", "the same container, another service");
    let pid = stacks.run(&["health"]).ok().json()["sandbox"]["pid"].as_i64().unwrap();

    // A number that is another program's by now is nobody's business.
    let ran = stacks.run(&["down"]).ok();
    assert!(ran.stderr.contains("the sandbox service\n"), "{}", ran.stderr);
    // Whoever adopted it may take a moment to bury it.
    let gone = (0..50).any(|_| {
        let gone = !std::path::Path::new(&format!("/proc/{pid}")).exists();
        gone || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
    });
    assert!(gone, "it is gone");
    assert_eq!(stacks.containers(), [] as [String; 0]);

    // One that cannot be is told before anything is cast.
    stacks.compose("name: safe\nx-ingot: {sandbox: {image: 'localhost/none:1'}}\nservices:\n  web: {x-ingot: {project: ./app, sandbox: true}}\n");
    let ran = up(&stacks, &[]).exits(7);
    let expected = "error: podman has no image `localhost/none:1`, and a sandbox never pulls one\n";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
}
