//! One layer, read once from its first to its last byte.

use std::io::Write;

use super::content::{self, Content};
use super::subject::Fact;
use super::tape::{End, Stop, Tape};
use crate::error::{Class, Result};
use crate::fs::{Mapped, Temporary, failed};
use crate::image::LayerListing;
use crate::layer::read::{Member, MemberKind, Members};
use crate::layer::{BlobSource, LayerBlob, Store};
use crate::oci::media_type::Compression;
use crate::progress::Progress;

/// Files up to this size are looked at in memory, in bytes; larger ones in a temporary file.
const MEMORY_LIMIT: u64 = 32 << 20;
/// The most entries of one layer that are told as refused.
const REFUSED_LIMIT: usize = 100;
/// How much of all files of one layer is kept for rules to read, in bytes.
const TEXT_TOTAL: u64 = 128 << 20;
/// How many secrets of one layer are told.
const SECRETS_TOTAL: usize = 2000;

/// What may still be kept of a layer's files.
struct Room {
    text: u64,
    secrets: usize,
}

/// Something that is wrong with a layer as a whole, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The rule's id.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
}

/// A layer as it was read.
pub struct Layer {
    /// What the image says of it.
    pub blob: LayerBlob,
    /// Its entries, in their order, as far as it could be read.
    pub facts: Vec<Fact>,
    /// What is wrong with it as a whole.
    pub flaws: Vec<Flaw>,
    /// Entries that must not be unpacked, and why.
    pub refused: Vec<String>,
    /// How many gzip members or zstd frames it is packed in.
    pub pieces: u64,
    /// Whether its tar ends without its two blocks of zeros.
    pub unmarked: bool,
}

impl Layer {
    /// The entry with so many before it.
    pub fn fact(&self, ordinal: u64) -> Option<&Fact> {
        // Refused entries are not among the facts.
        let ordinal_of = |fact: &Fact| fact.member.ordinal;
        self.facts.get(self.facts.binary_search_by_key(&ordinal, ordinal_of).ok()?)
    }

    fn flaw(&mut self, rule: &'static str, message: impl Into<String>) {
        self.flaws.push(Flaw { rule, message: message.into() });
    }
}

/// What all layers are read with.
pub(super) struct Reading<'a> {
    pub blobs: &'a dyn BlobSource,
    pub store: &'a Store,
    pub progress: &'a Progress,
}

/// Reads a layer; its diffID is compared if the configuration has one for it. A damaged layer is no error of this
/// function; one that cannot be got is.
pub(super) fn read(blob: &LayerBlob, has_diff_id: bool, reading: &Reading<'_>) -> Result<(Layer, LayerListing)> {
    let (facts, flaws, refused) = Default::default();
    let mut layer = Layer { blob: blob.clone(), facts, flaws, refused, pieces: 1, unmarked: false };
    let mut listing = LayerListing::new(&blob.descriptor.digest);
    match Tape::open(&blob.descriptor, reading.blobs) {
        Ok(tape) => read_tape(&mut layer, &mut listing, tape, has_diff_id, reading)?,
        Err(error) if is_foreign(blob) => layer.flaw("layer-foreign", told(&error)),
        Err(error) if is_missing(&error) => layer.flaw("layer-missing", told(&error)),
        Err(error) if error.class() == Class::Verification => layer.flaw("layer-digest", told(&error)),
        Err(error) => return Err(error),
    }
    Ok((layer, listing))
}

/// Layers that may not be passed on, and are left out of copies.
fn is_foreign(blob: &LayerBlob) -> bool {
    let kind = &blob.descriptor.media_type;
    kind.contains(".nondistributable") || kind.contains(".foreign")
}

fn is_missing(error: &crate::error::Error) -> bool {
    matches!(error.cause().downcast_ref(), Some(crate::image::Error::BlobMissing { .. }))
}

pub(super) fn told(error: &crate::error::Error) -> String {
    error.chain().pop().unwrap_or_default()
}

fn read_tape(
    layer: &mut Layer,
    listing: &mut LayerListing,
    tape: Tape,
    has_diff_id: bool,
    reading: &Reading<'_>,
) -> Result<()> {
    let task = reading.progress.task(&format!("reading {}", layer.blob.name), layer.blob.uncompressed_size);
    compare_compression(layer, tape.compression());
    let mut members = Members::new(tape);
    let stopped = match read_members(layer, listing, &mut members, reading, &mut |count| task.advance(count)) {
        Ok(()) => None,
        Err(Stop::Damaged(reason)) => Some(reason),
        Err(Stop::Limit(reason)) => {
            layer.flaw("layer-limit", format!("it was not read to its end: {reason}"));
            return Ok(());
        }
        Err(Stop::Failed(error)) => return Err(error),
    };
    match members.into_source().finish() {
        Ok(end) => conclude(layer, end, stopped, has_diff_id),
        Err(Stop::Damaged(reason)) => layer.flaw("layer-damaged", stopped.unwrap_or(reason)),
        Err(Stop::Limit(reason)) => layer.flaw("layer-limit", format!("it was not read to its end: {reason}")),
        Err(Stop::Failed(error)) => return Err(error),
    }
    task.finish("read");
    Ok(())
}

fn compare_compression(layer: &mut Layer, found: Compression) {
    let name = |compression| match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    if let Ok(said) = Compression::of_layer(&layer.blob.descriptor.media_type)
        && said != found
    {
        let message = format!("its media type says {}, but its bytes are {}", name(said), name(found));
        layer.flaw("layer-compression", message);
    }
}

/// What the end of a layer says of it. Of a blob that is another one, nothing else is told.
fn conclude(layer: &mut Layer, end: End, stopped: Option<String>, has_diff_id: bool) {
    layer.blob.uncompressed_size = Some(end.uncompressed_size);
    (layer.pieces, layer.unmarked) = (end.pieces, end.unmarked);
    let expected = &layer.blob.descriptor;
    if let Some(found) = end.other {
        let message = format!("expected {} of {} bytes, found {found}", expected.digest, expected.size);
        return layer.flaw("layer-digest", message);
    }
    if let Some(reason) = stopped {
        layer.flaw("layer-damaged", reason);
    }
    if end.trailing > 0 {
        layer.flaw("layer-trailing", format!("{} bytes follow its compressed stream", end.trailing));
    }
    if has_diff_id && end.diff_id != layer.blob.diff_id {
        let message = format!("the configuration says {}, but its tar is {}", layer.blob.diff_id, end.diff_id);
        layer.flaw("layer-diff-id", message);
    }
}

fn read_members(
    layer: &mut Layer,
    listing: &mut LayerListing,
    members: &mut Members<Tape>,
    reading: &Reading<'_>,
    advance: &mut dyn FnMut(u64),
) -> Result<(), Stop> {
    let mut room = Room { text: TEXT_TOTAL, secrets: SECRETS_TOTAL };
    while let Some(entry) = members.next_entry()? {
        let member = match entry {
            Ok(member) => member,
            Err(reason) => {
                if layer.refused.len() < REFUSED_LIMIT {
                    layer.refused.push(reason);
                }
                continue;
            }
        };
        advance(member.size);
        let content = if member.kind == MemberKind::File && member.size > MEMORY_LIMIT {
            let (_file, body) = spooled(members, reading.store)?;
            take(layer, &member, &body, listing)
        } else {
            let body = members.read_body(MEMORY_LIMIT)?;
            take(layer, &member, &body, listing)
        };
        let content = bounded(content, &mut room);
        layer.facts.push(Fact { member, content });
    }
    Ok(())
}

/// Forgets a file's text, or its secrets, when there is too much of all of them.
fn bounded(mut content: Content, room: &mut Room) -> Content {
    content.secrets.truncate(room.secrets);
    room.secrets -= content.secrets.len();
    let length = content.text.as_ref().map_or(0, |text| text.len() as u64);
    match room.text.checked_sub(length) {
        Some(left) => room.text = left,
        None => content.text = None,
    }
    content
}

/// Lists a member, and looks at its content.
fn take(layer: &mut Layer, member: &Member, body: &[u8], listing: &mut LayerListing) -> Content {
    if let Err(error) = listing.take(member, body) {
        layer.refused.truncate(REFUSED_LIMIT);
        layer.refused.push(told(&error));
    }
    match &member.path {
        Some(path) if member.kind == MemberKind::File => content::look(path, member, body),
        _ => Content::default(),
    }
}

/// The present body in a temporary file of the store's.
fn spooled(members: &mut Members<Tape>, store: &Store) -> Result<(Temporary, Mapped), Stop> {
    let mut file = store.temporary_file().map_err(Stop::Failed)?;
    let path = file.path().to_path_buf();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = members.read_part(&mut buffer)?;
        if count == 0 {
            break;
        }
        let written = file.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed("write", &path));
        written.map_err(|error| Stop::Failed(error.into()))?;
    }
    let body = Mapped::open(&path).map_err(|error| Stop::Failed(error.into()))?;
    Ok((file, body))
}
