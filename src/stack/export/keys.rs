//! Every key of a service, and who translates it. What is not translated is lost or means nothing in a cluster; no key
//! is passed over, because each that the schema has stands here.

use super::read;
use super::translation::{Translation, place_of, shown};
use crate::stack::node::{Node, Value};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Another file here translates it.
    Translated,
    /// It is about how this machine's engine is used: nothing is lost with it.
    Here,
    /// There is no counterpart, unless the value is one of these, which change nothing.
    Lost(&'static [&'static str]),
}

use Fate::{Here, Lost, Translated};

/// All keys of a service, sorted.
pub(super) const KEYS: &[(&str, Fate)] = &[
    ("annotations", Translated),
    ("attach", Here),
    ("blkio_config", Lost(&[])),
    ("build", Translated),
    ("cap_add", Translated),
    ("cap_drop", Translated),
    ("cgroup", Lost(&["private"])),
    ("cgroup_parent", Lost(&[])),
    ("command", Translated),
    ("configs", Translated),
    ("container_name", Translated),
    ("cpu_count", Lost(&[])),
    ("cpu_percent", Lost(&[])),
    ("cpu_period", Translated),
    ("cpu_quota", Translated),
    ("cpu_rt_period", Lost(&[])),
    ("cpu_rt_runtime", Lost(&[])),
    ("cpu_shares", Translated),
    ("cpus", Translated),
    ("cpuset", Lost(&[])),
    ("credential_spec", Lost(&[])),
    ("depends_on", Translated),
    ("deploy", Translated),
    ("develop", Here),
    ("device_cgroup_rules", Lost(&[])),
    ("devices", Lost(&[])),
    ("dns", Translated),
    ("dns_opt", Translated),
    ("dns_search", Translated),
    ("domainname", Lost(&[])),
    ("entrypoint", Translated),
    ("env_file", Translated),
    ("environment", Translated),
    ("expose", Translated),
    ("extends", Here),
    ("external_links", Lost(&[])),
    ("extra_hosts", Translated),
    ("gpus", Translated),
    ("group_add", Translated),
    ("healthcheck", Translated),
    ("hostname", Translated),
    ("image", Translated),
    ("init", Translated),
    ("ipc", Lost(&["private", "shareable"])),
    ("isolation", Lost(&["default"])),
    ("label_file", Translated),
    ("labels", Translated),
    ("links", Translated),
    ("logging", Translated),
    ("mac_address", Lost(&[])),
    ("mem_limit", Translated),
    ("mem_reservation", Translated),
    ("mem_swappiness", Lost(&[])),
    ("memswap_limit", Translated),
    ("models", Lost(&[])),
    ("network_mode", Translated),
    ("networks", Translated),
    ("oom_kill_disable", Lost(&["false"])),
    ("oom_score_adj", Lost(&["0"])),
    ("pid", Lost(&[])),
    ("pids_limit", Translated),
    ("platform", Translated),
    ("ports", Translated),
    ("post_start", Translated),
    ("pre_stop", Translated),
    ("privileged", Translated),
    ("profiles", Here),
    ("provider", Lost(&[])),
    ("pull_policy", Translated),
    ("read_only", Translated),
    ("restart", Translated),
    ("runtime", Lost(&["runc", "crun", "nvidia"])),
    ("scale", Translated),
    ("secrets", Translated),
    ("security_opt", Translated),
    ("shm_size", Translated),
    ("stdin_open", Translated),
    ("stop_grace_period", Translated),
    ("stop_signal", Lost(&["SIGTERM", "TERM", "15"])),
    ("storage_opt", Lost(&[])),
    ("sysctls", Translated),
    ("tmpfs", Translated),
    ("tty", Translated),
    ("ulimits", Lost(&[])),
    ("use_api_socket", Lost(&["false"])),
    ("user", Translated),
    ("userns_mode", Lost(&["host"])),
    ("uts", Lost(&[])),
    ("volume_driver", Lost(&["local"])),
    ("volumes", Translated),
    ("volumes_from", Lost(&[])),
    ("working_dir", Translated),
];

fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

/// What of a service has no counterpart, whatever else becomes of it.
pub(super) fn service(translation: &mut Translation<'_>, name: &str, service: &Node) {
    for (key, fate) in KEYS {
        let Some(node) = service.get(key).filter(|node| !is_nothing(node)) else { continue };
        if let Lost(harmless) = fate
            && !node.scalar().is_some_and(|value| harmless.contains(&value))
        {
            translation.lose(key, place_of(service, key), &format!("`{key}` of `{name}`"));
        }
    }
    depends_on(translation, name, service);
    logging(translation, name, service);
    deploy(translation, name, service);
    if let Some(limit) = read::text(service, "memswap_limit")
        && Some(limit) != read::text(service, "mem_limit")
    {
        translation.lose("memswap_limit", place_of(service, "memswap_limit"), &format!("`memswap_limit` of `{name}`"));
    }
    if let Some(sandbox) = service.get("x-ingot").filter(|ingot| read::flag(ingot, "sandbox")) {
        let what = format!("the sandbox service that `{name}` uses");
        translation.lose("x-ingot.sandbox", place_of(sandbox, "sandbox"), &what);
    }
}

fn depends_on(translation: &mut Translation<'_>, name: &str, service: &Node) {
    for (on, node) in read::pairs(service, "depends_on") {
        let until = match read::text(node, "condition") {
            Some("service_healthy") => "is healthy",
            Some("service_completed_successfully") => "has ended well",
            // The order of starts promises nothing about what is ready.
            _ => continue,
        };
        let what = format!("that `{name}` starts only when `{on}` {until}");
        translation.lose("depends_on", node.place, &what);
    }
}

fn logging(translation: &mut Translation<'_>, name: &str, service: &Node) {
    let Some(logging) = read::some(service, "logging") else { return };
    match read::text(logging, "driver") {
        None | Some("json-file" | "local" | "journald" | "k8s-file") => {
            translation.note(logging.place, format!("the logs of `{name}` are kept and rotated by the cluster"));
        }
        Some(_) => translation.lose("logging", logging.place, &format!("`logging` of `{name}`")),
    }
}

fn deploy(translation: &mut Translation<'_>, name: &str, service: &Node) {
    let Some(deploy) = read::some(service, "deploy") else { return };
    let mut lose = |key: &'static str, below: &str| {
        translation.lose(key, place_of(deploy, below), &format!("`{key}` of `{name}`"));
    };
    if !matches!(read::text(deploy, "mode"), None | Some("replicated")) {
        lose("deploy.mode", "mode");
    }
    if !matches!(read::text(deploy, "endpoint_mode"), None | Some("vip" | "dnsrr")) {
        lose("deploy.endpoint_mode", "endpoint_mode");
    }
    for (key, below) in [
        ("deploy.placement", "placement"),
        ("deploy.rollback_config", "rollback_config"),
        ("deploy.update_config", "update_config"),
    ] {
        if deploy.get(below).is_some_and(|node| !is_nothing(node)) {
            lose(key, below);
        }
    }
}

/// What of the whole stack has no counterpart.
pub(super) fn stack(translation: &mut Translation<'_>) {
    let root = &translation.stack.root;
    if let Some(ingot) = root.get("x-ingot").filter(|ingot| read::some(ingot, "sandbox").is_some()) {
        translation.lose("x-ingot.sandbox", place_of(ingot, "sandbox"), "the sandbox service of the stack");
    }
    if let Some(models) = root.get("models").filter(|models| !is_nothing(models)) {
        translation.lose("models", models.place, "`models` of the stack");
    }
    if root.get("services").and_then(Node::map).is_none_or(|services| services.is_empty()) {
        translation.refuse(root.place, "the stack has no service", "name a profile with --profile, or write one");
    }
    for (name, network) in read::pairs(root, "networks") {
        let name = shown(name);
        if super::files::is_external(network) {
            translation.lose("networks.external", network.place, &format!("that the network `{name}` is external"));
        }
        if !matches!(read::text(network, "driver"), None | Some("bridge" | "overlay" | "default")) {
            translation.lose(
                "networks.driver",
                place_of(network, "driver"),
                &format!("`driver` of the network `{name}`"),
            );
        }
        for key in ["driver_opts", "enable_ipv4", "enable_ipv6", "ipam"] {
            if network.get(key).is_some_and(|node| !is_nothing(node)) {
                let lost = if key == "driver_opts" { "networks.driver" } else { "networks.ipam" };
                translation.lose(lost, place_of(network, key), &format!("`{key}` of the network `{name}`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::schema::{FILE, Shape};

    #[test]
    fn every_key_of_the_schema_has_a_fate() {
        let Some((_, Shape::Named(known))) = FILE.iter().find(|(name, _)| *name == "services") else { panic!() };
        let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        assert_eq!(KEYS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), known);
        for (key, fate) in KEYS {
            if matches!(fate, Lost(_)) {
                assert!(super::super::losses::of(key).is_some(), "{key}");
            }
        }
    }
}
