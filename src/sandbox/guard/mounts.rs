//! `/proc/self/mountinfo`: what is mounted where, and whether it can be written.

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Which part of the file system is mounted.
    pub root: String,
    /// Where.
    pub point: String,
    /// The mount's own options.
    pub options: Vec<String>,
    /// "tmpfs", "overlay".
    pub kind: String,
    /// The file system's options.
    pub super_options: Vec<String>,
}

impl MountInfo {
    /// Whether the mount has an option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// Whether something in it can be written: neither mount nor file system is read-only.
    pub fn writable(&self) -> bool {
        !self.has("ro") && !self.super_options.iter().any(|own| own == "ro")
    }

    /// `size=` of a tmpfs in bytes.
    pub fn size(&self) -> Option<u64> {
        let text = self.super_options.iter().find_map(|option| option.strip_prefix("size="))?;
        let (number, unit) = match text.strip_suffix(['k', 'm', 'g']) {
            Some(number) => (number, text.chars().last()?),
            None => (text, ' '),
        };
        let shift = match unit {
            'k' => 10,
            'm' => 20,
            'g' => 30,
            _ => 0,
        };
        number.parse::<u64>().ok()?.checked_shl(shift)
    }
}

/// Every mount, the topmost of a place last.
pub fn parse(text: &str) -> Vec<MountInfo> {
    text.lines().filter_map(line).collect()
}

/// The topmost mount of a place.
pub fn at<'a>(mounts: &'a [MountInfo], point: &str) -> Option<&'a MountInfo> {
    mounts.iter().rev().find(|mount| mount.point == point)
}

fn line(text: &str) -> Option<MountInfo> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let (own, system) = text.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let system: Vec<&str> = system.splitn(3, ' ').collect();
    let list = |text: &str| text.split(',').map(str::to_string).collect();
    Some(MountInfo {
        root: unescaped(own.get(3)?),
        point: unescaped(own.get(4)?),
        options: list(own.get(5)?),
        kind: system.first()?.to_string(),
        super_options: list(system.get(2).copied().unwrap_or_default()),
    })
}

/// Blanks and the like are written as octal numbers.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_string(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
75 49 0:40 / / ro,relatime - overlay overlay rw,lowerdir=/a:/b
76 75 0:43 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k
82 75 254:0 /x\\040y /run/a\\040b ro - ext4 /dev/vda rw
54 77 0:49 / /proc/acpi ro,relatime shared:1 master:2 - tmpfs tmpfs ro
nonsense
";

    #[test]
    fn mounts_are_read() {
        let mounts = parse(SAMPLE);
        assert_eq!(mounts.len(), 4);
        let tmp = at(&mounts, "/tmp").unwrap();
        assert!(tmp.writable() && tmp.has("noexec") && tmp.kind == "tmpfs" && tmp.size() == Some(64 << 20));
        assert!(!at(&mounts, "/").unwrap().writable());
        assert_eq!(at(&mounts, "/run/a b").unwrap().root, "/x y");
        assert!(!at(&mounts, "/proc/acpi").unwrap().writable());
        assert_eq!(at(&mounts, "/no"), None);
    }
}
