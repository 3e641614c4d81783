//! Where apt's files are read from: an image, or a folder of this machine.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::fs;
use crate::image::Rootfs;
use crate::layer::TreePath;

/// The largest file of apt's configuration that is read, in bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// The root below which apt's files are.
pub(super) enum Files<'a> {
    Image(&'a Rootfs),
    Folder(PathBuf),
}

impl Files<'_> {
    /// The bytes of a file, if it is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Files::Image(root) => root.read(&TreePath::new(path)?, FILE_LIMIT),
            Files::Folder(root) => Ok(fs::read_optional(&below(root, path), FILE_LIMIT)?),
        }
    }

    /// Whether they are files of this machine, with owners and modes.
    pub(super) fn are_of_machine(&self) -> bool {
        matches!(self, Files::Folder(_))
    }

    /// The text of a file, if it is there.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The names in a folder that apt reads there: with one of these extensions ("" for none), sorted.
    pub(super) fn names(&self, folder: &str, extensions: &[&str]) -> Result<Vec<String>> {
        let names: Vec<String> = match self {
            Files::Image(root) => {
                let Some(real) = root.resolve(&TreePath::new(folder)?) else { return Ok(Vec::new()) };
                let inside = root.list(&real).into_iter().map(|(path, _)| path);
                inside
                    .filter(|path| path.parent().as_ref() == Some(&real))
                    .map(|path| path.name().to_string())
                    .collect()
            }
            Files::Folder(root) => {
                let folder = below(root, folder);
                let entries = if folder.is_dir() { fs::read_dir(&folder)? } else { Vec::new() };
                entries.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_string())).collect()
            }
        };
        let known = |name: &String| {
            let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            !name.starts_with('.') && name.chars().all(plain) && extensions.contains(&extension)
        };
        Ok(names.into_iter().filter(known).collect())
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
