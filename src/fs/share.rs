//! A file in another folder without writing it again: its blocks, where the file system can share them, or else another
//! name of the same file. For what nobody changes in place.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Remembered, Result, Settled, Temporary, failed};

/// Whoever has two names of a file must not change it under one of them.
const READ_ONLY: u32 = 0o444;

/// The file `file` once more in `folder`, without a final name; `None` if the file system, or the rights of this user,
/// allow neither sharing blocks nor another name. Then it has to be copied.
///
/// With another name of the same file, the file is closed to writing under both, for everybody but root.
pub fn share(file: &Path, folder: &Path) -> Option<Settled> {
    clone(file, folder).or_else(|_| link(file, folder)).ok()
}

fn clone(file: &Path, folder: &Path) -> Result<Settled> {
    let mut temporary = Temporary::new_in(folder)?;
    let from = File::open(file).map_err(failed("open", file))?;
    rustix::fs::ioctl_ficlone(temporary.file(), &from).map_err(|error| failed("clone", file)(error.into()))?;
    temporary.settle(file)
}

fn link(file: &Path, folder: &Path) -> Result<Settled> {
    close(file).map_err(failed("set the mode of", file))?;
    let make = || {
        let name = tempfile::Builder::new().prefix(super::TEMPORARY).make_in(folder, |path| fs::hard_link(file, path));
        name.map_err(failed("link", file))
    };
    let (name, remembered) = Remembered::make(make, |name| name.path())?;
    Ok(Settled { path: name.into_temp_path(), _name: remembered, is_link: true })
}

/// Takes everybody's right to write.
fn close(file: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(file)?.permissions().mode();
    if mode & 0o7777 == READ_ONLY { Ok(()) } else { fs::set_permissions(file, Permissions::from_mode(READ_ONLY)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;

    /// A file, and another folder beside it.
    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::create_dir(&other).unwrap();
        fs::write(&file, "content").unwrap();
        (folder, file, other)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_shared_file_is_there_twice_and_goes_without_harm() {
        let (_folder, file, other) = places();
        drop(share(&file, &other).unwrap());
        assert!(names(&other).is_empty() && file.exists());

        share(&file, &other).unwrap().rename(&other.join("a")).unwrap();
        assert_eq!(fs::read(other.join("a")).unwrap(), b"content");
        assert_eq!(names(&other), ["a"]);
        fs::remove_file(other.join("a")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"content");
    }

    #[test]
    fn another_name_closes_the_file_and_leaves_no_third_one() {
        let (_folder, file, other) = places();
        link(&file, &other).unwrap().rename(&other.join("a")).unwrap();
        let found = fs::metadata(other.join("a")).unwrap();
        assert_eq!((found.ino(), found.mode() & 0o777), (fs::metadata(&file).unwrap().ino(), READ_ONLY));
        // A rename to another name of the same file does nothing, says rename(2), and leaves both.
        link(&file, &other).unwrap().rename(&other.join("a")).unwrap();
        assert_eq!(names(&other), ["a"]);
    }

    #[test]
    fn what_cannot_be_shared_is_told_from_what_can() {
        let (folder, file, other) = places();
        assert!(share(&file, &folder.path().join("none")).is_none());
        assert!(share(&folder.path().join("none"), &other).is_none());
        // Another file system.
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        assert_ne!(fs::metadata(memory.path()).unwrap().dev(), fs::metadata(&file).unwrap().dev());
        assert!(share(&file, memory.path()).is_none());
        assert!(names(memory.path()).is_empty() && names(&other).is_empty());
    }
}
