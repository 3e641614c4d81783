//! Bytecode: for the image's Python, and made of the sources that are there.

use std::collections::BTreeMap;

use crate::layer::TreePath;
use crate::python::{cache_tag, magic};
use crate::target::PythonVersion;
use crate::validate::findings::{Draft, Findings};
use crate::validate::python::Pythons;
use crate::validate::subject::{Fact, Subject};

/// How many files a finding names.
const NAMED: usize = 20;

/// Looks at every `.pyc`.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    let mut unusable: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stale: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let only = only_version(pythons);
    for (path, fact) in subject.files() {
        let Some(stem) = path.name().strip_suffix(".pyc") else { continue };
        let Some(folder) = path.parent() else { continue };
        if folder.name() == "__pycache__" {
            if let Some(why) = cached(subject, pythons, &folder, stem, fact) {
                stale.entry(why).or_default().push(format!("/{path}"));
            }
        } else if let Some(why) = sourceless(subject, pythons, only, path, fact) {
            unusable.entry(why).or_default().push(format!("/{path}"));
        }
    }
    for (why, files) in unusable {
        tell("start-bytecode", &files, &why, findings);
    }
    for (why, files) in stale {
        tell("start-stale-bytecode", &files, why, findings);
    }
}

fn tell(rule: &'static str, files: &[String], why: &str, findings: &mut Findings<'_>) {
    let count = if files.len() == 1 { "one module".to_string() } else { format!("{} modules", files.len()) };
    let draft = Draft::new(rule, files.first().cloned().unwrap_or_default(), format!("{count}: {why}"));
    findings.add(files.iter().take(NAMED).fold(draft, |draft, file| draft.detail(file.clone())));
}

/// The version of the image's Python, if it has one alone.
fn only_version(pythons: &Pythons<'_>) -> Option<PythonVersion> {
    let mut versions = pythons.interpreters.iter().map(|one| one.version);
    let first = versions.next()?;
    versions.all(|other| other.compatible(&first)).then_some(first)
}

/// `x.pyc` where `x.py` would be. Beside a source it is never looked at.
fn sourceless(
    subject: &Subject,
    pythons: &Pythons<'_>,
    only: Option<PythonVersion>,
    path: &TreePath,
    fact: &Fact,
) -> Option<String> {
    let source = path.as_str().strip_suffix('c')?;
    if subject.root.follow(source).is_some() {
        return None;
    }
    let version = pythons.environment_of(path).and_then(|one| one.version).or(only)?;
    let expected = magic(version)?;
    let found: [u8; 4] = fact.content.head.get(..4)?.try_into().ok()?;
    (found != expected).then(|| match python_of(found) {
        Some(other) => format!("bytecode of Python {}, the image has {}", other.short(), version.short()),
        None => format!("bytecode of an unknown Python, the image has {}", version.short()),
    })
}

/// `__pycache__/x.cpython-311.pyc`: why the Python of that name will not use it.
fn cached(
    subject: &Subject,
    pythons: &Pythons<'_>,
    folder: &TreePath,
    stem: &str,
    fact: &Fact,
) -> Option<&'static str> {
    let (module, tag) = stem.strip_suffix(".opt-1").or(stem.strip_suffix(".opt-2")).unwrap_or(stem).rsplit_once('.')?;
    let version = pythons.interpreters.iter().map(|one| one.version).find(|version| cache_tag(*version) == tag)?;
    let source = subject.file(&folder.parent()?.join(&format!("{module}.py")).ok()?)?;
    let head = &fact.content.head;
    let word = |at: usize| head.get(at..at + 4).and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
    if head.get(..4) != magic(version).as_ref().map(<[u8; 4]>::as_slice) {
        // A version whose number is not known is not judged.
        return magic(version).map(|_| "its magic number is not that of the Python in its name");
    }
    let (Some(0), Some(time), Some(size)) = (word(4), word(8), word(12)) else { return None };
    // The kernel and Python keep the low 32 bits of both.
    if size != (source.member.size & 0xffff_ffff) as u32 {
        return Some("it was made of a source of another size");
    }
    (time != (source.member.mtime & 0xffff_ffff) as u32).then_some("it was made of a source with another time")
}

/// Which Python writes a magic number.
fn python_of(number: [u8; 4]) -> Option<PythonVersion> {
    (6..=30).map(|minor| PythonVersion::new(3, minor)).find(|version| magic(*version) == Some(number))
}
