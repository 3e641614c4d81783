//! For which GPUs a library has code: the headers of its fat binaries (section `.nv_fatbin`).
//!
//! NVIDIA does not document the format; its tools write it so, and many readers agree on it. A container:
//! magic (4 bytes), version (2), length of this header (2), length of what follows (8). In it, entries: kind (2; 1 is
//! PTX, 2 machine code), version (2), length of the entry's header (4), of its body (8), 8 bytes about compression,
//! version of the code (2 and 2), architecture (4: 80 for sm_80). Bodies may be compressed; headers never are.

use std::collections::BTreeSet;

use object::endian::Endianness;
use object::read::elf::{FileHeader, SectionHeader};

const SECTION: &[u8] = b".nv_fatbin";
const MAGIC: u32 = 0xBA55_ED50;
/// Of a container's header.
const CONTAINER: usize = 16;
/// Of an entry's header, as far as it is read.
const ENTRY: usize = 32;
/// The most containers and entries that are looked at. Seen: 9,000 in 600 MB.
const ENTRY_LIMIT: usize = 1 << 20;
/// No GPU has a greater number.
const ARCHITECTURE_LIMIT: u32 = 999;

/// For which GPUs a file has code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuda {
    /// Machine code: 80 for sm_80. It runs on GPUs of the same major number, from this minor number on.
    pub sass: BTreeSet<u32>,
    /// PTX: the driver compiles it for this architecture and all later ones.
    pub ptx: BTreeSet<u32>,
}

impl Cuda {
    /// Whether anything in it runs on a GPU of this architecture.
    pub fn runs_on(&self, architecture: u32) -> bool {
        let (major, minor) = (architecture / 10, architecture % 10);
        self.sass.iter().any(|own| own / 10 == major && own % 10 <= minor)
            || self.ptx.iter().any(|own| *own <= architecture)
    }

    /// Adds what another file has.
    pub fn extend(&mut self, other: &Cuda) {
        self.sass.extend(&other.sass);
        self.ptx.extend(&other.ptx);
    }

    /// "sm_80, sm_90, PTX of 90".
    pub fn told(&self) -> String {
        let sass = self.sass.iter().map(|number| format!("sm_{number}"));
        let ptx = self.ptx.iter().map(|number| format!("PTX of {number}"));
        sass.chain(ptx).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the headers; `None` for a file without code for GPUs.
pub(super) fn read<Header: FileHeader<Endian = Endianness>>(
    header: &Header,
    endian: Endianness,
    bytes: &[u8],
) -> Option<Cuda> {
    let sections = header.sections(endian, bytes).ok()?;
    let mut found = Cuda::default();
    let mut room = ENTRY_LIMIT;
    for section in sections.iter().filter(|section| sections.section_name(endian, section).ok() == Some(SECTION)) {
        let body = section.data(endian, bytes).unwrap_or_default();
        containers(body, &mut found, &mut room);
    }
    (found != Cuda::default()).then_some(found)
}

/// One container behind the other, with zeros between them.
fn containers(bytes: &[u8], found: &mut Cuda, room: &mut usize) {
    let mut at = 0;
    while *room > 0 && at < bytes.len() {
        *room -= 1;
        let Some(container) = bytes.get(at..) else { return };
        if word(container, 0) != Some(MAGIC) {
            // Containers begin at multiples of eight; what lies between them are zeros.
            let zeros = container.iter().take_while(|byte| **byte == 0).count() / 8 * 8;
            if zeros == 0 {
                return;
            }
            at += zeros;
            continue;
        }
        let Some(start) = half(container, 6).map(usize::from).filter(|start| *start >= CONTAINER) else { return };
        let Some(size) = long(container, 8) else { return };
        let end = start.saturating_add(size);
        entries(container.get(start..end.min(container.len())).unwrap_or_default(), found, room);
        at = at.saturating_add(end);
    }
}

fn entries(mut bytes: &[u8], found: &mut Cuda, room: &mut usize) {
    while *room > 0 {
        *room -= 1;
        let fields = || Some((half(bytes, 0)?, word(bytes, 4)?, long(bytes, 8)?, word(bytes, 28)?));
        let Some((kind, header, body, architecture)) = fields() else { return };
        let header = usize::try_from(header).unwrap_or(usize::MAX);
        if header < ENTRY || architecture == 0 || architecture > ARCHITECTURE_LIMIT {
            return;
        }
        match kind {
            1 => drop(found.ptx.insert(architecture)),
            2 => drop(found.sass.insert(architecture)),
            _ => {}
        }
        bytes = bytes.get(header.saturating_add(body)..).unwrap_or_default();
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}
