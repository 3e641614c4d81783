//! What a service gets of the host's files: folders that decide over the host, and the engine's socket on any way.

use super::{Checker, is_true, texts};
use crate::stack::load::Stack;
use crate::stack::node::{Node, Place};

/// Folders of the host that decide over the host. What is below counts, but for `/home`.
const HOST: [&str; 15] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run/dbus",
    "/run/systemd",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib",
    "/var/spool",
];
/// What below them everybody may read, and services are often given: the time zone, certificates of authorities.
const PUBLIC: [&str; 6] = [
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/timezone",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];
/// Folders of `/etc` with the host's own secrets; others are those of an application (`/etc/shop/password`).
const OWN: [&str; 9] =
    ["docker", "kubernetes", "NetworkManager", "pki", "ssh", "ssl", "sudoers.d", "systemd", "wireguard"];
/// Names in a path that hold keys of a user.
const KEYS: [&str; 6] = [".ssh", ".docker", ".aws", ".kube", ".gnupg", ".config"];
/// Where engines listen. Whoever gets a folder above one, gets the socket.
const SOCKETS: [&str; 13] = [
    "/run/buildkit/buildkitd.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/user/docker.sock",
    "/run/user/podman/podman.sock",
    "/var/run/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/var/run/docker.sock",
    "/var/run/podman/podman.sock",
];
/// Their names, wherever they stand.
const NAMES: [&str; 6] =
    ["docker.sock", "docker.raw.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock"];
/// Variables that tell a client where its engine is.
const CLIENTS: [&str; 4] = ["DOCKER_HOST", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "BUILDKIT_HOST"];

pub fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if let Some(node) = service.get("use_api_socket").filter(|node| is_true(Some(node))) {
        checker.add("engine-socket", node.place, format!("`{name}` gets the engine's socket"));
    }
    volumes(checker, name, service);
    // What another service has, this one gets with its volumes.
    for (from, place) in texts(service, "volumes_from") {
        let other = from.split(':').next().unwrap_or_default();
        let stack = checker.stack;
        for mount in stack.services().filter(|(known, _)| *known == other).flat_map(|(_, service)| mounted(service)) {
            if source(stack, mount).is_some_and(|source| leads_to_engine(stack, source)) {
                checker.add("engine-socket", place, format!("`{name}` gets the engine's socket from `{other}`"));
            }
        }
    }
    engine_host(checker, name, service);
    for table in ["secrets", "configs"] {
        for grant in service.get(table).and_then(Node::list).unwrap_or_default() {
            let source = grant.get("source").and_then(Node::scalar).unwrap_or_default();
            let stack = checker.stack;
            if let Some(file) = stack.root.get(table).and_then(|all| all.get(source)?.get("file")) {
                let written = file.scalar().unwrap_or_default();
                if !paths(stack, written).iter().all(|path| is_an_applications(path)) {
                    host_path(checker, name, written, file.place);
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
        if let Some(source) = source(checker.stack, mount) {
            let is_public =
                is_true(mount.get("read_only")) && paths(checker.stack, source).iter().all(|path| is_public(path));
            if !is_public {
                host_path(checker, name, source, mount.place);
            }
        }
        for path in devices(checker.stack, mount) {
            host_path(checker, name, &path, mount.place);
        }
    }
}

fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|public| path == *public || path.starts_with(&format!("{public}/")))
}

/// A file in a folder of its application below `/etc`, as one for a secret is: `/etc/shop/password`.
fn is_an_applications(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["", "etc", folder, _, ..] if !OWN.contains(&folder)) && !is_engine(path)
}

/// The path of the host that is mounted.
fn source<'a>(stack: &'a Stack, mount: &'a Node) -> Option<&'a str> {
    let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
    match field("type") {
        "bind" | "npipe" => Some(field("source")),
        // A named volume may be a folder of the host in other words.
        "volume" => bound(stack, field("source")),
        _ => None,
    }
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
    let text = |key: &str| options.get(key).and_then(Node::scalar).unwrap_or_default();
    let is_bind = text("type") == "none" || text("o").split(',').any(|option| matches!(option, "bind" | "rbind"));
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

/// Whether the engine's socket is at a path of the host or below it.
fn leads_to_engine(stack: &Stack, written: &str) -> bool {
    paths(stack, written).iter().any(|path| is_engine(path))
}

fn is_engine(path: &str) -> bool {
    // Below /run/user every user has a folder.
    let parts: Vec<&str> = path.split('/').collect();
    let path = match parts[..] {
        ["", "run", "user", _, ..] => {
            let rest = parts.get(4..).unwrap_or_default();
            if rest.is_empty() { "/run/user".to_string() } else { format!("/run/user/{}", rest.join("/")) }
        }
        _ => path.to_string(),
    };
    let above = if path == "/" { path.clone() } else { format!("{path}/") };
    SOCKETS.iter().any(|socket| *socket == path || socket.starts_with(&above))
        || NAMES.iter().any(|name| path.ends_with(&format!("/{name}")))
        || path.contains("docker_engine")
}

/// A path as it is written, and where it leads.
fn paths(stack: &Stack, written: &str) -> Vec<String> {
    let real = stack.real(written);
    // A relative path begins at the project's folder, which only the real one has.
    written.starts_with(['/', '~', '\\']).then(|| plain(written)).into_iter().chain([plain(&real)]).collect()
}

/// Whether a path of the host is one that nobody should get.
pub fn host_path(checker: &mut Checker<'_>, name: &str, written: &str, place: Place) {
    let paths = paths(checker.stack, written);
    let decides = |path: &String| {
        path == "/"
            || HOST.iter().any(|host| path == host || path.starts_with(&format!("{host}/")))
            || path == "/var"
            // The folder of a user, with all keys.
            || path == "/home" || matches!(path.split('/').collect::<Vec<_>>()[..], ["", "home", _])
            || path.split('/').any(|part| KEYS.contains(&part))
    };
    // What is in the project is the project's, wherever that is; its own keys and sockets apart.
    let folder = checker.stack.folder.display().to_string();
    let own = |path: &String| {
        path.strip_prefix(&folder).is_some_and(|rest| {
            folder.matches('/').count() > 1
                && (rest.is_empty() || rest.starts_with('/'))
                && !rest.split('/').any(|part| part == ".ssh")
        })
    };
    let decides = |path: &String| decides(path) && !own(path);
    if paths.iter().any(|path| is_engine(path)) {
        checker.add("engine-socket", place, format!("`{name}` gets `{written}`"));
    }
    let is_socket = paths.iter().any(|path| NAMES.iter().any(|name| path.ends_with(name)));
    if !is_socket && (paths.iter().any(decides) || matches!(written, "~" | "~/")) {
        checker.add("host-mount", place, format!("`{name}` gets `{written}` of the host"));
    }
}

/// A path without empty components, `.` and `/` at its end.
fn plain(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(out.pop()),
            part => out.push(part),
        }
    }
    format!("/{}", out.join("/"))
}
