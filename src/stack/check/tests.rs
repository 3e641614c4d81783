use super::*;
use crate::project::RulesSpec;
use crate::stack::{Request, rules};

/// A service that passes every rule.
const GOOD: &str = "services:
  a:
    image: registry.example/a:1@sha256:0000000000000000000000000000000000000000000000000000000000000000
    user: \"1001:1001\"
    read_only: true
    tmpfs: [\"/tmp:size=16m\"]
    cap_drop: [ALL]
    security_opt: [\"no-new-privileges:true\"]
    mem_limit: 256m
    cpus: 0.5
    pids_limit: 100
    ports: [\"127.0.0.1:8080:80\"]
    healthcheck: {test: [CMD, x]}
    restart: on-failure:5
";

fn findings(text: &str, production: bool) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
    std::os::unix::fs::symlink("/var/run", folder.path().join("innocent")).unwrap();
    let environment = [("FROM_OUTSIDE".to_string(), "k2J9xQ7vRt4Wm8Zs".to_string())].into();
    let request = Request { folder: Some(folder.path().into()), environment, ..Request::default() };
    let stack = Stack::load(&request).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let policy = Policy::new(rules(), &RulesSpec::default(), &[], "docs/stack.md").unwrap();
    check(&stack, &policy, production).findings
}

fn fired(text: &str) -> Vec<String> {
    findings(text, false).into_iter().map(|finding| finding.rule).collect()
}

/// The good service with a line more, or without one.
fn changed(change: &str) -> String {
    match change.strip_prefix("- ") {
        Some(key) => {
            GOOD.lines().filter(|line| !line.trim_start().starts_with(key)).map(|line| format!("{line}\n")).collect()
        }
        None => format!("{GOOD}    {change}\n"),
    }
}

#[test]
fn the_good_service_passes() {
    assert_eq!(findings(GOOD, true), []);
}

#[test]
fn every_rule_fires_and_only_where_it_should() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "capability-added",
            &["cap_add: [SYS_ADMIN]", "cap_add: [cap_net_raw]"],
            &["cap_add: [NET_BIND_SERVICE, cap_chown]"],
        ),
        ("capabilities-kept", &["- cap_drop"], &[]),
        ("cgroup-parent", &["cgroup_parent: x"], &[]),
        ("cpu-limit", &["- cpus"], &["deploy: {resources: {limits: {cpus: '1'}}}"]),
        ("device", &["devices: ['/dev/sda:/dev/sda']", "device_cgroup_rules: ['c 1:3 mr']"], &["devices: []"]),
        (
            "engine-socket",
            &[
                "volumes: ['/var/run/docker.sock:/x']",
                "volumes: ['/run:/x:ro']",
                "volumes: ['/var/../run/./podman:/x']",
                "volumes: ['./innocent:/x']",
                "use_api_socket: true",
            ],
            &["volumes: ['./data:/run']", "volumes: ['./docker:/x']"],
        ),
        (
            "gpu-ignored",
            &[
                "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1}]}}}",
                "deploy: {resources: {reservations: {devices: [{count: 1, device_ids: ['0'], capabilities: [gpu]}]}}}",
                "environment: {NVIDIA_VISIBLE_DEVICES: all}",
            ],
            &[
                "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}",
                "environment: {NVIDIA_VISIBLE_DEVICES: none}",
            ],
        ),
        ("healthcheck-missing", &["- healthcheck"], &[]),
        (
            "host-mount",
            &[
                "volumes: ['/:/host']",
                "volumes: ['/etc/passwd:/x:ro']",
                "volumes: ['~/.ssh:/x']",
                "volumes: [{type: bind, source: //proc/, target: /x}]",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: none, o: bind, device: /}}}",
                "secrets: [k]\nsecrets: {k: {file: /root/.ssh/id_rsa}}",
                "volumes_from: ['container:other']",
                "build: {context: /}",
            ],
            &["volumes: ['./etc:/x']", "volumes: ['/srv/data:/x']"],
        ),
        (
            "host-namespace",
            &["pid: host", "ipc: host", "uts: host", "userns_mode: host", "pid: 'container:x'", "cgroup: host"],
            &["ipc: private"],
        ),
        (
            "host-network",
            &["network_mode: host", "network_mode: 'container:x'"],
            &["network_mode: none", "network_mode: bridge"],
        ),
        ("image-moves", &["image: postgres:16"], &["image: postgres@sha256:1"]),
        ("memory-limit", &["- mem_limit"], &["deploy: {resources: {limits: {memory: 1g}}}"]),
        ("new-privileges", &["- security_opt"], &[]),
        ("pids-limit", &["- pids_limit", "pids_limit: -1"], &[]),
        ("port-low", &["ports: ['127.0.0.1:80:80']"], &["ports: ['127.0.0.1:8080:80']"]),
        (
            "port-public",
            &["ports: ['8080:80']", "ports: [80]", "ports: ['0.0.0.0:8080:80']"],
            &["ports: ['[::1]:8080:80']"],
        ),
        (
            "privileged",
            &[
                "privileged: true",
                "post_start: [{command: x, privileged: true}]",
                "build: {context: ., entitlements: [security.insecure]}",
            ],
            &["privileged: false", "build: ."],
        ),
        ("provider", &["provider: {type: x}"], &[]),
        (
            "propagation",
            &["volumes: [{type: bind, source: ./x, target: /x, bind: {propagation: rshared}}]"],
            &["volumes: ['./x:/x']"],
        ),
        ("restart-always", &["restart: always"], &["restart: 'no'"]),
        ("root-user", &["- user", "user: root", "user: '0:0'", "user: '00:1'", "group_add: ['0']"], &["user: app"]),
        (
            "secret-value",
            &[
                "environment: {DB_PASSWORD: hunter2x9}",
                "environment: [POSTGRES_PASSWORD=postgres]",
                "environment: {JWT_SECRET: ''}",
                "environment: {API_KEY: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {A_SECRET: change-me-please-1}",
                "environment: {URL: 'postgres://u:k2J9xQ7vRt4Wm8Zs@db/x'}",
            ],
            &[
                "environment: {DB_PASSWORD: '${FROM_OUTSIDE}'}",
                "environment: [DB_PASSWORD]",
                "environment: {DB_PASSWORD_FILE: /run/secrets/x}",
                "environment: {TOKENS: 3}",
            ],
        ),
        (
            "security-off",
            &[
                "security_opt: ['no-new-privileges:true', 'seccomp=unconfined']",
                "security_opt: ['apparmor:unconfined']",
                "security_opt: ['label=disable']",
            ],
            &["security_opt: ['no-new-privileges']"],
        ),
        ("variable-unset", &["hostname: $NOWHERE"], &["hostname: ${NOWHERE:-x}"]),
        ("writable-root", &["- read_only", "read_only: false"], &[]),
    ];
    let told: Vec<&str> = cases.iter().map(|(rule, ..)| *rule).collect();
    let known: Vec<&str> = rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(
        {
            let mut told = told.clone();
            told.sort();
            told
        },
        known,
        "every rule has its case"
    );
    for (rule, breaking, passing) in cases {
        // A key that is changed stands for the good one.
        let with = |change: &str| {
            let key = change.split(':').next().unwrap();
            let base = if change.starts_with("- ") { GOOD.to_string() } else { changed(&format!("- {key}:")) };
            if change.starts_with("- ") { changed(change) } else { format!("{base}    {change}\n") }
        };
        for change in *breaking {
            assert!(
                fired(&with(change)).contains(&rule.to_string()),
                "{rule} does not fire: {change}: {:?}",
                fired(&with(change))
            );
        }
        for change in *passing {
            assert!(!fired(&with(change)).contains(&rule.to_string()), "{rule} fires: {change}");
        }
    }
}

#[test]
fn findings_have_their_line_and_no_secret() {
    let text = changed("environment: {DB_PASSWORD: k2J9xQ7vRt4Wm8ZsX}");
    for (production, severity) in [(false, Severity::Warning), (true, Severity::Error)] {
        let found = findings(&text, production);
        assert_eq!((found.len(), found[0].severity, found[0].place().as_str()), (1, severity, "compose.yaml:15"));
        assert_eq!(found[0].told(), "`DB_PASSWORD` of `a` stands in the file: `k2J9...`, 17 characters");
    }
}

#[test]
fn the_page_of_stack_lists_every_rule() {
    crate::project::page::holds("stack.md", "src/stack/rule.rs", &crate::stack::markdown());
}
