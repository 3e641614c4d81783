//! What the kernel says is in force, held against what was asked for.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::cgroup::Cgroups;
use super::mounts::{MountInfo, at, parse};
use crate::fs;
use crate::sandbox::order::Order;
use crate::sandbox::outcome::Check;

/// The most that is read of one file of the kernel.
const LIMIT: u64 = 4 << 20;
/// Interfaces that a kernel may put into every namespace; without an address they lead nowhere, and they are down.
const TUNNELS: [&str; 9] = ["sit0", "ip6tnl0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];
/// What engines themselves put into a container, besides the kernel's own file systems.
const ENGINES_OWN: [&str; 7] = [
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
    "/etc/ld.so.preload",
    "/etc/localtime",
];
/// File systems of the kernel, and what hides parts of them.
const KERNELS_OWN: [&str; 7] = ["proc", "sysfs", "tmpfs", "devtmpfs", "cgroup", "cgroup2", "securityfs"];
/// What a device or a folder of `/dev` is on.
const DEVICE_SYSTEMS: [&str; 5] = ["tmpfs", "devtmpfs", "devpts", "mqueue", "hugetlbfs"];
/// Devices that lead nowhere, and terminals.
const DEVICES: [&str; 17] = [
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "console",
    "ptmx",
    "pts",
    "shm",
    "mqueue",
    "fd",
    "stdin",
    "stdout",
    "stderr",
    "core",
    "hugepages",
];

/// The checks that every sandbox has, before those of its folders and after them.
const FIRST: [&str; 9] = [
    "process namespace",
    "user",
    "capabilities",
    "new privileges",
    "seccomp",
    "network",
    "root file system",
    "other mounts",
    "devices",
];
const GROUPS: [&str; 4] = ["memory", "swap", "processes", "cpus"];
const OWN_FILES: &str = "ingot's own files";
const OWN_FILTER: &str = "ingot's own filter";

/// The names of all that the guard has to report for this order: no more, no less, in this order.
pub fn names(order: &Order) -> Vec<String> {
    let (own, rest) = own_and_others(order);
    let folders = order.folders.iter().map(|(path, _)| path.as_str());
    let mut names: Vec<&str> = FIRST.into_iter().chain(folders).chain(rest.into_iter().map(String::as_str)).collect();
    if !own.is_empty() {
        names.push(OWN_FILES);
    }
    names.extend(GROUPS);
    names.extend(super::start::resources(order).into_iter().map(|(resource, _)| resource_name(resource)));
    names.push(OWN_FILTER);
    names.into_iter().map(str::to_string).collect()
}

/// What is mounted: Ingot's own files, and the rest.
fn own_and_others(order: &Order) -> (Vec<&String>, Vec<&String>) {
    order.mounts.iter().partition(|path| path.strip_prefix(&order.own).is_some_and(|rest| rest.starts_with('/')))
}

/// Everything that is read back, in the order in which people read it.
pub fn checks(order: &Order, cgroups: &Cgroups) -> Vec<Check> {
    let read = |path: &str| fs::read_text(Path::new(path), LIMIT).unwrap_or_default();
    let status = status(&read("/proc/self/status"));
    let mut checks = vec![process_one(), user(&status, order.user), capabilities(&status)];
    checks.extend([new_privileges(&status), seccomp(&status), network(&read("/proc/net/dev"))]);
    let mounts = parse(&read("/proc/self/mountinfo"));
    checks.push(root(&mounts));
    checks.push(others(&mounts, order));
    checks.push(devices());
    for (path, size) in &order.folders {
        checks.push(folder(&mounts, path, *size));
    }
    let (own, rest) = own_and_others(order);
    checks.extend(rest.into_iter().map(|path| read_only(&mounts, path)));
    let own: Vec<Check> = own.into_iter().map(|path| read_only(&mounts, path)).collect();
    if let Some(one) = own.iter().find(|check| !check.holds).or(own.first()) {
        checks.push(Check { name: OWN_FILES.into(), ..one.clone() });
    }
    checks.extend(groups(order, cgroups, &read("/proc/meminfo")));
    checks.extend(resources(order));
    checks
}

fn check(name: &str, asked: impl Into<String>, found: impl Into<String>, holds: bool) -> Check {
    let cut = |text: String| text.chars().take(200).collect();
    Check { name: name.into(), asked: asked.into(), found: cut(found.into()), holds }
}

fn status(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.trim().to_string()));
    text.lines().filter_map(pair).collect()
}

fn field<'a>(status: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    status.get(name).map_or("unknown", String::as_str)
}

fn process_one() -> Check {
    let id = super::own_id();
    check("process namespace", "process 1", format!("process {id}"), id == 1)
}

fn user(status: &BTreeMap<String, String>, (user, group): (u32, u32)) -> Check {
    let ids = |name: &str| field(status, name).split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let (uids, gids, groups) = (ids("Uid"), ids("Gid"), ids("Groups"));
    let holds = uids.len() == 4
        && uids.iter().all(|id| *id == user.to_string())
        && gids.iter().chain(&groups).all(|id| *id == group.to_string())
        && user != 0
        && group != 0;
    let mut found = uids;
    found.dedup();
    let mut all = gids;
    all.extend(groups);
    all.dedup();
    check("user", format!("{user}:{group}"), format!("{}:{}", found.join(" "), all.join(" ")), holds)
}

fn capabilities(status: &BTreeMap<String, String>) -> Check {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let some: Vec<String> = sets
        .iter()
        .map(|set| (set, field(status, set)))
        .filter(|(_, bits)| bits.is_empty() || bits.chars().any(|digit| digit != '0'))
        .map(|(set, bits)| format!("{set} {bits}"))
        .collect();
    let found = if some.is_empty() { "none".into() } else { some.join(", ") };
    check("capabilities", "none", found, some.is_empty())
}

fn new_privileges(status: &BTreeMap<String, String>) -> Check {
    let holds = field(status, "NoNewPrivs") == "1";
    check("new privileges", "impossible", if holds { "impossible" } else { "possible" }, holds)
}

fn seccomp(status: &BTreeMap<String, String>) -> Check {
    let found = match field(status, "Seccomp") {
        "2" => "a filter",
        "0" => "none",
        other => other,
    };
    check("seccomp", "a filter", found, found == "a filter")
}

/// Ingot's own filter.
pub fn own_filter(in_force: bool) -> Check {
    check(OWN_FILTER, "in force", if in_force { "in force" } else { "none" }, in_force)
}

fn network(text: &str) -> Check {
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    let harmless = |name: &&str| **name == *"lo" || (TUNNELS.contains(name) && is_down(name));
    let others: Vec<&str> = names.iter().filter(|name| !harmless(name)).copied().collect();
    let holds = !names.is_empty() && others.is_empty();
    let found = match (holds, names.is_empty()) {
        (true, _) => "only lo".into(),
        (false, true) => "unknown".into(),
        (false, false) => names.join(" "),
    };
    check("network", "only lo", found, holds)
}

fn is_down(name: &str) -> bool {
    let flags = fs::read_text(&Path::new("/sys/class/net").join(name).join("flags"), 64).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
    flags.is_ok_and(|flags| flags & 1 == 0)
}

fn root(mounts: &[MountInfo]) -> Check {
    let writable = at(mounts, "/").is_none_or(MountInfo::writable);
    check("root file system", "read-only", if writable { "writable" } else { "read-only" }, !writable)
}

/// Nothing of this machine but what was asked for; nothing writable but folders in memory.
fn others(mounts: &[MountInfo], order: &Order) -> Check {
    let asked =
        |point: &str| order.mounts.iter().chain(order.folders.iter().map(|(path, _)| path)).any(|own| own == point);
    let kernel = |mount: &MountInfo| {
        let below = |folder: &str| mount.point == folder || mount.point.starts_with(&format!("{folder}/"));
        let device = mount.point.strip_prefix("/dev/").is_some_and(|name| DEVICES.contains(&name));
        ((below("/proc") || below("/sys")) && KERNELS_OWN.contains(&mount.kind.as_str()))
            || (mount.point == "/dev" && mount.kind == "tmpfs")
            || (device && DEVICE_SYSTEMS.contains(&mount.kind.as_str()))
    };
    let known = |mount: &&MountInfo| {
        let own = ENGINES_OWN.contains(&mount.point.as_str()) && !mount.writable();
        // What stands for a volume of the image under docker.
        let empty = mount.kind == "tmpfs" && !mount.writable();
        mount.point == "/" || asked(&mount.point) || own || empty || kernel(mount)
    };
    let more: Vec<String> = mounts
        .iter()
        .filter(|mount| !known(mount))
        .map(|mount| format!("{}{}", mount.point, if mount.writable() { " (writable)" } else { "" }))
        .collect();
    let found = if more.is_empty() { "none".into() } else { more.join(", ") };
    check("other mounts", "none", found, more.is_empty())
}

fn devices() -> Check {
    let listed = fs::read_dir(Path::new("/dev")).unwrap_or_default();
    let names: Vec<String> =
        listed.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    let more: Vec<String> = names.iter().filter(|name| !DEVICES.contains(&name.as_str())).cloned().collect();
    let found = match (names.is_empty(), more.is_empty()) {
        (true, _) => "unknown".into(),
        (_, true) => "none".into(),
        _ => more.join(" "),
    };
    check("devices", "none", found, !names.is_empty() && more.is_empty())
}

fn folder(mounts: &[MountInfo], path: &str, size: u64) -> Check {
    let asked = format!("{size} bytes, noexec, nosuid, nodev");
    let Some(mount) = at(mounts, path) else { return check(path, asked, "not mounted", false) };
    let has = ["noexec", "nosuid", "nodev"].into_iter().filter(|option| mount.has(option));
    let bytes = mount.size().map_or("any number of bytes".into(), |size| format!("{size} bytes"));
    let found = [vec![bytes.as_str()], has.clone().collect()].concat().join(", ");
    // The kernel counts whole pages.
    let fits = mount.size().is_some_and(|found| found > 0 && found <= size.next_multiple_of(64 << 10));
    let holds = mount.kind == "tmpfs" && fits && has.count() == 3;
    check(path, asked, if mount.kind == "tmpfs" { found } else { mount.kind.clone() }, holds)
}

fn read_only(mounts: &[MountInfo], path: &str) -> Check {
    let found = match at(mounts, path) {
        None => "not mounted",
        Some(mount) if mount.writable() || !mount.has("ro") => "writable",
        Some(_) => "read-only",
    };
    check(path, "read-only", found, found == "read-only")
}

fn groups(order: &Order, cgroups: &Cgroups, meminfo: &str) -> [Check; 4] {
    let limits = &order.limits;
    let at_most = |name: &str, asked: u64, found: Option<u64>, unit: &str| {
        let text = found.map_or("no limit".to_string(), |found| format!("{found}{unit}"));
        check(name, format!("{asked}{unit}"), text, found.is_some_and(|found| found > 0 && found <= asked))
    };
    let swapless = meminfo.lines().any(|line| {
        line.strip_prefix("SwapTotal:").is_some_and(|rest| rest.trim().trim_end_matches("kB").trim() == "0")
    });
    let swap = match (cgroups.swap_limit(), swapless) {
        (Some(0), _) => check("swap", "none", "none", true),
        (_, true) => check("swap", "none", "this machine has none", true),
        (Some(bytes), _) => check("swap", "none", format!("{bytes} bytes"), false),
        (None, _) => check("swap", "none", "no limit", false),
    };
    [
        at_most("memory", limits.memory, cgroups.memory_limit(), " bytes"),
        swap,
        at_most("processes", u64::from(limits.pids), cgroups.pids_limit(), ""),
        at_most("cpus", u64::from(limits.millicpus), cgroups.millicpus(), "/1000"),
    ]
}

/// Limits of each process, which the guard itself has set.
fn resources(order: &Order) -> Vec<Check> {
    let wanted = super::start::resources(order);
    wanted
        .into_iter()
        .map(|(resource, asked)| {
            let found = getrlimit(resource);
            let text = found.maximum.map_or("no limit".to_string(), |limit| limit.to_string());
            let holds =
                found.maximum.is_some_and(|limit| limit <= asked) && found.current.is_some_and(|limit| limit <= asked);
            check(resource_name(resource), asked.to_string(), text, holds)
        })
        .collect()
}

fn resource_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Core => "rlimit core",
        Resource::Nofile => "rlimit nofile",
        Resource::Nproc => "rlimit nproc",
        Resource::Fsize => "rlimit fsize",
        Resource::Data => "rlimit data",
        _ => "rlimit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_knows_what_has_to_be_reported() {
        let mut order = super::super::start::tests::order();
        for _ in 0..2 {
            let mut found = checks(&order, &Cgroups::default());
            found.push(own_filter(true));
            let found: Vec<String> = found.into_iter().map(|check| check.name).collect();
            assert_eq!(found, names(&order));
            // On a host there is nothing of the engine's.
            order.place = crate::sandbox::Place::Host;
            (order.folders, order.mounts, order.own) = Default::default();
        }
    }

    fn of(text: &str) -> BTreeMap<String, String> {
        status(text)
    }

    #[test]
    fn a_locked_down_status_holds_and_an_ordinary_one_does_not() {
        let locked = of(
            "Uid:\t61200\t61200\t61200\t61200\nGid:\t61200\t61200\t61200\t61200\nGroups:\t61200 \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n",
        );
        for check in [user(&locked, (61200, 61200)), capabilities(&locked), new_privileges(&locked), seccomp(&locked)] {
            assert!(check.holds, "{check:?}");
        }
        assert!(!user(&locked, (1, 1)).holds);
        let open = of(
            "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0 27\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n",
        );
        for check in [user(&open, (0, 0)), capabilities(&open), new_privileges(&open), seccomp(&open)] {
            assert!(!check.holds, "{check:?}");
        }
        let nothing = of("");
        for check in [user(&nothing, (1, 1)), capabilities(&nothing), new_privileges(&nothing), seccomp(&nothing)] {
            assert!(!check.holds, "what is not known is not in force: {check:?}");
        }
    }

    #[test]
    fn a_network_is_seen() {
        let header = "Inter-|   Receive  |  Transmit\n face |bytes packets\n";
        assert!(network(&format!("{header}    lo:       0 0\n")).holds);
        let bridged = network(&format!("{header}    lo:       0 0\n  eth0: 5 5\n"));
        assert!(!bridged.holds && bridged.found == "lo eth0");
        assert!(!network("").holds);
    }

    #[test]
    fn what_is_mounted_beside_is_seen() {
        let order = super::super::start::tests::order();
        let base = "1 0 0:1 / / ro - overlay o rw\n2 1 0:2 / /tmp rw,nosuid,nodev,noexec - tmpfs t rw,size=64k\n\
                    3 1 0:3 / /proc rw - proc proc rw\n4 1 0:4 /x /etc/hosts ro - ext4 d rw\n5 1 0:4 /x /code ro - ext4 d rw\n";
        let of = |more: &str| others(&parse(&format!("{base}{more}")), &order);
        assert!(of("").holds, "{:?}", of(""));
        assert_eq!(
            of("6 1 0:4 /x /run/docker.sock ro - tmpfs d rw\n").found,
            "none",
            "an empty read-only folder in memory is nothing"
        );
        assert_eq!(of("6 1 0:4 /x /run/docker.sock ro - ext4 d rw\n").found, "/run/docker.sock");
        assert_eq!(of("6 1 0:4 /x /data rw - ext4 d rw\n").found, "/data (writable)");
        assert_eq!(of("6 1 0:4 /x /etc/hosts rw - ext4 d rw\n").found, "/etc/hosts (writable)");
        assert!(!of("6 1 0:4 /x /dev/kvm rw - ext4 d rw\n").holds);
    }

    #[test]
    fn a_folder_has_to_be_small_and_tame() {
        let of = |text: &str| folder(&parse(text), "/tmp", 65536);
        assert!(of("2 1 0:2 / /tmp rw,nosuid,nodev,noexec - tmpfs t rw,size=64k\n").holds);
        for text in [
            "2 1 0:2 / /tmp rw,nosuid,nodev,noexec - tmpfs t rw,size=2m\n",
            "2 1 0:2 / /tmp rw,nosuid,nodev,noexec - tmpfs t rw\n",
            "2 1 0:2 / /tmp rw,nosuid,nodev - tmpfs t rw,size=64k\n",
            "2 1 0:2 / /tmp rw,nosuid,nodev,noexec - ext4 t rw,size=64k\n",
            "",
        ] {
            assert!(!of(text).holds, "{text}: {:?}", of(text));
        }
        assert!(read_only(&parse("5 1 0:4 /x /code ro - ext4 d rw\n"), "/code").holds);
        assert!(!read_only(&parse("5 1 0:4 /x /code rw - ext4 d rw\n"), "/code").holds);
        assert!(!read_only(&[], "/code").holds);
    }
}
