//! Where a dynamic loader looks for a library: glibc's (ld.so(8)) or musl's.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::world::World;
use crate::debian::configure::LibraryCache;
use crate::layer::BaseKind;
use crate::validate::elf::Elf;
use crate::validate::subject::Subject;

/// The most folders of one search path that are searched.
const PATH_LIMIT: usize = 256;
/// How often a library may be asked for and a folder be looked into, for all files together. Seen: 40,000 for numpy,
/// scipy, pandas, scikit-learn and pillow.
const WORK_LIMIT: usize = 3_000_000;

/// Whose loader it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    Glibc,
    Musl,
}

/// The image's loader.
pub(super) struct Loader<'a> {
    world: &'a World<'a>,
    pub flavor: Flavor,
    /// What it looks into at last.
    folders: Vec<String>,
    /// ld.so.cache: the places of a name, in their order.
    cache: BTreeMap<String, Vec<String>>,
    /// LD_LIBRARY_PATH.
    environment: Vec<String>,
    /// What `$LIB` and `$PLATFORM` stand for.
    lib: String,
    platform: &'static str,
    working: String,
    real: RefCell<BTreeMap<String, Option<String>>>,
    work: RefCell<usize>,
}

/// A file that was found: its number, and the folder in which it was found, for `$ORIGIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub object: usize,
    pub origin: String,
}

impl<'a> Loader<'a> {
    /// The loader of an image: glibc's if there is one, else musl's.
    pub fn of(subject: &Subject, world: &'a World<'a>) -> Self {
        let loader = world.objects.iter().find(|object| object.native && !object.elf.folders.is_empty());
        let musl = world.objects.iter().find(|object| object.native && is_musl(object.path.name()));
        let (gnu, platform) = triplet(&subject.platform.architecture);
        let flavor = if loader.is_none() && musl.is_some() { Flavor::Musl } else { Flavor::Glibc };
        let folders = match (flavor, loader) {
            (Flavor::Musl, _) => musl_folders(subject, platform),
            (Flavor::Glibc, Some(loader)) => loader.elf.folders.clone(),
            (Flavor::Glibc, None) => [
                format!("/lib/{gnu}"),
                format!("/usr/lib/{gnu}"),
                "/lib".into(),
                "/usr/lib".into(),
                "/lib64".into(),
                "/usr/lib64".into(),
            ]
            .into(),
        };
        let lib = folders.first().map(|first| first.trim_matches('/').to_string()).unwrap_or_default();
        let environment = subject.config.env_var("LD_LIBRARY_PATH").unwrap_or_default();
        let working = subject.config.get("WorkingDir").and_then(|value| value.as_str()).unwrap_or("/").to_string();
        Loader {
            world,
            flavor,
            folders,
            cache: cache(subject),
            environment: split(&environment),
            lib,
            platform,
            working,
            real: RefCell::default(),
            work: RefCell::new(WORK_LIMIT),
        }
    }

    /// Takes one step of the work that is allowed; whether there was one.
    pub fn spend(&self) -> bool {
        let mut work = self.work.borrow_mut();
        *work = work.saturating_sub(1);
        *work > 0
    }

    /// Whether so much was looked for that the rest is not.
    pub fn is_exhausted(&self) -> bool {
        *self.work.borrow() == 0
    }

    /// Looks for a library. `chain` is what asks for it, then what loaded that, and so on to the program, each with
    /// the folder of its file.
    pub fn find(&self, name: &str, chain: &[(&Elf, &str)]) -> Option<Found> {
        if name.contains('/') {
            let path = if name.starts_with('/') { name.to_string() } else { format!("{}/{name}", self.working) };
            return self.file(&path);
        }
        match self.flavor {
            Flavor::Glibc => self.find_glibc(name, chain),
            Flavor::Musl => self.find_musl(name, chain),
        }
    }

    fn find_glibc(&self, name: &str, chain: &[(&Elf, &str)]) -> Option<Found> {
        let (asks, origin) = *chain.first()?;
        if asks.runpath.is_none() {
            for (elf, origin) in chain.iter().filter(|(elf, _)| elf.runpath.is_none()) {
                let found = elf.rpath.as_deref().and_then(|path| self.search(&self.expand(path, origin), name));
                if found.is_some() {
                    return found;
                }
            }
        }
        let runpath = || asks.runpath.as_deref().and_then(|path| self.search(&self.expand(path, origin), name));
        let cached = || self.cache.get(name)?.iter().find_map(|path| self.file(path));
        let last = || if asks.no_default_folders { None } else { self.search(&self.folders, name) };
        self.search(&self.environment, name).or_else(runpath).or_else(cached).or_else(last)
    }

    fn find_musl(&self, name: &str, chain: &[(&Elf, &str)]) -> Option<Found> {
        let paths = || {
            chain.iter().find_map(|(elf, origin)| {
                let path = elf.runpath.as_deref().or(elf.rpath.as_deref())?;
                self.search(&self.expand(path, origin), name)
            })
        };
        self.search(&self.environment, name).or_else(paths).or_else(|| self.search(&self.folders, name))
    }

    fn search(&self, folders: &[String], name: &str) -> Option<Found> {
        folders.iter().find_map(|folder| {
            if !self.spend() {
                return None;
            }
            let real = self.real(folder)?;
            let path = if real.is_empty() { name.to_string() } else { format!("{real}/{name}") };
            match self.world.at(&path) {
                Some(object) => self.usable(object, &real),
                None => self.file(&format!("/{path}")),
            }
        })
    }

    /// The file at a path, links followed; `$ORIGIN` stays the folder of the path itself.
    fn file(&self, path: &str) -> Option<Found> {
        let (folder, _) = path.rsplit_once('/')?;
        let object = self.world.at(self.world.subject.root.follow(path)?.as_str())?;
        self.usable(object, &self.real(folder)?)
    }

    /// The loader passes over files of other processors.
    fn usable(&self, object: usize, origin: &str) -> Option<Found> {
        let native = self.world.get(object)?.native;
        native.then(|| Found { object, origin: origin.to_string() })
    }

    /// The real path of a folder without the leading slash; the root is empty.
    fn real(&self, folder: &str) -> Option<String> {
        if let Some(known) = self.real.borrow().get(folder) {
            return known.clone();
        }
        let path = if folder.starts_with('/') { folder.to_string() } else { format!("{}/{folder}", self.working) };
        let root = &self.world.subject.root;
        let real = match path.trim_matches('/') {
            "" => Some(String::new()),
            _ => root.follow(&path).and_then(|real| {
                let is_folder = root.entry(&real).is_some_and(|entry| entry.kind == BaseKind::Directory);
                is_folder.then(|| real.to_string())
            }),
        };
        self.real.borrow_mut().insert(folder.to_string(), real.clone());
        real
    }

    /// The folders of an RPATH or RUNPATH.
    fn expand(&self, path: &str, origin: &str) -> Vec<String> {
        let replace = |folder: String| {
            if !folder.contains('$') {
                return folder;
            }
            let mut folder = folder;
            let origin = format!("/{origin}");
            for (name, value) in [("ORIGIN", origin.as_str()), ("LIB", &self.lib), ("PLATFORM", self.platform)] {
                folder = folder.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
            }
            folder
        };
        split(path).into_iter().map(replace).collect()
    }
}

fn split(path: &str) -> Vec<String> {
    if path.is_empty() {
        return Vec::new();
    }
    path.split([':', ';']).take(PATH_LIMIT).map(|part| if part.is_empty() { "." } else { part }.to_string()).collect()
}

/// `ld-musl-x86_64.so.1`, in whatever folder.
pub(super) fn is_musl(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("ld-musl-") && name.ends_with(".so.1")
}

/// The name of a processor in folders of Debian, and as kernels say it.
fn triplet(architecture: &str) -> (String, &'static str) {
    let (machine, system) = match architecture {
        "amd64" => ("x86_64", "linux-gnu"),
        "386" => ("i386", "linux-gnu"),
        "arm64" => ("aarch64", "linux-gnu"),
        "arm" => ("arm", "linux-gnueabihf"),
        "ppc64le" => ("powerpc64le", "linux-gnu"),
        "s390x" => ("s390x", "linux-gnu"),
        "riscv64" => ("riscv64", "linux-gnu"),
        _ => ("unknown", "linux-gnu"),
    };
    (format!("{machine}-{system}"), machine)
}

/// /etc/ld-musl-ARCH.path, one folder a line or with colons; without it musl's own.
fn musl_folders(subject: &Subject, machine: &str) -> Vec<String> {
    match subject.text(&format!("etc/ld-musl-{machine}.path")) {
        Some(text) => {
            text.split([':', '\n']).map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect()
        }
        None => ["/lib", "/usr/local/lib", "/usr/lib"].map(String::from).into(),
    }
}

fn cache(subject: &Subject) -> BTreeMap<String, Vec<String>> {
    let bytes = crate::layer::TreePath::new("etc/ld.so.cache")
        .ok()
        .and_then(|path| subject.file(&path)?.content.text.as_deref());
    let mut cache: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in bytes.and_then(LibraryCache::decode).unwrap_or_default().entries {
        cache.entry(entry.name).or_default().push(entry.path);
    }
    cache
}
