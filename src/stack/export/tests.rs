//! Whole stacks, translated.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::losses::LOSSES;
use super::*;
use crate::error::Explain;
use crate::stack::{Request, Stack};

/// A stack of one file, and others beside it.
pub(super) fn stack(text: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Stack) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("shop");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in files.iter().chain(&[("compose.yaml", text)]) {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let stack = Stack::load(&Request { folder: Some(folder), ..Request::default() }).unwrap();
    (parent, stack)
}

fn exported(text: &str, change: impl FnOnce(&mut Options)) -> Manifests {
    let (_folder, stack) = stack(text, &[]);
    let mut options = Options::default();
    change(&mut options);
    kubernetes(&stack, &options).unwrap_or_else(|error| panic!("{error}\n{}", error.details().unwrap_or_default()))
}

fn refused(text: &str, options: &Options) -> (Vec<String>, Vec<&'static str>, String) {
    let (_folder, stack) = stack(text, &[]);
    let error = kubernetes(&stack, options).unwrap_err();
    assert_eq!(error.class().code(), 2);
    let hint = error.hint().unwrap();
    match error.cause().downcast_ref::<Error>().unwrap() {
        Error::Untranslatable { problems, keys } => (problems.clone(), keys.clone(), hint),
        other => panic!("{other}"),
    }
}

/// The object of a kind and a name.
fn object<'a>(manifests: &'a Manifests, title: &str) -> &'a Json {
    let (kind, name) = title.split_once('/').unwrap();
    let found = manifests.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{title} is not among {:?}", titles(manifests)))
}

fn titles(manifests: &Manifests) -> Vec<String> {
    let text = |json: &Json| json.as_str().unwrap().to_string();
    manifests.objects.iter().map(|one| format!("{}/{}", text(&one["kind"]), text(&one["metadata"]["name"]))).collect()
}

/// Holds text against `tests/golden/NAME.yaml`; `UPDATE=1 cargo test` writes it as it is now.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "tests/golden/{name}.yaml is out of date: UPDATE=1 cargo test stack::export\n{text}");
}

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
    ("label_file", "label_file: x"),
    ("labels", "labels: {app.kubernetes.io/name: x}"),
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
        BTreeSet::from(["networks.driver", "networks.external", "networks.ipam", "volumes.driver"]);
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
        ("models", "models: {m: {model: x}}\nnetworks: {n: }"),
        ("x-ingot.sandbox", "x-ingot: {sandbox: {image: x}}\nnetworks: {n: }"),
    ] {
        let volumes = if tail.contains("volumes:") { ", volumes: ['v:/v']" } else { "" };
        let (problems, keys, _) =
            refused(&format!("services:\n  a: {{image: x, networks: [n]{volumes}}}\n{tail}\n"), &Options::default());
        assert_eq!(keys, [key], "{problems:?}");
        assert!(problems[0].starts_with("compose.yaml:3: "), "{problems:?}");
    }
}

/// What is wrong, and cannot be let go.
const MISTAKES: &[(&str, &str)] = &[
    ("a: {image: x, command: \"x 'y\"}", "`command` of `a` has a quote that is not closed\n    close it"),
    ("a: {image: x, env_file: ../e}", "`../e` is outside of the project's folder\n    only files"),
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
    ("a: {image: x, volumes: ['v:x']}", "`x` is no path to mount something at"),
    ("a: {image: x, tmpfs: [/x, /x/]}", "two things are mounted at `/x`"),
    (
        "a: {image: x, volumes: [{type: volume, source: v, target: /x, volume: {subpath: ../x}}]}",
        "`subpath` of a volume of `a` climbs out of it",
    ),
    ("a: {image: x, tmpfs: ['/x:size=x']}", "`x` is not the size of a tmpfs of `a`"),
    ("a: {image: x, shm_size: x}", "`x` in `shm_size` of `a` is no amount"),
    ("a: {image: x, secrets: [{source: s, mode: 9}]}", "`9` is not the mode of a file of `a`"),
    ("a: {image: x, scale: x}", "`x` is no number of replicas of `a`"),
    ("a: {image: x, restart: sometimes}", "`restart: sometimes` of `a` is not known"),
    ("a: {image: x, stop_grace_period: 5}", "`5` in `stop_grace_period` of `a` is no time"),
    ("a: {image: 'X Y'}", "`X Y` of `a` is not the reference of an image"),
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
    ("a: {image: x, configs: [hidden]}", "the config `hidden` has the secret `APP_SECRET`"),
    (
        "a: {image: x, environment: {A_PASSWORD: hunter-two}, command: [x, hunter-two]}",
        "`command` of `a` has the value of `A_PASSWORD`, which no manifest may have",
    ),
    (
        "a: {image: x, environment: {A_PASSWORD: hunter-two}, labels: {l: hunter-two}}",
        "`labels` of `a` has the value of `A_PASSWORD`",
    ),
    ("a: {image: x, command: redis-server --requirepass abcdef}", "`command` of `a` has a password or key"),
    ("a: {image: x, command: [redis-server, --requirepass, abcdef]}", "`command` of `a` has a password or key"),
    (
        "a: {image: x, healthcheck: {test: 'psql postgres://u:abcdef@db'}}",
        "`healthcheck.test` of `a` has a password or key",
    ),
    ("a: {image: x, configs: [told]}", "`configs` of `a` has a password or key"),
];

#[test]
fn mistakes_say_what_is_wrong_and_cannot_be_let_go() {
    let tail = "volumes: {v: {x-ingot: {size: 1Gi}}, odd: {x-ingot: {what: x, size: 1 g}}}
networks: {n-1: , n_1: }
secrets: {s: {file: ./s}}
configs:
  driven: {driver: x, content: x}
  away: {file: ../x}
  empty: {name: x}
  unset: {environment: NOT_SET_HERE}
  hidden: {environment: APP_SECRET}
  told: {content: 'url = amqp://me:abcdef@h'}
";
    for (services, expected) in MISTAKES {
        let text = format!("services: {{{services}}}\n{tail}");
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("compose.yaml"), &text).unwrap();
        let environment = std::collections::BTreeMap::from([("APP_SECRET".to_string(), "x".to_string())]);
        let request = Request { folder: Some(parent.path().into()), environment, ..Request::default() };
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
    let cases: [Case<'_>; 5] = [
        ("nothing is lost under the key `pids_limits`", "did you mean `pids_limit`?", |o| {
            drop(o.allow.insert("pids_limits".into()))
        }),
        ("`--image wep=...`: the stack has no service `wep`", "did you mean `web`?", |o| {
            drop(o.images.insert("wep".into(), "x".into()))
        }),
        ("`--image web=...`: `X Y` is not the reference of an image", "write `--image SERVICE=", |o| {
            o.images.insert("web".into(), "X Y".into());
        }),
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

#[test]
fn a_service_is_run_by_what_it_needs() {
    let all = exported(
        "services:
  web: {image: x, ports: ['127.0.0.1:8080:80'], scale: 2}
  quiet: {image: x}
  db: {image: x, volumes: ['data:/d', 'other:/e']}
  migrate: {image: x, restart: 'on-failure:3', volumes: ['dump:/d']}
  app: {image: x, depends_on: {migrate: {condition: service_completed_successfully}}}
  once: {image: x, restart: 'no'}
  one: {image: x, volumes: ['both:/b']}
  two: {image: x, volumes: ['both:/b'], network_mode: none}
  old: {image: x, volumes: ['ext:/b'], networks: [alone]}
  many: {image: x, volumes: ['shared:/b'], deploy: {replicas: 3}}
networks: {alone: }
volumes: {data: {x-ingot: {size: 2Gi, storage-class: fast}}, other: , dump: , both: , ext: {external: true, name: there}, shared: }
",
        |options| options.allow = BTreeSet::from(["depends_on".into()]),
    );
    assert_eq!(
        titles(&all),
        [
            "PersistentVolumeClaim/both",
            "PersistentVolumeClaim/dump",
            "PersistentVolumeClaim/shared",
            "Service/app",
            "Service/db",
            "Service/many",
            "Service/old",
            "Service/one",
            "Service/quiet",
            "Service/two",
            "Service/web",
            "Deployment/app",
            "Deployment/quiet",
            "Deployment/web",
            "StatefulSet/db",
            "StatefulSet/many",
            "StatefulSet/old",
            "StatefulSet/one",
            "StatefulSet/two",
            "Job/migrate",
            "Job/once",
            "NetworkPolicy/network-alone",
            "NetworkPolicy/network-default",
            "NetworkPolicy/two-isolated",
        ]
    );
    let claims = &object(&all, "StatefulSet/db")["spec"]["volumeClaimTemplates"];
    assert_eq!(claims[0]["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(claims[0]["spec"]["storageClassName"], "fast");
    assert_eq!((claims[1]["metadata"]["name"].as_str(), claims.as_array().unwrap().len()), (Some("other"), 2));
    for (name, mode) in [("both", "ReadWriteMany"), ("dump", "ReadWriteOnce"), ("shared", "ReadWriteMany")] {
        let claim = object(&all, &format!("PersistentVolumeClaim/{name}"));
        assert_eq!(claim["spec"]["accessModes"][0], mode, "{name}");
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    }
    let old = &object(&all, "StatefulSet/old")["spec"]["template"]["spec"];
    assert_eq!(old["volumes"][0]["persistentVolumeClaim"]["claimName"], "there");
    assert_eq!(old["containers"][0]["volumeMounts"][0]["subPath"], Json::Null);
    let job = |name: &str| object(&all, &format!("Job/{name}"))["spec"].clone();
    assert_eq!((job("migrate")["backoffLimit"].as_u64(), job("once")["backoffLimit"].as_u64()), (Some(3), Some(0)));
    assert_eq!(job("migrate")["template"]["spec"]["restartPolicy"], "OnFailure");
    assert_eq!(job("once")["template"]["spec"]["restartPolicy"], "Never");
    assert_eq!(object(&all, "Deployment/web")["spec"]["replicas"], 2);
    let headless = |name: &str| object(&all, &format!("Service/{name}"))["spec"]["clusterIP"].clone();
    assert_eq!((headless("db"), headless("quiet"), headless("web")), ("None".into(), "None".into(), Json::Null));
    let isolated = &object(&all, "NetworkPolicy/two-isolated")["spec"];
    assert_eq!((&isolated["ingress"], &isolated["egress"]), (&Json::Null, &Json::Null));
    for expected in [
        "`web` is published on this machine only, and so on none: `kubectl port-forward service/web 8080:80`",
        "the PersistentVolumeClaim `there` must be there",
        "the volume `both` has several users: its storage class must offer ReadWriteMany",
        "the volume `other` asks for 1Gi",
        "`quiet` has no probe",
    ] {
        assert!(all.notes.iter().any(|note| note.contains(expected)), "{expected}: {:#?}", all.notes);
    }
    assert!(!all.notes.iter().any(|note| note.contains("the volume `data`")), "{:#?}", all.notes);
}

#[test]
fn published_ports_are_decided_about() {
    let text = "services: {web: {image: x, ports: ['80:8080', '30053:53/udp', '443:8080', '127.0.0.1:9:9']}}\n";
    let (problems, keys, _) = refused(text, &Options::default());
    assert_eq!(keys, ["ports"]);
    assert!(
        problems[0].contains("that `web` is published for everybody, on port 30053, 80, 443 has no counterpart"),
        "{problems:?}"
    );
    let public = |publish| exported(text, |options| options.publish = Some(publish));
    let none = public(Publish::None);
    assert_eq!(titles(&none), ["Service/web", "Deployment/web", "NetworkPolicy/network-default"]);
    let ports = &object(&none, "Service/web")["spec"]["ports"];
    let numbers: Vec<u64> = ports.as_array().unwrap().iter().map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [9, 53, 8080]);
    let balanced = public(Publish::LoadBalancer);
    let spec = &object(&balanced, "Service/web-public")["spec"];
    assert_eq!(spec["type"], "LoadBalancer");
    let told = |port: &Json| format!("{} {}->{}", port["protocol"], port["port"], port["targetPort"]);
    let ports: Vec<String> = spec["ports"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(ports, ["\"UDP\" 30053->53", "\"TCP\" 80->8080", "\"TCP\" 443->8080"]);
    let policy = &object(&balanced, "NetworkPolicy/web-public")["spec"]["ingress"];
    assert_eq!(policy.to_string(), r#"[{"ports":[{"port":53,"protocol":"UDP"},{"port":8080,"protocol":"TCP"}]}]"#);
    let nodes = public(Publish::NodePort);
    let spec = &object(&nodes, "Service/web-public")["spec"];
    assert_eq!((&spec["ports"][0]["nodePort"], &spec["ports"][1]["nodePort"]), (&30053.into(), &Json::Null));
    assert!(nodes.notes.iter().any(|note| note.contains("chooses a port from 30000 to 32767")), "{:?}", nodes.notes);
}

#[test]
fn who_shares_a_network_may_talk_and_internal_ones_lead_nowhere() {
    let all = exported(
        "services: {a: {image: x, networks: [front, back]}, b: {image: x, networks: [back]}}\nnetworks: {front: , back: {internal: true}}\n",
        |_| {},
    );
    let labels =
        |name: &str| object(&all, &format!("Deployment/{name}"))["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(
        (&labels("a")["network.ingot/front"], &labels("b")["network.ingot/front"]),
        (&"true".into(), &Json::Null)
    );
    let front = &object(&all, "NetworkPolicy/network-front")["spec"];
    assert_eq!(front["egress"].to_string(), "[{}]");
    let back = &object(&all, "NetworkPolicy/network-back")["spec"];
    let member = r#"{"podSelector":{"matchLabels":{"app.kubernetes.io/part-of":"shop","network.ingot/back":"true"}}}"#;
    assert_eq!(back["ingress"].to_string(), format!(r#"[{{"from":[{member}]}}]"#));
    assert_eq!(back["egress"][0].to_string(), format!(r#"{{"to":[{member}]}}"#));
    assert_eq!(back["egress"][1]["ports"][0]["port"], 53);
    assert_eq!(back["egress"].as_array().unwrap().len(), 2);
}

#[test]
fn secrets_are_references_wherever_they_stand() {
    let files = [("w.env", "FROM_FILE_TOKEN=tok-0123456789\nPLAIN=1\n"), ("s", "file-secret\n")];
    let text = "services:
  web:
    image: x
    env_file: w.env
    environment:
      - A_PASSWORD=pass-0123456789
      - URL=postgres://u:inurl-0123456789@db/x
      - DSN=host=db password=dsn-0123456789
      - AGAIN=x-pass-0123456789-y
      - MODE=a$$b $$(c)
      - PASSED_ON
      - API_USER=admin
      - ADMIN_PASSWORD=admin
    secrets: [s, {source: t, target: tt, mode: '0440'}, {source: e, target: /e}]
secrets: {s: {file: ./s}, t: {environment: T_VALUE}, e: {external: true, name: there}}
";
    let (_folder, stack) = stack(text, &files);
    let all = kubernetes(&stack, &Options::default()).unwrap();
    let written = all.yaml() + &all.list().to_string() + &all.files().into_values().collect::<String>();
    for value in ["0123456789", "file-secret"] {
        assert!(!written.contains(value), "{value}: {written}");
    }
    let pod = &object(&all, "Deployment/web")["spec"]["template"]["spec"];
    let env: Vec<String> = pod["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{}={}", one["name"].as_str().unwrap(), one["value"].as_str().unwrap_or("?")))
        .collect();
    assert_eq!(
        env,
        [
            "ADMIN_PASSWORD=?",
            "AGAIN=?",
            "API_USER=admin",
            "A_PASSWORD=?",
            "DSN=?",
            "FROM_FILE_TOKEN=?",
            "MODE=a$b $$(c)",
            "PASSED_ON=?",
            "PLAIN=1",
            "URL=?"
        ]
    );
    assert_eq!(
        pod["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"].to_string(),
        r#"{"key":"AGAIN","name":"web-env"}"#
    );
    let mounts: Vec<&str> = pod["containers"][0]["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/e", "/run/secrets/s", "/run/secrets/tt"]);
    assert_eq!(pod["volumes"][1]["secret"]["defaultMode"], 0o440);
    assert_eq!(
        all.secrets,
        [
            "kubectl create secret generic s --from-file=s=./s",
            "kubectl create secret generic t --from-literal=t=\"${T_VALUE:?}\"",
            "# there is external: it must be there, with the key e",
            concat!(
                "kubectl create secret generic web-env --from-literal=ADMIN_PASSWORD=\"${ADMIN_PASSWORD:?}\"",
                " --from-literal=AGAIN=\"${AGAIN:?}\" --from-literal=A_PASSWORD=\"${A_PASSWORD:?}\"",
                " --from-literal=DSN=\"${DSN:?}\" --from-literal=FROM_FILE_TOKEN=\"${FROM_FILE_TOKEN:?}\"",
                " --from-literal=PASSED_ON=\"${PASSED_ON:?}\" --from-literal=URL=\"${URL:?}\""
            ),
        ]
    );
}

#[test]
fn a_secret_of_another_name_is_known_by_the_variable_that_it_came_from() {
    let parent = tempfile::tempdir().unwrap();
    let text = "services: {a: {image: x, environment: {JWT: 'k ${JWT_SECRET:?}', OTHER: '${MODE}'}}}\n";
    std::fs::write(parent.path().join("compose.yaml"), text).unwrap();
    let variables = [("JWT_SECRET", "so-secret-indeed"), ("MODE", "fast"), ("UNUSED_SECRET", "fast")];
    let environment = variables.map(|(name, value)| (name.to_string(), value.to_string())).into();
    let request = Request { folder: Some(parent.path().into()), environment, ..Request::default() };
    let all = kubernetes(&Stack::load(&request).unwrap(), &Options::default()).unwrap();
    let yaml = all.yaml();
    assert!(!yaml.contains("so-secret") && yaml.contains("value: fast"), "{yaml}");
    assert!(yaml.contains("key: JWT\n"), "{yaml}");
}

#[test]
fn everything_of_a_container_is_translated() {
    let files = [("c.conf", "a: 1\nb: 2\n"), ("bin", "\u{0}x")];
    let text = "services:
  all_of_it:
    image: example/x:1
    platform: linux/arm64
    pull_policy: always
    entrypoint: [/bin/sh, -c]
    command: ['echo $$HOME $$(date) $$$$']
    working_dir: /w
    hostname: all
    init: true
    tty: true
    stdin_open: true
    user: 1000:1001
    group_add: [5, 4]
    read_only: true
    cap_add: [cap_net_bind_service]
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true', 'seccomp=unconfined']
    sysctls: {net.core.somaxconn: 1024}
    stop_grace_period: 1m30s
    stop_signal: SIGTERM
    shm_size: 64m
    tmpfs: ['/tmp:size=16m,mode=1777', /run]
    configs: [c, {source: bin, target: /etc/bin, mode: 0400}]
    volumes: ['d:/data:ro', /anonymous, {type: tmpfs, target: /t, tmpfs: {size: 1g}}]
    expose: [80, 81-82/udp]
    ports: [{target: 80, published: '8080', host_ip: 127.0.0.1, name: http, app_protocol: http}]
    extra_hosts: {'a.example': 10.0.0.1, 'b.example': 10.0.0.1, c: '::1'}
    dns: [1.1.1.1]
    dns_search: [x.example]
    dns_opt: ['ndots:2', rotate]
    cpus: 1.5
    mem_limit: 512m
    mem_reservation: 256m
    cpu_shares: 512
    memswap_limit: 512m
    gpus: [{count: 1}]
    labels: {tier: web, rule: 'Host(`x`)'}
    annotations: {example.com/a: b c}
    logging: {driver: json-file}
    pre_stop: [{command: sleep 5}]
    post_start: [{command: [touch, /tmp/x]}]
    healthcheck: {test: 'curl $$X $$(y)', interval: 10s, timeout: 3s, retries: 4, start_period: 21s}
configs: {c: {file: ./c.conf}, bin: {file: ./bin}}
volumes: {d: {x-ingot: {size: 1Gi}}}
";
    let (_folder, stack) = stack(text, &files);
    let all = kubernetes(&stack, &Options { namespace: Some("n".into()), ..Options::default() });
    let error = all.unwrap_err();
    assert_eq!(error.details().unwrap().lines().count(), 2, "a StatefulSet has no hostname: {:?}", error.details());
    let options = Options { allow: BTreeSet::from(["hostname".into()]), ..Options::default() };
    let all = kubernetes(&stack, &options).unwrap();
    let pod = &object(&all, "StatefulSet/all-of-it")["spec"]["template"];
    golden("pod", &crate::stack::render::manifest(pod));
    let config = object(&all, "ConfigMap/c");
    assert!(crate::stack::render::manifest(config).contains("data:\n  c: |\n    a: 1\n    b: 2\n"), "{config}");
    assert_eq!(object(&all, "ConfigMap/bin")["binaryData"]["bin"], "AHg=");
}

#[test]
fn commands_and_entrypoints_mean_what_they_meant() {
    let container = |text: &str| {
        let all = exported(&format!("services: {{a: {{image: x, {text}}}}}\n"), |_| {});
        let container = &object(&all, "Deployment/a")["spec"]["template"]["spec"]["containers"][0];
        format!("{} {}", container["command"], container["args"])
    };
    for (text, expected) in [
        ("command: a 'b c'", r#"null ["a","b c"]"#),
        ("entrypoint: [a], command: b", r#"["a"] ["b"]"#),
        ("entrypoint: a b, command: []", r#"["a","b"] null"#),
        ("entrypoint: [], command: [b]", r#"["b"] null"#),
        ("entrypoint: '', command: [b]", r#"["b"] null"#),
        ("command: null", "null null"),
    ] {
        assert_eq!(container(text), expected, "{text}");
    }
}

#[test]
fn other_names_lead_to_the_same_pods() {
    let all = exported(
        "services:
  my_db: {image: x, container_name: the-db, networks: {default: {aliases: [database]}}}
  web: {image: x, links: ['my_db:store'], environment: {HOST: the-db}}
  odd: {image: x, container_name: Nobody_asks}
",
        |_| {},
    );
    let services: Vec<String> = titles(&all).into_iter().filter(|title| title.starts_with("Service/")).collect();
    assert_eq!(
        services,
        ["Service/database", "Service/my-db", "Service/odd", "Service/store", "Service/the-db", "Service/web"]
    );
    for name in ["database", "store", "the-db"] {
        let selector = &object(&all, &format!("Service/{name}"))["spec"]["selector"];
        assert_eq!(selector["app.kubernetes.io/name"], "my-db");
    }
    assert!(
        all.notes.contains(&"compose.yaml:2: `my_db` is called `my-db` in the cluster".to_string()),
        "{:?}",
        all.notes
    );
}

#[test]
fn the_same_stack_is_the_same_text() {
    let text = "services: {b: {image: x, environment: [Z=1, A=2]}, a: {image: x}}\n";
    let (first, second) = (exported(text, |_| {}), exported(text, |_| {}));
    assert_eq!(first.yaml(), second.yaml());
    let places: Vec<_> = ["- name: A\n", "- name: Z\n"].map(|name| first.yaml().find(name).unwrap()).into();
    assert!(places[0] < places[1]);
    assert_eq!(first.list()["items"].as_array().unwrap().len(), first.objects.len());
    assert_eq!(first.files().len(), first.objects.len() + 1);
}
