//! What `docker save` writes, as a source: `manifest.json` names a configuration and layers.
//!
//! There is no manifest in it, so one is made. Plain layers keep their diffID as digest and are verified when they
//! are read; compressed ones are hashed, and checked against their diffID, when the archive is opened.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::Error;
use super::archive::Archive;
use super::error::shown;
use super::frozen::Frozen;
use super::layout::check_length;
use crate::error::Result;
use crate::layer::{BlobReader, BlobSource, Store};
use crate::oci::{Config, Descriptor, Digest, Hasher, Manifest, Reference, json, media_type};

/// The most bytes that a layer may unpack to.
const LAYER_LIMIT: u64 = 256 << 30;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A docker archive: its members by digest.
pub(super) struct DockerArchive {
    archive: Archive,
    name: String,
    blobs: BTreeMap<Digest, String>,
}

impl DockerArchive {
    /// Opens the archive, finds the image that is meant, and makes a manifest for it.
    pub fn open(path: &Path, reference: Option<&str>, store: &Store) -> Result<(Self, Frozen)> {
        let archive = Archive::open(path, "docker archive", store)?;
        let name = format!("docker-archive:{}", path.display());
        if archive.size("manifest.json").is_none() && archive.size("oci-layout").is_some() {
            return Err(archive.mistaken("docker-archive", "oci-archive").into());
        }
        let listed = json::parse(&archive.read("manifest.json")?, "`manifest.json`")?;
        let images: Vec<Listed> =
            serde_json::from_value(listed).map_err(|error| archive.malformed(format!("`manifest.json`: {error}")))?;
        let image = choose(images, reference, &name)?;
        let config_bytes = archive.read(&image.config)?;
        let config = Config::parse(&config_bytes)?;
        let diff_ids = config.diff_ids()?;
        if diff_ids.len() != image.layers.len() {
            let (layers, ids) = (image.layers.len(), diff_ids.len());
            return Err(archive.malformed(format!("it lists {layers} layers, its configuration {ids}")).into());
        }
        let config = Descriptor::of(media_type::CONFIG, &config_bytes);
        let mut blobs = BTreeMap::from([(config.digest, image.config.clone())]);
        let mut layers = Vec::new();
        for (member, diff_id) in image.layers.into_iter().zip(diff_ids) {
            let layer = describe(&archive, &member, diff_id)?;
            blobs.insert(layer.digest, member);
            layers.push(layer);
        }
        let media_type = media_type::MANIFEST.to_string();
        let manifest = Manifest { media_type, config, layers, annotations: BTreeMap::new() };
        let root = Frozen::new(media_type::MANIFEST, manifest.to_bytes());
        Ok((DockerArchive { archive, name, blobs }, root))
    }
}

fn choose(mut images: Vec<Listed>, reference: Option<&str>, name: &str) -> Result<Listed, Error> {
    let tags = |image: &Listed| image.repo_tags.clone().unwrap_or_default();
    let available: Vec<String> = images.iter().flat_map(tags).collect();
    let fail = |problem: String| Error::Choice { source_name: name.into(), problem, available: available.clone() };
    let position = match reference {
        Some(wanted) => {
            let parsed = wanted.parse::<Reference>().ok();
            let same = |tag: &String| tag == wanted || parsed.is_some() && tag.parse::<Reference>().ok() == parsed;
            let found = images.iter().position(|image| tags(image).iter().any(same));
            found.ok_or_else(|| fail(format!("has no image `{wanted}`")))?
        }
        None if images.len() == 1 => 0,
        None if images.is_empty() => return Err(fail("holds no image".into())),
        None => return Err(fail(format!("holds {} images", images.len()))),
    };
    Ok(images.swap_remove(position))
}

/// The descriptor of a layer member.
fn describe(archive: &Archive, member: &str, diff_id: Digest) -> Result<Descriptor> {
    let missing = || archive.malformed(format!("it has no layer `{}`", member.escape_debug()));
    let size = archive.size(member).ok_or_else(missing)?;
    let shown = shown(member);
    let mut magic = Vec::new();
    let opened = || archive.member(member).ok_or_else(missing);
    opened()?.take(4).read_to_end(&mut magic).map_err(|error| archive.malformed(error.to_string()))?;
    let kind = match magic.as_slice() {
        [0x1f, 0x8b, ..] => media_type::Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::Compression::Zstd,
        _ => return Ok(Descriptor::new(media_type::LAYER, diff_id, size)),
    };
    let mut packed = Counted { inner: opened()?, hasher: Hasher::new() };
    let damaged = |error: io::Error| archive.malformed(format!("layer `{shown}`: {error}"));
    let mut unpacked = Hasher::new();
    let length = match kind {
        media_type::Compression::Gzip => {
            io::copy(&mut flate2::read::MultiGzDecoder::new(&mut packed).take(LAYER_LIMIT), &mut unpacked)
        }
        _ => zstd::Decoder::new(&mut packed).and_then(|d| io::copy(&mut d.take(LAYER_LIMIT), &mut unpacked)),
    };
    if length.map_err(damaged)? == LAYER_LIMIT {
        return Err(archive.malformed(format!("layer `{shown}` unpacks to more than {LAYER_LIMIT} bytes")).into());
    }
    // What follows the compressed stream belongs to the blob, too.
    io::copy(&mut packed, &mut io::sink()).map_err(damaged)?;
    let found = unpacked.finish();
    if found != diff_id {
        let expected = format!("diffID {diff_id} of `{shown}`");
        return Err(Error::Inconsistent { what: "diffIDs", expected, found: found.to_string() }.into());
    }
    Ok(Descriptor::new(kind.media_type(), packed.hasher.finish(), size))
}

/// Hashes what is read through it.
struct Counted<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

impl BlobSource for DockerArchive {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let missing = || Error::BlobMissing { name: self.name.clone(), digest: descriptor.digest };
        let member = self.blobs.get(&descriptor.digest).ok_or_else(missing)?;
        check_length(&self.name, descriptor, self.archive.size(member).ok_or_else(missing)?)?;
        let section = self.archive.member(member).ok_or_else(missing)?;
        Ok(Box::new(BlobReader::new(section, descriptor.digest, Some(descriptor.size))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{Fixture, gzip, tar_of};
    use crate::image::{Artifact, ImageName, open};
    use crate::oci::Platform;
    use serde_json::{Value, json};

    /// A docker archive of these layer members; the configuration promises `diff_ids`.
    fn archive(layers: &[(&str, &[u8])], diff_ids: &[Digest], listed: impl FnOnce(&mut Value)) -> (Fixture, ImageName) {
        let fixture = Fixture::new();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Healthcheck": { "Test": ["NONE"] } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        let mut manifest = json!([{ "Config": "c.json", "RepoTags": ["app:1", "localhost/x:2"], "Layers": names }]);
        listed(&mut manifest);
        let (config, manifest) = (config.to_string(), manifest.to_string());
        let mut members = vec![("manifest.json", manifest.as_bytes()), ("c.json", config.as_bytes())];
        members.extend_from_slice(layers);
        std::fs::write(fixture.path("d.tar"), tar_of(&members)).unwrap();
        let name = fixture.name("docker-archive", "d.tar");
        (fixture, name)
    }

    #[test]
    fn plain_and_packed_layers_are_described_and_verified() {
        let tar = tar_of(&[("etc/x", b"x")]);
        let (packed, squeezed) = (gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap());
        let ids = [Digest::of(&tar); 3];
        let layers: [(&str, &[u8]); 3] = [("a/layer.tar", &tar), ("b.tar.gz", &packed), ("c.tar", &squeezed)];
        let (fixture, name) = archive(&layers, &ids, |_| {});
        let image = open(&name, &fixture.access).unwrap().image(Some(&Platform::linux("amd64"))).unwrap();
        let kinds: Vec<&str> = image.layers.iter().map(|layer| layer.descriptor.media_type.as_str()).collect();
        assert_eq!(kinds, [media_type::LAYER, media_type::LAYER_GZIP, media_type::LAYER_ZSTD]);
        for (layer, (_, bytes)) in image.layers.iter().zip(layers) {
            let mut read = Vec::new();
            image.blobs.open(&layer.descriptor).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        assert!(image.config.get("Healthcheck").is_some());
        // What is written from it has the same layers, and the configuration's own bytes.
        let copy = fixture.name("docker-archive", "copy.tar:localhost/x:1");
        crate::image::sink(&copy, &fixture.access, None)
            .unwrap()
            .write(&Artifact::Image(image.to_image()), &*image.blobs, &fixture.access.progress)
            .unwrap();
        let again = open(&copy, &fixture.access).unwrap().image(None).unwrap();
        assert_eq!(again.config_bytes, image.config_bytes);
    }

    #[test]
    fn layers_with_another_diff_id_are_refused() {
        let tar = tar_of(&[("etc/x", b"x")]);
        let wrong = [Digest::of(b"other")];
        let (fixture, name) = archive(&[("l.tar.gz", &gzip(&tar))], &wrong, |_| {});
        let error = open(&name, &fixture.access).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("diffID"), "{error}");
        let (fixture, name) = archive(&[("l.tar", &tar)], &wrong, |_| {});
        let image = open(&name, &fixture.access).unwrap().image(None).unwrap();
        let mut reader = image.blobs.open(&image.layers[0].descriptor).unwrap();
        assert!(io::copy(&mut reader, &mut io::sink()).is_err());
        let (fixture, name) = archive(&[("l.tar", &tar)], &[], |_| {});
        assert!(open(&name, &fixture.access).map(|_| ()).unwrap_err().to_string().contains("lists 1 layers"));
        let cut = &gzip(&tar)[..40];
        let (fixture, name) = archive(&[("l.tar.gz", cut)], &[Digest::of(&tar)], |_| {});
        assert_eq!(open(&name, &fixture.access).map(|_| ()).unwrap_err().class().code(), 4);
    }

    #[test]
    fn the_image_that_is_meant_is_found_or_asked_for() {
        let tar = tar_of(&[("etc/x", b"x")]);
        let ids = [Digest::of(&tar)];
        let problem = |rest: &str, change: fn(&mut Value)| {
            let (fixture, _) = archive(&[("l.tar", &tar)], &ids, change);
            open(&fixture.name("docker-archive", rest), &fixture.access).map(|_| ()).map_err(|e| e.to_string())
        };
        problem("d.tar:docker.io/library/app:1", |_| {}).unwrap();
        problem("d.tar:localhost/x:2", |_| {}).unwrap();
        problem("d.tar", |listed| listed[0]["RepoTags"] = Value::Null).unwrap();
        assert!(problem("d.tar:app:2", |_| {}).unwrap_err().contains("has no image `app:2`"));
        assert!(problem("d.tar", |listed| *listed = json!([])).unwrap_err().contains("holds no image"));
        let double = |listed: &mut Value| *listed = json!([listed[0].clone(), listed[0].clone()]);
        assert!(problem("d.tar", double).unwrap_err().contains("holds 2 images"));
        assert!(problem("d.tar", |listed| listed[0]["Config"] = json!("../x")).unwrap_err().contains("no file"));
        assert!(problem("d.tar", |listed| listed[0]["Layers"] = json!(["x"])).unwrap_err().contains("no layer `x`"));
        assert!(problem("d.tar", |listed| *listed = json!({})).is_err());
    }
}
