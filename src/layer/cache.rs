//! The layer cache: fingerprint of the inputs -> finished layer, and why a layer was not found.
//!
//! `layers-v1/KEY.json` holds the fingerprint with its named fields and the record of the blob. Beside it,
//! `layers-v1/latest-SLOT.json` names the last fingerprint of one layer of one project, only to explain a miss: it
//! never decides anything.

use serde::{Deserialize, Serialize};

use super::{BlobRecord, Bucket, Fingerprint, Store};
use crate::error::Result;
use crate::oci::media_type::Compression;
use crate::oci::{Digest, json};

/// The largest cache entry that is read, in bytes.
const ENTRY_LIMIT: u64 = 8 << 20;

#[derive(Serialize, Deserialize)]
struct Entry {
    fingerprint: Fingerprint,
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

    fn key(&self, fingerprint: &Fingerprint) -> Digest {
        Digest::of(format!("{:?} {}", self.compression, fingerprint.digest()).as_bytes())
    }

    /// Looks a layer up. `slot` says whose layer it is (project, variant, platform, layer), to explain a miss.
    pub fn lookup(&self, fingerprint: &Fingerprint, slot: &str) -> Result<Lookup> {
        if let Some(entry) = self.read(&format!("{}.json", self.key(fingerprint).hex()))?
            && entry.fingerprint == *fingerprint
        {
            if self.store.has(&entry.record.descriptor.digest) {
                return Ok(Lookup::Hit(entry.record));
            }
            return Ok(Lookup::Miss(vec!["its blob was removed from the store".into()]));
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
    pub fn remember(&self, fingerprint: &Fingerprint, record: &BlobRecord, slot: &str) -> Result<()> {
        let entry = Entry { fingerprint: fingerprint.clone(), record: record.clone() };
        let bytes = json::canonical(&entry);
        self.store.put_entry(Bucket::Layers, &format!("{}.json", self.key(fingerprint).hex()), &bytes)?;
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
    use crate::oci::Descriptor;

    #[test]
    fn a_hit_needs_the_blob_and_a_miss_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let cache = LayerCache::new(&store, Compression::Gzip);
        let old = Fingerprint::new("app", "app", 1).field("file `main.py`", "1");
        assert_eq!(cache.lookup(&old, "slot").unwrap(), Lookup::Miss(vec!["it was never built here".into()]));

        let digest = store.put(b"blob").unwrap();
        let descriptor = Descriptor::new("x", digest, 4);
        let record = BlobRecord { descriptor, diff_id: digest, uncompressed_size: 4, entries: 1, largest: Vec::new() };
        cache.remember(&old, &record, "slot").unwrap();
        assert_eq!(cache.lookup(&old, "other slot").unwrap(), Lookup::Hit(record));
        let zstd = LayerCache::new(&store, Compression::Zstd).lookup(&old, "slot").unwrap();
        assert_eq!(zstd, Lookup::Miss(vec!["its compression changed".into()]));

        let new = Fingerprint::new("app", "app", 1).field("file `main.py`", "2");
        assert_eq!(cache.lookup(&new, "slot").unwrap(), Lookup::Miss(vec!["file `main.py` changed".into()]));
        store.discard(&digest).unwrap();
        assert!(matches!(cache.lookup(&old, "slot").unwrap(), Lookup::Miss(_)));
    }
}
