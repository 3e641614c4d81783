//! `${NAME}` in strings: build arguments that were given, then `[args]`, then the facts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::document::{Node, Table, Value};
use super::error::Error;
use super::place::{Place, Source};
use super::rule;
use super::suggest;

/// What `${NAME}` can stand for.
pub struct Scope<'a> {
    /// The file.
    pub source: &'a Arc<Source>,
    /// From the command line: taken as they are.
    pub given: &'a BTreeMap<String, String>,
    /// `[args]`: their values may refer to others.
    pub args: &'a Table,
    /// Facts that hold if nobody says otherwise: taken as they are.
    pub defaults: &'a BTreeMap<String, String>,
    /// `python.version`, which `${PYTHON_VERSION}` stands for.
    pub python_version: Option<&'a Node>,
    /// Names of `[args]` that were expanded already, so that names which double each other stay cheap.
    pub done: RefCell<BTreeMap<String, String>>,
}

/// The longest string after expansion, in bytes: a few names that double each other would fill the memory.
const EXPANDED_LIMIT: usize = 64 << 10;

/// The name that stands for `python.version`.
pub const PYTHON_VERSION: &str = "PYTHON_VERSION";

impl Scope<'_> {
    /// Every name that is defined.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.args.keys().chain(self.defaults.keys()).cloned().collect();
        names.extend(self.python_version.map(|_| PYTHON_VERSION.to_string()));
        names.sort();
        names.dedup();
        names
    }

    /// Expands every string of a table in place, but not its keys.
    pub fn table(&self, table: &mut Table) -> Result<(), Error> {
        table.values_mut().try_for_each(|member| self.node(&mut member.node))
    }

    fn node(&self, node: &mut Node) -> Result<(), Error> {
        let expanded = match &mut node.value {
            Value::Table(table) => return self.table(table),
            Value::Array(items) => return items.iter_mut().try_for_each(|item| self.node(item)),
            Value::String(_) => self.text(node, &mut Vec::new())?,
            _ => return Ok(()),
        };
        node.value = Value::String(expanded);
        Ok(())
    }

    /// `open` holds the names that are being expanded, outermost first.
    fn text(&self, node: &Node, open: &mut Vec<String>) -> Result<String, Error> {
        let Value::String(text) = &node.value else { return Ok(String::new()) };
        let mut expanded = String::with_capacity(text.len());
        let (mut rest, mut offset) = (text.as_str(), 0);
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let tail = &rest[at + 1..];
            let used = if tail.starts_with('$') {
                expanded.push('$');
                2
            } else if let Some(inner) = tail.strip_prefix('{') {
                let Some(end) = inner.find('}') else {
                    let message = format!("`{}` has no closing brace", rest[at..].escape_debug());
                    let hint = "write `$${` for a dollar and a brace".to_string();
                    return Err(self.piece(node, text, offset + at..text.len()).mistake(message, Some(hint)));
                };
                let piece = offset + at..offset + at + end + 3;
                expanded.push_str(&self.name(&inner[..end], node, text, piece, open)?);
                end + 3
            } else {
                expanded.push('$');
                1
            };
            if expanded.len() > EXPANDED_LIMIT {
                break;
            }
            offset += at + used;
            rest = &rest[at + used..];
        }
        expanded.push_str(rest);
        self.limited(expanded, node)
    }

    fn limited(&self, expanded: String, node: &Node) -> Result<String, Error> {
        if expanded.len() <= EXPANDED_LIMIT {
            return Ok(expanded);
        }
        let message = format!("the text is longer than {EXPANDED_LIMIT} bytes when its names are expanded");
        Err(Place::new(self.source, node.span.clone()).mistake(message, None))
    }

    fn name(
        &self,
        name: &str,
        node: &Node,
        text: &str,
        piece: Range<usize>,
        open: &mut Vec<String>,
    ) -> Result<String, Error> {
        let refuse =
            |message: String, hint: String| Err(self.piece(node, text, piece.clone()).mistake(message, Some(hint)));
        if rule::env_name(name).is_err() {
            let written = format!("${{{name}}}");
            let message = format!("`{}` is not a build argument: expected `${{NAME}}`", written.escape_debug());
            return refuse(message, format!("write `${}` for the text itself", written.escape_debug()));
        }
        if let Some(value) = self.given.get(name) {
            return Ok(value.clone());
        }
        let python = if name == PYTHON_VERSION { self.python_version } else { None };
        if let Some(inner) = self.args.get(name).map(|member| &member.node) {
            // `version = "${PYTHON_VERSION}"` is the usual way to write it, with PYTHON_VERSION in [args].
            return self.inner(name, inner, open, refuse);
        }
        if let Some(value) = self.defaults.get(name) {
            return Ok(value.clone());
        }
        if let Some(inner) = python {
            return self.inner(name, inner, open, refuse);
        }
        let names = self.names();
        let near = suggest::nearest(name, names.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None => format!("give `{name}` a default in `[args]`, or write `$${{{name}}}` for the text itself"),
        };
        refuse(format!("`${{{name}}}` is not defined"), hint)
    }

    fn inner(
        &self,
        name: &str,
        inner: &Node,
        open: &mut Vec<String>,
        refuse: impl Fn(String, String) -> Result<String, Error>,
    ) -> Result<String, Error> {
        if open.iter().any(|outer| outer == name) {
            let circle = open.iter().chain([&name.to_string()]).map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let message = format!("`${{{name}}}` refers to itself: {}", circle.join(" -> "));
            return refuse(message, "give one of them a plain value".into());
        }
        if let Some(expanded) = self.done.borrow().get(name) {
            return Ok(expanded.clone());
        }
        open.push(name.to_string());
        let expanded = self.text(inner, open)?;
        open.pop();
        self.done.borrow_mut().insert(name.to_string(), expanded.clone());
        Ok(expanded)
    }

    /// The place of a piece of a decoded string. Where escapes shift it, the same text is looked for.
    fn piece(&self, node: &Node, text: &str, piece: Range<usize>) -> Place {
        let whole = Place::new(self.source, node.span.clone());
        let (raw, wanted) = (whole.text(), text.get(piece.clone()).unwrap_or_default());
        let earlier = text.get(..piece.start).unwrap_or_default().matches(wanted).count();
        match raw.match_indices(wanted).nth(earlier) {
            Some((at, _)) => {
                let start = node.span.start + at;
                Place::new(self.source, start..start + wanted.len())
            }
            None => whole,
        }
    }
}
