//! The environment of services: what stands in `env_file` and what is taken from whoever starts the stack becomes part of
//! the resolved file, as Compose does it.

use std::collections::BTreeMap;

use super::dotenv::{dotenv, raw};
use super::error::Error;
use super::load::{Loader, Role};
use super::node::{Map, Node, Place, Value};
use super::yaml;
use crate::error::Result;
use crate::fs;

/// Puts the variables of `env_file` under those of `environment`; a variable without a value takes the one that is known.
pub fn resolve(root: &mut Node, loader: &mut Loader<'_>) -> Result<()> {
    let Value::Map(map) = &mut root.value else { return Ok(()) };
    let Some((_, Node { value: Value::Map(services), .. })) = map.get_mut("services") else { return Ok(()) };
    for (_, node) in services.values_mut() {
        let Value::Map(service) = &mut node.value else { continue };
        let files = service.remove("env_file");
        let mut environment = match &files {
            Some((_, files)) => variables(files, loader)?,
            None => Map::new(),
        };
        if let Some((place, own)) = service.remove("environment") {
            if let Value::Map(own) = own.value {
                environment.extend(own.into_iter().map(|(name, (place, node))| {
                    let node = known(&name, node, loader);
                    (name, (place, node))
                }));
            }
            service.insert("environment".into(), (place, Node::new(own.place, Value::Map(environment))));
        } else if let Some((place, _)) = files {
            service.insert("environment".into(), (place, Node::new(place, Value::Map(environment))));
        }
    }
    Ok(())
}

fn known(name: &str, node: Node, loader: &mut Loader<'_>) -> Node {
    if node.value == Value::Null {
        loader.variables.passed.insert((node.place, name.to_string()));
    }
    match (&node.value, loader.variables.get(name)) {
        (Value::Null, Some(value)) => Node::text(node.place, value),
        _ => node,
    }
}

/// The variables of all files of a service, each with its place there.
fn variables(files: &Node, loader: &mut Loader<'_>) -> Result<Map> {
    let mut all = Map::new();
    for one in files.list().unwrap_or_default() {
        let Some(written) = one.get("path").and_then(Node::scalar) else { continue };
        let named_in = loader.files.get(one.place.file).cloned().unwrap_or_default();
        let folder = loader.folder.clone();
        let path = loader.local(written, &folder, one.place, &named_in)?;
        if !fs::exists(&path) {
            if one.get("required").and_then(Node::scalar) == Some("false") {
                continue;
            }
            let what = format!("`{}` is not there", written.escape_debug());
            let hint = "write the file, or `env_file: [{path: FILE, required: false}]`";
            return Err(Error::Unfit { file: named_in, line: one.place.line, what, hint }.into());
        }
        let text = fs::read_text(&path, yaml::FILE_LIMIT)?;
        let number = loader.remember(&path, text.clone(), Role::Variables, one.place)?;
        let name = loader.files.last().cloned().unwrap_or_default();
        let found = match one.get("format").and_then(Node::scalar) {
            Some("raw") => raw(&text),
            _ => {
                let above = all.iter().filter_map(|(name, (_, node)): (&String, &(Place, Node))| {
                    Some((name.clone(), node.scalar()?.to_string()))
                });
                let known: BTreeMap<String, String> =
                    loader.variables.values().clone().into_iter().chain(above).collect();
                dotenv(&text, &name, &known)?
            }
        };
        for (name, (line, value)) in found {
            let place = Place { file: number, line };
            all.insert(name, (place, Node::text(place, value)));
        }
    }
    Ok(all)
}
