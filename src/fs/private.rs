//! Folders that are one user's alone, and folders in them that all may look into.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{Result, failed, symlink_metadata};

/// Why a folder is not this user's alone; nothing if it is.
pub(super) fn not_private(path: &Path) -> Result<Option<&'static str>> {
    let found = symlink_metadata(path)?;
    Ok(match () {
        () if !found.is_dir() => Some("it is not a folder"),
        () if found.uid() != rustix::process::geteuid().as_raw() => Some("it belongs to somebody else"),
        () if found.mode() & 0o077 != 0 => Some("others may look into it"),
        () => None,
    })
}

/// Whether a folder is this user's alone, and nobody but root can put something else in its place. The path is one
/// without links ([`super::canonical`]).
pub fn is_private_dir(path: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    let own = rustix::process::geteuid().as_raw();
    let firm = |above: &Path| {
        symlink_metadata(above).is_ok_and(|found| {
            let mode = found.mode();
            found.is_dir() && [0, own].contains(&found.uid()) && (mode & 0o022 == 0 || mode & STICKY != 0)
        })
    };
    path.is_absolute() && matches!(not_private(path), Ok(None)) && path.ancestors().skip(1).all(firm)
}

/// Makes a folder in one that is there, for everybody to look into (mode 0755). A link in its place is refused.
pub fn create_shared_dir(path: &Path) -> Result<()> {
    let refused = |action| move |error: rustix::io::Errno| failed(action, path)(error.into());
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(refused("create the folder")(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(refused("use"))?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755)).map_err(refused("set the mode of"))
}
