//! What ldconfig wants to know of a shared library: its soname, its kind, the kernel that it asks for.

use object::elf::{self, FileHeader32, FileHeader64, Machine};
use object::endian::Endianness;
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};
use serde::{Deserialize, Serialize};

use super::elf_view::View;

/// The longest soname, with the NUL behind it.
const NAME_LIMIT: u64 = 256;

/// What a shared library says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `DT_SONAME`, if it has one that is a file name.
    soname: Option<String>,
    machine: u16,
    /// Whether it has 64 bits.
    wide: bool,
    /// The machine's own flags.
    bits: u32,
    /// The oldest kernel that it runs on, packed as in ld.so.cache; 0 if it does not say.
    osversion: u32,
}

/// What is known of a file with the name of a library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Known {
    /// It is one, and says this.
    Library(Facts),
    /// It is none, or one that is too odd.
    Other,
}

/// A shared library as the ldconfig of one architecture sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// `DT_SONAME`, if it has one.
    pub soname: Option<String>,
    /// The flags of its entry in ld.so.cache (glibc: sysdeps/generic/ldconfig.h).
    pub flags: u32,
    /// The oldest kernel that it runs on, packed as in the cache; 0 if it does not say.
    pub osversion: u32,
}

/// Whether the dynamic loader would take a file of this name for a library.
pub(super) fn is_library(name: &str) -> bool {
    let loader = name.starts_with("ld.so.") || name.starts_with("ld64.so.");
    let library = (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so");
    let passing = name.contains(';') || name.ends_with(".dpkg-new") || name.ends_with(".dpkg-tmp");
    (loader || library) && !passing && !name.contains(".#prelink#")
}

/// The library in `bytes`; `None` if it is none, or one that the ldconfig of `architecture` leaves out.
pub(super) fn read(bytes: &[u8], architecture: &str) -> Option<Library> {
    facts(bytes)?.library(architecture)
}

/// What the library in `data` says; `None` if it is none.
pub(super) fn facts<'data>(data: impl ReadRef<'data>) -> Option<Facts> {
    match data.read_bytes_at(0, 5).ok()?.strip_prefix(&elf::ELFMAG)? {
        [1] => of::<FileHeader32<Endianness>>(data),
        [2] => of::<FileHeader64<Endianness>>(data),
        _ => None,
    }
}

fn of<'data, Elf: FileHeader<Endian = Endianness>>(data: impl ReadRef<'data>) -> Option<Facts> {
    let view = View::<Elf, _>::parse(data)?;
    let (header, endian) = (view.header, view.endian);
    if header.e_type(endian) != elf::ET_DYN {
        return None;
    }
    let mut strings = None;
    let mut soname = None;
    for (tag, value) in view.dynamic()? {
        match tag {
            tag if tag == elf::DT_STRTAB.0 => strings = Some(value),
            tag if tag == elf::DT_SONAME.0 => soname = Some(value),
            _ => {}
        }
    }
    let strings = strings?;
    let text = |at: u64| {
        // A name that is no file name would lead elsewhere.
        let name = std::str::from_utf8(view.text(strings.checked_add(at)?, NAME_LIMIT)?).ok()?;
        let plain = !name.is_empty() && !name.contains('/') && !name.chars().any(char::is_control);
        plain.then(|| name.to_string())
    };
    let osversion = view.segments.iter().find_map(|segment| abi_note(segment, endian, data)).unwrap_or(0);
    Some(Facts {
        soname: soname.and_then(text),
        machine: header.e_machine(endian).0,
        wide: header.is_type_64(),
        bits: header.e_flags(endian).0,
        osversion,
    })
}

impl Known {
    /// As the ldconfig of an architecture sees it; `None` if that leaves it out.
    pub fn library(&self, architecture: &str) -> Option<Library> {
        match self {
            Known::Library(facts) => facts.library(architecture),
            Known::Other => None,
        }
    }
}

impl Facts {
    /// As the ldconfig of an architecture sees it; `None` if that leaves it out.
    pub fn library(&self, architecture: &str) -> Option<Library> {
        let flags = self.flags(architecture)?;
        Some(Library { soname: self.soname.clone(), flags, osversion: self.osversion })
    }

    /// Which machines the ldconfig of an architecture takes, and what it calls them.
    fn flags(&self, architecture: &str) -> Option<u32> {
        let (machine, wide, bits) = (Machine(self.machine), self.wide, self.bits);
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
}

/// The `NT_GNU_ABI_TAG` note: system and three numbers, one byte each.
fn abi_note<'data, Segment: ProgramHeader<Endian = Endianness>>(
    segment: &Segment,
    endian: Endianness,
    data: impl ReadRef<'data>,
) -> Option<u32> {
    let mut notes = segment.notes(endian, data).ok()??;
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
pub(super) mod testing {
    /// A library with one name, of `size` bytes: a segment that loads all, and at these places its dynamic part, its
    /// strings, an ABI note.
    pub fn made_at(machine: u16, soname: &str, places: [u64; 3], size: u64) -> Vec<u8> {
        let [dynamic, strings, note] = places;
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend(3u16.to_le_bytes());
        out.extend(machine.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        [0u64, 64, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        [64u16, 56, 3, 64, 0, 0].iter().for_each(|half| out.extend(half.to_le_bytes()));
        // Type, where it is in the file and in memory, size. It is loaded at 0x1000.
        for (kind, offset, size) in [(1u32, 0, size), (2, dynamic, 48), (4, note, 32)] {
            out.extend(kind.to_le_bytes());
            out.extend(4u32.to_le_bytes());
            [offset, offset + 0x1000, offset + 0x1000, size, size, 4]
                .iter()
                .for_each(|word: &u64| out.extend(word.to_le_bytes()));
        }
        out.resize(usize::try_from(size).unwrap(), 0);
        let mut put = |at: u64, bytes: &[u8]| {
            let at = usize::try_from(at).unwrap();
            out[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(dynamic, &[5u64, strings + 0x1000, 14, 1, 0, 0].map(u64::to_le_bytes).concat());
        put(strings, &[b"\0", soname.as_bytes(), b"\0"].concat());
        put(note, &[4u32, 16, 1].map(u32::to_le_bytes).concat());
        put(note + 12, b"GNU\0");
        put(note + 16, &[0u32, 3, 2, 0].map(u32::to_le_bytes).concat());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(machine: u16, soname: &str) -> Vec<u8> {
        testing::made_at(machine, soname, [232, 280, 344], 376)
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
