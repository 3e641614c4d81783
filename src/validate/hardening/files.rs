//! What files are allowed to do, and files that nobody needs.

use std::collections::BTreeMap;

use super::layer_name;
use super::packaged::Packaged;
use crate::layer::read::MemberKind;
use crate::layer::{BaseKind, TreePath};
use crate::text::size;
use crate::validate::findings::{Draft, Findings};
use crate::validate::subject::Subject;

/// Where package managers keep what they can fetch again: where it begins or what is in its path, how its files end,
/// and whose it is.
const CACHES: [(&str, &str, &str); 12] = [
    ("var/cache/apt/archives/", ".deb", "packages that apt has installed"),
    ("var/cache/apt/", "pkgcache.bin", "an index of apt's"),
    ("var/lib/apt/lists/", "", "lists of packages that apt has fetched"),
    ("var/cache/apk/", "", "packages of apk"),
    ("var/cache/dnf/", "", "packages of dnf"),
    ("var/cache/yum/", "", "packages of yum"),
    ("/.cache/pip/", "", "pip's cache"),
    ("/.cache/uv/", "", "uv's cache"),
    ("/.cache/pypoetry/", "", "Poetry's cache"),
    ("/.npm/_cacache/", "", "npm's cache"),
    ("opt/conda/pkgs/", "", "packages of conda"),
    ("/.cache/huggingface/", "", "models that were fetched"),
];

pub(super) fn look(subject: &Subject, packaged: &Packaged, findings: &mut Findings<'_>) {
    privileges(subject, packaged, findings);
    writable(subject, findings);
    caches(subject, findings);
}

/// Files that give whoever starts them the rights of somebody else.
fn privileges(subject: &Subject, packaged: &Packaged, findings: &mut Findings<'_>) {
    let base = subject.base_layers();
    let (mut brought, mut own) = (Vec::new(), Vec::new());
    for (path, fact) in subject.files() {
        let is_capable = fact.member.xattrs.iter().any(|name| name == "security.capability");
        if fact.member.mode & 0o6000 == 0 && !is_capable {
            continue;
        }
        let layer = subject.root.place(path).map_or(0, |(layer, _)| layer);
        let is_brought = match base {
            Some(base) => layer < base,
            None => packaged.is_system(path),
        };
        if is_brought { brought.push(format!("/{path}")) } else { own.push(format!("/{path}")) }
    }
    let told = |count: usize| match count {
        1 => "it runs with the rights of somebody else than who starts it".to_string(),
        count => format!("{count} files run with the rights of somebody else than who starts them"),
    };
    findings.extend(Draft::about("setuid", "image", own, told));
    findings.extend(Draft::about("setuid-packaged", "image", brought, told));
}

/// Files and folders that everybody may change.
fn writable(subject: &Subject, findings: &mut Findings<'_>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for (path, entry) in subject.root.iter().filter(|(_, entry)| entry.mode & 0o002 != 0) {
        match entry.kind {
            BaseKind::File => files.push(format!("/{path}")),
            BaseKind::Directory if entry.mode & 0o1000 == 0 => folders.push(format!("/{path}")),
            _ => {}
        }
    }
    findings.extend(Draft::about("world-writable", "image", folders, |count| match count {
        1 => "every user may add, replace and remove files in this folder".into(),
        count => format!("every user may add, replace and remove files in {count} folders"),
    }));
    findings.extend(Draft::about("world-writable", "image", files, |count| match count {
        1 => "every user may change this file".into(),
        count => format!("every user may change {count} files"),
    }));
}

/// Which cache a file is of: its folder, and whose it is.
fn cache(path: &TreePath) -> Option<(String, &'static str)> {
    let whole = path.as_str();
    if matches!(path.name(), "lock" | ".gitkeep" | "CACHEDIR.TAG") {
        return None;
    }
    CACHES.iter().find_map(|(place, end, what)| {
        if !whole.ends_with(end) {
            return None;
        }
        match place.strip_prefix('/') {
            None => whole.starts_with(place).then(|| (place.trim_end_matches('/').to_string(), *what)),
            Some(inner) => {
                let at = if whole.starts_with(inner) { 0 } else { whole.find(place)? + 1 };
                let end = at + inner.len() - 1;
                Some((whole.get(..end)?.to_string(), *what))
            }
        }
    })
}

/// Also in layers whose files later ones remove: the image is no smaller for that.
fn caches(subject: &Subject, findings: &mut Findings<'_>) {
    let mut found: BTreeMap<(usize, String, &str), (usize, u64)> = BTreeMap::new();
    for (number, layer) in subject.layers.iter().enumerate() {
        for fact in layer.facts.iter().filter(|fact| fact.member.kind == MemberKind::File && fact.member.size > 0) {
            let Some((folder, what)) = fact.member.path.as_ref().and_then(cache) else { continue };
            let sum = found.entry((number, folder, what)).or_default();
            *sum = (sum.0 + 1, sum.1 + fact.member.size);
        }
    }
    for ((layer, folder, what), (count, bytes)) in found {
        let files = if count == 1 { "1 file".into() } else { format!("{count} files") };
        let message = format!("{what}: {files}, {} in {}", size(bytes), layer_name(subject, layer));
        findings.add(Draft::new("package-cache", format!("/{folder}"), message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_known_by_their_places() {
        for (path, folder) in [
            ("var/cache/apt/archives/x_1_amd64.deb", Some("var/cache/apt/archives")),
            ("var/cache/apt/archives/partial/x", None),
            ("var/cache/apt/pkgcache.bin", Some("var/cache/apt")),
            ("var/lib/apt/lists/deb.example_dists_x_Packages.lz4", Some("var/lib/apt/lists")),
            ("var/lib/apt/lists/lock", None),
            ("root/.cache/pip/http/a/b", Some("root/.cache/pip")),
            (".cache/pip/x", Some(".cache/pip")),
            ("home/u/.npm/_cacache/index", Some("home/u/.npm/_cacache")),
            ("app/cache/pip/x", None),
        ] {
            let found = cache(&TreePath::new(path).unwrap());
            assert_eq!(found.as_ref().map(|(folder, _)| folder.as_str()), folder, "{path}");
        }
    }
}
