//! Image configurations (image-spec config.md), kept as a value: fields that Ingot does not know survive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Digest, Epoch, Error, Platform, json as strict};

/// One entry of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// No layer belongs to this entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// An image configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    document: Map<String, Value>,
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { what: "configuration", reason: reason.into() }
}

impl Config {
    /// A configuration of no layers, for images that have no base.
    pub fn empty(platform: &Platform) -> Self {
        let mut config = Config { document: Map::new() };
        config.document.insert("config".into(), json!({}));
        config.document.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": [] }));
        config.document.insert("history".into(), json!([]));
        config.set_platform(platform);
        config
    }

    /// Parses and checks the shape of every field that Ingot uses.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Value::Object(document) = strict::parse(bytes, "configuration")? else {
            return Err(malformed("expected an object"));
        };
        let config = Config { document };
        config.platform()?;
        config.diff_ids()?;
        config.history()?;
        for key in ["config"] {
            if !matches!(config.document.get(key), None | Some(Value::Null | Value::Object(_))) {
                return Err(malformed(format!("`{key}` is not an object")));
            }
        }
        config.env_checked()?;
        Ok(config)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        strict::canonical(&self.document)
    }

    /// `os`, `architecture`, `variant`.
    pub fn platform(&self) -> Result<Platform, Error> {
        let text = |key: &str| match self.document.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
            Some(_) => Err(malformed(format!("`{key}` is not text"))),
        };
        Ok(Platform {
            architecture: text("architecture")?.ok_or_else(|| malformed("`architecture` is missing"))?,
            os: text("os")?.ok_or_else(|| malformed("`os` is missing"))?,
            variant: text("variant")?,
        })
    }

    /// Sets `os`, `architecture`, `variant`.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.document.insert("architecture".into(), json!(platform.architecture));
        self.document.insert("os".into(), json!(platform.os));
        match &platform.variant {
            Some(variant) => self.document.insert("variant".into(), json!(variant)),
            None => self.document.remove("variant"),
        };
    }

    /// `rootfs.diff_ids`, base first.
    pub fn diff_ids(&self) -> Result<Vec<Digest>, Error> {
        let rootfs = self.document.get("rootfs").ok_or_else(|| malformed("`rootfs` is missing"))?;
        if rootfs.get("type").and_then(Value::as_str) != Some("layers") {
            return Err(malformed("`rootfs.type` is not `layers`"));
        }
        match rootfs.get("diff_ids") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => {
                serde_json::from_value(list.clone()).map_err(|e| malformed(format!("`rootfs.diff_ids`: {e}")))
            }
        }
    }

    /// `history`, oldest first.
    pub fn history(&self) -> Result<Vec<History>, Error> {
        match self.document.get("history") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => serde_json::from_value(list.clone()).map_err(|e| malformed(format!("`history`: {e}"))),
        }
    }

    /// Adds a layer: its diffID and its history entry.
    pub fn push_layer(&mut self, diff_id: Digest, history: History) -> Result<(), Error> {
        let mut diff_ids = self.diff_ids()?;
        let mut entries = self.history()?;
        // Some builders leave out history: one entry per layer is what strict registries want.
        let told = entries.iter().filter(|entry| !entry.empty_layer).count();
        for _ in told..diff_ids.len() {
            entries.push(History {
                created: None,
                created_by: None,
                comment: Some("layer of the base image, which has no history for it".into()),
                author: None,
                empty_layer: false,
            });
        }
        diff_ids.push(diff_id);
        entries.push(history);
        self.document.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
        self.document.insert("history".into(), json!(entries));
        Ok(())
    }

    /// `created`.
    pub fn set_created(&mut self, epoch: Epoch) {
        self.document.insert("created".into(), json!(epoch.rfc3339()));
    }

    /// Any top-level field.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.document.get(key)
    }

    /// Removes a top-level field (a base's `author`, `container`, `container_config`, `id`).
    pub fn remove(&mut self, key: &str) {
        self.document.remove(key);
    }

    /// A field of the execution parameters (`config.*`): `User`, `WorkingDir`, `Entrypoint`, `Healthcheck`, ...
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.document.get("config").and_then(|config| config.get(key)).filter(|value| !value.is_null())
    }

    /// Sets a field of the execution parameters; `Null` removes it.
    pub fn set(&mut self, key: &str, value: Value) {
        let config = self.document.entry("config").or_insert_with(|| json!({}));
        if !config.is_object() {
            *config = json!({});
        }
        if let Value::Object(config) = config {
            if value.is_null() {
                config.remove(key);
            } else {
                config.insert(key.into(), value);
            }
        }
    }

    fn env_checked(&self) -> Result<Vec<String>, Error> {
        match self.get("Env") {
            None => Ok(Vec::new()),
            Some(list) => serde_json::from_value(list.clone()).map_err(|e| malformed(format!("`config.Env`: {e}"))),
        }
    }

    /// `config.Env` in its order, as `NAME=VALUE`.
    pub fn env(&self) -> Vec<String> {
        self.env_checked().unwrap_or_default()
    }

    /// The value of one environment variable.
    pub fn env_var(&self, name: &str) -> Option<String> {
        self.env().iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_string))
    }

    /// Sets one environment variable in place, or adds it at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.env();
        let pair = format!("{name}={value}");
        match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = pair,
            None => env.push(pair),
        }
        self.set("Env", json!(env));
    }

    /// `config.Labels`.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.get("Labels").and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
    }

    /// Replaces `config.Labels`.
    pub fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        self.set("Labels", if labels.is_empty() { Value::Null } else { json!(labels) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Shell":["/bin/sh"],
        "Healthcheck":{"Test":["NONE"]},"Odd":1},"rootfs":{"type":"layers","diff_ids":[]},"history":[],"x":{"y":2}}"#;

    #[test]
    fn unknown_fields_survive_and_keys_are_sorted() {
        let mut config = Config::parse(BASE.as_bytes()).unwrap();
        config.set_env("PATH", "/opt/venv/bin:/bin");
        config.set_env("A", "1");
        config.set("User", json!("1001:1001"));
        let text = String::from_utf8(config.to_bytes()).unwrap();
        for kept in
            [r#""Shell":["/bin/sh"]"#, r#""Odd":1"#, r#""x":{"y":2}"#, r#""Env":["PATH=/opt/venv/bin:/bin","A=1"]"#]
        {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(config.env_var("A").as_deref(), Some("1"));
        assert_eq!(Config::parse(text.as_bytes()).unwrap(), config);
    }

    #[test]
    fn a_base_without_history_gets_one_entry_per_layer() {
        let mut config = Config::empty(&Platform::linux("amd64"));
        let layer =
            History { created: None, created_by: Some("x".into()), comment: None, author: None, empty_layer: false };
        config.push_layer(Digest::of(b"1"), layer.clone()).unwrap();
        config.document.insert("history".into(), json!([]));
        config.push_layer(Digest::of(b"2"), layer).unwrap();
        assert_eq!(config.history().unwrap().len(), 2);
        assert_eq!(config.diff_ids().unwrap(), [Digest::of(b"1"), Digest::of(b"2")]);
    }

    #[test]
    fn odd_shapes_are_refused() {
        for bad in [
            "[]",
            "{}",
            r#"{"architecture":"amd64","os":"linux"}"#,
            r#"{"architecture":1,"os":"linux","rootfs":{"type":"layers"}}"#,
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:zz"]}}"#,
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"},"config":[]}"#,
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"},"config":{"Env":"A"}}"#,
        ] {
            assert!(Config::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
