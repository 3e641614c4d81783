//! What a service gets of the host's files on any way: mounts, volumes that are folders of the host in other words, volumes of
//! other services, secrets and configs, and the address of an engine.

use std::collections::BTreeSet;

use super::host;
use super::{Checker, is_true, texts};
use crate::stack::load::Stack;
use crate::stack::node::Node;

/// Variables that tell a client where its engine is.
const CLIENTS: [&str; 4] = ["DOCKER_HOST", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "BUILDKIT_HOST"];

pub fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if let Some(node) = service.get("use_api_socket").filter(|node| is_true(Some(node))) {
        checker.add("engine-socket", node.place, format!("`{name}` gets the engine's socket"));
    }
    volumes(checker, name, service);
    // What another service has, this one gets with its volumes, and with those that the other has from a third.
    for (from, place) in texts(service, "volumes_from") {
        let others = giver(checker.stack, from);
        if others.iter().any(|other| has_engine(checker.stack, other, &mut BTreeSet::new())) {
            checker.add(
                "engine-socket",
                place,
                format!("`{name}` gets the engine's socket from `{}`", others.join("`, `")),
            );
        }
    }
    engine_host(checker, name, service);
    for table in ["secrets", "configs"] {
        for grant in service.get(table).and_then(Node::list).unwrap_or_default() {
            let source = grant.get("source").and_then(Node::scalar).unwrap_or_default();
            let stack = checker.stack;
            if let Some(file) = stack.root.get(table).and_then(|all| all.get(source)?.get("file")) {
                let written = file.scalar().unwrap_or_default();
                if !host::is_an_applications(stack, written) {
                    host::mounted(checker, name, written, file.place);
                }
            }
        }
    }
}

fn mounted(service: &Node) -> &[Node] {
    service.get("volumes").and_then(Node::list).unwrap_or_default()
}

fn volumes(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for mount in mounted(service) {
        let written = mount.get("source").and_then(Node::scalar).unwrap_or_default();
        let propagation = mount.get("bind").and_then(|bind| bind.get("propagation")).and_then(Node::scalar);
        if propagation.is_some_and(|how| how.ends_with("shared") || how.ends_with("slave")) {
            checker.add("propagation", mount.place, format!("`{name}` shares `{written}`"));
        }
        let is_read = is_true(mount.get("read_only"));
        for source in sources(checker.stack, mount) {
            let stack = checker.stack;
            if !(is_read && (host::is_public(stack, &source) || host::is_an_applications(stack, &source))) {
                host::mounted(checker, name, &source, mount.place);
            }
        }
    }
}

/// The services whose volumes `volumes_from` names: one by its name, or by that of its container.
fn giver<'a>(stack: &'a Stack, from: &'a str) -> Vec<&'a str> {
    let mut parts = from.split(':');
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("container", Some(container)) => {
            let is_it = |service: &Node| service.get("container_name").and_then(Node::scalar) == Some(container);
            stack.services().filter(|(_, service)| is_it(service)).map(|(name, _)| name).collect()
        }
        (name, _) => vec![name],
    }
}

/// Whether a service has the engine's socket in its volumes, or gets it from others. `seen`: those that were asked.
fn has_engine<'a>(stack: &'a Stack, name: &'a str, seen: &mut BTreeSet<&'a str>) -> bool {
    let Some((_, service)) = stack.services().find(|(known, _)| *known == name).filter(|_| seen.insert(name)) else {
        return false;
    };
    let leads = |mount: &Node| sources(stack, mount).iter().any(|source| host::leads_to_engine(stack, source));
    mounted(service).iter().any(leads)
        || texts(service, "volumes_from")
            .flat_map(|(from, _)| giver(stack, from))
            .any(|other| has_engine(stack, other, seen))
}

/// The paths of the host that are mounted.
fn sources(stack: &Stack, mount: &Node) -> Vec<String> {
    let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
    let mut all: Vec<String> = match field("type") {
        "bind" | "npipe" => vec![field("source").to_string()],
        // A named volume may be a folder of the host in other words.
        "volume" => {
            bound(stack, field("source")).map(str::to_string).into_iter().chain(devices(stack, mount)).collect()
        }
        _ => Vec::new(),
    };
    all.dedup();
    all
}

/// A client that is told where an engine is, whatever the way there: another path, an abstract one, the network.
fn engine_host(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for variable in CLIENTS {
        let node = service.get("environment").and_then(|environment| environment.get(variable));
        let address = node.and_then(Node::scalar).filter(|address| !address.is_empty());
        if let (Some(node), Some(_)) = (node, address) {
            checker.add("engine-socket", node.place, format!("`{variable}` of `{name}` names an engine"));
        }
    }
}

/// The folder of the host that a named volume is bound to.
pub fn bound<'a>(stack: &'a Stack, volume: &str) -> Option<&'a str> {
    let options = stack.root.get("volumes")?.get(volume)?.get("driver_opts")?;
    let text = |key: &str| options.get(key).and_then(Node::scalar).unwrap_or_default().trim();
    let is_bind = ["none", "bind"].iter().any(|kind| text("type").eq_ignore_ascii_case(kind))
        || text("o").split(',').any(|option| matches!(option.trim(), "bind" | "rbind"));
    is_bind.then(|| text("device"))
}

/// What of the host a named volume is in other words: the device of a file system, the folders of an overlay.
fn devices(stack: &Stack, mount: &Node) -> Vec<String> {
    let volume = mount
        .get("source")
        .and_then(Node::scalar)
        .filter(|_| mount.get("type").and_then(Node::scalar) == Some("volume"));
    let Some(options) = volume.and_then(|volume| stack.root.get("volumes")?.get(volume)?.get("driver_opts")) else {
        return Vec::new();
    };
    let text = |key: &str| options.get(key).and_then(Node::scalar).unwrap_or_default().trim().to_string();
    let mut paths: Vec<String> = text("o")
        .split([',', ':'])
        .flat_map(|option| {
            ["lowerdir=", "upperdir=", "workdir="].map(|key| option.trim().strip_prefix(key).map(str::to_string))
        })
        .flatten()
        .collect();
    match text("type").to_ascii_lowercase().as_str() {
        "proc" | "sysfs" | "devtmpfs" | "cgroup" | "cgroup2" => paths.push("/proc".into()),
        _ if text("device").starts_with('/') => paths.push(text("device")),
        _ => {}
    }
    paths
}
