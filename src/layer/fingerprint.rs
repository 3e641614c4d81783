//! Fingerprints: what decides a layer's bytes, by name.
//!
//! A fingerprint is the key of the layer cache, and, because its fields keep their names, it also explains a
//! miss: the field that differs from the last build. It has every input that can change a byte of the layer, and
//! never a path of this machine, an mtime or a number of threads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, json};

/// The version of everything that turns a tree into bytes: tar headers, literal runs, encoder, level. It is part
/// of every fingerprint. Golden digests in `tests/golden` change with it, and only with it.
pub const LAYER_FORMAT: u32 = 2;

/// Named inputs of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Which layer: "venv", "app". Not part of the key.
    pub layer: String,
    fields: BTreeMap<String, String>,
}

impl Fingerprint {
    /// Of the layer with this name and kind; `version` is the kind's own format version.
    pub fn new(layer: &str, kind: &str, version: u32) -> Self {
        let fields = BTreeMap::from([
            ("kind".to_string(), format!("{kind}-v{version}")),
            ("layer-format".to_string(), LAYER_FORMAT.to_string()),
        ]);
        Fingerprint { layer: layer.to_string(), fields }
    }

    /// Adds a named input. The same name twice joins the values: nothing is lost.
    pub fn field(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        let (name, value) = (name.into(), value.to_string());
        match self.fields.get_mut(&name) {
            Some(old) => {
                old.push('\n');
                old.push_str(&value);
            }
            None => {
                self.fields.insert(name, value);
            }
        }
        self
    }

    /// The key: a digest of all fields.
    pub fn digest(&self) -> Digest {
        Digest::of(&json::canonical(&self.fields))
    }

    /// Which inputs differ from an older fingerprint of the same layer, in words.
    pub fn difference(&self, old: &Fingerprint) -> Vec<String> {
        let mut reasons = Vec::new();
        for (name, value) in &self.fields {
            match old.fields.get(name) {
                None => reasons.push(format!("{name} is new")),
                Some(before) if before != value => reasons.push(format!("{name} changed")),
                Some(_) => {}
            }
        }
        reasons.extend(
            old.fields.keys().filter(|name| !self.fields.contains_key(*name)).map(|name| format!("{name} is gone")),
        );
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts_and_explains() {
        let old = Fingerprint::new("app", "app", 1).field("a", 1).field("b", 2);
        let new = Fingerprint::new("app", "app", 1).field("a", 3).field("c", 2);
        assert_ne!(old.digest(), new.digest());
        assert_eq!(new.difference(&old), ["a changed", "c is new", "b is gone"]);
        let twice = Fingerprint::new("app", "app", 1).field("a", 1).field("a", 2);
        assert_ne!(twice.digest(), Fingerprint::new("app", "app", 1).field("a", 2).digest());
    }
}
