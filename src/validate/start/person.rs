//! Whether the image's user may execute a file.

use std::collections::BTreeSet;

use crate::layer::{BaseEntry, BaseKind, TreePath};
use crate::validate::hardening::user;
use crate::validate::subject::Subject;

/// The image's user with all groups.
pub(super) struct Person {
    uid: u32,
    gids: BTreeSet<u32>,
}

impl Person {
    /// As engines read `User`; root where that is nonsense (another rule tells).
    pub fn of(subject: &Subject) -> Person {
        let (uid, group) = user::ids(subject).unwrap_or((0, None));
        let mut gids: BTreeSet<u32> = group.into_iter().collect();
        let field = subject.config.get("User").and_then(|user| user.as_str()).unwrap_or_default();
        if !field.contains(':') {
            gids.extend(supplementary_groups(subject, uid));
        }
        Person { uid, gids }
    }

    /// Whether the kernel would let them execute the file that `path` leads to.
    pub fn may_execute(&self, subject: &Subject, path: &TreePath) -> bool {
        let folders = path.ancestors();
        let passable = |folder: &TreePath| subject.root.entry(folder).is_none_or(|entry| self.has_bit(&entry));
        folders.iter().all(passable)
            && subject.root.entry(path).is_some_and(|entry| entry.kind == BaseKind::File && self.has_bit(&entry))
    }

    /// The bit that is theirs. Root needs any one, for a file; folders are never closed to root.
    fn has_bit(&self, entry: &BaseEntry) -> bool {
        let mode = entry.mode;
        if self.uid == 0 {
            return mode & 0o111 != 0 || entry.kind == BaseKind::Directory;
        }
        if entry.uid == self.uid {
            mode & 0o100 != 0
        } else if self.gids.contains(&entry.gid) {
            mode & 0o010 != 0
        } else {
            mode & 0o001 != 0
        }
    }
}

/// Engines add these only if `User` names no group.
fn supplementary_groups(subject: &Subject, uid: u32) -> Vec<u32> {
    let users = user::rows(subject, "etc/passwd");
    let Some((name, _)) = users.iter().find(|(_, id)| *id == i64::from(uid)) else { return Vec::new() };
    let groups = subject.text("etc/group").unwrap_or_default().lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == *name);
        if is_member { fields.get(2)?.parse().ok() } else { None }
    });
    groups.collect()
}
