//! Casts of .debs: made when a .deb arrives or is needed for the first time, found in the store from then on.
//!
//! There is one way from a .deb to a layer, and it leads through a cast: bytes do not depend on when it was made.

use std::sync::Arc;

use super::cast_file::{self, Found, Index, Row, Writer};
use super::control_tar::{self, Control};
use super::data_stream::DataStream;
use super::deb::{Deb, LIMITS, Limits};
use super::root::{Libraries, place_of};
use super::{ar, data};
use crate::error::{During, Result};
use crate::fs::{self, Mapped, Temporary};
use crate::layer::{Bucket, Content, Entry, Kind, LAYER_FORMAT, Store, TreePath};
use crate::oci::Digest;

/// Casts the .deb with this digest, which is in the store, unless that was done before.
pub fn cast(deb: &Digest, package: &str, store: &Store) -> Result<()> {
    of_store(deb, package, LIMITS, store).map(drop)
}

/// The package of a .deb in the store, which is verified and cast if that was not done before.
pub(super) fn of_store(deb: &Digest, package: &str, limits: Limits, store: &Store) -> Result<Deb> {
    found_or_made(deb, package, limits, store).during(|| format!("unpacking package `{package}`"))
}

fn found_or_made(deb: &Digest, package: &str, limits: Limits, store: &Store) -> Result<Deb> {
    let name = name(deb);
    let path = store.entry_path(Bucket::Debs, &name);
    if let Some(found) = Mapped::open(&path).ok().and_then(|cast| open(cast, deb, package)) {
        return Ok(found);
    }
    // What was written long ago may have rotted.
    let mut blob = store.open(deb, None)?;
    std::io::copy(&mut blob, &mut std::io::sink()).map_err(fs::failed("read", &store.blob_path(deb)))?;
    let made = make(&Mapped::open(&store.blob_path(deb))?, deb, package, limits, store)?;
    let path = store.adopt_file(made, Bucket::Debs, &name)?;
    whole(Mapped::open(&path)?, deb, package)
}

/// The package of a .deb whose bytes the caller has verified; its cast has no name and lives as long as the entries.
pub(super) fn of_file(file: &Mapped, package: &str, limits: Limits, store: &Store) -> Result<Deb> {
    let deb = Digest::of(file);
    let made = make(file, &deb, package, limits, store)?;
    whole(Mapped::open(made.path())?, &deb, package)
}

/// Under which name a cast is kept: another encoder or another format makes another one.
fn name(deb: &Digest) -> String {
    format!("{}-{}.{LAYER_FORMAT}", deb.hex(), cast_file::VERSION)
}

fn make(file: &Mapped, deb: &Digest, package: &str, limits: Limits, store: &Store) -> Result<Temporary> {
    let parts = ar::parts(file, package)?;
    let stream = DataStream::open(file, &parts.control, package, limits.floor, limits.control)?;
    let files = control_tar::files(stream, package)?;
    let described = Control::of(files.clone(), package)?.package;
    let mut writer = Writer::new(store)?;
    let stream = DataStream::open(file, &parts.data, package, limits.floor, limits.data)?;
    let rows = data::unpack(stream, &described.name, &mut writer)?;
    let control = files.iter().map(|(name, bytes)| Ok((name.clone(), writer.add(bytes)?, bytes.len() as u64)));
    let control = control.collect::<Result<_>>()?;
    writer.finish(&Index { deb: *deb, control, rows })
}

/// A cast that was just written.
fn whole(cast: Mapped, deb: &Digest, package: &str) -> Result<Deb> {
    let path = cast.path().to_path_buf();
    let damaged = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not what was written");
    Ok(open(cast, deb, package).ok_or_else(damaged).map_err(fs::failed("read", &path))?)
}

/// What a cast holds; `None` if it is damaged.
fn open(cast: Mapped, deb: &Digest, package: &str) -> Option<Deb> {
    let Index { control, rows, .. } = cast_file::verified(&cast, deb)?;
    let cast = Arc::new(cast);
    let bytes = |offset: u64, length: u64| {
        let offset = usize::try_from(offset).ok()?;
        cast.get(offset..offset.checked_add(usize::try_from(length).ok()?)?).map(<[u8]>::to_vec)
    };
    let files = control.into_iter().map(|(name, offset, length)| Some((name, bytes(offset, length)?)));
    let Control { package, control, scripts, conffiles, triggers, others } =
        Control::of(files.collect::<Option<_>>()?, package).ok()?;
    let input: Arc<str> = format!("package `{}`", package.name).into();
    let mut entries = Vec::with_capacity(rows.len());
    let mut libraries = Libraries::new();
    for mut row in rows {
        let known = row.library.take();
        let (path, entry) = entry(row, &cast, &input);
        if let (Some(known), Kind::File(Content::Packed(packed))) = (known, &entry.kind) {
            libraries.insert(place_of(packed), known);
        }
        entries.push((path, entry));
    }
    Some(Deb { package, control, scripts, conffiles, triggers, others, entries, libraries })
}

fn entry(row: Row, cast: &Arc<Mapped>, input: &Arc<str>) -> (TreePath, Entry) {
    let kind = match row.found {
        Found::Directory => Kind::Directory,
        Found::Symlink(target) => Kind::Symlink(target),
        Found::Hardlink(first) => Kind::Hardlink(first),
        Found::File(Some(stretch)) => Kind::File(Content::Packed(stretch.packed(cast))),
        Found::File(None) => Kind::File(Content::from("")),
    };
    (row.path, Entry { kind, mode: row.mode, uid: row.uid, gid: row.gid, input: input.clone() })
}

#[cfg(test)]
#[path = "cast_tests.rs"]
mod tests;
