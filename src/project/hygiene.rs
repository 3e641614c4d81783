//! `[hygiene]`: how a project is checked before it is built. It belongs to the project, not to a variant.

use super::document::{Node, Table, Value};
use super::file::Project;
use super::place::{Located, Place};
use super::rule;

/// A file that is larger is told, in bytes, unless the project says otherwise.
pub const LARGE_FILE: u64 = 100_000_000;

/// What a project makes of the rules of a check, not yet held against those that there are.
#[derive(Clone, Debug, Default)]
pub struct RulesSpec {
    /// Rules that are switched off.
    pub skip: Vec<Located<String>>,
    /// Rules with another severity: "error", "warning", "info".
    pub severity: Vec<(Located<String>, String)>,
}

/// `[hygiene]`.
#[derive(Clone, Debug)]
pub struct HygieneSpec {
    /// `skip` and `severity`.
    pub rules: RulesSpec,
    /// A file that is larger is told, in bytes.
    pub large_file: u64,
}

impl Project {
    /// `[hygiene]`.
    pub fn hygiene(&self) -> HygieneSpec {
        let size = self.table.get("hygiene").and_then(|member| member.node.table()?.get("large-file"));
        let large_file = match size.map(|member| &member.node.value) {
            Some(Value::Integer(bytes)) => u64::try_from(*bytes).unwrap_or(LARGE_FILE),
            Some(Value::String(text)) => rule::size(text).unwrap_or(LARGE_FILE),
            _ => LARGE_FILE,
        };
        HygieneSpec { rules: self.rules("hygiene"), large_file }
    }

    /// `skip` and `severity` of the table of a check: "hygiene", "validate".
    pub fn rules(&self, table: &str) -> RulesSpec {
        let mut spec = RulesSpec::default();
        let Some(table) = self.table.get(table).and_then(|member| member.node.table()) else { return spec };
        if let Some(Value::Array(items)) = table.get("skip").map(|member| &member.node.value) {
            spec.skip.extend(items.iter().filter_map(|item| Some(Located { value: text(item)?, at: self.at(item) })));
        }
        for (name, member) in table.get("severity").and_then(|member| member.node.table()).into_iter().flatten() {
            let at = Place::new(&self.source, member.key.clone());
            spec.severity.extend(text(&member.node).map(|value| (Located { value: name.clone(), at }, value)));
        }
        spec
    }

    /// Where the key at the end of `path` is written: in the variant, else in the project.
    pub fn written(&self, variant: &str, path: &[&str]) -> Option<Place> {
        let own = self.table.get("variants").and_then(|all| all.node.table()?.get(variant)?.node.table());
        let found = own.and_then(|table| find(table, path)).or_else(|| find(&self.table, path))?;
        Some(Place::new(&self.source, found))
    }

    /// The text of the project file.
    pub fn text(&self) -> &str {
        self.source.text()
    }

    fn at(&self, node: &Node) -> Place {
        Place::new(&self.source, node.span.clone())
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn find(table: &Table, path: &[&str]) -> Option<std::ops::Range<usize>> {
    let (first, rest) = path.split_first()?;
    let member = table.get(*first)?;
    match rest {
        [] => Some(member.key.clone()),
        _ => find(member.node.table()?, rest),
    }
}
