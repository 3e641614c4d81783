//! The keys that a Compose file may have (Compose Specification), and what may stand under each.
//!
//! A key that is not known is a mistake: engines ignore some, and a security option with a typing error is none.

use super::error::Error;
use super::node::{Map, Merge, Node, Place, Value};
use crate::project::suggestion;

/// What may stand under a key.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// Text, a number or a truth value.
    Scalar,
    /// One of them, or a list of them.
    Scalars,
    /// A list of them, or a mapping of names to them.
    Pairs,
    /// A mapping with these keys.
    Table(&'static [(&'static str, Shape)]),
    /// Names, each with a mapping of these keys (or nothing).
    Named(&'static [(&'static str, Shape)]),
    /// A list of scalars or of mappings with these keys.
    Items(&'static [(&'static str, Shape)]),
    /// A list of scalars, or names, each with a mapping of these keys (or nothing).
    NamedOrList(&'static [(&'static str, Shape)]),
    /// A scalar or a mapping with these keys.
    ScalarOr(&'static [(&'static str, Shape)]),
    /// A scalar, or a list of scalars or of mappings with these keys.
    ScalarOrItems(&'static [(&'static str, Shape)]),
}

use Shape::{Any, Items, Named, NamedOrList, Pairs, Scalar, ScalarOr, ScalarOrItems, Scalars, Table};

type Keys = &'static [(&'static str, Shape)];

/// A whole file.
pub const FILE: Keys = &[
    ("version", Scalar),
    ("name", Scalar),
    ("include", Any),
    ("services", Named(SERVICE)),
    ("networks", Named(NETWORK)),
    ("volumes", Named(VOLUME)),
    ("secrets", Named(SECRET)),
    ("configs", Named(SECRET)),
    ("models", Any),
];

const SERVICE: Keys = &[
    ("annotations", Pairs),
    ("attach", Scalar),
    ("blkio_config", Any),
    ("build", ScalarOr(BUILD)),
    ("cap_add", Scalars),
    ("cap_drop", Scalars),
    ("cgroup", Scalar),
    ("cgroup_parent", Scalar),
    ("command", Scalars),
    ("configs", Items(GRANT)),
    ("container_name", Scalar),
    ("cpu_count", Scalar),
    ("cpu_percent", Scalar),
    ("cpu_period", Scalar),
    ("cpu_quota", Scalar),
    ("cpu_rt_period", Scalar),
    ("cpu_rt_runtime", Scalar),
    ("cpu_shares", Scalar),
    ("cpus", Scalar),
    ("cpuset", Scalar),
    ("credential_spec", Any),
    ("depends_on", NamedOrList(&[("condition", Scalar), ("restart", Scalar), ("required", Scalar)])),
    ("deploy", Table(DEPLOY)),
    ("develop", Any),
    ("device_cgroup_rules", Scalars),
    ("devices", Items(&[("source", Scalar), ("target", Scalar), ("permissions", Scalar)])),
    ("dns", Scalars),
    ("dns_opt", Scalars),
    ("dns_search", Scalars),
    ("domainname", Scalar),
    ("entrypoint", Scalars),
    ("env_file", ScalarOrItems(&[("format", Scalar), ("path", Scalar), ("required", Scalar)])),
    ("environment", Pairs),
    ("expose", Scalars),
    ("extends", ScalarOr(&[("service", Scalar), ("file", Scalar)])),
    ("external_links", Scalars),
    ("extra_hosts", Pairs),
    ("gpus", Any),
    ("group_add", Scalars),
    ("healthcheck", Table(HEALTHCHECK)),
    ("hostname", Scalar),
    ("image", Scalar),
    ("init", Scalar),
    ("ipc", Scalar),
    ("isolation", Scalar),
    ("label_file", Scalars),
    ("labels", Pairs),
    ("links", Scalars),
    ("logging", Table(&[("driver", Scalar), ("options", Any)])),
    ("mac_address", Scalar),
    ("mem_limit", Scalar),
    ("mem_reservation", Scalar),
    ("mem_swappiness", Scalar),
    ("memswap_limit", Scalar),
    ("models", Any),
    ("network_mode", Scalar),
    ("networks", NamedOrList(ATTACHMENT)),
    ("oom_kill_disable", Scalar),
    ("oom_score_adj", Scalar),
    ("pid", Scalar),
    ("pids_limit", Scalar),
    ("platform", Scalar),
    ("ports", Items(PORT)),
    ("post_start", Any),
    ("pre_stop", Any),
    ("privileged", Scalar),
    ("profiles", Scalars),
    ("provider", Any),
    ("pull_policy", Scalar),
    ("read_only", Scalar),
    ("restart", Scalar),
    ("runtime", Scalar),
    ("scale", Scalar),
    ("secrets", Items(GRANT)),
    ("security_opt", Scalars),
    ("shm_size", Scalar),
    ("stdin_open", Scalar),
    ("stop_grace_period", Scalar),
    ("stop_signal", Scalar),
    ("storage_opt", Any),
    ("sysctls", Pairs),
    ("tmpfs", Scalars),
    ("tty", Scalar),
    ("ulimits", Any),
    ("use_api_socket", Scalar),
    ("user", Scalar),
    ("userns_mode", Scalar),
    ("uts", Scalar),
    ("volume_driver", Scalar),
    ("volumes", Items(MOUNT)),
    ("volumes_from", Scalars),
    ("working_dir", Scalar),
];

const BUILD: Keys = &[
    ("additional_contexts", Pairs),
    ("args", Pairs),
    ("cache_from", Scalars),
    ("cache_to", Scalars),
    ("context", Scalar),
    ("dockerfile", Scalar),
    ("dockerfile_inline", Scalar),
    ("entitlements", Scalars),
    ("extra_hosts", Pairs),
    ("isolation", Scalar),
    ("labels", Pairs),
    ("network", Scalar),
    ("no_cache", Scalar),
    ("platforms", Scalars),
    ("privileged", Scalar),
    ("pull", Scalar),
    ("secrets", Items(GRANT)),
    ("shm_size", Scalar),
    ("ssh", Any),
    ("tags", Scalars),
    ("target", Scalar),
    ("ulimits", Any),
];

const GRANT: Keys = &[("source", Scalar), ("target", Scalar), ("uid", Scalar), ("gid", Scalar), ("mode", Scalar)];

const HEALTHCHECK: Keys = &[
    ("disable", Scalar),
    ("interval", Scalar),
    ("retries", Scalar),
    ("start_interval", Scalar),
    ("start_period", Scalar),
    ("test", Scalars),
    ("timeout", Scalar),
];

const DEPLOY: Keys = &[
    ("endpoint_mode", Scalar),
    ("labels", Pairs),
    ("mode", Scalar),
    ("placement", Any),
    ("replicas", Scalar),
    ("resources", Table(&[("limits", Table(RESOURCES)), ("reservations", Table(RESOURCES))])),
    ("restart_policy", Any),
    ("rollback_config", Any),
    ("update_config", Any),
];

const RESOURCES: Keys =
    &[("cpus", Scalar), ("devices", Any), ("generic_resources", Any), ("memory", Scalar), ("pids", Scalar)];

const ATTACHMENT: Keys = &[
    ("aliases", Scalars),
    ("driver_opts", Any),
    ("gw_priority", Scalar),
    ("interface_name", Scalar),
    ("ipv4_address", Scalar),
    ("ipv6_address", Scalar),
    ("link_local_ips", Scalars),
    ("mac_address", Scalar),
    ("priority", Scalar),
];

const PORT: Keys = &[
    ("app_protocol", Scalar),
    ("host_ip", Scalar),
    ("mode", Scalar),
    ("name", Scalar),
    ("protocol", Scalar),
    ("published", Scalar),
    ("target", Scalar),
];

const MOUNT: Keys = &[
    ("bind", Any),
    ("cluster", Any),
    ("consistency", Scalar),
    ("image", Any),
    ("read_only", Scalar),
    ("source", Scalar),
    ("target", Scalar),
    ("tmpfs", Any),
    ("type", Scalar),
    ("volume", Any),
];

const NETWORK: Keys = &[
    ("attachable", Scalar),
    ("driver", Scalar),
    ("driver_opts", Any),
    ("enable_ipv4", Scalar),
    ("enable_ipv6", Scalar),
    ("external", ScalarOr(&[("name", Scalar)])),
    ("internal", Scalar),
    ("ipam", Any),
    ("labels", Pairs),
    ("name", Scalar),
];

const VOLUME: Keys = &[
    ("driver", Scalar),
    ("driver_opts", Any),
    ("external", ScalarOr(&[("name", Scalar)])),
    ("labels", Pairs),
    ("name", Scalar),
];

const SECRET: Keys = &[
    ("content", Scalar),
    ("driver", Scalar),
    ("driver_opts", Any),
    ("environment", Scalar),
    ("external", ScalarOr(&[("name", Scalar)])),
    ("file", Scalar),
    ("labels", Pairs),
    ("name", Scalar),
    ("template_driver", Scalar),
];

/// Holds a file against the schema. `name` is the file's.
pub fn check(root: &Node, name: &str) -> Result<(), Error> {
    match &root.value {
        Value::Map(map) => {
            first_version(map, name)?;
            keys(map, FILE, "", name)
        }
        _ => Err(wrong(name, root.place, format!("a Compose file is a mapping, this is {}", root.kind()))),
    }
}

/// Files of the first version have services where others have `services`.
fn first_version(map: &Map, file: &str) -> Result<(), Error> {
    let is_service = |node: &Node| node.get("image").is_some() || node.get("build").is_some();
    let strange = map.iter().filter(|(key, _)| !key.starts_with("x-") && FILE.iter().all(|(known, _)| known != key));
    let first = strange.filter(|(_, (_, node))| is_service(node)).map(|(key, (place, _))| (*place, key)).min();
    match first.filter(|_| !map.contains_key("services")) {
        None => Ok(()),
        Some((place, key)) => Err(Error::UnknownKey {
            file: file.into(),
            line: place.line,
            what: format!(
                "`{}` is no key of a Compose file of today",
                key.escape_debug().take(100).collect::<String>()
            ),
            hint: "this is a file of version 1: put its services under `services:`".into(),
        }),
    }
}

fn wrong(file: &str, place: Place, what: String) -> Error {
    Error::Yaml { file: file.into(), line: place.line, what }
}

fn keys(map: &Map, known: Keys, path: &str, file: &str) -> Result<(), Error> {
    for (key, (place, node)) in map {
        if key.starts_with("x-") {
            continue;
        }
        let Some((_, shape)) = known.iter().find(|(name, _)| name == key) else {
            let names: Vec<String> = known.iter().map(|(name, _)| name.to_string()).collect();
            let within = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            let key: String = key.escape_debug().take(100).collect();
            return Err(Error::UnknownKey {
                file: file.into(),
                line: place.line,
                hint: suggestion(&key, &names, "the keys are"),
                what: format!("there is no key `{key}`{within}"),
            });
        };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        shape.check(node, &path, file)?;
    }
    Ok(())
}

impl Shape {
    fn check(self, node: &Node, path: &str, file: &str) -> Result<(), Error> {
        let expected =
            |what: &str| Err(wrong(file, node.place, format!("`{path}` is {}, expected {what}", node.kind())));
        let all_scalars = |list: &[Node]| list.iter().all(|one| one.scalar().is_some());
        match (self, &node.value) {
            // What is taken away may be anything.
            _ if node.merge == Merge::Reset => Ok(()),
            (Any, _) | (_, Value::Null) => Ok(()),
            (Scalar | Scalars | ScalarOr(_) | ScalarOrItems(_), _) if node.scalar().is_some() => Ok(()),
            (Scalar, _) => expected("text"),
            (Scalars, Value::List(list)) if all_scalars(list) => Ok(()),
            (Scalars, _) => expected("text or a list of texts"),
            (Pairs, Value::List(list)) if all_scalars(list) => Ok(()),
            (Pairs, Value::Map(_)) => Ok(()),
            (Pairs, _) => expected("a mapping or a list of texts"),
            (Table(known) | ScalarOr(known), Value::Map(map)) => keys(map, known, path, file),
            (Table(_), _) => expected("a mapping"),
            (ScalarOr(_), _) => expected("text or a mapping"),
            (Named(known) | NamedOrList(known), Value::Map(map)) => named(map, known, path, file),
            (Named(_), _) => expected("a mapping of names"),
            (NamedOrList(_), Value::List(list)) if all_scalars(list) => Ok(()),
            (NamedOrList(_), _) => expected("a mapping of names or a list of them"),
            (Items(known) | ScalarOrItems(known), Value::List(list)) => {
                list.iter().try_for_each(|one| match &one.value {
                    Value::Map(map) => keys(map, known, path, file),
                    _ if one.scalar().is_some() => Ok(()),
                    _ => {
                        Err(wrong(file, one.place, format!("`{path}` has {}, expected text or a mapping", one.kind())))
                    }
                })
            }
            (Items(_), _) => expected("a list"),
            (ScalarOrItems(_), _) => expected("text or a list"),
        }
    }
}

fn named(map: &Map, known: Keys, path: &str, file: &str) -> Result<(), Error> {
    for (name, (place, node)) in map {
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(usable) && !name.starts_with("x-") {
            let name: String = name.escape_debug().take(100).collect();
            return Err(wrong(
                file,
                *place,
                format!("`{name}` in `{path}` is not a name: letters, digits, `.`, `_` and `-`"),
            ));
        }
        match &node.value {
            Value::Map(inner) => keys(inner, known, &format!("{path}.{name}"), file)?,
            Value::Null => {}
            _ => {
                return Err(wrong(file, node.place, format!("`{path}.{name}` is {}, expected a mapping", node.kind())));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;
    use crate::stack::yaml;

    fn checked(text: &str) -> Result<(), Error> {
        check(&yaml::parse(text, 0, "c.yaml").unwrap().remove(0), "c.yaml")
    }

    #[test]
    fn tables_are_sorted_and_have_no_key_twice() {
        for known in [SERVICE, BUILD, HEALTHCHECK, DEPLOY, RESOURCES, ATTACHMENT, PORT, MOUNT, NETWORK, VOLUME, SECRET]
        {
            assert!(known.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", known.first().map(|(name, _)| name));
        }
    }

    #[test]
    fn usual_files_pass_and_mistakes_have_their_line() {
        checked("x-common: [1]\nservices:\n  a:\n    image: x\n    ports: [80, '81:81', {target: 1}]\n    x-ingot: {project: .}\n    networks: [n]\n    depends_on: {b: {condition: service_healthy}}\n    environment: {A: 1, B: null}\n  b: {build: .}\nnetworks: {n: }\n").unwrap();
        for (text, expected) in [
            (
                "services:\n  a:\n    priviledged: true\n",
                "`c.yaml`, line 3: there is no key `priviledged` in `services.a`",
            ),
            ("service: {}\n", "line 1: there is no key `service`"),
            ("services: [a]\n", "line 1: `services` is a list, expected a mapping of names"),
            ("services:\n  a: x\n", "line 2: `services.a` is text, expected a mapping"),
            ("services:\n  a b: {}\n", "`a b` in `services` is not a name"),
            ("services:\n  a:\n    image: [x]\n", "line 3: `services.a.image` is a list, expected text"),
            ("services:\n  a:\n    ports: {a: b}\n", "`services.a.ports` is a mapping, expected a list"),
            (
                "services:\n  a:\n    env_file: {path: x}\n",
                "line 3: `services.a.env_file` is a mapping, expected text or a list",
            ),
            ("services:\n  a:\n    env_file: [{path: x, requierd: false}]\n", "there is no key `requierd`"),
            ("services:\n  a:\n    env_file: [[x]]\n", "`services.a.env_file` has a list, expected text or a mapping"),
            ("services:\n  a:\n    healthcheck: {tests: x}\n", "there is no key `tests` in `services.a.healthcheck`"),
            ("web:\n  image: x\napi:\n  build: .\n", "line 1: `web` is no key of a Compose file of today"),
            ("[]", "a Compose file is a mapping, this is a list"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.class().code(), 2);
        }
        let error = checked("services:\n  a:\n    priviledged: true\n").unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `privileged`?"));
    }
}
