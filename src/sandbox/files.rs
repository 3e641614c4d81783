//! Results on the host's side: new plain files under one folder, and nothing else.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};

use super::Error;
use super::guard::{DEPTH_LIMIT, PATH_LIMIT};
use super::outcome::{Outcome, Refused};
use super::session::Event;
use crate::fs;

/// Whether a path from inside is a plain relative one.
pub fn is_plain(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    path.len() <= PATH_LIMIT && path.split('/').count() <= DEPTH_LIMIT && path.split('/').all(part)
}

/// The folder that results go to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    open: Option<Open>,
    refused: Vec<Refused>,
}

/// The file that was begun last.
#[derive(Debug)]
struct Open {
    file: File,
    /// As the code named it.
    path: String,
    /// Where it is.
    folder: OwnedFd,
    name: String,
}

impl Folder {
    /// Makes the folder if it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Results { path: path.into(), reason };
        fs::create_dir_all(path).map_err(|error| refuse(error.to_string()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| refuse(std::io::Error::from(error).to_string()))?;
        Ok(Folder { path: path.into(), folder, open: None, refused: Vec::new() })
    }

    /// Begins a file. One that is there already is an error: results never replace anything.
    pub fn begin(&mut self, path: &str) -> Result<(), Error> {
        self.open = None;
        if !is_plain(path) {
            return Err(Error::Broken { what: "a file with a path that is none".into() });
        }
        let failed = |error: rustix::io::Errno| Error::Results {
            path: self.path.join(path),
            reason: match error {
                rustix::io::Errno::EXIST => "it exists already".into(),
                rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => "there is something else in its way".into(),
                other => std::io::Error::from(other).to_string(),
            },
        };
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let mut folder = self
            .folder
            .try_clone()
            .map_err(|error| Error::Results { path: self.path.clone(), reason: error.to_string() })?;
        let inside = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for part in parts {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            folder = openat(&folder, part, inside, Mode::empty()).map_err(failed)?;
        }
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, name, new, Mode::from_raw_mode(0o644)).map_err(failed)?;
        self.open = Some(Open { file: File::from(file), path: path.into(), folder, name: name.into() });
        Ok(())
    }

    /// Takes a run's events: files are begun and written, what cannot be a new file is left out and told by
    /// [`Folder::correct`].
    pub fn take(&mut self, event: &Event<'_>) -> Result<(), Error> {
        match event {
            Event::File(saved) => match self.begin(&saved.path) {
                Err(Error::Results { reason, .. }) => {
                    self.refused.push(Refused { path: saved.path.clone(), reason });
                    Ok(())
                }
                other => other,
            },
            Event::Data(bytes) => self.data(bytes),
            _ => Ok(()),
        }
    }

    /// What was left out here was not saved; what did not come whole goes again.
    pub fn correct(self, outcome: &mut Outcome) {
        if let Some(open) = self.open.filter(|open| !outcome.files.iter().any(|saved| saved.path == open.path)) {
            let _ = unlinkat(&open.folder, open.name.as_str(), AtFlags::empty());
        }
        outcome.files.retain(|saved| !self.refused.iter().any(|left| left.path == saved.path));
        outcome.refused.extend(self.refused);
    }

    /// More of the file that was begun last.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.open.as_mut().map_or(Ok(()), |open| open.file.write_all(bytes));
        written.map_err(|error| Error::Results { path: self.path.clone(), reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::outcome::Saved;

    #[test]
    fn results_are_new_files_below_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("results");
        let mut folder = Folder::open(&path).unwrap();
        folder.begin("a/b.txt").unwrap();
        folder.data(b"one").unwrap();
        assert_eq!(std::fs::read(path.join("a/b.txt")).unwrap(), b"one");
        let error = folder.begin("a/b.txt").unwrap_err();
        assert!(error.to_string().ends_with("it exists already"), "{error}");
        for evil in ["../x", "/etc/x", "a/../../x", "", "a//b", "x\ny", "1/2/3/4/5/6/7/8/9"] {
            assert!(folder.begin(evil).is_err(), "{evil:?}");
        }
        // One that did not come whole.
        folder.begin("a/cut").unwrap();
        folder.data(b"ha").unwrap();
        let whole = Saved { path: "a/b.txt".into(), size: 3, note: None };
        folder.correct(&mut Outcome { files: vec![whole], ..Outcome::default() });
        assert!(path.join("a/b.txt").exists() && !path.join("a/cut").exists());
        let mut folder = Folder::open(&path).unwrap();
        // Somebody has put a link there.
        std::os::unix::fs::symlink(outer.path(), path.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", path.join("dangling")).unwrap();
        assert!(folder.begin("link/x").is_err());
        assert!(folder.begin("dangling").is_err());
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
    }
}
