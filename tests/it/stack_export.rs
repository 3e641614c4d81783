//! `ingot stack export`: the manifests are valid for Kubernetes' own schemas, and have no secret in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::*;

/// The Python that has the schemas.
fn python() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/kubernetes/bin/python3");
    assert!(path.exists(), "{} is missing: make target/tools/kubernetes", path.display());
    path
}

#[track_caller]
fn checked(folder: &Path) -> Ran {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/manifests.py")).arg(folder);
    Ran::of(command)
}

/// Holds every `X.yaml` of a folder against `X.json` and Kubernetes.
#[track_caller]
fn hold(folder: &Path) {
    let ran = checked(folder);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// Exports the stack of the folder that `ingot` runs in as `NAME.yaml` and `NAME.json` of another folder.
#[track_caller]
fn export(ingot: &Ingot, folder: &Path, name: &str, more: &[&str]) -> String {
    let args = [&["stack", "export", "--kubernetes"], more].concat();
    let yaml = ingot.run(&args).ok();
    let json = ingot.run([&args[..], &["--format", "json"]].concat()).ok();
    std::fs::write(folder.join(format!("{name}.yaml")), &yaml.stdout).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), &json.stdout).unwrap();
    assert_eq!(yaml.stderr, json.stderr);
    yaml.stdout + &yaml.stderr
}

/// Stacks of different kinds, and what has to be said to export them.
const STACKS: &[(&str, &str, &[&str])] = &[
    ("least", "services: {a: {image: x}}\n", &[]),
    ("ports", "services: {web: {image: nginx, ports: ['80:80', '443:443', '53:53/udp', '443:8443']}}\n", &["--publish", "load-balancer"]),
    ("node-ports", "services: {web: {image: nginx, ports: ['30080:80', '81:80']}}\n", &["--publish", "node-port", "--namespace", "web"]),
    ("ranges", "services: {web: {image: nginx, ports: ['127.0.0.1:8000-8005:9000-9005', '9010-9020:9010'], expose: [1, '5-7/udp']}}\n", &["--publish", "none"]),
    (
        "wordpress",
        "services:
  db: {image: 'mariadb:11', restart: always, environment: {MYSQL_ROOT_PASSWORD: s0mewordpress, MYSQL_DATABASE: wordpress}, volumes: ['db_data:/var/lib/mysql'], command: '--default-authentication-plugin=mysql_native_password', expose: [3306, 33060]}
  wordpress: {image: wordpress, ports: ['80:80'], restart: always, environment: [WORDPRESS_DB_HOST=db, WORDPRESS_DB_PASSWORD=wordpress], volumes: [wp_data:/var/www/html]}
volumes: {db_data: , wp_data: }
",
        &["--publish", "none", "--volume-size", "5Gi"],
    ),
    (
        "voting",
        "services:
  vote: {image: vote, command: python app.py, depends_on: {redis: {condition: service_healthy}}, healthcheck: {test: [CMD, curl, -f, 'http://localhost'], interval: 15s, timeout: 5s, retries: 3, start_period: 10s}, networks: [front-tier, back-tier], ports: ['127.0.0.1:5000:80']}
  redis: {image: 'redis:alpine', healthcheck: {test: /healthchecks/redis.sh, interval: 5s}, networks: [back-tier]}
  worker: {image: worker, networks: [back-tier], deploy: {replicas: 3, resources: {limits: {cpus: '0.25', memory: 100M}, reservations: {memory: 20M}}}}
networks: {front-tier: , back-tier: {internal: true}}
",
        &["--allow", "depends_on"],
    ),
    (
        "jobs",
        "services:
  migrate: {image: app, command: [./migrate], restart: on-failure, volumes: ['data:/data']}
  seed: {image: app, restart: 'no', init: true}
  app: {image: app, depends_on: {migrate: {condition: service_completed_successfully}}, volumes: ['data:/data:ro']}
volumes: {data: {x-ingot: {size: 500Mi, storage-class: shared}}}
",
        &["--allow", "depends_on"],
    ),
    (
        "names",
        "name: my_Stack_\nservices:
  My_Web.1: {image: x, expose: [80], networks: [a_b]}
  9lives: {image: x, networks: [a_b, '1']}
  a-service-with-a-name-that-is-much-longer-than-any-label-of-dns-may-ever-be: {image: x, volumes: ['Some_Volume.1:/d'], networks: [a_b]}
networks: {a_b: {internal: true}, '1': }
volumes: {Some_Volume.1: }
",
        &[],
    ),
    (
        "configs",
        "services: {web: {image: x, configs: [{source: c, target: /etc/c}, b, script], secrets: [{source: s, mode: 0400}]}}
configs: {c: {content: \"on\\n\\n  - x: 'y'\\n\\ttab\\n\"}, b: {file: ./binary}, script: {content: \"#!/bin/sh\\necho $$(date)\\n\"}}
secrets: {s: {environment: S}}
",
        &[],
    ),
    (
        "security",
        "services:
  a: {image: x, user: '1000', cap_drop: [all], cap_add: [NET_BIND_SERVICE, CAP_CHOWN], security_opt: ['no-new-privileges:true'], read_only: true, tmpfs: [/tmp, '/run:size=1m'], sysctls: [net.ipv4.ip_unprivileged_port_start=0]}
  b: {image: x, privileged: true, user: root}
  c: {image: x, user: '0:5', security_opt: ['seccomp:unconfined'], group_add: ['7']}
",
        &[],
    ),
    (
        "strings",
        "services:
  a:
    image: x
    command: ['yes', 'on', '1e3', '0x1', 'null', '~', '2001-01-01', '0777', '1_000', '1:30', '', ' ', '=', '<<', '- x', 'k: v', '# x', \"a\\nb\\n\", \"\\u0085\\u2028\\ufeff\\u200b\", '😀', '$$(X) $$$$']
    environment: {Y: 'yes', N: 'n', NULLED: 'null', NUMBER: 1e3, OCTAL: '0o17', DATE: '2024-01-01', EMPTY: '', MANY: \"a\\n b\\n\\nc\", SPACES: ' a ', TRUE: 'true'}
    labels: {'yes': 'no', n: '1', long: 'a b', empty: ''}
    annotations: {a/b: \"x\\ny\"}
",
        &[],
    ),
    ("gpu", "services: {a: {image: x, gpus: [{count: 2}], shm_size: 1g, ulimits: {memlock: -1}, ipc: host}}\n", &["--lossy"]),
    ("isolated", "services: {a: {image: x, network_mode: none}, b: {image: x, extra_hosts: ['h:1.2.3.4'], hostname: b, dns_search: x.y}}\n", &[]),
    ("links", "services: {db: {image: x, networks: {n: {aliases: [store]}}, ports: ['127.0.0.1::5432']}, a: {image: x, networks: [n], links: ['db:sql']}}\nnetworks: {n: }\n", &[]),
    ("cast", "services: {a: {x-ingot: {project: ./a, health: 'http://:3000/healthz'}, platform: linux/amd64}, b: {build: ., user: '10:10', volumes: ['v:/v', '/anon']}}\nvolumes: {v: }\n", &["--image", "a=registry.example/a:1", "--image", "b=registry.example/b:1"]),
    ("everything-lost", "services: {a: {image: x, pids_limit: 5, devices: ['/dev/x'], cpuset: '0', volumes: ['./x:/x', '/var/run/docker.sock:/s'], network_mode: host, ports: ['1.2.3.4:5:5'], user: nobody, stop_signal: SIGINT, logging: {driver: syslog}, deploy: {placement: {max_replicas_per_node: 1}}}}\n", &["--lossy"]),
];

#[test]
fn many_stacks_are_valid_manifests() {
    let folder = Scratch::new();
    std::fs::create_dir(folder.join("out")).unwrap();
    for (name, text, more) in STACKS {
        let ingot = Ingot::new();
        std::fs::write(ingot.path("compose.yaml"), text).unwrap();
        std::fs::write(ingot.path("binary"), b"\xff\x00\xfe").unwrap();
        let written = export(&ingot, &folder.join("out"), name, more);
        assert!(!written.contains("s0mewordpress"), "{name}: {written}");
    }
    hold(&folder.join("out"));
}

/// A platform of three services, as `examples/stack`, with everything that a usual stack has.
const PLATFORM: &str = "name: platform
x-hardened: &hardened
  read_only: true
  cap_drop: [ALL]
  security_opt: ['no-new-privileges:true']
  restart: unless-stopped
  tmpfs: ['/tmp:size=16m,mode=1777']
services:
  postgres:
    <<: *hardened
    image: postgres:16@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    user: '999:999'
    environment: {POSTGRES_USER: app, POSTGRES_DB: app, POSTGRES_PASSWORD: '${DB_PASSWORD:?}', PGDATA: /data/pg}
    volumes: ['data:/data']
    configs: [{source: init, target: /docker-entrypoint-initdb.d/init.sql}]
    networks: [database]
    mem_limit: 512m
    healthcheck: {test: [CMD-SHELL, 'pg_isready -U \"$$POSTGRES_USER\"'], interval: 5s, timeout: 3s, retries: 5, start_period: 20s}
  express:
    <<: *hardened
    x-ingot: {project: ./express, health: 'http://:3000/api/health'}
    user: '1001:1001'
    environment: {NODE_ENV: production, FLASK_URL: 'http://flask:5000', DATABASE_URL: 'postgres://app:${DB_PASSWORD:?}@postgres/app', JWT_SECRET: '${JWT_SECRET:?}'}
    secrets: [session_key]
    networks: [front, games, database]
    ports: ['127.0.0.1:8080:3000']
    deploy: {replicas: 2, resources: {limits: {cpus: '0.5', memory: 256m}, reservations: {memory: 128m}}}
    depends_on: {postgres: {condition: service_healthy}}
  flask:
    <<: *hardened
    x-ingot: {project: ./flask}
    user: '1001:1001'
    environment: {MAX_GAMES: 5}
    expose: [5000]
    networks: [games]
    stop_grace_period: 30s
    healthcheck: {test: [CMD, python, -m, games.health], interval: 10s}
    depends_on: [express]
networks: {front: , games: {internal: true}, database: {internal: true}}
volumes: {data: {x-ingot: {size: 10Gi}}}
configs: {init: {content: \"CREATE TABLE IF NOT EXISTS games (id serial);\\nSELECT 1;\\n\"}}
secrets: {session_key: {file: ./session_key}}
";
const PASSWORDS: [&str; 3] = ["correct-horse-battery", "jwt-0123456789abcdef", "session-0123456789"];

fn platform() -> Ingot {
    let ingot = Ingot::new().env("DB_PASSWORD", PASSWORDS[0]).env("JWT_SECRET", PASSWORDS[1]);
    std::fs::write(ingot.path("compose.yaml"), PLATFORM).unwrap();
    std::fs::write(ingot.path("session_key"), PASSWORDS[2]).unwrap();
    ingot
}

const PLATFORM_ARGS: [&str; 8] = [
    "--namespace",
    "platform",
    "--image",
    "express=registry.example/platform/express@sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "--image",
    "flask=registry.example/platform/flask@sha256:2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "--allow",
    "depends_on",
];

#[test]
fn a_whole_platform_is_the_golden_file_and_has_no_secret() {
    let ingot = platform();
    let folder = Scratch::new();
    std::fs::create_dir(folder.join("out")).unwrap();
    let written = export(&ingot, &folder.join("out"), "platform", &PLATFORM_ARGS);
    hold(&folder.join("out"));
    let (golden, fresh) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/platform.yaml"),
        std::fs::read_to_string(folder.join("out/platform.yaml")).unwrap(),
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &fresh).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert!(
        fresh == expected,
        "tests/golden/platform.yaml differs: UPDATE=1 cargo test --test it stack_export\n{fresh}"
    );
    // The checker sees what is wrong.
    let broken = fresh.replace("readOnlyRootFilesystem", "readOnlyRootFilesytem");
    std::fs::write(folder.join("out/platform.yaml"), broken).unwrap();
    let ran = checked(&folder.join("out"));
    assert!(ran.code == 1 && ran.stdout.contains("'readOnlyRootFilesytem' was unexpected"), "{}", ran.stdout);
    // As a folder: the same objects, one a file; and no value anywhere.
    let args = [&["stack", "export", "--kubernetes", "-o", "made"], &PLATFORM_ARGS[..]].concat();
    ingot.run(&args).ok();
    let mut all = written;
    let mut files = 0;
    for entry in std::fs::read_dir(ingot.path("made")).unwrap() {
        all += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
        files += 1;
    }
    assert_eq!(files, fresh.matches("\nkind: ").count() + 1);
    for password in PASSWORDS {
        assert!(!all.contains(password), "{password} is written: {all}");
    }
    assert!(
        all.contains("kubectl create secret generic express-env --namespace platform --from-literal=DATABASE_URL=")
    );
}

#[test]
fn what_is_wrong_is_shown_at_once_with_its_lines() {
    let ingot = platform();
    let ran = ingot.run(["stack", "export", "--kubernetes"]).exits(2);
    assert!(ran.stdout.is_empty());
    assert!(ran.stderr.starts_with("error: the stack cannot be translated as it is: 3 problems\n"), "{}", ran.stderr);
    for expected in [
        "compose.yaml:21: no cluster can fetch the image of `express`: nothing says where it was pushed to\n    `ingot build --push REGISTRY/NAME:TAG` it, and say `--image express=REGISTRY/NAME@sha256:DIGEST`\n",
        "compose.yaml:28: that `express` starts only when `postgres` is healthy has no counterpart: all services start at once [depends_on]\n",
        "hint: correct them, or let go of what may be lost: `--allow depends_on`, or all with `--lossy`\n",
    ] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    assert!(!PASSWORDS.iter().any(|password| ran.stderr.contains(password)), "{}", ran.stderr);
    // Nothing is written, and what is there of others stays.
    ingot.run(["stack", "export", "--kubernetes", "-o", "made"]).exits(2);
    assert!(!ingot.path("made").exists());
    let ran = ingot.run([&["stack", "export", "--kubernetes", "-o", "."], &PLATFORM_ARGS[..]].concat()).exits(2);
    assert!(
        ran.stderr.contains("could not write into `.`: `compose.yaml` there is not of `ingot stack export`"),
        "{}",
        ran.stderr
    );
    std::fs::write(ingot.path("weak.yaml"), "services: {a: {image: x, environment: {DB_PASSWORD: secret}}}\n").unwrap();
    let weak = ["stack", "export", "--kubernetes", "-f", "weak.yaml"];
    let ran = ingot.run([&weak[..], &["--env", "production"]].concat()).exits(3);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("[secret-value]"), "{}", ran.stderr);
    ingot.run([&weak[..], &["-o", "weak.yaml"]].concat()).exits(2);
    assert!(std::fs::read_to_string(ingot.path("weak.yaml")).unwrap().starts_with("services: "));
    ingot.run(weak).ok();
    assert!(ingot.run(["stack", "export"]).exits(2).stderr.contains("--kubernetes"));
    let ran = ingot.run(["stack", "export", "--kubernetes", "--image", "web"]).exits(2);
    assert!(ran.stderr.contains("expected SERVICE=REFERENCE"), "{}", ran.stderr);
}

#[test]
fn the_example_is_exported() {
    let example = copy_of("stack");
    let ingot = Ingot::new().within(&example.folder());
    let folder = Scratch::new();
    std::fs::create_dir(folder.join("out")).unwrap();
    let images: Vec<String> =
        ["postgres", "express", "flask"].map(|name| format!("{name}=registry.example/games/{name}:1")).into();
    let mut args: Vec<&str> = images.iter().flat_map(|image| ["--image", image]).collect();
    args.extend(["--allow", "depends_on,pids_limit,stop_signal,x-ingot.sandbox"]);
    let written = export(&ingot, &folder.join("out"), "example", &args);
    hold(&folder.join("out"));
    for expected in ["kind: StatefulSet\n", "kind: NetworkPolicy\n", "readOnlyRootFilesystem: true\n"] {
        assert!(written.contains(expected), "{expected}: {written}");
    }
}

#[test]
fn any_text_is_read_back_by_another_reader() {
    let mut runner = TestRunner::deterministic();
    let strange = prop_oneof![
        "\\PC{0,12}",
        "[ \\t\\n#:\\-?,\\[\\]{}&*!|>'\"%@`~=.0-9a-z]{0,10}",
        "[0-9eE+._x:o-]{1,8}",
        "([a-z]{0,5}[ \\t]?\n){1,4}[ a-z]{0,3}",
        any::<String>(),
        proptest::sample::select(vec![
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "null",
            "Null",
            "~",
            "true",
            "False",
            ".inf",
            "-.INF",
            ".nan",
            "0x1F",
            "0o17",
            "017",
            "1_000",
            "1:30",
            "190:20:30.15",
            "2001-12-14t21:59:43.10-05:00",
            "2002-12-14",
            "=",
            "<<",
            "---",
            "...",
            "--- a",
            "!!str",
            "&a",
            "*a",
            "\u{85}",
            "\u{2028}a",
            "\u{feff}",
            "\u{a0}",
            "\u{7f}",
            "\r\n",
            "a\r\nb",
            "\ta",
            "a \nb",
            "a\n\n\n"
        ])
        .prop_map(String::from),
    ];
    let folder = Scratch::new();
    std::fs::create_dir(folder.join("out")).unwrap();
    let values: Vec<String> = (0..3000).map(|_| strange.new_tree(&mut runner).unwrap().current()).collect();
    // In a mapping, in a list, as a key, in a list of mappings.
    let named: serde_json::Map<String, Value> =
        values.iter().enumerate().map(|(n, text)| (format!("k{n}"), json!(text))).collect();
    let keys: serde_json::Map<String, Value> =
        values.iter().filter(|text| text.chars().count() < 100).map(|text| (text.clone(), json!(1))).collect();
    let deep: Vec<Value> =
        values.iter().map(|text| json!({"a": [[text]], "b": {"c": text}, "d": [{"e": text}]})).collect();
    let all = json!({"named": named, "keys": keys, "listed": values, "deep": deep});
    std::fs::write(folder.join("out/x.yaml"), ingot::stack::render::manifest(&all)).unwrap();
    std::fs::write(folder.join("out/x.json"), all.to_string()).unwrap();
    hold(&folder.join("out"));
}
