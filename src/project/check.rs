//! A document against the schema: unknown keys, wrong types, values against their rules, missing keys.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::document::{Node, Table, Value};
use super::error::Error;
use super::place::{Place, Source};
use super::rule::{self, Complaint, Rule};
use super::schema::{self, Key, Kind, PROJECT, VARIANT};
use super::suggest;

/// What is checked, and how far.
pub struct Check<'a> {
    /// The file.
    pub source: &'a Arc<Source>,
    /// "tool.ingot." in pyproject.toml, else empty.
    pub prefix: &'static str,
    /// Whether the tables are a variant's, merged and expanded: then nothing required may be missing, and no `${`
    /// is left in a string.
    pub complete: bool,
}

/// A table under the check: where its name is, and how it is called.
struct Scope<'a> {
    path: &'a str,
    at: Range<usize>,
    in_variant: bool,
}

impl Check<'_> {
    /// Checks a project as it is written.
    pub fn project(&self, table: &Table, at: Range<usize>) -> Result<(), Error> {
        self.table(table, &PROJECT.iter().collect::<Vec<_>>(), &Scope { path: "", at, in_variant: false })
    }

    /// Checks one variant, merged with the project's tables.
    pub fn variant(&self, table: &Table, name: &str, at: Range<usize>) -> Result<(), Error> {
        if !table.contains_key("image") {
            let hint = "every project has `[image]` with a `name`".to_string();
            return Err(self.place(0..0).mistake(format!("`[{}image]` is missing", self.prefix), Some(hint)));
        }
        if !table.contains_key("base") {
            let hint = "name a base: `base = \"debian:12-slim\"`".to_string();
            return Err(self.place(at).mistake(format!("the variant `{name}` has no `base`"), Some(hint)));
        }
        self.table(table, &variant_keys(), &Scope { path: "", at, in_variant: true })
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.source, span)
    }

    fn table(&self, table: &Table, keys: &[&Key], scope: &Scope<'_>) -> Result<(), Error> {
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(_, member)| member.key.start);
        for (name, member) in members {
            let Some(key) = keys.iter().find(|key| key.name == *name) else {
                return Err(self.unknown(name, member.key.clone(), keys, scope));
            };
            let path = join(scope.path, name);
            let inner = Scope { path: &path, at: member.key.clone(), in_variant: scope.in_variant };
            self.value(&member.node, &key.kind, &inner)?;
        }
        match keys.iter().find(|key| self.complete && key.required && key.in_variants && !table.contains_key(key.name))
        {
            Some(missing) => {
                let message = format!("`{}` is missing in {}", missing.name, self.title(scope.path));
                let hint = format!("write it as in `{} = {}`", missing.name, missing.example);
                Err(self.place(scope.at.clone()).mistake(message, Some(hint)))
            }
            None => Ok(()),
        }
    }

    fn title(&self, path: &str) -> String {
        match (self.prefix, path) {
            ("", "") => "the project file".into(),
            (prefix, "") => format!("`[{}]`", prefix.trim_end_matches('.')),
            (prefix, path) => format!("`[{prefix}{path}]`"),
        }
    }

    fn unknown(&self, name: &str, at: Range<usize>, keys: &[&Key], scope: &Scope<'_>) -> Error {
        let names = || keys.iter().map(|key| key.name);
        let elsewhere = schema::tables_with(name);
        let hint = match suggest::nearest(name, names()) {
            _ if !elsewhere.is_empty() => {
                let tables: Vec<_> = elsewhere.iter().map(|table| self.title(table)).collect();
                format!("`{name}` belongs in {}", tables.join(" or "))
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys of {} are {}", self.title(scope.path), suggest::list(names())),
        };
        self.place(at).mistake(format!("unknown key `{name}` in {}", self.title(scope.path)), Some(hint))
    }

    fn value(&self, node: &Node, kind: &Kind, scope: &Scope<'_>) -> Result<(), Error> {
        match (kind, &node.value) {
            (Kind::Table(keys), Value::Table(table)) => self
                .table(table, &keys.iter().collect::<Vec<_>>(), scope)
                .and_then(|()| self.only_in_project(table, keys, scope)),
            (Kind::Tables(name_rule, _), Value::Table(table)) => self.variants(table, *name_rule, scope),
            (Kind::Map(key_rule, value_rule), Value::Table(table)) => {
                for (name, member) in table {
                    key_rule(name).map_err(|complaint| self.complain(complaint, member.key.clone()))?;
                    let path = join(scope.path, name);
                    self.text(&member.node, *value_rule, &path)?;
                }
                Ok(())
            }
            (Kind::Text(rule), _) => self.text(node, *rule, scope.path),
            (Kind::Choice(choices), Value::String(text)) => self.choice(text, choices, node, scope.path),
            (Kind::Number(low, high), Value::Integer(number)) => self.number(*number, *low, *high, node, scope.path),
            (Kind::Flag, Value::Boolean(_)) => Ok(()),
            (Kind::Size, Value::String(text)) => self.unless_open(text, |text| rule::size(text).map(drop), node),
            (Kind::Size, Value::Integer(bytes)) => {
                self.unless_open(&bytes.to_string(), |text| rule::size(text).map(drop), node)
            }
            (Kind::Duration, Value::String(text)) => {
                self.unless_open(text, |text| rule::duration(text).map(drop), node)
            }
            (Kind::Set(rule), Value::Array(items)) => {
                self.texts(items, *rule, scope.path)?;
                self.distinct(items, scope.path)
            }
            (Kind::Command, Value::Array(items)) => self.command(items, node, scope.path),
            (Kind::Ports, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.port(item, &format!("{}[{index}]", scope.path))?;
                }
                self.distinct(items, scope.path)
            }
            _ => Err(self.wrong_type(node, kind.expected(), scope.path)),
        }
    }

    /// Keys that a variant cannot have.
    fn only_in_project(&self, table: &Table, keys: &[Key], scope: &Scope<'_>) -> Result<(), Error> {
        let misplaced = keys.iter().find(|key| !key.in_variants && table.contains_key(key.name));
        match misplaced.and_then(|key| table.get_key_value(key.name)) {
            // After merging, the project's own key is there too: it was checked where it was written.
            Some((name, member)) if scope.in_variant && !self.complete => Err(self.place(member.key.clone()).mistake(
                format!("`{name}` cannot be set in a variant"),
                Some(format!("write it in {}", self.title(scope.path.rsplit('.').next().unwrap_or_default()))),
            )),
            _ => Ok(()),
        }
    }

    fn variants(&self, table: &Table, name_rule: Rule, scope: &Scope<'_>) -> Result<(), Error> {
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(_, member)| member.key.start);
        for (name, member) in members {
            let path = join(scope.path, name);
            let Some(variant) = member.node.table() else {
                return Err(self.wrong_type(&member.node, "a table", &path));
            };
            name_rule(name).map_err(|complaint| self.complain(complaint, member.key.clone()))?;
            self.table(variant, &variant_keys(), &Scope { path: &path, at: member.key.clone(), in_variant: true })?;
        }
        Ok(())
    }

    fn texts(&self, items: &[Node], rule: Rule, path: &str) -> Result<(), Error> {
        items.iter().enumerate().try_for_each(|(index, item)| self.text(item, rule, &format!("{path}[{index}]")))
    }

    fn text(&self, node: &Node, rule: Rule, path: &str) -> Result<(), Error> {
        match &node.value {
            Value::String(text) => self.unless_open(text, rule, node),
            _ => Err(self.wrong_type(node, "a string", path)),
        }
    }

    /// A string with `$` in it is checked when it is expanded.
    fn unless_open(&self, text: &str, rule: impl Fn(&str) -> Result<(), Complaint>, node: &Node) -> Result<(), Error> {
        if !self.complete && text.contains('$') {
            return Ok(());
        }
        rule(text).map_err(|complaint| self.complain(complaint, node.span.clone()))
    }

    fn choice(&self, text: &str, choices: &[&str], node: &Node, path: &str) -> Result<(), Error> {
        if choices.contains(&text) || (!self.complete && text.contains('$')) {
            return Ok(());
        }
        let known: Vec<String> = choices.iter().map(|choice| choice.to_string()).collect();
        let message = format!("`{}` is not a value of `{path}`", text.escape_debug());
        Err(self.place(node.span.clone()).mistake(message, Some(suggest::hint(text, &known, "the values are"))))
    }

    fn number(&self, number: i64, low: i64, high: i64, node: &Node, path: &str) -> Result<(), Error> {
        if (low..=high).contains(&number) {
            return Ok(());
        }
        let hint = (number == 0 && matches!(path.rsplit('.').next(), Some("uid" | "gid")))
            .then(|| "0 is root: an application runs as an ordinary user, for example 1001".to_string());
        let message = format!("`{path}` cannot be {number}: expected {low} to {high}");
        Err(self.place(node.span.clone()).mistake(message, hint))
    }

    fn command(&self, items: &[Node], node: &Node, path: &str) -> Result<(), Error> {
        self.texts(items, rule::text, path)?;
        let empty = items.first().is_none_or(|first| matches!(&first.value, Value::String(text) if text.is_empty()));
        match empty {
            true => Err(self.place(node.span.clone()).mistake(
                format!("`{path}` is empty"),
                Some("name the program and its arguments, one string each".into()),
            )),
            false => Ok(()),
        }
    }

    fn port(&self, item: &Node, path: &str) -> Result<(), Error> {
        match &item.value {
            Value::String(text) => self.unless_open(text, |text| rule::port(text).map(drop), item),
            Value::Integer(number) => rule::port(&number.to_string())
                .map(drop)
                .map_err(|complaint| self.complain(complaint, item.span.clone())),
            _ => Err(self.wrong_type(item, "a port", path)),
        }
    }

    fn distinct(&self, items: &[Node], path: &str) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for item in items {
            let text = match &item.value {
                Value::String(text) => text.strip_suffix("/tcp").unwrap_or(text).to_string(),
                Value::Integer(number) => number.to_string(),
                _ => continue,
            };
            if !seen.insert(text.clone()) {
                let message = format!("`{}` is in `{path}` twice", text.escape_debug());
                return Err(self.place(item.span.clone()).mistake(message, None));
            }
        }
        Ok(())
    }

    fn wrong_type(&self, node: &Node, expected: &str, path: &str) -> Error {
        let place = self.place(node.span.clone());
        let found = node.value.describe();
        let hint = match (&node.value, expected) {
            (Value::Integer(_) | Value::Boolean(_) | Value::Other("a float" | "a date"), "a string") => {
                Some(format!("put it in quotes: `\"{}\"`", place.text()))
            }
            (Value::String(text), "an array of strings") => {
                let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
                Some(format!("write it as an array: `[{}]`", words.join(", ")))
            }
            (Value::String(text), "an integer") if text.parse::<i64>().is_ok() => {
                Some(format!("write it without quotes: `{text}`"))
            }
            (Value::Integer(number), "an array of ports") => Some(format!("write it as an array: `[{number}]`")),
            _ => None,
        };
        place.mistake(format!("`{path}` must be {expected}, not {found}"), hint)
    }

    fn complain(&self, complaint: Complaint, at: Range<usize>) -> Error {
        self.place(at).mistake(complaint.message, complaint.hint)
    }
}

fn variant_keys() -> Vec<&'static Key> {
    VARIANT.iter().chain(PROJECT.iter().filter(|key| key.in_variants)).collect()
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    }
}
