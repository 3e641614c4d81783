//! What is known of contents that were searched before: by digest, so that only what is new is searched.
//!
//! `hygiene-v1/PROJECT.json` of the store. It holds evidence, never a secret, and may be thrown away at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::finding::Evidence;
use super::secret::{self, Files};
use crate::error::Result;
use crate::layer::{Bucket, Store};
use crate::oci::{Digest, json};

/// The largest entry, in bytes.
const ENTRY_LIMIT: u64 = 64 << 20;
/// How many contents are remembered; beyond it, only those of the last run.
const CONTENTS_LIMIT: usize = 200_000;
/// Rises when the search is another one, though the forms are the same.
const VERSION: u32 = 1;

/// What was seen in a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) rule: String,
    pub(super) line: Option<usize>,
    pub(super) evidence: Option<Evidence>,
    /// Whether a comment in the file answers for it.
    pub(super) allowed: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    version: String,
    clean: BTreeSet<String>,
    seen: BTreeMap<String, Vec<Seen>>,
}

/// Searches contents for secrets, each only once as long as the store remembers it.
pub(super) struct Search<'a> {
    store: &'a Store,
    name: String,
    known: Known,
    new: Mutex<BTreeMap<String, Vec<Seen>>>,
}

impl<'a> Search<'a> {
    /// Reads what is known of a project. A damaged entry is none.
    pub(super) fn open(store: &'a Store, root: &Path) -> Self {
        let version = format!("{VERSION} {}", secret::version());
        let name = format!("{}.json", Digest::of(root.as_os_str().as_encoded_bytes()).hex());
        let bytes = store.get_entry(Bucket::Hygiene, &name, ENTRY_LIMIT).ok().flatten();
        let known = bytes.and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        let known = known.filter(|known| known.version == version).unwrap_or_default();
        Search { store, name, known: Known { version, ..known }, new: Mutex::default() }
    }

    /// What is in a content of this kind with this digest, which `look` finds out if nobody has yet.
    pub(super) fn content(
        &self,
        digest: &Digest,
        kind: char,
        look: impl FnOnce() -> Result<Vec<Seen>>,
    ) -> Result<Vec<Seen>> {
        let key = format!("{}{kind}", digest.hex());
        if let Some(seen) = self.known.seen.get(&key) {
            return Ok(seen.clone());
        }
        if self.known.clean.contains(&key) {
            return Ok(Vec::new());
        }
        let seen = look()?;
        self.new.lock().unwrap_or_else(PoisonError::into_inner).insert(key, seen.clone());
        Ok(seen)
    }

    /// What is in a text.
    pub(super) fn text(&self, text: &[u8]) -> Result<Vec<Seen>> {
        self.content(&Digest::of(text), 't', || Ok(secrets(text, Files::Source)))
    }

    /// Remembers what was searched now; nothing is written if that is nothing.
    pub(super) fn remember(self) -> Result<()> {
        let new = self.new.into_inner().unwrap_or_else(PoisonError::into_inner);
        if new.is_empty() {
            return Ok(());
        }
        let mut known = self.known;
        if known.clean.len() + known.seen.len() + new.len() > CONTENTS_LIMIT {
            known = Known { version: known.version, ..Known::default() };
        }
        for (key, seen) in new.into_iter().take(CONTENTS_LIMIT) {
            if seen.is_empty() {
                known.clean.insert(key);
            } else {
                known.seen.insert(key, seen);
            }
        }
        self.store.put_entry(Bucket::Hygiene, &self.name, &json::canonical(&known))
    }
}

/// The secrets in these bytes.
pub(super) fn secrets(bytes: &[u8], files: Files) -> Vec<Seen> {
    let seen = |hit: secret::Hit| Seen {
        rule: hit.rule,
        line: Some(hit.line),
        evidence: Some(hit.evidence),
        allowed: hit.allowed,
    };
    secret::scan(bytes, files).into_iter().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_searched_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let seen = vec![Seen { rule: "secret-jwt".into(), line: Some(3), evidence: None, allowed: false }];
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let search = Search::open(&store, Path::new("/p"));
        assert_eq!(search.content(&one, 't', || Ok(seen.clone())).unwrap(), seen);
        assert!(search.content(&two, 't', || Ok(Vec::new())).unwrap().is_empty());
        search.remember().unwrap();

        let search = Search::open(&store, Path::new("/p"));
        let never = || panic!("it is known");
        assert_eq!(search.content(&one, 't', never).unwrap(), seen);
        assert!(search.content(&two, 't', never).unwrap().is_empty());
        // Another kind, and another project, are another matter; so is a damaged entry.
        assert_eq!(search.content(&two, 'd', || Ok(seen.clone())).unwrap(), seen);
        assert_eq!(Search::open(&store, Path::new("/q")).content(&two, 't', || Ok(seen.clone())).unwrap(), seen);
        store.put_entry(Bucket::Hygiene, &search.name, b"{}").unwrap();
        let damaged = Search::open(&store, Path::new("/p"));
        assert_eq!(damaged.content(&two, 't', || Ok(seen.clone())).unwrap(), seen);
    }
}
