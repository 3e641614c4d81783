//! What runs a service: a Deployment, a StatefulSet if it keeps data, a Job if it runs once.

use serde_json::{Map as Object, Value as Json, json};

use super::storage::Storage;
use super::translation::{Translation, place_of, put, shown};
use super::{container, files, names, policy, ports, read, security, service, storage, volumes};
use crate::stack::load::Stack;
use crate::stack::node::{Node, Place};
use crate::stack::told::is_of_proxy;

/// What runs a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is kept.
    Deployment,
    /// It has named volumes.
    StatefulSet,
    /// It runs once.
    Job,
}

/// How often a Job is tried again that would run once, but starts together with those that it needs (Kubernetes' own number).
const TRIES: u64 = 6;
/// What is tried without end.
const FOR_EVER: u64 = i32::MAX as u64;
/// The longest value of a label, and the longest name in the key of one.
const LABEL: usize = 63;
/// The longest domain in the key of a label.
const DOMAIN: usize = 253;

/// What runs a service.
pub(super) fn kind(stack: &Stack, name: &str, service: &Node) -> Kind {
    let waited = stack.services().any(|(_, other)| {
        let on = other.get("depends_on").and_then(|on| on.get(name));
        on.and_then(|on| read::text(on, "condition")) == Some("service_completed_successfully")
    });
    let alone = ["expose", "healthcheck", "ports"].into_iter().all(|key| read::some(service, key).is_none());
    if waited || restart(service).0 == "no" && alone && read::some(service, "restart").is_some() {
        Kind::Job
    } else if volumes::has_named(service) {
        Kind::StatefulSet
    } else {
        Kind::Deployment
    }
}

/// How many of it run.
pub(super) fn replicas(service: &Node) -> u64 {
    let deployed = service.get("deploy").and_then(|deploy| read::text(deploy, "replicas"));
    deployed.or_else(|| read::text(service, "scale")).and_then(|text| read::number(text, 10_000)).unwrap_or(1)
}

/// `restart`, or what `deploy.restart_policy` says, and how often.
fn restart(service: &Node) -> (&str, Option<u64>) {
    if let Some(policy) = service.get("deploy").and_then(|deploy| read::some(deploy, "restart_policy")) {
        let attempts = read::text(policy, "max_attempts").and_then(|text| read::number(text, FOR_EVER));
        return match read::text(policy, "condition") {
            Some("none") => ("no", attempts),
            Some("on-failure") => ("on-failure", attempts),
            _ => ("always", attempts),
        };
    }
    let text = read::text(service, "restart").unwrap_or("no");
    let (word, times) = text.split_once(':').unwrap_or((text, ""));
    // `no` without quotes is a truth value for some.
    (if word == "false" { "no" } else { word }, read::number(times, FOR_EVER))
}

/// Makes the objects of a service.
pub(super) fn service(translation: &mut Translation<'_>, name: &str, node: &Node) {
    let kind = kind(translation.stack, name, node);
    let ports = ports::of(translation, name, node);
    let storage = storage::of(translation, name, node);
    restarts(translation, name, node, kind);
    let contexts = security::translate(translation, name, node, storage.keeps);
    let container = container::translate(translation, name, node, &ports, &storage, contexts.container);
    let called = translation.name(name);
    let (labels, annotations) = described(translation, name, node);
    let mut metadata = Object::new();
    let mut marks = translation.labels(&called);
    marks.extend(labels);
    let own = marks.clone();
    marks.extend(policy::members(node));
    put(&mut metadata, "labels", Some(Json::Object(marks)));
    put(&mut metadata, "annotations", Some(Json::Object(annotations)));
    let pod = pod(translation, name, node, kind, container, &storage, contexts.pod);
    let template = json!({"metadata": metadata, "spec": pod});
    let mut spec = Object::new();
    spec.insert("template".into(), template);
    if kind == Kind::Job {
        let (word, times) = restart(node);
        let first = node.get("depends_on").and_then(Node::map).is_some_and(|on| !on.is_empty());
        let tries = match word {
            "no" if first => TRIES,
            "no" => 0,
            _ => times.unwrap_or(FOR_EVER),
        };
        if word == "no" && first {
            let what = format!("`{name}` is tried {TRIES} times more: it may come before those that it depends on");
            translation.note(node.place, what);
        }
        spec.insert("backoffLimit".into(), json!(tries));
    } else {
        replicated(translation, name, node, &mut spec);
        spec.insert("selector".into(), json!({"matchLabels": translation.selector(&called)}));
    }
    if kind == Kind::StatefulSet {
        spec.insert("serviceName".into(), json!(called));
        put(&mut spec, "volumeClaimTemplates", Some(json!(storage.templates)));
    }
    let kind_name = match kind {
        Kind::Deployment => "Deployment",
        Kind::StatefulSet => "StatefulSet",
        Kind::Job => "Job",
    };
    translation.object(kind_name, &called, own, json!({"spec": spec}));
    service::translate(translation, name, node, kind, &ports);
}

fn replicated(translation: &mut Translation<'_>, name: &str, service: &Node, spec: &mut Object<String, Json>) {
    let written = service.get("deploy").and_then(|deploy| deploy.get("replicas")).or_else(|| service.get("scale"));
    if let Some(node) = written.filter(|node| node.scalar().is_some_and(|text| read::number(text, 10_000).is_none())) {
        let what = format!("`{}` is no number of replicas of `{name}`", shown(node.scalar().unwrap_or_default()));
        translation.refuse(node.place, &what, "write `2`");
    }
    spec.insert("replicas".into(), json!(replicas(service)));
}

/// What is said of restarts.
fn restarts(translation: &mut Translation<'_>, name: &str, service: &Node, kind: Kind) {
    let (word, times) = restart(service);
    let in_deploy = service.get("deploy").and_then(|deploy| read::some(deploy, "restart_policy"));
    let place = in_deploy.map_or_else(|| place_of(service, "restart"), |policy| policy.place);
    match (kind, word) {
        (Kind::Job, "always" | "unless-stopped") => {
            let what = format!("`{name}` is always restarted, and others wait for its end");
            translation.refuse(place, &what, "write `restart: \"no\"` or `on-failure`");
        }
        (Kind::Job, _) | (_, "always" | "unless-stopped") => {}
        (_, "on-failure") => {
            let times = times.map(|times| format!(", and more than {times} times")).unwrap_or_default();
            translation.note(place, format!("`{name}` is also restarted when it ends well{times}"));
        }
        (_, "no") if in_deploy.is_some() => {
            translation.lose("deploy.restart_policy", place, &format!("that `{name}` is not restarted"));
        }
        (_, "no") if read::some(service, "restart").is_some() => {
            translation.lose("restart", place, &format!("that `{name}` is not restarted"));
        }
        (_, "no") => {}
        (_, other) => {
            let what = format!("`restart: {}` of `{name}` is not known", shown(other));
            translation.refuse(place, &what, "write `always`, `on-failure:5`, `unless-stopped` or `\"no\"`");
        }
    }
}

/// `labels` and `annotations`: what is no value of a label is an annotation.
fn described(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
) -> (Object<String, Json>, Object<String, Json>) {
    let (mut labels, mut annotations) = (Object::new(), Object::new());
    let reserved = |key: &str| key.starts_with("app.kubernetes.io/") || key.starts_with("network.ingot/");
    let mut proxied: Option<Place> = None;
    let pairs = read::pairs(service, "labels").map(|pair| (pair, false));
    let deploy = service.get("deploy");
    let deployed = deploy.into_iter().flat_map(|deploy| read::pairs(deploy, "labels")).map(|pair| (pair, false));
    for ((key, node), annotation) in
        pairs.chain(deployed).chain(read::pairs(service, "annotations").map(|pair| (pair, true)))
    {
        let value = node.scalar().unwrap_or_default();
        if is_of_proxy(key) {
            proxied.get_or_insert(node.place);
        } else if !is_key(key) || reserved(key) {
            let (lost, what) = if annotation { ("annotations", "annotation") } else { ("labels", "label") };
            translation.lose(lost, node.place, &format!("the {what} `{}` of `{name}`", shown(key)));
        } else if !annotation && is_label(value) {
            labels.insert(key.into(), json!(value));
        } else {
            annotations.insert(key.into(), json!(value));
        }
    }
    if let Some(place) = proxied {
        translation.lose("labels.proxy", place, &format!("what the labels of `{name}` tell a proxy"));
    }
    if let Some(checksum) = files::checksum(translation, service) {
        annotations.insert("checksum/configs".into(), json!(checksum));
    }
    (labels, annotations)
}

/// A value of a label: at most 63 letters, digits, `.`, `_`, `-`, the first and the last a letter or digit.
fn is_label(value: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= LABEL
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && ends(value.chars().next())
        && ends(value.chars().next_back())
}

/// The key of a label or annotation: a name, and perhaps a domain before `/`.
pub(super) fn is_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| {
        domain.len() <= DOMAIN
            && domain.split('.').all(|part| {
                let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
            })
    };
    !name.is_empty() && is_label(name) && domain.is_none_or(is_domain)
}

fn pod(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
    kind: Kind,
    container: Json,
    storage: &Storage,
    security: Json,
) -> Json {
    let mut pod = Object::new();
    // Compose gives a container neither an account nor variables about other services.
    pod.insert("automountServiceAccountToken".into(), json!(false));
    pod.insert("enableServiceLinks".into(), json!(false));
    pod.insert("containers".into(), json!([container]));
    put(&mut pod, "securityContext", Some(security));
    put(&mut pod, "volumes", Some(storage.volumes()));
    // The pause process takes the place of the init that collects what is orphaned.
    put(&mut pod, "shareProcessNamespace", read::flag(service, "init").then_some(Json::Bool(true)));
    if kind == Kind::Job {
        let word = restart(service).0;
        pod.insert("restartPolicy".into(), json!(if word == "no" { "Never" } else { "OnFailure" }));
    }
    if let Some(text) = read::text(service, "stop_grace_period") {
        match read::seconds(text) {
            Some(seconds) => put(&mut pod, "terminationGracePeriodSeconds", Some(json!(seconds))),
            None => {
                let what = format!("`{}` in `stop_grace_period` of `{name}` is no time", shown(text));
                translation.refuse(place_of(service, "stop_grace_period"), &what, "write `30s`, `1m30s`");
            }
        }
    }
    if let Some(text) = read::text(service, "platform") {
        match text.split('/').collect::<Vec<_>>()[..] {
            [os @ ("linux" | "windows"), arch @ ("amd64" | "arm64" | "arm" | "ppc64le" | "s390x" | "riscv64")] => {
                put(&mut pod, "nodeSelector", Some(json!({"kubernetes.io/arch": arch, "kubernetes.io/os": os})));
            }
            [os @ ("linux" | "windows")] => put(&mut pod, "nodeSelector", Some(json!({"kubernetes.io/os": os}))),
            _ => {
                let what = format!("`platform: {}` of `{name}`", shown(text));
                translation.lose("platform", place_of(service, "platform"), &what);
            }
        }
    }
    if let Some(node) = read::some(service, "hostname") {
        let text = node.scalar().unwrap_or_default();
        if kind == Kind::StatefulSet || replicas(service) > 1 || names::label(text, LABEL) != text {
            translation.lose("hostname", node.place, &format!("`hostname: {}` of `{name}`", shown(text)));
        } else {
            pod.insert("hostname".into(), json!(text));
        }
    }
    hosts(translation, name, service, &mut pod);
    dns(translation, name, service, &mut pod);
    Json::Object(pod)
}

/// `extra_hosts`: names by address.
fn hosts(translation: &mut Translation<'_>, name: &str, service: &Node, pod: &mut Object<String, Json>) {
    let mut found: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for (host, node) in read::pairs(service, "extra_hosts") {
        for one in node.list().unwrap_or(std::slice::from_ref(node)) {
            let text = one.scalar().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let valid = host
                .split('.')
                .all(|part| !part.is_empty() && names::label(&format!("x{part}"), 64) == format!("x{part}"));
            match text.parse::<std::net::IpAddr>() {
                Ok(address) if valid => found.entry(address.to_string()).or_default().push(host.to_string()),
                _ => {
                    let what = format!("the address `{}` of the host `{}` for `{name}`", shown(text), shown(host));
                    translation.lose("extra_hosts", node.place, &what);
                }
            }
        }
    }
    let all: Vec<Json> = found.iter().map(|(ip, names)| json!({"hostnames": names, "ip": ip})).collect();
    put(pod, "hostAliases", Some(json!(all)));
}

/// `dns`, `dns_search`, `dns_opt`.
fn dns(translation: &mut Translation<'_>, name: &str, service: &Node, pod: &mut Object<String, Json>) {
    let texts = |key: &str| -> Vec<String> {
        read::list(service, key).iter().filter_map(|node| Some(node.scalar()?.to_string())).collect()
    };
    let (servers, search) = (texts("dns"), texts("dns_search"));
    let mut config = Object::new();
    if !servers.is_empty() {
        // Who has nobody to find loses nothing.
        let usable = servers.len() <= 3 && servers.iter().all(|server| server.parse::<std::net::IpAddr>().is_ok());
        if usable && !policy::has_peers(translation, name, service) {
            pod.insert("dnsPolicy".into(), json!("None"));
            put(&mut config, "nameservers", Some(json!(servers)));
        } else {
            translation.lose("dns", place_of(service, "dns"), &format!("`dns` of `{name}`"));
        }
    }
    put(&mut config, "searches", Some(json!(search)));
    let options: Vec<Json> = texts("dns_opt")
        .iter()
        .map(|option| match option.split_once(':') {
            Some((name, value)) => json!({"name": name, "value": value}),
            None => json!({"name": option}),
        })
        .collect();
    put(&mut config, "options", Some(json!(options)));
    put(pod, "dnsConfig", Some(Json::Object(config)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_of_labels_are_known() {
        for (value, expected) in [
            ("", true),
            ("a", true),
            ("1.0_b-c", true),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("Host(`x`)", false),
        ] {
            assert_eq!(is_label(value), expected, "{value}");
        }
        assert!(!is_label(&"a".repeat(64)));
        for (key, expected) in [
            ("a", true),
            ("example.com/a_b", true),
            ("traefik.http.routers.web.rule", true),
            ("/a", false),
            ("a/", false),
            ("A.b/c", false),
            ("a/b/c", false),
            ("", false),
            ("-a/b", false),
        ] {
            assert_eq!(is_key(key), expected, "{key}");
        }
    }
}
