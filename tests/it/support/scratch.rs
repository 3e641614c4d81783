//! Temporary folders that other users can enter.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A folder that goes when the value goes.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new folder with mode 0755 outside the package, so that an unprivileged user can reach it.
    pub fn new() -> Scratch {
        let folder = tempfile::Builder::new().prefix("ingot-it-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Scratch(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }
}

/// Writes over a file where it is, whether it is closed to writing or not.
pub fn overwrite(file: &Path, bytes: &[u8]) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(file, bytes).unwrap();
}
