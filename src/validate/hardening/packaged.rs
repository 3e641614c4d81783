//! Which files are those of a package: of the distribution, or of Python.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::layer::TreePath;
use crate::oci::Digest;
use crate::validate::subject::Subject;

/// Folders that are links to the same folder of `usr` today.
const MERGED: [&str; 6] = ["bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/"];

/// Files by path, without a leading slash.
#[derive(Default)]
pub(in crate::validate) struct Packaged {
    /// Of dpkg and apk.
    system: BTreeSet<String>,
    /// Of Python's distributions, with the digest that their RECORD has for each.
    python: BTreeMap<String, Digest>,
}

impl Packaged {
    /// What the databases in any of the layers list.
    pub(super) fn of(subject: &Subject) -> Packaged {
        let mut all = Packaged::system(subject);
        for (path, text) in texts(subject).filter(|(path, _)| path.name() == "RECORD") {
            all.record(path, &String::from_utf8_lossy(text));
        }
        all
    }

    /// The same of the system's package managers alone.
    pub(in crate::validate) fn system(subject: &Subject) -> Packaged {
        let mut all = Packaged::default();
        for (path, text) in texts(subject) {
            let text = || String::from_utf8_lossy(text);
            match path.as_str() {
                path if path.starts_with("var/lib/dpkg/info/") && path.ends_with(".list") => all.list(&text()),
                path if path.starts_with("var/lib/dpkg/status.d/") && path.ends_with(".md5sums") => all.sums(&text()),
                "lib/apk/db/installed" => all.alpine(&text()),
                _ => {}
            }
        }
        all
    }

    /// Whether no package of the system's is known: the image has no such database, or it was left out.
    pub(in crate::validate) fn has_no_system(&self) -> bool {
        self.system.is_empty()
    }

    /// Whether the distribution brings a file of this path.
    pub(in crate::validate) fn is_system(&self, path: &TreePath) -> bool {
        self.system.contains(path.as_str())
    }

    /// Whether a package brings a file of this path.
    pub(super) fn is_known(&self, path: &TreePath) -> bool {
        self.is_system(path) || self.python.contains_key(path.as_str())
    }

    /// Whether a package brings this very file: everybody can have it.
    pub(super) fn is_public(&self, path: &TreePath, digest: Option<&Digest>) -> bool {
        self.is_system(path) || digest.is_some() && self.python.get(path.as_str()) == digest
    }

    fn add(&mut self, path: &str) {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        if MERGED.iter().any(|folder| path.starts_with(folder)) {
            self.system.insert(format!("usr/{path}"));
        }
        self.system.insert(path.to_string());
    }

    fn list(&mut self, text: &str) {
        text.lines().for_each(|line| self.add(line));
    }

    /// `md5  path`, as images without dpkg have them.
    fn sums(&mut self, text: &str) {
        text.lines().filter_map(|line| line.split_once("  ")).for_each(|(_, path)| self.add(path));
    }

    /// `F:` is a folder, `R:` a file in it.
    fn alpine(&mut self, text: &str) {
        let mut folder = "";
        for line in text.lines() {
            match line.split_once(':') {
                Some(("F", path)) => folder = path,
                Some(("R", name)) => self.add(&format!("{folder}/{name}")),
                _ => {}
            }
        }
    }

    /// `path,sha256=digest,size`, relative to the folder that holds the distribution's own.
    fn record(&mut self, record: &TreePath, text: &str) {
        let Some(site) = record.parent().and_then(|info| info.parent()) else { return };
        for line in text.lines() {
            let mut fields = line.rsplitn(3, ',');
            let (_, Some(hash), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let digest = hash.strip_prefix("sha256=").and_then(|hash| BASE64.decode(hash).ok());
            let Some(digest) = digest.and_then(|raw| Digest::from_hex(&hex::encode(raw)).ok()) else { continue };
            if let Some(path) = joined(&site, path.trim_matches('"')) {
                self.python.insert(path, digest);
            }
        }
    }
}

/// The files of all layers of which the text was kept.
fn texts(subject: &Subject) -> impl Iterator<Item = (&TreePath, &[u8])> {
    let facts = subject.layers.iter().flat_map(|layer| &layer.facts);
    facts.filter_map(|fact| Some((fact.member.path.as_ref()?, fact.content.text.as_deref()?)))
}

/// `../../../bin/x` from a folder.
fn joined(folder: &TreePath, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.as_str().split('/').collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_every_database() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let mut all = Packaged::default();
        all.list("/.\n/bin\n/bin/su\n/usr/share/doc/x\n");
        all.sums("d41d8cd98f00b204e9800998ecf8427e  etc/ssl/x.key\n");
        all.alpine("C:x\nF:usr/bin\nR:ssh\nF:etc\nR:motd\n");
        let digest = Digest::of(b"x");
        let hash = BASE64.encode(digest.as_bytes());
        let record = format!(
            "pkg/a.py,sha256={hash},1\n../../../bin/tool,sha256={hash},1\npkg/b.pyc,,\n../../../../../../x,sha256={hash},1\n"
        );
        all.record(&path("opt/venv/lib/python3.11/site-packages/pkg-1.dist-info/RECORD"), &record);
        for one in ["usr/bin/su", "bin/su", "usr/share/doc/x", "etc/ssl/x.key", "usr/bin/ssh", "etc/motd"] {
            assert!(all.is_system(&path(one)) && all.is_public(&path(one), None), "{one}");
        }
        let module = path("opt/venv/lib/python3.11/site-packages/pkg/a.py");
        assert!(all.is_public(&module, Some(&digest)) && all.is_known(&path("opt/venv/bin/tool")));
        assert!(!all.is_public(&module, Some(&Digest::of(b"y"))) && !all.is_public(&module, None));
        assert_eq!(all.python.len(), 2);
    }
}
