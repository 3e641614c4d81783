//! Paths of the host that nobody should get: folders that decide over it, keys of its users, and where engines listen.

use std::path::Path;

use super::Checker;
use crate::fs;
use crate::stack::load::Stack;
use crate::stack::node::Place;

/// Folders of the host that decide over the host. What is below counts.
const HOST: [&str; 34] = [
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt/cni",
    "/opt/containerd",
    "/proc",
    "/root",
    "/run/dbus",
    "/run/incus",
    "/run/libvirt",
    "/run/lxd.socket",
    "/run/snapd.socket",
    "/run/systemd",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/games",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/src",
    "/var/snap/lxd",
    "/var/spool",
];
/// Folders of the system where applications have theirs, too: what of them decides over the host.
const SHARED: [(&str, &[&str]); 2] = [
    (
        "/usr/share",
        &[
            "bash-completion",
            "dbus-1",
            "grub",
            "initramfs-tools",
            "keyrings",
            "pam-configs",
            "perl5",
            "polkit-1",
            "python3",
        ],
    ),
    (
        "/var/lib",
        &[
            "AccountsService",
            "NetworkManager",
            "amazon",
            "apt",
            "cloud",
            "cni",
            "containerd",
            "containers",
            "dbus",
            "dkms",
            "docker",
            "dpkg",
            "etcd",
            "flatpak",
            "google",
            "incus",
            "k0s",
            "kubelet",
            "libvirt",
            "lxc",
            "lxd",
            "machines",
            "pacman",
            "polkit-1",
            "portables",
            "private",
            "rancher",
            "rpm",
            "samba",
            "snapd",
            "sss",
            "sudo",
            "systemd",
            "waagent",
        ],
    ),
];
/// Those of them that everybody may read: whoever copies them into an image, has nothing that he did not have.
const READABLE: [&str; 8] = ["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr", "/var/lib"];
/// Folders that decide over the host as a whole, while each application may have one below them.
const ABOVE: [&str; 9] = ["/", "/Users", "/home", "/opt", "/usr", "/usr/local", "/usr/share", "/var", "/var/lib"];
/// What below them everybody may read, and services are often given: the time zone, names, certificates of authorities,
/// the kernel's modules and figures.
const PUBLIC: [&str; 22] = [
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/os-release",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/ssl/certs",
    "/etc/timezone",
    "/lib/modules",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/sys/class",
    "/usr/lib/modules",
    "/usr/lib/os-release",
    "/usr/share",
];
/// Folders of `/etc` with the host's own secrets; others are those of an application (`/etc/shop/password`).
const OWN: [&str; 26] = [
    "NetworkManager",
    "apt",
    "ceph",
    "cni",
    "containers",
    "credstore",
    "credstore.encrypted",
    "docker",
    "etcd",
    "ipsec.d",
    "kubernetes",
    "netplan",
    "openvpn",
    "pki",
    "ppp",
    "pve",
    "rancher",
    "security",
    "ssh",
    "ssl",
    "sssd",
    "sudoers.d",
    "swanctl",
    "systemd",
    "wireguard",
    "wpa_supplicant",
];
/// Applications whose folder of `/etc` is often mounted as a whole.
const APPLICATIONS: [&str; 15] = [
    "alloy",
    "apache2",
    "caddy",
    "dnsmasq.d",
    "grafana",
    "haproxy",
    "letsencrypt",
    "loki",
    "mosquitto",
    "nginx",
    "pihole",
    "prometheus",
    "promtail",
    "telegraf",
    "traefik",
];
/// Names in a path that hold keys of a user.
const KEYS: [&str; 12] = [
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".netrc",
    ".password-store",
    ".pgpass",
    ".ssh",
    ".vault-token",
];
/// Where engines listen, without `/var` before `/run`. Whoever gets a folder above one, gets the socket.
const SOCKETS: [&str; 12] = [
    "/run/buildkit/buildkitd.sock",
    "/run/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/dockershim.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/user/docker.sock",
    "/run/user/podman/podman.sock",
    "/var/run/docker.sock",
];
/// Their names, wherever they stand.
const NAMES: [&str; 9] = [
    "buildkitd.sock",
    "containerd.sock",
    "containerd.sock.ttrpc",
    "cri-dockerd.sock",
    "crio.sock",
    "docker.raw.sock",
    "docker.sock",
    "dockershim.sock",
    "podman.sock",
];
/// Where engines of desktops listen below a user's home, `*` being any name, and how many parts of it nobody else uses: the
/// folders above them are looked into.
const DESKTOPS: [(usize, &[&str]); 8] = [
    (1, &[".colima", "*", "docker.sock"]),
    (1, &[".colima", "docker.sock"]),
    (2, &[".docker", "desktop", "docker.sock"]),
    (2, &[".docker", "run", "docker.sock"]),
    (1, &[".lima", "*", "sock", "docker.sock"]),
    (5, &[".local", "share", "containers", "podman", "machine", "podman.sock"]),
    (1, &[".orbstack", "run", "docker.sock"]),
    (1, &[".rd", "docker.sock"]),
];

/// Holds a path of the host, which a service gets with all that is below it, against the rules.
pub fn mounted(checker: &mut Checker<'_>, name: &str, written: &str, place: Place) {
    let paths = paths(checker.stack, written);
    let is_socket = paths.iter().any(|path| NAMES.iter().any(|name| path.ends_with(name)));
    if paths.iter().any(|path| is_engine(checker.stack, path)) {
        let within = if is_socket { "" } else { ", and with it the engine's socket" };
        checker.add("engine-socket", place, format!("`{name}` gets `{written}`{within}"));
    }
    if !is_socket && paths.iter().any(|path| decides(checker.stack, path)) {
        checker.add("host-mount", place, format!("`{name}` gets `{written}` of the host"));
    }
}

/// Holds a path of the host against the rules, of which an image gets a copy.
pub fn copied(checker: &mut Checker<'_>, name: &str, written: &str, place: Place) {
    let is_elsewhere =
        written.contains("://") || ["git@", "service:", "target:"].iter().any(|at| written.starts_with(at));
    let decides = |path: &String| decides(checker.stack, path) && !READABLE.iter().any(|folder| is_below(path, folder));
    if !is_elsewhere && paths(checker.stack, written).iter().any(decides) {
        checker.add("host-mount", place, format!("the image of `{name}` is built of `{written}` of the host"));
    }
}

/// Whether the engine's socket is at a path of the host or below it.
pub fn leads_to_engine(stack: &Stack, written: &str) -> bool {
    paths(stack, written).iter().any(|path| is_engine(stack, path))
}

/// Whether all may read what is at a path of the host.
pub fn is_public(stack: &Stack, written: &str) -> bool {
    paths(stack, written).iter().all(|path| PUBLIC.iter().any(|public| is_below(path, public)))
}

/// A file in a folder of its application below `/etc`, as one for a secret is: `/etc/shop/password`.
pub fn is_an_applications(stack: &Stack, written: &str) -> bool {
    let is_one = |path: &String| {
        let parts: Vec<&str> = path.split('/').collect();
        let is_folder = match parts[..] {
            ["", "etc", folder] => APPLICATIONS.contains(&folder),
            ["", "etc", folder, ref rest @ ..] => !OWN.contains(&folder) && !rest.iter().any(|part| is_private(part)),
            _ => false,
        };
        is_folder && !is_engine(stack, path)
    };
    paths(stack, written).iter().all(is_one)
}

/// A name of what is not for an application, even of its own folder: keys of authorities and of the host.
fn is_private(part: &str) -> bool {
    matches!(part, "priv" | "pki") || part.starts_with("private") || part.ends_with(".keyring")
}

/// A path as it is written, and where it leads.
fn paths(stack: &Stack, written: &str) -> Vec<String> {
    let (full, real) = (stack.at_home(written), stack.real(written));
    // A relative path begins at the project's folder, which only the real one has.
    full.starts_with(['/', '~', '\\']).then(|| plain(&full)).into_iter().chain([plain(&real)]).collect()
}

/// A path without empty components, `.` and `/` at its end. `/var/run` is `/run` on every machine.
fn plain(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(out.pop()),
            part => out.push(part),
        }
    }
    if let ["var", "run", ..] = out[..] {
        out.remove(0);
    }
    format!("/{}", out.join("/"))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folder of a user, with all keys.
fn is_home(stack: &Stack, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["", "home" | "Users", _] | ["", "root" | "~"])
        || stack.variable("HOME").is_some_and(|home| !home.is_empty() && plain(home) == path && path != "/")
}

/// A folder of root's home, if root himself starts the stack: one of anybody else's home is let pass, too.
fn is_roots(stack: &Stack, path: &str) -> bool {
    // What a shell reads or runs by itself is not for others.
    let is_run = |rest: &str| match rest.split_once('/').unwrap_or((rest, "")) {
        ("bin", _) | (".local", "" | "bin") => true,
        (first, _) => [".bash", ".profile", ".zsh"].iter().any(|begin| first.starts_with(begin)),
    };
    stack.variable("HOME").is_some_and(|home| plain(home) == "/root")
        && path.strip_prefix("/root/").is_some_and(|rest| !is_run(rest))
}

fn decides(stack: &Stack, path: &str) -> bool {
    let is_decisive = ABOVE.contains(&path)
        || HOST.iter().any(|host| is_below(path, host)) && !is_roots(stack, path)
        || SHARED.iter().any(|(shared, own)| own.iter().any(|own| is_below(path, &format!("{shared}/{own}"))))
        || is_home(stack, path)
        || path.split('/').any(|part| KEYS.contains(&part));
    is_decisive && !is_own(stack, path)
}

/// What is in the project is the project's, wherever that is; keys apart.
fn is_own(stack: &Stack, path: &str) -> bool {
    let folder = plain(&stack.folder.display().to_string());
    let is_deep = folder.matches('/').count() > 1 || folder == "/root";
    let Some(rest) = path.strip_prefix(&folder).filter(|rest| is_deep && (rest.is_empty() || rest.starts_with('/')))
    else {
        return false;
    };
    // A project may be somebody's home.
    let keys = if is_home(stack, &folder) { &KEYS[..] } else { &[".ssh"][..] };
    (!rest.is_empty() || !is_home(stack, &folder)) && !rest.split('/').any(|part| keys.contains(&part))
}

fn is_engine(stack: &Stack, path: &str) -> bool {
    // Below /run/user every user has a folder.
    let parts: Vec<&str> = path.split('/').collect();
    let known = match parts[..] {
        ["", "run", "user", _] => "/run/user".to_string(),
        ["", "run", "user", _, ref rest @ ..] => format!("/run/user/{}", rest.join("/")),
        _ => path.to_string(),
    };
    SOCKETS.iter().any(|socket| known == "/" || is_below(socket, &known))
        || NAMES.iter().any(|name| path.ends_with(&format!("/{name}")))
        || path.contains("docker_engine")
        || is_desktops(stack, path)
}

/// Whether an engine of a desktop listens at a path or below it, by its name or because it is there.
fn is_desktops(stack: &Stack, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_own = is_own(stack, path);
    DESKTOPS.iter().any(|(own, socket)| {
        (0..socket.len()).any(|known| {
            let (begin, rest) = socket.split_at(known);
            let ends = begin.iter().rev().zip(parts.iter().rev()).all(|(part, there)| *part == "*" || part == there);
            let is_there = || fs::exists(&Path::new(path).join(rest.join("/").replace('*', "default")));
            ends && parts.len() > known && (known >= *own && !is_own || is_there())
        })
    })
}
