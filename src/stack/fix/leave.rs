//! Fixes with which a service would not start any more, as its own file shows: they are left, with the reason.

use std::path::Path;

use crate::stack::known::{Known, known};
use crate::stack::load::Stack;
use crate::stack::node::Node;
use crate::stack::ports::is_every;

/// Variables of images that begin as root, and become somebody whose number is given.
const NUMBERS: [&str; 6] = ["GID", "PGID", "PUID", "UID", "USER_GID", "USER_UID"];
/// Publishers of such images.
const PUBLISHERS: [&str; 3] = ["linuxserver/", "hotio/", "binhex/"];
/// Programs in a command that need the rights of root, or write beside volumes.
const PROGRAMS: [&str; 14] = [
    "apk", "apt", "apt-get", "chown", "dnf", "gosu", "npm", "pip", "pip3", "runuser", "setpriv", "su", "su-exec", "yum",
];

/// Ports of mail, names, shells and games.
const OTHERS: [&str; 10] = ["22", "25", "53", "110", "143", "465", "587", "993", "995", "25565"];

/// Why a finding of a service is not answered, although it could be written.
pub fn reason(service: &Node, rule: &str) -> Option<&'static str> {
    let known = known(service);
    match rule {
        "capabilities-kept" if text(service, "privileged") == "true" => {
            Some("it is privileged, and has all of them whatever is dropped")
        }
        "capabilities-kept" | "writable-root" if known.is_none() && begins_as_root(service) => Some(
            "it begins as root and becomes somebody else, or installs something: try which capabilities and folders it needs",
        ),
        "writable-root" => read_only(service, known?),
        "memory-limit" | "cpu-limit" if asks_for_gpu(service) => {
            Some("it has a GPU, and what its model needs beside is not known")
        }
        "port-public" => are_for_others(service)
            .then_some("others are to reach it there, and no proxy stands before mail, names or a VPN"),
        "root-user" => known?.user.map(
            |_| "the image can run as its own user, but root was chosen, or what it reads and writes is the host's",
        ),
        _ => None,
    }
}

fn read_only(service: &Node, known: &Known) -> Option<&'static str> {
    if known.writes_root {
        return Some("the image writes to its configuration whenever it starts");
    }
    let has = |folder: &&str| {
        let mounts = service.get("volumes").and_then(Node::list).unwrap_or_default();
        let targets = mounts.iter().map(|mount| text(mount, "target"));
        let own = service.get("tmpfs").and_then(Node::list).unwrap_or_default().iter().filter_map(Node::scalar);
        targets
            .chain(own.filter_map(|tmpfs| tmpfs.split(':').next()))
            .any(|target| Path::new(folder).starts_with(target))
    };
    known.data.iter().find(|folder| !has(folder)).map(|_| "its data is where the image is: give it a volume first")
}

/// Whether a service that nothing is known of begins as root, as far as its file says.
pub fn begins_as_root(service: &Node) -> bool {
    let environment = service.get("environment");
    let is_number = |name: &str| environment.and_then(|environment| environment.get(name)).is_some();
    let image = text(service, "image");
    let user = text(service, "user").split(':').next().unwrap_or_default();
    let is_other = !matches!(user, "" | "0" | "root");
    let is_program = |word: &str| {
        let name = word.rsplit('/').next().unwrap_or(word);
        PROGRAMS.contains(&name)
    };
    let splits = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '"' | '\'');
    let runs = words(service).iter().any(|word| word.split(splits).any(is_program));
    !is_other
        && (matches!(user, "0" | "root")
            || NUMBERS.iter().any(|name| is_number(name))
            || PUBLISHERS.iter().any(|publisher| image.contains(publisher))
            || runs)
}

pub fn words(service: &Node) -> Vec<&str> {
    let all = ["entrypoint", "command"].iter().filter_map(|key| service.get(key));
    all.flat_map(|node| {
        node.scalar().into_iter().chain(node.list().unwrap_or_default().iter().filter_map(Node::scalar))
    })
    .collect()
}

/// Whether all that a service publishes on every address is for others than this machine, and nothing that HTTP is.
fn are_for_others(service: &Node) -> bool {
    let ports = service.get("ports").and_then(Node::list).unwrap_or_default();
    let mut public = ports.iter().filter(|port| is_every(text(port, "host_ip"))).peekable();
    let is_one = |port: &Node| text(port, "protocol") == "udp" || OTHERS.contains(&text(port, "target"));
    public.peek().is_some() && public.all(is_one)
}

fn asks_for_gpu(service: &Node) -> bool {
    let reserved =
        |service: &Node| service.get("deploy")?.get("resources")?.get("reservations")?.get("devices").cloned();
    reserved(service).is_some() || service.get("gpus").is_some() || text(service, "runtime") == "nvidia"
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::scalar).unwrap_or_default()
}

/// Whether the value of a key comes out of a variable, wherever it stands: an own one would be in its way.
pub fn is_variable(stack: &Stack, service: &Node, key: &str) -> bool {
    let Some(node) = service.get(key).filter(|node| node.scalar().is_some()) else { return false };
    let behind = stack.line(node.place).split_once(&format!("{key}:")).map(|(_, behind)| behind.trim_start());
    behind.is_some_and(|behind| behind.trim_start_matches(['"', '\'']).starts_with('$'))
}
