//! What a file system says of a file's state: as long as it says the same, the content is the same.
//!
//! Only then reading a file again may be saved. What can go wrong, and what is done about it:
//!
//! - a clock with coarse ticks: a file that changed again within one tick looks the same, so a stamp counts only if
//!   its times were clearly past when the content was read ([`Stamp::is_settled`]; git calls the others racily clean);
//! - times that were set back (`touch -d`), files that were replaced by others, other names of the same file: the
//!   change time, which nobody can set, and the inode number tell;
//! - file systems of other machines, whose clocks are not this one's: none of their stamps counts ([`keeps_time`]).
//!
//! What is not covered: times move when a write begins, not when it ends. A program that writes to a file while it is
//! read, in one `write` that takes longer than the margin, or through a shared mapping (`mmap`) whose pages were dirty
//! before, leaves a stamp that looks settled and belongs to another content. (A read lease would tell that somebody has
//! the file open for writing; no crate here offers `F_SETLEASE` without unsafe code.) So a stamp can be wrong, and must
//! not be wrong for ever: who finds that a file has another content forgets the stamps of its folder
//! ([`crate::layer::Stamps::forget`]), and `ingot build --clean` believes none.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// A tick of the kernel's clock has 10 milliseconds at most; where a change time has parts of a second, so many
/// nanoseconds are clearly past.
const FINE_MARGIN: i128 = 100_000_000;
/// A file system that counts seconds; some count every other one only.
const COARSE_MARGIN: i128 = 3 * SECOND;
const SECOND: i128 = 1_000_000_000;

/// Local file systems whose change times come from this machine's clock and move with every change: ext2 to ext4, xfs,
/// btrfs, tmpfs, overlayfs, zfs, f2fs, bcachefs.
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1, 0xf2f5_2010, 0xca45_1a4e];

/// Which file it is, and when it changed. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The file system's number.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When the content changed; anybody may set it.
    pub modified: i128,
    /// When content, name, mode or owner changed; nobody can set it.
    pub changed: i128,
}

impl Stamp {
    /// The stamp of a file that was looked at.
    pub fn of(found: &Metadata) -> Stamp {
        let time = |seconds: i64, rest: i64| i128::from(seconds) * SECOND + i128::from(rest);
        Stamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: time(found.mtime(), found.mtime_nsec()),
            changed: time(found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a change after `moment` gives the file another stamp: its times are clearly before that.
    pub fn is_settled(&self, moment: Moment) -> bool {
        let margin = if self.changed % SECOND == 0 { COARSE_MARGIN } else { FINE_MARGIN };
        self.changed.max(self.modified) < moment.0 - margin
    }

    /// As one word after another.
    pub fn text(&self) -> String {
        let Stamp { device, inode, size, modified, changed } = self;
        format!("{device} {inode} {size} {modified} {changed}")
    }

    /// What [`Stamp::text`] wrote, from these words.
    pub fn parse<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Stamp> {
        Some(Stamp {
            device: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            modified: words.next()?.parse().ok()?,
            changed: words.next()?.parse().ok()?,
        })
    }
}

/// A point in time, to be compared with the times of files. It decides no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

impl Moment {
    /// Now, by the clock that local file systems use.
    #[allow(clippy::disallowed_methods, reason = "compared with the times of files only; decides no bytes")]
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment(since.ok().and_then(|since| i128::try_from(since.as_nanos()).ok()).unwrap_or(i128::MIN / 2))
    }
}

/// Whether stamps of files in this folder count: it is on a file system whose clock is this machine's.
pub fn keeps_time(folder: &Path) -> bool {
    // The type's width and sign differ between architectures; the number does not.
    rustix::fs::statfs(folder).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

/// The number of the folder's file system, if that keeps time. What is mounted below it has another.
pub fn timed_device(folder: &Path) -> Option<u64> {
    let found = super::symlink_metadata(&super::canonical(folder)).ok()?;
    keeps_time(folder).then_some(found.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i128, changed: i128) -> Stamp {
        Stamp { device: 1, inode: 2, size: 3, modified, changed }
    }

    #[test]
    fn a_stamp_counts_when_its_times_are_clearly_past() {
        let now = Moment(1000 * SECOND);
        let ago = |nanos: i128| 1000 * SECOND - nanos;
        assert!(stamp(0, ago(SECOND / 2)).is_settled(now));
        assert!(!stamp(0, ago(FINE_MARGIN / 2)).is_settled(now), "this tick");
        assert!(!stamp(0, ago(SECOND)).is_settled(now), "a file system that counts seconds");
        assert!(stamp(0, ago(4 * SECOND)).is_settled(now));
        assert!(!stamp(ago(-SECOND), ago(SECOND / 2)).is_settled(now), "from the future");
        assert!(!stamp(0, ago(-1)).is_settled(now), "a clock that was set back");
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = stamp(-5, 1 << 90);
        let text = stamp.text();
        assert_eq!(Stamp::parse(&mut text.split(' ')), Some(stamp));
        for bad in ["", "1 2 3 4", "1 2 -3 4 5", "1 2 3 4 x"] {
            assert_eq!(Stamp::parse(&mut bad.split(' ')), None, "{bad}");
        }
    }

    #[test]
    fn only_local_file_systems_keep_time() {
        let folder = tempfile::tempdir().unwrap();
        assert!(keeps_time(folder.path()));
        assert!(!keeps_time(Path::new("/proc")));
        assert!(!keeps_time(&folder.path().join("none")));
    }
}
