//! A YAML document as a tree that knows the line of everything in it.

use std::collections::BTreeMap;

/// Where something is written: the number of the file in the order of `-f`, and the line, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: usize,
    /// The line.
    pub line: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub value: Value,
    /// `!reset` or `!override`, which say how files are merged.
    pub merge: Merge,
}

/// How a value meets the one of an earlier file (Compose Specification, "Merge and override").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// By the rules of its key.
    #[default]
    Usual,
    /// `!reset`: as if the key were not there.
    Reset,
    /// `!override`: instead of the earlier value.
    Override,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false` as YAML's core schema has them.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; each key with its own place.
    Map(Map),
}

/// A mapping, sorted by key.
pub type Map = BTreeMap<String, (Place, Node)>;

impl Node {
    /// A value at a place.
    pub fn new(place: Place, value: Value) -> Node {
        Node { place, value, merge: Merge::Usual }
    }

    /// Text that stands where something else did.
    pub fn text(place: Place, text: impl Into<String>) -> Node {
        Node::new(place, Value::Text(text.into()))
    }

    /// The mapping, if it is one.
    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Text, numbers and truth values as they are written; nothing of others.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// The value of a key, if it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        Some(&self.map()?.get(key)?.1)
    }

    /// "a mapping", "text".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
