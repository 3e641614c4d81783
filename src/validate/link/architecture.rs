//! Files and wheels for another processor, another C library, another Python.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Object, World};
use super::{ARCHITECTURE, FOREIGN, WHEEL, counted, with_files};
use crate::oci::Platform;
use crate::python::{Headers, Tag, shown};
use crate::target::{Libc, PythonVersion};
use crate::validate::findings::{Draft, Findings};
use crate::validate::python::{Distribution, Environment, Pythons};
use crate::validate::subject::Subject;

/// The most tags of one wheel that are looked at.
const TAGS_LIMIT: usize = 2_000;

/// Looks for them.
pub(super) fn look(subject: &Subject, world: &World<'_>, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    foreign(subject, world, pythons, findings);
    let has_musl = world.objects.iter().any(|object| super::loader::is_musl(object.path.name()));
    let has_glibc = world.objects.iter().any(|object| object.path.name() == "libc.so.6");
    let libc = match (has_glibc, has_musl) {
        (true, _) => Some(Libc::Glibc(2, 0)),
        (_, true) => Some(Libc::Musl(1, 0)),
        _ => None,
    };
    for environment in &pythons.environments {
        let Some(version) = environment.version else { continue };
        let own = environment.folders.iter().filter_map(|folder| pythons.installed.get(folder)).flatten();
        for distribution in own.filter(|one| is_own(environment, one)) {
            wheel(subject, distribution, version, libc, findings);
        }
    }
}

/// A virtual environment that sees its installation does not tell of what is installed there.
fn is_own(environment: &Environment, distribution: &Distribution<'_>) -> bool {
    environment.venv.is_none() || distribution.info.as_str().starts_with(&format!("{}/", environment.prefix))
}

/// Programs and libraries for other processors: an error where nothing else is there, else told.
fn foreign(subject: &Subject, world: &World<'_>, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    let path = subject.config.env_var("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let searched: BTreeSet<String> = path
        .split(':')
        .chain(["/lib", "/usr/lib", "/lib64", "/usr/lib64"])
        .filter_map(|folder| Some(subject.root.follow(folder)?.to_string()))
        .collect();
    let packages_with_native: BTreeSet<String> = world
        .objects
        .iter()
        .filter(|object| object.native)
        .filter_map(|object| pythons.package_of(object.path))
        .collect();
    let mut groups: BTreeMap<(&'static str, String, String), Vec<&Object<'_>>> = BTreeMap::new();
    for object in world.objects.iter().filter(|object| !object.native && object.elf.damage.is_none()) {
        let machine = object.elf.machine.name();
        let folder = object.path.parent().map(|folder| folder.to_string()).unwrap_or_default();
        let (rule, group) = match pythons.package_of(object.path) {
            Some(package) if packages_with_native.contains(&package) => (FOREIGN, package),
            Some(package) => (ARCHITECTURE, package),
            None if searched.contains(&folder) && !runs_too(subject, world, object) => (ARCHITECTURE, String::new()),
            None => (FOREIGN, String::new()),
        };
        groups.entry((rule, machine, group)).or_default().push(object);
    }
    for ((rule, machine, _), objects) in groups {
        let files: Vec<String> = objects.iter().map(|object| object.place()).collect();
        let count = counted(files.len(), "file is", "files are");
        let message = format!("{count} for {machine}, the image is for {}", subject.platform.architecture);
        let draft = Draft::new(rule, files.first().cloned().unwrap_or_default(), message);
        findings.add(with_files(draft, files.iter().map(String::as_str)));
    }
}

/// Kernels of 64 bits run programs of 32, if their loader is there (or none is needed).
fn runs_too(subject: &Subject, world: &World<'_>, object: &Object<'_>) -> bool {
    let pair = (subject.platform.architecture.as_str(), object.elf.machine.architecture());
    let loader = || match &object.elf.interpreter {
        Some(path) => subject.root.follow(path).is_some_and(|real| world.at(real.as_str()).is_some()),
        None => true,
    };
    matches!(pair, ("amd64", Some("386")) | ("arm64", Some("arm"))) && loader()
}

/// A wheel that fits with none of its tags.
fn wheel(
    subject: &Subject,
    distribution: &Distribution<'_>,
    version: PythonVersion,
    libc: Option<Libc>,
    findings: &mut Findings<'_>,
) {
    let text = distribution.wheel.and_then(|fact| fact.content.text.as_deref()).unwrap_or_default();
    let headers = Headers::parse(text);
    let tags: Vec<Tag> = headers.all("Tag").into_iter().take(TAGS_LIMIT).flat_map(tags_of).collect();
    if tags.is_empty() || tags.iter().any(|tag| fits(tag, &subject.platform, version, libc)) {
        return;
    }
    let named: Vec<String> = tags.iter().take(3).map(|tag| format!("`{}`", shown(&tag.to_string()))).collect();
    let message = format!(
        "{} {} is a wheel for {}, the image has Python {} on {}{}",
        shown(&distribution.name),
        shown(&distribution.version),
        named.join(", "),
        version.short(),
        subject.platform,
        match libc {
            Some(Libc::Glibc(..)) => " with glibc",
            Some(Libc::Musl(..)) => " with musl",
            None => "",
        },
    );
    findings.add(Draft::new(WHEEL, format!("/{}", distribution.info), message));
}

fn tags_of(text: &str) -> Vec<Tag> {
    match text.split('-').collect::<Vec<_>>()[..] {
        // Compressed sets multiply.
        [python, abi, platform] if text.len() < 256 => Tag::expand(python, abi, platform),
        _ => Vec::new(),
    }
}

/// Loosely: of versions of the C library, symbols tell more than tags, which some tools leave as they were.
fn fits(tag: &Tag, platform: &Platform, version: PythonVersion, libc: Option<Libc>) -> bool {
    let machine = platform.machine();
    let other_libc = match libc {
        Some(Libc::Glibc(..)) => "musllinux",
        Some(Libc::Musl(..)) => "manylinux",
        None => "\0",
    };
    let system = tag.platform == "any"
        || tag.platform.contains("linux")
            && !tag.platform.starts_with(other_libc)
            && (tag.platform.ends_with(machine) || tag.platform.ends_with("_universal"));
    let own = format!("{}{}", version.major, version.minor);
    let python = match (tag.python.strip_prefix("cp"), tag.abi.as_str()) {
        (Some(number), "abi3" | "none") => {
            number.get(1..).and_then(|minor| minor.parse::<u8>().ok()).is_none_or(|minor| minor <= version.minor)
        }
        (Some(number), abi) => number == own && abi.starts_with(&format!("cp{own}")),
        (None, _) => match tag.python.strip_prefix("py") {
            Some(number) => number.starts_with(&version.major.to_string()),
            None => !tag.python.starts_with("pp"),
        },
    };
    system && python
}
