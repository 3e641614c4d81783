//! Index, manifest and configuration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::image::DocumentFlawKind as Kind;
use crate::oci::Digest;
use crate::text::size;
use crate::validate::findings::{Draft, Findings};
use crate::validate::subject::Subject;

/// What registries accept at least of a manifest, in bytes (distribution-spec "Pushing Manifests").
const MANIFEST_LIMIT: usize = 4 << 20;
/// The longest text of an annotation or a label that is not told, in bytes.
const TEXT_LIMIT: usize = 64 << 10;

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    for flaw in &subject.flaws {
        let rule = match flaw.kind {
            Kind::Layout => "layout",
            Kind::Digest => "document-digest",
            Kind::Malformed => "document",
            Kind::MediaType => "media-type",
            Kind::Count => "layer-count",
            Kind::Platform => "platform-mismatch",
        };
        findings.add(Draft::new(rule, &flaw.place, &flaw.message));
    }
    let manifest: Value = serde_json::from_slice(&subject.manifest_bytes).unwrap_or_default();
    embedded(&manifest, findings);
    texts(subject, findings);
}

/// A descriptor may carry the bytes that it describes.
fn embedded(manifest: &Value, findings: &mut Findings<'_>) {
    let config = manifest.get("config").map(|config| ("manifest.config".to_string(), config));
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let layers = layers.enumerate().map(|(n, layer)| (format!("manifest.layers[{n}]"), layer));
    for (place, descriptor) in config.into_iter().chain(layers) {
        let Some(data) = descriptor.get("data").filter(|data| !data.is_null()) else { continue };
        let bytes = data.as_str().and_then(|text| BASE64.decode(text).ok());
        let message = match &bytes {
            None => "`data` is not base64".to_string(),
            Some(bytes) => {
                let found = Digest::of(bytes).to_string();
                if descriptor.get("digest").and_then(Value::as_str) == Some(&found) {
                    continue;
                }
                format!("`data` holds {} bytes with the digest {found}, which is not the descriptor's", bytes.len())
            }
        };
        findings.add(Draft::new("descriptor-data", place, message));
    }
}

/// Texts that are too long for programs that only want to show them.
fn texts(subject: &Subject, findings: &mut Findings<'_>) {
    let length = subject.manifest_bytes.len();
    if length > MANIFEST_LIMIT {
        let message = format!("it has {}: registries need not take more than 4 MiB", size(length as u64));
        findings.add(Draft::new("text-size", "manifest", message));
    }
    let labels = subject.config.labels();
    let annotations = subject.manifest.annotations.iter().map(|pair| ("manifest.annotations", pair));
    let labels = labels.iter().map(|pair| ("config.Labels", pair));
    for (place, (key, value)) in annotations.chain(labels) {
        let length = key.len() + value.len();
        if length > TEXT_LIMIT {
            let message = format!("`{}` has {}", super::super::findings::brief(key), size(length as u64));
            findings.add(Draft::new("text-size", place, message));
        }
    }
}
