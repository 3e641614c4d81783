//! A wheel that was checked: its name, its metadata, its files, and where each of them belongs.

use std::sync::Arc;

use rayon::prelude::*;

use super::Error;
use super::entry_points::{self, EntryPoint};
use super::metadata::{self, Headers, METADATA_LIMIT};
use super::names::{WheelName, normalize, same_version, shown};
use super::record::{RECORD_LIMIT, Record};
use super::zip::{Archive, Member};
use crate::error::Result;
use crate::fs::Mapped;
use crate::layer::{Bucket, Store};
use crate::oci::{Digest, Hasher};

/// A wheel may be larger than the memory: what was read of it is let go in parts of so many bytes.
const RELEASE: usize = 4 << 20;

/// A wheel whose bytes are in the store, under their sha256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The file name.
    pub filename: String,
    /// The sha256 of the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Which line of the lock asked for it.
    pub place: String,
}

impl Wheel {
    /// How it is named in messages.
    pub fn input(&self) -> Arc<str> {
        format!("wheel `{}`", self.filename).into()
    }
}

/// Where a member is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `lib/pythonX.Y/site-packages`: purelib and platlib are the same folder in a venv.
    Library,
    /// `bin`.
    Scripts,
    /// `include/site/pythonX.Y/NAME`.
    Headers,
    /// The venv itself.
    Data,
}

/// A wheel, opened: its structure is checked, the content of its files is not yet ([`OpenWheel::verify`]).
#[derive(Debug)]
pub struct OpenWheel {
    /// Which wheel.
    pub wheel: Wheel,
    /// Its members.
    pub archive: Archive,
    /// The rows of its RECORD.
    pub record: Record,
    /// Its scripts.
    pub entry_points: Vec<EntryPoint>,
    /// The name as the file name has it, with `-` for `_`: pip names the folder of headers after it.
    pub written_name: String,
    /// `name-version.dist-info`.
    pub dist_info: String,
    /// `name-version.data/`.
    data: String,
}

impl OpenWheel {
    /// Opens a wheel of the store.
    pub fn open(wheel: &Wheel, store: &Store) -> Result<Self> {
        let bytes = Arc::new(Mapped::open(&store.blob_path(&wheel.digest))?);
        match OpenWheel::from_bytes(wheel, bytes.clone()) {
            Ok(open) => Ok(open),
            // Is the wheel bad, or has the disk damaged the blob?
            Err(error) => intact(wheel, &bytes, store).and(Err(error.into())),
        }
    }

    fn from_bytes(wheel: &Wheel, bytes: Arc<Mapped>) -> Result<Self, Error> {
        let archive = Archive::open(bytes, &wheel.filename)?;
        let refuse = |reason: String| Error::Wheel { file: shown(&wheel.filename), reason };
        let name = WheelName::parse(&wheel.filename)?;
        if name.name != wheel.name || !same_version(&name.version, &wheel.version) {
            return Err(refuse(format!("it is not `{}=={}`", wheel.name, wheel.version)));
        }
        let dist_info = dist_info(&archive, &name).map_err(refuse)?;
        let data = format!("{}.data/", dist_info.trim_end_matches(".dist-info"));
        let read = |file: &str, limit: u64| {
            let member = archive.member(&format!("{dist_info}/{file}"));
            member.map(|member| archive.read(member, limit)).transpose()
        };
        let need = |file: &str, limit: u64| {
            read(file, limit)?.ok_or_else(|| refuse(format!("it has no `{dist_info}/{file}`")))
        };
        let metadata = Headers::parse(&need("METADATA", METADATA_LIMIT)?);
        let headers = Headers::parse(&need("WHEEL", METADATA_LIMIT)?);
        metadata::agree(&wheel.filename, &name, &metadata, &headers)?;
        let written_name = wheel.filename.split('-').next().unwrap_or_default().replace('_', "-");
        let record = Record::parse(&need("RECORD", RECORD_LIMIT)?, &archive, &dist_info)?;
        let entry_points = match read("entry_points.txt", entry_points::ENTRY_POINTS_LIMIT)? {
            Some(bytes) => entry_points::parse(&bytes, &wheel.filename)?,
            None => Vec::new(),
        };
        let open = OpenWheel { wheel: wheel.clone(), archive, record, entry_points, written_name, dist_info, data };
        for member in &open.archive.members {
            open.place(member)?;
        }
        Ok(open)
    }

    /// Where a member goes: its scheme, and its path below it.
    pub fn place<'a>(&self, member: &'a Member) -> Result<(Scheme, &'a str), Error> {
        let refuse = |reason: String| Error::Wheel { file: shown(&self.wheel.filename), reason };
        let Some(rest) = member.name.strip_prefix(&self.data) else {
            // pip installs any `*.data` folder, uv only the wheel's own: so there is none.
            return match member.name.split_once('/') {
                Some((top, _)) if top.ends_with(".data") => {
                    Err(refuse(format!("`{}` is in the data folder of another wheel", shown(&member.name))))
                }
                _ => Ok((Scheme::Library, &member.name)),
            };
        };
        let scheme = match rest.split_once('/') {
            Some(("purelib" | "platlib", path)) => (Scheme::Library, path),
            Some(("scripts", path)) => (Scheme::Scripts, path),
            Some(("headers", path)) => (Scheme::Headers, path),
            Some(("data", path)) => (Scheme::Data, path),
            _ => return Err(refuse(format!("`{}` is in no scheme that there is", shown(&member.name)))),
        };
        Ok(scheme)
    }

    /// Unpacks every file once and compares it with RECORD, and the wheel itself with its digest. Remembered in the
    /// store, so that it is done once for each wheel.
    pub fn verify(&self, store: &Store) -> Result<()> {
        // The disk may have damaged it since: bytes are looked at every time, what they mean only once.
        intact(&self.wheel, self.archive.mapped(), store)?;
        self.verify_content(store)
    }

    /// The same of a wheel whose digest was held a moment ago.
    pub fn verify_content(&self, store: &Store) -> Result<()> {
        /// Changes when more is checked than before.
        const VERSION: u32 = 1;
        let key = format!("verified-v{VERSION}-{}", self.wheel.digest.hex());
        if store.get_entry(Bucket::Index, &key, 16)?.is_some() {
            return Ok(());
        }
        // The first failure in the order of names, whatever thread finds one.
        let failures: Vec<Option<Error>> =
            self.archive.members.par_iter().map(|member| self.verify_member(member).err()).collect();
        if let Some(error) = failures.into_iter().flatten().next() {
            return Err(error.into());
        }
        store.put_entry(Bucket::Index, &key, b"ok")
    }

    fn verify_member(&self, member: &Member) -> Result<(), Error> {
        let mut hasher = Hasher::new();
        self.archive.unpack(member, &mut |piece| hasher.update(piece))?;
        let expected = self.record.get(&member.name).and_then(|row| row.digest);
        let found = hasher.finish();
        match expected.filter(|expected| *expected != found) {
            None => Ok(()),
            Some(expected) => {
                let name = shown(&member.name);
                let reason = format!("`{name}` does not match RECORD: expected {expected}, found {found}");
                Err(Error::Wheel { file: shown(&self.wheel.filename), reason })
            }
        }
    }
}

/// Compares a blob with its name; one that is damaged is removed, so that the next run fetches it anew.
fn intact(wheel: &Wheel, bytes: &Mapped, store: &Store) -> Result<()> {
    let mut hasher = Hasher::new();
    for (index, part) in bytes.chunks(RELEASE).enumerate() {
        hasher.update(part);
        bytes.release(index * RELEASE..index * RELEASE + part.len());
    }
    let found = hasher.finish();
    if found == wheel.digest {
        return Ok(());
    }
    store.discard(&wheel.digest)?;
    Err(crate::layer::Error::Rotten { digest: wheel.digest, found: found.to_string() }.into())
}

/// The one `.dist-info` folder, which must be named after the wheel.
fn dist_info(archive: &Archive, name: &WheelName) -> Result<String, String> {
    let mut folders: Vec<&str> = archive
        .members
        .iter()
        .filter_map(|member| member.name.split_once('/').map(|(top, _)| top))
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    folders.dedup();
    let [folder] = folders[..] else {
        return Err(format!("it has {} .dist-info folders, expected one", folders.len()));
    };
    let stem = folder.trim_end_matches(".dist-info");
    match stem.split_once('-') {
        Some((own, version)) if normalize(own) == name.name && same_version(version, &name.version) => {
            Ok(folder.to_string())
        }
        _ => Err(format!("its folder `{}` is not named after it", shown(folder))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::testing::{WheelBuilder, store};

    fn open(builder: WheelBuilder) -> Result<(), String> {
        let (_folder, store) = store();
        let wheel = builder.put(&store);
        let opened = OpenWheel::open(&wheel, &store).map_err(|error| error.to_string())?;
        opened.verify(&store).map_err(|error| error.to_string())
    }

    #[test]
    fn a_sound_wheel_is_verified_once() {
        let (_folder, store) = store();
        let wheel = WheelBuilder::new("x", "1").file("x.py", "print(1)").put(&store);
        let opened = OpenWheel::open(&wheel, &store).unwrap();
        opened.verify(&store).unwrap();
        let noted = store.entry_path(Bucket::Index, &format!("verified-v1-{}", wheel.digest.hex()));
        assert!(noted.is_file());
        // A blob that is damaged on disk is found when it is verified anew.
        let mut bytes = std::fs::read(store.blob_path(&wheel.digest)).unwrap();
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
        std::fs::write(store.blob_path(&wheel.digest), bytes).unwrap();
        std::fs::remove_file(noted).unwrap();
        assert_eq!(opened.verify(&store).unwrap_err().class().code(), 4);
        assert!(!store.has(&wheel.digest), "what is damaged is fetched anew");
        std::fs::write(store.blob_path(&wheel.digest), b"PK").unwrap();
        let error = OpenWheel::open(&wheel, &store).unwrap_err();
        assert!(error.to_string().contains("does not verify: found sha256:"), "{error}");
        assert!(!store.has(&wheel.digest));
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let x = || WheelBuilder::new("x", "1");
        for (builder, expected) in [
            (x().file("y-1.dist-info/METADATA", ""), "it has 2 .dist-info folders"),
            (x().dist_info("y-1.dist-info"), "its folder `y-1.dist-info` is not named after it"),
            (x().dist_info("x-2.dist-info"), "is not named after it"),
            (x().without("WHEEL"), "it has no `x-1.dist-info/WHEEL`"),
            (x().without("METADATA"), "it has no `x-1.dist-info/METADATA`"),
            (x().without("RECORD"), "it has no `x-1.dist-info/RECORD`"),
            (x().file("x-1.data/purelib", ""), "`x-1.data/purelib` is in no scheme that there is"),
            (x().file("x-1.data/stdlib/os.py", ""), "`x-1.data/stdlib/os.py` is in no scheme that there is"),
            (x().file("y-1.data/scripts/sh", ""), "is in the data folder of another wheel"),
            (x().wrong_hash("x.py", "1"), "`x.py` does not match RECORD: expected sha256:"),
            (x().filename("x-2-py3-none-any.whl"), "it is not `x==1`"),
        ] {
            let error = open(builder).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
