//! The outer archive of a .deb (deb(5)): `debian-binary`, `control.tar.*`, `data.tar.*`, in this order.
//!
//! Names that begin with `_` may stand between them and are passed over. Everything else is refused, because two
//! readers could understand it differently.

use std::ops::Range;

use super::DebError;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// The most members of a .deb, those that are passed over included.
const MEMBERS_LIMIT: usize = 64;
/// The longest `debian-binary`, in bytes.
const FORMAT_LIMIT: usize = 1 << 10;

/// How a tar in a .deb is compressed, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// A tar in a .deb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// `control.tar.xz`.
    pub name: String,
    pub packed: Packed,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
}

/// The two tars of a .deb.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub control: Part,
    pub data: Part,
}

/// Reads the archive's headers.
pub(super) fn parts(file: &[u8], package: &str) -> Result<Parts, DebError> {
    let damaged = |reason: String| DebError::damaged(package, reason);
    let members = members(file).map_err(damaged)?;
    let mut members = members.into_iter();
    match members.next() {
        Some((name, range)) if name == "debian-binary" => {
            format(file.get(range).unwrap_or_default()).map_err(damaged)?;
        }
        Some((name, _)) => return Err(damaged(format!("its first member is `{name}`, not `debian-binary`"))),
        None => return Err(damaged("it has no members".into())),
    }
    let mut tar = |stem: &str| {
        let (name, range) =
            members.by_ref().find(|(name, _)| !name.starts_with('_')).ok_or_else(|| format!("`{stem}` is missing"))?;
        let packed = match name.strip_prefix(stem) {
            Some("") => Packed::None,
            Some(".gz") => Packed::Gzip,
            Some(".xz") => Packed::Xz,
            Some(".zst") => Packed::Zstd,
            Some(other) if other.starts_with('.') => return Err(format!("`{name}` is compressed in an unknown way")),
            _ => return Err(format!("member `{name}` stands where `{stem}` should be")),
        };
        Ok(Part { name, packed, range })
    };
    let control = tar("control.tar").map_err(damaged)?;
    let data = tar("data.tar").map_err(damaged)?;
    match members.find(|(name, _)| !name.starts_with('_')) {
        Some((name, _)) => Err(damaged(format!("member `{name}` stands behind `data.tar`"))),
        None => Ok(Parts { control, data }),
    }
}

/// Names and places of all members; nothing may lie between or behind them.
fn members(file: &[u8]) -> Result<Vec<(String, Range<usize>)>, String> {
    if !file.starts_with(MAGIC) {
        return Err("it is not an ar archive".into());
    }
    let mut members: Vec<(String, Range<usize>)> = Vec::new();
    let mut at = MAGIC.len();
    while at < file.len() {
        if members.len() == MEMBERS_LIMIT {
            return Err(format!("it has more than {MEMBERS_LIMIT} members"));
        }
        let start = at + HEADER;
        let header = file.get(at..start).ok_or("it ends inside a member's header")?;
        let (name, size) = parse(header)?;
        let end = start.checked_add(size).filter(|end| *end <= file.len());
        let end = end.ok_or_else(|| format!("member `{name}` of {size} bytes reaches behind the end of the file"))?;
        at = end + size % 2;
        if size % 2 == 1 && file.get(end) != Some(&b'\n') {
            return Err(format!("member `{name}` has an odd size, but no line feed follows it"));
        }
        if members.iter().any(|(other, _)| *other == name) {
            return Err(format!("member `{name}` comes twice"));
        }
        members.push((name, start..end));
    }
    Ok(members)
}

/// Name and size: `NAME            MTIME       UID   GID   MODE    SIZE      \`\n`.
fn parse(header: &[u8]) -> Result<(String, usize), String> {
    let field = |range: Range<usize>| header.get(range).unwrap_or_default();
    if field(58..60) != b"`\n" {
        return Err("a member's header is malformed".into());
    }
    let name = field(0..16).trim_ascii_end();
    // GNU ar ends names with a slash.
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
    if name.is_empty() || !name.iter().all(fits) {
        return Err(format!("a member has the name `{}`", name.escape_ascii()));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let digits = field(48..58).trim_ascii_end();
    // Nine digits and the format's ten: no sign, no space before, so that nothing else can be read from it.
    let digits = Some(digits).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    let size = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match size {
        Some(size) => Ok((name, size)),
        None => Err(format!("member `{name}` has the size `{}`", field(48..58).escape_ascii())),
    }
}

/// `2.0\n`; a later minor version may say more on further lines.
fn format(content: &[u8]) -> Result<(), String> {
    let text = content.get(..content.len().min(FORMAT_LIMIT)).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let minor = line.strip_prefix(b"2.").unwrap_or_default();
    if content.len() > FORMAT_LIMIT
        || line.len() == text.len()
        || minor.is_empty()
        || !minor.iter().all(u8::is_ascii_digit)
    {
        return Err(format!("its format is `{}`, expected `2.0`", line.escape_ascii()));
    }
    Ok(())
}

/// Hand-made archives for tests.
#[cfg(test)]
pub(super) mod testing {
    /// One member, padded.
    pub fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let mut bytes = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, "100644").into_bytes();
        bytes.extend_from_slice(content);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    /// An archive of these members.
    pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = super::MAGIC.to_vec();
        members.iter().for_each(|(name, content)| bytes.extend(member(name, content)));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{archive, member};
    use super::*;

    const FORMAT: (&str, &[u8]) = ("debian-binary", b"2.0\n");

    fn refused(file: &[u8], why: &str) {
        let error = parts(file, "evil").expect_err(why).to_string();
        assert!(error.starts_with("the .deb of package `evil` is damaged") && error.contains(why), "{why}: {error}");
    }

    #[test]
    fn the_three_members_are_found() {
        let file =
            archive(&[FORMAT, ("_x", b"odd"), ("control.tar.xz", b"abc"), ("data.tar/", b"1234"), ("_gpg", b"")]);
        let found = parts(&file, "a").unwrap();
        assert_eq!((found.control.packed, &file[found.control.range]), (Packed::Xz, &b"abc"[..]));
        assert_eq!(
            (found.data.name.as_str(), found.data.packed, &file[found.data.range]),
            ("data.tar", Packed::None, &b"1234"[..])
        );
        for (name, packed) in [("data.tar.gz", Packed::Gzip), ("data.tar.zst", Packed::Zstd)] {
            let file = archive(&[("debian-binary", b"2.10\nmore\n"), ("control.tar", b""), (name, b"")]);
            assert_eq!(parts(&file, "a").unwrap().data.packed, packed);
        }
    }

    #[test]
    fn other_members_and_orders_are_refused() {
        let (control, data) = (("control.tar.gz", &b""[..]), ("data.tar.gz", &b""[..]));
        refused(b"", "not an ar archive");
        refused(b"!<arch>\n", "no members");
        refused(&archive(&[control, FORMAT, data]), "its first member is `control.tar.gz`");
        refused(&archive(&[("_first", b""), FORMAT, control, data]), "its first member is `_first`");
        refused(&archive(&[FORMAT, data, control]), "member `data.tar.gz` stands where `control.tar` should be");
        refused(&archive(&[FORMAT, control]), "`data.tar` is missing");
        refused(&archive(&[FORMAT]), "`control.tar` is missing");
        refused(&archive(&[FORMAT, control, ("other", b""), data]), "member `other` stands where `data.tar` should be");
        refused(&archive(&[FORMAT, control, data, ("other", b"")]), "`other` stands behind");
        refused(&archive(&[FORMAT, control, data, data]), "`data.tar.gz` comes twice");
        refused(&archive(&[FORMAT, control, data, ("data.tar.xz", b"")]), "`data.tar.xz` stands behind");
        refused(&archive(&[FORMAT, control, ("data.tar.bz2", b"")]), "compressed in an unknown way");
        refused(&archive(&[FORMAT, control, ("data.tarx", b"")]), "stands where");
        for format in [&b""[..], b"2.0", b"3.0\n", b"2.\n", b"2.x\n", b"12.0\n", b"2.0 \n", &[b'2'; 2000]] {
            refused(&archive(&[("debian-binary", format), control, data]), "its format is");
        }
        let many: Vec<String> = (0..MEMBERS_LIMIT).map(|n| format!("_{n}")).collect();
        let many: Vec<(&str, &[u8])> =
            [FORMAT].into_iter().chain(many.iter().map(|name| (&**name, &b""[..]))).collect();
        refused(&archive(&many), "more than 64 members");
    }

    #[test]
    fn sizes_and_padding_have_one_reading() {
        let good = archive(&[FORMAT, ("control.tar", b"abc"), ("data.tar", b"xyz")]);
        let with = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            file
        };
        let size = 8 + 60 + 4 + 48;
        for bad in [
            &b"-3        "[..],
            b" 3        ",
            b"+3        ",
            b"3 0       ",
            b"0x3       ",
            b"          ",
            b"3\0        ",
        ] {
            refused(&with(size, &bad[..10]), "has the size");
        }
        refused(&with(size, b"9999999999"), "reaches behind the end");
        refused(&with(size, b"5"), "has an odd size, but no line feed");
        refused(&with(size + 10, b"x"), "header is malformed");
        refused(&with(8 + 60 + 4, b"../x"), "a member has the name");
        refused(&with(8 + 60 + 4 + 60 + 3, b"x"), "has an odd size");
        for cut in 8..good.len() {
            assert!(parts(&good[..cut], "evil").is_err(), "{cut}");
        }
        let mut behind = good.clone();
        behind.extend(b"\n");
        refused(&behind, "ends inside a member's header");
        let mut hidden = good;
        hidden.extend(member("//", b""));
        refused(&hidden, "a member has the name");
    }
}
