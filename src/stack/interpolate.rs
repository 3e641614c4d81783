//! `${NAME}` in the values of a Compose file (Compose Specification, "Interpolation").
//!
//! A value is put in as text and never read as YAML again, so it cannot add keys. Nothing is expanded twice.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::node::{Node, Place, Value};

/// How deep defaults may stand in one another.
const DEPTH_LIMIT: usize = 16;
/// The longest text that a value may become, in bytes, and all values of a stack together.
const TEXT_LIMIT: usize = 256 << 10;
const TOTAL_LIMIT: usize = 16 << 20;
/// How many variables without a value are told.
const MISSING_SHOWN: usize = 20;

/// The variables of a stack, and which were asked for in vain.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: BTreeMap<String, String>,
    expanded: usize,
    /// Those that were asked for.
    pub used: BTreeSet<String>,
    /// Those of services that are passed on from whoever starts the stack: where, and their names.
    pub passed: BTreeSet<(Place, String)>,
    /// Those that must have a value and have none: where, and what is said then.
    missing: Vec<(Place, String)>,
    /// Variables without a value and without a default, and where they are used.
    pub unset: BTreeMap<String, Place>,
}

impl Variables {
    /// Those of the environment, over those of `.env` files.
    pub fn new(files: BTreeMap<String, String>, environment: BTreeMap<String, String>) -> Self {
        let mut values = files;
        values.extend(environment);
        Variables { values, ..Variables::default() }
    }

    /// Those that are not known yet.
    pub fn add(&mut self, more: BTreeMap<String, String>) {
        for (name, value) in more {
            self.values.entry(name).or_insert(value);
        }
    }

    /// All that are known.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Their values.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Expands all text below a node; keys stay as they are. `name` is the file's. All variables that must have a value
    /// and have none are told at once.
    pub fn expand(&mut self, node: &mut Node, name: &str) -> Result<(), Error> {
        self.missing.clear();
        self.below(node, name)?;
        self.missing.sort();
        self.missing.dedup();
        let Some((first, _)) = self.missing.first() else { return Ok(()) };
        let told = |(at, (place, what)): (usize, &(Place, String))| match at {
            0 => what.clone(),
            _ => format!("line {}: {what}", place.line),
        };
        let what = self.missing.iter().enumerate().take(MISSING_SHOWN).map(told).collect::<Vec<_>>().join("; ");
        Err(Error::Yaml { file: name.into(), line: first.line, what })
    }

    fn below(&mut self, node: &mut Node, name: &str) -> Result<(), Error> {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let place = node.place;
                let known = self.missing.len();
                let expanded = match self.text(text, place, 0) {
                    Ok(expanded) => expanded,
                    Err(_) if self.missing.len() > known => return Ok(()),
                    Err(what) => return Err(Error::Yaml { file: name.into(), line: place.line, what }),
                };
                self.expanded += expanded.len();
                if self.expanded > TOTAL_LIMIT {
                    let what = format!("variables become more than {TOTAL_LIMIT} bytes of text");
                    return Err(Error::Yaml { file: name.into(), line: place.line, what });
                }
                *text = expanded;
            }
            Value::List(list) => list.iter_mut().try_for_each(|node| self.below(node, name))?,
            Value::Map(map) => map.values_mut().try_for_each(|(_, node)| self.below(node, name))?,
            _ => {}
        }
        Ok(())
    }

    /// Expands one text; `depth` is how many defaults it stands in.
    pub(super) fn text(&mut self, text: &str, place: Place, depth: usize) -> Result<String, String> {
        if depth > DEPTH_LIMIT {
            return Err(format!("defaults stand more than {DEPTH_LIMIT} deep in one another"));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or_else(|| format!("`${{` without `}}` in `{}`", shown(text)))?;
                let (inside, behind) = inner.split_at(end);
                out.push_str(&self.braced(inside, place, depth)?);
                behind.get(1..).unwrap_or_default()
            } else {
                let (name, behind) = name(after);
                // `$(date)`, `$?`, `$2`: Compose lets a dollar be one where no name can begin.
                match name.is_empty() {
                    true => out.push('$'),
                    false => out.push_str(&self.value(name, place)),
                }
                behind
            };
            if out.len() > TEXT_LIMIT {
                return Err(format!("a value becomes longer than {TEXT_LIMIT} bytes"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn braced(&mut self, inside: &str, place: Place, depth: usize) -> Result<String, String> {
        let (name, operation) = name(inside);
        if name.is_empty() {
            return Err(format!("`${{{}}}` has no name", shown(inside)));
        }
        let value = self.values.get(name).cloned();
        self.used.insert(name.to_string());
        let filled = value.clone().filter(|value| !value.is_empty());
        let word = |skip: usize| operation.get(skip..).unwrap_or_default();
        let required = |skip: usize| -> String {
            let said = word(skip);
            let said = if said.is_empty() { "it is required" } else { said };
            format!("`{name}` has no value: {}", shown(said))
        };
        match operation {
            "" => Ok(self.value(name, place)),
            _ if operation.starts_with(":-") => filled.map_or_else(|| self.text(word(2), place, depth + 1), Ok),
            _ if operation.starts_with('-') => value.map_or_else(|| self.text(word(1), place, depth + 1), Ok),
            _ if operation.starts_with([':', '?']) && operation.trim_start_matches(':').starts_with('?') => {
                let (found, skip) = if operation.starts_with(':') { (filled, 2) } else { (value, 1) };
                found.ok_or_else(|| {
                    let what = required(skip);
                    self.missing.push((place, what.clone()));
                    what
                })
            }
            _ if operation.starts_with(":+") => {
                filled.map_or(Ok(String::new()), |_| self.text(word(2), place, depth + 1))
            }
            _ if operation.starts_with('+') => {
                value.map_or(Ok(String::new()), |_| self.text(word(1), place, depth + 1))
            }
            _ => Err(format!("`${{{}}}` is no form that Compose knows", shown(inside))),
        }
    }

    fn value(&mut self, name: &str, place: Place) -> String {
        self.used.insert(name.to_string());
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        self.unset.entry(name.to_string()).or_insert(place);
        String::new()
    }
}

/// A name at the beginning, and what is behind it.
fn name(text: &str) -> (&str, &str) {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = if begins { text.find(|c| !letter(c)).unwrap_or(text.len()) } else { 0 };
    text.split_at(end)
}

/// Where the brace closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes.get(at - 1) == Some(&b'$') => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let values = [("A", "1"), ("EMPTY", ""), ("D", "$A ${A}"), ("YAML", "x: {y: [")];
        Variables::new(BTreeMap::new(), values.map(|(name, value)| (name.to_string(), value.to_string())).into())
    }

    #[test]
    fn every_form_is_expanded() {
        for (text, expected) in [
            ("$A-${A}", "1-1"),
            ("$$A $${A}", "$A ${A}"),
            ("${EMPTY:-x}${EMPTY-x}${NONE:-y}${NONE-z}", "xyz"),
            ("${A:+p}${EMPTY:+q}${EMPTY+r}${NONE+s}", "pr"),
            ("${NONE:-${ALSO:-${A}}}", "1"),
            ("${NONE:-a}b}", "ab}"),
            ("${NONE:-{}}", "{}"),
            ("${A:?no}${A?no}", "11"),
            ("$D", "$A ${A}"),
            ("$YAML", "x: {y: ["),
            ("${NONE:-$$}", "$"),
            ("no dollar", "no dollar"),
            ("$(date) $? $2a$ '^x$'", "$(date) $? $2a$ '^x$'"),
        ] {
            assert_eq!(variables().text(text, Place::default(), 0).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("${A", "without `}`"),
            ("${}", "has no name"),
            ("${A!}", "no form that Compose knows"),
            ("${NONE:?set it}", "`NONE` has no value: set it"),
            ("${EMPTY:?}", "`EMPTY` has no value: it is required"),
        ] {
            let error = variables().text(text, Place::default(), 0).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let mut many = Variables::new(BTreeMap::new(), [("A".to_string(), "x".repeat(100_000))].into());
        let list = vec![Node::text(Place::default(), "$A"); 1000];
        let error = many.expand(&mut Node::new(Place::default(), Value::List(list)), "c.yaml").unwrap_err();
        assert!(error.to_string().contains("bytes of text"), "{error}");
        let deep = "${N:-".repeat(40) + &"}".repeat(40);
        assert!(variables().text(&deep, Place::default(), 0).unwrap_err().contains("deep"));
        let line = |line, text| Node::text(Place { file: 0, line }, text);
        let list = vec![
            line(9, "${NONE:?b}"),
            line(3, "${A}${EMPTY:?a}"),
            line(3, "${EMPTY:?a}"),
            line(5, "$A"),
            line(9, "${NONE:?b}"),
        ];
        let error = variables().expand(&mut Node::new(Place::default(), Value::List(list)), "c.yaml").unwrap_err();
        assert_eq!(error.to_string(), "`c.yaml`, line 3: `EMPTY` has no value: a; line 9: `NONE` has no value: b");
        let mut unset = variables();
        let place = Place { file: 0, line: 7 };
        unset.text("${NONE}${NONE:-}$OTHER", place, 0).unwrap();
        assert_eq!(unset.unset.keys().collect::<Vec<_>>(), ["NONE", "OTHER"]);
    }
}
