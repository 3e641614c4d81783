//! Writes a [`LayerTree`] as the pieces of a tar stream: ustar headers, PAX records only where ustar cannot hold a value.
//!
//! Every header is a function of the entry alone: numeric owners without names, one mtime, no device numbers, and
//! PAX headers under a fixed name (GNU's default has the process id in it).

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::encode::{self, Encoder};
use super::{Content, Entry, Error, Kind, LayerTree, Packed, Packing, TreePath};
use crate::fs;
use crate::oci::Epoch;

const BLOCK: u64 = 512;
/// The largest number that an eleven-digit octal field holds: sizes from 8 GiB need PAX.
const SIZE_LIMIT: u64 = 0o77777777777;
/// The largest owner that a seven-digit octal field holds.
const OWNER_LIMIT: u32 = 0o7777777;

/// Writes the whole archive: entries in their order, then two zero blocks.
/// `advance` hears of the bytes that were handed on.
pub fn write_tree(
    tree: &LayerTree,
    out: &mut dyn Encoder,
    layer: &str,
    advance: &dyn Fn(u64),
) -> crate::error::Result<()> {
    let stream = |source| {
        Error::carried(source, |source| Error::Stream { action: "write", object: format!("layer `{layer}`"), source })
    };
    for (path, entry) in tree.iter() {
        let header = headers(path, entry).map_err(stream)?;
        out.literal(&header).map_err(stream)?;
        if let Kind::File(content) = &entry.kind {
            write_content(path, entry, content, out)?;
            let padding = (BLOCK - content.size() % BLOCK) % BLOCK;
            out.literal(&[0; BLOCK as usize][..padding as usize]).map_err(stream)?;
            advance(content.size());
        }
    }
    out.literal(&[0; 2 * BLOCK as usize]).map_err(stream)?;
    Ok(())
}

/// The header blocks of one entry: an optional PAX header with its records, then the ustar header.
pub(super) fn headers(path: &TreePath, entry: &Entry) -> io::Result<Vec<u8>> {
    let (kind, size, link) = match &entry.kind {
        Kind::Directory => (EntryType::Directory, 0, None),
        Kind::File(content) => (EntryType::Regular, content.size(), None),
        Kind::Symlink(target) => (EntryType::Symlink, 0, Some(target.as_str())),
        Kind::Hardlink(target) => (EntryType::Link, 0, Some(target.as_str())),
    };
    let name = if kind == EntryType::Directory { format!("{path}/") } else { path.to_string() };
    let mut records = Vec::new();
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_mtime(Epoch::ENTRIES.seconds() as u64);
    if let Some(link) = link {
        if link.len() <= 100 && link.is_ascii() {
            header.set_link_name_literal(link)?;
        } else {
            record(&mut records, "linkpath", link);
        }
    }
    if !name.is_ascii() || header.set_path(&name).is_err() {
        record(&mut records, "path", &name);
        header.set_path("long")?;
    }
    if size > SIZE_LIMIT {
        record(&mut records, "size", &size.to_string());
    }
    header.set_size(if size > SIZE_LIMIT { 0 } else { size });
    for (key, owner) in [("uid", entry.uid), ("gid", entry.gid)] {
        let fits = owner <= OWNER_LIMIT;
        if !fits {
            record(&mut records, key, &owner.to_string());
        }
        let value = u64::from(if fits { owner } else { 0 });
        if key == "uid" { header.set_uid(value) } else { header.set_gid(value) }
    }
    header.set_cksum();

    let mut blocks = Vec::new();
    if !records.is_empty() {
        let mut pax = Header::new_ustar();
        pax.set_entry_type(EntryType::XHeader);
        pax.set_path("PaxHeaders/entry")?;
        pax.set_mode(0o644);
        pax.set_uid(0);
        pax.set_gid(0);
        pax.set_mtime(Epoch::ENTRIES.seconds() as u64);
        pax.set_size(records.len() as u64);
        pax.set_cksum();
        blocks.extend_from_slice(pax.as_bytes());
        blocks.extend_from_slice(&records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK as usize), 0);
    }
    blocks.extend_from_slice(header.as_bytes());
    Ok(blocks)
}

/// One PAX record: `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

fn write_content(path: &TreePath, entry: &Entry, content: &Content, out: &mut dyn Encoder) -> crate::error::Result<()> {
    let refuse = |reason: String| Error::Content { path: path.to_string(), input: entry.input.to_string(), reason };
    let stream = |source| {
        let object = format!("`/{path}` of {}", entry.input);
        Error::carried(source, |source| Error::Stream { action: "copy", object, source })
    };
    match content {
        Content::Bytes(bytes) => Ok(out.literal(bytes).map_err(stream)?),
        Content::File { path: file, size } => {
            let mut opened = io::Read::take(fs::open(file)?, size + 1);
            let copied = io::copy(&mut opened, &mut io::BufWriter::with_capacity(64 << 10, Literal(out)));
            let copied = copied.map_err(stream)?;
            if copied != *size {
                return Err(refuse(format!("expected {size} bytes, found {copied}")).into());
            }
            Ok(())
        }
        Content::Packed(packed) => Ok(out.packed(packed, path, entry).map_err(stream)?),
    }
}

/// The bytes of one file in memory.
pub fn read_content(path: &TreePath, entry: &Entry, content: &Content) -> crate::error::Result<Vec<u8>> {
    let mut memory = Memory(Vec::new());
    write_content(path, entry, content, &mut memory)?;
    Ok(memory.0)
}

struct Memory(Vec<u8>);

impl Encoder for Memory {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn packed(&mut self, packed: &Packed, path: &TreePath, entry: &Entry) -> io::Result<()> {
        encode::unpacked(packed, path, entry, &mut self.0)
    }
}

/// An encoder as a writer of literal bytes.
pub struct Literal<'a>(pub &'a mut dyn Encoder);

impl Write for Literal<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.literal(bytes).map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a packed member could not be copied.
#[derive(Debug)]
pub enum Unpack {
    /// It is not what the archive's directory says.
    Damaged(String),
    /// Writing failed.
    Stream(io::Error),
}

impl Unpack {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Unpack::Damaged(reason) => io::Error::new(io::ErrorKind::InvalidData, reason),
            Unpack::Stream(error) => error,
        }
    }
}

/// The packed bytes of a member.
pub(super) fn packed_bytes(packed: &Packed) -> Result<&[u8], Unpack> {
    usize::try_from(packed.offset)
        .ok()
        .zip(usize::try_from(packed.length).ok())
        .and_then(|(offset, length)| packed.archive.get(offset..offset.checked_add(length)?))
        .ok_or_else(|| Unpack::Damaged("it lies outside of its archive".into()))
}

/// Whether a member has the size and the CRC-32 that its archive promises.
pub(super) fn check_member(packed: &Packed, size: u64, crc32: u32) -> Result<(), Unpack> {
    if size != packed.size {
        return Err(Unpack::Damaged(format!("expected {} bytes, found {size}", packed.size)));
    }
    if crc32 != packed.crc32 {
        return Err(Unpack::Damaged(format!("expected CRC {:08x}, found {crc32:08x}", packed.crc32)));
    }
    Ok(())
}

/// How many bytes are copied at once.
const COPY: usize = 1 << 20;

/// Copies the unpacked bytes of a member and checks their number and CRC-32.
pub fn unpack(packed: &Packed, out: &mut dyn Write) -> Result<(), Unpack> {
    let bytes = packed_bytes(packed)?;
    let mut checked = Checked { out, crc: crc32fast::Hasher::new(), count: 0, limit: packed.size };
    let copied = match packed.packing {
        Packing::Stored => copy_stored(packed, bytes, &mut checked).map(|()| bytes.len()),
        Packing::Deflated => copy_deflated(packed, bytes, &mut checked),
    };
    let consumed = copied.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Unpack::Damaged(error.to_string())
        }
        _ => Unpack::Stream(error),
    })?;
    if consumed != bytes.len() {
        return Err(Unpack::Damaged(format!("{} bytes follow its deflate stream", bytes.len() - consumed)));
    }
    check_member(packed, checked.count, checked.crc.finalize())
}

/// Copies bytes of a mapped archive, which do not stay in memory behind it.
fn copy_stored(packed: &Packed, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for part in bytes.chunks(COPY) {
        out.write_all(part)?;
        packed.archive.passed(part.len());
    }
    Ok(())
}

/// Inflates; the packed bytes do not stay in memory behind it either. Returns how many of them the stream has.
fn copy_deflated(packed: &Packed, bytes: &[u8], out: &mut dyn Write) -> io::Result<usize> {
    let mut inflater = flate2::read::DeflateDecoder::new(bytes);
    let mut buffer = vec![0; 64 << 10];
    let mut before = 0;
    loop {
        let count = inflater.read(&mut buffer)?;
        let consumed = inflater.total_in() as usize;
        packed.archive.passed(consumed - before);
        before = consumed;
        if count == 0 {
            return Ok(consumed);
        }
        out.write_all(&buffer[..count])?;
    }
}

struct Checked<'a> {
    out: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    count: u64,
    limit: u64,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.count += bytes.len() as u64;
        if self.count > self.limit {
            let message = format!("more than the {} bytes that its archive promises", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.crc.update(bytes);
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn archive(tree: &LayerTree) -> crate::error::Result<Vec<u8>> {
        let mut plain = crate::layer::encode::Plain { out: Vec::new(), tar: crate::oci::Hasher::new() };
        write_tree(tree, &mut plain, "test", &|_| {})?;
        Ok(plain.out)
    }

    fn tree() -> LayerTree {
        let input: Arc<str> = "test".into();
        let mut tree = LayerTree::new();
        let mut add = |path: &str, entry: Entry| tree.insert(TreePath::new(path).unwrap(), entry).unwrap();
        add("app", Entry::directory(&input));
        add("app/é", Entry::file("unicode", 0o644, &input));
        add("app/run", Entry::file("#!/bin/sh\n", 0o4755, &input).owned(1001, 3_000_000));
        add(&format!("app/{}", ["d".repeat(120), "e".repeat(120)].join("/")), Entry::file("long", 0o600, &input));
        add("app/link", Entry::symlink("t".repeat(130), &input));
        add("app/twin", Entry { kind: Kind::Hardlink(TreePath::new("app/run").unwrap()), ..Entry::directory(&input) });
        tree
    }

    #[test]
    fn another_reader_finds_every_value() {
        let bytes = archive(&tree()).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let mut reader = ::tar::Archive::new(&bytes[..]);
        let mut seen = Vec::new();
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let link = entry.link_name().unwrap().map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
            let (mode, mtime) = (entry.header().mode().unwrap(), entry.header().mtime().unwrap());
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(mtime, 315_532_800);
            seen.push((path, mode, link.len(), text));
        }
        let run = seen.iter().find(|(path, ..)| path == "app/run").unwrap();
        assert_eq!((run.1, run.3.as_str()), (0o4755, "#!/bin/sh\n"));
        assert!(seen.iter().any(|(path, .., text)| path == "app/é" && text == "unicode"));
        assert!(seen.iter().any(|(path, .., text)| path.len() == 245 && text == "long"));
        assert!(seen.iter().any(|(path, _, link, _)| path == "app/link" && *link == 130));
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn gnu_tar_reads_large_owners_and_long_names() {
        let bytes = archive(&tree()).unwrap();
        let mut command = std::process::Command::new("tar");
        command.args(["--numeric-owner", "-tvf", "-"]);
        let output = crate::process::run(command, &bytes, crate::process::DEFAULT_TIMEOUT).unwrap();
        let listing = output.stdout_text();
        assert!(listing.contains("1001/3000000"), "{listing}");
        assert!(listing.contains("app/twin link to app/run"), "{listing}");
        assert!(output.status.success(), "{}", output.stderr_text());
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 90, 91, 92, 93, 94, 985, 990, 991, 992, 993] {
            let mut bytes = Vec::new();
            record(&mut bytes, "path", &"x".repeat(length));
            let said: usize = std::str::from_utf8(&bytes).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, bytes.len(), "value of {length}");
        }
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "123").unwrap();
        for size in [2, 4] {
            let mut tree = LayerTree::new();
            let content = Content::File { path: file.clone(), size };
            tree.insert(TreePath::new("x").unwrap(), Entry::file(content, 0o644, &"app".into())).unwrap();
            let error = archive(&tree).unwrap_err();
            assert!(error.to_string().contains("the content of `/x` (app) changed"), "{error}");
        }
    }
}
