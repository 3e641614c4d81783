//! Manifests and indexes (image-spec manifest.md and image-index.md).

use std::collections::BTreeMap;

use oci_spec::image::{ImageIndex, ImageManifest};
use serde_json::{Value, json};

use super::{Descriptor, Error, json as strict, media_type};

/// The most layers that a manifest may list: more cannot run anywhere.
pub const LAYERS_LIMIT: usize = 1000;
/// The most manifests that an index may list.
pub const MANIFESTS_LIMIT: usize = 1000;

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// OCI's or Docker's type.
    pub media_type: String,
    /// The configuration blob.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

/// An image index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// OCI's or Docker's type.
    pub media_type: String,
    /// The images (and what else it lists).
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

/// What a registry answers to a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Images by platform.
    Index(Index),
}

impl Document {
    /// Parses a manifest or an index. `content_type` is what the transport said; where the document names its
    /// own type, the two must agree. A document that has the members of both kinds is refused (CVE-2021-41190).
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Error> {
        let value = strict::parse(bytes, "manifest")?;
        let malformed = |reason: &str| Error::Malformed { what: "manifest", reason: reason.into() };
        let own = value
            .get("mediaType")
            .map(|v| v.as_str().ok_or_else(|| malformed("`mediaType` is not text")))
            .transpose()?;
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(malformed("`schemaVersion` is not 2"));
        }
        let said = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
        let said = said.filter(|t| media_type::ACCEPT.contains(t));
        if let (Some(own), Some(said)) = (own, said)
            && own != said
        {
            return Err(malformed(&format!("`mediaType` says `{own}`, but it was served as `{said}`")));
        }
        let (is_index, is_manifest) =
            (value.get("manifests").is_some(), value.get("layers").is_some() || value.get("config").is_some());
        if is_index == is_manifest {
            return Err(malformed("expected either `manifests`, or `config` and `layers`"));
        }
        let kind = own.or(said).unwrap_or(if is_index { media_type::INDEX } else { media_type::MANIFEST }).to_string();
        match (kind.as_str(), is_index) {
            (media_type::INDEX | media_type::DOCKER_INDEX, true) => {
                Ok(Document::Index(Index::from_value(&value, &kind)?))
            }
            (media_type::MANIFEST | media_type::DOCKER_MANIFEST, false) => {
                Ok(Document::Manifest(Manifest::from_value(&value, &kind)?))
            }
            _ => Err(Error::MediaType { what: "manifest", media_type: kind }),
        }
    }
}

fn descriptors(value: &Value, key: &str, what: &'static str, limit: usize) -> Result<Vec<Descriptor>, Error> {
    let list: Vec<Descriptor> = serde_json::from_value(value.get(key).cloned().unwrap_or_default())
        .map_err(|error| Error::Malformed { what, reason: format!("`{key}`: {error}") })?;
    if list.len() > limit {
        return Err(Error::Malformed {
            what,
            reason: format!("`{key}` has {} entries, the limit is {limit}", list.len()),
        });
    }
    Ok(list)
}

fn annotations(value: &Value, what: &'static str) -> Result<BTreeMap<String, String>, Error> {
    match value.get("annotations") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(found) => serde_json::from_value(found.clone())
            .map_err(|error| Error::Malformed { what, reason: format!("`annotations`: {error}") }),
    }
}

impl Manifest {
    fn from_value(value: &Value, kind: &str) -> Result<Self, Error> {
        let what = "manifest";
        // The typed reading of oci-spec is the second opinion: what it refuses is not a manifest.
        serde_json::from_value::<ImageManifest>(value.clone())
            .map_err(|error| Error::Malformed { what, reason: error.to_string() })?;
        let config = serde_json::from_value(value.get("config").cloned().unwrap_or_default())
            .map_err(|error| Error::Malformed { what, reason: format!("`config`: {error}") })?;
        let layers = descriptors(value, "layers", what, LAYERS_LIMIT)?;
        Ok(Manifest { media_type: kind.into(), config, layers, annotations: annotations(value, what)? })
    }

    /// The canonical bytes: these and no others are hashed and sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut document = json!({
            "schemaVersion": 2, "mediaType": self.media_type, "config": self.config, "layers": self.layers,
        });
        if !self.annotations.is_empty() {
            document["annotations"] = json!(self.annotations);
        }
        strict::canonical(&document)
    }
}

impl Index {
    fn from_value(value: &Value, kind: &str) -> Result<Self, Error> {
        let what = "index";
        serde_json::from_value::<ImageIndex>(value.clone())
            .map_err(|error| Error::Malformed { what, reason: error.to_string() })?;
        let manifests = descriptors(value, "manifests", what, MANIFESTS_LIMIT)?;
        Ok(Index { media_type: kind.into(), manifests, annotations: annotations(value, what)? })
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut document = json!({ "schemaVersion": 2, "mediaType": self.media_type, "manifests": self.manifests });
        if !self.annotations.is_empty() {
            document["annotations"] = json!(self.annotations);
        }
        strict::canonical(&document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            media_type: media_type::MANIFEST.into(),
            config: Descriptor::of(media_type::CONFIG, b"{}"),
            layers: vec![Descriptor::of(media_type::LAYER_GZIP, b"x")],
            annotations: [("b".to_string(), "2\n".to_string()), ("a".to_string(), "1".to_string())].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = manifest().to_bytes();
        assert_eq!(Document::parse(&bytes, Some(media_type::MANIFEST)).unwrap(), Document::Manifest(manifest()));
        assert!(String::from_utf8(bytes).unwrap().starts_with(r#"{"annotations":{"a":"1","b":"2\n"},"config":{"#));
    }

    #[test]
    fn documents_that_can_be_read_in_two_ways_are_refused() {
        let text = String::from_utf8(manifest().to_bytes()).unwrap();
        let both = text.replacen('{', r#"{"manifests":[],"#, 1);
        let negative = text.replace("\"size\":1", "\"size\":-1");
        let traversal = text.replace("sha256:", "sha256:../");
        for bad in [both.as_str(), &negative, &traversal, "{}", "[]", r#"{"schemaVersion":1}"#] {
            assert!(Document::parse(bad.as_bytes(), None).is_err(), "{bad}");
        }
        assert!(Document::parse(text.as_bytes(), Some(media_type::DOCKER_MANIFEST)).is_err());
    }
}
