//! Compiled modules in the store: one bundle for all modules of a wheel, an application or a library, because
//! thousands of small files, each flushed to disk, would take longer than compiling them.
//!
//! The key of a bundle is made of all that decides its bytes: the normaliser, the worker's script, the interpreter's
//! version and magic number, and the path and the digest of each source. So a hit reads no source. If there is none,
//! the bundle that the same slot had last has what did not change since; where it is, is remembered in `latest-SLOT`,
//! which only saves work: what is taken from it has the same path and digest.
//!
//! A bundle ends with a digest of itself; one that does not verify is as good as none.

use std::collections::BTreeMap;

use super::bytecode::{ModuleSet, Source, SyntaxError};
use super::compiler::Outcome;
use super::worker::SCRIPT;
use super::{PythonVersion, marshal};
use crate::error::Result;
use crate::layer::{Bucket, Store};
use crate::oci::{Digest, Hasher};

/// The largest bundle that is kept, in bytes.
const BUNDLE_LIMIT: u64 = 512 << 20;

/// The bytecode of one interpreter in the store.
pub(super) struct PycCache {
    store: Store,
    salt: String,
}

/// A module of a bundle.
struct Kept {
    path: String,
    digest: [u8; 32],
    outcome: Outcome,
}

impl PycCache {
    pub(super) fn new(store: &Store, version: PythonVersion, magic: [u8; 4]) -> Self {
        let script = Digest::of(SCRIPT.as_bytes());
        let salt = format!("{} {script} {version} {}", marshal::NORMALISER, hex::encode(magic));
        PycCache { store: store.clone(), salt }
    }

    /// Of all that decides the bytes of a set's modules.
    pub(super) fn key(&self, set: &ModuleSet<'_>) -> Digest {
        let mut hasher = Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.salt.as_bytes());
        for source in &set.sources {
            part(source.path.as_bytes());
            part(source.digest.as_bytes());
        }
        hasher.finish()
    }

    /// What was stored for this set.
    pub(super) fn get(&self, key: &Digest, set: &ModuleSet<'_>) -> Result<Option<Vec<Outcome>>> {
        let Some(bundle) = self.read(key)? else { return Ok(None) };
        let same =
            |(kept, source): (&Kept, &Source)| kept.path == source.path && kept.digest == *source.digest.as_bytes();
        if bundle.len() != set.sources.len() || !bundle.iter().zip(&set.sources).all(same) {
            return Ok(None);
        }
        Ok(Some(bundle.into_iter().map(|kept| kept.outcome).collect()))
    }

    /// What the slot of this set had last, as far as it is still the same, by place.
    pub(super) fn last(&self, set: &ModuleSet<'_>) -> Result<BTreeMap<usize, Outcome>> {
        let pointer = self.store.get_entry(Bucket::Bytecode, &self.pointer(set), 64)?;
        let key = pointer.and_then(|hex| Digest::from_hex(&String::from_utf8_lossy(&hex)).ok());
        let Some(key) = key else { return Ok(BTreeMap::new()) };
        let bundle = self.read(&key)?.unwrap_or_default();
        let mut known: BTreeMap<String, Kept> = bundle.into_iter().map(|kept| (kept.path.clone(), kept)).collect();
        let take = |(place, source): (usize, &Source)| {
            let kept = known.remove(&source.path).filter(|kept| kept.digest == *source.digest.as_bytes())?;
            Some((place, kept.outcome))
        };
        Ok(set.sources.iter().enumerate().filter_map(take).collect())
    }

    /// Stores the outcomes of a set.
    pub(super) fn put(&self, key: &Digest, set: &ModuleSet<'_>, outcomes: &[Outcome]) -> Result<()> {
        let bundle = encode(&set.sources, outcomes);
        if bundle.len() as u64 > BUNDLE_LIMIT {
            return Ok(());
        }
        self.store.put_entry(Bucket::Bytecode, &key.hex(), &bundle)?;
        self.store.put_entry(Bucket::Bytecode, &self.pointer(set), key.hex().as_bytes())
    }

    fn read(&self, key: &Digest) -> Result<Option<Vec<Kept>>> {
        let bundle = self.store.get_entry(Bucket::Bytecode, &key.hex(), BUNDLE_LIMIT)?;
        Ok(bundle.and_then(|bytes| decode(&bytes)))
    }

    fn pointer(&self, set: &ModuleSet<'_>) -> String {
        format!("latest-{}", Digest::of(format!("{}\n{}", self.salt, set.slot).as_bytes()).hex())
    }
}

fn encode(sources: &[Source], outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    for (source, outcome) in sources.iter().zip(outcomes) {
        part(source.path.as_bytes());
        part(source.digest.as_bytes());
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

fn decode(bytes: &[u8]) -> Option<Vec<Kept>> {
    let (mut rest, digest) = bytes.split_last_chunk::<32>()?;
    if Digest::of(rest).as_bytes() != digest {
        return None;
    }
    let mut bundle = Vec::new();
    while !rest.is_empty() {
        let path = String::from_utf8(part(&mut rest)?.to_vec()).ok()?;
        let digest = part(&mut rest)?.try_into().ok()?;
        let outcome = match part(&mut rest)? {
            b"pyc" => Ok(part(&mut rest)?.to_vec()),
            b"error" => Err(error(&mut rest)?),
            _ => return None,
        };
        bundle.push(Kept { path, digest, outcome });
    }
    Some(bundle)
}

fn error(rest: &mut &[u8]) -> Option<SyntaxError> {
    let (line, column) = part(rest)?.split_first_chunk::<4>()?;
    let (line, column) = (u32::from_le_bytes(*line), u32::from_le_bytes(column.try_into().ok()?));
    let mut text = || Some(String::from_utf8_lossy(part(rest)?).into_owned());
    Some(SyntaxError { message: text()?, line, column, text: text()? })
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

    fn set(slot: &str, modules: &[(&str, &str)]) -> ModuleSet<'static> {
        let source = |(path, source): &(&str, &str)| Source {
            path: path.to_string(),
            digest: Digest::of(source.as_bytes()),
            size: source.len() as u64,
        };
        let sources = modules.iter().map(source).collect();
        ModuleSet { slot: slot.into(), sources, read: &|_| panic!("nothing is read") }
    }

    fn outcomes() -> Vec<Outcome> {
        let error = SyntaxError { message: "bad".into(), line: 3, column: 7, text: "x y".into() };
        vec![Ok(b"code".to_vec()), Err(error)]
    }

    #[test]
    fn a_bundle_is_found_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let cache = PycCache::new(&store, PythonVersion::new(3, 11), *b"a7\r\n");
        let set = set("wheel x", &[("/v/a.py", "1"), ("/v/x/b.py", "2")]);
        let key = cache.key(&set);
        assert_eq!(cache.get(&key, &set).unwrap(), None);
        cache.put(&key, &set, &outcomes()).unwrap();
        assert_eq!(cache.get(&key, &set).unwrap(), Some(outcomes()));

        let path = store.entry_path(Bucket::Bytecode, &key.hex());
        let sound = std::fs::read(&path).unwrap();
        for place in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[place] ^= 1;
            assert!(decode(&bytes).is_none() && decode(&sound[..place]).is_none());
        }
        std::fs::write(&path, &sound[1..]).unwrap();
        assert_eq!(cache.get(&key, &set).unwrap(), None);
        assert!(cache.last(&set).unwrap().is_empty());
    }

    #[test]
    fn what_did_not_change_is_taken_from_the_last_bundle_of_the_slot() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let cache = PycCache::new(&store, PythonVersion::new(3, 11), *b"a7\r\n");
        let old = set("wheel x", &[("/v/a.py", "1"), ("/v/b.py", "2")]);
        cache.put(&cache.key(&old), &old, &outcomes()).unwrap();
        let changed = &[("/v/a.py", "new"), ("/v/aa.py", "1"), ("/v/b.py", "2")];
        let new = set("wheel x", changed);
        assert_eq!(cache.get(&cache.key(&new), &new).unwrap(), None);
        assert_eq!(cache.last(&new).unwrap(), BTreeMap::from([(2, outcomes().remove(1))]));
        assert!(cache.last(&set("wheel y", changed)).unwrap().is_empty());
        // A pointer that leads nowhere, or is nonsense, is no pointer.
        for pointer in [Digest::of(b"x").hex(), "../../x".into(), String::new()] {
            store.put_entry(Bucket::Bytecode, &cache.pointer(&new), pointer.as_bytes()).unwrap();
            assert!(cache.last(&new).unwrap().is_empty());
        }
    }

    #[test]
    fn the_key_has_version_magic_path_and_source_and_not_the_slot() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let key = |slot, micro, magic: &[u8; 4], path: &str, source: &str| {
            let version = PythonVersion { micro: Some(micro), ..PythonVersion::new(3, 11) };
            PycCache::new(&store, version, *magic).key(&set(slot, &[(path, source)]))
        };
        let first = key("x", 1, b"a7\r\n", "/app/a.py", "1");
        assert_eq!(first, key("y", 1, b"a7\r\n", "/app/a.py", "1"));
        for other in [
            key("x", 2, b"a7\r\n", "/app/a.py", "1"),
            key("x", 1, b"a8\r\n", "/app/a.py", "1"),
            key("x", 1, b"a7\r\n", "/app/b.py", "1"),
            key("x", 1, b"a7\r\n", "/app/a.py", "2"),
        ] {
            assert_ne!(first, other);
        }
    }
}
