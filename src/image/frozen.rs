//! Documents whose bytes are fixed: what was hashed is what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use crate::error::Result;
use crate::layer::LayerBlob;
use crate::oci::{Config, Descriptor, Digest, Index, Manifest, Platform, media_type};

/// A document and the descriptor of exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Media type, digest, size.
    pub descriptor: Descriptor,
}

impl Frozen {
    /// Hashes `bytes`; there is no way to give them another digest.
    pub fn new(media_type: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Frozen { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }
}

/// One image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Frozen,
    /// The configuration.
    pub config: Frozen,
    /// The layers, base first.
    pub layers: Vec<LayerBlob>,
    /// What it runs on.
    pub platform: Platform,
}

impl Image {
    /// Puts an image together. The configuration's diffIDs must be those of the layers, with one history entry for
    /// each; media types are OCI's (a layer's bytes, size and digest do not change by that).
    pub fn new(config: Config, layers: Vec<LayerBlob>, annotations: BTreeMap<String, String>) -> Result<Image> {
        let platform = config.platform()?;
        agree(&config, layers.iter().map(|layer| layer.diff_id), true)?;
        let mut layers = layers;
        for layer in &mut layers {
            let kind = media_type::Compression::of_layer(&layer.descriptor.media_type)?;
            layer.descriptor.media_type = kind.media_type().into();
        }
        let config = Frozen::new(media_type::CONFIG, config.to_bytes());
        let manifest = Manifest {
            media_type: media_type::MANIFEST.into(),
            config: config.descriptor.clone(),
            layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
            annotations,
        };
        let manifest = Frozen::new(media_type::MANIFEST, manifest.to_bytes());
        Ok(Image { manifest, config, layers, platform })
    }

    /// The manifest's digest: the image's name by content.
    pub fn digest(&self) -> Digest {
        self.manifest.descriptor.digest
    }

    /// Configuration and layers, as the manifest lists them.
    pub fn blobs(&self) -> Vec<Descriptor> {
        let layers = self.layers.iter().map(|layer| layer.descriptor.clone());
        std::iter::once(self.config.descriptor.clone()).chain(layers).collect()
    }

    /// The layers' compressed bytes in all.
    pub fn compressed_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.descriptor.size).sum()
    }
}

/// Checks that a configuration describes these layers. `strict` wants a history entry for every layer; otherwise
/// some or all may be missing, as in images of some builders.
pub(super) fn agree(config: &Config, diff_ids: impl ExactSizeIterator<Item = Digest>, strict: bool) -> Result<()> {
    let promised = config.diff_ids()?;
    if promised.len() != diff_ids.len() {
        let (expected, found) = (format!("{} layers", diff_ids.len()), format!("{} diffIDs", promised.len()));
        return Err(Error::Inconsistent { what: "manifest and configuration", expected, found }.into());
    }
    let count = promised.len();
    for (n, (promised, found)) in promised.iter().zip(diff_ids).enumerate() {
        if *promised != found {
            let expected = format!("diffID {promised} of layer {} of {count}", n + 1);
            return Err(Error::Inconsistent { what: "diffIDs", expected, found: found.to_string() }.into());
        }
    }
    let told = config.history()?.iter().filter(|entry| !entry.empty_layer).count();
    if told > count || (strict && told != count) {
        let (expected, found) = (format!("entries for {count} layers"), format!("entries for {told}"));
        return Err(Error::Inconsistent { what: "history and layers", expected, found }.into());
    }
    Ok(())
}

/// A document that is passed on as it is: a nested index, an attestation, and the blobs that go with it.
#[derive(Clone, Debug)]
pub struct Extra {
    /// The manifest or index.
    pub document: Frozen,
    /// Its blobs.
    pub blobs: Vec<Descriptor>,
}

/// Images for several platforms under one index.
#[derive(Clone, Debug)]
pub struct MultiImage {
    /// The index.
    pub index: Frozen,
    /// The images.
    pub images: Vec<Image>,
    /// What else the index lists, children before parents.
    pub extras: Vec<Extra>,
}

impl MultiImage {
    /// An index of these images, in the order of their platforms.
    pub fn new(mut images: Vec<Image>, annotations: BTreeMap<String, String>) -> Result<MultiImage> {
        images.sort_by(|a, b| a.platform.cmp(&b.platform));
        if let Some(pair) = images.windows(2).find(|pair| pair[0].platform == pair[1].platform) {
            let (expected, found) = ("one image per platform".into(), format!("two for {}", pair[0].platform));
            return Err(Error::Inconsistent { what: "platforms", expected, found }.into());
        }
        let describe = |image: &Image| image.manifest.descriptor.clone().for_platform(image.platform.clone());
        let index = Index {
            media_type: media_type::INDEX.into(),
            manifests: images.iter().map(describe).collect(),
            annotations,
        };
        let index = Frozen::new(media_type::INDEX, index.to_bytes());
        Ok(MultiImage { index, images, extras: Vec::new() })
    }
}

/// What is written to a destination.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// One image.
    Image(Image),
    /// Images by platform.
    Index(MultiImage),
}

impl Artifact {
    /// The document that a tag names.
    pub fn root(&self) -> &Frozen {
        match self {
            Artifact::Image(image) => &image.manifest,
            Artifact::Index(multi) => &multi.index,
        }
    }

    /// Whether a manifest or index is of Docker's kind.
    pub fn is_docker(&self) -> bool {
        let own = [media_type::DOCKER_MANIFEST, media_type::DOCKER_INDEX];
        self.documents().iter().any(|document| own.contains(&document.descriptor.media_type.as_str()))
    }

    /// The digest that a tag names.
    pub fn digest(&self) -> Digest {
        self.root().descriptor.digest
    }

    /// All images.
    pub fn images(&self) -> &[Image] {
        match self {
            Artifact::Image(image) => std::slice::from_ref(image),
            Artifact::Index(multi) => &multi.images,
        }
    }

    /// Manifests and indexes, children before parents, the root last.
    pub fn documents(&self) -> Vec<&Frozen> {
        let mut documents: Vec<&Frozen> = self.images().iter().map(|image| &image.manifest).collect();
        if let Artifact::Index(multi) = self {
            documents.extend(multi.extras.iter().map(|extra| &extra.document));
            documents.push(&multi.index);
        }
        documents
    }

    /// Configurations and layers, each once, with a name for people.
    pub fn blobs(&self) -> Vec<Blob> {
        let mut blobs = BTreeMap::new();
        let mut add = |descriptor: &Descriptor, name: String, layer: Option<&LayerBlob>| {
            let (layer, descriptor) = (layer.cloned(), descriptor.clone());
            blobs.entry(descriptor.digest).or_insert(Blob { descriptor, name, layer });
        };
        for image in self.images() {
            add(&image.config.descriptor, "configuration".into(), None);
            image.layers.iter().for_each(|layer| add(&layer.descriptor, layer.name.clone(), Some(layer)));
        }
        if let Artifact::Index(multi) = self {
            let attached = multi.extras.iter().flat_map(|extra| &extra.blobs);
            attached.for_each(|descriptor| add(descriptor, "attestation".into(), None));
        }
        blobs.into_values().collect()
    }
}

/// A configuration or layer to be written.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is.
    pub descriptor: Descriptor,
    /// What to call it in progress and messages.
    pub name: String,
    /// The layer, if it is one.
    pub layer: Option<LayerBlob>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::layer::Origin;
    use crate::oci::History;

    /// A layer of `bytes`, plain.
    pub fn plain_layer(name: &str, bytes: &[u8]) -> LayerBlob {
        LayerBlob {
            descriptor: Descriptor::of(media_type::DOCKER_LAYER, bytes),
            diff_id: Digest::of(bytes),
            uncompressed_size: Some(bytes.len() as u64),
            name: name.into(),
            created_by: format!("make {name}"),
            origin: Origin::Store,
        }
    }

    /// An image of plain layers.
    pub fn image_of(platform: &Platform, layers: &[&[u8]]) -> Image {
        let mut config = Config::empty(platform);
        let mut made = Vec::new();
        for (n, bytes) in layers.iter().enumerate() {
            let layer = plain_layer(&format!("l{n}"), bytes);
            config.push_layer(layer.diff_id, history(&layer.created_by)).unwrap();
            made.push(layer);
        }
        Image::new(config, made, BTreeMap::new()).unwrap()
    }

    fn history(by: &str) -> History {
        History { created: None, created_by: Some(by.into()), comment: None, author: None, empty_layer: false }
    }

    #[test]
    fn layers_get_oci_types_and_keep_their_digests() {
        let image = image_of(&Platform::linux("amd64"), &[b"one", b"two"]);
        assert_eq!(image.layers[0].descriptor, Descriptor::of(media_type::LAYER, b"one"));
        assert_eq!(image.digest(), Digest::of(&image.manifest.bytes));
        assert_eq!((image.blobs().len(), image.compressed_size()), (3, 6));
        let text = String::from_utf8_lossy(&image.manifest.bytes).into_owned();
        assert!(!text.contains("docker"), "{text}");
    }

    #[test]
    fn a_docker_manifest_is_known_as_one() {
        let image = image_of(&Platform::linux("amd64"), &[b"one", b"two"]);
        let text = String::from_utf8(image.manifest.bytes.to_vec()).unwrap();
        let docker = text
            .replace(media_type::MANIFEST, media_type::DOCKER_MANIFEST)
            .replace(media_type::CONFIG, media_type::DOCKER_CONFIG)
            .replace(media_type::LAYER, media_type::DOCKER_LAYER);
        let mut foreign = image.clone();
        foreign.manifest = Frozen::new(media_type::DOCKER_MANIFEST, docker.into_bytes());
        foreign.config = Frozen::new(media_type::DOCKER_CONFIG, image.config.bytes.clone());
        foreign.layers.iter_mut().for_each(|l| l.descriptor.media_type = media_type::DOCKER_LAYER.into());
        assert!(Artifact::Image(foreign.clone()).is_docker());
        assert!(!Artifact::Image(image).is_docker());
    }

    #[test]
    fn an_image_whose_parts_disagree_is_refused() {
        let platform = Platform::linux("amd64");
        let layer = plain_layer("a", b"a");
        let mut config = Config::empty(&platform);
        assert!(Image::new(config.clone(), vec![layer.clone()], BTreeMap::new()).is_err());
        config.push_layer(Digest::of(b"other"), history("x")).unwrap();
        let error = Image::new(config.clone(), vec![layer.clone()], BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("layer 1 of 1"), "{error}");
        assert_eq!(error.class().code(), 4);
        let mut config = Config::empty(&platform);
        config.push_layer(layer.diff_id, History { empty_layer: true, ..history("x") }).unwrap();
        let error = Image::new(config, vec![layer], BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("history"), "{error}");
    }

    #[test]
    fn an_index_lists_platforms_in_order_and_each_once() {
        let (arm, amd) = (Platform::linux("arm64"), Platform::linux("amd64"));
        let images = vec![image_of(&arm, &[b"base", b"arm"]), image_of(&amd, &[b"base", b"amd"])];
        let multi = MultiImage::new(images.clone(), BTreeMap::new()).unwrap();
        assert_eq!(multi.images[0].platform, amd);
        let artifact = Artifact::Index(multi);
        assert_eq!((artifact.documents().len(), artifact.blobs().len()), (3, 5));
        assert_eq!(artifact.digest(), artifact.documents()[2].descriptor.digest);
        let twice = vec![images[0].clone(), images[0].clone()];
        assert!(MultiImage::new(twice, BTreeMap::new()).unwrap_err().to_string().contains("two for linux/arm64"));
    }
}
