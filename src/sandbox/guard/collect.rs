//! What the code left in the output folder, as plain bytes. Everybody else is dead by now, so nothing changes any more.
//!
//! Regular files only, opened without following anything. What is something else, too large, too deep, too many or
//! oddly named is told and left.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::outbox::Outbox;
use crate::sandbox::frame::{DATA_BYTES, Kind};
use crate::sandbox::order::OutputLimits;
use crate::sandbox::outcome::{Refused, Saved};

/// How deep folders may be nested.
pub const DEPTH_LIMIT: usize = 8;
/// The most entries that are looked at.
const ENTRIES_LIMIT: usize = 20_000;
/// The most that is told of what was not taken.
const REFUSED_LIMIT: usize = 100;
/// The longest path.
pub const PATH_LIMIT: usize = 1024;
/// How long the host may take for each piece.
const FLUSH: Duration = Duration::from_secs(30);

struct Collector<'a> {
    limits: &'a OutputLimits,
    input: &'a OwnedFd,
    outbox: &'a mut Outbox,
    files: u32,
    bytes: u64,
    seen: usize,
    refused: usize,
}

/// Hands every file to the host.
pub fn collect(limits: &OutputLimits, input: &OwnedFd, outbox: &mut Outbox) -> Result<(), String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(limits.path.as_str(), flags, Mode::empty())
        .map_err(|error| format!("the output folder: {}", std::io::Error::from(error)))?;
    let mut collector = Collector { limits, input, outbox, files: 0, bytes: 0, seen: 0, refused: 0 };
    collector.folder(&folder, "", 1)?;
    if collector.refused > REFUSED_LIMIT {
        let more = collector.refused - REFUSED_LIMIT;
        let told = Refused { path: "...".into(), reason: format!("and {more} more were not taken") };
        collector.outbox.json(Kind::Refused, &told)?;
    }
    Ok(())
}

impl Collector<'_> {
    fn folder(&mut self, folder: &OwnedFd, prefix: &str, depth: usize) -> Result<(), String> {
        let failed = |error: rustix::io::Errno| format!("the output folder: {}", std::io::Error::from(error));
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            self.seen += 1;
            if self.seen > ENTRIES_LIMIT {
                return self.refuse(prefix.as_bytes(), "there are too many entries");
            }
            names.push(name);
        }
        names.sort();
        for name in names {
            self.entry(folder, prefix, &name, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, prefix: &str, name: &[u8], depth: usize) -> Result<(), String> {
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.chars().any(char::is_control)) else {
            return self.refuse(&[prefix.as_bytes(), name].concat(), "its name is not plain text");
        };
        let path = format!("{prefix}{name}");
        if path.len() > PATH_LIMIT {
            return self.refuse(path.as_bytes(), "its path is too long");
        }
        let Ok(found) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return self.refuse(path.as_bytes(), "it cannot be looked at");
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => match openat(folder, name, flags, Mode::empty()) {
                Ok(file) => self.file(File::from(file), &path),
                Err(_) => self.refuse(path.as_bytes(), "it cannot be read"),
            },
            FileType::Directory if depth >= DEPTH_LIMIT => self.refuse(path.as_bytes(), "it is too deep"),
            FileType::Directory => match openat(folder, name, flags | OFlags::DIRECTORY, Mode::empty()) {
                Ok(below) => self.folder(&below, &format!("{path}/"), depth + 1),
                Err(_) => self.refuse(path.as_bytes(), "it cannot be read"),
            },
            FileType::Symlink => self.refuse(path.as_bytes(), "it is a symbolic link"),
            FileType::Fifo => self.refuse(path.as_bytes(), "it is a pipe"),
            FileType::Socket => self.refuse(path.as_bytes(), "it is a socket"),
            _ => self.refuse(path.as_bytes(), "it is a device"),
        }
    }

    fn file(&mut self, mut file: File, path: &str) -> Result<(), String> {
        let Ok(found) = rustix::fs::fstat(&file) else { return self.refuse(path.as_bytes(), "it cannot be looked at") };
        let size = u64::try_from(found.st_size).unwrap_or(u64::MAX);
        if self.files >= self.limits.files {
            return self.refuse(path.as_bytes(), "there are too many files");
        }
        if size > self.limits.bytes - self.bytes {
            return self.refuse(path.as_bytes(), "it is larger than what is left of the limit");
        }
        let mut notes = Vec::new();
        if found.st_mode & 0o6000 != 0 {
            notes.push("without its setuid or setgid bit");
        }
        if found.st_nlink > 1 {
            notes.push("a copy of a hard link");
        }
        let note = (!notes.is_empty()).then(|| notes.join(", "));
        self.outbox.json(Kind::File, &Saved { path: path.into(), size, note })?;
        (self.files, self.bytes) = (self.files + 1, self.bytes + size);
        let mut left = size;
        let mut buffer = [0u8; DATA_BYTES];
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact(piece).map_err(|error| format!("reading `{path}`: {error}"))?;
            self.outbox.push(Kind::Data, piece);
            left -= want as u64;
            self.hand_over()?;
        }
        Ok(())
    }

    /// Does not pile up what the host has not taken.
    fn hand_over(&mut self) -> Result<(), String> {
        self.outbox.send();
        match self.outbox.full() && !self.outbox.flush(self.input, Instant::now() + FLUSH) {
            true => Err("the host does not take the results".into()),
            false => Ok(()),
        }
    }

    fn refuse(&mut self, path: &[u8], reason: &str) -> Result<(), String> {
        self.refused += 1;
        if self.refused > REFUSED_LIMIT {
            return Ok(());
        }
        let path = String::from_utf8_lossy(path).escape_debug().take(200).collect();
        self.outbox.json(Kind::Refused, &Refused { path, reason: reason.into() })?;
        self.hand_over()
    }
}
