//! Variables of services: from `env_file` and `environment`, with the values that they have when the stack is exported.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::command::escaped;
use super::secrets::Source;
use super::translation::{Translation, shown};
use super::{files, read};
use crate::error::Result;
use crate::fs;
use crate::stack::interpolate::dotenv;
use crate::stack::node::{Node, Place};
use crate::stack::yaml::FILE_LIMIT;

/// A variable of a service.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub name: String,
    pub place: Place,
    pub value: String,
    /// It must not be written into a manifest.
    pub secret: bool,
}

/// Reads the variables of all services. Which of them are secret is decided later, when all are known.
pub(super) fn collect(translation: &mut Translation<'_>) -> Result<()> {
    for (service, node) in translation.stack.services() {
        let mut found = BTreeMap::new();
        for entry in read::list(node, "env_file") {
            env_file(translation, entry, &mut found)?;
        }
        for (name, value) in read::pairs(node, "environment") {
            match value.scalar() {
                Some(text) => drop(found.insert(name.to_string(), (value.place, Some(text.to_string())))),
                // Who starts the stack gives it a value; that is how secrets come in.
                None => drop(found.entry(name.to_string()).or_insert((value.place, None))),
            }
        }
        let mut all = Vec::new();
        for (name, (place, value)) in found {
            let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if name.bytes().all(usable) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
                let secret = value.is_none();
                all.push(Variable { name, place, value: value.unwrap_or_default(), secret });
            } else {
                translation.lose("environment", place, &format!("the variable `{}` of `{service}`", shown(&name)));
            }
        }
        translation.variables.insert(service.to_string(), all);
    }
    Ok(())
}

/// The variables of one file.
fn env_file(
    translation: &mut Translation<'_>,
    entry: &Node,
    found: &mut BTreeMap<String, (Place, Option<String>)>,
) -> Result<()> {
    let text = read::text(entry, "path").unwrap_or_default();
    let Some(path) = files::local(translation, text, entry.place) else { return Ok(()) };
    if !fs::exists(&path) && read::text(entry, "required") == Some("false") {
        return Ok(());
    }
    let content = fs::read_text(&path, FILE_LIMIT)?;
    let known = translation.stack.variables.all().clone();
    for (name, value) in dotenv(&content, text, &known)? {
        found.insert(name, (entry.place, Some(value)));
    }
    Ok(())
}

/// The variables of a container: values, and references to the Secret of the service.
pub(super) fn translate(translation: &mut Translation<'_>, name: &str) -> Json {
    let secret = format!("{}-env", translation.name(name));
    let variables = translation.variables.get(name).cloned().unwrap_or_default();
    let one = |variable: &Variable| match variable.secret {
        true => json!({"name": variable.name, "valueFrom": {"secretKeyRef": {"name": secret, "key": variable.name}}}),
        false => json!({"name": variable.name, "value": escaped(&variable.value)}),
    };
    let all = variables.iter().map(one).collect();
    for variable in variables.into_iter().filter(|variable| variable.secret) {
        translation.needed.entry(secret.clone()).or_default().insert(variable.name, Source::Variable);
    }
    all
}
