//! Programs of packages: what a package calls them, and the links in `node_modules/.bin` (bin-links).

use std::collections::BTreeMap;

use serde_json::Value;

/// The programs of a package: name, and path in its folder. Neither leads out of where it belongs, whatever is written
/// (npm-normalize-package-bin).
pub fn normalized(bin: &Value, package: &str) -> BTreeMap<String, String> {
    let pairs: Vec<(String, &Value)> = match bin {
        Value::String(_) => vec![(package.to_string(), bin)],
        Value::Array(items) => {
            items.iter().filter_map(|item| Some((item.as_str()?.rsplit('/').next()?.to_string(), item))).collect()
        }
        Value::Object(table) => table.iter().map(|(name, target)| (name.clone(), target)).collect(),
        _ => Vec::new(),
    };
    let pair = |(name, target): (String, &Value)| {
        let name = name.replace(['\\', ':'], "/");
        let name = rooted(name.trim_end_matches('/').rsplit('/').next()?);
        let target = rooted(&target.as_str()?.replace('\\', "/"));
        let fit = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        // A layer could not have such a file.
        (fit(&name) && fit(&target) && !name.starts_with(".wh.")).then_some((name, target))
    };
    pairs.into_iter().filter_map(pair).collect()
}

/// A path as it is below a root that nothing leads out of, without `.`, `..` and empty parts.
fn rooted(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The target of a link in `.bin` beside the folder of a package: `../name/path`.
pub fn link(folder: &str, name: &str, target: &str) -> Option<String> {
    // `.bin/NAME` is one folder below what `folder` is in, however many parts its own name has.
    let own = folder.strip_suffix(name).filter(|rest| rest.is_empty() || rest.ends_with('/')).map(|_| name)?;
    Some(format!("../{own}/{target}"))
}

/// How npm sorts packages that want the same link: the first one gets it. It compares paths as people do ("en"), where
/// punctuation comes before digits and digits before letters of either case.
pub fn collation(path: &str) -> (Vec<u8>, String) {
    // The order of the Unicode collation for what a name can have.
    const PUNCTUATION: &[u8] = b"_-!.'()@*/~";
    let weight = |byte: u8| match PUNCTUATION.iter().position(|known| *known == byte) {
        Some(place) => place as u8,
        None => byte.to_ascii_lowercase(),
    };
    (path.bytes().map(weight).collect(), path.chars().map(swapped).collect())
}

/// Lower case comes first among equals.
fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

/// The start of a script whose first line ends as on Windows: the text without that carriage return (`fix-bin.js`).
pub fn fixed(bytes: &[u8]) -> Option<Vec<u8>> {
    /// How far npm looks.
    const LOOKED_AT: usize = 2048;
    let head = bytes.get(..bytes.len().min(LOOKED_AT))?;
    if !head.starts_with(b"#!") {
        return None;
    }
    let end = head.iter().position(|byte| *byte == b'\n')?;
    // At least one character between `#!` and the carriage return.
    if end < 4 || bytes.get(end - 1) != Some(&b'\r') {
        return None;
    }
    let mut fixed = bytes.get(..end - 1)?.to_vec();
    fixed.extend_from_slice(bytes.get(end..)?);
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(bin: Value) -> String {
        let all: Vec<String> = normalized(&bin, "@s/own").iter().map(|(n, t)| format!("{n}={t}")).collect();
        all.join(" ")
    }

    /// The answers are those of npm-normalize-package-bin 5.
    #[test]
    fn programs_are_normalised_as_npm_does_it() {
        for (bin, expected) in [
            (json!("./cli.js"), "own=cli.js"),
            (json!({"a": "./bin/a.js", "b": "bin//b.js"}), "a=bin/a.js b=bin/b.js"),
            (json!(["x/one", "two"]), "one=x/one two=two"),
            (json!({"../../evil": "../../../etc/passwd"}), "evil=etc/passwd"),
            (json!({"c:\\x": "a\\..\\b"}), "x=b"),
            (json!({"/": "x", "": "x", "..": "x", "ok": "", "no": 3, "n": null}), ""),
            (json!({"a\u{7}": "x", ".wh.a": "x"}), ""),
            (json!(null), ""),
            (json!(7), ""),
        ] {
            assert_eq!(said(bin.clone()), expected, "{bin}");
        }
    }

    #[test]
    fn links_are_relative() {
        assert_eq!(link("node_modules/a", "a", "cli.js").unwrap(), "../a/cli.js");
        assert_eq!(link("node_modules/x/node_modules/@s/b", "@s/b", "bin/b").unwrap(), "../@s/b/bin/b");
        assert_eq!(link("node_modules/a", "b", "cli.js"), None);
    }

    #[test]
    fn packages_are_sorted_as_people_do_it() {
        // [...].sort(new Intl.Collator("en").compare)
        let sorted = ["a_b", "a-b", "a.b", "a@b", "a/b", "a1", "ab", "aB", "ac"];
        let mut ours = sorted;
        ours.reverse();
        ours.sort_by_key(|name| collation(name));
        assert_eq!(ours, sorted);
    }

    #[test]
    fn first_lines_of_windows_are_mended() {
        let of = |text: &str| fixed(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(of("#!/usr/bin/env node\r\nx\r\n").as_deref(), Some("#!/usr/bin/env node\nx\r\n"));
        for fine in ["#!/usr/bin/env node\nx\r\n", "x\r\n", "#!\r\n", "#!x", "", "#!x\r"] {
            assert_eq!(of(fine), None, "{fine:?}");
        }
        assert_eq!(of(&format!("#!{}\r\n", "x".repeat(2100))), None);
    }
}
