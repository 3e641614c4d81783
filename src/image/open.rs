//! From a name to an image: the document that the name leads to, the choice of a platform, manifest and
//! configuration. Layers are read only if somebody asks for them.

use std::sync::Arc;

use super::access::Access;
use super::blobs::read_document;
use super::error::shown;
use super::frozen::{Artifact, Extra, Frozen, Image, MultiImage, agree};
use super::source::Source;
use super::{Error, ImageName};
use crate::error::{During, Result};
use crate::layer::{BlobSource, LayerBlob};
use crate::oci::{Config, Descriptor, Digest, Document, Index, Manifest, Platform, media_type};

/// How deep indexes may be nested.
const NESTING_LIMIT: usize = 3;
/// The most manifests of all nested indexes together.
const CANDIDATES_LIMIT: usize = 2000;
/// BuildKit marks manifests that are no images with this annotation.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// An image's name that was looked up: an index or a manifest.
pub struct Opened {
    name: ImageName,
    root: Frozen,
    document: Document,
    source: Source,
}

/// A manifest with its configuration, and where its layers can be read.
#[derive(Clone)]
pub struct BaseImage {
    /// As it was named.
    pub name: ImageName,
    /// The digest of what the name leads to: an index or the manifest.
    pub root_digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Arc<[u8]>,
    /// Its descriptor.
    pub manifest_descriptor: Descriptor,
    /// The configuration.
    pub config: Config,
    /// Its bytes.
    pub config_bytes: Arc<[u8]>,
    /// The layers; media types as the manifest has them.
    pub layers: Vec<LayerBlob>,
    /// What it runs on.
    pub platform: Platform,
    /// Reads and verifies the layers.
    pub blobs: Arc<dyn BlobSource>,
}

impl BaseImage {
    /// A finished image as it will be read once it stands under `name`.
    pub fn of(image: &Image, name: &ImageName, blobs: Arc<dyn BlobSource>) -> Result<BaseImage> {
        let Document::Manifest(manifest) = Document::parse(&image.manifest.bytes, Some(media_type::MANIFEST))? else {
            return Err(Error::NotAnImage { name: name.to_string(), media_type: media_type::INDEX.into() }.into());
        };
        Ok(BaseImage {
            name: name.clone(),
            root_digest: image.manifest.descriptor.digest,
            manifest,
            manifest_bytes: image.manifest.bytes.clone(),
            manifest_descriptor: image.manifest.descriptor.clone(),
            config: Config::parse(&image.config.bytes)?,
            config_bytes: image.config.bytes.clone(),
            layers: image.layers.clone(),
            platform: image.platform.clone(),
            blobs,
        })
    }

    /// The image with its own bytes: writing it changes no digest.
    pub fn to_image(&self) -> Image {
        let manifest = Frozen {
            bytes: self.manifest_bytes.clone(),
            descriptor: Descriptor::of(&self.manifest_descriptor.media_type, &self.manifest_bytes),
        };
        let config = Frozen { bytes: self.config_bytes.clone(), descriptor: self.manifest.config.clone() };
        Image { manifest, config, layers: self.own_layers(), platform: self.platform.clone() }
    }

    /// Its layers, named as those of an image that is no base of anything: "layer 1/3".
    pub fn own_layers(&self) -> Vec<LayerBlob> {
        let count = self.layers.len();
        let named =
            |(n, layer): (usize, &LayerBlob)| LayerBlob { name: format!("layer {}/{count}", n + 1), ..layer.clone() };
        self.layers.iter().enumerate().map(named).collect()
    }
}

/// Looks a name up. Of a registry, only the document behind the name is fetched.
pub fn open(name: &ImageName, access: &Access) -> Result<Opened> {
    let opened = || -> Result<Opened> {
        let (source, root) = Source::open(name, access)?;
        let document = Document::parse(&root.bytes, Some(&root.descriptor.media_type))?;
        Ok(Opened { name: name.clone(), root, document, source })
    };
    opened().during(|| format!("opening `{name}`"))
}

/// Which images of an index are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// All, with the index itself.
    All,
    /// The one for this platform, or the machine's own.
    One(Option<Platform>),
}

impl Opened {
    pub(super) fn of(name: &ImageName, root: &Frozen, document: Document, source: Source) -> Self {
        Opened { name: name.clone(), root: root.clone(), document, source }
    }

    /// As it was named.
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// The document behind the name.
    pub fn root(&self) -> &Frozen {
        &self.root
    }

    /// Whether it is an index.
    pub fn is_index(&self) -> bool {
        matches!(self.document, Document::Index(_))
    }

    /// Where blobs can be read.
    pub fn blobs(&self) -> Arc<dyn BlobSource> {
        self.source.blobs.clone()
    }

    /// What there are images for.
    pub fn platforms(&self) -> Result<Vec<Platform>> {
        match &self.document {
            Document::Manifest(manifest) => Ok(vec![self.config(manifest)?.0.platform()?]),
            Document::Index(index) => {
                let candidates = self.candidates(index)?;
                let platforms = candidates.iter().map(|candidate| self.platform_of(candidate));
                Ok(platforms.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
        }
    }

    /// The image for `platform`. Without one: this machine's, or the only one that there is.
    pub fn image(&self, platform: Option<&Platform>) -> Result<BaseImage> {
        let image = || match &self.document {
            Document::Manifest(manifest) => {
                let image = self.base(&self.root, manifest)?;
                match platform {
                    Some(wanted) if !image.platform.satisfies(wanted) => {
                        Err(self.not_for(wanted, vec![image.platform]))
                    }
                    _ => Ok(image),
                }
            }
            Document::Index(index) => self.choose(index, platform),
        };
        image().during(|| format!("opening `{}`", self.name))
    }

    fn not_for(&self, wanted: &Platform, found: Vec<Platform>) -> crate::error::Error {
        Error::Platform { name: self.name.to_string(), wanted: wanted.clone(), found }.into()
    }

    fn choose(&self, index: &Index, platform: Option<&Platform>) -> Result<BaseImage> {
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let mut found = Vec::new();
        let mut only = None;
        for candidate in self.candidates(index)? {
            let Some(listed) = self.platform_of(&candidate)? else { continue };
            if listed.satisfies(&wanted) {
                return self.listed(&candidate, &listed);
            }
            only = Some((candidate, listed.clone()));
            found.push(listed);
        }
        match only {
            Some((candidate, listed)) if platform.is_none() && found.len() == 1 => self.listed(&candidate, &listed),
            _ => Err(self.not_for(&wanted, found)),
        }
    }

    /// The image that an index lists for a platform; its configuration must agree.
    fn listed(&self, descriptor: &Descriptor, listed: &Platform) -> Result<BaseImage> {
        let (frozen, manifest) = self.manifest(descriptor)?;
        let image = self.base(&frozen, &manifest)?;
        let found = &image.platform;
        // Configurations often leave out the variant.
        let variants = found.variant.is_none() || listed.variant.is_none() || found.satisfies(listed);
        if found.os != listed.os || found.architecture != listed.architecture || !variants {
            return Err(Error::PlatformMismatch {
                name: self.name.to_string(),
                manifest: descriptor.digest,
                listed: shown(&listed.to_string()),
                found: shown(&found.to_string()),
            }
            .into());
        }
        Ok(image)
    }

    /// All manifests that may be images, in the order of the index.
    pub(super) fn candidates(&self, index: &Index) -> Result<Vec<Descriptor>> {
        let mut all = Vec::new();
        self.flatten(index, 1, &mut |descriptor, nested| {
            if nested.is_none() {
                all.push(descriptor.clone());
            }
        })?;
        all.retain(|descriptor| !is_attestation(descriptor));
        Ok(all)
    }

    /// Visits manifests, and nested indexes after what they list.
    fn flatten(
        &self,
        index: &Index,
        depth: usize,
        visit: &mut dyn FnMut(&Descriptor, Option<&Frozen>),
    ) -> Result<usize> {
        if depth > NESTING_LIMIT {
            return Err(Error::Nested { name: self.name.to_string(), limit: NESTING_LIMIT }.into());
        }
        let mut count = 0;
        for descriptor in &index.manifests {
            match descriptor.media_type.as_str() {
                media_type::INDEX | media_type::DOCKER_INDEX => {
                    let frozen = self.source.document(descriptor, &self.name)?;
                    let Document::Index(inner) = Document::parse(&frozen.bytes, Some(&descriptor.media_type))? else {
                        return Err(self.other_kind(descriptor, "an index", "a manifest"));
                    };
                    count += self.flatten(&inner, depth + 1, &mut *visit)?;
                    visit(descriptor, Some(&frozen));
                }
                media_type::MANIFEST | media_type::DOCKER_MANIFEST => {
                    visit(descriptor, None);
                    count += 1;
                }
                other => {
                    let media_type = shown(other);
                    return Err(crate::oci::Error::MediaType { what: "index entry", media_type }.into());
                }
            }
            if count > CANDIDATES_LIMIT {
                let reason = format!("its indexes list more than {CANDIDATES_LIMIT} manifests");
                return Err(crate::oci::Error::Malformed { what: "index", reason }.into());
            }
        }
        Ok(count)
    }

    fn other_kind(&self, descriptor: &Descriptor, expected: &str, found: &str) -> crate::error::Error {
        let (name, digest) = (self.name.to_string(), descriptor.digest);
        Error::Blob { name, digest, expected: expected.into(), found: found.into() }.into()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<(Frozen, Manifest)> {
        let frozen = self.source.document(descriptor, &self.name)?;
        match Document::parse(&frozen.bytes, Some(&descriptor.media_type))? {
            Document::Manifest(manifest) => Ok((frozen, manifest)),
            Document::Index(_) => Err(self.other_kind(descriptor, "a manifest", "an index")),
        }
    }

    /// What the index says, or else the configuration; `None` for what is no image.
    fn platform_of(&self, descriptor: &Descriptor) -> Result<Option<Platform>> {
        if let Some(platform) = &descriptor.platform {
            return Ok(Some(platform.clone()));
        }
        let (_, manifest) = self.manifest(descriptor)?;
        if is_image(&manifest) { Ok(Some(self.config(&manifest)?.0.platform()?)) } else { Ok(None) }
    }

    fn config(&self, manifest: &Manifest) -> Result<(Config, Vec<u8>)> {
        let kind = &manifest.config.media_type;
        if ![media_type::CONFIG, media_type::DOCKER_CONFIG].contains(&kind.as_str()) {
            let media_type = shown(kind);
            return Err(Error::NotAnImage { name: self.name.to_string(), media_type }.into());
        }
        let bytes = read_document(&*self.source.blobs, &manifest.config, &self.name.to_string())?;
        Ok((Config::parse(&bytes)?, bytes))
    }

    fn base(&self, frozen: &Frozen, manifest: &Manifest) -> Result<BaseImage> {
        let (config, config_bytes) = self.config(manifest)?;
        let layers = self.layers(manifest, &config)?;
        Ok(BaseImage {
            name: self.name.clone(),
            root_digest: self.root.descriptor.digest,
            manifest: manifest.clone(),
            manifest_bytes: frozen.bytes.clone(),
            manifest_descriptor: frozen.descriptor.clone(),
            platform: config.platform()?,
            config,
            config_bytes: config_bytes.into(),
            layers,
            blobs: self.source.blobs.clone(),
        })
    }

    fn layers(&self, manifest: &Manifest, config: &Config) -> Result<Vec<LayerBlob>> {
        let diff_ids = config.diff_ids()?;
        if diff_ids.len() == manifest.layers.len() {
            agree(config, diff_ids.iter().copied(), false)?;
        } else {
            let (expected, found) = (manifest.layers.len(), diff_ids.len());
            let (expected, found) = (format!("{expected} layers"), format!("{found} diffIDs"));
            return Err(Error::Inconsistent { what: "manifest and configuration", expected, found }.into());
        }
        let mut history = config.history()?.into_iter().filter(|entry| !entry.empty_layer);
        let count = diff_ids.len();
        let layers = manifest.layers.iter().zip(diff_ids).enumerate();
        layers
            .map(|(n, (descriptor, diff_id))| {
                let kind = media_type::Compression::of_layer(&descriptor.media_type)?;
                Ok(LayerBlob {
                    descriptor: descriptor.clone(),
                    diff_id,
                    uncompressed_size: (kind == media_type::Compression::None).then_some(descriptor.size),
                    name: format!("base {}/{count}", n + 1),
                    created_by: history.next().and_then(|entry| entry.created_by).unwrap_or_default(),
                    origin: self.source.origin.clone(),
                })
            })
            .collect()
    }

    /// What is behind the name with its own bytes: the whole index with all that it lists, or one image.
    pub fn artifact(&self, platforms: &Platforms) -> Result<Artifact> {
        let artifact = || match (&self.document, platforms) {
            (_, Platforms::One(platform)) => Ok(Artifact::Image(self.image(platform.as_ref())?.to_image())),
            (Document::Manifest(manifest), Platforms::All) => {
                Ok(Artifact::Image(self.base(&self.root, manifest)?.to_image()))
            }
            (Document::Index(index), Platforms::All) => self.whole(index),
        };
        artifact().during(|| format!("opening `{}`", self.name))
    }

    fn whole(&self, index: &Index) -> Result<Artifact> {
        let mut listed = Vec::new();
        self.flatten(index, 1, &mut |descriptor, inner| listed.push((descriptor.clone(), inner.cloned())))?;
        let (mut images, mut extras) = (Vec::new(), Vec::new());
        for (descriptor, inner) in listed {
            if let Some(document) = inner {
                extras.push(Extra { document, blobs: Vec::new() });
                continue;
            }
            let (document, manifest) = self.manifest(&descriptor)?;
            if is_image(&manifest) && !is_attestation(&descriptor) {
                images.push(match &descriptor.platform {
                    Some(platform) => self.listed(&descriptor, platform)?.to_image(),
                    None => self.base(&document, &manifest)?.to_image(),
                });
            } else {
                let blobs = std::iter::once(manifest.config).chain(manifest.layers).collect();
                extras.push(Extra { document, blobs });
            }
        }
        Ok(Artifact::Index(MultiImage { index: self.root.clone(), images, extras }))
    }
}

pub(super) fn is_attestation(descriptor: &Descriptor) -> bool {
    let unknown = |platform: &Platform| platform.os == "unknown" || platform.architecture == "unknown";
    descriptor.annotations.contains_key(ATTESTATION) || descriptor.platform.as_ref().is_some_and(unknown)
}

/// Whether a manifest is one of a container image, not of something else that uses the same envelope.
fn is_image(manifest: &Manifest) -> bool {
    let config = manifest.config.media_type.as_str();
    let layers = || manifest.layers.iter().all(|l| media_type::Compression::of_layer(&l.media_type).is_ok());
    [media_type::CONFIG, media_type::DOCKER_CONFIG].contains(&config) && layers()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;

    use super::*;
    use crate::error::Class;
    use crate::image::fixture::Fixture;
    use crate::oci::json::canonical;

    /// Puts a document among the blobs of a layout.
    fn blob(layout: &std::path::Path, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        std::fs::write(layout.join("blobs/sha256").join(descriptor.digest.hex()), bytes).unwrap();
        descriptor
    }

    fn index_json(layout: &std::path::Path, manifests: &[serde_json::Value]) {
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests });
        std::fs::write(layout.join("index.json"), canonical(&index)).unwrap();
    }

    fn index_of(manifests: Vec<Descriptor>) -> Vec<u8> {
        Index { media_type: media_type::INDEX.into(), manifests, annotations: Default::default() }.to_bytes()
    }

    fn refusal(fixture: &Fixture, name: &ImageName) -> crate::error::Error {
        open(name, &fixture.access).and_then(|opened| opened.image(None)).map(|_| ()).unwrap_err()
    }

    #[test]
    fn an_index_gives_the_image_of_a_platform() {
        let fixture = Fixture::new();
        let images = vec![fixture.two_layers("amd64"), fixture.two_layers("arm64")];
        let artifact = Artifact::Index(MultiImage::new(images.clone(), Default::default()).unwrap());
        let name = fixture.name("oci", "layout:multi");
        fixture.write(&artifact, &name).unwrap();
        let opened = open(&name, &fixture.access).unwrap();
        assert!(opened.is_index());
        assert_eq!(opened.platforms().unwrap(), [Platform::linux("amd64"), Platform::linux("arm64")]);
        let arm = opened.image(Some(&"linux/arm64/v8".parse().unwrap())).unwrap();
        assert_eq!((arm.manifest_descriptor.digest, arm.root_digest), (images[1].digest(), artifact.digest()));
        assert_eq!(arm.layers[1].name, "base 2/2");
        assert_eq!(arm.layers[1].created_by, "make arm64");
        let mut bytes = Vec::new();
        arm.blobs.open(&arm.layers[0].descriptor).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), arm.layers[0].descriptor.digest);
        let error = opened.image(Some(&Platform::linux("s390x"))).map(|_| ()).unwrap_err();
        assert!(error.to_string().ends_with("is not for linux/s390x: found linux/amd64, linux/arm64"), "{error}");
        assert_eq!(error.class(), Class::Usage);
        let single = fixture.name("oci", "layout:single");
        fixture.write(&Artifact::Image(images[1].clone()), &single).unwrap();
        let opened = open(&single, &fixture.access).unwrap();
        assert!(opened.image(None).is_ok() && opened.image(Some(&Platform::linux("amd64"))).is_err());
    }

    #[test]
    fn attestations_and_nested_indexes_are_passed_on_but_are_no_images() {
        let fixture = Fixture::new();
        let (layout, image) = (fixture.path("layout"), fixture.two_layers("amd64"));
        fixture.write(&Artifact::Image(image.clone()), &fixture.name("oci", "layout:x")).unwrap();
        let statement = blob(&layout, "application/vnd.in-toto+json", b"{}");
        let config = json!({ "architecture": "unknown", "os": "unknown",
            "rootfs": { "type": "layers", "diff_ids": [statement.digest] } });
        let config = blob(&layout, media_type::CONFIG, &canonical(&config));
        let media = media_type::MANIFEST.to_string();
        let manifest = Manifest { media_type: media, config, layers: vec![statement], annotations: Default::default() };
        let attestation =
            blob(&layout, media_type::MANIFEST, &manifest.to_bytes()).for_platform("unknown/unknown".parse().unwrap());
        let plain = Descriptor { platform: None, ..image.manifest.descriptor.clone() };
        let inner = blob(&layout, media_type::INDEX, &index_of(vec![plain, attestation]));
        let outer = blob(&layout, media_type::INDEX, &index_of(vec![inner]));
        index_json(&layout, &[json!(outer)]);
        let opened = open(&fixture.name("oci", "layout"), &fixture.access).unwrap();
        assert_eq!(opened.platforms().unwrap(), [Platform::linux("amd64")]);
        assert_eq!(opened.image(None).unwrap().manifest_descriptor.digest, image.digest());
        // The whole tree, byte for byte, into another layout and out of it again.
        let artifact = opened.artifact(&Platforms::All).unwrap();
        assert_eq!((artifact.digest(), artifact.documents().len()), (outer.digest, 4));
        let target = fixture.name("oci", "copy");
        let target_sink = crate::image::sink(&target, &fixture.access, None).unwrap();
        crate::image::copy(&opened, &Platforms::All, &*target_sink, &fixture.access.progress).unwrap();
        let again = open(&target, &fixture.access).unwrap();
        assert_eq!(again.artifact(&Platforms::All).unwrap().documents(), artifact.documents());
        // One level more is one too many.
        let deep = blob(&layout, media_type::INDEX, &index_of(vec![outer]));
        let deeper = blob(&layout, media_type::INDEX, &index_of(vec![deep]));
        index_json(&layout, &[json!(deeper)]);
        let error = refusal(&fixture, &fixture.name("oci", "layout"));
        assert!(error.to_string().contains("more than 3 deep"), "{error}");
    }

    #[test]
    fn what_the_index_says_of_an_image_must_be_true() {
        let fixture = Fixture::new();
        let (layout, image) = (fixture.path("layout"), fixture.two_layers("arm64"));
        let name = fixture.name("oci", "layout");
        fixture.write(&Artifact::Image(image.clone()), &name).unwrap();
        let lying = image.manifest.descriptor.clone().for_platform(Platform::linux("amd64"));
        let index = blob(&layout, media_type::INDEX, &index_of(vec![lying.clone()]));
        index_json(&layout, &[json!(index)]);
        let error = refusal(&fixture, &name);
        assert!(error.to_string().contains("for linux/amd64, but its configuration is for linux/arm64"), "{error}");
        assert_eq!(error.class(), Class::Verification);
        let as_index = Descriptor { media_type: media_type::INDEX.into(), ..lying };
        index_json(&layout, &[json!(as_index)]);
        assert_eq!(refusal(&fixture, &name).class(), Class::Verification);
    }

    #[test]
    fn what_is_no_container_image_is_refused() {
        let fixture = Fixture::new();
        let layout = fixture.path("layout");
        let name = fixture.name("oci", "layout");
        fixture.write(&Artifact::Image(fixture.two_layers("amd64")), &name).unwrap();
        let chart = Manifest {
            media_type: media_type::MANIFEST.into(),
            config: blob(&layout, "application/vnd.cncf.helm.config.v1+json", b"{}"),
            layers: vec![],
            annotations: Default::default(),
        };
        let chart = blob(&layout, media_type::MANIFEST, &chart.to_bytes());
        index_json(&layout, &[json!(chart)]);
        let error = refusal(&fixture, &name);
        assert!(error.to_string().contains("not a container image"), "{error}");
    }

    #[test]
    fn counts_of_layers_diff_ids_and_history_must_agree() {
        let fixture = Fixture::new();
        let layout = fixture.path("layout");
        let name = fixture.name("oci", "layout");
        let image = fixture.two_layers("amd64");
        fixture.write(&Artifact::Image(image.clone()), &name).unwrap();
        let try_config = |config: serde_json::Value| {
            let config = blob(&layout, media_type::CONFIG, &canonical(&config));
            let layers = image.layers.iter().map(|layer| layer.descriptor.clone()).collect();
            let media_type = media_type::MANIFEST.to_string();
            let manifest = Manifest { media_type, config, layers, annotations: Default::default() };
            index_json(&layout, &[json!(blob(&layout, media_type::MANIFEST, &manifest.to_bytes()))]);
            open(&name, &fixture.access).unwrap().image(None).map(|image| image.layers.len())
        };
        let ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let config = |ids: &[Digest], history: serde_json::Value| {
            json!({ "architecture": "amd64", "os": "linux", "history": history,
                "rootfs": { "type": "layers", "diff_ids": ids } })
        };
        assert_eq!(try_config(config(&ids, json!(null))).unwrap(), 2);
        assert_eq!(try_config(config(&ids, json!([{ "empty_layer": true }, {}]))).unwrap(), 2);
        assert!(try_config(config(&ids[..1], json!(null))).unwrap_err().to_string().contains("1 diffIDs"));
        assert!(try_config(config(&[], json!(null))).is_err());
        let error = try_config(config(&ids, json!([{}, {}, {}]))).unwrap_err();
        assert!(error.to_string().contains("history"), "{error}");
    }
}
