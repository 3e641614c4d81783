//! What is mounted into a pod: volumes, memory, files of configs and secrets.

use std::collections::BTreeMap;

use serde_json::{Map as Object, Value as Json, json};

use super::secrets::Source;
use super::translation::{Translation, place_of, put, shown};
use super::volumes::{Claim, name_in_pod};
use super::{files, names, read};
use crate::stack::node::{Node, Place};

/// Where Compose mounts secrets.
const SECRETS: &str = "/run/secrets";
/// The mode of files of secrets and configs.
const MODE: u64 = 0o444;

/// Everything that is mounted.
#[derive(Default)]
pub(super) struct Storage {
    /// By path.
    mounts: BTreeMap<String, Json>,
    volumes: BTreeMap<String, Json>,
    /// `volumeClaimTemplates`.
    pub templates: Vec<Json>,
    /// Whether data is kept, which the user must be able to write.
    pub keeps: bool,
}

impl Storage {
    /// `volumeMounts`.
    pub fn mounts(&self) -> Json {
        self.mounts.values().cloned().collect()
    }

    /// `volumes`.
    pub fn volumes(&self) -> Json {
        self.volumes.values().cloned().collect()
    }

    fn mount(&mut self, translation: &mut Translation<'_>, place: Place, path: &str, mut mount: Object<String, Json>) {
        if !path.starts_with('/') || path.contains(':') {
            let what = format!("`{}` is no path to mount something at", shown(path));
            translation.refuse(place, &what, "write an absolute path without `:`");
        }
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        mount.insert("mountPath".into(), json!(path));
        if self.mounts.insert(path.to_string(), Json::Object(mount)).is_some() {
            let what = format!("two things are mounted at `{}`", shown(path));
            translation.refuse(place, &what, "mount one of them elsewhere");
        }
    }

    /// Memory at a path.
    fn memory(&mut self, translation: &mut Translation<'_>, place: Place, path: &str, size: Option<u64>) {
        let name = if path == "/dev/shm" { "shm".into() } else { format!("tmpfs-{}", self.volumes.len()) };
        let mut empty = Object::new();
        empty.insert("medium".into(), json!("Memory"));
        put(&mut empty, "sizeLimit", size.map(|size| json!(read::quantity(size))));
        self.volumes.insert(name.clone(), json!({"name": name, "emptyDir": empty}));
        self.mount(translation, place, path, Object::from_iter([("name".to_string(), json!(name))]));
    }
}

/// Collects what a service mounts.
pub(super) fn of(translation: &mut Translation<'_>, name: &str, service: &Node) -> Storage {
    let mut storage = Storage::default();
    for mount in read::list(service, "volumes") {
        volume(translation, name, service, mount, &mut storage);
    }
    for node in read::list(service, "tmpfs") {
        let text = node.scalar().unwrap_or_default();
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        tmpfs(translation, name, node.place, path, options, &mut storage);
    }
    if let Some(text) = read::text(service, "shm_size") {
        let place = place_of(service, "shm_size");
        match read::bytes(text) {
            Some(size) => storage.memory(translation, place, "/dev/shm", Some(size).filter(|size| *size > 0)),
            None => {
                let what = format!("`{}` in `shm_size` of `{name}` is no amount", shown(text));
                translation.refuse(place, &what, "write `256m`");
            }
        }
    }
    for kind in ["configs", "secrets"] {
        for grant in read::list(service, kind) {
            file(translation, name, kind, grant, &mut storage);
        }
    }
    storage
}

fn volume(translation: &mut Translation<'_>, name: &str, service: &Node, mount: &Node, storage: &mut Storage) {
    let target = read::text(mount, "target").unwrap_or_default();
    let source = read::text(mount, "source").unwrap_or_default();
    let mut entry = Object::new();
    if read::flag(mount, "read_only") {
        entry.insert("readOnly".into(), json!(true));
    }
    match read::text(mount, "type").unwrap_or("volume") {
        "volume" if source.is_empty() && is_below_bind(service, target) => {
            let what = format!(
                "the volume without a name at `{}` of `{name}` is left out: it keeps a folder of the image in sight, and nothing hides that",
                shown(target)
            );
            translation.note(mount.place, what);
        }
        "volume" if source.is_empty() => {
            let what = format!(
                "the volume without a name at `{}` of `{name}` begins empty, and is gone with its pod",
                shown(target)
            );
            translation.note(mount.place, what);
            let volume = format!("volume-{}", storage.volumes.len());
            storage.volumes.insert(volume.clone(), json!({"name": volume, "emptyDir": {}}));
            entry.insert("name".into(), json!(volume));
            storage.mount(translation, mount.place, target, entry);
        }
        "volume" => {
            let volume = name_in_pod(source);
            storage.keeps = true;
            let inner = mount.get("volume").and_then(|volume| read::text(volume, "subpath"));
            let inner = inner.map(|inner| inner.trim_matches('/').to_string());
            if inner.as_ref().is_some_and(|inner| inner.split('/').any(|part| part == "..")) {
                translation.refuse(
                    mount.place,
                    &format!("`subpath` of a volume of `{name}` climbs out of it"),
                    "leave `..` out",
                );
            }
            // In a folder of the volume: file systems have a `lost+found` of their own, at which databases stop.
            let below = match (translation.claims.get(source), inner) {
                (Some(Claim::External(_)), inner) => inner,
                (_, Some(inner)) => Some(format!("{volume}/{inner}")),
                (_, None) => Some(volume.clone()),
            };
            match translation.claims.get(source) {
                Some(Claim::Own(template)) if !storage.templates.contains(template) => {
                    storage.templates.push(template.clone());
                }
                Some(Claim::Shared(claim) | Claim::External(claim)) => {
                    let claim = json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}});
                    storage.volumes.insert(volume.clone(), claim);
                }
                _ => {}
            }
            put(&mut entry, "subPath", below.map(|below| json!(below)));
            entry.insert("name".into(), json!(volume));
            storage.mount(translation, mount.place, target, entry);
        }
        "tmpfs" => {
            let options = mount.get("tmpfs");
            let size = options.and_then(|options| read::text(options, "size")).map(|size| format!("size={size}"));
            let mode = options.and_then(|options| read::text(options, "mode")).map(|mode| format!("mode={mode}"));
            let options = [size, mode].into_iter().flatten().collect::<Vec<_>>().join(",");
            tmpfs(translation, name, mount.place, target, &options, storage);
        }
        "bind" => {
            let what = format!("`{}` of this machine at `{}` of `{name}`", shown(source), shown(target));
            translation.lose("volumes.bind", mount.place, &what);
        }
        kind => {
            let what = format!("the volume of type `{}` at `{}` of `{name}`", shown(kind), shown(target));
            translation.lose("volumes.type", mount.place, &what);
        }
    }
}

/// Whether a folder of this machine, which no cluster has, would lie over this one: `./app:/app` and `/app/node_modules`.
fn is_below_bind(service: &Node, target: &str) -> bool {
    read::list(service, "volumes").iter().any(|other| {
        let folder = read::text(other, "target").unwrap_or_default().trim_end_matches('/');
        read::text(other, "type") == Some("bind")
            && target.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    })
}

fn tmpfs(
    translation: &mut Translation<'_>,
    name: &str,
    place: Place,
    path: &str,
    options: &str,
    storage: &mut Storage,
) {
    let mut size = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "size" if read::bytes(value).is_some() => size = read::bytes(value).filter(|size| *size > 0),
            "size" => {
                let what = format!("`{}` is not the size of a tmpfs of `{name}`", shown(value));
                translation.refuse(place, &what, "write `size=64m`");
            }
            "mode" if matches!(value.trim_start_matches("0o").trim_start_matches('0'), "1777" | "777") => {}
            // It is writable for all, so for this one, too.
            "uid" | "gid" | "rw" | "exec" | "suid" | "dev" | "nodev" => {}
            _ => {
                let what = format!("`{}` of the tmpfs at `{}` of `{name}`", shown(option), shown(path));
                translation.lose("tmpfs", place, &what);
            }
        }
    }
    storage.memory(translation, place, path, size);
}

/// A file of a config or a secret.
fn file(translation: &mut Translation<'_>, name: &str, kind: &str, grant: &Node, storage: &mut Storage) {
    let source = read::text(grant, "source").unwrap_or_default();
    let target = read::text(grant, "target");
    let mode = match read::text(grant, "mode") {
        None => MODE,
        Some(text) => match u64::from_str_radix(text.trim_start_matches("0o"), 8) {
            Ok(mode) if mode <= 0o777 => mode,
            _ => {
                let what = format!("`{}` is not the mode of a file of `{name}`", shown(text));
                translation.refuse(place_of(grant, "mode"), &what, "write it in octal: `0440`");
                MODE
            }
        },
    };
    if ["uid", "gid"].into_iter().any(|key| read::text(grant, key).is_some_and(|id| id != "0")) {
        let what = format!("the owner of the file of `{}` in `{name}`", shown(source));
        translation.lose("secrets.uid", grant.place, &what);
    }
    let number = storage.volumes.len();
    let (path, key, volume, body) = if kind == "configs" {
        let Some(config) = translation.configs.get(source).cloned() else { return };
        let path = target.map_or_else(|| format!("/{source}"), str::to_string);
        let body = match config.secret {
            true => json!({"secret": {"secretName": config.object, "defaultMode": mode}}),
            false => json!({"configMap": {"name": config.object, "defaultMode": mode}}),
        };
        (path, config.key, format!("config-{number}"), body)
    } else {
        let Some(object) = secret(translation, source) else { return };
        let path = match target {
            Some(path) if path.starts_with('/') => path.to_string(),
            target => format!("{SECRETS}/{}", target.unwrap_or(source)),
        };
        let body = json!({"secret": {"secretName": object, "defaultMode": mode}});
        (path, source.to_string(), format!("secret-{number}"), body)
    };
    let mut body = body;
    if let Json::Object(body) = &mut body {
        body.insert("name".into(), json!(volume));
    }
    storage.volumes.insert(volume.clone(), body);
    let entry = [("name", json!(volume)), ("readOnly", json!(true)), ("subPath", json!(key))];
    let entry = Object::from_iter(entry.map(|(key, value)| (key.to_string(), value)));
    storage.mount(translation, grant.place, &path, entry);
}

/// The object of a secret, which is noted as needed.
fn secret(translation: &mut Translation<'_>, name: &str) -> Option<String> {
    let stack = translation.stack;
    let node = stack.root.get("secrets").and_then(|all| all.get(name))?;
    let external = files::external(translation, name, node);
    let is_external = external.is_some();
    let object = external.unwrap_or_else(|| names::label(name, 63));
    let source = if is_external {
        Source::External
    } else if let Some(file) = read::text(node, "file") {
        Source::File(file.to_string())
    } else {
        Source::Environment(read::text(node, "environment").unwrap_or(name).to_string())
    };
    translation.needed.entry(object.clone()).or_default().insert(name.to_string(), source);
    Some(object)
}
