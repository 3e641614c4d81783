//! Which findings of a service can be answered by editing its file, and how; and why the others cannot.

use std::collections::BTreeSet;

use super::change::{Change, Fix, Op, Val, loopback};
use crate::stack::fit::amount;
use crate::stack::known::{Known, known};
use crate::stack::node::Node;
use crate::stack::{Stack, check};

/// What a service may have at most, unless more is known of its image. Generous for most: to be measured.
const MEMORY: &str = "512m";
const CPUS: &str = "1.0";
const PIDS: &str = "200";
/// What may be written to beside volumes.
const TEMPORARY: &str = "/tmp:size=64m";

/// The fixes for the rules that fired at a service, in the order in which they are written.
pub fn fixes(stack: &Stack, service: &Node, fired: &BTreeSet<&str>) -> Vec<Fix> {
    let known = known(service);
    let user =
        known.and_then(|known| known.user).filter(|_| fired.contains("root-user") && may_be_user(stack, service));
    let mut all = Vec::new();
    let mut fix = |rule: &'static str, changes: Vec<Change>| {
        if fired.contains(rule) && !changes.is_empty() {
            all.push(Fix { rule, changes });
        }
    };
    fix("root-user", user.map(|user| set(&["user"], Val::text(user))).into_iter().collect());
    fix("writable-root", read_only(service, known));
    fix("capabilities-kept", capabilities(service, known, user.is_some()));
    fix("new-privileges", vec![add(&["security_opt"], &["no-new-privileges:true"])]);
    fix("memory-limit", vec![memory(service, known)]);
    fix("cpu-limit", vec![cpus(service)]);
    fix("pids-limit", vec![limit(service, "pids_limit", "pids", Val::Number(PIDS.into()))]);
    fix("port-public", ports(service));
    fix("healthcheck-missing", known.map(health).unwrap_or_default());
    fix("restart-always", vec![set(&["restart"], Val::text("on-failure:5"))]);
    all
}

fn set(path: &[&'static str], val: Val) -> Change {
    Change { path: path.to_vec(), op: Op::Set(val) }
}

fn add(path: &[&'static str], texts: &[&str]) -> Change {
    Change { path: path.to_vec(), op: Op::Add(texts.iter().map(|text| Val::text(*text)).collect()) }
}

/// Whether all that a service can write to is made by the engine, which gives a new volume to the image's user.
fn may_be_user(stack: &Stack, service: &Node) -> bool {
    let is_given = |mount: &Node| {
        let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
        let is_read = field("read_only") == "true";
        is_read
            || field("type") == "tmpfs"
            || field("type") == "volume" && check::bound(stack, field("source")).is_none()
    };
    // A secret's file on the host may be its owner's alone.
    ["user", "secrets", "entrypoint"].iter().all(|key| service.get(key).is_none())
        && service.get("volumes").and_then(Node::list).unwrap_or_default().iter().all(is_given)
}

fn read_only(service: &Node, known: Option<&Known>) -> Vec<Change> {
    let targets: Vec<&str> = service
        .get("volumes")
        .and_then(Node::list)
        .unwrap_or_default()
        .iter()
        .filter_map(|mount| mount.get("target")?.scalar())
        .chain(service.get("tmpfs").and_then(Node::list).unwrap_or_default().iter().filter_map(Node::scalar))
        .filter_map(|target| target.split(':').next())
        .collect();
    let writes = known.map(|known| known.writes).unwrap_or_default();
    let lacks = |path: &&&str| {
        !targets.iter().any(|target| target.trim_end_matches('/') == path.split(':').next().unwrap_or_default())
    };
    let folders: Vec<&str> = [TEMPORARY].iter().chain(writes).filter(lacks).copied().collect();
    let mut changes = vec![set(&["read_only"], Val::Bool(true))];
    if !folders.is_empty() {
        changes.push(add(&["tmpfs"], &folders));
    }
    changes
}

fn capabilities(service: &Node, known: Option<&Known>, becomes_user: bool) -> Vec<Change> {
    let mut changes = vec![add(&["cap_drop"], &["ALL"])];
    let needs = known.map(|known| known.capabilities).unwrap_or_default();
    if !becomes_user && service.get("user").is_none() && !needs.is_empty() {
        changes.push(add(&["cap_add"], needs));
    }
    changes
}

/// In the form that the service has already, for a file must not have both: its own keys, or those of `deploy`.
fn limit(service: &Node, own: &'static str, below: &'static str, val: Val) -> Change {
    let deploy = service.get("deploy");
    let has_table = deploy.and_then(|deploy| deploy.get("resources")?.get("limits")).is_some();
    let has_own = ["mem_limit", "cpus", "pids_limit"].iter().any(|key| service.get(key).is_some());
    let deploys = has_table || deploy.is_some() && !has_own;
    match (deploys, val) {
        (false, val) => set(&[own], val),
        // A number of CPUs is text there.
        (true, Val::Number(number)) if below == "cpus" => {
            set(&["deploy", "resources", "limits", below], Val::Text(number))
        }
        (true, val) => set(&["deploy", "resources", "limits", below], val),
    }
}

fn reserved<'a>(service: &'a Node, own: &str, below: &str) -> Option<&'a str> {
    let deployed = || service.get("deploy")?.get("resources")?.get("reservations")?.get(below);
    service.get(own).or_else(deployed)?.scalar()
}

/// No less than what is reserved.
fn memory(service: &Node, known: Option<&Known>) -> Change {
    let usual = known.map_or(MEMORY, |known| known.memory);
    let reserved = reserved(service, "mem_reservation", "memory");
    let more = reserved.filter(|text| amount(text) > amount(usual));
    limit(service, "mem_limit", "memory", Val::text(more.unwrap_or(usual)))
}

fn cpus(service: &Node) -> Change {
    let reserved = reserved(service, "", "cpus").filter(|text| text.parse::<f64>().is_ok_and(|cpus| cpus > 1.0));
    limit(service, "cpus", "cpus", Val::Number(reserved.unwrap_or(CPUS).into()))
}

fn ports(service: &Node) -> Vec<Change> {
    let host = |port: &Node| port.get("host_ip").and_then(Node::scalar).unwrap_or_default().to_string();
    let ports = service.get("ports").and_then(Node::list).unwrap_or_default();
    let public = ports.iter().any(|port| loopback(&host(port)).is_some());
    public.then(|| Change { path: vec!["ports"], op: Op::Loopback }).into_iter().collect()
}

fn health(known: &Known) -> Vec<Change> {
    if known.health.is_empty() {
        return Vec::new();
    }
    let check = Val::Map(vec![
        ("test", Val::texts(known.health)),
        ("interval", Val::text("10s")),
        ("timeout", Val::text("5s")),
        ("retries", Val::Number("5".into())),
        ("start_period", Val::text(known.start)),
    ]);
    vec![set(&["healthcheck"], check)]
}

/// What a person has to decide, where no edit is right for everybody.
pub fn decision(rule: &str) -> &'static str {
    match rule {
        "root-user" => {
            "which user the image can run as is not known: try `user: \"1001:1001\"` and look at what it writes"
        }
        "healthcheck-missing" => "how the health of this image is asked is not known",
        "image-moves" => "the digest is in a registry, which is not asked",
        "variable-unset" | "secret-value" | "secret-missing" | "secret-file" => "only you know the value",
        "engine-socket" => "take it out: who has it is root on the host, and no setting makes that safe",
        "port-low" => "another port is another address for whoever uses it",
        "development" => "what production needs instead is not known",
        "writable-root" | "capabilities-kept" | "new-privileges" | "memory-limit" | "cpu-limit" | "pids-limit"
        | "port-public" | "restart-always" => "it is written in a form that is not edited",
        _ => "the service may need it: whether it does is your decision",
    }
}

/// What to look at after a fix, a line for each kind of it that was made.
pub fn advice(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "writable-root" => {
            "only /tmp and what well-known images need can be written to: give a service a volume or `tmpfs` for the rest"
        }
        "capabilities-kept" => {
            "no service has a capability but those that well-known images need: write `cap_add` where one is missed"
        }
        "memory-limit" | "cpu-limit" | "pids-limit" => "limits are where to begin: measure, and write what is needed",
        "root-user" => "well-known images run as their own user: their data must be in a volume that the engine made",
        "port-public" => "ports are published on this machine only: put a proxy before what others shall reach",
        "restart-always" => "`on-failure` does not start a service again after the machine was",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_reason_of_its_own() {
        for rule in crate::stack::rules() {
            assert!(decision(&rule.id).len() > 20, "{}", rule.id);
        }
    }
}
