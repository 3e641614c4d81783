//! PAX records (POSIX.1-2017, pax "Extended Header"): `LENGTH KEY=VALUE\n`, by length and not by line, because
//! values (capabilities, ACLs) may hold newlines.

/// The records that matter to a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<i64>,
    pub xattrs: Vec<String>,
}

impl Records {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut records = Records::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("a PAX record is malformed")?;
            records.add(key, value)?;
            bytes = rest;
        }
        Ok(records)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => Ok(()),
            b"path" => once(&mut self.path, value.to_vec(), key),
            b"linkpath" => once(&mut self.link, value.to_vec(), key),
            b"size" => once(&mut self.size, number(value, key)?, key),
            b"uid" => once(&mut self.uid, number(value, key)?, key),
            b"gid" => once(&mut self.gid, number(value, key)?, key),
            b"mtime" => once(&mut self.mtime, seconds(value)?, key),
            sparse if sparse.starts_with(b"GNU.sparse.") => Err("a sparse file".into()),
            xattr if xattr.starts_with(b"SCHILY.xattr.") || xattr.starts_with(b"LIBARCHIVE.xattr.") => {
                let name = xattr.splitn(3, |byte| *byte == b'.').nth(2).unwrap_or_default();
                self.xattrs.push(String::from_utf8_lossy(name).into_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a global header has only what changes nothing here (`comment`, times).
    pub(super) fn is_harmless(&self) -> bool {
        Records { mtime: None, ..Default::default() } == Records { mtime: None, ..self.shallow() }
    }

    fn shallow(&self) -> Records {
        Records {
            path: self.path.clone(),
            link: self.link.clone(),
            size: self.size,
            uid: self.uid,
            gid: self.gid,
            mtime: None,
            xattrs: self.xattrs.clone(),
        }
    }
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let digits = bytes.get(..space)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((body.get(..equals)?, body.get(equals + 1..)?, bytes.get(length..)?))
}

fn once<T>(slot: &mut Option<T>, value: T, key: &[u8]) -> Result<(), String> {
    if slot.replace(value).is_some() {
        return Err(format!("PAX record `{}` comes twice", key.escape_ascii()));
    }
    Ok(())
}

fn number(value: &[u8], key: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("PAX record `{}` is not a number", key.escape_ascii()))
}

/// Whole seconds of `-1.5`, `1700000000.123456789`.
fn seconds(value: &[u8]) -> Result<i64, String> {
    let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
    std::str::from_utf8(whole)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "PAX record `mtime` is not a time".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_by_length_and_malformed_ones_are_errors() {
        let records = Records::parse(b"27 SCHILY.xattr.user.a=1\n2\n11 path=ab\n14 mtime=-5.5\n").unwrap();
        assert_eq!((records.path.as_deref(), records.mtime), (Some(&b"ab"[..]), Some(-5)));
        assert_eq!(records.xattrs, ["user.a"]);
        let bad: [&[u8]; 9] = [
            b"11 path=ab",
            b"12 path=ab\n",
            b"10 path=ab\n",
            b"x1 path=ab\n",
            b" path=ab\n",
            b"8 pathab\n",
            b"11 =pathab\n",
            b"99999999999999999999999 path=ab\n",
            b"\0\0",
        ];
        for bytes in bad {
            assert!(Records::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"11 size=0x\n"[..], b"11 size=-1\n", b"9 size=1\n9 size=2\n", b"18 GNU.sparse.x=1\n"] {
            assert!(Records::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
