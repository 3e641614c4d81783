//! Rules: every program and library finds what it needs, as the dynamic loader will look for it.
//!
//! [`world`] has every ELF file of the image, [`loader`] looks for a library as glibc or musl do, [`process`] loads a
//! file with all that it needs as one process would, and [`judge`] makes findings of what was missing.

mod architecture;
mod judge;
mod loader;
mod packages;
mod process;
mod world;

#[cfg(test)]
mod tests;

use super::findings::{Draft, Findings};
use super::python::Pythons;
use super::rule::Declared;
use super::subject::Subject;
use crate::check::Severity;
use loader::Loader;
use world::World;

const ARCHITECTURE: &str = "link-architecture";
const DAMAGED: &str = "link-damaged";
const DRIVER: &str = "link-driver";
const FOREIGN: &str = "link-foreign";
const INTERPRETER: &str = "link-interpreter";
const LIBC: &str = "link-libc";
const LIBRARY: &str = "link-library";
const OPTIONAL: &str = "link-optional";
const PRELOADED: &str = "link-preloaded";
const UNUSED: &str = "link-unused";
const VERSION: &str = "link-version";
const WHEEL: &str = "link-wheel";

/// How many files a finding names.
const NAMED: usize = 20;

/// The rules of this group.
pub(super) const RULES: &[Declared] = &[
    Declared {
        id: ARCHITECTURE,
        severity: Severity::Error,
        title: "programs or libraries for another processor",
        why: "The kernel cannot start them, the loader passes over them.",
        fix: "Install what is made for the image's platform, or give the image the platform that its files have.",
        breaks: "an amd64 image with an arm64 `/usr/bin/tool`",
        passes: "an amd64 image with an amd64 `/usr/bin/tool`",
    },
    Declared {
        id: DAMAGED,
        severity: Severity::Warning,
        title: "a program or library that no loader can load",
        why: "It is cut off, or its headers lead nowhere.",
        fix: "Install the package again; if it is a sample of a test suite, leave it out.",
        breaks: "a library of which the end is missing",
        passes: "the whole library",
    },
    Declared {
        id: DRIVER,
        severity: Severity::Info,
        title: "libraries that come with the driver of the GPU",
        why: "They are in no image: the container runtime puts those of the host in.",
        fix: "Nothing, if the image runs with a GPU.",
        breaks: "an extension module that needs `libcuda.so.1`",
        passes: "one that needs nothing",
    },
    Declared {
        id: FOREIGN,
        severity: Severity::Info,
        title: "files for another processor that a package brings along",
        why: "They cannot run here; the package chooses among those it has.",
        fix: "Nothing; leave them out if they are large.",
        breaks: "a package with a helper for arm64 beside the one for amd64",
        passes: "a package with the one for amd64",
    },
    Declared {
        id: INTERPRETER,
        severity: Severity::Error,
        title: "a program whose loader is missing",
        why: "The kernel says \"No such file or directory\" of a program that is there.",
        fix: "Add the C library that the program was linked with, or take a build of the program for this image's.",
        breaks: "`/usr/bin/tool` for `/lib/ld-musl-x86_64.so.1` in an image without musl",
        passes: "the same with that file",
    },
    Declared {
        id: LIBC,
        severity: Severity::Error,
        title: "files for another C library",
        why: "glibc's and musl's libraries cannot be loaded by one another.",
        fix: "Install wheels for this image's C library: manylinux for glibc, musllinux for musl.",
        breaks: "an extension module that needs `libc.musl-x86_64.so.1` in an image with glibc",
        passes: "one that needs `libc.so.6`",
    },
    Declared {
        id: LIBRARY,
        severity: Severity::Error,
        title: "a library that is missing",
        why: "The program does not start, or the module cannot be imported: \"cannot open shared object file\".",
        fix: "Add the package that has the library.",
        breaks: "an extension module that needs `libGL.so.1`, which nothing has",
        passes: "the same with `/usr/lib/libGL.so.1`",
    },
    Declared {
        id: OPTIONAL,
        severity: Severity::Warning,
        title: "a part that cannot be loaded, but may never be asked for",
        why: "Plugins and helpers are loaded by name, when something asks for them.",
        fix: "Add the package that has the library, if that part is used.",
        breaks: "a plugin in a folder of its own that needs `libmissing.so.1`",
        passes: "a plugin that needs nothing",
    },
    Declared {
        id: PRELOADED,
        severity: Severity::Info,
        title: "libraries that only Python code or another library can find",
        why: "The loader does not look where they are. That works if the package loads them first, as some do.",
        fix: "Nothing, if the package's own import does it.",
        breaks: "an extension module that needs a library of another package's folder",
        passes: "the same with that folder in its RUNPATH",
    },
    Declared {
        id: UNUSED,
        severity: Severity::Info,
        title: "parts of the system that cannot be loaded, and that no service asks for",
        why: "Python is often installed without what its windows or databases need, small systems without what their administrator's programs do.",
        fix: "Add the package that has the library, if the application imports the module or runs the program.",
        breaks: "`_tkinter` of the standard library without `libtk8.6.so`",
        passes: "an installation without `_tkinter`",
    },
    Declared {
        id: VERSION,
        severity: Severity::Error,
        title: "a library that is too old",
        why: "The loader refuses it: \"version `GLIBC_2.38' not found\".",
        fix: "Take a newer base, or a build for an older system (manylinux tags name the oldest glibc).",
        breaks: "a module that needs `GLIBC_2.38` of a C library that ends with `GLIBC_2.36`",
        passes: "one that needs `GLIBC_2.36`",
    },
    Declared {
        id: WHEEL,
        severity: Severity::Error,
        title: "a wheel for another platform",
        why: "Its tags fit neither the image's Python, nor its processor and C library.",
        fix: "Lock and install for the image's platform.",
        breaks: "a wheel with `Tag: cp311-cp311-manylinux_2_17_aarch64` in an amd64 image",
        passes: "one with `Tag: cp311-cp311-manylinux_2_17_x86_64`",
    },
];

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    let pythons = Pythons::of(subject);
    let world = World::of(subject);
    let loader = Loader::of(subject, &world);
    for object in &world.objects {
        if let Some(what) = object.elf.damage {
            findings.add(Draft::new(DAMAGED, object.place(), format!("it cannot be loaded: {what}")));
        }
    }
    architecture::look(subject, &world, &pythons, findings);
    judge::look(subject, &world, &loader, &pythons, findings);
}

/// Adds the files as details, and how many more there are.
fn with_files<'a>(mut draft: Draft, files: impl ExactSizeIterator<Item = &'a str>) -> Draft {
    let more = files.len().saturating_sub(NAMED);
    for file in files.take(NAMED) {
        draft = draft.detail(file);
    }
    if more > 0 { draft.detail(format!("and {more} more files")) } else { draft }
}

/// "one file needs it", "3 files need it".
fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}
