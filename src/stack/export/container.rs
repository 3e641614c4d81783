//! The container of a service.

use serde_json::{Map as Object, Value as Json, json};

use super::ports::{Port, distinct};
use super::storage::Storage;
use super::translation::{Translation, place_of, put, shown};
use super::{command, environment, probe, read, resources};
use crate::stack::node::Node;

/// Everything that is said of it.
pub(super) fn translate(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
    ports: &[Port],
    storage: &Storage,
    security: Json,
) -> Json {
    let mut container = Object::new();
    container.insert("name".into(), json!(translation.name(name)));
    image(translation, name, service, &mut container);
    command::translate(translation, name, service, &mut container);
    put(&mut container, "env", Some(environment::translate(translation, name)));
    let ports: Json = distinct(ports).iter().map(Port::container).collect();
    put(&mut container, "ports", Some(ports));
    probe::translate(translation, name, service, &mut container);
    put(&mut container, "lifecycle", probe::hooks(translation, name, service));
    put(&mut container, "resources", Some(resources::translate(translation, name, service)));
    put(&mut container, "securityContext", Some(security));
    put(&mut container, "stdin", read::flag(service, "stdin_open").then_some(Json::Bool(true)));
    put(&mut container, "tty", read::flag(service, "tty").then_some(Json::Bool(true)));
    put(&mut container, "volumeMounts", Some(storage.mounts()));
    put(&mut container, "workingDir", read::text(service, "working_dir").map(|folder| json!(folder)));
    Json::Object(container)
}

fn image(translation: &mut Translation<'_>, name: &str, service: &Node, container: &mut Object<String, Json>) {
    let cast = service.get("x-ingot").filter(|ingot| read::some(ingot, "project").is_some());
    let written = read::text(service, "image").filter(|_| cast.is_none());
    let given = translation.options.images.get(name).cloned();
    let built = read::some(service, "build").is_some() && given.is_none();
    // Nobody can push to where a registry has a name without a folder.
    let written = written.filter(|written| !built || written.contains('/'));
    if let (true, Some(reference)) = (built, written) {
        let what = format!("the image `{}` of `{name}` is built on this machine: push it before", shown(reference));
        translation.note(place_of(service, "image"), what);
    }
    match given.or_else(|| written.map(str::to_string)) {
        Some(reference) => {
            let valid = reference.parse::<crate::oci::Reference>().is_ok();
            if !valid {
                let what = format!("`{}` of `{name}` is not the reference of an image", shown(&reference));
                translation.refuse(place_of(service, "image"), &what, "write `REGISTRY/NAME:TAG`");
            }
            container.insert("image".into(), json!(reference));
        }
        None => {
            let (place, how) = match cast {
                Some(cast) => (place_of(cast, "project"), "`ingot build --push REGISTRY/NAME:TAG` it"),
                None => (place_of(service, "build"), "push it to a registry"),
            };
            let what = format!("no cluster can fetch the image of `{name}`: nothing says where it was pushed to");
            let hint = format!("{how}, and say `--image {name}=REGISTRY/NAME@sha256:DIGEST`");
            translation.refuse(place, &what, &hint);
        }
    }
    let policy = match read::text(service, "pull_policy") {
        None | Some("build") => None,
        Some("always") => Some("Always"),
        Some("missing" | "if_not_present") => Some("IfNotPresent"),
        Some("never") => Some("Never"),
        Some(other) => {
            let what = format!("`pull_policy: {}` of `{name}`", shown(other));
            translation.lose("pull_policy", place_of(service, "pull_policy"), &what);
            None
        }
    };
    put(container, "imagePullPolicy", policy.map(|policy| json!(policy)));
}
