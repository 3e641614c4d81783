//! Ports of services: those that others of the stack reach, and those that are published.

use serde_json::{Map as Object, Value as Json, json};

use super::read;
use super::translation::{Translation, place_of, put, shown};
use crate::stack::node::{Node, Place};

/// A port that a service listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub target: u64,
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    pub name: Option<String>,
    pub app_protocol: Option<String>,
    pub published: Option<Published>,
    pub place: Place,
}

/// Where a port is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The port; the same as in the container if the engine chooses.
    pub port: u64,
    /// On this machine alone.
    pub here: bool,
}

/// The ports of a service, sorted, `ports` before `expose`; a port may be published more than once.
pub(super) fn of(translation: &mut Translation<'_>, name: &str, service: &Node) -> Vec<Port> {
    let mut found: Vec<Port> = Vec::new();
    for node in read::list(service, "ports") {
        found.extend(published(translation, name, node));
    }
    for node in read::list(service, "expose") {
        let text = node.scalar().unwrap_or_default();
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last && last - first < 1000 && is_protocol(protocol) => {
                found.extend((first..=last).map(|target| plain(target, protocol, node.place)));
            }
            _ => {
                let what = format!("`{}` in `expose` of `{name}` is no port", shown(text));
                translation.refuse(node.place, &what, "write `3000`, `3000/udp` or `3000-3005`");
            }
        }
    }
    // An endpoint that is asked for the service's health is listened on.
    if let Some((port, _, place)) = super::probe::endpoint(translation, name, service) {
        found.push(plain(port, "tcp", place));
    }
    // Engines let others reach every port; a Service has those that it names, and so those that others speak of.
    if !found.is_empty() {
        found.extend(spoken(translation, name, service.place));
    }
    found.sort_by(|a, b| {
        (a.target, &a.protocol, b.published.is_some()).cmp(&(b.target, &b.protocol, a.published.is_some()))
    });
    let mut kept: Vec<Port> = Vec::new();
    for port in found {
        let same = |other: &&Port| (other.target, &other.protocol) == (port.target, &port.protocol);
        if kept.iter().find(same).is_none_or(|other| port.published.is_some() && port.published != other.published) {
            kept.push(port);
        }
    }
    kept
}

/// The ports of `NAME:PORT` in what other services are told.
fn spoken(translation: &Translation<'_>, name: &str, place: Place) -> Vec<Port> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut found = Vec::new();
    for (other, node) in translation.stack.services().filter(|(other, _)| *other != name) {
        for (_, _, text) in super::names::texts(translation, other, node) {
            for (at, _) in text.match_indices(&format!("{name}:")) {
                let (before, after) = text.split_at(at);
                let digits = after.get(name.len() + 1..).unwrap_or_default();
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                let (number, behind) = digits.split_at(end);
                if let (false, false, Some(target)) = (before.ends_with(part), behind.starts_with(part), port(number)) {
                    found.push(plain(target, "tcp", place));
                }
            }
        }
    }
    found
}

fn plain(target: u64, protocol: &str, place: Place) -> Port {
    let protocol = protocol.to_ascii_uppercase();
    Port { target, protocol, name: None, app_protocol: None, published: None, place }
}

fn port(text: &str) -> Option<u64> {
    read::number(text, 65_535).filter(|port| *port > 0)
}

fn is_protocol(text: &str) -> bool {
    matches!(text, "tcp" | "udp" | "sctp")
}

fn published(translation: &mut Translation<'_>, name: &str, node: &Node) -> Option<Port> {
    let protocol = read::text(node, "protocol").unwrap_or("tcp");
    let target = read::text(node, "target").and_then(port).filter(|_| is_protocol(protocol));
    let Some(target) = target else {
        let what =
            format!("a port of `{name}` has no `target` from 1 to 65535, or another protocol than tcp, udp, sctp");
        translation.refuse(node.place, &what, "write `\"127.0.0.1:8080:80\"`");
        return None;
    };
    let written = read::text(node, "published").unwrap_or_default();
    let first = written.split('-').next().unwrap_or_default();
    let outside = if first.is_empty() || first == "0" { Some(target) } else { port(first) };
    let Some(outside) = outside else {
        let what = format!("`{}` is no port that `{name}` can be published on", shown(written));
        translation.refuse(place_of(node, "published"), &what, "write a number from 1 to 65535");
        return None;
    };
    if written.contains('-') {
        let what = format!("of the ports {} that `{name}` may be published on, {outside} is taken", shown(written));
        translation.note(node.place, what);
    }
    let host = read::text(node, "host_ip").unwrap_or_default();
    let here = host.starts_with("127.") || matches!(host, "::1" | "[::1]" | "localhost");
    if !here && !matches!(host, "" | "0.0.0.0" | "::" | "[::]") {
        let what = format!("the address `{}` that `{name}` is published on", shown(host));
        translation.lose("ports.host_ip", place_of(node, "host_ip"), &what);
    }
    let wanted = read::text(node, "name").map(str::to_string);
    if let Some(bad) = wanted.as_ref().filter(|name| !is_name(name)) {
        let what =
            format!("the port `{}` of `{name}` is called by its number: its name is none for a cluster", shown(bad));
        translation.note(node.place, what);
    }
    let spoken = read::text(node, "app_protocol");
    if let Some(bad) = spoken.filter(|protocol| !super::workload::is_key(protocol)) {
        let what = format!("`app_protocol: {}` of `{name}` is none for a cluster", shown(bad));
        translation.refuse(place_of(node, "app_protocol"), &what, "write `http`, `https`, `kubernetes.io/h2c`");
    }
    Some(Port {
        name: wanted.filter(|name| is_name(name)),
        app_protocol: spoken.map(str::to_string),
        published: Some(Published { port: outside, here }),
        ..plain(target, protocol, node.place)
    })
}

/// A name of a port (RFC 6335): at most 15 lower-case letters, digits and single hyphens, one letter at least.
fn is_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

impl Port {
    /// Its name: the one that it was given, or `tcp-8080`.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}-{}", self.protocol.to_ascii_lowercase(), self.target))
    }

    /// As a container has it.
    pub fn container(&self) -> Json {
        json!({"containerPort": self.target, "name": self.label(), "protocol": self.protocol})
    }

    /// As a Service has it, reached under `number`.
    pub fn service(&self, number: u64, label: String) -> Json {
        let mut port = Object::new();
        put(&mut port, "appProtocol", self.app_protocol.as_ref().map(|protocol| json!(protocol)));
        put(&mut port, "name", Some(json!(label)));
        put(&mut port, "port", Some(json!(number)));
        put(&mut port, "protocol", Some(json!(self.protocol)));
        put(&mut port, "targetPort", Some(json!(self.target)));
        Json::Object(port)
    }
}

/// One of each port, whether or not it is published more than once; names are not given twice.
pub(super) fn distinct(ports: &[Port]) -> Vec<Port> {
    let mut found: Vec<Port> = Vec::new();
    for port in ports {
        if found.iter().any(|other| (other.target, &other.protocol) == (port.target, &port.protocol)) {
            continue;
        }
        let mut port = port.clone();
        if found.iter().any(|other| other.label() == port.label()) {
            port.name = None;
        }
        found.push(port);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_ports() {
        for (name, expected) in [
            ("http", true),
            ("a-1", true),
            ("80", false),
            ("-a", false),
            ("a-", false),
            ("a--b", false),
            ("HTTP", false),
            ("a-name-of-16-ch.", false),
            ("abcdefghijklmnop", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
