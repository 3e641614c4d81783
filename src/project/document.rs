//! A TOML document with the place of every key and value, free of the parser's lifetimes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Error;
use super::place::{Place, Source};

/// A value and its bytes in the file.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is.
    pub span: Range<usize>,
}

/// A key's place, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where the key is.
    pub key: Range<usize>,
    /// Its value.
    pub node: Node,
}

/// The members of a table by name.
pub type Table = BTreeMap<String, Member>;

/// A TOML value. Floats and dates have no use in a project file, only a name in errors.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string, unescaped.
    String(String),
    /// An integer that fits.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A value that no key takes: "a float".
    Other(&'static str),
    /// An array.
    Array(Vec<Node>),
    /// A table, inline or not.
    Table(Table),
}

impl Value {
    /// "a string", "an integer": what an error says was found.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::Other(name) => name,
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The members, if it is a table.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// Parses a whole document; a syntax error shows its place.
pub fn parse(source: &Arc<Source>) -> Result<Table, Error> {
    let table = DeTable::parse(source.text()).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Place::new(source, span).mistake(format!("invalid TOML: {message}"), None)
    })?;
    Ok(members(table.get_ref()))
}

fn members(table: &DeTable<'_>) -> Table {
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), Member { key: key.span(), node: node(value) }))
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let plain = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a too large integer"), Value::Integer),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.iter().map(node).collect()),
        DeValue::Table(table) => Value::Table(members(table)),
    };
    Node { value: plain, span: value.span() }
}

/// Lays `over` on `under`: tables are merged key by key, everything else is replaced.
pub fn merge(under: &mut Table, over: &Table) {
    for (name, member) in over {
        match (under.get_mut(name).map(|member| &mut member.node.value), &member.node.value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            _ => {
                under.insert(name.clone(), member.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn merging_goes_deep_into_tables_and_replaces_the_rest() {
        let read = |text: &str| parse(&Source::new(Path::new("x"), text.into())).unwrap();
        let mut under = read("a.b = 1\na.c = [1, 2]\nd = 1");
        merge(&mut under, &read("a.c = [3]\na.e = 'x'\nd = { f = 1 }"));
        let a = under["a"].node.table().unwrap();
        assert_eq!(a.keys().collect::<Vec<_>>(), ["b", "c", "e"]);
        assert!(matches!(&a["c"].node.value, Value::Array(items) if items.len() == 1));
        assert!(under["d"].node.table().is_some());
    }
}
