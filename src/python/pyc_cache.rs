//! Compiled modules in the store: one entry for all modules of a folder, because thousands of small files, each
//! flushed to disk, would take longer than compiling them.
//!
//! The key of an entry is made of all that decides its bytes: the normaliser, the interpreter's version and magic
//! number, and the path and source of each module. An entry ends with a digest of itself; one that does not
//! verify is as good as none.

use std::collections::BTreeMap;

use super::bytecode::{Module, SyntaxError};
use super::compiler::Outcome;
use super::{PythonVersion, marshal};
use crate::error::Result;
use crate::layer::{Bucket, Store};
use crate::oci::{Digest, Hasher};

/// Modules whose first folders are the same are one group: `/opt/venv/lib/python3.11/site-packages/numpy`.
const GROUP_DEPTH: usize = 6;

/// The largest entry that is read, in bytes.
const ENTRY_LIMIT: u64 = 512 << 20;

/// Modules that are kept together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Their places in the list that they came from.
    pub(super) places: Vec<usize>,
    key: Digest,
}

/// The bytecode of one interpreter in the store.
pub(super) struct PycCache {
    store: Store,
    salt: String,
}

impl PycCache {
    pub(super) fn new(store: &Store, version: PythonVersion, magic: [u8; 4]) -> Self {
        let salt = format!("{} {version} {}", marshal::NORMALISER, hex::encode(magic));
        PycCache { store: store.clone(), salt }
    }

    /// Divides modules into groups, by path.
    pub(super) fn groups(&self, modules: &[Module]) -> Vec<Group> {
        let mut folders: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for (place, module) in modules.iter().enumerate() {
            let mut parts: Vec<&str> = module.path.split('/').filter(|part| !part.is_empty()).collect();
            parts.pop();
            parts.truncate(GROUP_DEPTH);
            folders.entry(parts).or_default().push(place);
        }
        let group = |places: Vec<usize>| Group { key: self.key(modules, &places), places };
        folders.into_values().map(group).collect()
    }

    fn key(&self, modules: &[Module], places: &[usize]) -> Digest {
        let mut hasher = Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.salt.as_bytes());
        for module in places.iter().filter_map(|place| modules.get(*place)) {
            part(module.path.as_bytes());
            part(&module.source);
        }
        hasher.finish()
    }

    /// What was stored for this group.
    pub(super) fn get(&self, group: &Group) -> Result<Option<Vec<Outcome>>> {
        let entry = self.store.get_entry(Bucket::Bytecode, &group.key.hex(), ENTRY_LIMIT)?;
        Ok(entry.and_then(|bytes| decode(&bytes)).filter(|outcomes| outcomes.len() == group.places.len()))
    }

    /// Stores the outcomes of a group.
    pub(super) fn put(&self, group: &Group, outcomes: &[Outcome]) -> Result<()> {
        self.store.put_entry(Bucket::Bytecode, &group.key.hex(), &encode(outcomes))
    }
}

fn encode(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    for outcome in outcomes {
        match outcome {
            Ok(file) => {
                part(b"pyc");
                part(file);
            }
            Err(error) => {
                part(b"error");
                part(&[error.line.to_le_bytes(), error.column.to_le_bytes()].concat());
                part(error.message.as_bytes());
                part(error.text.as_bytes());
            }
        }
    }
    let digest = Digest::of(&out);
    out.extend_from_slice(digest.as_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<Vec<Outcome>> {
    let (mut rest, digest) = bytes.split_last_chunk::<32>()?;
    if Digest::of(rest).as_bytes() != digest {
        return None;
    }
    let mut outcomes = Vec::new();
    while !rest.is_empty() {
        outcomes.push(match part(&mut rest)? {
            b"pyc" => Ok(part(&mut rest)?.to_vec()),
            _ => {
                let numbers = part(&mut rest)?;
                let number =
                    |range| Some(u32::from_le_bytes(numbers.get::<std::ops::Range<usize>>(range)?.try_into().ok()?));
                let (line, column) = (number(0..4)?, number(4..8)?);
                let mut text = || Some(String::from_utf8_lossy(part(&mut rest)?).into_owned());
                Err(SyntaxError { message: text()?, line, column, text: text()? })
            }
        });
    }
    Some(outcomes)
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, source: &str) -> Module {
        Module { path: path.into(), source: source.as_bytes().into() }
    }

    #[test]
    fn a_group_is_found_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let cache = PycCache::new(&store, PythonVersion::new(3, 11), *b"a7\r\n");
        let modules = [module("/app/a.py", "1"), module("/app/x/b.py", "2"), module("/app/c.py", "3")];
        let groups = cache.groups(&modules);
        assert_eq!(groups.iter().map(|group| group.places.clone()).collect::<Vec<_>>(), [vec![0, 2], vec![1]]);
        let error = SyntaxError { message: "bad".into(), line: 3, column: 7, text: "x y".into() };
        let outcomes = vec![Ok(b"code".to_vec()), Err(error)];
        assert_eq!(cache.get(&groups[0]).unwrap(), None);
        cache.put(&groups[0], &outcomes).unwrap();
        assert_eq!(cache.get(&groups[0]).unwrap(), Some(outcomes));

        let path = store.entry_path(Bucket::Bytecode, &groups[0].key.hex());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.get(&groups[0]).unwrap(), None);
    }

    #[test]
    fn the_key_has_version_path_and_source() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let key = |micro, path: &str, source: &str| {
            let version = PythonVersion { micro: Some(micro), ..PythonVersion::new(3, 11) };
            PycCache::new(&store, version, *b"a7\r\n").groups(&[module(path, source)]).remove(0).key
        };
        let first = key(1, "/app/a.py", "1");
        assert_eq!(first, key(1, "/app/a.py", "1"));
        for other in [key(2, "/app/a.py", "1"), key(1, "/app/b.py", "1"), key(1, "/app/a.py", "2")] {
            assert_ne!(first, other);
        }
    }
}
