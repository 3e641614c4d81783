//! Every program and library of an image.

use std::collections::BTreeMap;

use crate::layer::TreePath;
use crate::validate::elf::{Elf, Kind};
use crate::validate::subject::{Fact, Subject};

/// Processors of GPUs and the like: no loader of the kernel's or the C library's is asked for their code.
/// BPF, AMD's GPUs, NVIDIA's.
const DEVICES: [u16; 3] = [247, 224, 190];

/// One of them.
pub(super) struct Object<'a> {
    pub path: &'a TreePath,
    pub fact: &'a Fact,
    pub elf: &'a Elf,
    /// Whether it is for the image's processor.
    pub native: bool,
}

/// All of them, sorted by path.
pub(super) struct World<'a> {
    pub subject: &'a Subject,
    pub objects: Vec<Object<'a>>,
    by_path: BTreeMap<&'a str, usize>,
    /// By soname and by file name.
    by_name: BTreeMap<&'a str, Vec<usize>>,
}

impl Object<'_> {
    pub fn place(&self) -> String {
        format!("/{}", self.path)
    }
}

impl<'a> World<'a> {
    /// Looks for them.
    pub fn of(subject: &'a Subject) -> Self {
        let mut world = World { subject, objects: Vec::new(), by_path: BTreeMap::new(), by_name: BTreeMap::new() };
        for (path, fact) in subject.files() {
            let Some(elf) = fact.content.elf.as_deref() else { continue };
            if DEVICES.contains(&elf.machine.number) || (elf.kind == Kind::Other && elf.damage.is_none()) {
                continue;
            }
            let native = elf.machine.architecture() == Some(subject.platform.architecture.as_str());
            let number = world.objects.len();
            world.objects.push(Object { path, fact, elf, native });
            world.by_path.insert(path.as_str(), number);
            let names = [Some(path.name()), elf.soname.as_deref().filter(|name| *name != path.name())];
            names.into_iter().flatten().for_each(|name| world.by_name.entry(name).or_default().push(number));
        }
        world
    }

    /// The object at a real path.
    pub fn at(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The dynamic loader of this name. It is in every process that it has started, wherever it stands.
    pub fn loader(&self, name: &str) -> Option<usize> {
        let is_loader = ["ld-linux", "ld64.so", "ld.so", "ld-musl"].iter().any(|begin| name.starts_with(begin));
        let numbers = self.by_name.get(name).filter(|_| is_loader)?;
        numbers.iter().copied().find(|number| self.get(*number).is_some_and(|object| object.native))
    }

    /// One by its number.
    pub fn get(&self, number: usize) -> Option<&Object<'a>> {
        self.objects.get(number)
    }

    /// Those that have this soname or file name, and are for the image's processor.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Object<'a>> {
        let numbers = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|number| self.get(*number)).filter(|object| object.native)
    }
}
