//! What a layer's tar holds, read by the `tar` crate.

use std::io::Read;

use ingot::oci::Digest;

/// One member of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Without a leading `./` or a trailing `/`.
    pub path: String,
    /// "file", "directory", "symlink", "hardlink", or the type's letter.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds.
    pub mtime: u64,
    /// Where a link points.
    pub link: Option<String>,
    /// The bytes of a file.
    pub content: Vec<u8>,
}

impl Member {
    /// One line of a listing: what a golden test compares.
    pub fn line(&self) -> String {
        let content = match (&self.link, self.kind.as_str()) {
            (Some(link), _) => format!("-> {link}"),
            (None, "file") => Digest::of(&self.content).to_string(),
            _ => String::new(),
        };
        let line = format!(
            "{:9} {:04o} {}:{} {:>8} {} {content}",
            self.kind,
            self.mode,
            self.uid,
            self.gid,
            self.content.len(),
            self.path
        );
        line.trim_end().to_owned()
    }
}

/// The members of a plain, gzip or zstd tar, and its diff id.
pub fn members(layer: &[u8]) -> (Vec<Member>, String) {
    let mut plain = Vec::new();
    match layer {
        [0x1f, 0x8b, ..] => drop(flate2::read::GzDecoder::new(layer).read_to_end(&mut plain).unwrap()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => plain = zstd::decode_all(layer).unwrap(),
        _ => plain = layer.to_vec(),
    }
    let mut archive = tar::Archive::new(&plain[..]);
    let found = archive.entries().unwrap().map(|entry| member(entry.unwrap())).collect();
    (found, Digest::of(&plain).to_string())
}

fn member(mut entry: tar::Entry<'_, &[u8]>) -> Member {
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Regular => "file".to_owned(),
        tar::EntryType::Directory => "directory".to_owned(),
        tar::EntryType::Symlink => "symlink".to_owned(),
        tar::EntryType::Link => "hardlink".to_owned(),
        other => format!("{}", char::from(other.as_byte())),
    };
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    Member {
        path: path.trim_start_matches("./").trim_end_matches('/').to_owned(),
        kind,
        mode: header.mode().unwrap() & 0o7777,
        uid: header.uid().unwrap(),
        gid: header.gid().unwrap(),
        mtime: header.mtime().unwrap(),
        link: entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned()),
        content,
    }
}
