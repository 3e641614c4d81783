//! Named volumes: claims of storage, by one StatefulSet, or by several services together.

use serde_json::{Map as Object, Value as Json, json};

use super::translation::{Translation, place_of, put, shown};
use super::workload::{Kind, kind, replicas};
use super::{files, names, read};
use crate::stack::node::{Node, Place};

/// What a volume asks for that says nothing.
const USUAL_SIZE: &str = "1Gi";

/// What becomes of a named volume.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    /// The one StatefulSet that uses it has this template of it.
    Own(Json),
    /// A PersistentVolumeClaim of this name.
    Shared(String),
    /// A PersistentVolumeClaim that is there already.
    External(String),
}

/// Decides about all volumes that a service uses.
pub(super) fn claims(translation: &mut Translation<'_>) {
    let stack = translation.stack;
    let mut empty: Vec<String> = Vec::new();
    for (name, (place, volume)) in stack.root.get("volumes").and_then(Node::map).into_iter().flatten() {
        let users: Vec<(&str, &Node)> = stack.services().filter(|(_, service)| mounts(service, name)).collect();
        if users.is_empty() {
            continue;
        }
        let object = names::label(name, 63);
        if let Some(object) = files::external(translation, name, volume) {
            translation.note(*place, format!("the PersistentVolumeClaim `{object}` must be there: it is external"));
            translation.claims.insert(name.clone(), Claim::External(object));
            continue;
        }
        empty.push(format!("`{}`", shown(name)));
        for key in ["driver", "driver_opts"] {
            let other = read::text(volume, key) != Some("local");
            if read::some(volume, key).is_some_and(|node| node.map().is_none_or(|map| !map.is_empty())) && other {
                let what = format!("`{key}` of the volume `{}`", shown(name));
                translation.lose("volumes.driver", place_of(volume, key), &what);
            }
        }
        let alone = match users.as_slice() {
            [(user, service)] => replicas(service) <= 1 && kind(stack, user, service) == Kind::StatefulSet,
            _ => false,
        };
        let once = matches!(users.as_slice(), [(_, service)] if replicas(service) <= 1);
        if !once {
            shared(translation, name, volume, *place, &users);
        }
        let spec = spec(translation, name, volume, *place, if once { "ReadWriteOnce" } else { "ReadWriteMany" });
        let claim = if alone {
            Claim::Own(json!({"metadata": {"name": name_in_pod(name)}, "spec": spec}))
        } else {
            let labels = translation.labels(&object);
            translation.object("PersistentVolumeClaim", &object, labels, json!({"spec": spec}));
            Claim::Shared(object)
        };
        translation.claims.insert(name.clone(), claim);
    }
    if let (false, Some((place, _))) = (empty.is_empty(), stack.root.map().and_then(|root| root.get("volumes"))) {
        let what =
            format!("volumes begin empty: what an image has where {} is mounted is not copied there", empty.join(", "));
        translation.note(*place, what);
    }
}

/// A volume of several pods: few classes of storage give one to several nodes.
fn shared(translation: &mut Translation<'_>, name: &str, volume: &Node, place: Place, users: &[(&str, &Node)]) {
    let name = shown(name);
    if volume.get("x-ingot").is_some_and(|ingot| read::some(ingot, "storage-class").is_some()) {
        let what = format!("the volume `{name}` has several users: its storage class must offer ReadWriteMany");
        return translation.note(place, what);
    }
    let users: Vec<String> = users.iter().map(|(user, _)| format!("`{}`", shown(user))).collect();
    let pods = if users.len() == 1 { "all pods" } else { "the pods" };
    translation.lose(
        "volumes.shared",
        place,
        &format!("that {pods} of {} share the volume `{name}`", users.join(", ")),
    );
}

/// Whether a service mounts a volume.
fn mounts(service: &Node, volume: &str) -> bool {
    read::list(service, "volumes")
        .iter()
        .any(|mount| read::text(mount, "type") == Some("volume") && read::text(mount, "source") == Some(volume))
}

/// What a named volume is called inside of a pod: never like what a pod has beside it.
pub(super) fn name_in_pod(name: &str) -> String {
    let label = names::label(name, 63);
    let taken =
        label == "shm" || ["config-", "secret-", "tmpfs-", "volume-"].iter().any(|prefix| label.starts_with(prefix));
    if taken { names::label(&format!("data-{label}"), 63) } else { label }
}

/// Whether a service mounts any named volume.
pub(super) fn has_named(service: &Node) -> bool {
    read::list(service, "volumes")
        .iter()
        .any(|mount| read::text(mount, "type") == Some("volume") && read::some(mount, "source").is_some())
}

fn spec(translation: &mut Translation<'_>, name: &str, volume: &Node, place: Place, mode: &str) -> Json {
    let ingot = volume.get("x-ingot");
    for (key, node) in ingot.and_then(Node::map).into_iter().flatten() {
        if !matches!(key.as_str(), "size" | "storage-class") {
            let what = format!("there is no key `{}` in `x-ingot` of the volume `{}`", shown(key), shown(name));
            translation.refuse(node.0, &what, "the keys are `size` and `storage-class`");
        }
    }
    let written = ingot.and_then(|ingot| read::text(ingot, "size"));
    let size = match written.map(str::to_string).or_else(|| translation.options.volume_size.clone()) {
        Some(size) => size,
        None => {
            let what = format!(
                "the volume `{}` asks for {USUAL_SIZE}: write `x-ingot: {{ size: 10Gi }}`, or say `--volume-size`",
                shown(name)
            );
            translation.note(place, what);
            USUAL_SIZE.into()
        }
    };
    if !read::is_quantity(&size) {
        let what = format!("`{}` is not the size of the volume `{}`", shown(&size), shown(name));
        translation.refuse(place, &what, "write it as Kubernetes does: `500Mi`, `10Gi`");
    }
    let mut spec = Object::new();
    spec.insert("accessModes".into(), json!([mode]));
    spec.insert("resources".into(), json!({"requests": {"storage": size}}));
    put(
        &mut spec,
        "storageClassName",
        ingot.and_then(|ingot| read::text(ingot, "storage-class")).map(|class| json!(class)),
    );
    Json::Object(spec)
}
