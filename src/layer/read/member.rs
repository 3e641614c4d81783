//! One entry of a layer as it was read: its path made regular, its kind, and what it does to layers below.

use tar::EntryType;

use super::header::{Block, Extensions};
use crate::layer::TreePath;

/// What begins the name of a marker that hides something below (image-spec layer.md "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// What begins names that AUFS kept for itself.
const AUFS: &str = ".wh..wh.";
/// The marker that hides everything below its folder.
const OPAQUE: &str = ".wh..wh..opq";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A folder.
    Directory,
    /// A regular file; its bytes are the body.
    File,
    /// A symbolic link and its target, as it is written.
    Symlink(String),
    /// Another name of an entry that came earlier, in this layer or below.
    Hardlink(TreePath),
    /// A device or a pipe.
    Special,
    /// Hides `path` of the layers below.
    Whiteout,
    /// Hides what the layers below have in the folder `path`; without a path: everything.
    Opaque,
    /// Something that no image needs (AUFS's own files).
    Ignored,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How many entries came before it.
    pub ordinal: u64,
    /// Where it is, or what a whiteout hides; `None` for the root folder.
    pub path: Option<TreePath>,
    /// Whether the tar has its path, or the first name of a hard link, as an absolute one.
    pub absolute: bool,
    /// Whether the path or the link's target is not what the tar has, byte for byte: it has bytes that are not
    /// UTF-8, or control characters.
    pub lossy: bool,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The length of the body in bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The names of its extended attributes, as the tar has them: "security.capability".
    pub xattrs: Vec<String>,
}

/// Why an entry is refused, and the length of its body if there is one reading of that.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) size: Option<u64>,
}

/// `owners`: whether owner and time are read.
pub(super) fn build(ordinal: u64, block: &Block, mut extensions: Extensions, owners: bool) -> Result<Member, Refusal> {
    let unsure = |reason| Refusal { reason, size: None };
    let names = extensions.names_and_size(block).map_err(unsure)?;
    let size = names.2;
    // Some readers skip the body of what is no file, others do not.
    let is_sure = size == 0 || matches!(block.kind(), EntryType::Regular | EntryType::Continuous);
    member(ordinal, block, &extensions, names, owners)
        .map_err(|reason| Refusal { reason, size: is_sure.then_some(size) })
}

fn member(
    ordinal: u64,
    block: &Block,
    extensions: &Extensions,
    (raw_path, raw_link, size): (Vec<u8>, Vec<u8>, u64),
    owners: bool,
) -> Result<Member, String> {
    let at = |reason: String| format!("entry `{}`: {reason}", raw_path.escape_ascii());
    let records = extensions.records();
    let (uid, gid, mtime) = match owners {
        true => owner_and_time(block, extensions).map_err(at)?,
        false => (0, 0, 0),
    };
    let (path, mut lossy) = regular_path(&raw_path).map_err(at)?;
    let kind = kind(block, &raw_path, &raw_link, size, &mut lossy).map_err(at)?;
    if path.is_none() && kind != MemberKind::Directory {
        return Err(at("the root is not a folder".into()));
    }
    let (path, kind) = whiteout(path, kind).map_err(at)?;
    Ok(Member {
        ordinal,
        path,
        absolute: raw_path.starts_with(b"/") || (matches!(kind, MemberKind::Hardlink(_)) && raw_link.starts_with(b"/")),
        lossy,
        kind,
        mode: block.mode().map_err(at)?,
        uid,
        gid,
        size,
        mtime,
        xattrs: records.map(|pax| pax.xattrs.clone()).unwrap_or_default(),
    })
}

fn owner_and_time(block: &Block, extensions: &Extensions) -> Result<(u32, u32, i64), String> {
    let records = extensions.records();
    let (uid, gid) = block.owner()?;
    let uid = records.and_then(|pax| pax.uid).map_or(Ok(uid), i64::try_from).unwrap_or(-1);
    let gid = records.and_then(|pax| pax.gid).map_or(Ok(gid), i64::try_from).unwrap_or(-1);
    let id = |id: i64| u32::try_from(id).map_err(|_| "an owner that does not fit 32 bits".to_string());
    let mtime = records.and_then(|pax| pax.mtime).map_or_else(|| block.mtime(), Ok)?;
    Ok((id(uid)?, id(gid)?, mtime))
}

fn kind(block: &Block, path: &[u8], link: &[u8], size: u64, lossy: &mut bool) -> Result<MemberKind, String> {
    let folder_name = path.ends_with(b"/");
    let kind = match block.kind() {
        // Before POSIX, folders were files whose names end in a slash.
        EntryType::Regular | EntryType::Continuous if folder_name => match block.flag() {
            0 if size == 0 => MemberKind::Directory,
            _ => return Err("a file whose name ends in `/`".into()),
        },
        EntryType::Regular | EntryType::Continuous => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => {
            let (target, changed) = text(link);
            *lossy |= changed;
            MemberKind::Symlink(target)
        }
        EntryType::Link => {
            let (target, changed) = regular_path(link).map_err(|reason| format!("its link target: {reason}"))?;
            *lossy |= changed;
            MemberKind::Hardlink(target.ok_or("a link to the root")?)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => MemberKind::Special,
        EntryType::GNUSparse => return Err("a sparse file".into()),
        _ => return Err(format!("unknown kind `{}`", block.flag().escape_ascii())),
    };
    if size != 0 && kind != MemberKind::File {
        // Some readers skip such a body, others do not.
        return Err(format!("it is not a file, but has {size} bytes"));
    }
    Ok(kind)
}

/// The path without `/` and `.` at its start or between components; `None` is the root. `..` is refused.
fn regular_path(raw: &[u8]) -> Result<(Option<TreePath>, bool), String> {
    if raw.contains(&0) {
        return Err("a NUL in its path".into());
    }
    let (text, lossy) = text(raw);
    let components: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if components.is_empty() {
        return Ok((None, lossy));
    }
    match TreePath::new(&components.join("/")) {
        Ok(path) => Ok((Some(path), lossy)),
        Err(crate::layer::Error::Path { reason, .. }) => Err(reason.to_string()),
        Err(other) => Err(other.to_string()),
    }
}

/// As text; bytes that are not UTF-8 and control characters become U+FFFD.
fn text(raw: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(raw);
    let clean: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    let lossy = clean.as_bytes() != raw;
    (clean, lossy)
}

fn whiteout(path: Option<TreePath>, kind: MemberKind) -> Result<(Option<TreePath>, MemberKind), String> {
    let Some(full) = &path else { return Ok((path, kind)) };
    let parent = full.parent();
    if let Some(parent) = &parent {
        if parent.as_str().split('/').any(|part| part.starts_with(AUFS)) {
            return Ok((path, MemberKind::Ignored));
        }
        if parent.as_str().split('/').any(|part| part.starts_with(WHITEOUT)) {
            return Err("it is below a whiteout".into());
        }
    }
    let name = full.name();
    if name == OPAQUE {
        return Ok((parent, MemberKind::Opaque));
    }
    if name.starts_with(AUFS) {
        return Ok((path, MemberKind::Ignored));
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok((path, kind)) };
    if matches!(hidden, "" | "." | "..") {
        return Err("a whiteout without a name".into());
    }
    if kind == MemberKind::Directory {
        return Err("a whiteout that is a folder".into());
    }
    let hidden = match &parent {
        Some(parent) => parent.join(hidden),
        None => TreePath::new(hidden),
    };
    Ok((Some(hidden.map_err(|error| error.to_string())?), MemberKind::Whiteout))
}
