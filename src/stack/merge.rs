//! One file laid over another (Compose Specification, "Merge and override"). Both are in the normal form.

use super::node::{Map, Merge, Node, Value};

/// Keys below a service whose value is replaced as a whole.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];

/// Lays `over` over `under`.
pub fn merge(under: Node, over: Node) -> Node {
    at("", under, over)
}

fn at(key: &str, under: Node, over: Node) -> Node {
    if over.merge == Merge::Override || REPLACED.contains(&key) {
        return Node { merge: Merge::Usual, ..over };
    }
    let place = over.place;
    let value = match (under.value, over.value) {
        (under, Value::Null) => under,
        (Value::Map(under), Value::Map(over)) => Value::Map(maps(under, over)),
        (Value::List(under), Value::List(over)) => Value::List(lists(key, under, over)),
        (_, over) => over,
    };
    Node::new(place, value)
}

fn maps(mut under: Map, over: Map) -> Map {
    for (key, (place, node)) in over {
        if node.merge == Merge::Reset {
            under.remove(&key);
            continue;
        }
        let merged = match under.remove(&key) {
            Some((_, old)) => at(&key, old, node),
            None => alone(node),
        };
        under.insert(key, (place, merged));
    }
    under
}

/// Appended; of two that mean the same thing, the later stays, in the place of the earlier.
fn lists(key: &str, mut under: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    for node in over {
        let same = identity(key, &node);
        match under.iter_mut().find(|old| identity(key, old) == same) {
            Some(old) => *old = node,
            None => under.push(node),
        }
    }
    under
}

/// What two entries of a list have in common if they mean the same thing.
fn identity(key: &str, node: &Node) -> Vec<Option<String>> {
    let fields: &[&str] = match key {
        "ports" => &["host_ip", "target", "published", "protocol"],
        "volumes" | "devices" => &["target"],
        "secrets" | "configs" => &["target", "source"],
        "env_file" => &["path"],
        _ => &[],
    };
    match node.map() {
        Some(map) if !fields.is_empty() => {
            let field = |name: &&str| map.get(*name).and_then(|(_, node)| node.scalar()).map(str::to_string);
            fields.iter().map(field).collect()
        }
        _ => vec![Some(format!("{:?}", node.value))],
    }
}

/// A value that lies over nothing: what `!reset` names goes, tags are forgotten.
fn alone(node: Node) -> Node {
    let value = match node.value {
        Value::Map(over) => Value::Map(maps(Map::new(), over)),
        other => other,
    };
    Node::new(node.place, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::render::json;
    use crate::stack::{normal, yaml};

    fn merged(under: &str, over: &str) -> String {
        let read = |text: &str| {
            let mut root = yaml::parse(&format!("services:\n  a: {{{text}}}\n"), 0, "c.yaml").unwrap().remove(0);
            normal::normalise(&mut root, "c.yaml").unwrap();
            root
        };
        let all = merge(alone(read(under)), read(over));
        json(all.get("services").unwrap().get("a").unwrap()).to_string()
    }

    #[test]
    fn each_key_is_merged_by_its_rule() {
        for (under, over, expected) in [
            ("image: a, tty: true", "image: b", r#"{"image":"b","tty":true}"#),
            ("command: [a, b]", "command: [c]", r#"{"command":["c"]}"#),
            (
                "healthcheck: {test: [CMD, a], retries: 2}",
                "healthcheck: {test: [CMD, b]}",
                r#"{"healthcheck":{"retries":2,"test":["CMD","b"]}}"#,
            ),
            ("environment: [A=1, B=2]", "environment: {B: 3}", r#"{"environment":{"A":"1","B":3}}"#),
            ("cap_drop: [A]", "cap_drop: [B, A]", r#"{"cap_drop":["A","B"]}"#),
            (
                "volumes: ['a:/x']",
                "volumes: ['b:/x', 'c:/y']",
                r#"{"volumes":[{"source":"b","target":"/x","type":"volume","volume":{}},{"source":"c","target":"/y","type":"volume","volume":{}}]}"#,
            ),
            (
                "ports: ['80:80']",
                "ports: ['80:80', '81:80']",
                r#"{"ports":[{"protocol":"tcp","published":"80","target":"80"},{"protocol":"tcp","published":"81","target":"80"}]}"#,
            ),
            (
                "ports: ['80:80'], tty: true",
                "ports: !override ['1:2'], tty: !reset null",
                r#"{"ports":[{"protocol":"tcp","published":"1","target":"2"}]}"#,
            ),
            (
                "depends_on: [b]",
                "depends_on: {b: {condition: service_healthy}, c: {condition: service_started}}",
                r#"{"depends_on":{"b":{"condition":"service_healthy"},"c":{"condition":"service_started"}}}"#,
            ),
            ("image: a", "image: ", r#"{"image":"a"}"#),
            ("image: !reset x", "tty: true", r#"{"tty":true}"#),
        ] {
            assert_eq!(merged(under, over), expected, "{under} + {over}");
        }
    }
}
