//! What is known of commands and packages beforehand: `layers/debian-scripts.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

const TABLE: &str = include_str!("../../../layers/debian-scripts.toml");

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    needless: BTreeSet<String>,
    commands: BTreeMap<String, String>,
    packages: BTreeMap<String, String>,
    triggers: BTreeMap<String, String>,
}

/// What is known of a package's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ingot does all that they do with code of its own: they are not even read.
    Native,
    /// What of them Ingot does not do has no effect in an image.
    Done,
    /// They do something that Ingot does not; this is what is missing.
    Missing(&'static str),
}

// The table is part of the program: a test reads it.
static KNOWN: LazyLock<Table> = LazyLock::new(|| toml::from_str(TABLE).unwrap_or_default());

/// Whether a command changes nothing that an image keeps.
pub(super) fn is_needless(command: &str) -> bool {
    KNOWN.needless.contains(command)
}

/// Why it could matter that a command was not run.
pub(super) fn reason(command: &str) -> Option<&'static str> {
    KNOWN.commands.get(command).map(String::as_str)
}

/// What is known of a package: by its name, or by a pattern of names.
pub(super) fn package(name: &str) -> Option<Verdict> {
    verdict(&KNOWN.packages, name)
}

/// What is known of a trigger: by its name or its path.
pub(super) fn trigger(name: &str) -> Option<Verdict> {
    verdict(&KNOWN.triggers, name)
}

fn verdict(table: &'static BTreeMap<String, String>, name: &str) -> Option<Verdict> {
    let found = table.get(name).or_else(|| {
        let mut patterns = table.iter().filter(|(pattern, _)| pattern.contains(['*', '?']));
        patterns.find(|(pattern, _)| super::expand::matches(name, pattern)).map(|(_, verdict)| verdict)
    })?;
    Some(match found.as_str() {
        "native" => Verdict::Native,
        "done" | "needless" => Verdict::Done,
        missing => Verdict::Missing(missing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_understood() {
        let table: Table = toml::from_str(TABLE).unwrap();
        assert!(table.needless.len() > 50 && table.packages.len() > 20);
        for reason in table.commands.values().chain(table.packages.values()).chain(table.triggers.values()) {
            assert!(!reason.ends_with('.') && !reason.is_empty(), "{reason}");
        }
        assert_eq!(package("base-passwd"), Some(Verdict::Native));
        assert_eq!(package("python3.11"), Some(Verdict::Done));
        assert_eq!(package("no-such-package"), None);
        assert!(matches!(package("postgresql-15"), Some(Verdict::Missing(_))));
    }
}
