//! Whether the parts of a stack fit together: what is named is there, and nobody waits for himself.

use std::collections::BTreeSet;

use super::error::Error;
use super::load::Stack;
use super::node::{Node, Place, Value};

/// What a service may wait for.
const CONDITIONS: [&str; 3] = ["service_started", "service_healthy", "service_completed_successfully"];

/// How mounts may show to the host, and the host's to them.
const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Removes services whose profiles are not asked for, whose names it returns, and the key from the others.
pub fn profiles(root: &mut Node, asked: &[String]) -> Vec<String> {
    let mut asleep = Vec::new();
    let Value::Map(map) = &mut root.value else { return asleep };
    let Some((_, Node { value: Value::Map(services), .. })) = map.get_mut("services") else { return asleep };
    services.retain(|name, (_, service)| {
        let names: Vec<&str> =
            service.get("profiles").and_then(Node::list).into_iter().flatten().filter_map(Node::scalar).collect();
        let is_asked =
            names.is_empty() || names.iter().any(|name| asked.iter().any(|asked| asked == name || asked == "*"));
        if !is_asked {
            asleep.push(name.clone());
        }
        is_asked
    });
    for (_, service) in services.values_mut() {
        if let Value::Map(service) = &mut service.value {
            service.remove("profiles");
        }
    }
    asleep
}

/// Holds the resolved stack together.
pub fn check(stack: &Stack) -> Result<(), Error> {
    for (name, service) in stack.services() {
        source(stack, name, service)?;
        networks(stack, service)?;
        for table in ["secrets", "configs"] {
            for grant in service.get(table).and_then(Node::list).into_iter().flatten() {
                if let Some(source) = grant.get("source") {
                    known(stack, source.place, table, source.scalar().unwrap_or_default())?;
                }
                plain(stack, grant, table, &["target", "uid", "gid", "mode"])?;
            }
        }
        container_name(stack, service)?;
        for mount in service.get("volumes").and_then(Node::list).into_iter().flatten() {
            let is_volume = mount.get("type").and_then(Node::scalar) == Some("volume");
            if let Some(source) = mount.get("source").filter(|_| is_volume) {
                known(stack, source.place, "volumes", source.scalar().unwrap_or_default())?;
            }
            plain_mount(stack, mount)?;
        }
        if let (Some(mode), Some(_)) = (service.get("network_mode"), service.get("networks")) {
            let what = format!("`{name}` has `network_mode` and `networks`");
            return Err(unfit(stack, mode.place, what, "keep one of the two"));
        }
        dependencies(stack, name, service)?;
        twice(stack, name, service)?;
        for (key, between) in [("links", ':'), ("volumes_from", ':')] {
            for node in service.get(key).and_then(Node::list).into_iter().flatten() {
                let other = node.scalar().unwrap_or_default().split(between).next().unwrap_or_default();
                if other != "container" && !stack.services().any(|(known, _)| known == other) {
                    let other: String = other.escape_debug().take(100).collect();
                    let what =
                        format!("`{name}` names `{other}` in `{key}`, which is not there, or not in the profiles");
                    return Err(unfit(stack, node.place, what, "correct the name, or name its profile with --profile"));
                }
            }
        }
    }
    for table in ["configs", "networks", "secrets", "volumes"] {
        for (_, one) in stack.root.get(table).and_then(Node::map).into_iter().flat_map(|all| all.values()) {
            plain(stack, one, table, &["file", "name"])?;
        }
    }
    let mut done = BTreeSet::new();
    stack.services().try_for_each(|(name, _)| acyclic(stack, name, &mut Vec::new(), &mut done))
}

fn unfit(stack: &Stack, place: Place, what: String, hint: &'static str) -> Error {
    Error::Unfit { file: stack.file(place).into(), line: place.line, what, hint }
}

fn source(stack: &Stack, name: &str, service: &Node) -> Result<(), Error> {
    let has = |key: &str| service.get(key).is_some_and(|node| node.value != Value::Null && node.scalar() != Some(""));
    if ["image", "build", "x-ingot", "provider"].into_iter().any(has) {
        return Ok(());
    }
    let what = format!("nothing says which image `{name}` runs");
    Err(unfit(
        stack,
        service.place,
        what,
        "write `image: REF`, or `x-ingot: { project: ./DIR }` for an image that Ingot casts",
    ))
}

/// Providers write these in one line with others, and what has a colon or a comma in it says something else there.
fn plain(stack: &Stack, node: &Node, of: &str, keys: &[&str]) -> Result<(), Error> {
    for key in keys {
        let text = node.get(key).and_then(Node::scalar).unwrap_or_default();
        let rest = if text.get(1..3) == Some(":\\") { text.get(2..).unwrap_or_default() } else { text };
        if rest.contains([':', ',']) || rest.contains(char::is_control) {
            let what = format!("the {key} `{}` of {of} has a colon, a comma or a control character", shown(text));
            return Err(unfit(stack, node.place, what, "take another name for it"));
        }
    }
    Ok(())
}

/// Names that engines take (Compose Specification, "container_name").
fn container_name(stack: &Stack, service: &Node) -> Result<(), Error> {
    let Some((node, name)) = service.get("container_name").and_then(|node| Some((node, node.scalar()?))) else {
        return Ok(());
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
    let fits = name.bytes().enumerate().all(|(at, byte)| is_letter(byte) || at > 0 && b"_.-".contains(&byte));
    if fits && name.len() > 1 {
        return Ok(());
    }
    let what = format!("`{}` is no `container_name`", shown(name));
    Err(unfit(stack, node.place, what, "write two or more letters, digits, `_`, `.` and `-`, a letter or digit first"))
}

fn plain_mount(stack: &Stack, mount: &Node) -> Result<(), Error> {
    let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
    plain(stack, mount, "a mount", &["source", "target"])?;
    if !field("target").starts_with(['/', '$']) && field("type") != "npipe" && !field("target").contains(":\\") {
        let what = format!("the target `{}` of a mount does not begin at the root", shown(field("target")));
        return Err(unfit(stack, mount.place, what, "write a path that begins with `/`"));
    }
    let below = |table: &str, key: &str| mount.get(table).and_then(|table| table.get(key)).and_then(Node::scalar);
    let (propagation, selinux) = (below("bind", "propagation"), below("bind", "selinux"));
    if let Some(word) = propagation.filter(|word| !PROPAGATION.contains(word)) {
        let what = format!("`propagation` is `{}`", shown(word));
        return Err(unfit(stack, mount.place, what, "write private, rprivate, shared, rshared, slave or rslave"));
    }
    if let Some(word) = selinux.filter(|word| !["z", "Z"].contains(word)) {
        let what = format!("`selinux` is `{}`", shown(word));
        return Err(unfit(stack, mount.place, what, "write z (shared) or Z (private)"));
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.escape_debug().take(100).collect()
}

fn networks(stack: &Stack, service: &Node) -> Result<(), Error> {
    for (used, (place, _)) in service.get("networks").and_then(Node::map).into_iter().flatten() {
        // Every service is on the default network unless it says otherwise.
        if used != "default" {
            known(stack, *place, "networks", used)?;
        }
    }
    Ok(())
}

fn known(stack: &Stack, place: Place, table: &str, used: &str) -> Result<(), Error> {
    if stack.root.get(table).and_then(|all| all.map()).is_some_and(|all| all.contains_key(used)) {
        return Ok(());
    }
    let used: String = used.escape_debug().take(100).collect();
    let what = format!("`{used}` is used, but is not among the file's `{table}`");
    Err(unfit(stack, place, what, "declare it at the end of the file, or correct the name"))
}

fn dependencies(stack: &Stack, name: &str, service: &Node) -> Result<(), Error> {
    for (on, (place, node)) in service.get("depends_on").and_then(Node::map).into_iter().flatten() {
        let condition = node.get("condition").and_then(Node::scalar).unwrap_or("service_started");
        if !CONDITIONS.contains(&condition) {
            let condition: String = condition.escape_debug().take(100).collect();
            let what = format!("`{name}` waits for `{on}` until `{condition}`, which is no condition");
            return Err(unfit(
                stack,
                *place,
                what,
                "the conditions are service_started, service_healthy and service_completed_successfully",
            ));
        }
        let optional = node.get("required").and_then(Node::scalar) == Some("false");
        let Some((_, other)) = stack.services().find(|(other, _)| other == on) else {
            if optional {
                continue;
            }
            let what = format!("`{name}` depends on `{on}`, which is not there, or not in the profiles");
            return Err(unfit(stack, *place, what, "correct the name, or name its profile with --profile"));
        };
        let disabled =
            other.get("healthcheck").is_some_and(|check| check.get("disable").and_then(Node::scalar) == Some("true"));
        if condition == "service_healthy" && disabled {
            let what = format!("`{name}` waits until `{on}` is healthy, but its health check is disabled");
            return Err(unfit(stack, *place, what, "give it a health check"));
        }
    }
    Ok(())
}

/// Limits that stand in `deploy` and in keys of their own must be the same: where one table is, the other is nothing.
fn twice(stack: &Stack, name: &str, service: &Node) -> Result<(), Error> {
    let resources = service.get("deploy").and_then(|deploy| deploy.get("resources"));
    for (own, table, below) in [
        ("cpus", "limits", "cpus"),
        ("mem_limit", "limits", "memory"),
        ("mem_reservation", "reservations", "memory"),
        ("pids_limit", "limits", "pids"),
    ] {
        let (Some(node), Some(table_node)) = (service.get(own), resources.and_then(|resources| resources.get(table)))
        else {
            continue;
        };
        let amount = |node: Option<&Node>| amount(node.and_then(Node::scalar).unwrap_or("0"));
        let (first, second) = (amount(Some(node)), amount(table_node.get(below)));
        if first != Some(0.0) && first != second {
            let what = format!("`{name}` has `{own}`, and another `{below}` (or none) in `deploy.resources.{table}`");
            return Err(unfit(stack, node.place, what, "write it in one of the two places"));
        }
    }
    if let Some((node, other)) =
        service.get("network_mode").and_then(|node| Some((node, node.scalar()?.strip_prefix("service:")?)))
        && !stack.services().any(|(known, _)| known == other)
    {
        let other: String = other.escape_debug().take(100).collect();
        let what = format!("`{name}` takes the network of `{other}`, which is not there, or not in the profiles");
        return Err(unfit(stack, node.place, what, "correct the name, or name its profile with --profile"));
    }
    Ok(())
}

/// `1.5`, `512m`, `1GB`: numbers with the units of memory.
pub(super) fn amount(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: f64 = match lower.get(digits.len()..)? {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    digits.trim().parse::<f64>().ok().map(|number| number * unit)
}

fn acyclic<'a>(
    stack: &'a Stack,
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), Error> {
    if done.contains(name) {
        return Ok(());
    }
    let Some((_, service)) = stack.services().find(|(other, _)| *other == name) else { return Ok(()) };
    if let Some(at) = path.iter().position(|other| *other == name) {
        let circle =
            path.get(at..).unwrap_or_default().iter().chain(std::iter::once(&name)).copied().collect::<Vec<_>>();
        let what = format!("services wait for one another in a circle: {}", circle.join(" -> "));
        return Err(unfit(stack, service.place, what, "take one of them out of `depends_on`"));
    }
    path.push(name);
    for (on, _) in service.get("depends_on").and_then(Node::map).into_iter().flatten() {
        acyclic(stack, on, path, done)?;
    }
    path.pop();
    done.insert(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::error::Explain;
    use crate::stack::{Request, Stack};

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        let error = Stack::load(&request).map(|_| ()).unwrap_err();
        assert_eq!(error.class().code(), 2);
        let unfit: &crate::stack::Error = error.cause().downcast_ref().unwrap();
        assert!(unfit.hint().is_some());
        error.to_string()
    }

    #[test]
    fn what_is_named_must_be_there() {
        for (text, expected) in [
            ("services: {a: {tty: true}}", "`compose.yaml`, line 1: nothing says which image `a` runs"),
            (
                "services: {a: {image: i, pids_limit: 9, deploy: {resources: {limits: {cpus: 1}}}}}",
                "`a` has `pids_limit`, and another `pids` (or none) in `deploy.resources.limits`",
            ),
            (
                "services: {a: {image: i, mem_limit: 1g, deploy: {resources: {limits: {memory: 512m}}}}}",
                "`a` has `mem_limit`, and another `memory`",
            ),
            (
                "services: {a: {image: i, network_mode: 'service:b'}}",
                "`a` takes the network of `b`, which is not there",
            ),
            ("services: {a: {image: ''}}", "nothing says which image `a` runs"),
            ("services: {a: {image: i, links: ['b:c']}}", "`a` names `b` in `links`"),
            ("services: {a: {image: i, volumes_from: ['b:ro']}}", "`a` names `b` in `volumes_from`"),
            ("services: {a: {image: i, networks: [n]}}", "`n` is used, but is not among the file's `networks`"),
            ("services: {a: {image: i, volumes: ['v:/x']}}", "`v` is used, but is not among the file's `volumes`"),
            (
                "services: {a: {image: i, volumes: [{type: bind, source: '/var/run/docker.sock:/s', target: rw}]}}",
                "the source `/var/run/docker.sock:/s` of a mount has a colon",
            ),
            (
                "services: {a: {image: i, volumes: [{type: bind, source: ./x, target: rw}]}}",
                "the target `rw` of a mount does not begin at the root",
            ),
            (
                "services: {a: {image: i, volumes: [{type: bind, source: ./x, target: /x, bind: {propagation: 'O,upperdir=/etc'}}]}}",
                "`propagation` is `O,upperdir=/etc`",
            ),
            (
                "services: {a: {image: i, volumes: [{type: bind, source: ./x, target: /x, bind: {selinux: 'O,upperdir=/etc'}}]}}",
                "`selinux` is `O,upperdir=/etc`",
            ),
            (
                "services: {a: {image: i, secrets: [{source: s, target: 's:/etc/x'}]}}\nsecrets: {s: {file: ./s}}",
                "line 1: the target `s:/etc/x` of secrets has a colon",
            ),
            (
                "services: {a: {image: i, secrets: [{source: s, mode: '0400,type=env'}]}}\nsecrets: {s: {file: ./s}}",
                "the mode `0400,type=env` of secrets has a colon, a comma",
            ),
            (
                "services: {a: {image: i, configs: [{source: c, target: \"/c\\nd\"}]}}\nconfigs: {c: {file: ./c}}",
                "the target `/c\\nd` of configs has a colon, a comma or a control character",
            ),
            (
                "services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {file: './s:/etc/shadow'}}",
                "line 2: the file `./s:/etc/shadow` of secrets has a colon",
            ),
            (
                "services: {a: {image: i}}\nvolumes: {v: {name: '/run:/x'}}",
                "line 2: the name `/run:/x` of volumes has a colon",
            ),
            ("services: {a: {image: i, container_name: 'a:b'}}", "line 1: `a:b` is no `container_name`"),
            ("services: {a: {image: i, container_name: -a}}", "`-a` is no `container_name`"),
            ("services: {a: {image: i, container_name: a}}", "`a` is no `container_name`"),
            ("services: {a: {image: i, container_name: \"a\\nb\"}}", "`a\\nb` is no `container_name`"),
            ("services: {a: {image: i, secrets: [s]}}", "`s` is used, but is not among the file's `secrets`"),
            ("services: {a: {image: i, depends_on: [b]}}", "`a` depends on `b`, which is not there"),
            (
                "services: {a: {image: i, depends_on: {b: {condition: healthy}}}, b: {image: i}}",
                "until `healthy`, which is no condition",
            ),
            (
                "services: {a: {image: i, depends_on: {b: {condition: service_healthy}}}, b: {image: i, healthcheck: {disable: true}}}",
                "its health check is disabled",
            ),
            (
                "services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [c]}, c: {image: i, depends_on: [a]}}",
                "in a circle: a -> b -> c -> a",
            ),
            (
                "networks: {n: }\nservices: {a: {image: i, network_mode: host, networks: [n]}}",
                "has `network_mode` and `networks`",
            ),
        ] {
            assert!(refused(text).contains(expected), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn usual_names_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let text = "services: {a: {image: i, container_name: My.app_1-x, secrets: [{source: s, target: /run/x, uid: '1', mode: 0400}]}}\nsecrets: {s: {file: './a b.txt'}}\n";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        assert!(Stack::load(&request).is_ok());
    }

    #[test]
    fn amounts_are_compared_as_numbers() {
        use super::amount;
        assert_eq!(
            (amount("512m"), amount("0.5g"), amount("1.5"), amount("x")),
            (amount("0.5GB"), amount("512mb"), Some(1.5), None)
        );
        let folder = tempfile::tempdir().unwrap();
        let text = "services: {a: {image: i, mem_limit: 1g, cpus: 1, deploy: {resources: {limits: {memory: 1024m, cpus: '1.0'}}}}}";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        assert!(Stack::load(&request).is_ok());
    }
}
