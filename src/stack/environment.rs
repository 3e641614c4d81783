//! Files of a service's variables and labels: what stands in `env_file` and `label_file`, and what is taken from whoever starts
//! the stack, becomes part of the resolved file, as Compose does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dotenv::{Found, dotenv, raw};
use super::error::Error;
use super::load::{Loader, Role};
use super::node::{Map, Node, Place, Value};
use super::yaml;
use crate::error::Result;
use crate::fs;

/// Puts the variables of `env_file` under those of `environment`, and the labels of `label_file` under `labels`; a variable
/// without a value takes the one that is known.
pub fn resolve(root: &mut Node, loader: &mut Loader<'_>) -> Result<()> {
    let Value::Map(map) = &mut root.value else { return Ok(()) };
    let Some((_, Node { value: Value::Map(services), .. })) = map.get_mut("services") else { return Ok(()) };
    for (_, node) in services.values_mut() {
        let Value::Map(service) = &mut node.value else { continue };
        under(service, ("env_file", "environment"), loader, variables, known)?;
        under(service, ("label_file", "labels"), loader, labels, |_, node, _| node)?;
    }
    Ok(())
}

/// Puts what the files of one key say under what stands in the other, and takes the files away.
fn under(
    service: &mut Map,
    (files, key): (&str, &str),
    loader: &mut Loader<'_>,
    read: impl Fn(&Node, &mut Loader<'_>) -> Result<Map>,
    settle: impl Fn(&str, Node, &mut Loader<'_>) -> Node,
) -> Result<()> {
    let files = service.remove(files);
    let mut all = match &files {
        Some((_, files)) => read(files, loader)?,
        None => Map::new(),
    };
    if let Some((place, own)) = service.remove(key) {
        if let Value::Map(own) = own.value {
            all.extend(own.into_iter().map(|(name, (place, node))| {
                let node = settle(&name, node, loader);
                (name, (place, node))
            }));
        }
        service.insert(key.into(), (place, Node::new(own.place, Value::Map(all))));
    } else if let Some((place, _)) = files {
        service.insert(key.into(), (place, Node::new(place, Value::Map(all))));
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
        let path = local(written, one.place, loader)?;
        if !fs::exists(&path) {
            if one.get("required").and_then(Node::scalar) == Some("false") {
                continue;
            }
            let hint = "write the file, or `env_file: [{path: FILE, required: false}]`";
            return Err(missing(written, one.place, loader, hint).into());
        }
        let is_raw = one.get("format").and_then(Node::scalar) == Some("raw");
        let known = || loader.variables.values().clone().into_iter().chain(texts(&all)).collect();
        let known = if is_raw { BTreeMap::new() } else { known() };
        let read = |text: &str, name: &str| if is_raw { Ok(raw(text)) } else { dotenv(text, name, &known) };
        add(&mut all, &path, one.place, loader, read)?;
    }
    Ok(all)
}

/// The labels of all files of a service. Only labels that stand above are put into others (Compose Specification, "label_file").
fn labels(files: &Node, loader: &mut Loader<'_>) -> Result<Map> {
    let mut all = Map::new();
    for one in files.list().unwrap_or_default() {
        let Some(written) = one.scalar() else { continue };
        let path = local(written, one.place, loader)?;
        if !fs::exists(&path) {
            return Err(missing(written, one.place, loader, "write the file, or take it out of `label_file`").into());
        }
        let above: BTreeMap<String, String> = texts(&all).collect();
        add(&mut all, &path, one.place, loader, |text, name| dotenv(text, name, &above))?;
    }
    Ok(all)
}

/// A file of the project that a service names. Relative paths begin at the project's folder.
fn local(written: &str, place: Place, loader: &Loader<'_>) -> Result<PathBuf> {
    loader.local(written, &loader.folder, place, &named_in(place, loader))
}

fn named_in(place: Place, loader: &Loader<'_>) -> String {
    loader.files.get(place.file).cloned().unwrap_or_default()
}

fn missing(written: &str, place: Place, loader: &Loader<'_>, hint: &'static str) -> Error {
    let what = format!("`{}` is not there", written.escape_debug().take(100).collect::<String>());
    Error::Unfit { file: named_in(place, loader), line: place.line, what, hint }
}

fn texts(all: &Map) -> impl Iterator<Item = (String, String)> {
    all.iter().filter_map(|(name, (_, node))| Some((name.clone(), node.scalar()?.to_string())))
}

/// Lays what a file says over what others have said.
fn add(
    all: &mut Map,
    path: &Path,
    place: Place,
    loader: &mut Loader<'_>,
    read: impl Fn(&str, &str) -> Result<Found, Error>,
) -> Result<()> {
    let text = fs::read_text(path, yaml::FILE_LIMIT)?;
    let number = loader.remember(path, text.clone(), Role::Variables, place)?;
    let name = loader.files.last().cloned().unwrap_or_default();
    for (name, (line, value)) in read(&text, &name)? {
        let place = Place { file: number, line };
        all.insert(name, (place, Node::text(place, value)));
    }
    Ok(())
}
