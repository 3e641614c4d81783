//! Packages files: fetched, verified, reduced to what resolving needs, and read without parsing them.
//!
//! The reduced text of an index is kept in the store under the digest of the compressed file, with its own digest
//! before it. A warm run maps it, hashes it, and hops from paragraph to paragraph: no xz, no scan of lines.
//!
//! ```text
//! ingot-packages 1 DIGEST-OF-THE-REST
//! #LENGTH                     the length of this paragraph, from the next line to the empty one
//! Package: NAME
//! Architecture: ARCH
//! Provides: ...               empty if there is none
//! Version: ...                and what else is needed, each field on one line
//!
//! ```

use std::io::{Cursor, Read};
use std::sync::Arc;

use super::archive_error::ArchiveError;
use super::{Location, Package, Paragraph};
use crate::error::Result;
use crate::fs::Mapped;
use crate::layer::{Bucket, Store};
use crate::oci::Digest;
use crate::text::escape;

/// The largest Packages file, in bytes.
const PLAIN_LIMIT: u64 = 1 << 30;
/// The largest compressed one.
pub(super) const PACKED_LIMIT: u64 = 256 << 20;
/// How many times larger than the compressed file the plain one may be, where its size was not signed.
const RATIO_LIMIT: u64 = 200;
/// What is always allowed, in bytes.
const RATIO_FLOOR: u64 = 1 << 20;
/// How much memory unpacking may need, in bytes.
const MEMORY_LIMIT: u64 = 256 << 20;
/// The first line, up to the digest.
const MAGIC: &str = "ingot-packages 1 ";
/// The fields that are kept after the first three, in this order.
const FIELDS: [&str; 16] = [
    "Version",
    "Source",
    "Multi-Arch",
    "Essential",
    "Priority",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Installed-Size",
    "Filename",
    "Size",
    "SHA256",
    "Protected",
];

/// How a Packages file is compressed, the preferred way first.
pub(super) const PACKINGS: [(&str, Packing); 4] =
    [(".xz", Packing::Xz), (".zst", Packing::Zstd), (".gz", Packing::Gzip), ("", Packing::None)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Xz,
    Zstd,
    Gzip,
    None,
}

/// A Packages file in memory.
pub(super) struct Index {
    text: Text,
    /// Sorted by name, then as they stand in the file.
    packages: Vec<Span>,
    /// Name that is provided, and the package that does; sorted.
    provided: Vec<(Span, Span)>,
}

enum Text {
    Mapped(Mapped),
    Loaded(Vec<u8>),
}

/// A part of the text: of `packages` the paragraph, whose name is found by its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: u32,
    end: u32,
}

/// A paragraph of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(Span);

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Text::Mapped(mapped) => mapped,
            Text::Loaded(bytes) => bytes,
        }
    }
}

impl Index {
    /// The packages for one architecture and for all of an index whose compressed file is in the store.
    pub(super) fn open(store: &Store, packed: &Packed<'_>, architecture: &str) -> Result<Index> {
        let name = packed.digest.hex();
        let path = store.entry_path(Bucket::Packages, &name);
        // What is damaged is made anew.
        if let Ok(mapped) = Mapped::open(&path)
            && let Some(index) = Index::of(Text::Mapped(mapped), architecture)
        {
            return Ok(index);
        }
        let reduced = reduce(&packed.unpack(store)?).map_err(|reason| packed.malformed(reason))?;
        store.put_entry(Bucket::Packages, &name, &reduced)?;
        Index::of(Text::Loaded(reduced), architecture).ok_or_else(|| packed.malformed("it is too large".into()).into())
    }

    /// Reads a reduced text; `None` if it is not sound.
    fn of(text: Text, architecture: &str) -> Option<Index> {
        let bytes = text.bytes();
        u32::try_from(bytes.len()).ok()?;
        let rest = bytes.strip_prefix(MAGIC.as_bytes())?;
        let (digest, rest) = rest.split_at_checked(64)?;
        let body = rest.strip_prefix(b"\n")?;
        if Digest::of(body).hex().as_bytes() != digest {
            return None;
        }
        let mut at = bytes.len() - body.len();
        let (mut packages, mut provided) = (Vec::new(), Vec::new());
        while at < bytes.len() {
            let (length, start) = header(bytes, at)?;
            let end = start.checked_add(length)?;
            let paragraph = bytes.get(start..end)?;
            at = end + 1;
            let (_, rest) = line(paragraph, b"Package: ")?;
            let (its, rest) = line(rest, b"Architecture: ")?;
            if its != architecture.as_bytes() && its != b"all" {
                continue;
            }
            let span = Span { start: start as u32, end: end as u32 };
            packages.push(span);
            let (names, _) = line(rest, b"Provides: ")?;
            if !names.is_empty() {
                let names_at = end - rest.len() + b"Provides: ".len();
                provided.extend(provides(names, names_at).map(|name| (name, span)));
            }
        }
        packages.sort_by(|a, b| name_of(bytes, *a).cmp(name_of(bytes, *b)).then(a.start.cmp(&b.start)));
        provided.sort_by(|a, b| slice(bytes, a.0).cmp(slice(bytes, b.0)).then(a.1.start.cmp(&b.1.start)));
        provided.dedup_by(|a, b| a.1 == b.1 && slice(bytes, a.0) == slice(bytes, b.0));
        Some(Index { text, packages, provided })
    }

    /// The paragraphs of a package.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = At> + 'a {
        let bytes = self.text.bytes();
        let first = self.packages.partition_point(|span| name_of(bytes, *span) < name.as_bytes());
        let rest = self.packages.get(first..).unwrap_or_default();
        rest.iter().take_while(move |span| name_of(bytes, **span) == name.as_bytes()).map(|span| At(*span))
    }

    /// How many packages it has.
    pub(super) fn len(&self) -> usize {
        self.packages.len()
    }

    /// The paragraphs of packages that provide a name.
    pub(super) fn providing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = At> + 'a {
        let bytes = self.text.bytes();
        let first = self.provided.partition_point(|(span, _)| slice(bytes, *span) < name.as_bytes());
        let rest = self.provided.get(first..).unwrap_or_default();
        rest.iter().take_while(move |(span, _)| slice(bytes, *span) == name.as_bytes()).map(|(_, span)| At(*span))
    }

    /// All names, sorted; a name may be there more than once.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let bytes = self.text.bytes();
        self.packages.iter().filter_map(move |span| std::str::from_utf8(name_of(bytes, *span)).ok())
    }

    /// Parses a paragraph.
    pub(super) fn package(&self, at: At, archive: &Arc<str>) -> Result<Package, super::Error> {
        let text = slice(self.text.bytes(), at.0);
        let paragraph = Paragraph::parse(&String::from_utf8_lossy(text));
        let mut package = Package::parse(&paragraph)?;
        let missing = |field| super::Error::Field { package: package.name.clone(), field };
        let path = paragraph.get("Filename").ok_or_else(|| missing("Filename"))?.to_string();
        let size = paragraph.get("Size").and_then(|size| size.parse().ok()).ok_or_else(|| missing("Size"))?;
        let digest = paragraph.get("SHA256").and_then(|text| Digest::from_hex(text).ok());
        let sha256 = digest.ok_or_else(|| missing("SHA256"))?;
        package.location = Some(Location { archive: archive.clone(), path, size, sha256 });
        Ok(package)
    }
}

/// `#LENGTH` and a line feed; returns the length and where the paragraph begins.
fn header(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(b"#")?;
    let digits = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let length = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
    (rest.get(digits) == Some(&b'\n')).then_some((length, at + digits + 2))
}

/// The value of the field that a text begins with, and the text after its line.
fn line<'a>(text: &'a [u8], field: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let rest = text.strip_prefix(field)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
}

fn name_of(bytes: &[u8], span: Span) -> &[u8] {
    line(slice(bytes, span), b"Package: ").map(|(name, _)| name).unwrap_or_default()
}

/// The names in a `Provides` that begins at `at`.
fn provides(text: &[u8], at: usize) -> impl Iterator<Item = Span> {
    let mut next = at;
    text.split(|byte| *byte == b',').map(move |part| {
        let begin = next + part.iter().take_while(|byte| **byte == b' ').count();
        let name = part.trim_ascii_start();
        let length = name.iter().take_while(|byte| !b" (:[<".contains(byte)).count();
        next += part.len() + 1;
        Span { start: begin as u32, end: (begin + length) as u32 }
    })
}

/// A compressed Packages file in the store.
pub(super) struct Packed<'a> {
    /// For messages.
    pub url: &'a str,
    pub digest: Digest,
    pub size: u64,
    pub packing: Packing,
    /// What the plain text must be, if that was signed.
    pub plain: Option<(u64, Digest)>,
}

impl Packed<'_> {
    fn malformed(&self, reason: String) -> ArchiveError {
        ArchiveError::Malformed { url: self.url.to_string(), reason }
    }

    /// The plain text, verified.
    fn unpack(&self, store: &Store) -> Result<Vec<u8>> {
        let packed = store.read(&self.digest, PACKED_LIMIT)?;
        let limit = match self.plain {
            Some((size, _)) => size,
            None => (self.size.saturating_mul(RATIO_LIMIT)).max(RATIO_FLOOR),
        };
        let limit = limit.min(PLAIN_LIMIT);
        let url = || self.url.to_string();
        let failed = |source| ArchiveError::Unpack { url: url(), source };
        let mut text = Vec::new();
        // Grows as bytes come: what is said of the size is not believed before.
        self.reader(packed).map_err(failed)?.take(limit + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > limit {
            return Err(ArchiveError::TooLarge { url: url(), limit }.into());
        }
        if let Some((size, digest)) = self.plain {
            let found = Digest::of(&text);
            if text.len() as u64 != size || found != digest {
                let (expected, found) = (digest.to_string(), found.to_string());
                return Err(ArchiveError::Mismatch { url: url(), expected, found }.into());
            }
        }
        Ok(text)
    }

    fn reader(&self, packed: Vec<u8>) -> std::io::Result<Box<dyn Read>> {
        let packed = Cursor::new(packed);
        Ok(match self.packing {
            Packing::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY_LIMIT, flags)?;
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
            }
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Packing::None => Box::new(packed),
        })
    }
}

/// The reduced form of a Packages file. A package without a hash, a size or a file name is left out: nothing could
/// ever be installed from it.
fn reduce(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(text);
    let mut body = Vec::with_capacity(text.len() / 2);
    let mut fields: [Option<&str>; FIELDS.len() + 3] = [None; FIELDS.len() + 3];
    for paragraph in super::paragraphs(&text) {
        fields.fill(None);
        collect(paragraph, &mut fields);
        write(&fields, &mut body)?;
    }
    let mut reduced = format!("{MAGIC}{}\n", Digest::of(&body).hex()).into_bytes();
    reduced.append(&mut body);
    Ok(reduced)
}

fn place(name: &str) -> Option<usize> {
    let first = ["Package", "Architecture", "Provides"].into_iter().chain(FIELDS);
    first.into_iter().position(|known| known.len() == name.len() && known.eq_ignore_ascii_case(name))
}

/// The values of the fields that are kept, with their further lines.
fn collect<'a>(paragraph: &'a str, fields: &mut [Option<&'a str>]) {
    let mut begin = 0;
    let mut at = 0;
    let mut current: Option<usize> = None;
    for line in paragraph.split_inclusive('\n') {
        if !line.starts_with([' ', '\t']) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            // Of two fields with one name the first counts.
            current = place(name).filter(|place| fields.get(*place).is_some_and(Option::is_none));
            begin = at + line.len() - value.len();
        }
        at += line.len();
        if let Some(place) = current
            && let Some(field) = fields.get_mut(place)
        {
            *field = paragraph.get(begin..at);
        }
    }
}

fn write(fields: &[Option<&str>], body: &mut Vec<u8>) -> Result<(), String> {
    let value = |name: &str| place(name).and_then(|at| fields.get(at).copied().flatten()).map_or("", str::trim);
    let name = value("Package");
    let path = value("Filename").trim_start_matches("./");
    if name.is_empty() || path.is_empty() || value("Size").is_empty() || value("SHA256").is_empty() {
        return Ok(());
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains(char::is_control) {
        return Err(format!("the file of package `{}` is not below the archive", shown(name)));
    }
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        text.push_str(name);
        text.push_str(": ");
        let mut lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
        text.push_str(lines.next().unwrap_or_default());
        lines.for_each(|line| {
            text.push(' ');
            text.push_str(line);
        });
        text.push('\n');
    };
    put("Package", name);
    put("Architecture", value("Architecture"));
    put("Provides", value("Provides"));
    for field in FIELDS {
        let value = if field == "Filename" { path } else { value(field) };
        if !value.is_empty() {
            put(field, value);
        }
    }
    body.extend_from_slice(format!("#{}\n", text.len()).as_bytes());
    body.extend_from_slice(text.as_bytes());
    body.push(b'\n');
    Ok(())
}

fn shown(name: &str) -> String {
    escape(&name.chars().take(60).collect::<String>())
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
