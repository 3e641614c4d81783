//! What shall run: a file, a folder or a text, copied into a private folder that the container sees read-only.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::order::Start;
use crate::error::Result;
use crate::fs::{self, TemporaryDir};

/// The most files of a folder.
pub const FILES_LIMIT: usize = 2000;
/// The most bytes of all of them.
pub const BYTES_LIMIT: u64 = 256 << 20;
/// How deep folders may be nested.
const DEPTH_LIMIT: usize = 16;
/// What a folder is started with.
const MAINS: [&str; 2] = ["main.py", "__main__.py"];

/// Where the code comes from.
#[derive(Debug)]
pub enum Input<'a> {
    /// One file, run by its kind: `.py` by Python, everything else as it is.
    File(&'a Path),
    /// A folder with `main.py` or `__main__.py`.
    Folder(&'a Path),
    /// A Python program.
    Text(&'a str),
    /// Several files by their relative names, one of which is started.
    Files(&'a BTreeMap<String, Vec<u8>>, &'a str),
}

/// The copy; it goes with the value.
#[derive(Debug)]
pub struct Code {
    _private: TemporaryDir,
    folder: PathBuf,
    main: String,
    python: bool,
}

impl Code {
    /// Copies regular files and folders, nothing else, within the limits. `parent` is a folder for temporaries.
    pub fn take(input: &Input<'_>, private: TemporaryDir) -> Result<Self> {
        // The private folder stays closed; what is mounted is the one in it.
        let folder = private.path().join("code");
        fs::create_dir_all(&folder)?;
        let mut copier = Copier { files: 0, bytes: 0 };
        let main = match input {
            Input::Text(text) => {
                copier.write(&folder.join("main.py"), text.as_bytes(), false)?;
                "main.py".into()
            }
            Input::Files(files, main) => {
                copier.given(&folder, files)?;
                if !files.contains_key(*main) {
                    return Err(refuse(Path::new(main), "it is not among the files").into());
                }
                (*main).to_string()
            }
            Input::File(path) => copier.single(path, &folder)?,
            Input::Folder(path) => {
                copier.folder(path, &folder, 1)?;
                let main = MAINS.into_iter().find(|name| fs::exists(&folder.join(name)));
                main.ok_or_else(|| refuse(path, "it has neither main.py nor __main__.py"))?.into()
            }
        };
        mode(&folder, 0o755)?;
        let python = main.ends_with(".py");
        Ok(Code { _private: private, folder, main, python })
    }

    /// The folder that is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How it is started when the folder is at `place`.
    pub fn start(&self, place: &str, interpreter: Option<&str>, search: &[String]) -> Start {
        let path = format!("{place}/{}", self.main);
        match self.python {
            true => {
                Start::Python { script: path, interpreter: interpreter.map(str::to_string), search: search.to_vec() }
            }
            false => Start::Program { path },
        }
    }
}

fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::Code { path: path.into(), reason: reason.into() }
}

fn mode(path: &Path, mode: u32) -> Result<(), fs::Error> {
    let file = fs::open(path)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(fs::failed("set the mode of", path))
}

struct Copier {
    files: usize,
    bytes: u64,
}

impl Copier {
    fn single(&mut self, path: &Path, folder: &Path) -> Result<String> {
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let name =
            path.file_name().and_then(|name| name.to_str()).filter(plain).filter(|name| !name.starts_with(['.', '-']));
        let python = path.extension().is_some_and(|extension| extension == "py");
        let name = name.unwrap_or(if python { "main.py" } else { "program" });
        // A link that the caller names is the caller's; what is behind it is a file.
        let real = fs::canonical(path);
        let file = fs::open_regular(&real)?.ok_or_else(|| refuse(path, "it is not there"))?;
        self.copy(file, &real, &folder.join(name), !python)?;
        Ok(name.into())
    }

    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(refuse(from, format!("folders are nested deeper than {DEPTH_LIMIT}")).into());
        }
        for path in fs::read_dir(from)? {
            let Some(name) = path.file_name() else { continue };
            let found = fs::symlink_metadata(&path)?;
            let target = to.join(name);
            if found.is_dir() {
                fs::create_dir_all(&target)?;
                self.folder(&path, &target, depth + 1)?;
                mode(&target, 0o755)?;
            } else if found.is_file() {
                let executable = found.permissions().mode() & 0o111 != 0;
                let file = fs::open_regular(&path)?.ok_or_else(|| refuse(&path, "it is not there any more"))?;
                self.copy(file, &path, &target, executable)?;
            } else {
                return Err(refuse(&path, "only regular files and folders go into a sandbox").into());
            }
        }
        Ok(())
    }

    fn given(&mut self, folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        for (name, content) in files {
            let sound =
                |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
            if name.len() > 500 || name.split('/').count() > DEPTH_LIMIT || !name.split('/').all(sound) {
                return Err(refuse(Path::new(&name.escape_debug().to_string()), "its name is no relative path").into());
            }
            let target = folder.join(name);
            let mut parents: Vec<&Path> = target.ancestors().skip(1).take_while(|parent| *parent != folder).collect();
            parents.reverse();
            for parent in parents {
                fs::create_dir_all(parent)?;
                mode(parent, 0o755)?;
            }
            self.write(&target, content, true)?;
        }
        Ok(())
    }

    fn copy(&mut self, file: std::fs::File, from: &Path, to: &Path, executable: bool) -> Result<()> {
        let left = BYTES_LIMIT - self.bytes;
        let mut bytes = Vec::new();
        file.take(left + 1).read_to_end(&mut bytes).map_err(fs::failed("read", from))?;
        if bytes.len() as u64 > left {
            return Err(refuse(from, format!("all files together have more than {BYTES_LIMIT} bytes")).into());
        }
        self.write(to, &bytes, executable)
    }

    fn write(&mut self, to: &Path, bytes: &[u8], executable: bool) -> Result<()> {
        self.files += 1;
        self.bytes += bytes.len() as u64;
        if self.files > FILES_LIMIT || self.bytes > BYTES_LIMIT {
            let limit = format!("there are more than {FILES_LIMIT} files or {BYTES_LIMIT} bytes");
            return Err(refuse(to.file_name().map(Path::new).unwrap_or(to), limit).into());
        }
        let flags = rustix::fs::OFlags::WRONLY
            | rustix::fs::OFlags::CREATE
            | rustix::fs::OFlags::EXCL
            | rustix::fs::OFlags::CLOEXEC;
        let made = rustix::fs::open(to, flags, rustix::fs::Mode::from_raw_mode(0o600));
        let mut file = std::fs::File::from(made.map_err(|error| fs::failed("create", to)(error.into()))?);
        std::io::Write::write_all(&mut file, bytes).map_err(fs::failed("write", to))?;
        let mode = if executable { 0o755 } else { 0o644 };
        file.set_permissions(Permissions::from_mode(mode)).map_err(fs::failed("set the mode of", to))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(input: &Input<'_>) -> Result<Code> {
        Code::take(input, TemporaryDir::new_in(Path::new("/tmp")).unwrap())
    }

    #[test]
    fn files_folders_and_texts_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        std::fs::write(folder.path().join("main.py"), "import lib.x").unwrap();
        std::fs::write(folder.path().join("lib/x.py"), "").unwrap();
        let code = take(&Input::Folder(folder.path())).unwrap();
        assert!(code.folder().join("lib/x.py").is_file());
        assert!(matches!(code.start("/code", None, &[]), Start::Python { script, .. } if script == "/code/main.py"));
        let mode = std::fs::metadata(code.folder()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let path = code.folder().to_owned();
        drop(code);
        assert!(!path.exists());

        let script = folder.path().join("a tool.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let code = take(&Input::File(&script)).unwrap();
        assert_eq!(code.start("/code", None, &[]), Start::Program { path: "/code/program".into() });
        assert_eq!(take(&Input::Text("1")).unwrap().main, "main.py");
    }

    #[test]
    fn what_is_no_plain_file_stays_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(take(&Input::Folder(folder.path())).unwrap_err().to_string().contains("neither main.py"));
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("main.py")).unwrap();
        let error = take(&Input::Folder(folder.path())).unwrap_err();
        assert!(error.to_string().contains("only regular files"), "{error}");
        assert!(take(&Input::File(Path::new("/dev/zero"))).is_err());
        assert!(take(&Input::File(Path::new("/no/such"))).is_err());
        for name in ["../x", "/x", "a//b", "a/./b", "", "a\nb"] {
            let files = BTreeMap::from([(name.to_string(), Vec::new())]);
            assert!(take(&Input::Files(&files, name)).is_err(), "{name:?}");
        }
        let files = BTreeMap::from([("a/b/c.py".to_string(), b"1".to_vec())]);
        assert!(take(&Input::Files(&files, "a/b/c.py")).unwrap().folder().join("a/b/c.py").is_file());
        assert!(take(&Input::Files(&files, "x.py")).unwrap_err().to_string().contains("not among"));
    }
}
