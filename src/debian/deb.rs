//! One .deb (deb(5)): what it says of itself, and the entries that it brings. No script of it is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::control_tar::CONTROL_LIMIT;
use super::data::DATA_LIMIT;
use super::data_stream::RATIO_FLOOR;
use super::root::Libraries;
use super::{DebError, Package, Paragraph, cast};
use crate::error::Result;
use crate::fs::Mapped;
use crate::layer::{Entry, Kind, Store, TreePath};
use crate::oci::Digest;

/// A binary package, unpacked into the store.
#[derive(Debug)]
pub struct Deb {
    /// What its control file says.
    pub package: Package,
    /// The control file itself.
    pub control: Paragraph,
    /// Maintainer scripts by name: "preinst", "postinst", "prerm", "postrm", "config". One that is a program is in
    /// `others` instead.
    pub scripts: BTreeMap<String, String>,
    /// Absolute paths of the files that belong to the administrator once they are installed.
    pub conffiles: Vec<String>,
    /// deb-triggers(5).
    pub triggers: Option<String>,
    /// All other files of the control tar, as they are: "md5sums", "conffiles", "shlibs", "symbols", "templates".
    pub others: BTreeMap<String, Vec<u8>>,
    /// What it brings, as it is in the package (not usr-merged), sorted by path. A hard link points at a file.
    pub entries: Vec<(TreePath, Entry)>,
    /// What its libraries say of themselves.
    pub(super) libraries: Libraries,
}

/// What a .deb may hold at most; tests have smaller ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub control: u64,
    pub data: u64,
    pub floor: u64,
}

pub(super) const LIMITS: Limits = Limits { control: CONTROL_LIMIT, data: DATA_LIMIT, floor: RATIO_FLOOR };

impl Deb {
    /// Reads a .deb, whose bytes the caller has verified. Its files go into a temporary file of the store, which
    /// lives as long as the entries.
    pub fn open(file: Arc<Mapped>, name_for_messages: &str, store: &Store) -> Result<Deb> {
        cast::of_file(&file, name_for_messages, LIMITS, store)
    }

    /// Reads the .deb with this digest, which is in the store, and casts it unless that was done before.
    pub fn of_store(deb: &Digest, name_for_messages: &str, store: &Store) -> Result<Deb> {
        cast::of_store(deb, name_for_messages, LIMITS, store)
    }

    #[cfg(test)]
    pub(super) fn open_within(limits: Limits, file: &Mapped, package: &str, store: &Store) -> Result<Deb> {
        cast::of_file(file, package, limits, store)
    }

    /// Whether this is the package that the index (or the lock) promised.
    pub fn check_against(&self, expected: &Package) -> Result<()> {
        let own = &self.package;
        let fields = [
            ("name", &*expected.name, &*own.name),
            ("version", expected.version.as_str(), own.version.as_str()),
            ("architecture", &*expected.architecture, &*own.architecture),
        ];
        for (field, expected, found) in fields {
            if expected != found {
                let (expected, found) = (expected.into(), found.into());
                return Err(DebError::Other { package: self.package.name.clone(), field, expected, found }.into());
            }
        }
        Ok(())
    }

    /// Files that run with the rights of their owner or group, and their modes.
    pub fn privileged(&self) -> Vec<(TreePath, u32)> {
        let privileged =
            |entry: &Entry| matches!(entry.kind, Kind::File(_) | Kind::Hardlink(_)) && entry.mode & 0o6000 != 0;
        let found = self.entries.iter().filter(|(_, entry)| privileged(entry));
        found.map(|(path, entry)| (path.clone(), entry.mode)).collect()
    }
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
