//! For which GPUs a library has code: the headers of its fat binaries (section `.nv_fatbin`).
//!
//! NVIDIA does not document the format; its tools write it so, and many readers agree on it. A container:
//! magic (4 bytes), version (2), length of this header (2), length of what follows (8). In it, entries: kind (2 bytes: 1 is
//! PTX, 2 machine code, 8 code that is linked on the host), version (2), length of the entry's header (4), of its body
//! (8), 8 bytes about compression,
//! version of the code (2 and 2), architecture (4: 80 for sm_80). Bodies may be compressed; headers never are.

use std::collections::BTreeSet;

use object::endian::Endianness;
use object::read::elf::FileHeader;

use crate::text;

const SECTION: &[u8] = b".nv_fatbin";
const MAGIC: u32 = 0xBA55_ED50;
/// Of a container's header.
const CONTAINER: usize = 16;
const MAGIC_LENGTH: usize = 4;
const VERSION: u16 = 1;
/// Of an entry's header, as far as it is read.
const ENTRY: usize = 32;
/// No entry has a longer header. Seen: 112 bytes.
const ENTRY_HEADER_LIMIT: usize = 4096;
/// The most containers and entries that are looked at. Seen: 24,000 in 300 MB (cuFFT).
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
    sections.iter().find(|section| sections.section_name(endian, section).ok() == Some(SECTION))?;
    let mut found = Cuda::default();
    // All of the file: large libraries have most of their containers in data that are no section of their own.
    containers(bytes, &mut found);
    (found != Cuda::default()).then_some(found)
}

fn containers(mut bytes: &[u8], found: &mut Cuda) {
    let mut room = ENTRY_LIMIT;
    while room > 0 {
        let Some(container) = text::find(bytes, &MAGIC.to_le_bytes()).and_then(|at| bytes.get(at..)) else { return };
        room -= 1;
        let size = long(container, 8).filter(|size| {
            half(container, 4) == Some(VERSION)
                && half(container, 6).map(usize::from) == Some(CONTAINER)
                && *size <= container.len() - CONTAINER
        });
        // What only looks like a container is passed over.
        let end = size.map_or(MAGIC_LENGTH, |size| CONTAINER + size);
        entries(container.get(CONTAINER..end).unwrap_or_default(), found, &mut room);
        bytes = container.get(end..).unwrap_or_default();
    }
}

fn entries(mut bytes: &[u8], found: &mut Cuda, room: &mut usize) {
    while *room > 0 {
        *room -= 1;
        let fields = || Some((half(bytes, 0)?, word(bytes, 4)?, long(bytes, 8)?, word(bytes, 28)?));
        let Some((kind, header, body, architecture)) = fields() else { return };
        let header = usize::try_from(header).unwrap_or(usize::MAX);
        if !(ENTRY..=ENTRY_HEADER_LIMIT).contains(&header) || architecture == 0 || architecture > ARCHITECTURE_LIMIT {
            return;
        }
        // All that is no machine code is compiled on the host: PTX, and what is linked there.
        match kind {
            2 => found.sass.insert(architecture),
            _ => found.ptx.insert(architecture),
        };
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
