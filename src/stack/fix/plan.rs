//! Which findings of a service can be answered by editing its file, and how; and why the others cannot.

use std::collections::BTreeSet;

use super::change::{Change, Fix, Op, Val, loopback};
use super::leave::{is_variable, reason, words};
use crate::stack::fit::amount;
use crate::stack::known::{self, Known, known};
use crate::stack::node::Node;
use crate::stack::{Stack, check};

/// What a service may have at most, unless more is known of its image. Generous for most: to be measured.
const MEMORY: &str = "512m";
const CPUS: &str = "1.0";
const PIDS: u64 = 200;
/// Of what has a thread for each connection, or a virtual machine's many.
const THREADS: u64 = 1000;
/// What a virtual machine needs beside its heap, of the heap.
const BESIDE_HEAP: f64 = 1.5;
/// Variables with the heap of a virtual machine as an option, and with its size alone.
const HEAPS: [&str; 3] = ["INIT_MEMORY", "MAX_MEMORY", "MEMORY"];
/// What may be written to beside volumes.
const TEMPORARY: &str = "/tmp";
const SIZE: &str = "64m";

/// The fixes for the rules that fired at a service, in the order in which they are written.
pub fn fixes(stack: &Stack, service: &Node, fired: &BTreeSet<&str>) -> Vec<Fix> {
    let known = known(service);
    let user =
        known.and_then(|known| known.user).filter(|_| fired.contains("root-user") && may_be_user(stack, service));
    let mut all = Vec::new();
    let mut fix = |rule: &'static str, changes: Vec<Change>| {
        if fired.contains(rule) && !changes.is_empty() && (rule == "root-user" || reason(service, rule).is_none()) {
            all.push(Fix { rule, changes });
        }
    };
    fix("root-user", user.map(|user| becomes(service, known, user)).unwrap_or_default());
    fix("writable-root", read_only(service, known));
    fix("capabilities-kept", capabilities(service, known, user.is_some()));
    fix("new-privileges", vec![add(&["security_opt"], &["no-new-privileges:true"])]);
    fix("memory-limit", vec![memory(service, known)]);
    fix("cpu-limit", vec![cpus(service)]);
    fix("pids-limit", vec![limit(service, "pids_limit", "pids", Val::Number(processes(service, known)))]);
    fix("port-public", ports(service));
    fix("healthcheck-missing", known.map(|known| health(service, known)).unwrap_or_default());
    let restart = (!is_variable(stack, service, "restart")).then(|| set(&["restart"], Val::text("on-failure:5")));
    fix("restart-always", restart.into_iter().collect());
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

/// The own user of an image. What root made of its folders while it began, must be there.
fn becomes(service: &Node, known: Option<&Known>, user: &str) -> Vec<Change> {
    let mut changes = vec![set(&["user"], Val::text(user))];
    let lacking = lacking(service, known.map(|known| known.writes).unwrap_or_default());
    if field(service, "read_only") == "true" && !lacking.is_empty() {
        changes.push(add(&["tmpfs"], &lacking.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    changes
}

fn field<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::scalar).unwrap_or_default()
}

/// Folders that nothing of a service lies over, each with a size.
fn lacking(service: &Node, folders: &[&str]) -> Vec<String> {
    let targets: Vec<&str> = service
        .get("volumes")
        .and_then(Node::list)
        .unwrap_or_default()
        .iter()
        .filter_map(|mount| mount.get("target")?.scalar())
        .chain(service.get("tmpfs").and_then(Node::list).unwrap_or_default().iter().filter_map(Node::scalar))
        .filter_map(|target| target.split(':').next())
        .collect();
    let lacks = |path: &&&str| !targets.iter().any(|target| target.trim_end_matches('/') == **path);
    folders.iter().filter(lacks).map(|folder| format!("{folder}:size={SIZE}")).collect()
}

fn read_only(service: &Node, known: Option<&Known>) -> Vec<Change> {
    let writes = known.map(|known| known.writes).unwrap_or_default();
    let folders = lacking(service, &[&[TEMPORARY], writes].concat());
    let mut changes = vec![set(&["read_only"], Val::Bool(true))];
    if !folders.is_empty() {
        changes.push(add(&["tmpfs"], &folders.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    changes
}

fn capabilities(service: &Node, known: Option<&Known>, becomes_user: bool) -> Vec<Change> {
    let mut changes = vec![add(&["cap_drop"], &["ALL"])];
    let needs = known.map(|known| known.capabilities).unwrap_or_default();
    let begins_as_root = matches!(field(service, "user").split(':').next(), None | Some("" | "0" | "root"));
    if !becomes_user && begins_as_root && !needs.is_empty() {
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

/// No less than what is reserved, and than what the file itself asks for: a heap, and what is kept in memory as files.
fn memory(service: &Node, known: Option<&Known>) -> Change {
    let usual = known.map_or(MEMORY, |known| known.memory);
    let reserved = reserved(service, "mem_reservation", "memory");
    let more = reserved.filter(|text| amount(text) > amount(usual));
    let least = amount(more.unwrap_or(usual)).unwrap_or_default();
    let needed = (heap(service) * BESIDE_HEAP).max(least) + files(service);
    let written = match needed > least {
        true => format!("{}m", (needed / f64::from(256 << 20)).ceil() * 256.0),
        false => more.unwrap_or(usual).to_string(),
    };
    limit(service, "mem_limit", "memory", Val::text(written))
}

/// The largest heap that a variable or a command names (`-Xmx1g`, `MEMORY=4G`), in bytes.
fn heap(service: &Node) -> f64 {
    let variables = service.get("environment").and_then(Node::map).into_iter().flatten();
    let variables: Vec<(&str, &str)> =
        variables.filter_map(|(name, (_, node))| Some((name.as_str(), node.scalar()?))).collect();
    let options = variables.iter().map(|(_, value)| *value).chain(words(service));
    let options = options.flat_map(|text| text.split_whitespace()).filter_map(|word| {
        let at = word.find("-Xmx")?;
        amount(word.get(at + 4..)?)
    });
    let sizes = variables.iter().filter(|(name, _)| HEAPS.contains(name)).filter_map(|(_, value)| amount(value));
    // A number without a unit is one of something else.
    options.chain(sizes).filter(|bytes| *bytes >= f64::from(1 << 20)).fold(0.0, f64::max)
}

/// What files in memory may take, in bytes: `shm_size`, and `tmpfs` with a size.
fn files(service: &Node) -> f64 {
    let size = |text: &str| amount(text.split([':', ',']).find_map(|option| option.strip_prefix("size="))?);
    let short =
        service.get("tmpfs").and_then(Node::list).unwrap_or_default().iter().filter_map(|node| size(node.scalar()?));
    let mounts = service.get("volumes").and_then(Node::list).unwrap_or_default().iter();
    let long = mounts.filter_map(|mount| amount(mount.get("tmpfs")?.get("size")?.scalar()?));
    short.chain(long).chain(amount(field(service, "shm_size"))).sum()
}

/// How many processes and threads there may be.
fn processes(service: &Node, known: Option<&Known>) -> String {
    let connections = words(service).iter().flat_map(|text| text.split_whitespace()).find_map(|word| {
        let (name, number) = word.split_once('=')?;
        name.ends_with("max_connections").then(|| number.parse::<u64>().ok())?
    });
    let has_threads = heap(service) > 0.0 || known.is_some_and(|known| known.memory != MEMORY);
    let usual = if has_threads { THREADS } else { PIDS };
    connections.map_or(usual, |number| usual.max(number.saturating_add(PIDS))).to_string()
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

fn health(service: &Node, known: &Known) -> Vec<Change> {
    let test = known::health(known, service);
    if test.is_empty() {
        return Vec::new();
    }
    let check = Val::Map(vec![
        ("test", Val::texts(test)),
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

/// What to look at after a fix, a line for each kind of it that was made. `names`: the services that it is about.
pub fn advice(rule: &str, names: &str) -> Option<String> {
    Some(match rule {
        "writable-root" => format!(
            "only /tmp and what well-known images need can be written to: give a service a volume or `tmpfs` for the rest. Try {names}"
        ),
        "capabilities-kept" => format!(
            "no service has a capability but those that well-known images need: write `cap_add` where one is missed. Try {names}"
        ),
        "memory-limit" | "cpu-limit" | "pids-limit" => {
            "limits are where to begin: measure, and write what is needed".into()
        }
        "root-user" => {
            "well-known images run as their own user: their data must be in a volume that the engine made".into()
        }
        "port-public" => format!(
            "ports are published on this machine only: put a proxy before what others shall reach; the proxy itself, mail, names, VPN and games keep their address. Look at {names}"
        ),
        "restart-always" => "`on-failure` does not start a service again after the machine was".into(),
        _ => return None,
    })
}

/// Whether a fix is a guess for a service, because nothing is known of its image.
pub fn is_guess(service: &Node, rule: &str) -> bool {
    rule == "port-public" || known(service).is_none()
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
