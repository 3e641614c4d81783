//! Programs and shared libraries: what the kernel and the dynamic loader will ask of them.
//!
//! Read as the loader reads them, by segments and the dynamic part: sections may be stripped, or lie.

mod cuda;
mod versions;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

pub use cuda::Cuda;

use crate::debian::elf_view::View;
use crate::text;

/// The longest name of a library or a version that is read, in bytes.
const NAME_LIMIT: u64 = 1 << 10;
/// The longest search path, in bytes.
const PATH_LIMIT: u64 = 64 << 10;
/// The most libraries that one file may need; more are not looked for.
const NEEDED_LIMIT: usize = 1_000;
/// What is read of a loader to find its built-in folders, in bytes. Seen: 240 kB.
const LOADER_LIMIT: usize = 8 << 20;
/// `DF_1_NODEFLIB`: the loader's own folders are not for it.
const NO_DEFAULT_FOLDERS: u64 = 0x800;

/// What a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Loaded at a fixed address: a program.
    Program,
    /// Loaded anywhere: a library, an extension module, or a program.
    #[default]
    Shared,
    /// For the linker, for a debugger, a core dump: nothing that runs.
    Other,
}

/// For which processor a file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// `e_machine`.
    pub number: u16,
    /// Whether it has 64 bits.
    pub wide: bool,
    /// Whether its numbers begin with the greatest byte.
    pub big_endian: bool,
}

/// A version of symbols that a file needs of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// The library, as in `DT_NEEDED`.
    pub library: String,
    /// "GLIBC_2.34".
    pub version: String,
    /// Whether it may be missing.
    pub weak: bool,
}

/// What a program or a shared library says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    pub kind: Kind,
    pub machine: Machine,
    /// The loader that the kernel starts for it.
    pub interpreter: Option<String>,
    /// Whether it has a dynamic part at all.
    pub dynamic: bool,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, each once, in its order.
    pub needed: Vec<String>,
    /// `DT_RPATH`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`.
    pub runpath: Option<String>,
    /// Whether the loader's own folders are not searched for it.
    pub no_default_folders: bool,
    /// What it needs of others' versions.
    pub requires: Vec<Required>,
    /// The versions that it has.
    pub provides: Vec<String>,
    /// Of a glibc loader: the folders that are built into it.
    pub folders: Vec<String>,
    /// Programs for GPUs.
    pub cuda: Option<Box<Cuda>>,
    /// What is wrong with it, if the loader could not load it.
    pub damage: Option<&'static str>,
}

impl Machine {
    /// As images name it: "amd64", "arm64", ...; `None` for one that no image names.
    pub fn architecture(&self) -> Option<&'static str> {
        Some(match (elf::Machine(self.number), self.wide, self.big_endian) {
            (elf::EM_X86_64, true, false) => "amd64",
            (elf::EM_386, false, false) => "386",
            (elf::EM_AARCH64, true, false) => "arm64",
            (elf::EM_ARM, false, false) => "arm",
            (elf::EM_PPC64, true, false) => "ppc64le",
            (elf::EM_PPC64, true, true) => "ppc64",
            (elf::EM_S390, true, true) => "s390x",
            (elf::EM_RISCV, true, false) => "riscv64",
            (elf::EM_LOONGARCH, true, false) => "loong64",
            (elf::EM_MIPS, true, false) => "mips64le",
            (elf::EM_MIPS, false, false) => "mipsle",
            _ => return None,
        })
    }

    /// The same for people, also of one that no image names.
    pub fn name(&self) -> String {
        match self.architecture() {
            Some(name) => name.to_string(),
            None => format!("machine {} with {} bits", self.number, if self.wide { 64 } else { 32 }),
        }
    }
}

impl Elf {
    /// Whether the kernel starts it through a loader, or it is a program that needs none.
    pub fn is_program(&self) -> bool {
        self.kind == Kind::Program || self.interpreter.is_some()
    }
}

/// Reads it; `None` for a file that is neither.
pub(super) fn read(bytes: &[u8]) -> Option<Elf> {
    match bytes.strip_prefix(&elf::ELFMAG)?.first() {
        Some(1) => Some(of::<elf::FileHeader32<Endianness>>(bytes)),
        Some(2) => Some(of::<elf::FileHeader64<Endianness>>(bytes)),
        _ => Some(damaged("its class is neither 32 nor 64 bits")),
    }
}

fn damaged(what: &'static str) -> Elf {
    Elf { kind: Kind::Other, damage: Some(what), ..Elf::default() }
}

fn of<Header: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Elf {
    let Some(view) = View::<Header, _>::parse(bytes) else { return damaged("its headers cannot be read") };
    let (header, endian) = (view.header, view.endian);
    let mut found = Elf {
        kind: match header.e_type(endian) {
            elf::ET_EXEC => Kind::Program,
            elf::ET_DYN => Kind::Shared,
            _ => Kind::Other,
        },
        machine: Machine {
            number: header.e_machine(endian).0,
            wide: header.is_type_64(),
            big_endian: endian == Endianness::Big,
        },
        ..Elf::default()
    };
    if found.kind == Kind::Other {
        return found;
    }
    let size = bytes.len() as u64;
    let beyond = |segment: &Header::ProgramHeader| {
        let end = segment.p_offset(endian).into().checked_add(segment.p_filesz(endian).into());
        segment.p_type(endian) == elf::PT_LOAD && end.is_none_or(|end| end > size)
    };
    if view.segments.iter().any(beyond) {
        found.damage = Some("it is cut off: a segment goes beyond its end");
    }
    let interpreter = view.segments.iter().find_map(|segment| segment.interpreter(endian, bytes).ok().flatten());
    found.interpreter = interpreter.map(|name| shown(name, NAME_LIMIT));
    dynamic(&view, &mut found);
    found.cuda = cuda::read::<Header>(header, endian, bytes).map(Box::new);
    if is_loader(&found) {
        found.folders = built_in_folders(bytes.get(..bytes.len().min(LOADER_LIMIT)).unwrap_or_default());
    }
    found
}

/// Takes what the dynamic part says.
fn dynamic<'a, Header: FileHeader<Endian = Endianness>>(view: &View<'a, Header, &'a [u8]>, found: &mut Elf) {
    let Some(entries) = view.dynamic() else { return };
    found.dynamic = true;
    let (mut strings, mut needed) = (None, Vec::new());
    let (mut soname, mut rpath, mut runpath) = (None, None, None);
    let (mut required, mut provided) = (None, None);
    for (tag, value) in entries {
        match tag {
            tag if tag == elf::DT_STRTAB.0 => strings = Some(value),
            tag if tag == elf::DT_NEEDED.0 && needed.len() < NEEDED_LIMIT => needed.push(value),
            tag if tag == elf::DT_SONAME.0 => soname = Some(value),
            tag if tag == elf::DT_RPATH.0 => rpath = Some(value),
            tag if tag == elf::DT_RUNPATH.0 => runpath = Some(value),
            tag if tag == elf::DT_VERNEED.0 => required = Some(value),
            tag if tag == elf::DT_VERDEF.0 => provided = Some(value),
            tag if tag == elf::DT_FLAGS_1.0 => found.no_default_folders |= value & NO_DEFAULT_FOLDERS != 0,
            _ => {}
        }
    }
    let text = |at: u64, limit: u64| Some(shown(view.text(strings?.checked_add(at)?, limit)?, limit));
    for at in needed {
        match text(at, NAME_LIMIT) {
            Some(name) if !found.needed.contains(&name) => found.needed.push(name),
            Some(_) => {}
            None => found.damage = found.damage.or(Some("the names of the libraries that it needs cannot be read")),
        }
    }
    found.soname = soname.and_then(|at| text(at, NAME_LIMIT));
    found.rpath = rpath.and_then(|at| text(at, PATH_LIMIT));
    found.runpath = runpath.and_then(|at| text(at, PATH_LIMIT));
    let name = |at: u32| text(at.into(), NAME_LIMIT);
    let table = |address: Option<u64>| view.data.get(usize::try_from(view.offset(address?)?).ok()?..);
    found.requires = table(required).map(|table| versions::required(table, view.endian, &name)).unwrap_or_default();
    found.provides = table(provided).map(|table| versions::provided(table, view.endian, &name)).unwrap_or_default();
}

/// A name without control characters.
fn shown(name: &[u8], limit: u64) -> String {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let name = name.get(..limit.min(name.len())).unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn is_loader(found: &Elf) -> bool {
    found.soname.as_deref().is_some_and(|name| name.starts_with("ld-linux") || name.starts_with("ld64"))
}

/// glibc's loader has its folders one behind the other: `/lib/x86_64-linux-gnu/`, `/usr/lib/x86_64-linux-gnu/`, ...
fn built_in_folders(bytes: &[u8]) -> Vec<String> {
    let ends = [b"/usr/lib/\0".as_slice(), b"/usr/lib64/\0"];
    let at = ends.iter().filter_map(|end| text::find(bytes, end)).min();
    let Some(at) = at else { return Vec::new() };
    // What stands before it, and behind it, as long as it looks like a folder.
    let is_folder = |text: &[u8]| text.len() > 1 && text.len() < 64 && text.starts_with(b"/") && text.ends_with(b"/");
    let before = bytes.get(..at).unwrap_or_default();
    let mut folders: Vec<&[u8]> = before
        .strip_suffix(b"\0")
        .unwrap_or_default()
        .rsplit(|byte| *byte == 0)
        .take(8)
        .take_while(|text| is_folder(text))
        .collect();
    folders.reverse();
    let rest = bytes.get(at..).unwrap_or_default();
    folders.extend(rest.split(|byte| *byte == 0).take(8).take_while(|text| is_folder(text)));
    folders.into_iter().map(|text| shown(text, NAME_LIMIT)).collect()
}
