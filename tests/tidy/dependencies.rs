//! `deny.toml` without cargo-deny: licences, banned crates and sources of everything that Cargo.lock names.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::source::root;

/// What `deny.toml` does not allow.
pub fn findings() -> Vec<String> {
    let rules: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: Vec<&str> =
        rules["licenses"]["allow"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    let banned = rules["bans"]["deny"].as_array().unwrap();
    let banned: Vec<&str> = banned.iter().filter_map(|entry| entry["crate"].as_str()).collect();
    let mut found = Vec::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let (name, license, source) = (text("name"), text("license"), text("source"));
        if banned.contains(&name.as_str()) {
            found.push(format!("{name} is banned"));
        }
        if !permits(&license, &allowed) {
            found.push(format!("{name}: licence `{license}`"));
        }
        if !source.is_empty() && !source.starts_with("registry+") {
            found.push(format!("{name}: source `{source}`"));
        }
    }
    found
}

/// The packages of a build for Linux, as cargo lists them.
fn packages() -> Vec<Value> {
    let mut all = Vec::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let listed = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform", target])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(listed.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&listed.stderr));
        let document: Value = serde_json::from_slice(&listed.stdout).expect("cargo metadata is JSON");
        let ids: Vec<_> =
            document["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
        let packages = document["packages"].as_array().unwrap();
        all.extend(packages.iter().filter(|package| ids.contains(&package["id"])).cloned());
    }
    all
}

/// Whether an SPDX expression can be met with the allowed licences.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at, allowed);
    met && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed);
    }
    met
}

fn all(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any(words, at, allowed);
        *at += 1;
        return met;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(word)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"];
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
    ] {
        assert!(permits(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception AND GPL-3.0", "MIT ISC"]
    {
        assert!(!permits(bad, &allowed), "{bad}");
    }
}
