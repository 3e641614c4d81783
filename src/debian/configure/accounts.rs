//! Users and groups: passwd, group, shadow and gshadow of the root, as base-passwd, adduser and useradd leave them.
//!
//! What is there stays byte for byte, odd lines and all; lines are added at the end, and members at the end of a
//! line. As bytes, because these files are older than UTF-8.

use super::site::{Site, TEXT_LIMIT};
use crate::error::Result;

/// The "last changed" day of new shadow lines: 1980-01-01, never the present day.
const DAY: u32 = 3652;
/// The group that may read shadow files (base-passwd).
const SHADOW_GID: u32 = 42;
/// The numbers of users and groups that packages make.
const FIRST: u32 = 100;
const LAST: u32 = 999;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const SHADOW: &str = "/etc/shadow";
const GSHADOW: &str = "/etc/gshadow";

/// Who looks for a free number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// adduser: upwards from 100.
    Adduser,
    /// useradd and groupadd: downwards from 999.
    Useradd,
    /// systemd-sysusers: downwards from 999, the same number for user and group.
    Sysusers,
}

/// A user to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewUser {
    pub name: String,
    pub uid: Option<u32>,
    pub gid: u32,
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

/// The four files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    passwd: File,
    group: File,
    shadow: File,
    gshadow: File,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    /// `None`: it is not there.
    bytes: Option<Vec<u8>>,
    changed: bool,
}

impl File {
    fn read(site: &Site<'_>, path: &str) -> Result<File> {
        Ok(File { bytes: site.root.read(path, TEXT_LIMIT)?, changed: false })
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let bytes = self.bytes.as_deref().unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect())
    }

    fn has(&self, name: &str) -> bool {
        self.line(name).is_some()
    }

    fn line(&self, name: &str) -> Option<Vec<&[u8]>> {
        self.lines().find(|fields| fields.len() > 1 && fields.first() == Some(&name.as_bytes()))
    }

    /// The third field of a line.
    fn number(&self, name: &str) -> Option<u32> {
        number(self.line(name)?.get(2)?)
    }

    fn has_number(&self, wanted: u32) -> bool {
        self.lines().any(|fields| fields.get(2).and_then(|field| number(field)) == Some(wanted))
    }

    /// Adds a line; a file that is not there is made only in a fresh root.
    fn push(&mut self, line: &str) {
        let Some(bytes) = &mut self.bytes else { return };
        if bytes.last().is_some_and(|last| *last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.changed = true;
    }

    /// Each line through `change`, which says what stands in its place.
    fn rewrite(&mut self, mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        let Some(bytes) = &self.bytes else { return };
        let lines: Vec<Vec<u8>> =
            bytes.split(|byte| *byte == b'\n').map(|line| change(line).unwrap_or_else(|| line.to_vec())).collect();
        let new = lines.join(&b'\n');
        self.changed |= new != *bytes;
        self.bytes = Some(new);
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Whether the field can be written into a line of these files.
fn fits(field: &str) -> bool {
    !field.contains([':', '\n']) && !field.chars().any(char::is_control)
}

/// Whether it is a name of a user or a group of the system (as adduser takes it: `_apt`, `Debian-exim`).
pub(super) fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    first && rest && name.len() <= 32
}

impl Accounts {
    /// Those of the root.
    pub fn read(site: &Site<'_>) -> Result<Accounts> {
        Ok(Accounts {
            passwd: File::read(site, PASSWD)?,
            group: File::read(site, GROUP)?,
            shadow: File::read(site, SHADOW)?,
            gshadow: File::read(site, GSHADOW)?,
        })
    }

    /// Puts into the root what has changed.
    pub fn write(self, site: &mut Site<'_>) -> Result<()> {
        let modes = [(PASSWD, 0o644, 0), (GROUP, 0o644, 0), (SHADOW, 0o640, SHADOW_GID), (GSHADOW, 0o640, SHADOW_GID)];
        for (file, (path, mode, gid)) in [self.passwd, self.group, self.shadow, self.gshadow].into_iter().zip(modes) {
            if let (Some(bytes), true) = (file.bytes, file.changed) {
                site.write(path, bytes, mode, 0, gid)?;
            }
        }
        Ok(())
    }

    /// base-passwd's first installation: the users and groups that every system has.
    pub fn add_masters(&mut self, site: &Site<'_>) -> Result<()> {
        for (file, master) in [(&mut self.passwd, "passwd"), (&mut self.group, "group")] {
            if file.bytes.is_none() {
                file.bytes = site.root.read(&format!("/usr/share/base-passwd/{master}.master"), TEXT_LIMIT)?;
                file.changed = file.bytes.is_some();
            }
        }
        Ok(())
    }

    /// `shadowconfig on`: passwords move to shadow and gshadow, which are made.
    pub fn shadow(&mut self) {
        let day = DAY;
        move_passwords(&mut self.passwd, &mut self.shadow, |name, password, _| {
            [name, b":", password, format!(":{day}:0:99999:7:::").as_bytes()].concat()
        });
        move_passwords(&mut self.group, &mut self.gshadow, |name, password, members| {
            [name, b":", password, b"::", members].concat()
        });
    }

    /// The number of a user, or the number itself.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.passwd.number(name).or_else(|| name.parse().ok()).or((name == "root").then_some(0))
    }

    /// The number of a group, or the number itself.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.group.number(name).or_else(|| name.parse().ok()).or((name == "root").then_some(0))
    }

    /// The line of a user (`passwd`) or a group, by name or number.
    pub fn line(&self, database: &str, name: &str) -> Option<String> {
        let file = if database == "passwd" { &self.passwd } else { &self.group };
        let by_number = || {
            let id = name.parse::<u32>().ok()?;
            file.lines().find(|fields| fields.get(2).and_then(|field| number(field)) == Some(id))
        };
        let fields = file.line(name).or_else(by_number)?;
        Some(String::from_utf8_lossy(&fields.join(&b':')).into_owned())
    }

    /// The users, or the groups, as they are now.
    pub fn text(&self, database: &str) -> Option<String> {
        let file = if database == "passwd" { &self.passwd } else { &self.group };
        Some(String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).into_owned())
    }

    /// Whether there is a user of this name.
    pub fn has_user(&self, name: &str) -> bool {
        self.passwd.has(name)
    }

    /// Whether there is a group of this name.
    pub fn has_group(&self, name: &str) -> bool {
        self.group.has(name)
    }

    /// Whether there are files at all that users could be added to.
    pub fn is_empty(&self) -> bool {
        self.passwd.bytes.is_none() || self.group.bytes.is_none()
    }

    fn free_uid(&self, style: Style) -> Option<u32> {
        free(style, |id| self.passwd.has_number(id) || (style == Style::Sysusers && self.group.has_number(id)))
    }

    fn free_gid(&self, style: Style) -> Option<u32> {
        free(style, |id| self.group.has_number(id) || (style == Style::Sysusers && self.passwd.has_number(id)))
    }

    /// A group; its number if it is there or could be made.
    pub fn add_group(&mut self, name: &str, gid: Option<u32>, style: Style) -> Option<u32> {
        if let Some(gid) = self.group.number(name) {
            return Some(gid);
        }
        let gid = match gid {
            Some(gid) if self.group.has_number(gid) && style != Style::Sysusers => return None,
            Some(gid) if !self.group.has_number(gid) => gid,
            _ => self.free_gid(style)?,
        };
        if !is_name(name) || self.is_empty() {
            return None;
        }
        self.group.push(&format!("{name}:x:{gid}:"));
        if !self.gshadow.has(name) {
            self.gshadow.push(&format!("{name}:{}::", if style == Style::Sysusers { "!*" } else { "!" }));
        }
        Some(gid)
    }

    /// A user; its number if it is there or could be made.
    pub fn add_user(&mut self, user: &NewUser, style: Style) -> Option<u32> {
        if let Some(uid) = self.passwd.number(&user.name) {
            return Some(uid);
        }
        let uid = match user.uid {
            Some(uid) if !self.passwd.has_number(uid) => uid,
            Some(_) if style != Style::Sysusers => return None,
            _ => self.free_uid(style)?,
        };
        let NewUser { name, gid, gecos, home, shell, .. } = user;
        if self.is_empty() || !(is_name(name) && fits(gecos) && fits(home) && fits(shell)) {
            return None;
        }
        self.passwd.push(&format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}"));
        if !self.shadow.has(name) {
            let password = if style == Style::Sysusers { "!*" } else { "!" };
            self.shadow.push(&format!("{name}:{password}:{DAY}::::::"));
        }
        Some(uid)
    }

    /// The number that a user and a group of the same name can share.
    pub fn free_for_both(&self) -> Option<u32> {
        self.free_uid(Style::Sysusers)
    }

    /// Whether neither a user nor a group has this number.
    pub fn is_free(&self, id: u32) -> bool {
        !self.passwd.has_number(id) && !self.group.has_number(id)
    }

    /// Makes a user a member of a group. Whether both are there.
    pub fn add_member(&mut self, user: &str, group: &str) -> bool {
        if !self.has_user(user) || !self.has_group(group) {
            return false;
        }
        for file in [&mut self.group, &mut self.gshadow] {
            file.rewrite(|line| {
                let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
                let members =
                    fields.get(3).filter(|_| fields.first() == Some(&group.as_bytes()) && fields.len() == 4)?;
                if members.split(|byte| *byte == b',').any(|member| member == user.as_bytes()) {
                    return None;
                }
                let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
                Some([line, comma, user.as_bytes()].concat())
            });
        }
        true
    }
}

fn free(style: Style, taken: impl Fn(u32) -> bool) -> Option<u32> {
    match style {
        Style::Adduser => (FIRST..=LAST).find(|id| !taken(*id)),
        Style::Useradd | Style::Sysusers => (FIRST..=LAST).rev().find(|id| !taken(*id)),
    }
}

/// Name, password and members of each line that is not yet in the shadow file go there; `x` stays.
fn move_passwords(open: &mut File, shadow: &mut File, line: impl Fn(&[u8], &[u8], &[u8]) -> Vec<u8>) {
    if open.bytes.is_none() {
        return;
    }
    let mut added = Vec::new();
    let before = shadow.clone();
    open.rewrite(|text| {
        let mut fields: Vec<&[u8]> = text.split(|byte| *byte == b':').collect();
        let (name, password) = (*fields.first()?, *fields.get(1)?);
        if !std::str::from_utf8(name).is_ok_and(|name| before.has(name)) {
            added.extend(line(name, password, fields.get(3).copied().unwrap_or_default()));
            added.push(b'\n');
        }
        *fields.get_mut(1)? = b"x";
        Some(fields.join(&b':'))
    });
    let bytes = shadow.bytes.get_or_insert_default();
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&added);
    shadow.changed = true;
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
