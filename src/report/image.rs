//! What an image is: documents, layers, history.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::image::BaseImage;
use crate::oci::Platform;
use crate::text::{Align, Table, escape, size};

/// One layer.
#[derive(Serialize)]
pub struct LayerLine {
    digest: String,
    diff_id: String,
    media_type: String,
    size: u64,
}

/// `ingot inspect`.
#[derive(Serialize)]
pub struct ImageReport {
    name: String,
    digest: String,
    root_digest: String,
    media_type: String,
    platform: String,
    platforms: Vec<String>,
    created: Option<String>,
    size: u64,
    layers: Vec<LayerLine>,
    annotations: BTreeMap<String, String>,
    config: Value,
}

impl ImageReport {
    /// Of one image of a name that has images for `platforms`.
    pub fn new(image: &BaseImage, platforms: &[Platform]) -> Self {
        let layer = |layer: &crate::layer::LayerBlob| LayerLine {
            digest: layer.descriptor.digest.to_string(),
            diff_id: layer.diff_id.to_string(),
            media_type: layer.descriptor.media_type.clone(),
            size: layer.descriptor.size,
        };
        ImageReport {
            name: image.name.to_string(),
            digest: image.manifest_descriptor.digest.to_string(),
            root_digest: image.root_digest.to_string(),
            media_type: image.manifest_descriptor.media_type.clone(),
            platform: image.platform.to_string(),
            platforms: platforms.iter().map(Platform::to_string).collect(),
            created: image.config.field("created").and_then(Value::as_str).map(str::to_string),
            size: image.layers.iter().map(|layer| layer.descriptor.size).sum(),
            layers: image.layers.iter().map(layer).collect(),
            annotations: image.manifest.annotations.clone(),
            config: image.config.field("config").cloned().unwrap_or_default(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| out.push_str(&format!("{name:<12} {}\n", escape(value)));
        line("name", &self.name);
        line("digest", &self.digest);
        if self.root_digest != self.digest {
            line("index", &self.root_digest);
            line("platforms", &self.platforms.join(", "));
        }
        line("platform", &self.platform);
        line("created", self.created.as_deref().unwrap_or("-"));
        line("size", &format!("{} compressed, {} layers", size(self.size), self.layers.len()));
        for (key, name) in KEYS {
            if let Some(value) = self.config.get(key).filter(|value| !value.is_null()) {
                let text = match (key, value) {
                    ("ExposedPorts", Value::Object(ports)) => ports.keys().cloned().collect::<Vec<_>>().join(", "),
                    ("Healthcheck", Value::Object(check)) => health(check),
                    (_, Value::String(text)) => text.clone(),
                    _ => value.to_string(),
                };
                line(name, &text);
            }
        }
        for (key, plural) in [("Env", "env"), ("Labels", "label")] {
            match self.config.get(key) {
                Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).for_each(|item| line(plural, item)),
                Some(Value::Object(items)) => {
                    items
                        .iter()
                        .for_each(|(name, value)| line(plural, &format!("{name}={}", value.as_str().unwrap_or("?"))));
                }
                _ => {}
            }
        }
        let mut table = Table::new([("layer", Align::Right), ("size", Align::Right), ("digest", Align::Left)]);
        for (n, layer) in self.layers.iter().enumerate() {
            table.row([(n + 1).to_string(), size(layer.size), layer.digest.clone()]);
        }
        format!("{out}\n{}", table.render())
    }
}

/// What is shown of a configuration, under which name.
const KEYS: [(&str, &str); 7] = [
    ("User", "user"),
    ("WorkingDir", "workdir"),
    ("Entrypoint", "entrypoint"),
    ("Cmd", "cmd"),
    ("StopSignal", "stop-signal"),
    ("ExposedPorts", "ports"),
    ("Healthcheck", "healthcheck"),
];

/// A health check in one line, with times as people write them.
fn health(check: &serde_json::Map<String, Value>) -> String {
    let mut text = check.get("Test").map(Value::to_string).unwrap_or_default();
    for (key, name) in [("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start-period")] {
        if let Some(nanoseconds) = check.get(key).and_then(Value::as_u64) {
            let time = humantime::format_duration(std::time::Duration::from_nanos(nanoseconds)).to_string();
            text.push_str(&format!(", {name} {time}"));
        }
    }
    if let Some(retries) = check.get("Retries").and_then(Value::as_u64) {
        text.push_str(&format!(", retries {retries}"));
    }
    text
}

/// One entry of the history.
#[derive(Serialize)]
pub struct HistoryLine {
    created: Option<String>,
    created_by: String,
    comment: Option<String>,
    size: Option<u64>,
    digest: Option<String>,
}

/// `ingot history`.
#[derive(Serialize)]
#[serde(transparent)]
pub struct HistoryReport {
    entries: Vec<HistoryLine>,
}

impl HistoryReport {
    /// Newest first.
    pub fn new(image: &BaseImage) -> Result<Self> {
        let mut layers = image.layers.iter();
        let mut entries: Vec<HistoryLine> = image
            .config
            .history()?
            .into_iter()
            .map(|entry| {
                let layer = if entry.empty_layer { None } else { layers.next() };
                HistoryLine {
                    created: entry.created,
                    created_by: entry.created_by.unwrap_or_default(),
                    comment: entry.comment,
                    size: layer.map(|layer| layer.descriptor.size),
                    digest: layer.map(|layer| layer.descriptor.digest.to_string()),
                }
            })
            .collect();
        entries.extend(layers.map(|layer| HistoryLine {
            created: None,
            created_by: String::new(),
            comment: None,
            size: Some(layer.descriptor.size),
            digest: Some(layer.descriptor.digest.to_string()),
        }));
        entries.reverse();
        Ok(HistoryReport { entries })
    }

    /// For people.
    pub fn text(&self) -> String {
        let columns = [("created", Align::Left), ("size", Align::Right), ("by", Align::Left)];
        let mut table = Table::new(columns);
        for entry in &self.entries {
            let by: String = entry.created_by.chars().take(90).collect();
            table.row([entry.created.clone().unwrap_or("-".into()), entry.size.map_or("-".into(), size), by]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_read_by_people() {
        let check = serde_json::json!({
            "Test": ["CMD", "x", "-y"], "Interval": 30_000_000_000u64, "StartPeriod": 90_500_000_000u64, "Retries": 3
        });
        let text = health(check.as_object().unwrap());
        assert_eq!(text, r#"["CMD","x","-y"], interval 30s, start-period 1m 30s 500ms, retries 3"#);
    }
}
