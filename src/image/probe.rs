//! What a base image is: its system, its C library, its Pythons. Read from what a listing keeps, so that a base
//! that was seen before answers without its bytes.

use std::collections::BTreeMap;

use super::Rootfs;
use crate::error::Result;
use crate::layer::{BaseKind, BaseView, TreePath};
use crate::target::{Libc, PythonVersion};
use crate::text;

/// The largest C library that is looked into, in bytes.
pub(super) const LIBC_LIMIT: u64 = 32 << 20;
/// The largest os-release file, in bytes.
const OS_RELEASE_LIMIT: u64 = 64 << 10;
/// The largest package database, in bytes.
const DATABASE_LIMIT: u64 = super::listing::KEEP_LIMIT;

/// A Python interpreter of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePython {
    /// `/usr/bin/python3.11`, without the leading slash.
    pub path: TreePath,
    /// Its version; the micro version where the base says it.
    pub version: PythonVersion,
}

/// What a base image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseFacts {
    /// The fields of os-release: `ID`, `VERSION_ID`, `VERSION_CODENAME`, ...
    pub os_release: BTreeMap<String, String>,
    /// The C library, if there is one that is known.
    pub libc: Option<Libc>,
    /// The interpreters, in the order of the default PATH: /usr/local/bin, then /usr/bin.
    pub pythons: Vec<BasePython>,
    /// Whether `/lib` is a link to `/usr/lib`.
    pub usr_merged: bool,
    /// Whether there is a database of Debian packages that dpkg works with.
    pub dpkg: bool,
    /// Whether there is a shell at /bin/sh.
    pub shell: bool,
}

impl BaseFacts {
    /// Looks at a base.
    pub fn of(rootfs: &Rootfs) -> Result<BaseFacts> {
        let packages = debian_versions(rootfs)?;
        Ok(BaseFacts {
            os_release: os_release(rootfs)?,
            libc: libc(rootfs)?,
            pythons: pythons(rootfs, &packages)?,
            usr_merged: matches!(lookup(rootfs, "lib"), Some(BaseKind::Symlink(_))),
            dpkg: lookup(rootfs, "var/lib/dpkg/status") == Some(BaseKind::File),
            shell: exists(rootfs, "bin/sh"),
        })
    }

    /// `ID` of os-release: "debian", "ubuntu", "alpine".
    pub fn id(&self) -> Option<&str> {
        self.os_release.get("ID").map(String::as_str)
    }

    /// `VERSION_ID` of os-release: "12", "22.04".
    pub fn version_id(&self) -> Option<&str> {
        self.os_release.get("VERSION_ID").map(String::as_str)
    }

    /// `VERSION_CODENAME` of os-release: "bookworm", "jammy".
    pub fn codename(&self) -> Option<&str> {
        self.os_release.get("VERSION_CODENAME").map(String::as_str)
    }

    /// The first interpreter with this major and minor version.
    pub fn python(&self, version: &PythonVersion) -> Option<&BasePython> {
        self.pythons.iter().find(|python| python.version.compatible(version))
    }
}

fn path(text: &str) -> Option<TreePath> {
    TreePath::new(text).ok()
}

fn lookup(rootfs: &Rootfs, text: &str) -> Option<BaseKind> {
    rootfs.lookup(&path(text)?).map(|entry| entry.kind)
}

fn exists(rootfs: &Rootfs, text: &str) -> bool {
    path(text).and_then(|path| rootfs.entry(&path)).is_some_and(|entry| entry.kind == BaseKind::File)
}

fn read(rootfs: &Rootfs, text: &str, limit: u64) -> Result<Option<String>> {
    let Some(path) = path(text) else { return Ok(None) };
    Ok(rootfs.read(&path, limit)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn os_release(rootfs: &Rootfs) -> Result<BTreeMap<String, String>> {
    let text = match read(rootfs, "etc/os-release", OS_RELEASE_LIMIT)? {
        Some(text) => text,
        None => read(rootfs, "usr/lib/os-release", OS_RELEASE_LIMIT)?.unwrap_or_default(),
    };
    Ok(text.lines().filter_map(assignment).collect())
}

/// `NAME=value`, `NAME="a value"` (os-release(5): shell quoting without expansion).
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let value = match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => unescape(inner),
        (None, Some(inner)) => inner.to_string(),
        (None, None) => unescape(value),
    };
    Some((name.to_string(), value))
}

fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        result.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    result
}

/// Whether a file is a C library whose version is worth knowing.
pub(super) fn is_libc(path: &TreePath) -> bool {
    let name = path.name();
    name == "libc.so.6"
        || (name.starts_with("libc-2.") && name.ends_with(".so"))
        || (name.starts_with("ld-musl-") && name.ends_with(".so.1"))
}

/// "glibc 2.36" or "musl 1.2", as the library's own bytes say.
pub(super) fn libc_version(bytes: &[u8]) -> Option<String> {
    // The banner: "GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36."
    if let Some(banner) = find(bytes, b"GNU C Library ") {
        let line = banner.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default();
        if let Some((major, minor)) = find(line, b"release version ").and_then(version) {
            return Some(format!("glibc {major}.{minor}"));
        }
    }
    // Else the newest version of its symbols.
    let symbols = occurrences(bytes, b"GLIBC_2.").filter_map(|rest| version(rest.get(6..)?)).max();
    if let Some((major, minor)) = symbols {
        return Some(format!("glibc {major}.{minor}"));
    }
    find(bytes, b"musl libc")?;
    // musl keeps its version as a string of its own: "\01.2.4\0".
    let versions = occurrences(bytes, b"\x001.").filter_map(|rest| {
        let text = rest.get(1..)?;
        let end = text.iter().take(12).position(|byte| *byte == 0)?;
        let text = text.get(..end)?;
        let dots = text.iter().filter(|byte| **byte == b'.').count();
        (dots == 2 && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')).then_some(text)
    });
    let (major, minor) = versions.filter_map(version).next()?;
    Some(format!("musl {major}.{minor}"))
}

fn occurrences<'a>(bytes: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    bytes.windows(what.len()).enumerate().filter(move |(_, window)| *window == what).filter_map(|(n, _)| bytes.get(n..))
}

/// What follows the first occurrence.
fn find<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    let at = text::find(bytes, what)?;
    bytes.get(at + what.len()..)
}

fn version(bytes: &[u8]) -> Option<(u32, u32)> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(bytes.len());
    let text = std::str::from_utf8(bytes.get(..end.min(12))?).ok()?;
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn libc(rootfs: &Rootfs) -> Result<Option<Libc>> {
    let known = rootfs.iter().filter(|(path, _)| is_libc(path)).filter_map(|(path, _)| rootfs.libc(path));
    let mut found: Vec<Libc> = known.filter_map(parse_libc).collect();
    // A glibc system may have musl installed beside it, never the other way round.
    found.sort_by_key(|libc| match libc {
        Libc::Glibc(major, minor) => (0, *major, *minor),
        Libc::Musl(major, minor) => (1, *major, *minor),
    });
    Ok(found.first().copied())
}

fn parse_libc(text: &str) -> Option<Libc> {
    let (name, numbers) = text.split_once(' ')?;
    let (major, minor) = version(numbers.as_bytes())?;
    match name {
        "glibc" => Some(Libc::Glibc(major, minor)),
        "musl" => Some(Libc::Musl(major, minor)),
        _ => None,
    }
}

fn pythons(rootfs: &Rootfs, packages: &BTreeMap<String, String>) -> Result<Vec<BasePython>> {
    let mut found = Vec::new();
    for prefix in ["usr/local", "usr"] {
        for minor in 6..=30u8 {
            let version = PythonVersion::new(3, minor);
            let Some(path) = path(&format!("{prefix}/bin/{}", version.name())) else { continue };
            if rootfs.entry(&path).is_none_or(|entry| entry.kind != BaseKind::File) {
                continue;
            }
            let header = format!("{prefix}/include/{}/patchlevel.h", version.name());
            let mut micro = read(rootfs, &header, OS_RELEASE_LIMIT)?.as_deref().and_then(micro_of_header);
            if prefix == "usr" {
                let names = [format!("{}-minimal", version.name()), version.name()];
                let package = names.iter().find_map(|name| packages.get(name));
                micro = package.and_then(|package| micro_of_package(package)).or(micro);
            }
            found.push(BasePython { path, version: PythonVersion { micro, ..version } });
        }
    }
    Ok(found)
}

fn micro_of_header(text: &str) -> Option<u8> {
    text.lines().find_map(|line| line.trim().strip_prefix("#define PY_MICRO_VERSION")?.trim().parse().ok())
}

/// 2 of `3.11.2-6+deb12u6`.
fn micro_of_package(version: &str) -> Option<u8> {
    let upstream = version.rsplit_once(':').map_or(version, |(_, rest)| rest);
    let micro = upstream.split('.').nth(2)?;
    micro.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Installed Debian packages of Python with their versions.
fn debian_versions(rootfs: &Rootfs) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    let mut add = |text: &str| {
        for paragraph in text.split("\n\n") {
            let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(package), Some(version)) = (field("Package:"), field("Version:"))
                && package.starts_with("python3")
            {
                versions.insert(package.to_string(), version.to_string());
            }
        }
    };
    add(&read(rootfs, "var/lib/dpkg/status", DATABASE_LIMIT)?.unwrap_or_default());
    let folder = path("var/lib/dpkg/status.d");
    for (file, _) in folder.map(|folder| rootfs.list(&folder)).unwrap_or_default() {
        if file.name().starts_with("python3") && !file.name().ends_with(".md5sums") {
            add(&read(rootfs, file.as_str(), DATABASE_LIMIT)?.unwrap_or_default());
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_library_itself() {
        let debian = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright";
        assert_eq!(libc_version(debian).as_deref(), Some("glibc 2.36"));
        assert_eq!(libc_version(b"GLIBC_2.9\0GLIBC_2.31\0GLIBC_2.4\0").as_deref(), Some("glibc 2.31"));
        assert_eq!(libc_version(b"\x001.2.4\0musl libc (x86_64)\nVersion %s").as_deref(), Some("musl 1.2"));
        assert_eq!(libc_version(b"nothing of the kind"), None);
    }

    #[test]
    fn this_machines_own_libc_is_recognised() {
        let library = crate::fs::read(std::path::Path::new("/lib/x86_64-linux-gnu/libc.so.6"), LIBC_LIMIT).unwrap();
        assert!(libc_version(&library).unwrap().starts_with("glibc 2."));
    }

    #[test]
    fn small_texts() {
        assert_eq!(assignment("PRETTY_NAME=\"a \\\"b\\\" c\"").unwrap().1, "a \"b\" c");
        assert_eq!(assignment("ID=debian"), Some(("ID".into(), "debian".into())));
        assert_eq!(assignment("# ID=x"), None);
        assert_eq!(micro_of_package("3.11.2-6+deb12u6"), Some(2));
        assert_eq!(micro_of_package("1:3.10.12~rc1"), Some(12));
        assert_eq!(micro_of_header("#define PY_MICRO_VERSION        7\n"), Some(7));
    }
}
