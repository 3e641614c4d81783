//! Packages files: fetched, verified, reduced to what resolving needs, and read without parsing them.
//!
//! The reduced text of an index for one architecture is kept in the store under the digest of the compressed file, with
//! tables of where names are, and its own digest before all. A warm run maps it and hashes it, and that is all: no xz,
//! no scan, no table in memory.
//!
//! ```text
//! ingot-packages 1 DIGEST-OF-THE-REST
//! LENGTH-OF-TEXT PACKAGES PROVIDED
//! Package: NAME               the text: paragraphs of the fields that are needed, each on one line
//! ...
//!
//! paragraph's start and end                            per package, sorted by name: u32, little-endian
//! start and end of the name, paragraph's start and end per name that is provided, sorted
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
/// The length of the first two lines.
const HEAD: usize = MAGIC.len() + 64 + 1 + 33;
/// The fields that are kept, in this order.
const FIELDS: [&str; 18] = [
    "Package",
    "Architecture",
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
    "Provides",
    "Installed-Size",
    "Filename",
    "Size",
    "SHA256",
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

/// A Packages file, ready to be asked.
pub(super) struct Index {
    bytes: Text,
    /// Where the text begins.
    text: usize,
    packages: Table<2>,
    provided: Table<4>,
}

/// Rows of numbers, by where they begin.
#[derive(Clone, Copy)]
struct Table<const WIDTH: usize> {
    start: usize,
    rows: usize,
}

enum Text {
    Mapped(Mapped),
    Loaded(Vec<u8>),
}

/// A part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: u32,
    end: u32,
}

/// A paragraph of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(Span);

impl<const WIDTH: usize> Table<WIDTH> {
    fn row(&self, bytes: &[u8], row: usize) -> [u32; WIDTH] {
        let mut numbers = [0; WIDTH];
        let start = self.start + row * WIDTH * 4;
        for (number, at) in numbers.iter_mut().zip((start..).step_by(4)) {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
            *number = bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        }
        numbers
    }

    /// The rows whose name this is, of rows that are sorted by it.
    fn find<'a>(
        self,
        bytes: &'a [u8],
        wanted: &'a [u8],
        name: impl Fn([u32; WIDTH]) -> &'a [u8] + 'a,
    ) -> impl Iterator<Item = [u32; WIDTH]> + 'a {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            match name(self.row(bytes, middle)) < wanted {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        (low..self.rows).map(move |row| self.row(bytes, row)).take_while(move |row| name(*row) == wanted)
    }
}

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
        let name = format!("{}-{architecture}", packed.digest.hex());
        let path = store.entry_path(Bucket::Packages, &name);
        // What is damaged is made anew.
        if let Ok(mapped) = Mapped::open(&path)
            && let Some(index) = Index::of(Text::Mapped(mapped))
        {
            return Ok(index);
        }
        let reduced = reduce(&packed.unpack(store)?, architecture).map_err(|reason| packed.malformed(reason))?;
        store.put_entry(Bucket::Packages, &name, &reduced)?;
        Index::of(Text::Loaded(reduced)).ok_or_else(|| packed.malformed("it is too large".into()).into())
    }

    /// Reads a reduced text; `None` if it is not sound.
    fn of(bytes: Text) -> Option<Index> {
        let all = bytes.bytes();
        let (digest, body) = all.strip_prefix(MAGIC.as_bytes())?.split_at_checked(64)?;
        let body = body.strip_prefix(b"\n")?;
        if Digest::of(body).hex().as_bytes() != digest {
            return None;
        }
        let end = body.iter().take(64).position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(body.get(..end)?).ok()?;
        let mut numbers = head.split(' ').map(|number| number.parse::<u32>().ok().map(|number| number as usize));
        let (length, packages, provided) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let text = all.len() - body.len() + end + 1;
        let packages = Table { start: text.checked_add(length)?, rows: packages };
        let provided = Table { start: packages.start.checked_add(packages.rows.checked_mul(8)?)?, rows: provided };
        let whole = provided.start.checked_add(provided.rows.checked_mul(16)?)? == all.len();
        whole.then_some(Index { bytes, text, packages, provided })
    }

    fn text(&self) -> &[u8] {
        self.bytes.bytes().get(self.text..self.packages.start).unwrap_or_default()
    }

    /// The paragraphs of a package.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = At> + 'a {
        let text = self.text();
        let rows = self.packages.find(self.bytes.bytes(), name.as_bytes(), |row| name_of(text, of_package(row)));
        rows.map(|row| At(of_package(row)))
    }

    /// The paragraphs of packages that provide a name.
    pub(super) fn providing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = At> + 'a {
        let text = self.text();
        let name_of = |[start, end, ..]: [u32; 4]| slice(text, Span { start, end });
        let rows = self.provided.find(self.bytes.bytes(), name.as_bytes(), name_of);
        rows.map(|[_, _, start, end]| At(Span { start, end }))
    }

    /// How many packages it has.
    pub(super) fn len(&self) -> usize {
        self.packages.rows
    }

    /// All names, sorted; a name may be there more than once.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let text = self.text();
        let rows = (0..self.packages.rows).map(|row| self.packages.row(self.bytes.bytes(), row));
        rows.filter_map(move |row| std::str::from_utf8(name_of(text, of_package(row))).ok())
    }

    /// Parses a paragraph.
    pub(super) fn package(&self, at: At, archive: &Arc<str>) -> Result<Package, super::Error> {
        let text = slice(self.text(), at.0);
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

fn of_package([start, end]: [u32; 2]) -> Span {
    Span { start, end }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
}

/// The name stands first.
fn name_of(text: &[u8], paragraph: Span) -> &[u8] {
    let line = slice(text, paragraph).strip_prefix(b"Package: ").unwrap_or_default();
    line.split(|byte| *byte == b'\n').next().unwrap_or_default()
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

/// The reduced form of a Packages file for one architecture and for all. A package without a hash, a size or a file
/// name is left out: nothing could ever be installed from it.
fn reduce(plain: &[u8], architecture: &str) -> Result<Vec<u8>, String> {
    let plain = String::from_utf8_lossy(plain);
    // Room for the head, then the text: indexes are large, so there is only one copy of the result.
    let mut reduced: Vec<u8> = Vec::with_capacity(plain.len() / 2);
    reduced.resize(HEAD, b' ');
    let (mut packages, mut provided) = (Vec::new(), Vec::new());
    let mut fields: [Option<&str>; FIELDS.len()] = [None; FIELDS.len()];
    for paragraph in super::paragraphs(&plain) {
        fields.fill(None);
        collect(paragraph, &mut fields);
        let start = reduced.len() - HEAD;
        let names = match write(&fields, architecture, &mut reduced)? {
            Some(names) => names,
            None => continue,
        };
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(reduced.len() - HEAD)) else {
            return Err("it is too large".into());
        };
        packages.push(Span { start, end });
        provided.extend(names.map(|name| (name, Span { start, end })));
        reduced.push(b'\n');
    }
    let text = reduced.get(HEAD..).unwrap_or_default();
    packages.sort_by(|a, b| name_of(text, *a).cmp(name_of(text, *b)).then(a.start.cmp(&b.start)));
    provided.sort_by(|a, b| slice(text, a.0).cmp(slice(text, b.0)).then(a.1.start.cmp(&b.1.start)));
    provided.dedup_by(|a, b| a.1 == b.1 && slice(text, a.0) == slice(text, b.0));
    let numbers = format!("{:010} {:010} {:010}\n", text.len(), packages.len(), provided.len());
    let rows = packages.into_iter().chain(provided.into_iter().flat_map(|(name, package)| [name, package]));
    for Span { start, end } in rows {
        reduced.extend_from_slice(&start.to_le_bytes());
        reduced.extend_from_slice(&end.to_le_bytes());
    }
    fill(&mut reduced, HEAD - numbers.len(), &numbers);
    let digest = Digest::of(reduced.get(HEAD - numbers.len()..).unwrap_or_default());
    fill(&mut reduced, 0, &format!("{MAGIC}{}\n", digest.hex()));
    Ok(reduced)
}

/// Writes a text over what is at a place.
fn fill(bytes: &mut [u8], at: usize, text: &str) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(text.bytes()) {
        *place = byte;
    }
}

fn place(name: &str) -> Option<usize> {
    FIELDS.iter().position(|known| known.len() == name.len() && known.eq_ignore_ascii_case(name))
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

/// Writes a paragraph to a text after its head, unless it is for another architecture or cannot be installed; returns where the names are that
/// it provides.
fn write(
    fields: &[Option<&str>],
    architecture: &str,
    text: &mut Vec<u8>,
) -> Result<Option<impl Iterator<Item = Span> + use<>>, String> {
    let value = |name: &str| place(name).and_then(|at| fields.get(at).copied().flatten()).map_or("", str::trim);
    let (name, its) = (value("Package"), value("Architecture"));
    let path = value("Filename").trim_start_matches("./");
    if [name, path, value("Size"), value("SHA256")].contains(&"") || (its != architecture && its != "all") {
        return Ok(None);
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains(char::is_control) {
        return Err(format!("the file of package `{}` is not below the archive", shown(name)));
    }
    let mut names = 0..0;
    for field in FIELDS {
        let value = if field == "Filename" { path } else { value(field) };
        if value.is_empty() {
            continue;
        }
        text.extend_from_slice(field.as_bytes());
        text.extend_from_slice(b": ");
        let start = text.len();
        for (number, line) in value.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            text.extend_from_slice(if number == 0 { b"" } else { b" " });
            text.extend_from_slice(line.as_bytes());
        }
        if field == "Provides" {
            names = start..text.len();
        }
        text.push(b'\n');
    }
    let provided: Vec<Span> =
        provides(text.get(names.clone()).unwrap_or_default(), names.start.saturating_sub(HEAD)).collect();
    Ok(Some(provided.into_iter()))
}

/// The names in a `Provides` that begins at `at`.
fn provides(text: &[u8], at: usize) -> impl Iterator<Item = Span> {
    let mut next = at;
    let names = text.split(|byte| *byte == b',').map(move |part| {
        let start = next + part.iter().take_while(|byte| **byte == b' ').count();
        let name = part.trim_ascii_start();
        let length = name.iter().take_while(|byte| !b" (:[<".contains(byte)).count();
        next += part.len() + 1;
        Span { start: start as u32, end: (start + length) as u32 }
    });
    names.filter(|name| name.start < name.end)
}

fn shown(name: &str) -> String {
    escape(&name.chars().take(60).collect::<String>())
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
