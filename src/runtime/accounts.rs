//! The user and the group of the application in the base's passwd, group, shadow and gshadow files.
//!
//! What the base has stays byte for byte, odd lines and all; lines are only added, at the end. As bytes, because
//! these files are older than UTF-8.

use super::Error;
use super::error::printable;
use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::{BaseEntry, TreePath};

/// The largest account file that is read, in bytes.
const FILE_LIMIT: u64 = 8 << 20;
/// The "last changed" day of new shadow lines: 1980-01-01, never the present day.
const DAY: u32 = 3652;
/// The shell of a user who never logs in.
const SHELL: &str = "/usr/sbin/nologin";

/// Who runs the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The name of the user's group.
    pub group: String,
    /// The group's number.
    pub gid: u32,
    /// The home folder in passwd; it is not made. `None` is `/nonexistent`.
    pub home: Option<TreePath>,
}

impl User {
    fn check(&self) -> Result<(), Error> {
        name("a user name", &self.name)?;
        name("a group name", &self.group)?;
        for (what, id) in [("a uid", self.uid), ("a gid", self.gid)] {
            if id == u32::MAX {
                let reason = "it means \"none\" to the kernel";
                return Err(Error::Name { what, text: id.to_string(), reason });
            }
        }
        match &self.home {
            Some(home) if home.as_str().contains(':') => {
                let text = format!("/{home}");
                Err(Error::Name { what: "a home folder", text, reason: "it has a `:`" })
            }
            _ => Ok(()),
        }
    }

    fn passwd(&self) -> String {
        let home = self.home.as_ref().map_or("/nonexistent".into(), |home| format!("/{home}"));
        format!("{}:x:{}:{}::{home}:{SHELL}", self.name, self.uid, self.gid)
    }
}

/// As useradd(8) has it; never only digits, which a runtime would take for a number.
fn name(what: &'static str, text: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Name { what, text: printable(text), reason });
    let mut letters = text.bytes();
    if !letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_') {
        return refuse("it must begin with a small letter or `_`");
    }
    if !letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')) {
        return refuse("it may only have small letters, digits, `_` and `-`");
    }
    if text.len() > 32 {
        return refuse("it is longer than 32 bytes");
    }
    Ok(())
}

/// A file as the base has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFile {
    /// Where it really is, links followed.
    pub path: TreePath,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The account files of a base, those that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// /etc/passwd.
    pub passwd: Option<AccountFile>,
    /// /etc/group.
    pub group: Option<AccountFile>,
    /// /etc/shadow.
    pub shadow: Option<AccountFile>,
    /// /etc/gshadow.
    pub gshadow: Option<AccountFile>,
}

impl Accounts {
    /// Reads them from a base.
    pub fn read(rootfs: &Rootfs) -> Result<Accounts> {
        let file = |text: &str| -> Result<Option<AccountFile>> {
            let path = TreePath::new(text)?;
            let Some(bytes) = rootfs.read(&path, FILE_LIMIT)? else { return Ok(None) };
            let path = rootfs.resolve(&path).unwrap_or(path);
            let Some(BaseEntry { mode, uid, gid, .. }) = rootfs.entry(&path) else { return Ok(None) };
            Ok(Some(AccountFile { path, bytes, mode, uid, gid }))
        };
        Ok(Accounts {
            passwd: file("etc/passwd")?,
            group: file("etc/group")?,
            shadow: file("etc/shadow")?,
            gshadow: file("etc/gshadow")?,
        })
    }

    /// The files that change when `user` is added. None if the base has exactly this user and group.
    pub fn with(&self, user: &User) -> Result<Vec<AccountFile>, Error> {
        user.check()?;
        let mut changed = Vec::new();
        let found = self.passwd.as_ref().map(|file| file.bytes.as_slice()).unwrap_or_default();
        if !has_user(found, user)? {
            let root = format!("root:x:0:0:root:/root:{SHELL}");
            changed.push(appended(self.passwd.as_ref(), "etc/passwd", &root, &user.passwd())?);
            if let Some(shadow) = self.shadow.as_ref().filter(|file| !has_name(&file.bytes, &user.name)) {
                changed.push(added(shadow, &format!("{}:!:{DAY}:0:99999:7:::", user.name)));
            }
        }
        let found = self.group.as_ref().map(|file| file.bytes.as_slice()).unwrap_or_default();
        if !has_group(found, user)? {
            let line = format!("{}:x:{}:", user.group, user.gid);
            changed.push(appended(self.group.as_ref(), "etc/group", "root:x:0:", &line)?);
            if let Some(gshadow) = self.gshadow.as_ref().filter(|file| !has_name(&file.bytes, &user.group)) {
                changed.push(added(gshadow, &format!("{}:!::", user.group)));
            }
        }
        Ok(changed)
    }
}

fn added(file: &AccountFile, line: &str) -> AccountFile {
    let mut file = file.clone();
    if file.bytes.last().is_some_and(|last| *last != b'\n') {
        file.bytes.push(b'\n');
    }
    file.bytes.extend_from_slice(line.as_bytes());
    file.bytes.push(b'\n');
    file
}

/// `line` at the end of the base's file, or of a new one that has root.
fn appended(file: Option<&AccountFile>, path: &str, root: &str, line: &str) -> Result<AccountFile, Error> {
    if let Some(file) = file {
        return Ok(added(file, line));
    }
    let path = TreePath::new(path).map_err(|_| Error::Name {
        what: "a path",
        text: path.into(),
        reason: "it is not a path in an image",
    })?;
    let new = AccountFile { path, bytes: Vec::new(), mode: 0o644, uid: 0, gid: 0 };
    let is_root = line.split(':').next() == root.split(':').next();
    Ok(if is_root { added(&new, line) } else { added(&added(&new, root), line) })
}

fn fields(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect())
}

fn has_name(bytes: &[u8], name: &str) -> bool {
    fields(bytes).any(|fields| fields.first() == Some(&name.as_bytes()))
}

fn number(field: Option<&&[u8]>) -> Option<u32> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}

/// Whether the base has exactly this user; something else under the name or the number is an error.
fn has_user(passwd: &[u8], user: &User) -> Result<bool, Error> {
    let conflict = |what: String, fields: &[&[u8]]| Error::Conflict {
        what,
        file: "/etc/passwd".into(),
        found: line_of(fields),
        expected: format!("{}:x:{}:{}", user.name, user.uid, user.gid),
    };
    for fields in fields(passwd) {
        let same_name = fields.first() == Some(&user.name.as_bytes());
        let (uid, gid) = (number(fields.get(2)), number(fields.get(3)));
        match (same_name, uid == Some(user.uid)) {
            (true, true) if gid == Some(user.gid) => return Ok(true),
            (true, _) => return Err(conflict(format!("user `{}`", user.name), &fields)),
            (false, true) => return Err(conflict(format!("uid {}", user.uid), &fields)),
            (false, false) => {}
        }
    }
    Ok(false)
}

fn has_group(group: &[u8], user: &User) -> Result<bool, Error> {
    let conflict = |what: String, fields: &[&[u8]]| Error::Conflict {
        what,
        file: "/etc/group".into(),
        found: line_of(fields),
        expected: format!("{}:x:{}", user.group, user.gid),
    };
    for fields in fields(group) {
        let same_name = fields.first() == Some(&user.group.as_bytes());
        match (same_name, number(fields.get(2)) == Some(user.gid)) {
            (true, true) => return Ok(true),
            (true, false) => return Err(conflict(format!("group `{}`", user.group), &fields)),
            (false, true) => return Err(conflict(format!("gid {}", user.gid), &fields)),
            (false, false) => {}
        }
    }
    Ok(false)
}

/// Name and numbers of a line; never its password field.
fn line_of(fields: &[&[u8]]) -> String {
    let part = |n: usize| fields.get(n).map(|field| String::from_utf8_lossy(field).into_owned()).unwrap_or_default();
    let mut text = format!("{}:x:{}", part(0), part(2));
    if fields.len() > 4 {
        text = format!("{text}:{}", part(3));
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { name: "app".into(), uid: 1001, group: "app".into(), gid: 1001, home: None }
    }

    fn file(path: &str, bytes: &[u8]) -> Option<AccountFile> {
        Some(AccountFile { path: TreePath::new(path).unwrap(), bytes: bytes.to_vec(), mode: 0o640, uid: 0, gid: 42 })
    }

    fn accounts(passwd: &[u8], group: &[u8]) -> Accounts {
        Accounts { passwd: file("etc/passwd", passwd), group: file("etc/group", group), ..Accounts::default() }
    }

    #[test]
    fn lines_are_added_and_none_is_lost() {
        let odd = b"root:x:0:0:root:/root:/bin/bash\n# comment\n\n+::::::\ncaf\xe9:x:7:7\n:::\nlast:x:9:9::/:";
        let changed = accounts(odd, b"root:x:0:\n").with(&user()).unwrap();
        let expected = [&odd[..], b"\napp:x:1001:1001::/nonexistent:/usr/sbin/nologin\n"].concat();
        assert_eq!(changed[0].bytes, expected);
        assert_eq!(changed[1].bytes, b"root:x:0:\napp:x:1001:\n");
        assert_eq!((changed.len(), changed[0].mode, changed[0].gid), (2, 0o640, 42));
    }

    #[test]
    fn shadows_only_where_the_base_has_them_and_always_the_same_day() {
        let mut base = accounts(b"", b"");
        base.shadow = file("etc/shadow", b"root:*:19000:0:99999:7:::\n");
        base.gshadow = file("etc/gshadow", b"app:!::\n");
        let changed = base.with(&user()).unwrap();
        assert_eq!(changed.len(), 3);
        assert_eq!(changed[1].bytes, b"root:*:19000:0:99999:7:::\napp:!:3652:0:99999:7:::\n");
        assert_eq!((changed[1].mode, changed[1].gid), (0o640, 42));
    }

    #[test]
    fn a_base_without_files_gets_root_too() {
        let changed = Accounts::default().with(&user()).unwrap();
        let passwd = "root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:1001:1001::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(changed[0].bytes, passwd.as_bytes());
        assert_eq!(changed[1].bytes, b"root:x:0:\napp:x:1001:\n");
        let root = User { name: "root".into(), uid: 0, group: "root".into(), gid: 0, home: None };
        assert_eq!(Accounts::default().with(&root).unwrap()[1].bytes, b"root:x:0:\n");
    }

    #[test]
    fn the_same_user_is_not_added_twice() {
        let base = accounts(b"app:x:1001:1001:App:/home/app:/bin/sh\n", b"app:x:1001:\n");
        assert_eq!(base.with(&user()).unwrap(), []);
        let base = accounts(b"", b"app:x:1001:\n");
        assert_eq!(base.with(&user()).unwrap().len(), 1);
    }

    #[test]
    fn somebody_else_is_named_without_a_password() {
        for (passwd, group, text) in [
            (
                "ubuntu:secret:1001:1000::/:",
                "",
                "uid 1001 does not fit the base image: `/etc/passwd` has `ubuntu:x:1001:1000`",
            ),
            ("app:x:5:5::/:", "", "user `app` does not fit"),
            ("app:x:1001:5::/:", "", "user `app` does not fit"),
            ("", "video:x:1001:", "gid 1001 does not fit the base image: `/etc/group` has `video:x:1001`"),
            ("", "app:x:5:", "group `app` does not fit"),
        ] {
            let error = accounts(passwd.as_bytes(), group.as_bytes()).with(&user()).unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in ["", "0", "1001", "a b", "a:b", "a\nb", "Root", "-x", "é", &"a".repeat(33), "root ", "0x0"] {
            assert!(Accounts::default().with(&User { name: bad.into(), ..user() }).is_err(), "{bad:?}");
            assert!(Accounts::default().with(&User { group: bad.into(), ..user() }).is_err(), "{bad:?}");
        }
        assert!(Accounts::default().with(&User { uid: u32::MAX, ..user() }).is_err());
        let home = Some(TreePath::new("a:b").unwrap());
        assert!(Accounts::default().with(&User { home, ..user() }).is_err());
    }
}
