//! What keeps a stack from being translated: every loss, every mistake, every option.

use std::collections::BTreeSet;

use super::losses::LOSSES;
use super::tests::{refused, stack};
use super::*;
use crate::stack::{Request, Stack};

/// Everything of a service that has no counterpart: each key, a service with it, the line of the problem.
const LOST: &[(&str, &str)] = &[
    ("annotations", "annotations: {'a b': x}"),
    ("blkio_config", "blkio_config: {weight: 3}"),
    ("cgroup", "cgroup: host"),
    ("cgroup_parent", "cgroup_parent: x"),
    ("command", "command: []"),
    ("container_name", "container_name: my_a\n    environment: {HOST: my_a}"),
    ("cpu_count", "cpu_count: 2"),
    ("cpu_percent", "cpu_percent: 2"),
    ("cpu_rt_period", "cpu_rt_period: 2"),
    ("cpu_rt_runtime", "cpu_rt_runtime: 2"),
    ("cpu_shares", "cpu_shares: 2048\n    cpus: 1"),
    ("cpuset", "cpuset: '0'"),
    ("credential_spec", "credential_spec: {file: x}"),
    ("depends_on", "depends_on: {b: {condition: service_healthy}}"),
    ("deploy.endpoint_mode", "deploy: {endpoint_mode: x}"),
    ("deploy.mode", "deploy: {mode: global}"),
    ("deploy.placement", "deploy: {placement: {constraints: [node.role==x]}}"),
    ("deploy.restart_policy", "deploy: {restart_policy: {condition: none}}"),
    ("deploy.rollback_config", "deploy: {rollback_config: {parallelism: 1}}"),
    ("deploy.update_config", "deploy: {update_config: {parallelism: 1}}"),
    ("device_cgroup_rules", "device_cgroup_rules: ['c 1:1 r']"),
    ("devices", "devices: ['/dev/x:/dev/x']"),
    ("dns", "dns: 1.2.3.4"),
    ("domainname", "domainname: x"),
    ("entrypoint", "entrypoint: []"),
    ("environment", "environment: {'1 x': y}"),
    ("external_links", "external_links: [x]"),
    ("extra_hosts", "extra_hosts: ['host.docker.internal:host-gateway']"),
    ("gpus", "gpus: all"),
    ("group_add", "group_add: [audio]"),
    ("hostname", "hostname: A_b"),
    ("ipc", "ipc: host"),
    ("isolation", "isolation: hyperv"),
    ("labels", "labels: {app.kubernetes.io/name: x}"),
    ("labels.proxy", "labels: {traefik.enable: 'true', traefik.http.routers.a.rule: 'Host(`x`)'}"),
    ("logging", "logging: {driver: syslog}"),
    ("mac_address", "mac_address: '02:42:ac:11:65:43'"),
    ("mem_swappiness", "mem_swappiness: 0"),
    ("memswap_limit", "memswap_limit: 1g\n    mem_limit: 512m"),
    ("models", "models: [x]"),
    ("network_mode", "network_mode: host"),
    ("networks.address", "networks: {default: {ipv4_address: 1.2.3.4}}"),
    ("networks.aliases", "networks: {default: {aliases: [a_b]}}"),
    ("oom_kill_disable", "oom_kill_disable: true"),
    ("oom_score_adj", "oom_score_adj: 5"),
    ("pid", "pid: host"),
    ("pids_limit", "pids_limit: 5"),
    ("platform", "platform: plan9/mips"),
    ("ports", "ports: ['80:80']"),
    ("ports.host_ip", "ports: ['10.0.0.1:80:80']"),
    ("post_start", "post_start: [{command: x, user: root}]"),
    ("pre_stop", "pre_stop: [{command: x}, {command: y}]"),
    ("provider", "provider: {type: x}"),
    ("pull_policy", "pull_policy: daily"),
    ("restart", "restart: 'no'\n    expose: [80]"),
    ("runtime", "runtime: runsc"),
    ("secrets.uid", "secrets: [{source: s, uid: '5'}]"),
    ("security_opt", "security_opt: ['apparmor:mine']"),
    ("stop_signal", "stop_signal: SIGINT"),
    ("storage_opt", "storage_opt: {size: 1g}"),
    ("tmpfs", "tmpfs: ['/x:noexec']"),
    ("ulimits", "ulimits: {nofile: 5}"),
    ("use_api_socket", "use_api_socket: true"),
    ("user", "user: nginx"),
    ("userns_mode", "userns_mode: keep-id"),
    ("uts", "uts: host"),
    ("volume_driver", "volume_driver: x"),
    ("volumes.bind", "volumes: ['./x:/x']"),
    ("volumes.type", "volumes: [{type: npipe, target: /x, source: x}]"),
    ("volumes_from", "volumes_from: [b]"),
    ("x-ingot.sandbox", "x-ingot: {sandbox: true}"),
];

#[test]
fn what_has_no_counterpart_names_its_key_and_line() {
    let mut seen: BTreeSet<&str> =
        BTreeSet::from(["networks.driver", "networks.external", "networks.ipam", "volumes.driver", "volumes.shared"]);
    for (key, written) in LOST {
        let text =
            format!("services:\n  b: {{image: x}}\n  a:\n    image: x\n    {written}\nsecrets: {{s: {{file: ./s}}}}\n");
        let publish = Some(Publish::None).filter(|_| *key != "ports");
        let (problems, keys, hint) = refused(&text, &Options { publish, ..Options::default() });
        assert_eq!(keys, [*key], "{written}: {problems:?}");
        assert!(problems[0].starts_with("compose.yaml:5: "), "{written}: {problems:?}");
        assert!(problems[0].contains(&format!("[{key}]\n    ")), "{problems:?}");
        assert!(hint.contains(&format!("`--allow {key}`, or all with `--lossy`")), "{hint}");
        for options in [
            Options { allow: BTreeSet::from([key.to_string()]), publish, ..Options::default() },
            Options { lossy: true, publish, ..Options::default() },
        ] {
            let (_folder, stack) = stack(&text, &[]);
            let manifests = kubernetes(&stack, &options).unwrap();
            assert!(manifests.lost[0].starts_with("compose.yaml:5: "), "{:?}", manifests.lost);
            assert_eq!(manifests.lost.len(), 1, "{:?}", manifests.lost);
        }
        seen.insert(key);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), LOSSES.iter().map(|loss| loss.key).collect::<Vec<_>>());
}

#[test]
fn networks_and_volumes_of_the_stack_are_looked_at() {
    for (key, tail) in [
        ("networks.driver", "networks: {n: {driver: macvlan}}"),
        ("networks.driver", "networks: {n: {driver_opts: {a: b}}}"),
        ("networks.external", "networks: {n: {external: true}}"),
        ("networks.ipam", "networks: {n: {ipam: {driver: default}}}"),
        ("volumes.driver", "volumes: {v: {driver: nfs}}\nnetworks: {n: }"),
        ("volumes.driver", "volumes: {v: {driver_opts: {type: none}}}\nnetworks: {n: }"),
        ("volumes.shared", "volumes: {v: }\nnetworks: {n: }"),
        ("models", "models: {m: {model: x}}\nnetworks: {n: }"),
        ("x-ingot.sandbox", "x-ingot: {sandbox: {image: x}}\nnetworks: {n: }"),
    ] {
        let volumes = if tail.contains("volumes:") { ", volumes: ['v:/v']" } else { "" };
        let volumes = if key == "volumes.shared" { ", volumes: ['v:/v'], scale: 2" } else { volumes };
        let (problems, keys, _) =
            refused(&format!("services:\n  a: {{image: x, networks: [n]{volumes}}}\n{tail}\n"), &Options::default());
        assert_eq!(keys, [key], "{problems:?}");
        assert!(problems[0].starts_with("compose.yaml:3: "), "{problems:?}");
    }
}

/// What is wrong, and cannot be let go.
const MISTAKES: &[(&str, &str)] = &[
    ("a: {image: x, command: \"x 'y\"}", "`command` of `a` has a quote that is not closed\n    close it"),
    ("a: {image: x, expose: [x]}", "`x` in `expose` of `a` is no port\n    write `3000`"),
    ("a: {image: x, ports: [{target: 0}]}", "a port of `a` has no `target` from 1 to 65535"),
    ("a: {image: x, ports: [{target: 1, published: x}]}", "`x` is no port that `a` can be published on"),
    ("a: {image: x, healthcheck: {test: x, interval: 5}}", "`5` in `healthcheck.interval` of `a` is no time"),
    ("a: {image: x, healthcheck: {test: x, retries: x}}", "`healthcheck.retries` of `a` is no number"),
    (
        "a: {image: x, healthcheck: {test: [x]}}",
        "`healthcheck.test` of `a` begins with none of NONE, CMD and CMD-SHELL",
    ),
    ("a: {image: x, x-ingot: {health: /x}}", "`x-ingot.health` of `a` is `/x`, which is no endpoint"),
    ("a: {image: x, mem_limit: x}", "`x` in `mem_limit` of `a` is no amount\n    write `512m`"),
    ("a: {image: x, cpus: x}", "`x` in `cpus` of `a` is no amount\n    write `0.5`"),
    ("a: {image: x, mem_limit: 1m, mem_reservation: 2m}", "`a` reserves more memory than its limit"),
    (
        "a: {image: x, privileged: true, security_opt: [no-new-privileges]}",
        "`a` is privileged, and may gain no privileges",
    ),
    ("a: {image: x, volumes: [{type: volume, source: v, target: 'C:\\x'}]}", "is no path to mount something at"),
    ("a: {image: x, tmpfs: [/x, /x/]}", "two things are mounted at `/x`"),
    (
        "a: {image: x, volumes: [{type: volume, source: v, target: /x, volume: {subpath: ../x}}]}",
        "`subpath` of a volume of `a` climbs out of it",
    ),
    ("a: {image: x, tmpfs: ['/x:size=x']}", "`x` is not the size of a tmpfs of `a`"),
    ("a: {image: x, shm_size: x}", "`x` in `shm_size` of `a` is no amount"),
    ("a: {image: x, secrets: [{source: s, mode: 9}]}", "`9` is not the mode of a file of `a`"),
    ("a: {image: x, ports: [{target: 1, app_protocol: 'a b'}]}", "`app_protocol: a b` of `a` is none for a cluster"),
    ("a: {image: x, volumes: ['out:/x']}", "no object of a cluster is called `out_there`, as the external `out` is"),
    (
        "a: {image: x, environment: {A_PASSWORD: hunter-two}, deploy: {labels: {l: hunter-two}}}",
        "`deploy.labels.l` of `a` has the value of `A_PASSWORD`",
    ),
    ("a: {image: x, scale: x}", "`x` is no number of replicas of `a`"),
    ("a: {image: x, restart: sometimes}", "`restart: sometimes` of `a` is not known"),
    ("a: {image: x, stop_grace_period: 5}", "`5` in `stop_grace_period` of `a` is no time"),
    ("a: {image: 'X Y'}", "`X Y` of `a` is not the reference of an image"),
    (
        "a: {build: ., image: app}",
        "no cluster can fetch the image of `a`: nothing says where it was pushed to\n    push it",
    ),
    ("a: {build: .}", "no cluster can fetch the image of `a`: nothing says where it was pushed to\n    push it"),
    (
        "a: {x-ingot: {project: ./a}}",
        "no cluster can fetch the image of `a`: nothing says where it was pushed to\n    `ingot build --push",
    ),
    ("", "the stack has no service"),
    ("a_b: {image: x}, a-b: {image: x}", "`a-b` and `a_b` would both be called `a-b`"),
    (
        "a_b: {image: x}, c: {image: x, environment: {URL: 'http://a_b/'}}",
        "`c` speaks of `a_b`, which is called `a-b` in a cluster\n    call the service `a-b`",
    ),
    (
        "a: {image: x, restart: always}, b: {image: x, depends_on: {a: {condition: service_completed_successfully}}}",
        "`a` is always restarted, and others wait for its end",
    ),
    ("a: {image: x, volumes: ['odd:/x']}", "there is no key `what` in `x-ingot` of the volume `odd`"),
    ("a: {image: x, volumes: ['odd:/x']}", "`1 g` is not the size of the volume `odd`"),
    ("a: {image: x, networks: [n-1, n_1]}", "the networks `n-1` and `n_1` would both be called `n-1`"),
    (
        "a: {image: x, networks: {n-1: {aliases: [b]}}}, b: {image: x, expose: [1], networks: [n-1]}",
        "two objects would be `Service/b`",
    ),
    ("a: {image: x, configs: [driven]}", "`driver` of the config `driven` is not for a cluster"),
    ("a: {image: x, configs: [away]}", "`../x` is outside of the project's folder"),
    ("a: {image: x, configs: [empty]}", "the config `empty` has no content"),
    ("a: {image: x, configs: [unset]}", "the config `unset` is the variable `NOT_SET_HERE`, which is not set"),
    (
        "a: {image: x, environment: {A_PASSWORD: hunter-two}, healthcheck: {test: [CMD, x, hunter-two]}}",
        "`healthcheck.test` of `a` has the value of `A_PASSWORD`, which no manifest may have",
    ),
    (
        "a: {image: x, environment: {A_PASSWORD: hunter-two}, labels: {l: hunter-two}}",
        "`labels.l` of `a` has the value of `A_PASSWORD`",
    ),
    (
        "a: {image: x, command: redis-server --requirepass abcdef}",
        "`command` of `a` has a password or key behind an option",
    ),
    (
        "a: {image: x, command: [redis-server, --requirepass, abcdef]}",
        "`command` of `a` has a password or key behind an option",
    ),
    (
        "a: {image: x, healthcheck: {test: 'psql postgres://u:abcdef@db'}}",
        "`healthcheck.test` of `a` has a password in a URL",
    ),
    (
        "a: {image: x, configs: [told]}",
        "the config `told` has a password in a URL in line 1, which no manifest may have",
    ),
];

#[test]
fn mistakes_say_what_is_wrong_and_cannot_be_let_go() {
    let tail = "volumes: {v: {x-ingot: {size: 1Gi}}, odd: {x-ingot: {what: x, size: 1 g}}, out: {external: true, name: out_there}}
networks: {n-1: , n_1: }
secrets: {s: {file: ./s}}
configs:
  driven: {driver: x, content: x}
  away: {file: ../x}
  empty: {name: x}
  unset: {environment: NOT_SET_HERE}
  told: {content: 'url = amqp://me:abcdef@h'}
";
    for (services, expected) in MISTAKES {
        let text = format!("services: {{{services}}}\n{tail}");
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("compose.yaml"), &text).unwrap();
        let request = Request { folder: Some(parent.path().into()), ..Request::default() };
        let stack = Stack::load(&request).unwrap_or_else(|error| panic!("{text}: {error}"));
        let error = kubernetes(&stack, &Options { lossy: true, ..Options::default() }).unwrap_err();
        let Some(Error::Untranslatable { problems, keys }) = error.cause().downcast_ref() else { panic!("{error}") };
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
        assert!(
            problems.iter().all(|problem| problem.starts_with("compose.yaml") && problem.contains("\n    ")),
            "{problems:?}"
        );
        assert!(keys.is_empty() && !problems.concat().contains("abcdef"), "{problems:?}");
        assert_eq!(error.hint().as_deref(), Some("correct them: none can be let go"));
        assert!(error.to_string().starts_with("the stack cannot be translated as it is: "), "{error}");
    }
}

#[test]
fn options_are_held_against_the_stack() {
    let (_folder, stack) = stack("services: {web: {image: x}}\n", &[]);
    type Case<'a> = (&'a str, &'a str, fn(&mut Options));
    let cases: [Case<'_>; 6] = [
        ("nothing is lost under the key `pids_limits`", "did you mean `pids_limit`?", |o| {
            o.allow.extend(["pids_limits".to_string()])
        }),
        ("`--image wep=...`: the stack has no service `wep`", "did you mean `web`?", |o| {
            drop(o.images.insert("wep".into(), "x".into()))
        }),
        ("`--image web=...`: `X Y` is not the reference of an image", "write `--image SERVICE=", |o| {
            o.images.insert("web".into(), "X Y".into());
        }),
        (
            "`--image web=...`: `https://me:***@host/x` is not the reference of an image",
            "write `--image SERVICE=",
            |o| {
                o.images.insert("web".into(), "https://me:hunter2@host/x".into());
            },
        ),
        ("`My_Space` cannot be the name of a namespace", "take at most 63", |o| o.namespace = Some("My_Space".into())),
        ("`1 GB` is not the size of a volume", "write it as Kubernetes does", |o| o.volume_size = Some("1 GB".into())),
    ];
    for (message, hint, change) in cases {
        let mut options = Options::default();
        change(&mut options);
        let error = kubernetes(&stack, &options).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class().code()), (message, 2));
        assert!(error.hint().unwrap().starts_with(hint), "{:?}", error.hint());
    }
}
