//! The layer cache: fingerprint of the inputs -> finished layer, and why a layer was not found.
//!
//! `layers-v1/KEY.json` holds the fingerprint with its named fields and, for each base on which the layer came out
//! differently, what it saw of that base and the record of the blob. Beside it,
//! `layers-v1/latest-SLOT.json` names the last fingerprint of one layer of one project, only to explain a miss: it
//! never decides anything.

use serde::{Deserialize, Serialize};

use super::{BaseView, BlobRecord, Bucket, Fingerprint, Observed, Store};
use crate::error::Result;
use crate::oci::media_type::Compression;
use crate::oci::{Digest, json};

/// The largest cache entry that is read, in bytes.
const ENTRY_LIMIT: u64 = 8 << 20;

/// The most bases that one fingerprint is remembered for.
const BASES_LIMIT: usize = 8;

#[derive(Serialize, Deserialize)]
struct Entry {
    fingerprint: Fingerprint,
    made: Vec<Made>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Made {
    observed: Observed,
    record: BlobRecord,
}

/// What the cache says of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The finished layer is in the store.
    Hit(BlobRecord),
    /// It has to be made, for these reasons.
    Miss(Vec<String>),
}

/// The layer cache of a store.
#[derive(Clone, Copy)]
pub struct LayerCache<'a> {
    store: &'a Store,
    compression: Compression,
}

impl<'a> LayerCache<'a> {
    /// Of layers with this compression, which is part of every key.
    pub fn new(store: &'a Store, compression: Compression) -> Self {
        LayerCache { store, compression }
    }

    /// How its layers are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    fn key(&self, fingerprint: &Fingerprint) -> Digest {
        Digest::of(format!("{:?} {}", self.compression, fingerprint.digest()).as_bytes())
    }

    /// Looks a layer up. `slot` says whose layer it is (project, variant, platform, layer), to explain a miss.
    pub fn lookup(&self, fingerprint: &Fingerprint, base: &dyn BaseView, slot: &str) -> Result<Lookup> {
        if let Some(entry) = self.read(&format!("{}.json", self.key(fingerprint).hex()))?
            && entry.fingerprint == *fingerprint
        {
            let fits = |made: &&Made| made.observed.iter().all(|(path, seen)| base.lookup(path) == *seen);
            return Ok(match entry.made.iter().find(fits) {
                Some(made) if self.store.has(&made.record.descriptor.digest) => Lookup::Hit(made.record.clone()),
                Some(_) => Lookup::Miss(vec!["its blob was removed from the store".into()]),
                None => Lookup::Miss(vec!["the base has other folders above it".into()]),
            });
        }
        let reasons = match self.read(&latest(slot))? {
            None => vec!["it was never built here".into()],
            Some(entry) => {
                let reasons = fingerprint.difference(&entry.fingerprint);
                if reasons.is_empty() { vec!["its compression changed".into()] } else { reasons }
            }
        };
        Ok(Lookup::Miss(reasons))
    }

    /// Remembers a finished layer.
    pub fn remember(
        &self,
        fingerprint: &Fingerprint,
        observed: Observed,
        record: &BlobRecord,
        slot: &str,
    ) -> Result<()> {
        let name = format!("{}.json", self.key(fingerprint).hex());
        let mut made = self.read(&name)?.map(|entry| entry.made).unwrap_or_default();
        made.retain(|old| old.observed != observed);
        made.insert(0, Made { observed, record: record.clone() });
        made.truncate(BASES_LIMIT);
        let bytes = json::canonical(&Entry { fingerprint: fingerprint.clone(), made });
        self.store.put_entry(Bucket::Layers, &name, &bytes)?;
        self.store.put_entry(Bucket::Layers, &latest(slot), &bytes)
    }

    // A damaged entry is a miss: the cache may be thrown away at any time.
    fn read(&self, name: &str) -> Result<Option<Entry>> {
        let bytes = self.store.get_entry(Bucket::Layers, name, ENTRY_LIMIT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

fn latest(slot: &str) -> String {
    format!("latest-{}.json", Digest::of(slot.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{BaseEntry, BaseKind, EmptyBase, TreePath};
    use crate::oci::Descriptor;

    struct WithOpt;

    impl BaseView for WithOpt {
        fn lookup(&self, path: &TreePath) -> Option<BaseEntry> {
            let opt = BaseEntry { kind: BaseKind::Directory, mode: 0o700, uid: 0, gid: 0 };
            (path.as_str() == "opt").then_some(opt)
        }
    }

    #[test]
    fn a_hit_needs_the_blob_and_a_miss_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let cache = LayerCache::new(&store, Compression::Gzip);
        let old = Fingerprint::new("app", "app", 1).field("file `main.py`", "1");
        assert_eq!(
            cache.lookup(&old, &EmptyBase, "slot").unwrap(),
            Lookup::Miss(vec!["it was never built here".into()])
        );

        let digest = store.put(b"blob").unwrap();
        let descriptor = Descriptor::new("x", digest, 4);
        let record =
            BlobRecord { descriptor, diff_id: digest, uncompressed_size: 4, entries: 1, largest: Default::default() };
        let observed = Observed::from([(TreePath::new("opt").unwrap(), None)]);
        cache.remember(&old, observed, &record, "slot").unwrap();
        let other = cache.lookup(&old, &WithOpt, "slot").unwrap();
        assert_eq!(other, Lookup::Miss(vec!["the base has other folders above it".into()]));
        assert_eq!(cache.lookup(&old, &EmptyBase, "other slot").unwrap(), Lookup::Hit(record));
        let zstd = LayerCache::new(&store, Compression::Zstd).lookup(&old, &EmptyBase, "slot").unwrap();
        assert_eq!(zstd, Lookup::Miss(vec!["its compression changed".into()]));

        let new = Fingerprint::new("app", "app", 1).field("file `main.py`", "2");
        assert_eq!(
            cache.lookup(&new, &EmptyBase, "slot").unwrap(),
            Lookup::Miss(vec!["file `main.py` changed".into()])
        );
        store.discard(&digest).unwrap();
        assert!(matches!(cache.lookup(&old, &EmptyBase, "slot").unwrap(), Lookup::Miss(_)));
    }
}
