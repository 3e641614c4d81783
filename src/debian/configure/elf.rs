//! What ldconfig wants to know of a shared library: its soname, its kind, the kernel that it asks for.

use object::elf::{self, FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// A shared library as ldconfig sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// `DT_SONAME`, if it has one.
    pub soname: Option<String>,
    /// The flags of its entry in ld.so.cache (glibc: sysdeps/generic/ldconfig.h).
    pub flags: u32,
    /// The oldest kernel that it runs on, packed as in the cache; 0 if it does not say.
    pub osversion: u32,
}

/// The library in `bytes`; `None` if it is none, or one that the ldconfig of `architecture` leaves out.
pub(super) fn read(bytes: &[u8], architecture: &str) -> Option<Library> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return None;
    }
    match bytes.get(4) {
        Some(1) => library::<FileHeader32<Endianness>>(bytes, architecture),
        Some(2) => library::<FileHeader64<Endianness>>(bytes, architecture),
        _ => None,
    }
}

fn library<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8], architecture: &str) -> Option<Library> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.e_type(endian) != elf::ET_DYN {
        return None;
    }
    let flags = flags(header, endian, architecture)?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok().flatten())?;
    let mut strings = None;
    let mut soname = None;
    for entry in dynamic {
        let (tag, value): (i64, u64) = (entry.d_tag(endian).0, entry.d_val(endian).into());
        match tag {
            tag if tag == elf::DT_NULL.0 => break,
            tag if tag == elf::DT_STRTAB.0 => strings = Some(value),
            tag if tag == elf::DT_SONAME.0 => soname = Some(value),
            _ => {}
        }
    }
    let strings = strings?;
    let text = |at: u64| {
        let address = strings.checked_add(at)?;
        let offset = segments.iter().find_map(|segment| {
            let (start, size) = (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into());
            let inside = segment.p_type(endian) == elf::PT_LOAD && address >= start && address - start < size;
            inside.then(|| segment.p_offset(endian).into().checked_add(address - start)).flatten()
        })?;
        let rest = bytes.get(usize::try_from(offset).ok()?..)?;
        let name = rest.get(..rest.iter().position(|byte| *byte == 0)?)?;
        // A name that is no file name would lead elsewhere.
        let name = std::str::from_utf8(name).ok()?;
        let plain = !name.is_empty() && name.len() < 256 && !name.contains('/') && !name.chars().any(char::is_control);
        plain.then(|| name.to_string())
    };
    let osversion = segments.iter().find_map(|segment| abi_note(segment, endian, bytes)).unwrap_or(0);
    Some(Library { soname: soname.and_then(text), flags, osversion })
}

/// Which machines the ldconfig of an architecture takes, and what it calls them.
fn flags<Elf: FileHeader<Endian = Endianness>>(header: &Elf, endian: Endianness, architecture: &str) -> Option<u32> {
    let machine = header.e_machine(endian);
    let wide = header.is_type_64();
    let bits = header.e_flags(endian).0;
    Some(match architecture {
        "amd64" | "i386" => match (machine, wide) {
            (elf::EM_X86_64, true) => 0x0303,
            (elf::EM_X86_64, false) => 0x0803,
            (elf::EM_386, false) => 0x0003,
            _ => return None,
        },
        "arm64" | "armhf" | "armel" => match (machine, wide) {
            (elf::EM_AARCH64, true) => 0x0a03,
            (elf::EM_ARM, false) if bits & 0x400 != 0 => 0x0903,
            (elf::EM_ARM, false) if bits & 0x200 != 0 => 0x0b03,
            (elf::EM_ARM, false) => 0x0003,
            _ => return None,
        },
        "ppc64el" if machine == elf::EM_PPC64 => 0x0503,
        "s390x" if machine == elf::EM_S390 && wide => 0x0403,
        "riscv64" if machine == elf::EM_RISCV && wide => match bits & 6 {
            4 => 0x1003,
            _ => 0x0f03,
        },
        _ => return None,
    })
}

/// The `NT_GNU_ABI_TAG` note: system and three numbers, one byte each.
fn abi_note<Segment: ProgramHeader<Endian = Endianness>>(
    segment: &Segment,
    endian: Endianness,
    bytes: &[u8],
) -> Option<u32> {
    let mut notes = segment.notes(endian, bytes).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"GNU" && note.n_type(endian).0 == 1 && note.desc().len() == 16 {
            let words: Vec<u32> =
                note.desc().chunks_exact(4).filter_map(|word| word.try_into().ok()).map(word(endian)).collect();
            let [system, major, minor, patch] = words.try_into().ok()?;
            return Some((system << 24) | ((major & 0xff) << 16) | ((minor & 0xff) << 8) | (patch & 0xff));
        }
    }
    None
}

fn word(endian: Endianness) -> impl Fn([u8; 4]) -> u32 {
    move |bytes| match endian {
        Endianness::Little => u32::from_le_bytes(bytes),
        Endianness::Big => u32::from_be_bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library with one name: a segment that loads all, its dynamic part, its strings, an ABI note.
    fn made(machine: u16, soname: &str) -> Vec<u8> {
        let strings = [b"\0", soname.as_bytes(), b"\0"].concat();
        let (dynamic, text, note) = (64 + 3 * 56, 64 + 3 * 56 + 48, 64 + 3 * 56 + 48 + 64);
        let end = note + 32;
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend(3u16.to_le_bytes());
        out.extend(machine.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        [0u64, 64, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        [64u16, 56, 3, 64, 0, 0].iter().for_each(|half| out.extend(half.to_le_bytes()));
        // Type, where it is in the file and in memory, size. It is loaded at 0x1000.
        for (kind, offset, size) in [(1u32, 0, end), (2, dynamic, 48), (4, note, 32)] {
            out.extend(kind.to_le_bytes());
            out.extend(4u32.to_le_bytes());
            [offset, offset + 0x1000, offset + 0x1000, size, size, 4]
                .iter()
                .for_each(|word: &u64| out.extend(word.to_le_bytes()));
        }
        [5u64, text + 0x1000, 14, 1, 0, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(&strings);
        out.resize(usize::try_from(note).unwrap(), 0);
        [4u32, 16, 1].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(b"GNU\0");
        [0u32, 3, 2, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out
    }

    #[test]
    fn names_kinds_and_kernels() {
        let library = read(&made(62, "liba.so.1"), "amd64").unwrap();
        assert_eq!(library, Library { soname: Some("liba.so.1".into()), flags: 0x0303, osversion: 0x0003_0200 });
        assert_eq!(read(&made(183, "liba.so.1"), "arm64").unwrap().flags, 0x0a03);
        assert_eq!(read(&made(183, "liba.so.1"), "amd64"), None, "of another machine");
        assert_eq!(read(&made(62, "liba.so.1"), "arm64"), None);
        for bad in ["../x", "a\nb", ""] {
            assert_eq!(read(&made(62, bad), "amd64").unwrap().soname, None, "{bad:?}");
        }
    }

    #[test]
    fn damaged_files_are_no_libraries_and_no_panics() {
        let whole = made(62, "liba.so.1");
        (0..whole.len()).for_each(|length| {
            assert!(read(&whole[..length], "amd64") != Some(Library { soname: None, flags: 0, osversion: 0 }))
        });
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            let _ = read(&damaged, "amd64");
        }
        assert_eq!(read(b"INPUT(-lz)", "amd64"), None);
        assert_eq!(read(b"", "amd64"), None);
    }
}
