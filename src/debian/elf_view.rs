//! An ELF file as the dynamic loader sees it: by its segments and its dynamic part. Sections may be gone or lie.

use object::elf;
use object::endian::Endianness;
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// The most segments that are loaded; a real file has less than ten.
const LOADS_LIMIT: usize = 64;

/// The headers of a file.
pub(crate) struct View<'data, Elf: FileHeader<Endian = Endianness>, Data: ReadRef<'data>> {
    /// The first header.
    pub header: &'data Elf,
    /// How its numbers are written.
    pub endian: Endianness,
    /// The program headers.
    pub segments: &'data [Elf::ProgramHeader],
    /// The file.
    pub data: Data,
    /// What is loaded: the address, how many bytes, where they are in the file.
    loads: Vec<(u64, u64, u64)>,
}

impl<'data, Elf: FileHeader<Endian = Endianness>, Data: ReadRef<'data>> View<'data, Elf, Data> {
    /// Reads the headers.
    pub fn parse(data: Data) -> Option<Self> {
        let header = Elf::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, data).ok()?;
        let loads = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .map(|segment| {
                (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into(), segment.p_offset(endian).into())
            })
            .take(LOADS_LIMIT)
            .collect();
        Some(View { header, endian, segments, data, loads })
    }

    /// The tags of the dynamic part with their values, up to its end; `None` for a file without one.
    pub fn dynamic(&self) -> Option<impl Iterator<Item = (i64, u64)> + use<'data, Elf, Data>> {
        let endian = self.endian;
        let found = self.segments.iter().find_map(|segment| segment.dynamic(endian, self.data).ok().flatten())?;
        let pairs = found.iter().map(move |entry| (entry.d_tag(endian).0, entry.d_val(endian).into()));
        Some(pairs.take_while(|(tag, _)| *tag != elf::DT_NULL.0))
    }

    /// Where in the file the byte is that is loaded at an address.
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.loads.iter().find_map(|(start, size, offset)| {
            let inside = address >= *start && address - start < *size;
            inside.then(|| offset.checked_add(address - start)).flatten()
        })
    }

    /// The text that is loaded at an address, of less than `limit` bytes.
    pub fn text(&self, address: u64, limit: u64) -> Option<&'data [u8]> {
        let offset = self.offset(address)?;
        let end = offset.checked_add(limit)?.min(self.data.len().ok()?);
        self.data.read_bytes_at_until(offset..end, 0).ok()
    }
}
