//! One form for what Compose files write in several: short ports and volumes become long ones, lists of `NAME=VALUE`
//! become mappings. Only then can files be merged, and rules look at one form.

use super::error::Error;
use super::node::{Map, Node, Place, Value};

/// Keys of a service that are lists of `NAME=VALUE` or mappings.
const PAIRS: [&str; 5] = ["annotations", "environment", "extra_hosts", "labels", "sysctls"];
/// Keys of a service that are text or a list of texts. A command is not among them: text is split by a shell's rules.
const LISTS: [&str; 11] = [
    "cap_add",
    "cap_drop",
    "device_cgroup_rules",
    "dns",
    "dns_search",
    "expose",
    "label_file",
    "profiles",
    "security_opt",
    "tmpfs",
    "group_add",
];

/// Brings every service of a file into one form. `file` is its name.
pub fn normalise(root: &mut Node, file: &str) -> Result<(), Error> {
    let Value::Map(map) = &mut root.value else { return Ok(()) };
    let Some((_, services)) = map.get_mut("services") else { return Ok(()) };
    let Value::Map(services) = &mut services.value else { return Ok(()) };
    for (place, service) in services.values_mut() {
        // What is said of a whole service, is said where its name stands.
        service.place = *place;
        if service.value == Value::Null {
            service.value = Value::Map(Map::new());
        }
        let Value::Map(service) = &mut service.value else { continue };
        for (key, (_, node)) in service.iter_mut() {
            key_of_service(key, node, file)?;
        }
    }
    Ok(())
}

fn key_of_service(key: &str, node: &mut Node, file: &str) -> Result<(), Error> {
    match key {
        _ if PAIRS.contains(&key) => pairs(node, if key == "extra_hosts" { [':', '='] } else { ['=', '='] }),
        _ if LISTS.contains(&key) => list(node),
        "depends_on" => names(node, |place| {
            let condition = Node::text(place, "service_started");
            Value::Map(Map::from([("condition".to_string(), (place, condition))]))
        }),
        "networks" => names(node, |_| Value::Null),
        "build" if node.scalar().is_some() => long(node, "context"),
        "extends" if node.scalar().is_some() => long(node, "service"),
        "ports" => return items(node, file, ports),
        "volumes" => return items(node, file, |node, file| Ok(vec![volume(node, file)?])),
        "secrets" | "configs" => {
            return items(node, file, |mut node, _| {
                if node.scalar().is_some() {
                    long(&mut node, "source");
                }
                Ok(vec![node])
            });
        }
        "env_file" => {
            list(node);
            items(node, file, |mut node, _| {
                if node.scalar().is_some() {
                    long(&mut node, "path");
                }
                Ok(vec![node])
            })?;
        }
        _ => {}
    }
    Ok(())
}

/// `A=1` becomes `A: 1`; `A` becomes `A:`, which takes the value of the environment.
fn pairs(node: &mut Node, separators: [char; 2]) {
    let Value::List(list) = &node.value else { return };
    let mut map = Map::new();
    for one in list {
        let text = one.scalar().unwrap_or_default();
        let (name, value) = match text.split_once(separators) {
            Some((name, value)) => (name, Value::Text(value.to_string())),
            None => (text, Value::Null),
        };
        map.insert(name.to_string(), (one.place, Node::new(one.place, value)));
    }
    node.value = Value::Map(map);
}

fn list(node: &mut Node) {
    if node.scalar().is_some() {
        node.value = Value::List(vec![Node::new(node.place, node.value.clone())]);
    }
}

fn names(node: &mut Node, value: impl Fn(Place) -> Value) {
    let Value::List(list) = &node.value else { return };
    let entry = |one: &Node| {
        let name = one.scalar().unwrap_or_default().to_string();
        (name, (one.place, Node::new(one.place, value(one.place))))
    };
    node.value = Value::Map(list.iter().map(entry).collect());
}

/// A scalar that is short for a mapping with one key.
fn long(node: &mut Node, key: &str) {
    let inner = Node::new(node.place, node.value.clone());
    node.value = Value::Map(Map::from([(key.to_string(), (node.place, inner))]));
}

fn items(node: &mut Node, file: &str, each: impl Fn(Node, &str) -> Result<Vec<Node>, Error>) -> Result<(), Error> {
    if let Value::List(list) = &mut node.value {
        let mut out = Vec::new();
        for one in std::mem::take(list) {
            out.extend(each(one, file)?);
        }
        *list = out;
    }
    Ok(())
}

fn table(place: Place, pairs: &[(&str, Option<&str>)]) -> Node {
    let pairs = pairs.iter().filter_map(|(key, value)| Some((key.to_string(), (place, Node::text(place, (*value)?)))));
    Node::new(place, Value::Map(pairs.collect()))
}

/// `[[HOST_IP:]PUBLISHED:]TARGET[/PROTOCOL]`, each a port or a range.
fn ports(node: Node, file: &str) -> Result<Vec<Node>, Error> {
    let Some(text) = node.scalar() else { return Ok(vec![node]) };
    let wrong = || Error::Yaml {
        file: file.into(),
        line: node.place.line,
        what: format!("`{}` is no port: expected [[IP:]PUBLISHED:]TARGET[/PROTOCOL]", shown(text)),
    };
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = rest.rsplit_once(':').map_or((None, rest), |(rest, target)| (Some(rest), target));
    let (host, published) = match rest {
        None => (None, None),
        Some(rest) => match rest.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((host, published)) => (Some(host), Some(published)),
            None => rest.rsplit_once(':').map_or((None, Some(rest)), |(host, published)| (Some(host), Some(published))),
        },
    };
    let published = published.filter(|published| !published.is_empty());
    let host = host.filter(|host| !host.is_empty());
    let (first, last) = range(target).ok_or_else(wrong)?;
    let outside = published.map(|published| range(published).ok_or_else(wrong)).transpose()?;
    let single = outside.is_some_and(|(low, high)| high - low != last - first);
    if single && first != last || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let one = |port: u16| {
        let published = match outside {
            Some((low, high)) if single => Some(format!("{low}-{high}")),
            Some((low, _)) => Some((low + (port - first)).to_string()),
            None => None,
        };
        table(
            node.place,
            &[
                ("host_ip", host),
                ("protocol", Some(protocol)),
                ("published", published.as_deref()),
                ("target", Some(&port.to_string())),
            ],
        )
    };
    Ok((first..=last).map(one).collect())
}

/// A port, or the first and the last of a range.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (first, last) = (digits(first)?, digits(last)?);
    (first <= last && last - first < 1000).then_some((first, last))
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
fn volume(node: Node, file: &str) -> Result<Node, Error> {
    let Some(text) = node.scalar() else { return Ok(node) };
    let wrong = || {
        let what = format!("`{}` is no volume: expected [SOURCE:]TARGET[:OPTIONS]", shown(text));
        Error::Yaml { file: file.into(), line: node.place.line, what }
    };
    // `C:` of Windows is no source.
    let drive = text.len() > 2 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.get(1..3) == Some(":\\");
    let (drive, rest) = text.split_at_checked(if drive { 2 } else { 0 }).ok_or_else(wrong)?;
    let parts: Vec<&str> = rest.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(wrong()),
    };
    if target.is_empty() || source.is_some_and(str::is_empty) {
        return Err(wrong());
    }
    let source = source.map(|source| format!("{drive}{source}"));
    let is_path = !drive.is_empty() || source.as_ref().is_some_and(|source| source.starts_with(['.', '/', '~', '\\']));
    let has =
        |known: &[&'static str]| options.split(',').find_map(|option| known.iter().copied().find(|one| *one == option));
    let read_only = has(&["ro"]).map(|_| "true");
    let kind = if is_path { "bind" } else { "volume" };
    let mut long = table(node.place, &[("source", source.as_deref()), ("target", Some(target)), ("type", Some(kind))]);
    let Value::Map(map) = &mut long.value else { return Ok(long) };
    let flag = || (node.place, Node::new(node.place, Value::Bool(true)));
    if read_only.is_some() {
        map.insert("read_only".into(), flag());
    }
    let mut bind = table(
        node.place,
        &[
            ("propagation", has(&["rprivate", "private", "rshared", "shared", "rslave", "slave"])),
            ("selinux", has(&["z", "Z"])),
        ],
    );
    let mut volume = table(node.place, &[]);
    if let (Value::Map(bind), Value::Map(volume)) = (&mut bind.value, &mut volume.value) {
        // In the short form, a folder that is not there is made.
        if is_path {
            bind.insert("create_host_path".into(), flag());
        }
        if has(&["nocopy"]).is_some() {
            volume.insert("nocopy".into(), flag());
        }
    }
    if bind.map().is_some_and(|bind| !bind.is_empty()) {
        map.insert("bind".into(), (node.place, bind));
    }
    if !is_path || volume.map().is_some_and(|volume| !volume.is_empty()) {
        map.insert("volume".into(), (node.place, volume));
    }
    Ok(long)
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::render::json;
    use crate::stack::yaml;

    fn service(text: &str) -> Result<String, Error> {
        let mut root = yaml::parse(&format!("services:\n  a: {{{text}}}\n"), 0, "c.yaml").unwrap().remove(0);
        normalise(&mut root, "c.yaml")?;
        Ok(json(root.get("services").unwrap().get("a").unwrap()).to_string())
    }

    #[test]
    fn short_forms_become_long_ones() {
        for (text, expected) in [
            ("ports: [80]", r#"{"ports":[{"protocol":"tcp","target":"80"}]}"#),
            (
                "ports: ['127.0.0.1:8080:80/udp']",
                r#"{"ports":[{"host_ip":"127.0.0.1","protocol":"udp","published":"8080","target":"80"}]}"#,
            ),
            ("ports: ['[::1]:1:2']", r#"{"ports":[{"host_ip":"::1","protocol":"tcp","published":"1","target":"2"}]}"#),
            ("ports: ['127.0.0.1::80']", r#"{"ports":[{"host_ip":"127.0.0.1","protocol":"tcp","target":"80"}]}"#),
            (
                "ports: ['8000-8001:80-81']",
                r#"{"ports":[{"protocol":"tcp","published":"8000","target":"80"},{"protocol":"tcp","published":"8001","target":"81"}]}"#,
            ),
            ("ports: ['8000-8009:80']", r#"{"ports":[{"protocol":"tcp","published":"8000-8009","target":"80"}]}"#),
            (
                "volumes: ['data:/d', './x:/y:ro', /only]",
                r#"{"volumes":[{"source":"data","target":"/d","type":"volume","volume":{}},{"bind":{"create_host_path":true},"read_only":true,"source":"./x","target":"/y","type":"bind"},{"target":"/only","type":"volume","volume":{}}]}"#,
            ),
            (
                "volumes: ['/:/h:rw,rshared']",
                r#"{"volumes":[{"bind":{"create_host_path":true,"propagation":"rshared"},"source":"/","target":"/h","type":"bind"}]}"#,
            ),
            (
                "volumes: ['./x:/y:Z,ro', 'd:/e:nocopy', 'C:\\x:/y']",
                r#"{"volumes":[{"bind":{"create_host_path":true,"selinux":"Z"},"read_only":true,"source":"./x","target":"/y","type":"bind"},{"source":"d","target":"/e","type":"volume","volume":{"nocopy":true}},{"bind":{"create_host_path":true},"source":"C:\\x","target":"/y","type":"bind"}]}"#,
            ),
            ("ports: [':80:80']", r#"{"ports":[{"protocol":"tcp","published":"80","target":"80"}]}"#),
            ("environment: [A=1=2, B]", r#"{"environment":{"A":"1=2","B":null}}"#),
            ("extra_hosts: ['h:1.2.3.4']", r#"{"extra_hosts":{"h":"1.2.3.4"}}"#),
            ("depends_on: [b]", r#"{"depends_on":{"b":{"condition":"service_started"}}}"#),
            (
                "networks: [n], tmpfs: /tmp, build: .",
                r#"{"build":{"context":"."},"networks":{"n":null},"tmpfs":["/tmp"]}"#,
            ),
            ("secrets: [s], env_file: a.env", r#"{"env_file":[{"path":"a.env"}],"secrets":[{"source":"s"}]}"#),
        ] {
            assert_eq!(service(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "ports: [x]",
            "ports: ['80/http']",
            "ports: ['1-5:1-3']",
            "ports: ['99999']",
            "ports: ['1-60000']",
            "ports: ['-1']",
            "volumes: ['a:b:c:d']",
            "volumes: [':/x']",
            "volumes: ['x:']",
        ] {
            let error = service(bad).unwrap_err().to_string();
            assert!(error.starts_with("`c.yaml`, line 2: `"), "{error}");
        }
    }
}
