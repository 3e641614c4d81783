//! A resolved stack as YAML, and as JSON.

use serde_json::{Number, Value as Json, json as object};

use super::node::{Node, Place, Value};

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
    block(node, 0, true, &mut out);
    out
}

/// JSON as YAML of another program, in which a dollar is a dollar. Text of several lines is written as such.
pub fn manifest(json: &Json) -> String {
    let mut out = String::new();
    block(&node(json), 0, false, &mut out);
    out
}

fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(node).collect()),
        Json::Object(map) => {
            Value::Map(map.iter().map(|(key, json)| (key.clone(), (Place::default(), node(json)))).collect())
        }
    };
    Node::new(Place::default(), value)
}

/// `dollars`: one of a value is written twice.
fn block(node: &Node, depth: usize, dollars: bool, out: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.value {
        Value::Map(map) if !map.is_empty() => {
            for (key, (_, value)) in map {
                *out += &format!("{indent}{}:", text(key));
                below(value, depth, dollars, out);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for value in list {
                *out += &format!("{indent}-");
                match &value.value {
                    // The first key stands behind the dash.
                    Value::Map(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        block(value, depth + 1, dollars, &mut inner);
                        *out += &format!(" {}", inner.trim_start());
                    }
                    _ => below(value, depth, dollars, out),
                }
            }
        }
        _ => *out += &format!("{indent}{}\n", flat(node, dollars)),
    }
}

fn below(value: &Node, depth: usize, dollars: bool, out: &mut String) {
    match &value.value {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            block(value, depth + 1, dollars, out);
        }
        Value::List(list) if !list.is_empty() => {
            out.push('\n');
            block(value, depth + 1, dollars, out);
        }
        Value::Text(text) if !dollars && is_literal(text) => {
            let indent = "  ".repeat(depth + 1);
            *out += if text.ends_with('\n') { " |\n" } else { " |-\n" };
            for line in text.lines() {
                *out += &if line.is_empty() { "\n".into() } else { format!("{indent}{line}\n") };
            }
        }
        _ => *out += &format!(" {}\n", flat(value, dollars)),
    }
}

/// Whether text of several lines is itself when its lines are written as they are: no other reader sees other breaks in
/// it, its first line does not begin with a space, and it has at most one break at its end.
fn is_literal(text: &str) -> bool {
    let usual = |c: char| matches!(c, '\n' | '\t' | ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{2030}'..='\u{d7ff}');
    let lines = text.strip_suffix('\n').unwrap_or(text);
    lines.contains('\n')
        && text.chars().all(usual)
        && !lines.starts_with([' ', '\t', '\n'])
        && lines.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
        && !lines.ends_with('\n')
}

fn flat(node: &Node, dollars: bool) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.clone(),
        // What was expanded stays: a dollar of a value is written twice, as it was.
        Value::Text(value) if dollars => text(&value.replace('$', "$$")),
        Value::Text(value) => text(value),
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
    if plain { value.to_string() } else { quoted(value) }
}

/// In double quotes, whatever it is: JSON's strings are YAML's, but YAML's readers refuse some characters that JSON's take, and break lines at others.
pub(super) fn quoted(value: &str) -> String {
    let escaped = |c: char| match c {
        '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(c))
        }
        c => c.to_string(),
    };
    object!(value).to_string().chars().map(escaped).collect()
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
