//! What is to be changed of a service: as data, and what the resolved stack becomes by it.

use crate::stack::node::{Map, Node, Place, Value};
use crate::stack::ports::is_every;

/// A value that is put into a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Val>),
    Map(Vec<(&'static str, Val)>),
}

/// What is done to one value of a service.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// It becomes this, whatever it was.
    Set(Val),
    /// The list gets what it lacks of these.
    Add(Vec<Val>),
    /// Ports on every address are published on this machine's own.
    Loopback,
}

/// One value of a service, below its keys, and what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub path: Vec<&'static str>,
    pub op: Op,
}

/// All that answers one rule's finding of one service: done as a whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    pub rule: &'static str,
    pub changes: Vec<Change>,
    /// Whether some of it is left on purpose, and found again.
    pub is_partial: bool,
}

impl Val {
    /// Text.
    pub fn text(text: impl Into<String>) -> Val {
        Val::Text(text.into())
    }

    /// A list of texts.
    pub fn texts(texts: &[&str]) -> Val {
        Val::List(texts.iter().map(|text| Val::text(*text)).collect())
    }

    /// As the tree has it.
    pub fn node(&self) -> Node {
        let place = Place::default();
        let value = match self {
            Val::Bool(flag) => Value::Bool(*flag),
            Val::Number(number) => Value::Number(number.clone()),
            Val::Text(text) => Value::Text(text.clone()),
            Val::List(list) => Value::List(list.iter().map(Val::node).collect()),
            Val::Map(map) => {
                Value::Map(map.iter().map(|(key, val)| (key.to_string(), (place, val.node()))).collect::<Map>())
            }
        };
        Node::new(place, value)
    }
}

impl Change {
    /// What becomes of a resolved service.
    pub fn apply(&self, service: &mut Node) {
        match &self.op {
            Op::Set(val) => *descend(service, &self.path) = val.node(),
            Op::Add(vals) => {
                let at = descend(service, &self.path);
                if at.list().is_none() {
                    at.value = Value::List(Vec::new());
                }
                let Value::List(list) = &mut at.value else { return };
                for val in vals {
                    let node = val.node();
                    if !list.iter().any(|old| old.scalar() == node.scalar()) {
                        list.push(node);
                    }
                }
            }
            Op::Loopback => {
                let Value::List(ports) = &mut descend(service, &self.path).value else { return };
                for port in ports {
                    if let Some(own) = moved(port) {
                        *descend(port, &["host_ip"]) = Val::text(own).node();
                    }
                }
            }
        }
    }
}

/// The address of this machine alone, instead of one that means every address.
pub fn loopback(host: &str) -> Option<&'static str> {
    is_every(host).then_some(if host.contains(':') { "::1" } else { "127.0.0.1" })
}

/// The address that a port of a service gets instead of every address, if it gets one.
pub fn moved(port: &Node) -> Option<&'static str> {
    let field = |key: &str| port.get(key).and_then(Node::scalar).unwrap_or_default();
    loopback(field("host_ip")).filter(|_| !is_outward(field("published"), field("protocol"), field("mode")))
}

/// Ports of the host that others knock at, whatever stands behind them: the web itself, mail, names, logs, calls, games.
const OUTWARD: [u16; 31] = [
    20, 21, 22, 25, 53, 80, 110, 123, 143, 443, 465, 514, 587, 636, 853, 990, 993, 995, 1514, 1515, 1883, 3478, 4190,
    5222, 5269, 5349, 6514, 6881, 8883, 22000, 25565,
];

/// Whether a port is of use only to others: no proxy stands before it. A swarm takes no address at all.
pub fn is_outward(published: &str, protocol: &str, mode: &str) -> bool {
    let first = published.split('-').next().and_then(|port| port.parse().ok());
    matches!(protocol, "udp" | "sctp") || !mode.is_empty() || first.is_some_and(|port| OUTWARD.contains(&port))
}

/// The value at a path; mappings are made where there are none.
fn descend<'a>(mut node: &'a mut Node, path: &[&str]) -> &'a mut Node {
    let place = node.place;
    for key in path {
        if node.map().is_none() {
            node.value = Value::Map(Map::new());
        }
        let Value::Map(map) = &mut node.value else { unreachable!("it was made a mapping") };
        node = &mut map.entry(key.to_string()).or_insert_with(|| (place, Node::new(place, Value::Null))).1;
    }
    node
}
