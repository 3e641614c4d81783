//! Services: the names under which the pods of a stack find one another, and what is published.

use std::collections::BTreeSet;

use serde_json::{Map as Object, Value as Json, json};

use super::ports::{Port, distinct};
use super::translation::{Translation, shown};
use super::workload::Kind;
use super::{Publish, names, policy, read};
use crate::stack::node::{Node, Place};

/// The ports that a NodePort may have.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// Makes the Services of a service.
pub(super) fn translate(translation: &mut Translation<'_>, name: &str, service: &Node, kind: Kind, ports: &[Port]) {
    let called = translation.name(name);
    let dnsrr = service.get("deploy").and_then(|deploy| read::text(deploy, "endpoint_mode")) == Some("dnsrr");
    let listed = distinct(ports);
    let has_peers = policy::has_peers(translation, name, service);
    let headless = kind == Kind::StatefulSet || dnsrr || listed.is_empty();
    if kind == Kind::StatefulSet || !listed.is_empty() || has_peers && kind != Kind::Job {
        if !headless && has_peers {
            let mut numbers: Vec<String> = listed.iter().map(|port| port.target.to_string()).collect();
            numbers.dedup();
            let what = format!(
                "others reach `{name}` on {} only: what else it listens on goes into `expose`",
                numbers.join(", ")
            );
            translation.note(service.place, what);
        }
        let unready = is_its_own_client(translation, name, service, kind);
        internal(translation, &called, &called, &listed, (headless, unready));
        for alias in aliases(translation, name, service) {
            internal(translation, &alias, &called, &listed, (headless, unready));
        }
    }
    public(translation, name, ports);
}

/// A Service for the pods of `called` under a name; a headless one leads to every port of every pod.
/// `unready`: also to those that are not healthy yet.
fn internal(
    translation: &mut Translation<'_>,
    name: &str,
    called: &str,
    ports: &[Port],
    (headless, unready): (bool, bool),
) {
    let mut spec = Object::new();
    if headless {
        spec.insert("clusterIP".into(), json!("None"));
    }
    if !ports.is_empty() {
        let ports: Json = ports.iter().map(|port| port.service(port.target, port.label())).collect();
        spec.insert("ports".into(), ports);
    }
    if unready {
        spec.insert("publishNotReadyAddresses".into(), json!(true));
    }
    spec.insert("selector".into(), Json::Object(translation.selector(called)));
    let labels = translation.labels(called);
    translation.object("Service", name, labels, json!({"spec": spec}));
}

/// Whether a service has to find itself, or members of a cluster one another, before it can be healthy: a broker whose
/// check asks for its advertised address, nodes that name each other.
fn is_its_own_client(translation: &Translation<'_>, name: &str, service: &Node, kind: Kind) -> bool {
    let checked = read::some(service, "healthcheck").is_some();
    checked
        && match kind {
            Kind::StatefulSet => names::is_in_circle(translation, name),
            _ => names::texts(translation, name, service).iter().any(|(_, _, text)| names::is_address(text, name)),
        }
}

/// The other names by which a service is found.
fn aliases(translation: &mut Translation<'_>, name: &str, service: &Node) -> BTreeSet<String> {
    let mut wanted: Vec<(&'static str, String, Place)> = Vec::new();
    for (_, network) in read::pairs(service, "networks") {
        for alias in read::list(network, "aliases") {
            wanted.push(("networks.aliases", alias.scalar().unwrap_or_default().into(), alias.place));
        }
    }
    for (_, other) in translation.stack.services() {
        for link in read::list(other, "links") {
            if let Some((_, alias)) = link.scalar().and_then(|text| text.split_once(':')).filter(|(to, _)| *to == name)
            {
                wanted.push(("networks.aliases", alias.into(), link.place));
            }
        }
    }
    if let Some(node) = read::some(service, "container_name") {
        let alias = node.scalar().unwrap_or_default();
        // Only who is called by it needs it.
        if names::mention(translation, alias).is_some() {
            wanted.push(("container_name", alias.into(), node.place));
        }
    }
    let mut found = BTreeSet::new();
    for (key, alias, place) in wanted {
        if names::label(&alias, 63) == alias {
            found.insert(alias);
        } else {
            translation.lose(key, place, &format!("the name `{}` of `{name}`", shown(&alias)));
        }
    }
    found.remove(&translation.name(name));
    found
}

/// What of a service is reached from outside of the cluster.
fn public(translation: &mut Translation<'_>, name: &str, ports: &[Port]) {
    let called = translation.name(name);
    let mut open: Vec<(u64, &Port)> = Vec::new();
    for port in ports {
        let Some(published) = &port.published else { continue };
        if published.here {
            let what = format!(
                "`{name}` is published on this machine only, and so on none: `kubectl port-forward service/{called} {}:{}`",
                published.port, port.target
            );
            translation.note(port.place, what);
        } else if !open.iter().any(|(number, other)| *number == published.port && other.protocol == port.protocol) {
            open.push((published.port, port));
        }
    }
    let Some((_, first)) = open.first() else { return };
    let mut numbers: Vec<String> = open.iter().map(|(number, _)| number.to_string()).collect();
    numbers.dedup();
    let what = format!("that `{name}` is published for everybody, on port {}", numbers.join(", "));
    let kind = match translation.options.publish {
        None => return translation.lose("ports", first.place, &what),
        Some(Publish::None) => {
            translation.note(
                first.place,
                format!(
                    "{what}, is let go: `kubectl port-forward service/{called}`, or an Ingress and a NetworkPolicy that lets it in"
                ),
            );
            return;
        }
        Some(Publish::LoadBalancer) => "LoadBalancer",
        Some(Publish::NodePort) => "NodePort",
    };
    let entries: Vec<Json> = open
        .iter()
        .map(|(number, port)| {
            let label = format!("{}-{number}", port.protocol.to_ascii_lowercase());
            let mut entry = port.service(*number, label);
            if let (Json::Object(entry), true) = (&mut entry, kind == "NodePort" && NODE_PORTS.contains(number)) {
                entry.insert("nodePort".into(), json!(number));
            }
            entry
        })
        .collect();
    if kind == "NodePort"
        && numbers.iter().any(|number| number.parse().is_ok_and(|number| !NODE_PORTS.contains(&number)))
    {
        let what = format!(
            "the cluster chooses a port from 30000 to 32767 for `{name}`: `kubectl get service {called}-public`"
        );
        translation.note(first.place, what);
    }
    let (labels, selector) = (translation.labels(&called), translation.selector(&called));
    let spec = json!({"ports": entries, "selector": selector, "type": kind});
    translation.object("Service", &format!("{called}-public"), labels.clone(), json!({"spec": spec}));
    let mut reached: Vec<Json> =
        open.iter().map(|(_, port)| json!({"port": port.target, "protocol": port.protocol})).collect();
    reached.dedup();
    let spec = json!({
        "ingress": [{"ports": reached}],
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress"],
    });
    translation.object("NetworkPolicy", &format!("{called}-public"), labels, json!({"spec": spec}));
}
