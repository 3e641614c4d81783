//! Values of a Compose file: amounts of memory, of processors and of time; and how Kubernetes writes them.

use crate::stack::node::{Node, Value};

/// Text, number or truth value below a key.
pub(super) fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::scalar)
}

/// Whether a key says `true`.
pub(super) fn flag(node: &Node, key: &str) -> bool {
    text(node, key) == Some("true")
}

/// The list below a key.
pub(super) fn list<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).and_then(Node::list).unwrap_or_default()
}

/// The pairs below a key.
pub(super) fn pairs<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let map = node.get(key).and_then(Node::map);
    map.into_iter().flatten().map(|(key, (_, node))| (key.as_str(), node))
}

/// A value that is there.
pub(super) fn some<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|node| node.value != Value::Null)
}

/// A decimal number and the unit behind it, in millionths.
fn amount(text: &str) -> Option<(u128, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || whole.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String = part.chars().chain("000000".chars()).take(6).collect();
    // What is beyond millionths is more than nothing.
    let rest = part.get(6..).is_some_and(|rest| rest.bytes().any(|byte| byte != b'0'));
    Some((whole * 1_000_000 + digits.parse::<u128>().ok()? + u128::from(rest), unit))
}

/// `512m`, `1.5gb`, `1024`: bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (millionths, unit) = amount(text.trim())?;
    let factor: u128 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    u64::try_from(millionths.checked_mul(factor)?.div_ceil(1_000_000)).ok().filter(|bytes| *bytes < 1 << 62)
}

/// `0.5`: thousandths of a processor, at least one if it is not none.
pub(super) fn millicores(text: &str) -> Option<u64> {
    let (millionths, unit) = amount(text.trim())?;
    u64::try_from(millionths.div_ceil(1000)).ok().filter(|cores| unit.is_empty() && *cores < 1 << 40)
}

/// `1m30s`, `1.5s`, `500ms`: seconds, rounded up.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut microseconds: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (millionths, behind) = amount(rest)?;
        let (unit, factor): (&str, u128) =
            [("ns", 0), ("us", 1), ("µs", 1), ("ms", 1000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)]
                .into_iter()
                .find(|(unit, _)| behind.starts_with(unit))
                .or_else(|| (millionths == 0 && behind.is_empty()).then_some(("", 0)))?;
        microseconds = microseconds.checked_add(millionths.checked_mul(factor)? / 1_000_000)?;
        rest = behind.get(unit.len()..)?;
    }
    u64::try_from(microseconds.div_ceil(1_000_000)).ok().filter(|seconds| *seconds <= i32::MAX as u64)
}

/// Bytes as Kubernetes writes them: `512Mi`.
pub(super) fn quantity(bytes: u64) -> String {
    let units = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let unit = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(size, unit)| format!("{}{unit}", bytes / size))
}

/// Thousandths of a processor as Kubernetes writes them: `500m`, `2`.
pub(super) fn cores(milli: u64) -> String {
    if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// Whether it is an amount of bytes in Kubernetes' words, and more than none.
pub(super) fn is_quantity(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let is_number = number.len() < 16 && number.parse::<f64>().is_ok_and(|number| number > 0.0);
    is_number && matches!(unit, "" | "k" | "M" | "G" | "T" | "P" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi")
}

/// `0` to `limit`, all digits.
pub(super) fn number(text: &str, limit: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        for (text, expected) in [
            ("512m", Some("512Mi")),
            ("1.5g", Some("1536Mi")),
            ("1GB", Some("1Gi")),
            ("64kb", Some("64Ki")),
            ("1000", Some("1000")),
            ("0", Some("0")),
            ("2TiB", Some("2Ti")),
            ("0.5b", Some("1")),
            (".5k", Some("512")),
            ("", None),
            (".", None),
            ("1x", None),
            ("-1", None),
            ("99999999999g", None),
            ("1.2.3g", None),
        ] {
            assert_eq!(bytes(text).map(quantity).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("0.5", Some("500m")),
            ("2", Some("2")),
            ("1.0", Some("1")),
            ("0.0001", Some("1m")),
            ("1c", None),
            ("", None),
        ] {
            assert_eq!(millicores(text).map(cores).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("1m30s", Some(90)),
            ("1.5s", Some(2)),
            ("500ms", Some(1)),
            ("1h", Some(3600)),
            ("10us", Some(1)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30", None),
            ("", None),
            ("x", None),
            ("1s x", None),
            ("9999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1Gi", true),
            ("500M", true),
            ("1.5Ti", true),
            ("0", false),
            ("-1Gi", false),
            ("1g", false),
            ("", false),
            ("1e9", false),
        ] {
            assert_eq!(is_quantity(text), expected, "{text}");
        }
        assert_eq!((number("7", 9), number("10", 9), number("+1", 9), number("", 9)), (Some(7), None, None, None));
    }
}
