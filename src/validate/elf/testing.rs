//! ELF files for tests, as small as a loader would take them.

/// An ELF file of 64 bits before it is written.
#[derive(Clone, Default)]
pub struct Made {
    /// `ET_EXEC` instead of `ET_DYN`.
    pub program: bool,
    /// `e_machine`; x86-64 if it is 0.
    pub machine: u16,
    pub interpreter: Option<&'static str>,
    pub soname: Option<&'static str>,
    pub needed: Vec<&'static str>,
    pub rpath: Option<&'static str>,
    pub runpath: Option<&'static str>,
    /// Library and version; one that ends in `?` is weak.
    pub requires: Vec<(&'static str, &'static str)>,
    pub provides: Vec<&'static str>,
    /// Entries of fat binaries: kind (1 PTX, 2 machine code) and architecture.
    pub cuda: Vec<(u16, u32)>,
    /// Bytes behind all else.
    pub tail: Vec<u8>,
}

/// Where the file is loaded.
const BASE: u64 = 0x10000;
const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// A static program of this machine's kind that needs no library.
pub fn program() -> Vec<u8> {
    Made { program: true, ..Made::default() }.bytes()
}

/// An extension module or library that needs these.
pub fn library(needed: &[&'static str]) -> Made {
    Made { needed: needed.to_vec(), ..Made::default() }
}

impl Made {
    /// A program of the C library's.
    pub fn dynamic_program(interpreter: &'static str, needed: &[&'static str]) -> Made {
        Made { interpreter: Some(interpreter), needed: needed.to_vec(), ..Made::default() }
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut strings = Strings(vec![0]);
        let mut dynamic: Vec<(u64, u64)> = self.needed.iter().map(|name| (1, strings.put(name))).collect();
        for (tag, text) in [(14, self.soname), (15, self.rpath), (29, self.runpath)] {
            dynamic.extend(text.map(|text| (tag, strings.put(text))));
        }
        let (needs, defines) = (self.verneed(&mut strings), self.verdef(&mut strings));
        let is_dynamic = !dynamic.is_empty() || !needs.is_empty() || !defines.is_empty();
        let count = 1 + usize::from(self.interpreter.is_some()) + usize::from(is_dynamic);
        let mut body = Body { bytes: vec![0; HEADER + SEGMENT * count] };
        let interpreter = self.interpreter.map(|name| body.put(&[name.as_bytes(), b"\0"].concat()));
        for (tag, table) in [(0x6fff_fffe, &needs), (0x6fff_fffc, &defines)] {
            if !table.is_empty() {
                dynamic.push((tag, BASE + body.put(table).0));
            }
        }
        dynamic.push((5, BASE + body.put(&strings.0).0));
        dynamic.push((0, 0));
        let table: Vec<u8> =
            dynamic.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()).collect();
        let dynamic = is_dynamic.then(|| body.put(&table));
        let sections = self.sections(&mut body);
        body.put(&self.tail);
        let end = body.bytes.len() as u64;
        let segments = [Some((1u32, (0, end))), interpreter.map(|at| (3, at)), dynamic.map(|at| (2, at))];
        body.headers(self, segments.iter().flatten().copied(), sections);
        body.bytes
    }

    fn verneed(&self, strings: &mut Strings) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, (library, version)) in self.requires.iter().enumerate() {
            let last = number + 1 == self.requires.len();
            let (flags, version) = version.strip_suffix('?').map_or((0u16, *version), |version| (2, version));
            let (file, name) = (strings.short(library), strings.short(version));
            out.extend([1u16.to_le_bytes(), 1u16.to_le_bytes()].concat());
            [file, 16, if last { 0 } else { 32 }].iter().for_each(|word| out.extend(word.to_le_bytes()));
            out.extend(0u32.to_le_bytes());
            out.extend([flags.to_le_bytes(), 2u16.to_le_bytes()].concat());
            [name, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        }
        out
    }

    fn verdef(&self, strings: &mut Strings) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, version) in self.provides.iter().enumerate() {
            let last = number + 1 == self.provides.len();
            [1u16, 0, number as u16 + 2, 1].iter().for_each(|half| out.extend(half.to_le_bytes()));
            let name = strings.short(version);
            [0u32, 20, if last { 0 } else { 28 }, name, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        }
        out
    }

    /// A table of sections with `.nv_fatbin` in it: where it is, and how many there are.
    fn sections(&self, body: &mut Body) -> (u64, u16) {
        if self.cuda.is_empty() {
            return (0, 0);
        }
        let fatbin = body.put(&fatbin(&self.cuda));
        let names = body.put(b"\0.nv_fatbin\0.shstrtab\0");
        let mut table = vec![0u8; 64];
        for (name, kind, (offset, size)) in [(1u32, 1u32, fatbin), (12, 3, names)] {
            [name, kind].iter().for_each(|word| table.extend(word.to_le_bytes()));
            [0u64, 0, offset, size].iter().for_each(|long| table.extend(long.to_le_bytes()));
            table.extend([0u8; 8]);
            [1u64, 0].iter().for_each(|long| table.extend(long.to_le_bytes()));
        }
        (body.put(&table).0, 3)
    }
}

/// Two containers, each with the entries, and zeros between.
pub fn fatbin(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    for entries in entries.chunks(entries.len().div_ceil(2).max(1)) {
        let mut inner = Vec::new();
        for (kind, architecture) in entries {
            inner.extend([kind.to_le_bytes(), 0x101u16.to_le_bytes()].concat());
            inner.extend(64u32.to_le_bytes());
            inner.extend(24u64.to_le_bytes());
            inner.extend([0; 12]);
            inner.extend(architecture.to_le_bytes());
            inner.extend([0; 32 + 24]);
        }
        out.extend(0xBA55_ED50u32.to_le_bytes());
        out.extend([1u16.to_le_bytes(), 16u16.to_le_bytes()].concat());
        out.extend((inner.len() as u64).to_le_bytes());
        out.extend(inner);
        out.extend([0; 8]);
    }
    out
}

struct Strings(Vec<u8>);

impl Strings {
    fn put(&mut self, text: &str) -> u64 {
        let at = self.0.len() as u64;
        self.0.extend([text.as_bytes(), b"\0"].concat());
        at
    }

    fn short(&mut self, text: &str) -> u32 {
        u32::try_from(self.put(text)).unwrap()
    }
}

struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// Puts a part at a multiple of eight: where, and how long it is.
    fn put(&mut self, part: &[u8]) -> (u64, u64) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend(part);
        (at, part.len() as u64)
    }

    fn headers(&mut self, made: &Made, segments: impl Iterator<Item = (u32, (u64, u64))>, sections: (u64, u16)) {
        let mut table = Vec::new();
        for (kind, (offset, size)) in segments {
            [kind, 4].iter().for_each(|word| table.extend(word.to_le_bytes()));
            [offset, BASE + offset, BASE + offset, size, size, 8]
                .iter()
                .for_each(|long| table.extend(long.to_le_bytes()));
        }
        let count = (table.len() / SEGMENT) as u16;
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let machine = if made.machine == 0 { 62 } else { made.machine };
        [if made.program { 2u16 } else { 3 }, machine].iter().for_each(|half| header.extend(half.to_le_bytes()));
        header.extend(1u32.to_le_bytes());
        [0, HEADER as u64, sections.0].iter().for_each(|long| header.extend(long.to_le_bytes()));
        header.extend(0u32.to_le_bytes());
        [HEADER as u16, SEGMENT as u16, count, 64, sections.1, sections.1.saturating_sub(1)]
            .iter()
            .for_each(|half| header.extend(half.to_le_bytes()));
        header.extend(table);
        self.bytes[..header.len()].copy_from_slice(&header);
    }
}
