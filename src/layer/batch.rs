//! A batch: consecutive segments of a layer that one thread makes in one go.
//!
//! Cutting a layer into batches decides no byte: segments depend on nothing but themselves, and a literal run is
//! never cut because a batch ends.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::encode::RUN;
use super::inflate::{self, Page, Sink};
use super::run::Tools;
use super::splice::{self, Joint};
use super::{Entry, Error, Packed, TreePath, tar};

/// A batch is given to whoever makes it when it has so many bytes, unpacked. It fits a page.
const ENOUGH: u64 = 192 << 10;
/// Packed bytes of one member that may be in memory before they are let go.
const RELEASE: usize = 4 << 20;

/// A packed file and whose it is, for messages.
#[derive(Clone)]
pub(super) struct Owned {
    pub packed: Packed,
    path: TreePath,
    input: Arc<str>,
}

impl Owned {
    pub fn new(packed: &Packed, path: &TreePath, entry: &Entry) -> Self {
        Owned { packed: packed.clone(), path: path.clone(), input: entry.input.clone() }
    }

    /// The error for content that is not what its archive promises.
    pub fn refuse(&self, reason: String) -> io::Error {
        refused(&self.path, &self.input, reason)
    }
}

/// [`Error::Content`] on its way through a writer.
pub(super) fn refused(path: &TreePath, input: &str, reason: String) -> io::Error {
    let error = Error::Content { path: path.to_string(), input: input.to_string(), reason };
    io::Error::new(io::ErrorKind::InvalidData, error)
}

enum Part {
    /// A literal run: this part of the text.
    Run(Range<usize>),
    /// A stream that is copied.
    Member(Owned),
}

/// Segments that are not made yet.
#[derive(Default)]
pub(super) struct Batch {
    /// The bytes of all literal runs, one after another.
    text: Vec<u8>,
    /// Members that are too small to be spliced, and where in the text they belong.
    holes: Vec<(Range<usize>, Owned)>,
    parts: Vec<Part>,
    size: u64,
}

impl Batch {
    /// Whether it should be made before a member is added.
    pub fn is_enough(&self) -> bool {
        self.size >= ENOUGH
    }

    /// Whether it should be made before literal bytes are added: a run is never cut because a batch is.
    pub fn is_enough_for_run(&self) -> bool {
        self.is_enough() && !self.in_run()
    }

    /// Whether it ends with a run that has room.
    fn in_run(&self) -> bool {
        matches!(self.parts.last(), Some(Part::Run(run)) if run.len() < RUN)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The bytes of its literal runs.
    pub fn text(&self) -> usize {
        self.text.len()
    }

    /// Goes on with, or begins, a literal run; returns how many of `count` bytes still belong to it.
    fn run(&mut self, count: usize) -> usize {
        if !self.in_run() {
            self.parts.push(Part::Run(self.text.len()..self.text.len()));
        }
        let Some(Part::Run(run)) = self.parts.last_mut() else { return 0 };
        let count = count.min(RUN - run.len());
        run.end += count;
        self.size += count as u64;
        count
    }

    /// Appends literal bytes, to the end of a run at most; returns how many.
    pub fn literal(&mut self, bytes: &[u8]) -> usize {
        let count = self.run(bytes.len());
        self.text.extend_from_slice(&bytes[..count]);
        count
    }

    /// Appends the unpacked bytes of a small member to the literal ones.
    pub fn small(&mut self, member: Owned) {
        let size = usize::try_from(member.packed.size).unwrap_or(usize::MAX);
        let hole = self.text.len()..self.text.len() + size;
        let mut left = size;
        while left > 0 {
            let count = self.run(left);
            self.text.resize(self.text.len() + count, 0);
            left -= count;
        }
        self.holes.push((hole, member));
    }

    /// Appends a member whose stream is copied.
    pub fn splice(&mut self, member: Owned) {
        self.size += member.packed.size;
        self.parts.push(Part::Member(member));
    }

    /// Makes the segments. Their plain bytes are given to `emit` as soon as a page is full.
    pub fn make(mut self, tools: &mut Tools, emit: &mut dyn FnMut(Plain)) -> io::Result<Made> {
        for (hole, member) in &self.holes {
            fill(&mut self.text[hole.clone()], member, tools)?;
        }
        let mut out = Out { text: Arc::new(self.text), order: Vec::new(), emit, released: 0, member: None };
        let mut made = Made { packed: Vec::new(), pieces: Vec::new(), crc: crc32fast::Hasher::new() };
        let mut page = Page::take();
        for part in self.parts {
            let (piece, crc) = match part {
                Part::Run(run) => {
                    let start = made.packed.len();
                    let (joint, crc) = tools.compress(&out.text[run.clone()], &mut made.packed)?;
                    out.order.push((Place::Text, run));
                    (Piece::Run(start..made.packed.len(), joint), crc)
                }
                Part::Member(member) => {
                    let (joint, crc) = out.member(&member, tools, &mut page)?;
                    (Piece::Member(member.packed, joint), crc)
                }
            };
            made.pieces.push(piece);
            made.crc.combine(&crc);
        }
        out.emit(page);
        Ok(made)
    }
}

/// Unpacks a small member into its place.
fn fill(hole: &mut [u8], member: &Owned, tools: &mut Tools) -> io::Result<()> {
    let mut at = 0;
    let mut copy = |bytes: &[u8]| {
        if let Some(place) = hole.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    tools.scratch.clear();
    let Tools { inflater, scratch, .. } = tools;
    decode(member, inflater, scratch, &mut copy).map(drop)
}

/// Inflates a member; its size and CRC-32 must be the promised ones.
fn decode(
    member: &Owned,
    inflater: &mut inflate::Inflater,
    page: &mut Page,
    sink: &mut dyn Sink,
) -> io::Result<(Joint, crc32fast::Hasher)> {
    let packed = &member.packed;
    let found = tar::packed_bytes(packed).and_then(|bytes| {
        let decoded = splice::decode(inflater, bytes, packed.size, page, sink)
            .map_err(|error| tar::Unpack::Damaged(error.to_string()))?;
        tar::check_member(packed, decoded.size, decoded.crc.clone().finalize())?;
        Ok((decoded.joint, decoded.crc))
    });
    found.map_err(|failure| match failure {
        tar::Unpack::Damaged(reason) => member.refuse(reason),
        tar::Unpack::Stream(error) => error,
    })
}

/// Where plain bytes stand.
enum Place {
    Text,
    Page,
}

/// Plain bytes of a batch, in the order of the tar. Its page goes back to the others when it is dropped.
pub(super) struct Plain {
    text: Arc<Vec<u8>>,
    /// There until it is dropped.
    page: Option<Page>,
    order: Vec<(Place, Range<usize>)>,
}

impl Plain {
    /// What one weighs in memory.
    pub const WEIGHT: usize = inflate::FULL;

    /// Its pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.order.iter().map(|(place, range)| match place {
            Place::Text => &self.text[range.clone()],
            Place::Page => self.page.as_ref().and_then(|page| page.bytes().get(range.clone())).unwrap_or_default(),
        })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            page.give_back();
        }
    }
}

/// Collects the plain bytes of a batch while they are made.
struct Out<'a> {
    text: Arc<Vec<u8>>,
    order: Vec<(Place, Range<usize>)>,
    emit: &'a mut dyn FnMut(Plain),
    /// The member that is being inflated, and how many of its packed bytes were let go.
    member: Option<Packed>,
    released: usize,
}

impl Out<'_> {
    fn emit(&mut self, page: Page) {
        let order = std::mem::take(&mut self.order);
        (self.emit)(Plain { text: self.text.clone(), page: Some(page), order });
    }

    fn member(&mut self, member: &Owned, tools: &mut Tools, page: &mut Page) -> io::Result<(Joint, crc32fast::Hasher)> {
        let size = member.packed.size;
        // What fits a page gets one; what does not goes through several, each beginning with the end of the one before.
        if size > page.room() as u64 && size <= inflate::FULL as u64 {
            let full = std::mem::replace(page, Page::take());
            self.emit(full);
        }
        self.released = 0;
        self.member = (member.packed.length > RELEASE as u64).then(|| member.packed.clone());
        decode(member, &mut tools.inflater, page, self)
    }
}

impl Sink for Out<'_> {
    fn fresh(&mut self, _page: &Page, part: Range<usize>) {
        self.order.push((Place::Page, part));
    }

    fn turn(&mut self, page: &mut Page, consumed: usize) -> bool {
        let mut next = Page::take();
        next.follow(page);
        let full = std::mem::replace(page, next);
        self.emit(full);
        if let Some(packed) = &self.member
            && consumed - self.released >= RELEASE
        {
            let start = usize::try_from(packed.offset).unwrap_or(usize::MAX);
            packed.archive.release(start.saturating_add(self.released)..start.saturating_add(consumed));
            self.released = consumed;
        }
        true
    }
}

/// A segment as it stands in the layer.
pub(super) enum Piece {
    /// A part of the batch's packed bytes.
    Run(Range<usize>, Joint),
    /// A part of an archive.
    Member(Packed, Joint),
}

/// Segments that are made.
pub(super) struct Made {
    /// The streams of the literal runs.
    pub packed: Vec<u8>,
    pub pieces: Vec<Piece>,
    /// Of all plain bytes of the batch.
    pub crc: crc32fast::Hasher,
}

impl Made {
    /// What it keeps in memory until it is written: also the parts of archives that were read and are not let go.
    pub fn weight(&self) -> usize {
        let kept = |piece: &Piece| match piece {
            Piece::Run(..) => 0,
            Piece::Member(packed, _) => usize::try_from(packed.length).unwrap_or(RELEASE).min(RELEASE),
        };
        self.packed.len() + self.pieces.iter().map(kept).sum::<usize>()
    }
}

/// Pages that nobody uses now.
static PAGES: Mutex<Vec<Page>> = Mutex::new(Vec::new());
/// How many of them are kept.
const SPARE: usize = 32;

impl Page {
    /// An empty one.
    fn take() -> Page {
        let spare = PAGES.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_default()
    }

    fn give_back(mut self) {
        self.clear();
        let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() < SPARE {
            pages.push(self);
        }
    }
}
