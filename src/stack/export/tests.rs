//! Whole stacks, translated.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;
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

pub(super) fn refused(text: &str, options: &Options) -> (Vec<String>, Vec<&'static str>, String) {
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
        |options| options.allow = ["depends_on", "volumes.shared"].map(String::from).into(),
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
        "volumes begin empty: what an image has where `both`, `data`, `dump`, `other`, `shared` is mounted is not copied there",
        "the volume `other` asks for 1Gi",
        "`quiet` has no probe",
    ] {
        assert!(all.notes.iter().any(|note| note.contains(expected)), "{expected}: {:#?}", all.notes);
    }
    assert!(!all.notes.iter().any(|note| note.contains("the volume `data`")), "{:#?}", all.notes);
}

#[test]
fn a_volume_of_several_pods_needs_a_class_that_is_named() {
    let text = "services: {a: {image: x, volumes: ['v:/v'], scale: 2}, b: {image: x, volumes: ['w:/v']}, c: {image: x, volumes: ['w:/v']}}\nvolumes: {v: , w: }\n";
    let (problems, keys, _) = refused(text, &Options::default());
    assert_eq!(keys, ["volumes.shared"]);
    assert!(
        problems[0].starts_with("compose.yaml:2: that all pods of `a` share the volume `v` has no counterpart"),
        "{problems:?}"
    );
    assert!(problems[1].contains("that the pods of `b`, `c` share the volume `w`"), "{problems:?}");
    let all = exported(&text.replace("v: ,", "v: {x-ingot: {storage-class: nfs}},"), |o| {
        o.allow = BTreeSet::from(["volumes.shared".into()])
    });
    assert!(all.lost[0].contains("of `b`, `c` share the volume `w`") && all.lost.len() == 1, "{:?}", all.lost);
    assert!(
        all.notes.iter().any(|note| note.contains("`v` has several users: its storage class must offer ReadWriteMany"))
    );
    assert_eq!(object(&all, "PersistentVolumeClaim/w")["spec"]["accessModes"][0], "ReadWriteMany");
}

#[test]
fn probes_have_the_times_of_checks() {
    let probes = |check: &str| {
        let all = exported(&format!("services: {{a: {{image: x, healthcheck: {{test: x, {check}}}}}}}\n"), |_| {});
        let container = object(&all, "Deployment/a")["spec"]["template"]["spec"]["containers"][0].clone();
        let numbers =
            |probe: &Json| ["periodSeconds", "timeoutSeconds", "failureThreshold"].map(|key| probe[key].as_u64());
        (numbers(&container["readinessProbe"]).map(Option::unwrap), numbers(&container["startupProbe"])[2])
    };
    // A timeout that nobody wrote is no longer than the interval; one that somebody wrote is kept.
    assert_eq!(probes("retries: 3"), ([30, 30, 3], None));
    assert_eq!(probes("interval: 5s"), ([5, 5, 3], None));
    assert_eq!(probes("interval: 5s, timeout: 20s"), ([5, 20, 3], None));
    // As long as `up` waits: 10 + 3 * (30 + 5) seconds, and every 5 one try.
    assert_eq!(probes("interval: 30s, timeout: 5s, start_period: 10s"), ([30, 5, 3], Some(23)));
}

#[test]
fn who_has_to_find_itself_is_found_before_it_is_ready() {
    let text = "services:
  kafka: {image: x, environment: {VOTERS: '1@kafka:9093'}, healthcheck: {test: 'x kafka:9092'}, volumes: ['a:/a'], expose: [9092]}
  es01: {image: x, environment: {SEEDS: es02}, healthcheck: {test: x}, volumes: ['b:/b']}
  es02: {image: x, environment: {SEEDS: es01}, healthcheck: {test: x}, volumes: ['c:/c']}
  db: {image: x, healthcheck: {test: x}, volumes: ['d:/d']}
  broker: {image: x, environment: {ADVERTISED: 'PLAINTEXT://broker:9092'}, healthcheck: {test: x}, expose: [9092]}
  web: {image: x, environment: {DB: db, API: 'http://api:1', NAME: web}, healthcheck: {test: x}, expose: [80]}
  api: {image: x, environment: {ORIGIN: 'http://web:80'}, healthcheck: {test: x}, expose: [1]}
volumes: {a: , b: , c: , d: }
";
    let all = exported(text, |_| {});
    let found = |name: &str| object(&all, &format!("Service/{name}"))["spec"]["publishNotReadyAddresses"] == true;
    let names = ["api", "broker", "db", "es01", "es02", "kafka", "web"];
    assert_eq!(names.map(found), [false, true, false, true, true, true, false]);
}

#[test]
fn ports_that_others_speak_of_are_reached() {
    let text = "services:
  mail: {image: x, ports: ['127.0.0.1:8025:8025']}
  web: {image: x, environment: {SMTP: 'smtp://mail:1025', NOT: 'e-mail:7,mail:x,mail:9.1'}, expose: [80]}
";
    let all = exported(text, |_| {});
    let ports = object(&all, "Service/mail")["spec"]["ports"].as_array().unwrap().clone();
    assert_eq!(ports.iter().map(|port| port["port"].as_u64().unwrap()).collect::<Vec<_>>(), [1025, 8025]);
    let note = "compose.yaml:2: others reach `mail` on 1025, 8025 only: what else it listens on goes into `expose`";
    assert!(all.notes.contains(&note.to_string()), "{:?}", all.notes);
}

#[test]
fn gpus_are_the_clusters_to_give() {
    let asks = "deploy: {resources: {reservations: {devices: [{count: 1, capabilities: [gpu]}]}}}";
    let text = format!(
        "services: {{a: {{image: x, runtime: nvidia, environment: {{NVIDIA_VISIBLE_DEVICES: all}}, {asks}}}}}\n"
    );
    let all = exported(&text, |_| {});
    assert_eq!(object(&all, "Deployment/a")["spec"]["template"]["spec"]["containers"][0]["env"], Json::Null);
    assert!(all.notes.iter().any(|note| note.contains("`NVIDIA_VISIBLE_DEVICES` of `a`")), "{:?}", all.notes);
    let (problems, keys, _) = refused("services: {a: {image: x, runtime: nvidia}}\n", &Options::default());
    assert_eq!(keys, ["gpus"], "{problems:?}");
}

#[test]
fn what_keeps_the_image_in_sight_is_not_needed() {
    let text = "services: {a: {image: x, volumes: ['./a:/app', /app/node_modules, /data]}}\n";
    let all = exported(text, |options| options.lossy = true);
    let container = &object(&all, "Deployment/a")["spec"]["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!((mounts.len(), &mounts[0]["mountPath"]), (1, &Json::from("/data")));
    assert!(all.notes.iter().any(|note| note.contains("`/app/node_modules` of `a` is left out")), "{:?}", all.notes);
}

#[test]
fn a_job_that_needs_others_is_tried_again() {
    let text = "services: {db: {image: x}, init: {image: x, restart: 'no', depends_on: [db]}}\n";
    let all = exported(text, |_| {});
    assert_eq!(object(&all, "Job/init")["spec"]["backoffLimit"], 6);
    assert!(all.notes.iter().any(|note| note.contains("`init` is tried 6 times more")), "{:?}", all.notes);
}

#[test]
fn what_is_built_here_has_to_be_pushed() {
    let all = exported("services: {a: {build: ., image: registry.example/a:1}}\n", |_| {});
    let note = "compose.yaml:1: the image `registry.example/a:1` of `a` is built on this machine: push it before";
    assert!(all.notes.contains(&note.to_string()), "{:?}", all.notes);
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
