//! This process's control groups, version 1, 2 or both: limits, what was used, who was killed.
//!
//! A file counts only if the group that it belongs to lists this process.

use std::path::{Path, PathBuf};

use super::mounts::{MountInfo, parse};
use crate::fs;

/// The most that is read of one file.
const LIMIT: u64 = 1 << 20;
/// Version 1 says "no limit" with a number near the top.
const UNLIMITED: u64 = 1 << 60;

/// Where the groups of this process are.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    memory: Option<Group>,
    pids: Option<Group>,
    cpu: Option<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    folder: PathBuf,
    unified: bool,
}

impl Group {
    fn text(&self, name: &str) -> Option<String> {
        fs::read_text(&self.folder.join(name), LIMIT).ok().map(|text| text.trim().to_string())
    }

    /// A number; "max" is none.
    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok().filter(|number| *number < UNLIMITED)
    }

    /// The number behind a word, in a file of such lines.
    fn entry(&self, name: &str, word: &str) -> Option<u64> {
        let text = self.text(name)?;
        text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    }
}

impl Cgroups {
    /// Looks for them.
    pub fn find() -> Self {
        let read = |path: &str| fs::read_text(Path::new(path), LIMIT).unwrap_or_default();
        let mounts = parse(&read("/proc/self/mountinfo"));
        let own = read("/proc/self/cgroup");
        let find =
            |controller: &str| locate(&mounts, &own, controller).filter(|group| lists_this_process(group, controller));
        Cgroups { memory: find("memory"), pids: find("pids"), cpu: find("cpu") }
    }

    /// Bytes of memory that all processes together may have.
    pub fn memory_limit(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        group.number(if group.unified { "memory.max" } else { "memory.limit_in_bytes" })
    }

    /// Bytes of swap on top; `None` is no limit.
    pub fn swap_limit(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        if group.unified {
            return group.number("memory.swap.max");
        }
        let both = group.number("memory.memsw.limit_in_bytes")?;
        Some(both.saturating_sub(self.memory_limit()?))
    }

    /// Processes and threads.
    pub fn pids_limit(&self) -> Option<u64> {
        self.pids.as_ref()?.number("pids.max")
    }

    /// Thousandths of a CPU.
    pub fn millicpus(&self) -> Option<u64> {
        let group = self.cpu.as_ref()?;
        let (quota, period) = if group.unified {
            let text = group.text("cpu.max")?;
            let (quota, period) = text.split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?)
        } else {
            (group.number("cpu.cfs_quota_us")?, group.number("cpu.cfs_period_us")?)
        };
        u64::checked_div(u64::checked_mul(quota, 1000)?, period)
    }

    /// How often the kernel killed for want of memory.
    pub fn oom_kills(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        let file = if group.unified { "memory.events" } else { "memory.oom_control" };
        group.entry(file, "oom_kill ")
    }

    /// The most memory that was used at once.
    pub fn peak_memory(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        group.number(if group.unified { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }
}

/// The folder of this process's group for a controller.
fn locate(mounts: &[MountInfo], own: &str, controller: &str) -> Option<Group> {
    // 4:memory:/path, 0::/path
    let entries = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let path_of = |wanted: &dyn Fn(&str, &str) -> bool| {
        entries.clone().find(|(number, names, _)| wanted(number, names)).map(|(_, _, path)| path)
    };
    let legacy = mounts
        .iter()
        .rev()
        .find(|mount| mount.kind == "cgroup" && mount.super_options.iter().any(|option| option == controller));
    let (mount, path, unified) = match legacy {
        Some(mount) => (mount, path_of(&|_, names| names.split(',').any(|name| name == controller))?, false),
        None => {
            (mounts.iter().rev().find(|mount| mount.kind == "cgroup2")?, path_of(&|number, _| number == "0")?, true)
        }
    };
    // Inside a group's own namespace both are `/`.
    let below = path.strip_prefix(mount.root.as_str()).or((path == "/").then_some(""))?;
    Some(Group { folder: Path::new(&mount.point).join(below.trim_start_matches('/')), unified })
}

fn lists_this_process(group: &Group, controller: &str) -> bool {
    let listed = |name: &str| {
        let own = super::own_id().to_string();
        group.text(name).is_some_and(|text| text.lines().any(|line| line == own))
    };
    let has_controller =
        || group.text("cgroup.controllers").is_some_and(|text| text.split(' ').any(|name| name == controller));
    listed("cgroup.procs") && (!group.unified || has_controller())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_located() {
        let hybrid = parse(
            "89 85 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
             86 85 0:29 / /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
             90 85 0:33 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n",
        );
        let own = "4:memory:/\n3:cpu,cpuacct:/\n0::/\n";
        let memory = locate(&hybrid, own, "memory").unwrap();
        assert_eq!((memory.folder.as_path(), memory.unified), (Path::new("/sys/fs/cgroup/memory/"), false));
        assert_eq!(locate(&hybrid, own, "cpu").unwrap().folder, Path::new("/sys/fs/cgroup/cpu,cpuacct/"));
        assert!(locate(&hybrid, own, "pids").unwrap().unified);
        // Without a namespace of its own, as older docker does it.
        let shared = parse("89 85 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
        let found = locate(&shared, "4:memory:/docker/abc\n", "memory").unwrap();
        assert_eq!(found.folder, Path::new("/sys/fs/cgroup/memory/"));
        assert!(locate(&shared, "4:memory:/elsewhere\n", "memory").is_none());
        assert!(locate(&[], "0::/\n", "memory").is_none());
    }

    #[test]
    fn version_2_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let group = Some(Group { folder: folder.path().into(), unified: true });
        let cgroups = Cgroups { memory: group.clone(), pids: group.clone(), cpu: group };
        assert_eq!((cgroups.memory_limit(), cgroups.millicpus()), (None, None));
        write("memory.max", "268435456\n");
        write("memory.swap.max", "0\n");
        write("pids.max", "max\n");
        write("cpu.max", "50000 100000\n");
        write("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n");
        assert_eq!(
            (cgroups.memory_limit(), cgroups.swap_limit(), cgroups.pids_limit()),
            (Some(256 << 20), Some(0), None)
        );
        assert_eq!((cgroups.millicpus(), cgroups.oom_kills(), cgroups.peak_memory()), (Some(500), Some(1), None));
    }

    #[test]
    fn version_1_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let group = Some(Group { folder: folder.path().into(), unified: false });
        let cgroups = Cgroups { memory: group.clone(), pids: group.clone(), cpu: group };
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(cgroups.memory_limit(), None);
        write("memory.limit_in_bytes", "1000\n");
        write("memory.memsw.limit_in_bytes", "1500\n");
        write("cpu.cfs_quota_us", "-1\n");
        write("cpu.cfs_period_us", "100000\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        assert_eq!((cgroups.memory_limit(), cgroups.swap_limit()), (Some(1000), Some(500)));
        assert_eq!((cgroups.millicpus(), cgroups.oom_kills()), (None, Some(3)));
    }
}
