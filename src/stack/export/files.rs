//! `configs`: files of the project that become ConfigMaps.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::json;

use super::secrets::Source;
use super::translation::{Translation, place_of, shown};
use super::{names, read};
use crate::error::Result;
use crate::fs;
use crate::oci::Digest;
use crate::stack::node::{Node, Place};

/// The largest content of a ConfigMap, in bytes (the API server's limit is 1 MiB for all of an object).
const CONFIG_LIMIT: u64 = 1_000_000;

/// What becomes of a config.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The ConfigMap.
    pub object: String,
    /// Its key.
    pub key: String,
    /// Nothing if it is external.
    pub content: Vec<u8>,
    /// What it is made of.
    pub origin: Origin,
    /// Whether it must be a Secret, because it has one.
    pub secret: bool,
    pub place: Place,
}

/// What a config is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is made elsewhere.
    External,
    /// Of a file.
    File(String),
    /// Of a variable.
    Variable(String),
    /// Of text in the Compose file.
    Written,
}

/// A path of the file on this machine, if it is in the project's folder.
pub(super) fn local(translation: &mut Translation<'_>, text: &str, place: Place) -> Option<PathBuf> {
    let folder = &translation.stack.folder;
    let path = fs::canonical(&folder.join(text));
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if !climbs && path.starts_with(folder) {
        return Some(path);
    }
    let what = format!("`{}` is outside of the project's folder", shown(text));
    translation.refuse(place, &what, "only files of the project's folder are read: copy it there");
    None
}

/// Reads every config that a service uses.
pub(super) fn configs(translation: &mut Translation<'_>) -> Result<()> {
    let stack = translation.stack;
    let all = stack.root.get("configs").and_then(Node::map);
    for (name, (place, node)) in all.into_iter().flatten() {
        let uses =
            |service: &Node| read::list(service, "configs").iter().any(|one| read::text(one, "source") == Some(name));
        if !stack.services().any(|(_, service)| uses(service)) {
            continue;
        }
        let object = names::label(name, 63);
        if let Some(object) = external(translation, name, node) {
            let what = format!("the ConfigMap `{object}` must be there, with the key `{name}`: it is external");
            translation.note(*place, what);
            let (content, origin, place) = (Vec::new(), Origin::External, *place);
            let config = Config { object, key: name.clone(), content, origin, secret: false, place };
            translation.configs.insert(name.clone(), config);
            continue;
        }
        for key in ["driver", "driver_opts", "template_driver"] {
            if read::some(node, key).is_some() {
                let what = format!("`{key}` of the config `{name}` is not for a cluster");
                translation.refuse(place_of(node, key), &what, "leave it out");
            }
        }
        let (content, origin) = if let Some(file) = node.get("file") {
            let text = file.scalar().unwrap_or_default();
            let Some(path) = local(translation, text, file.place) else { continue };
            (fs::read(&path, CONFIG_LIMIT)?, Origin::File(text.to_string()))
        } else if let Some(content) = read::text(node, "content") {
            (content.as_bytes().to_vec(), Origin::Written)
        } else if let Some(variable) = read::text(node, "environment") {
            let Some(value) = stack.variables.get(variable) else {
                let what = format!("the config `{name}` is the variable `{}`, which is not set", shown(variable));
                translation.refuse(node.place, &what, "set it, or name a file");
                continue;
            };
            (value.as_bytes().to_vec(), Origin::Variable(variable.to_string()))
        } else {
            translation.refuse(node.place, &format!("the config `{name}` has no content"), "write `file` or `content`");
            continue;
        };
        let config = Config { object, key: name.clone(), content, origin, secret: false, place: *place };
        translation.configs.insert(name.clone(), config);
    }
    Ok(())
}

/// Makes a ConfigMap of every config that may be one.
pub(super) fn objects(translation: &mut Translation<'_>) {
    for config in translation.configs.clone().into_values() {
        let Config { object, key, content, origin, secret, .. } = config;
        match origin {
            Origin::External => continue,
            Origin::File(path) if secret => {
                translation.needed.entry(object).or_default().insert(key, Source::File(path));
                continue;
            }
            Origin::Variable(variable) if secret => {
                translation.needed.entry(object).or_default().insert(key, Source::Environment(variable));
                continue;
            }
            _ => {}
        }
        let body = match std::str::from_utf8(&content) {
            Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) => {
                json!({"data": {key: text}})
            }
            _ => json!({"binaryData": {key: base64::engine::general_purpose::STANDARD.encode(&content)}}),
        };
        let labels = translation.labels(&object);
        translation.object("ConfigMap", &object, labels, body);
    }
}

/// Whether something is made elsewhere.
pub(super) fn is_external(node: &Node) -> bool {
    node.get("external").is_some_and(|external| external.map().is_some() || external.scalar() == Some("true"))
}

/// What something is called that is made elsewhere.
pub(super) fn external(translation: &mut Translation<'_>, name: &str, node: &Node) -> Option<String> {
    let external = node.get("external").filter(|_| is_external(node))?;
    let called = read::text(external, "name").or_else(|| read::text(node, "name")).unwrap_or(name);
    if !names::is_object(called) {
        let what = format!("no object of a cluster is called `{}`, as the external `{name}` is", shown(called));
        translation.refuse(node.place, &what, "say what it is called there: `name: ...`");
    }
    Some(called.to_string())
}

/// A hash of the configs of a service: another content starts its pods anew.
pub(super) fn checksum(translation: &Translation<'_>, service: &Node) -> Option<String> {
    let mut all = Vec::new();
    for grant in read::list(service, "configs") {
        let config = translation.configs.get(read::text(grant, "source")?)?;
        // Who has the hash of a secret can try what it is made of.
        if config.secret {
            continue;
        }
        all.extend_from_slice(Digest::of(&config.content).hex().as_bytes());
    }
    (!all.is_empty()).then(|| Digest::of(&all).hex().chars().take(16).collect())
}
