//! Relative paths of a file that is read from another folder: they mean what they meant there.

use std::path::{Path, PathBuf};

use super::node::{Map, Node, Value};

/// What is put before a path that begins at `from` so that it begins at `base`.
pub fn between(base: &Path, from: &Path) -> PathBuf {
    match from.strip_prefix(base) {
        Ok(below) => below.to_path_buf(),
        Err(_) => from.to_path_buf(),
    }
}

/// Changes every relative path of a file.
pub fn file(root: &mut Node, prefix: &Path) {
    if prefix.as_os_str().is_empty() {
        return;
    }
    each(root, "services", |node| service(node, prefix));
    for table in ["secrets", "configs"] {
        each(root, table, |node| at(node, "file", prefix));
    }
    each(root, "volumes", |node| {
        let Some((_, options)) = below(node, "driver_opts") else { return };
        if options.get("device").and_then(Node::scalar).is_some_and(|device| device.starts_with('.')) {
            at(options, "device", prefix);
        }
    });
}

/// Changes every relative path of a service in its normal form.
pub fn service(service: &mut Node, prefix: &Path) {
    if prefix.as_os_str().is_empty() {
        return;
    }
    if let Some((_, build)) = below(service, "build") {
        at(build, "context", prefix);
        each(build, "additional_contexts", |node| local(node, prefix));
    }
    for (key, path) in [("env_file", "path"), ("volumes", "source")] {
        for node in items(service, key) {
            let is_path = key != "volumes" || node.get("type").and_then(Node::scalar) == Some("bind");
            if is_path {
                at(node, path, prefix);
            }
        }
    }
    items(service, "label_file").iter_mut().for_each(|node| local(node, prefix));
    if let Some((_, develop)) = below(service, "develop") {
        items(develop, "watch").iter_mut().for_each(|node| at(node, "path", prefix));
    }
    for (key, path) in [("credential_spec", "file"), ("x-ingot", "project")] {
        if let Some((_, node)) = below(service, key) {
            at(node, path, prefix);
        }
    }
}

fn below<'a>(node: &'a mut Node, key: &str) -> Option<(&'a String, &'a mut Node)> {
    let Value::Map(map) = &mut node.value else { return None };
    map.iter_mut().find(|(name, _)| *name == key).map(|(name, (_, node))| (name, node))
}

fn each(node: &mut Node, key: &str, mut change: impl FnMut(&mut Node)) {
    if let Some((_, Node { value: Value::Map(map), .. })) = below(node, key) {
        Map::values_mut(map).for_each(|(_, node)| change(node));
    }
}

fn items<'a>(node: &'a mut Node, key: &str) -> &'a mut [Node] {
    match below(node, key) {
        Some((_, Node { value: Value::List(list), .. })) => list,
        _ => &mut [],
    }
}

fn at(node: &mut Node, key: &str, prefix: &Path) {
    if let Some((_, node)) = below(node, key) {
        local(node, prefix);
    }
}

/// A path that is relative and no address gets the prefix.
fn local(node: &mut Node, prefix: &Path) {
    let Value::Text(text) = &mut node.value else { return };
    let is_elsewhere = text.contains("://")
        || ["/", "~", "git@", "github.com/", "service:", "target:"].iter().any(|begin| text.starts_with(begin))
        || text.is_empty();
    if !is_elsewhere {
        let path = prefix.join(text.trim_start_matches("./"));
        let shown = path.display().to_string();
        // A source without a dot is the name of a volume.
        *text = if path.is_absolute() { shown } else { format!("./{shown}") };
    }
}
