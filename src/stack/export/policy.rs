//! Networks: who shares one may talk; one that is internal leads nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Object, Value as Json, json};

use super::translation::{Translation, place_of, shown};
use super::{names, read};
use crate::stack::load::Stack;
use crate::stack::node::Node;

/// The network of services that name none.
const DEFAULT: &str = "default";

/// The address of a node's own cache of names (NodeLocal DNSCache), for clusters that have one.
const NODE_DNS: &str = "169.254.20.10/32";

/// The networks that a service is in; none if it has no network at all.
pub(super) fn networks_of(service: &Node) -> BTreeSet<String> {
    match read::text(service, "network_mode") {
        Some("none") => BTreeSet::new(),
        Some("bridge") => BTreeSet::from(["bridge".to_string()]),
        _ => {
            let named: BTreeSet<String> = read::pairs(service, "networks").map(|(name, _)| name.to_string()).collect();
            if named.is_empty() { BTreeSet::from([DEFAULT.to_string()]) } else { named }
        }
    }
}

/// Whether a service shares a network with another one.
pub(super) fn has_peers(translation: &Translation<'_>, name: &str, service: &Node) -> bool {
    let own = networks_of(service);
    translation.stack.services().any(|(other, node)| other != name && !networks_of(node).is_disjoint(&own))
}

/// The label that pods in a network have.
fn member(network: &str) -> String {
    format!("network.ingot/{}", names::label(network, 63))
}

/// The labels of a service's pods that say which networks they are in.
pub(super) fn members(service: &Node) -> impl Iterator<Item = (String, Json)> {
    networks_of(service).into_iter().map(|network| (member(&network), json!("true")))
}

/// Makes a policy of every network, and one for each service that has none.
pub(super) fn networks(translation: &mut Translation<'_>) {
    let stack = translation.stack;
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for (name, service) in stack.services() {
        attachments(translation, name, service);
        let networks = networks_of(service);
        if networks.is_empty() {
            let called = translation.name(name);
            let (labels, selector) = (translation.labels(&called), translation.selector(&called));
            let spec = json!({"podSelector": {"matchLabels": selector}, "policyTypes": ["Ingress", "Egress"]});
            translation.object("NetworkPolicy", &format!("{called}-isolated"), labels, json!({"spec": spec}));
        }
        for network in networks {
            let label = names::label(&network, 63);
            let other = used.insert(label.clone(), network.clone()).filter(|other| *other != network);
            if let Some(other) = other {
                let what = format!("the networks `{other}` and `{network}` would both be called `{label}`");
                translation.refuse(service.place, &what, "give one of them another name");
            }
        }
    }
    for (label, network) in used {
        policy(translation, &label, &network, is_internal(stack, &network));
    }
}

fn is_internal(stack: &Stack, network: &str) -> bool {
    let node = stack.root.get("networks").and_then(|all| all.get(network));
    node.is_some_and(|node| read::flag(node, "internal"))
}

fn policy(translation: &mut Translation<'_>, label: &str, network: &str, internal: bool) {
    let part_of = names::label(&translation.stack.name, 63);
    let mut selector = Object::new();
    selector.insert("app.kubernetes.io/part-of".into(), json!(part_of));
    selector.insert(member(network), json!("true"));
    let peers = json!({"podSelector": {"matchLabels": selector}});
    let egress = match internal {
        false => json!([{}]),
        true => json!([
            {"to": [peers]},
            {
                "ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "to": [{
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                }, {"ipBlock": {"cidr": NODE_DNS}}],
            },
        ]),
    };
    let spec = json!({
        "egress": egress,
        "ingress": [{"from": [peers]}],
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
    });
    let mut labels = translation.labels(label);
    labels.remove("app.kubernetes.io/name");
    translation.object("NetworkPolicy", &format!("network-{label}"), labels, json!({"spec": spec}));
}

/// What is said of a service in its networks.
fn attachments(translation: &mut Translation<'_>, name: &str, service: &Node) {
    if let Some(mode) = read::some(service, "network_mode")
        && !matches!(mode.scalar(), Some("none" | "bridge" | "default"))
    {
        let what = format!("`network_mode: {}` of `{name}`", shown(mode.scalar().unwrap_or_default()));
        translation.lose("network_mode", mode.place, &what);
    }
    for (network, node) in read::pairs(service, "networks") {
        for (key, _) in node.map().into_iter().flatten().filter(|(key, _)| *key != "aliases" && !key.starts_with("x-"))
        {
            let what = format!("`{key}` of `{name}` in the network `{}`", shown(network));
            translation.lose("networks.address", place_of(node, key), &what);
        }
    }
}
