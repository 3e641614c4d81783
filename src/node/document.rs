//! JSON documents of npm: read with limits, and told of with their name.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Error;
use crate::error::Result;
use crate::{fs, text};

/// How much of a foreign text stands in a message, in characters.
const SHOWN: usize = 120;

/// The bytes of a document of at most `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    Ok(fs::read(path, limit)?)
}

/// How the document is called in messages: by its file name.
pub fn called(path: &Path) -> String {
    shown(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// Foreign text for a message.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    text::escape(&short)
}

/// Parses a document. npm writes a mark before some of them.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], place: &str) -> Result<T, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Document { place: place.to_string(), reason: shown(&error.to_string()) })
}

/// The tables of dependencies that a package.json, and each entry of a lock, may have: name to what is wanted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", expecting = "tables of dependencies")]
pub struct Dependencies {
    /// What it needs.
    #[serde(deserialize_with = "or_default")]
    pub dependencies: BTreeMap<String, String>,
    /// What it takes if it can be had.
    #[serde(deserialize_with = "or_default")]
    pub optional_dependencies: BTreeMap<String, String>,
    /// What whoever needs it has to bring.
    #[serde(deserialize_with = "or_default")]
    pub peer_dependencies: BTreeMap<String, String>,
    /// Which of those it can do without.
    #[serde(deserialize_with = "or_default")]
    pub peer_dependencies_meta: BTreeMap<String, PeerMeta>,
    /// What its developers need.
    #[serde(deserialize_with = "or_default")]
    pub dev_dependencies: BTreeMap<String, String>,
    /// What will do, too.
    #[serde(deserialize_with = "or_default")]
    pub accept_dependencies: BTreeMap<String, Value>,
}

/// What is said of a peer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, expecting = "a table with `optional`")]
pub struct PeerMeta {
    /// Whether it can be left out.
    #[serde(deserialize_with = "or_default")]
    pub optional: bool,
}

/// A value, or `null`, which npm takes for nothing.
pub fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Dependencies {
    /// What is wanted of a package in production.
    pub fn wish(&self, name: &str) -> Option<&str> {
        let tables = [&self.optional_dependencies, &self.dependencies, &self.peer_dependencies];
        tables.into_iter().find_map(|table| table.get(name)).map(String::as_str)
    }

    /// What `$name` means in overrides.
    pub fn referred(&self, name: &str) -> Option<&str> {
        self.dev_dependencies.get(name).map(String::as_str).or_else(|| self.wish(name))
    }

    /// What will do of a package besides what is wanted.
    pub fn accepts(&self, name: &str) -> Option<&str> {
        self.accept_dependencies.get(name)?.as_str()
    }

    /// All wishes, those of developers first: name, and what is wanted.
    pub fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.dev_dependencies.iter().chain(&self.optional_dependencies).chain(self.needed())
    }

    /// What it needs and not merely takes if it can be had: npm counts a name in both tables as optional.
    pub fn needed(&self) -> impl Iterator<Item = (&String, &String)> {
        self.dependencies.iter().filter(|(name, _)| !self.optional_dependencies.contains_key(*name))
    }

    /// All that it leads to in production: names, and whether it can do without.
    pub fn edges(&self) -> Vec<(&str, bool)> {
        let optional = |name: &str| self.peer_dependencies_meta.get(name).is_some_and(|meta| meta.optional);
        let mut edges: BTreeMap<&str, bool> = BTreeMap::new();
        edges.extend(self.peer_dependencies.keys().map(|name| (name.as_str(), optional(name))));
        edges.extend(self.dependencies.keys().map(|name| (name.as_str(), false)));
        edges.extend(self.optional_dependencies.keys().map(|name| (name.as_str(), true)));
        edges.into_iter().collect()
    }
}

/// A list of words, or one word.
pub fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        _ => Vec::new(),
    }
}
