//! Findings of what a file asked for and did not get.

use std::collections::{BTreeMap, BTreeSet};

use super::loader::{Flavor, Loader, is_musl};
use super::packages::Packages;
use super::process::{Ask, Process};
use super::world::{Object, World};
use super::{DAMAGED, DRIVER, INTERPRETER, LIBC, LIBRARY, OPTIONAL, PRELOADED, UNUSED, VERSION, counted, with_files};
use crate::layer::TreePath;
use crate::validate::findings::{Draft, Findings};
use crate::validate::python::Pythons;
use crate::validate::subject::Subject;

/// Beginnings of the names of libraries that the container runtime puts into the container.
const DRIVERS: [&str; 12] = [
    "libcuda.so",
    "libcudadebugger.so",
    "libnvidia-",
    "libnvcuvid.so",
    "libnvoptix.so",
    "libGLX_nvidia.so",
    "libEGL_nvidia.so",
    "libGLESv1_CM_nvidia.so",
    "libGLESv2_nvidia.so",
    "libOpenCL_nvidia.so",
    "libvdpau_nvidia.so",
    "libnvsandboxutils.so",
];

/// What part of the image a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A program that is found by its name.
    Program,
    /// A module that Python imports, or the library that a package stands for.
    Module,
    /// A module of Python's own library, an administrator's program.
    Unused,
    /// Anything else: libraries, plugins, helpers.
    Other,
}

/// What all files asked for.
#[derive(Default)]
struct Asked<'a> {
    /// What a file does not get, if it is loaded by itself.
    missing: BTreeSet<(usize, &'a str)>,
    /// What it gets in a process that another file began.
    satisfied: BTreeSet<(usize, &'a str)>,
    /// Files that are loaded by a program or a module.
    loaded: BTreeSet<usize>,
    /// Files that are loaded by a program: nothing can come before what it needs.
    started: BTreeSet<usize>,
    /// The versions that a library does not have, and who needs them.
    versions: BTreeMap<usize, BTreeMap<&'a str, BTreeSet<usize>>>,
}

/// Looks for them.
pub(super) fn look(
    subject: &Subject,
    world: &World<'_>,
    loader: &Loader<'_>,
    pythons: &Pythons<'_>,
    findings: &mut Findings<'_>,
) {
    let parts = Parts::of(subject, world, pythons);
    let others = of_other_libc(subject, world, loader, findings);
    interpreters(world, &parts, findings);
    let asked = ask(world, loader, pythons, &parts, &others);
    if loader.is_exhausted() {
        let message = "its libraries ask for more than is looked for; what comes last was not checked";
        findings.add(Draft::new(DAMAGED, &subject.name, message));
    }
    missing(subject, world, pythons, (&parts, &asked), findings);
    versions(world, &asked, findings);
}

/// Which part each file is.
struct Parts {
    of: Vec<Part>,
    path: Vec<String>,
}

impl Parts {
    fn of(subject: &Subject, world: &World<'_>, pythons: &Pythons<'_>) -> Parts {
        let path = subject.config.env_var("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let folders = path.split(':').filter_map(|folder| subject.root.follow(folder));
        let mut parts = Parts { of: Vec::new(), path: folders.map(|folder| folder.to_string()).collect() };
        // Of distributions, those that have modules at all.
        let with_modules: BTreeSet<String> = world
            .objects
            .iter()
            .filter(|object| is_module(object.path))
            .filter_map(|object| pythons.package_of(object.path))
            .collect();
        for object in &world.objects {
            let part = parts.part(object, pythons, &with_modules);
            parts.of.push(part);
        }
        parts
    }

    fn part(&self, object: &Object<'_>, pythons: &Pythons<'_>, with_modules: &BTreeSet<String>) -> Part {
        let folder = object.path.parent().map(|folder| folder.to_string()).unwrap_or_default();
        if object.elf.is_program() {
            let found = self.path.contains(&folder) && object.fact.member.mode & 0o111 != 0;
            return match found {
                true if folder.ends_with("sbin") => Part::Unused,
                true => Part::Program,
                false => Part::Other,
            };
        }
        if folder.ends_with("/lib-dynload") {
            return Part::Unused;
        }
        match pythons.package_of(object.path) {
            Some(_) if is_module(object.path) => Part::Module,
            // Loaded with ctypes: all that the package is for, if it is no plugin.
            Some(package) if !with_modules.contains(&package) && is_main(&package, object.path) => Part::Module,
            _ => Part::Other,
        }
    }

    fn get(&self, object: usize) -> Part {
        self.of.get(object).copied().unwrap_or(Part::Other)
    }
}

/// Whether Python would import it, by its name: `x.cpython-311-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`.
fn is_module(path: &TreePath) -> bool {
    let name = path.name();
    name.ends_with(".so") && (name.contains(".cpython-") || name.contains(".abi3.") || !name.starts_with("lib"))
}

/// Whether a library is what its package is for. Those of NVIDIA's own have transports for many networks.
fn is_main(package: &str, path: &TreePath) -> bool {
    !package.contains("/nvidia/") && !path.as_str().to_ascii_lowercase().contains("plugin")
}

/// Files for the other C library, which are told here and asked nothing more.
fn of_other_libc(
    subject: &Subject,
    world: &World<'_>,
    loader: &Loader<'_>,
    findings: &mut Findings<'_>,
) -> BTreeSet<usize> {
    let gcompat = world.named("libgcompat.so.0").next().is_some();
    let other = |name: &String| match loader.flavor {
        Flavor::Glibc => name.starts_with("libc.musl-") || is_musl(name),
        Flavor::Musl => !gcompat && (name == "libc.so.6" || name.starts_with("ld-linux")),
    };
    let has_libc = world.objects.iter().any(|object| {
        object.native
            && (!object.elf.folders.is_empty() || is_musl(object.path.name()) || object.path.name() == "libc.so.6")
    });
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    // Packages of Node that bring one for each, and choose when they are loaded.
    let own = |object: &&Object<'_>| object.native && !object.elf.needed.iter().any(other);
    let choosing: BTreeSet<&str> = world.objects.iter().filter(own).filter_map(|one| prebuilds(one.path)).collect();
    for (number, object) in world.objects.iter().enumerate().filter(|(_, object)| object.native) {
        let name = object.elf.needed.iter().find(|name| other(name));
        let Some(name) = name.filter(|name| has_libc && world.named(name).next().is_none()) else { continue };
        found.insert(number);
        // A program that has its own loader is told of that.
        let chosen = prebuilds(object.path).is_some_and(|folder| choosing.contains(folder));
        if object.elf.interpreter.is_none() && !chosen {
            groups.entry(name.clone()).or_default().push(number);
        }
    }
    let (own, theirs) = match loader.flavor {
        Flavor::Glibc => ("glibc", "musl"),
        Flavor::Musl => ("musl", "glibc"),
    };
    for (name, numbers) in groups {
        let files: Vec<String> = numbers.iter().filter_map(|number| Some(world.get(*number)?.place())).collect();
        let place = files.first().cloned().unwrap_or_else(|| subject.name.clone());
        let count = counted(files.len(), "file is", "files are");
        let message = format!("{count} for {theirs} (`{name}`), the image has {own}");
        findings.add(with_files(Draft::new(LIBC, place, message), files.iter().map(String::as_str)));
    }
    found
}

/// `.../prebuilds` of a file in it: where `node-gyp-build` looks for the one that fits.
fn prebuilds(path: &TreePath) -> Option<&str> {
    let path = path.as_str();
    let at = path.find("/node_modules/").or_else(|| path.starts_with("node_modules/").then_some(0))?;
    let folder = "/prebuilds";
    let found = path.get(at..)?.rfind("/prebuilds/")?;
    path.get(..at + found + folder.len())
}

/// Programs whose loader is missing.
fn interpreters(world: &World<'_>, parts: &Parts, findings: &mut Findings<'_>) {
    let mut groups: BTreeMap<(&str, &'static str), Vec<String>> = BTreeMap::new();
    for (number, object) in world.objects.iter().enumerate().filter(|(_, object)| object.native) {
        let Some(interpreter) = object.elf.interpreter.as_deref().filter(|_| object.elf.damage.is_none()) else {
            continue;
        };
        let real = world.subject.root.follow(interpreter);
        if real.is_none_or(|real| world.at(real.as_str()).is_none()) {
            // A library may name a loader too (glibc's do, to tell their version).
            let runs = object.fact.member.mode & 0o111 != 0 && !object.path.name().contains(".so");
            let rule = match parts.get(number) {
                Part::Program | Part::Unused => INTERPRETER,
                _ if runs => OPTIONAL,
                _ => continue,
            };
            groups.entry((interpreter, rule)).or_default().push(object.place());
        }
    }
    for ((interpreter, rule), files) in groups {
        let place = files.first().cloned().unwrap_or_default();
        let count = counted(files.len(), "program needs it", "programs need it");
        let message = format!("the loader `{interpreter}` is missing: {count}");
        findings.add(with_files(Draft::new(rule, place, message), files.iter().map(String::as_str)));
    }
}

/// Loads every file by itself, those of an environment into its interpreter.
fn ask<'a>(
    world: &World<'a>,
    loader: &Loader<'_>,
    pythons: &Pythons<'_>,
    parts: &Parts,
    others: &BTreeSet<usize>,
) -> Asked<'a> {
    let mut asked = Asked::default();
    let mut started: BTreeMap<usize, Process<'a>> = BTreeMap::new();
    for (number, object) in world.objects.iter().enumerate() {
        let elf = object.elf;
        let of_other = elf.interpreter.as_deref().is_some_and(|path| is_musl(path) != (loader.flavor == Flavor::Musl));
        if !object.native || !elf.dynamic || elf.damage.is_some() || of_other || others.contains(&number) {
            continue;
        }
        let interpreter = match elf.is_program() {
            true => None,
            false => interpreter_for(world, pythons, object),
        };
        let (process, asks) = match interpreter {
            Some(program) => {
                let process = started.entry(program).or_insert_with(|| Process::start(world, loader, program).0);
                let mut process = process.copy();
                let asks = process.load(world, loader, number);
                (process, asks)
            }
            None => Process::start(world, loader, number),
        };
        // What was not looked for is not missing.
        if loader.is_exhausted() {
            break;
        }
        asked.take(world, number, &process, &asks, parts.get(number));
    }
    asked
}

/// Which interpreter loads a file.
fn interpreter_for(world: &World<'_>, pythons: &Pythons<'_>, object: &Object<'_>) -> Option<usize> {
    let environment = pythons.environment_of(object.path)?;
    world.at(pythons.interpreter_of(environment)?.path.as_str())
}

impl<'a> Asked<'a> {
    /// Remembers what a file and all that it loads asked for.
    fn take(&mut self, world: &World<'a>, root: usize, process: &Process<'a>, asks: &[Ask<'a>], part: Part) {
        let primary = matches!(part, Part::Program | Part::Module);
        if primary {
            self.loaded.insert(root);
            self.loaded.extend(asks.iter().map(|ask| ask.object));
        }
        if part == Part::Program {
            self.started.insert(root);
            self.started.extend(asks.iter().map(|ask| ask.object));
        }
        for ask in asks {
            let key = (ask.object, ask.library);
            match ask.got {
                Some(_) if ask.object != root => drop(self.satisfied.insert(key)),
                None if ask.object == root => drop(self.missing.insert(key)),
                _ => {}
            }
        }
        let Some(object) = world.get(root) else { return };
        for required in object.elf.requires.iter().filter(|required| !required.weak) {
            let Some(library) = process.named(&required.library) else { continue };
            let Some(provides) = world.get(library).map(|library| &library.elf.provides) else { continue };
            // A library without any versions is taken as it is.
            if !provides.is_empty() && !provides.contains(&required.version) {
                let versions = self.versions.entry(library).or_default();
                versions.entry(required.version.as_str()).or_default().insert(root);
            }
        }
    }
}

/// Libraries that nobody finds, a finding for each.
fn missing(
    subject: &Subject,
    world: &World<'_>,
    pythons: &Pythons<'_>,
    (parts, asked): (&Parts, &Asked<'_>),
    findings: &mut Findings<'_>,
) {
    let mut groups: BTreeMap<(&'static str, &str), Vec<usize>> = BTreeMap::new();
    for (object, library) in asked.missing.difference(&asked.satisfied) {
        let rule = if DRIVERS.iter().any(|driver| library.starts_with(driver)) {
            DRIVER
        } else if !asked.started.contains(object) && elsewhere(world, pythons, library).is_some() {
            PRELOADED
        } else if parts.get(*object) == Part::Unused {
            UNUSED
        } else if asked.loaded.contains(object) {
            LIBRARY
        } else {
            OPTIONAL
        };
        groups.entry((rule, library)).or_default().push(*object);
    }
    let packages = Packages::of(subject);
    for ((rule, library), numbers) in groups {
        let mut files: Vec<String> = numbers.iter().filter_map(|number| Some(world.get(*number)?.place())).collect();
        files.sort();
        let place = files.first().cloned().unwrap_or_default();
        let count = counted(files.len(), "file needs it", "files need it");
        let message = match rule {
            DRIVER => format!("`{library}` comes with the driver: {count}"),
            PRELOADED => {
                let other = elsewhere(world, pythons, library).map(Object::place).unwrap_or_default();
                format!("`{library}` is `{other}`, where the loader does not look: {count}")
            }
            _ => format!("`{library}` is missing: {count}"),
        };
        let mut draft = with_files(Draft::new(rule, place, message), files.iter().map(String::as_str));
        if let Some(other) = world.named(library).next().filter(|_| !matches!(rule, DRIVER | PRELOADED)) {
            draft = draft.detail(format!("`{}` is it, where the loader does not look for that name", other.place()));
        }
        if !matches!(rule, DRIVER | PRELOADED)
            && let Some(fix) = packages.fix(library)
        {
            draft = draft.fix(fix);
        }
        findings.add(draft);
    }
}

/// A file that may have been loaded before: it has the name itself, or is in an environment, whose packages load theirs
/// by path. A library of the system whose link is missing is not found by anybody.
fn elsewhere<'w, 'a>(world: &'w World<'a>, pythons: &Pythons<'_>, library: &str) -> Option<&'w Object<'a>> {
    let mut known = world.named(library);
    known.find(|object| object.path.name() == library || pythons.environment_of(object.path).is_some())
}

/// Libraries that are too old, a finding for each.
fn versions(world: &World<'_>, asked: &Asked<'_>, findings: &mut Findings<'_>) {
    for (library, versions) in &asked.versions {
        let Some(object) = world.get(*library) else { continue };
        let needed_by: BTreeSet<usize> = versions.values().flatten().copied().collect();
        let is_loaded = needed_by.iter().any(|number| asked.loaded.contains(number));
        let rule = if is_loaded { VERSION } else { OPTIONAL };
        let names: Vec<String> = versions.keys().map(|name| format!("`{name}`")).collect();
        let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
        let count = counted(needed_by.len(), "file needs", "files need");
        let message = format!("it has no {shown}{more}, which {count}");
        let mut draft = Draft::new(rule, object.place(), message);
        if let Some(newest) = newest(&object.elf.provides, versions.keys().next()) {
            draft = draft.detail(format!("the newest version that it has is {newest}"));
        }
        let files = needed_by.iter().filter_map(|number| world.get(*number)).map(Object::place).collect::<Vec<_>>();
        findings.add(with_files(draft, files.iter().map(String::as_str)));
    }
}

/// The greatest version of the same family: `GLIBC_2.36` for `GLIBC_2.38`.
fn newest<'a>(provides: &'a [String], wanted: Option<&&str>) -> Option<&'a str> {
    let family = |name: &str| name.rsplit_once('_').map(|(family, _)| family.to_string());
    let number = |name: &str| -> Vec<u32> {
        let digits = name.rsplit_once('_').map_or("", |(_, digits)| digits);
        digits.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    let wanted = family(wanted?)?;
    let same = provides.iter().filter(|name| family(name).as_deref() == Some(&wanted));
    same.max_by_key(|name| number(name)).map(String::as_str)
}
