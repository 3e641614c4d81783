//! A resolved stack as YAML, and as JSON.

use serde_json::{Number, Value as Json, json as object};

use super::node::{Node, Value};

/// The tree as JSON. Numbers that JSON has no form for are text.
pub fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(flag) => object!(flag),
        Value::Number(text) => text.parse::<Number>().map_or_else(|_| object!(text), Json::Number),
        Value::Text(text) => object!(text),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(key, (_, node))| (key.clone(), json(node))).collect(),
    }
}

/// The tree as YAML in block style, keys sorted. Text is quoted unless it can be nothing but text.
pub fn yaml(node: &Node) -> String {
    let mut out = String::new();
    block(node, 0, &mut out);
    out
}

fn block(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.value {
        Value::Map(map) if !map.is_empty() => {
            for (key, (_, value)) in map {
                *out += &format!("{indent}{}:", text(key));
                below(value, depth, out);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for value in list {
                *out += &format!("{indent}-");
                match &value.value {
                    // The first key stands behind the dash.
                    Value::Map(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        block(value, depth + 1, &mut inner);
                        *out += &format!(" {}", inner.trim_start());
                    }
                    _ => below(value, depth, out),
                }
            }
        }
        _ => *out += &format!("{indent}{}\n", flat(node)),
    }
}

fn below(value: &Node, depth: usize, out: &mut String) {
    match &value.value {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        Value::List(list) if !list.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        _ => *out += &format!(" {}\n", flat(value)),
    }
}

fn flat(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.clone(),
        // What was expanded stays: a dollar of a value is written twice, as it was.
        Value::Text(value) => text(&value.replace('$', "$$")),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// A scalar: plain if it can be nothing but text for YAML 1.1 and 1.2.
pub(super) fn text(value: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && value.bytes().all(letters)
        && !words.contains(&value.to_ascii_lowercase().as_str());
    // JSON's strings are YAML's, and have every character.
    if plain { value.to_string() } else { quoted(value) }
}

/// In double quotes, whatever it is.
pub(super) fn quoted(value: &str) -> String {
    object!(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{node::Place, yaml};

    #[test]
    fn what_is_written_is_read_back() {
        let source = "a: {b: [1, '1', yes, 'true', true, null, '', \"x\\ny\\e\", [a, [b]], {c: d, e: {f: g}}], h: {}, i: []}\n'k: l': \"# $x: {\"\nz: -1.5\n";
        let node = yaml::parse(source, 0, "c.yaml").unwrap().remove(0);
        let written = yaml(&node);
        let mut again = yaml::parse(&written, 0, "c.yaml").unwrap().remove(0);
        assert!(written.contains("$$x"), "{written}");
        crate::stack::interpolate::Variables::default().expand(&mut again, "c.yaml").unwrap();
        assert_eq!(json(&again), json(&node), "{written}");
        assert_eq!(yaml(&again), written);
        assert_eq!(yaml(&Node::new(Place::default(), Value::Null)), "null\n");
    }
}
