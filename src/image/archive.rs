//! Tar archives that hold images: where each member is, read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::error::shown;
use super::layout::{self, Found, check_length};
use crate::error::Result;
use crate::fs::{self, Temporary};
use crate::layer::{BlobReader, BlobSource, Store};
use crate::oci::{DOCUMENT_LIMIT, Descriptor};

/// The most members that an archive may have.
const MEMBERS_LIMIT: usize = 100_000;
/// The most bytes that a compressed archive may unpack to.
const UNPACKED_LIMIT: u64 = 256 << 30;
/// How many links may lead to a member.
const LINKS_LIMIT: usize = 8;

enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

/// An indexed archive. The file stays open; a compressed one was unpacked into the store's temporary folder.
pub(super) struct Archive {
    path: PathBuf,
    what: &'static str,
    file: Arc<File>,
    members: BTreeMap<String, Member>,
    _unpacked: Option<Temporary>,
}

impl Archive {
    /// Indexes the archive at `path`. `what` names its kind in messages.
    pub fn open(path: &Path, what: &'static str, store: &Store) -> Result<Self> {
        let mut file = fs::open(path)?;
        let malformed = |reason: String| Error::Malformed { path: path.into(), what, reason };
        let mut unpacked = None;
        if is_gzip(&file).map_err(fs::failed("read", path))? {
            let mut temporary = store.temporary_file()?;
            let mut stream = flate2::read::MultiGzDecoder::new(file).take(UNPACKED_LIMIT);
            let length = io::copy(&mut stream, &mut temporary).map_err(|error| malformed(error.to_string()))?;
            if length == UNPACKED_LIMIT {
                return Err(malformed(format!("it unpacks to more than {UNPACKED_LIMIT} bytes")).into());
            }
            file = fs::open(temporary.path())?;
            unpacked = Some(temporary);
        }
        let members = index(&mut file).map_err(malformed)?;
        Ok(Archive { path: path.into(), what, file: Arc::new(file), members, _unpacked: unpacked })
    }

    pub fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.clone(), what: self.what, reason: reason.into() }
    }

    /// An archive of the other kind.
    pub fn mistaken(&self, given: &str, meant: &str) -> Error {
        let path = self.path.display();
        let (text, reason) = (format!("{given}:{path}"), format!("the file is a {meant}"));
        Error::Name { text, reason, meant: Some(format!("{meant}:{path}")) }
    }

    /// Offset and length of a regular member, through links within the archive.
    fn locate(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name.to_string();
        for _ in 0..LINKS_LIMIT {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name = target.clone(),
            }
        }
        None
    }

    /// The length of a member.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.locate(name).map(|(_, size)| size)
    }

    /// A reader of a member; nothing is verified.
    pub fn member(&self, name: &str) -> Option<Section> {
        let (position, size) = self.locate(name)?;
        Some(Section { file: self.file.clone(), position, end: position + size })
    }

    /// A small member in memory.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let missing = || self.malformed(format!("it has no file `{}`", shown(name)));
        if self.size(name).ok_or_else(missing)? > DOCUMENT_LIMIT {
            return Err(self.malformed(format!("`{}` is larger than {DOCUMENT_LIMIT} bytes", shown(name))).into());
        }
        let mut bytes = Vec::new();
        let mut reader = self.member(name).ok_or_else(missing)?;
        reader.read_to_end(&mut bytes).map_err(fs::failed("read", &self.path))?;
        Ok(bytes)
    }
}

fn is_gzip(file: &File) -> io::Result<bool> {
    let mut magic = [0; 2];
    Ok(file.read_at(&mut magic, 0)? == 2 && magic == [0x1f, 0x8b])
}

/// Where every member is. Names that lead out of the archive, and names that come twice, are refused.
fn index(file: &mut File) -> Result<BTreeMap<String, Member>, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut archive = tar::Archive::new(file);
    let mut members = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = member_name(&entry.path_bytes())?;
        let kind = entry.header().entry_type();
        let member = match kind {
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(format!("it ends in the middle of `{}`", shown(&name)));
                }
                Member::File { offset, size }
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                Member::Link(link_target(&name, &target, kind == tar::EntryType::Symlink)?)
            }
            _ => return Err(format!("`{}` is neither a file nor a folder", shown(&name))),
        };
        if members.contains_key(&name) {
            return Err(format!("`{}` is in it twice", shown(&name)));
        }
        members.insert(name, member);
        if members.len() > MEMBERS_LIMIT {
            return Err(format!("it has more than {MEMBERS_LIMIT} members"));
        }
    }
    Ok(members)
}

/// A relative name without `.`, `..` and empty parts.
fn member_name(raw: &[u8]) -> Result<String, String> {
    let shown = String::from_utf8_lossy(raw).escape_debug().to_string();
    let text = std::str::from_utf8(raw).map_err(|_| format!("the name `{shown}` is not UTF-8"))?;
    let text = text.trim_end_matches('/');
    let text = if text == "." { return Ok(String::new()) } else { text.strip_prefix("./").unwrap_or(text) };
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    if text.contains(['\\', '\0']) || !text.split('/').all(sound) {
        return Err(format!("the name `{shown}` leads out of it"));
    }
    Ok(text.to_string())
}

/// The member that a link leads to: old versions of docker write `../ID/layer.tar` for a layer that comes twice.
fn link_target(name: &str, target: &[u8], relative: bool) -> Result<String, String> {
    let refuse = || format!("the link `{}` leads out of it", shown(name));
    let text = std::str::from_utf8(target).map_err(|_| refuse())?;
    if !relative {
        return member_name(target);
    }
    if text.starts_with('/') {
        return Err(refuse());
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(refuse)?;
            }
            part => parts.push(part),
        }
    }
    member_name(parts.join("/").as_bytes()).map_err(|_| refuse())
}

/// Part of an open file, with a position of its own.
pub(super) struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.position)?;
        if count == 0 && left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter"));
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// A tar of an OCI layout.
pub(super) struct OciArchive {
    archive: Archive,
    name: String,
}

impl OciArchive {
    /// Opens the archive and finds the image that is meant.
    pub fn open(path: &Path, reference: Option<&str>, store: &Store) -> Result<(Self, Found)> {
        let archive = Archive::open(path, "OCI archive", store)?;
        let name = format!("oci-archive:{}", path.display());
        if archive.size("oci-layout").is_none() && archive.size("manifest.json").is_some() {
            return Err(archive.mistaken("oci-archive", "docker-archive").into());
        }
        layout::check_marker(&archive.read("oci-layout")?).map_err(|reason| archive.malformed(reason))?;
        let found = layout::find(&archive.read("index.json")?, reference, &name)?;
        Ok((OciArchive { archive, name }, found))
    }
}

impl BlobSource for OciArchive {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let member = format!("blobs/sha256/{}", descriptor.digest.hex());
        let Some(section) = self.archive.member(&member) else {
            return Err(Error::BlobMissing { name: self.name.clone(), digest: descriptor.digest }.into());
        };
        check_length(&self.name, descriptor, section.end - section.position)?;
        Ok(Box::new(BlobReader::new(section, descriptor.digest, Some(descriptor.size))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{Fixture, gzip, header, tar_of};
    use crate::image::{Artifact, open};

    #[test]
    fn members_are_found_in_place_and_packed_archives_are_read_too() {
        let fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        fixture.write(&Artifact::Image(image.clone()), &fixture.name("oci-archive", "a.tar:app:1")).unwrap();
        let packed = gzip(&std::fs::read(fixture.path("a.tar")).unwrap());
        std::fs::write(fixture.path("a.tar.gz"), packed).unwrap();
        for rest in ["a.tar", "a.tar:app:1", "a.tar:docker.io/library/app:1", "a.tar.gz:app:1"] {
            let opened = open(&fixture.name("oci-archive", rest), &fixture.access).unwrap();
            assert_eq!(opened.image(None).unwrap().manifest_descriptor.digest, image.digest());
        }
        assert!(open(&fixture.name("oci-archive", "a.tar:app:2"), &fixture.access).is_err());
        assert!(open(&fixture.name("oci-archive", "none.tar"), &fixture.access).is_err());
        let mistaken = open(&fixture.name("docker-archive", "a.tar"), &fixture.access).map(|_| ()).unwrap_err();
        assert!(mistaken.hint().unwrap().contains("did you mean `oci-archive:"), "{mistaken}");
        fixture.write(&Artifact::Image(image), &fixture.name("docker-archive", "d.tar")).unwrap();
        let mistaken = open(&fixture.name("oci-archive", "d.tar"), &fixture.access).map(|_| ()).unwrap_err();
        assert!(mistaken.hint().unwrap().contains("did you mean `docker-archive:"), "{mistaken}");
        let left = std::fs::read_dir(fixture.path("store/tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    fn refusal(bytes: &[u8]) -> String {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("a.tar"), bytes).unwrap();
        let error = Archive::open(&fixture.path("a.tar"), "OCI archive", &fixture.access.store).map(|_| ());
        let error = error.unwrap_err();
        assert_eq!(error.class().code(), 4, "{error}");
        error.to_string()
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in ["../x", "/etc/passwd", "a/../../x", "a//b", "a/./b", "a\\b", "x/.."] {
            let error = refusal(&tar_of(&[(name, b"x")]));
            assert!(error.contains("leads out of it"), "{name}: {error}");
        }
        assert!(refusal(&tar_of(&[("a", b"1"), ("./a", b"2")])).contains("`a` is in it twice"));
        let link = |target: &str, kind| {
            let mut link = header("blobs/x", 0, kind);
            link.set_link_name_literal(target).unwrap();
            link.set_cksum();
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&link, &[][..]).unwrap();
            builder.into_inner().unwrap()
        };
        for target in ["/etc/passwd", "../../x"] {
            assert!(refusal(&link(target, tar::EntryType::Symlink)).contains("leads out"), "{target}");
            assert!(refusal(&link(target, tar::EntryType::Link)).contains("leads out"), "{target}");
        }
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header("pipe", 0, tar::EntryType::Fifo), &[][..]).unwrap();
        assert!(refusal(&builder.into_inner().unwrap()).contains("neither a file nor a folder"));
    }

    #[test]
    fn links_within_the_archive_are_followed_but_not_for_ever() {
        let fixture = Fixture::new();
        let mut builder = tar::Builder::new(Vec::new());
        for (name, target) in [("b/layer.tar", "../a/layer.tar"), ("loop", "loop")] {
            let mut link = header(name, 0, tar::EntryType::Symlink);
            link.set_link_name_literal(target).unwrap();
            link.set_cksum();
            builder.append(&link, &[][..]).unwrap();
        }
        builder.append(&header("a/layer.tar", 5, tar::EntryType::Regular), &b"hello"[..]).unwrap();
        std::fs::write(fixture.path("a.tar"), builder.into_inner().unwrap()).unwrap();
        let archive = Archive::open(&fixture.path("a.tar"), "docker archive", &fixture.access.store).unwrap();
        assert_eq!(archive.read("b/layer.tar").unwrap(), b"hello");
        assert!(archive.member("loop").is_none() && archive.size("c").is_none());
        assert!(archive.read("loop").is_err());
    }

    #[test]
    fn a_cut_archive_is_refused_wherever_it_is_cut() {
        let whole = tar_of(&[("a", &[7; 3000]), ("b", &[8; 700])]);
        for length in [100, 700, 2000, 512 + 3072 + 100, 512 + 3072 + 512 + 100] {
            refusal(&whole[..length]);
        }
        assert!(refusal(b"this is a text file, and a long one: it goes on").contains("not a sound"));
        assert!(refusal(&gzip(&whole)[..60]).contains("not a sound"));
    }
}
