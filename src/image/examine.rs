//! Opening an image whose documents may be wrong: what can be read of it is read, and what is wrong is told.
//!
//! [`super::open()`] refuses such an image. Whoever wants to say all that is wrong with it comes here.

use super::access::Access;
use super::blobs::read_document;
use super::error::shown;
use super::frozen::Frozen;
use super::open::{BaseImage, Opened, is_attestation};
use super::source::Source;
use super::{Error, ImageName};
use crate::error::{Class, During, Result};
use crate::layer::LayerBlob;
use crate::oci::media_type::{self, Compression};
use crate::oci::{self, Config, Descriptor, Document, Index, Manifest, Platform, json};

/// What is wrong with one of the documents of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFlaw {
    /// What kind of thing it is.
    pub kind: DocumentFlawKind,
    /// Where: "index", "manifest.layers\[3\]", "configuration".
    pub place: String,
    /// What.
    pub message: String,
}

/// What kind of thing is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentFlawKind {
    /// The layout or the archive around the image.
    Layout,
    /// It is not there, or its bytes are others.
    Digest,
    /// It does not follow the specification.
    Malformed,
    /// Its media type is unknown, or another one than its descriptor says.
    MediaType,
    /// Layers, diffIDs and history do not go together.
    Count,
    /// The index says another platform than the configuration.
    Platform,
}

/// What was found where an image should be.
pub struct Examined {
    /// As it was named.
    pub name: ImageName,
    /// What the index says that it runs on.
    pub listed: Option<Platform>,
    /// Whether an index led to it.
    pub in_index: bool,
    /// What could be read of it; nothing if there is no manifest that can be read.
    pub image: Option<BaseImage>,
    /// Whether the configuration could be read. If not, an empty one is in its place.
    pub has_config: bool,
    /// How many of the layers, from the lowest, the configuration has a diffID for.
    pub diff_ids: usize,
    /// What is wrong with the documents.
    pub flaws: Vec<DocumentFlaw>,
}

use DocumentFlawKind as Kind;

fn flaw(kind: Kind, place: impl Into<String>, message: impl Into<String>) -> DocumentFlaw {
    DocumentFlaw { kind, place: place.into(), message: message.into() }
}

/// An error of what was read is a flaw; that something could not be read stays an error.
fn flaw_of(kind: Kind, place: &str, error: crate::error::Error) -> Result<DocumentFlaw> {
    let message = error.chain().pop().unwrap_or_default();
    let kind = match (error.cause().downcast_ref(), error.cause().downcast_ref()) {
        (Some(Error::BlobMissing { .. } | Error::Blob { .. }), _) => Kind::Digest,
        (Some(Error::TooLarge { .. } | Error::Nested { .. }), _) => Kind::Malformed,
        (_, Some(oci::Error::MediaType { .. })) => Kind::MediaType,
        (_, Some(oci::Error::Malformed { .. } | oci::Error::Digest { .. })) => Kind::Malformed,
        _ => kind,
    };
    if error.class() == Class::Verification { Ok(flaw(kind, place, message)) } else { Err(error) }
}

/// Opens the image for `platform`, or all images that a name leads to, whatever is wrong with their documents. A name
/// that leads nowhere, or to something that is no container image, is an error.
pub fn examine(name: &ImageName, platform: Option<&Platform>, access: &Access) -> Result<Vec<Examined>> {
    let examined = || -> Result<Vec<Examined>> {
        let (source, root, marker) = match Source::open_leniently(name, access) {
            Ok(opened) => opened,
            Err(error) => return Ok(vec![nothing(name, flaw_of(Kind::Layout, "image", error)?)]),
        };
        let examiner = Examiner { name, source, root: &root };
        let mut found = examiner.root(platform)?;
        for one in &mut found {
            one.flaws.extend(marker.iter().map(|reason| flaw(Kind::Layout, "oci-layout", reason.as_str())));
        }
        Ok(found)
    };
    examined().during(|| format!("opening `{name}`"))
}

/// An image of which nothing can be read.
fn nothing(name: &ImageName, flaw: DocumentFlaw) -> Examined {
    let (name, flaws) = (name.clone(), vec![flaw]);
    Examined { name, listed: None, in_index: false, image: None, has_config: false, diff_ids: 0, flaws }
}

struct Examiner<'a> {
    name: &'a ImageName,
    source: Source,
    root: &'a Frozen,
}

impl Examiner<'_> {
    fn root(&self, platform: Option<&Platform>) -> Result<Vec<Examined>> {
        let (document, flaws) = match parse(self.root, "manifest") {
            Ok(parsed) => parsed,
            Err(flaw) => return Ok(vec![nothing(self.name, flaw)]),
        };
        match document {
            Document::Index(index) => self.index(&index, platform, flaws),
            Document::Manifest(manifest) => {
                let one = self.image(self.root, manifest, None, flaws)?;
                match (platform, &one.image) {
                    (Some(wanted), Some(image)) if one.has_config && !image.platform.satisfies(wanted) => {
                        Err(self.not_for(wanted, vec![image.platform.clone()]))
                    }
                    _ => Ok(vec![one]),
                }
            }
        }
    }

    fn not_for(&self, wanted: &Platform, found: Vec<Platform>) -> crate::error::Error {
        Error::Platform { name: self.name.to_string(), wanted: wanted.clone(), found }.into()
    }

    fn index(&self, index: &Index, platform: Option<&Platform>, mut flaws: Vec<DocumentFlaw>) -> Result<Vec<Examined>> {
        let opened = Opened::of(self.name, self.root, Document::Index(index.clone()), self.source.clone());
        let candidates = match opened.candidates(index) {
            Ok(candidates) => candidates,
            Err(error) => {
                flaws.push(flaw_of(Kind::Malformed, "index", error)?);
                let is_manifest = |one: &&Descriptor| {
                    [media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&one.media_type.as_str())
                        && !is_attestation(one)
                };
                index.manifests.iter().filter(is_manifest).cloned().collect()
            }
        };
        let (mut all, mut others) = (Vec::new(), Vec::new());
        for candidate in candidates {
            if let (Some(wanted), Some(listed)) = (platform, &candidate.platform)
                && !listed.satisfies(wanted)
            {
                others.push(listed.clone());
                continue;
            }
            let Some(one) = self.candidate(&candidate)? else { continue };
            match (platform, &one.image) {
                (Some(wanted), Some(image)) if candidate.platform.is_none() && !image.platform.satisfies(wanted) => {
                    others.push(image.platform.clone());
                }
                _ => all.push(one),
            }
        }
        if let (Some(wanted), true) = (platform, all.is_empty()) {
            return Err(self.not_for(wanted, others));
        }
        if all.is_empty() && flaws.is_empty() {
            flaws.push(flaw(Kind::Malformed, "index", "it lists no image"));
        }
        match all.first_mut() {
            Some(first) => first.flaws.extend(flaws),
            None => all.extend(flaws.into_iter().map(|flaw| nothing(self.name, flaw))),
        }
        Ok(all)
    }

    /// What an index lists; `None` if it is no image.
    fn candidate(&self, descriptor: &Descriptor) -> Result<Option<Examined>> {
        let broken =
            |flaw| Examined { listed: descriptor.platform.clone(), in_index: true, ..nothing(self.name, flaw) };
        let frozen = match self.source.document(descriptor, self.name) {
            Ok(frozen) => frozen,
            Err(error) => return flaw_of(Kind::Digest, "manifest", error).map(|flaw| Some(broken(flaw))),
        };
        let (manifest, mut flaws) = match parse(&frozen, "manifest") {
            Ok((Document::Manifest(manifest), flaws)) => (manifest, flaws),
            Ok((Document::Index(_), _)) => {
                let flaw = flaw(Kind::Malformed, "manifest", "the index lists it as a manifest, but it is an index");
                return Ok(Some(broken(flaw)));
            }
            Err(flaw) => return Ok(Some(broken(flaw))),
        };
        if descriptor.platform.is_none() && !is_config(&manifest.config.media_type) {
            return Ok(None);
        }
        flaws.extend(size_flaw("manifest", descriptor, frozen.bytes.len()));
        let mut one = self.image(&frozen, manifest, descriptor.platform.as_ref(), flaws)?;
        one.in_index = true;
        one.compare_platforms();
        Ok(Some(one))
    }

    fn image(
        &self,
        frozen: &Frozen,
        manifest: Manifest,
        listed: Option<&Platform>,
        mut flaws: Vec<DocumentFlaw>,
    ) -> Result<Examined> {
        let kind = &manifest.config.media_type;
        if !is_config(kind) {
            let image = !manifest.layers.is_empty()
                && manifest.layers.iter().all(|layer| Compression::of_layer(&layer.media_type).is_ok());
            if !image {
                let media_type = shown(kind);
                return Err(Error::NotAnImage { name: self.name.to_string(), media_type }.into());
            }
            flaws.push(flaw(Kind::MediaType, "manifest.config", format!("an unknown media type `{}`", shown(kind))));
        }
        let unknown = || Platform { os: "unknown".into(), architecture: "unknown".into(), variant: None };
        let assumed = listed.cloned().unwrap_or_else(unknown);
        let bytes = read_document(&*self.source.blobs, &manifest.config, &self.name.to_string());
        let (config, config_bytes, has_config) = match bytes {
            Ok(bytes) => match config(&bytes, &assumed, &mut flaws) {
                Some(config) => (config, bytes, true),
                None => (Config::empty(&assumed), bytes, false),
            },
            Err(error) => {
                flaws.push(flaw_of(Kind::Digest, "configuration", error)?);
                (Config::empty(&assumed), Vec::new(), false)
            }
        };
        let (layers, diff_ids) = self.layers(&manifest, &config, has_config, &mut flaws);
        let image = BaseImage {
            name: self.name.clone(),
            root_digest: self.root.descriptor.digest,
            manifest_bytes: frozen.bytes.clone(),
            manifest_descriptor: frozen.descriptor.clone(),
            platform: config.platform().unwrap_or(assumed),
            config,
            config_bytes: config_bytes.into(),
            layers,
            manifest,
            blobs: self.source.blobs.clone(),
        };
        let (name, listed) = (self.name.clone(), listed.cloned());
        Ok(Examined { name, listed, in_index: false, image: Some(image), has_config, diff_ids, flaws })
    }

    fn layers(
        &self,
        manifest: &Manifest,
        config: &Config,
        has_config: bool,
        flaws: &mut Vec<DocumentFlaw>,
    ) -> (Vec<LayerBlob>, usize) {
        let diff_ids = config.diff_ids().unwrap_or_default();
        let history: Vec<_> = config.history().unwrap_or_default();
        let told = history.iter().filter(|entry| !entry.empty_layer).count();
        let count = manifest.layers.len();
        if has_config && diff_ids.len() != count {
            let message = format!("the manifest has {count} layers, but the configuration {} diffIDs", diff_ids.len());
            flaws.push(flaw(Kind::Count, "configuration.rootfs", message));
        } else if has_config && told != count && !history.is_empty() {
            let message = format!("the manifest has {count} layers, but the history tells of {told}");
            flaws.push(flaw(Kind::Count, "configuration.history", message));
        }
        let mut history = history.into_iter().filter(|entry| !entry.empty_layer);
        let layer = |(n, descriptor): (usize, &Descriptor)| {
            let kind = Compression::of_layer(&descriptor.media_type);
            if kind.is_err() {
                let message = format!("an unknown media type `{}`", shown(&descriptor.media_type));
                flaws.push(flaw(Kind::MediaType, format!("manifest.layers[{n}]"), message));
            }
            LayerBlob {
                descriptor: descriptor.clone(),
                // Never compared where the configuration has none.
                diff_id: diff_ids.get(n).copied().unwrap_or(descriptor.digest),
                uncompressed_size: (kind.ok() == Some(Compression::None)).then_some(descriptor.size),
                name: format!("base {}/{count}", n + 1),
                created_by: history.next().and_then(|entry| entry.created_by).unwrap_or_default(),
                origin: self.source.origin.clone(),
            }
        };
        (manifest.layers.iter().enumerate().map(layer).collect(), diff_ids.len().min(count))
    }
}

impl Examined {
    /// What the index says of an image must be true of it.
    fn compare_platforms(&mut self) {
        let (Some(listed), Some(image), true) = (&self.listed, &self.image, self.has_config) else { return };
        let found = &image.platform;
        // Configurations often leave out the variant.
        let variants = found.variant.is_none() || listed.variant.is_none() || found.satisfies(listed);
        if found.os != listed.os || found.architecture != listed.architecture || !variants {
            let (listed, found) = (shown(&listed.to_string()), shown(&found.to_string()));
            let message = format!("the index lists it for {listed}, but its configuration is for {found}");
            self.flaws.push(flaw(Kind::Platform, "configuration", message));
        }
    }
}

fn is_config(media_type: &str) -> bool {
    [media_type::CONFIG, media_type::DOCKER_CONFIG].contains(&media_type)
}

fn size_flaw(place: &str, descriptor: &Descriptor, found: usize) -> Option<DocumentFlaw> {
    let message = || format!("its descriptor says {} bytes, but it has {found}", descriptor.size);
    (descriptor.size != found as u64).then(|| flaw(Kind::Digest, place, message()))
}

/// A document, also one of another media type than was said.
fn parse(frozen: &Frozen, place: &str) -> Result<(Document, Vec<DocumentFlaw>), DocumentFlaw> {
    let error = match Document::parse(&frozen.bytes, Some(&frozen.descriptor.media_type)) {
        Ok(document) => return Ok((document, Vec::new())),
        Err(error) => error,
    };
    let message = shown(&error.to_string());
    match Document::parse(&frozen.bytes, None) {
        Ok(document) => Ok((document, vec![flaw(Kind::MediaType, place, message)])),
        Err(_) => Err(flaw(Kind::Malformed, place, message)),
    }
}

/// A configuration without those of its parts that are malformed; `None` if it is none at all.
fn config(bytes: &[u8], assumed: &Platform, flaws: &mut Vec<DocumentFlaw>) -> Option<Config> {
    if let Ok(config) = Config::parse(bytes) {
        return Some(config);
    }
    let mut broken = |place: String, error: String| {
        flaws.push(flaw(Kind::Malformed, place, shown(&error)));
    };
    let document = match json::parse(bytes, "configuration") {
        Ok(serde_json::Value::Object(document)) => document,
        Ok(_) => {
            broken("configuration".into(), "malformed configuration: expected an object".into());
            return None;
        }
        Err(error) => {
            broken("configuration".into(), error.to_string());
            return None;
        }
    };
    let sound = Config::empty(assumed).to_bytes();
    let Ok(serde_json::Value::Object(sound)) = json::parse(&sound, "configuration") else { return None };
    let mut mended = document.clone();
    for key in ["architecture", "os", "variant", "rootfs", "history", "config"] {
        let mut alone = sound.clone();
        match document.get(key) {
            Some(value) => drop(alone.insert(key.into(), value.clone())),
            None => drop(alone.remove(key)),
        }
        let Err(error) = Config::parse(&json::canonical(&alone)) else { continue };
        broken(format!("configuration.{key}"), error.to_string());
        match sound.get(key) {
            Some(value) => drop(mended.insert(key.into(), value.clone())),
            None => drop(mended.remove(key)),
        }
    }
    Config::parse(&json::canonical(&mended)).ok()
}
