//! Rooms and their order.

use std::collections::BTreeSet;
use std::fs;

use super::source::{Source, root};

/// The numbered list under `## Room order`.
pub fn ordered(architecture: &str) -> Vec<String> {
    let section = architecture.split_once("## Room order").expect("ARCHITECTURE.md has a `## Room order`").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let name = |line: &str| {
        let (number, rest) = line.split_once(". `")?;
        number.parse::<usize>().ok()?;
        Some(rest.split_once('`')?.0.to_owned())
    };
    section.lines().filter_map(name).collect()
}

/// The rooms that exist, in the given order; what is in no list comes last.
pub fn on_disk(order: &[String]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        if !["lib", "main"].contains(&name.as_str()) {
            names.insert(name);
        }
    }
    let listed: Vec<_> = order.iter().filter(|room| names.contains(*room)).cloned().collect();
    let rest = names.into_iter().filter(|room| !order.contains(room)).collect();
    [listed, rest].concat()
}

/// The room that a file belongs to.
fn room_of(path: &str) -> &str {
    let path = path.trim_start_matches("src/");
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// The uses of a later room in a file.
pub fn backwards(file: &Source, order: &[String]) -> Vec<String> {
    let room = room_of(&file.path);
    let Some(own) = order.iter().position(|name| name == room) else { return Vec::new() };
    let code: String = file.code().flat_map(|(_, line)| [line, "\n"]).collect();
    let later =
        used(&code).into_iter().filter(|name| order.iter().position(|room| room == name).is_some_and(|at| at > own));
    later.map(|name| format!("{}: `{room}` uses `{name}`", file.path)).collect()
}

/// The first names after `crate::`, also in groups.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (at, symbol) in group.char_indices() {
                match symbol {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ if start && !symbol.is_whitespace() => {
                        names.insert(first_name(&group[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.insert(first_name(rest));
        }
    }
    names
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|symbol| symbol.is_alphanumeric() || *symbol == '_').collect()
}

#[test]
fn uses_are_found_alone_and_in_groups() {
    let code = "use crate::fs;\nuse crate::{\n  oci::{Digest, x},\n  layer::Store,\n};\nfn f() { crate::net::get() }";
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), ["fs", "layer", "net", "oci"]);
}

#[test]
fn a_later_room_is_found_and_an_earlier_one_is_fine() {
    let order = ["fs", "oci", "layer"].map(String::from);
    let file = |text: &str| Source { path: "src/oci/x.rs".into(), text: text.into(), tests: false };
    assert_eq!(backwards(&file("use crate::layer::Store;"), &order), ["src/oci/x.rs: `oci` uses `layer`"]);
    assert!(
        backwards(
            &file("use crate::fs;\n// crate::layer is fine here\n#[cfg(test)]\nmod tests {\nuse crate::layer;\n}"),
            &order
        )
        .is_empty()
    );
}
