//! Who the processes of a service are, and what they may do.

use serde_json::{Map as Object, Value as Json, json};

use super::read;
use super::translation::{Translation, place_of, put, shown};
use crate::stack::node::Node;

/// The largest number of a user or group.
const ID_LIMIT: u64 = i32::MAX as u64;

/// What is said of a container, and of its pod.
pub(super) struct Contexts {
    pub container: Json,
    pub pod: Json,
}

/// Translates the keys. `volumes`: whether the service has volumes that its user must be able to write.
pub(super) fn translate(translation: &mut Translation<'_>, name: &str, service: &Node, volumes: bool) -> Contexts {
    let (mut container, mut pod) = (Object::new(), Object::new());
    let mut profile = "RuntimeDefault";
    for option in read::list(service, "security_opt") {
        let text = option.scalar().unwrap_or_default().replacen('=', ":", 1);
        match text.as_str() {
            "no-new-privileges" | "no-new-privileges:true" => {
                container.insert("allowPrivilegeEscalation".into(), json!(false));
            }
            "no-new-privileges:false" | "seccomp:builtin" => {}
            "seccomp:unconfined" => profile = "Unconfined",
            _ => {
                let what = format!("`{}` in `security_opt` of `{name}`", shown(&text));
                translation.lose("security_opt", option.place, &what);
            }
        }
    }
    if read::flag(service, "privileged") {
        if container.contains_key("allowPrivilegeEscalation") {
            let what = format!("`{name}` is privileged, and may gain no privileges");
            translation.refuse(place_of(service, "privileged"), &what, "keep one of the two");
        }
        container.insert("privileged".into(), json!(true));
        translation.note(place_of(service, "privileged"), format!("`{name}` is privileged: most clusters refuse that"));
    }
    let mut capabilities = Object::new();
    for (key, called) in [("cap_add", "add"), ("cap_drop", "drop")] {
        let name = |node: &Node| {
            let upper = node.scalar().unwrap_or_default().to_ascii_uppercase();
            upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_string)
        };
        let mut names: Vec<String> = read::list(service, key).iter().map(name).collect();
        names.sort();
        names.dedup();
        put(&mut capabilities, called, Some(json!(names)));
    }
    put(&mut container, "capabilities", Some(Json::Object(capabilities)));
    if read::flag(service, "read_only") {
        container.insert("readOnlyRootFilesystem".into(), json!(true));
    }
    pod.insert("seccompProfile".into(), json!({"type": profile}));
    let group = user(translation, name, service, &mut pod);
    if volumes {
        match group {
            Some(group) if group > 0 => {
                pod.insert("fsGroup".into(), json!(group));
                pod.insert("fsGroupChangePolicy".into(), json!("OnRootMismatch"));
                let what = format!(
                    "the volumes of `{name}` belong to root, and its group may write: a program that has to own its folder (PostgreSQL) needs one below (`PGDATA`)"
                );
                translation.note(service.place, what);
            }
            Some(_) => {}
            None => {
                let what = format!(
                    "who `{name}` runs as is not in the file: if it is not root, write `user`, so that it can write to its volumes"
                );
                translation.note(service.place, what);
            }
        }
    }
    let mut groups = Vec::new();
    for node in read::list(service, "group_add") {
        match node.scalar().and_then(|text| read::number(text, ID_LIMIT)) {
            Some(group) => groups.push(group),
            None => {
                let what = format!("the group `{}` of `{name}`", shown(node.scalar().unwrap_or_default()));
                translation.lose("group_add", node.place, &what);
            }
        }
    }
    groups.sort_unstable();
    groups.dedup();
    put(&mut pod, "supplementalGroups", Some(json!(groups)));
    let sysctls: Vec<Json> = read::pairs(service, "sysctls")
        .filter_map(|(name, value)| Some(json!({"name": name, "value": value.scalar()?})))
        .collect();
    if !sysctls.is_empty() {
        let what = format!(
            "nodes allow few `sysctls` for pods: if `{name}` does not start, ask for `--allowed-unsafe-sysctls`"
        );
        translation.note(place_of(service, "sysctls"), what);
    }
    put(&mut pod, "sysctls", Some(json!(sysctls)));
    Contexts { container: Json::Object(container), pod: Json::Object(pod) }
}

/// `user`; the group that owns what it writes, 0 if it is root, nothing if it is not known.
fn user(translation: &mut Translation<'_>, name: &str, service: &Node, pod: &mut Object<String, Json>) -> Option<u64> {
    let node = read::some(service, "user")?;
    let text = node.scalar().unwrap_or_default();
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let number = |text: &str| if text == "root" { Some(0) } else { read::number(text, ID_LIMIT) };
    let (id, group_id) = (number(user), group.map(number));
    if id.is_none() || group_id == Some(None) {
        translation.lose("user", node.place, &format!("the user `{}` of `{name}`", shown(text)));
    }
    if let Some(id) = id {
        pod.insert("runAsUser".into(), json!(id));
        if id > 0 {
            pod.insert("runAsNonRoot".into(), json!(true));
        }
    }
    let group_id = group_id.flatten();
    // Runtimes take no group without a user.
    put(pod, "runAsGroup", group_id.filter(|_| id.is_some()).map(|group| json!(group)));
    if id == Some(0) { Some(0) } else { group_id.filter(|group| *group > 0).or(id) }
}
