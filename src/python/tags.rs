//! Which wheels fit a target, and which of them fits best (PEP 425, 600, 656).

use std::collections::BTreeMap;
use std::fmt;

use super::{Libc, Target};

/// One tag: `cp311-cp311-manylinux_2_17_x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// "cp311", "py3".
    pub python: String,
    /// "cp311", "abi3", "none".
    pub abi: String,
    /// "manylinux_2_17_x86_64", "any".
    pub platform: String,
}

impl Tag {
    /// From its three parts.
    pub fn new(python: &str, abi: &str, platform: &str) -> Self {
        Tag { python: python.into(), abi: abi.into(), platform: platform.into() }
    }

    /// All combinations of a compressed tag set: `py2.py3-none-any` is two tags.
    pub fn expand(python: &str, abi: &str, platform: &str) -> Vec<Tag> {
        let mut tags = Vec::new();
        for p in python.split('.') {
            for a in abi.split('.') {
                tags.extend(platform.split('.').map(|s| Tag::new(p, a, s)));
            }
        }
        tags
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

/// The tags of a target, best first.
#[derive(Clone, Debug)]
pub struct Tags {
    ordered: Vec<Tag>,
    ranks: BTreeMap<Tag, usize>,
}

impl Tags {
    /// In the order of `packaging.tags` (which pip uses): the interpreter's own ABI, abi3, none; then older abi3; then
    /// pure Python.
    pub fn of(target: &Target) -> Self {
        let (major, minor) = (target.python.major, target.python.minor);
        let platforms = platforms(target);
        let own = format!("cp{major}{minor}");
        let mut ordered = Vec::new();
        let mut add = |python: &str, abi: &str, platforms: &[String]| {
            ordered.extend(platforms.iter().map(|platform| Tag::new(python, abi, platform)));
        };
        // CPython up to 3.7 was built with pymalloc, which its ABI tag says.
        let abi = if (major, minor) < (3, 8) { format!("{own}m") } else { own.clone() };
        add(&own, &abi, &platforms);
        add(&own, "abi3", &platforms);
        add(&own, "none", &platforms);
        for older in (2..minor).rev() {
            add(&format!("cp{major}{older}"), "abi3", &platforms);
        }
        let mut pure = vec![format!("py{major}{minor}"), format!("py{major}")];
        pure.extend((0..minor).rev().map(|older| format!("py{major}{older}")));
        for python in &pure {
            add(python, "none", &platforms);
        }
        let any = ["any".to_string()];
        add(&own, "none", &any);
        for python in &pure {
            add(python, "none", &any);
        }
        let mut ranks = BTreeMap::new();
        for (rank, tag) in ordered.iter().enumerate() {
            ranks.entry(tag.clone()).or_insert(rank);
        }
        Tags { ordered, ranks }
    }

    /// The rank of the best of `tags`: 0 is the best, `None` fits not at all.
    pub fn rank(&self, tags: &[Tag]) -> Option<usize> {
        tags.iter().filter_map(|tag| self.ranks.get(tag)).min().copied()
    }

    /// All, best first.
    pub fn ordered(&self) -> &[Tag] {
        &self.ordered
    }
}

/// Platform tags, newest C library first.
fn platforms(target: &Target) -> Vec<String> {
    let machine = target.platform.machine();
    let mut tags = Vec::new();
    match target.libc {
        Libc::Glibc(2, newest) => {
            // PEP 599: manylinux2014 begins with glibc 2.17; the two older policies exist for x86 only.
            let oldest = if matches!(machine, "x86_64" | "i686") { 5 } else { 17 };
            for minor in (oldest..=newest).rev() {
                tags.push(format!("manylinux_2_{minor}_{machine}"));
                let legacy = match minor {
                    17 => "manylinux2014",
                    12 => "manylinux2010",
                    5 => "manylinux1",
                    _ => continue,
                };
                tags.push(format!("{legacy}_{machine}"));
            }
        }
        Libc::Glibc(..) => {}
        Libc::Musl(major, newest) => {
            tags.extend((0..=newest).rev().map(|minor| format!("musllinux_{major}_{minor}_{machine}")));
        }
    }
    tags.push(format!("linux_{machine}"));
    tags
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::oci::Platform;
    use crate::python::PythonVersion;

    pub(crate) fn target(minor: u8, architecture: &str, libc: Libc) -> Target {
        Target { python: PythonVersion::new(3, minor), platform: Platform::linux(architecture), libc }
    }

    fn fits(target: &Target, wheel: &str) -> Option<usize> {
        Tags::of(target).rank(&super::super::names::WheelName::parse(wheel).unwrap().tags)
    }

    #[test]
    fn what_fits_and_what_does_not() {
        let glibc = target(11, "amd64", Libc::Glibc(2, 31));
        for good in [
            "x-1-cp311-cp311-manylinux_2_31_x86_64.whl",
            "x-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "x-1-cp311-cp311-manylinux1_x86_64.whl",
            "x-1-cp36-abi3-manylinux_2_28_x86_64.whl",
            "x-1-cp311-cp311-linux_x86_64.whl",
            "x-1-py2.py3-none-any.whl",
            "x-1-py3-none-manylinux2010_x86_64.whl",
            "x-1-cp311-none-any.whl",
            "x-1-py39-none-any.whl",
        ] {
            assert!(fits(&glibc, good).is_some(), "{good}");
        }
        for bad in [
            "x-1-cp311-cp311-manylinux_2_32_x86_64.whl",
            "x-1-cp310-cp310-manylinux1_x86_64.whl",
            "x-1-cp312-abi3-manylinux1_x86_64.whl",
            "x-1-cp311-cp311-manylinux2014_aarch64.whl",
            "x-1-cp311-cp311-musllinux_1_1_x86_64.whl",
            "x-1-cp311-cp311-macosx_11_0_arm64.whl",
            "x-1-cp311-cp311-win_amd64.whl",
            "x-1-py2-none-any.whl",
            "x-1-py312-none-any.whl",
            "x-1-cp311-cp311d-linux_x86_64.whl",
            "x-1-cp310-none-any.whl",
        ] {
            assert_eq!(fits(&glibc, bad), None, "{bad}");
        }
        let musl = target(12, "arm64", Libc::Musl(1, 2));
        assert!(fits(&musl, "x-1-cp312-cp312-musllinux_1_1_aarch64.whl").is_some());
        assert_eq!(fits(&musl, "x-1-cp312-cp312-musllinux_1_3_aarch64.whl"), None);
        assert_eq!(fits(&musl, "x-1-cp312-cp312-manylinux_2_17_aarch64.whl"), None);
        let arm = target(11, "arm64", Libc::Glibc(2, 36));
        assert_eq!(fits(&arm, "x-1-cp311-cp311-manylinux1_aarch64.whl"), None);
    }

    #[test]
    fn a_better_tag_has_a_lower_rank() {
        let target = target(11, "amd64", Libc::Glibc(2, 36));
        let order = [
            "x-1-cp311-cp311-manylinux_2_28_x86_64.whl",
            "x-1-cp311-cp311-manylinux_2_17_x86_64.whl",
            "x-1-cp311-cp311-linux_x86_64.whl",
            "x-1-cp311-abi3-manylinux_2_17_x86_64.whl",
            "x-1-cp310-abi3-manylinux_2_28_x86_64.whl",
            "x-1-cp39-abi3-manylinux_2_28_x86_64.whl",
            "x-1-py3-none-manylinux_2_17_x86_64.whl",
            "x-1-cp311-none-any.whl",
            "x-1-py311-none-any.whl",
            "x-1-py3-none-any.whl",
            "x-1-py30-none-any.whl",
        ];
        let ranks: Vec<_> = order.iter().map(|wheel| fits(&target, wheel).unwrap()).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    /// pip's own answer, asked of the Python of this machine for a foreign target.
    #[test]
    fn pip_has_the_same_order() {
        let script = "
from pip._vendor.packaging import tags
p = ['manylinux_2_%d_x86_64' % n for n in (18, 17)] + ['linux_x86_64']
out = list(tags.cpython_tags((3, 11), ['cp311'], p)) + list(tags.compatible_tags((3, 11), 'cp311', p))
print('\\n'.join(map(str, out)))";
        let mut command = std::process::Command::new("python3");
        command.args(["-I", "-c", script]);
        let output = crate::process::run(command, b"", crate::process::DEFAULT_TIMEOUT).unwrap();
        assert!(output.status.success(), "apt-get install python3-pip: {}", output.stderr_text());
        let theirs: Vec<String> = output.stdout_text().lines().map(str::to_string).collect();
        let kept = ["manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "linux_x86_64", "any"];
        let ours: Vec<String> = Tags::of(&target(11, "amd64", Libc::Glibc(2, 18)))
            .ordered()
            .iter()
            .filter(|tag| kept.contains(&tag.platform.as_str()))
            .map(Tag::to_string)
            .collect();
        assert_eq!(ours, theirs);
    }
}
