//! The entries of the layers' tars.

use std::collections::{BTreeMap, BTreeSet};

use crate::layer::TreePath;
use crate::layer::read::{Member, MemberKind};
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::layer::Layer;
use crate::validate::subject::Subject;

/// The largest user or group id that a rootless engine can map: it has 65,536 ids by default.
const OWNER_LIMIT: u32 = 65_535;
/// How long all paths of folders may be together that are looked up, in bytes: a hostile layer has endless ones.
const STEPS: usize = 256 << 20;
/// Times that every file system can keep: from 1970 to 2106.
const TIMES: std::ops::RangeInclusive<i64> = 0..=0xffff_ffff;

/// Devices that are in every `/dev`.
const DEVICES: [&str; 8] = ["console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"];

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    let mut below = BTreeSet::new();
    let (mut orphans, mut steps) = (BTreeSet::new(), STEPS);
    for layer in &subject.layers {
        let own = own(layer);
        one_by_one(layer, findings);
        duplicates(layer, findings);
        whiteouts(layer, &own, findings);
        late_links(layer, &own, findings);
        // Otherwise the folder may be in what was not read.
        if subject.is_whole() {
            orphans.extend(own.keys().filter_map(|path| missing_parent(path, &own, &below, &mut steps)));
        }
        below.extend(own.into_keys());
    }
    let paths = orphans.iter().map(|path| format!("/{path}")).collect();
    findings.extend(Draft::about("entry-parent", "layers", paths, |count| match count {
        1 => "no layer has this folder, although something is in it".into(),
        count => format!("no layer has {count} folders in which something is"),
    }));
    if subject.is_whole() {
        unmerged(subject, findings);
    }
}

/// What no engine could unpack, one finding a layer.
fn unmerged(subject: &Subject, findings: &mut Findings<'_>) {
    for (number, layer) in subject.layers.iter().enumerate() {
        let mut reasons = subject.unmerged.iter().filter(|(other, _)| *other == number).map(|(_, reason)| reason);
        let Some(first) = reasons.next() else { continue };
        let more = reasons.clone().count();
        let more = if more == 0 { String::new() } else { format!(", and {more} more like it") };
        let draft = Draft::new("entry-link", &layer.blob.name, format!("{}{more}", brief(first))).detail(first);
        findings.add(reasons.fold(draft, |draft, reason| draft.detail(reason)));
    }
}

/// What a layer adds: each path, and how many entries come before it.
fn own(layer: &Layer) -> BTreeMap<&TreePath, u64> {
    let adds = |member: &&Member| is_added(&member.kind);
    let members = layer.facts.iter().map(|fact| &fact.member).filter(adds);
    let mut own = BTreeMap::new();
    for member in members {
        if let Some(path) = &member.path {
            own.entry(path).or_insert(member.ordinal);
        }
    }
    own
}

fn is_added(kind: &MemberKind) -> bool {
    !matches!(kind, MemberKind::Whiteout | MemberKind::Opaque | MemberKind::Ignored)
}

/// The highest folder above a path that no layer has. Each folder that is looked up is a step; there are only so many.
fn missing_parent(
    path: &TreePath,
    own: &BTreeMap<&TreePath, u64>,
    below: &BTreeSet<&TreePath>,
    steps: &mut usize,
) -> Option<TreePath> {
    let mut missing = None;
    let mut next = path.parent();
    while let Some(parent) = next {
        *steps = steps.checked_sub(parent.as_str().len())?;
        if own.contains_key(&parent) || below.contains(&parent) {
            break;
        }
        next = parent.parent();
        missing = Some(parent);
    }
    missing
}

/// What can be said of an entry without looking at the others.
fn one_by_one(layer: &Layer, findings: &mut Findings<'_>) {
    type Test = fn(&Member) -> bool;
    type Told = fn(usize) -> String;
    let tests: [(&'static str, Test, Told); 5] = [
        (
            "entry-path",
            |member| member.absolute || member.lossy,
            |count| format!("{} an absolute path, or bytes that are no text", entries(count, "has", "have")),
        ),
        (
            "entry-device",
            |member| member.kind == MemberKind::Special && !is_of_every_dev(member),
            |count| format!("{} no file, folder or link, but a device or a pipe", entries(count, "is", "are")),
        ),
        (
            "entry-owner",
            |member| member.uid > OWNER_LIMIT || member.gid > OWNER_LIMIT,
            |count| format!("{} to a user or a group above {OWNER_LIMIT}", entries(count, "belongs", "belong")),
        ),
        (
            "entry-time",
            |member| !TIMES.contains(&member.mtime),
            |count| format!("{} before 1970 or after 2106", entries(count, "was changed", "were changed")),
        ),
        (
            "entry-attribute",
            |member| member.xattrs.iter().any(|name| !is_portable(name)),
            |count| {
                format!("{} an extended attribute of one machine or one file system", entries(count, "has", "have"))
            },
        ),
    ];
    for (rule, test, told) in tests {
        let hit = layer.facts.iter().filter(|fact| test(&fact.member));
        findings.extend(Draft::about(rule, &layer.blob.name, hit.map(|fact| fact.place()).collect(), told));
    }
}

fn entries(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("it {one}") } else { format!("{count} entries {many}") }
}

/// What is in the `/dev` that every engine makes: it stands before the image's.
fn is_of_every_dev(member: &Member) -> bool {
    let name = member.path.as_ref().and_then(|path| path.as_str().strip_prefix("dev/"));
    name.is_some_and(|name| DEVICES.contains(&name))
}

/// What means the same wherever it is unpacked.
fn is_portable(name: &str) -> bool {
    name == "security.capability" || name.starts_with("user.")
}

/// The same path twice, unless both say the same of a folder.
fn duplicates(layer: &Layer, findings: &mut Findings<'_>) {
    let mut first: BTreeMap<&TreePath, &Member> = BTreeMap::new();
    let mut paths = Vec::new();
    for member in layer.facts.iter().map(|fact| &fact.member).filter(|member| is_added(&member.kind)) {
        let Some(path) = &member.path else { continue };
        let Some(other) = first.insert(path, member) else { continue };
        let meta = |member: &Member| (member.mode, member.uid, member.gid);
        let same = other.kind == MemberKind::Directory && member.kind == other.kind && meta(member) == meta(other);
        if !same {
            paths.push(format!("/{path}"));
        }
    }
    paths.sort();
    paths.dedup();
    findings.extend(Draft::about("entry-duplicate", &layer.blob.name, paths, |count| match count {
        1 => "it is in one layer twice".into(),
        count => format!("{count} paths are in one layer twice"),
    }));
}

/// A whiteout is for what the layers below have: of the same layer, engines do different things.
fn whiteouts(layer: &Layer, own: &BTreeMap<&TreePath, u64>, findings: &mut Findings<'_>) {
    let hidden = layer.facts.iter().filter(|fact| fact.member.kind == MemberKind::Whiteout);
    let paths = hidden.filter_map(|fact| fact.member.path.as_ref()).filter(|path| own.contains_key(path));
    let paths = paths.map(|path| format!("/{path}")).collect();
    findings.extend(Draft::about("entry-whiteout", &layer.blob.name, paths, |count| match count {
        1 => "one layer both adds and hides it".into(),
        count => format!("one layer both adds and hides {count} paths"),
    }));
}

/// Hard links before what they are a name of. Those to nothing at all were found when the layers were merged.
fn late_links(layer: &Layer, own: &BTreeMap<&TreePath, u64>, findings: &mut Findings<'_>) {
    let late = |member: &Member| match &member.kind {
        MemberKind::Hardlink(target) => own.get(target).is_some_and(|ordinal| *ordinal > member.ordinal),
        _ => false,
    };
    let paths = layer.facts.iter().filter(|fact| late(&fact.member)).map(|fact| fact.place()).collect();
    findings.extend(Draft::about("entry-link", &layer.blob.name, paths, |count| match count {
        1 => "it is a hard link to an entry that comes only later".into(),
        count => format!("{count} hard links come before what they are names of"),
    }));
}
