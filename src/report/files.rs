//! Listings of files.

use serde::Serialize;

use crate::image::Rootfs;
use crate::layer::{BaseEntry, BaseKind, TreePath};
use crate::text::escape;

/// One entry of an image.
#[derive(Serialize)]
pub struct FileLine {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// Entries of an image, sorted by path.
#[derive(Serialize)]
#[serde(transparent)]
pub struct FilesReport {
    files: Vec<FileLine>,
}

impl FilesReport {
    /// Of `folder` and what is below it, or of everything.
    pub fn new(rootfs: &Rootfs, folder: Option<&TreePath>) -> Self {
        let below = |path: &TreePath| folder.is_none_or(|folder| path.is_under(folder));
        let files = rootfs.iter().filter(|(path, _)| below(path));
        FilesReport { files: files.map(|(path, entry)| line(rootfs, path, entry)).collect() }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// A line each: the path, or everything.
    pub fn text(&self, long: bool) -> String {
        let mut out = String::new();
        for file in &self.files {
            let path = escape(&file.path);
            if !long {
                out.push_str(&format!("{path}\n"));
                continue;
            }
            let target = file.target.as_ref().map(|target| format!(" -> {}", escape(target))).unwrap_or_default();
            let letter = match file.kind {
                "directory" => 'd',
                "symlink" => 'l',
                "special" => '?',
                _ => '-',
            };
            let size = file.size.unwrap_or_default();
            out.push_str(&format!("{letter}{} {:>5}:{:<5} {size:>11} {path}{target}\n", file.mode, file.uid, file.gid));
        }
        out
    }
}

fn line(rootfs: &Rootfs, path: &TreePath, entry: &BaseEntry) -> FileLine {
    let (kind, target) = match &entry.kind {
        BaseKind::Directory => ("directory", None),
        BaseKind::File => ("file", None),
        BaseKind::Symlink(target) => ("symlink", Some(target.clone())),
        BaseKind::Special => ("special", None),
    };
    FileLine {
        path: format!("/{path}"),
        kind,
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        size: if kind == "file" { rootfs.size(path) } else { None },
        target,
    }
}
