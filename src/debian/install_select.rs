//! What of one package goes into the image, before other packages are asked.

use std::collections::BTreeSet;

use super::{Deb, Keep};
use crate::layer::{Content, Entry, Kind, TreePath};

/// One package and those of its entries that are wanted.
pub(super) struct Selected<'a> {
    pub deb: &'a Deb,
    /// Sorted by path.
    pub entries: Vec<(&'a TreePath, &'a Entry)>,
    /// The bytes of files that are left out by rule.
    pub left_out: u64,
}

/// Leaves out what `keep` does not keep, and folders that hold nothing for that reason.
pub(super) fn select<'a>(deb: &'a Deb, keep: &Keep) -> Selected<'a> {
    let (out, kept): (Vec<_>, Vec<_>) = deb.entries.iter().partition(|(path, _)| keep.leaves_out(path));
    let size = |entry: &Entry| if let Kind::File(content) = &entry.kind { Content::size(content) } else { 0 };
    let left_out = out.iter().map(|(_, entry)| size(entry)).sum();
    let is_folder = |entry: &Entry| matches!(entry.kind, Kind::Directory);
    let parents = |path: &TreePath| path.ancestors().into_iter();
    let hollow: BTreeSet<TreePath> = out.iter().flat_map(|(path, _)| parents(path)).collect();
    let needed = kept.iter().filter(|(path, entry)| !is_folder(entry) || !hollow.contains(path));
    let needed: BTreeSet<TreePath> = needed.flat_map(|(path, _)| parents(path)).collect();
    // A folder that is left out itself is needed for a licence in it.
    let wanted = deb.entries.iter().filter(|(path, entry)| match (is_folder(entry), keep.leaves_out(path)) {
        (false, out) => !out,
        (true, out) => needed.contains(path) || (!out && !hollow.contains(path)),
    });
    Selected { deb, entries: wanted.map(|(path, entry)| (path, entry)).collect(), left_out }
}

#[cfg(test)]
mod tests {
    use super::super::deb_testing::RawDeb;
    use super::*;
    use crate::layer::Store;

    #[test]
    fn no_hollow_folder_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let folders = ["usr", "usr/share", "usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/x", "usr/share/doc/b"];
        let more =
            ["usr/share/man", "usr/share/man/man1", "usr/share/empty", "usr/share/locale", "usr/share/locale/de"];
        let deb = RawDeb::new("a", "1", "all", "").data(|tar| {
            let tar = folders.iter().chain(&more).fold(tar, |tar, path| tar.folder(&format!("./{path}/")));
            tar.file("./usr/share/doc/a/copyright", b"1")
                .file("./usr/share/doc/a/changelog", b"12")
                .file("./usr/share/doc/a/x/y", b"1234")
                .file("./usr/share/doc/b/z", b"")
                .symlink("./usr/share/doc/c", "a")
                .file("./usr/share/man/man1/a.1", b"12345678")
                .file("./usr/share/locale/de/a.mo", b"1")
                .file("./usr/share/locale/locale.alias", b"1")
        });
        let deb = deb.open(&store).unwrap();
        let selected = select(&deb, &Keep::default());
        let paths: Vec<&str> = selected.entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "usr",
                "usr/share",
                "usr/share/doc",
                "usr/share/doc/a",
                "usr/share/doc/a/copyright",
                "usr/share/doc/c",
                "usr/share/empty",
                "usr/share/locale",
                "usr/share/locale/locale.alias"
            ]
        );
        assert_eq!(selected.left_out, 2 + 4 + 8 + 1);
        assert_eq!(select(&deb, &Keep::parse(&["all"]).unwrap()).entries.len(), deb.entries.len());
    }
}
