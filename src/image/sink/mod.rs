//! Destinations: what an artifact is written to.
//!
//! Blobs are written first, then documents, children before parents, and the name last: whoever sees the name sees
//! everything that it leads to.

mod docker_archive;
mod early;
mod engine;
mod layout;
mod oci_archive;
mod parallel;
mod registry;
mod staged;
mod tar_file;

pub use early::Early;
use serde::Serialize;

use super::{Access, Artifact, Blob, ImageName};
use crate::error::Result;
use crate::layer::BlobSource;
use crate::oci::{Digest, Reference};
use crate::progress::Progress;

/// How many blobs and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Blobs.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was copied.
    Written,
    /// It was there already.
    Existed,
    /// The registry took it over from another repository.
    Mounted,
}

/// What was written where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The destination's name.
    pub destination: String,
    /// The reference by which it can be pulled, loaded or run.
    #[serde(serialize_with = "as_text")]
    pub reference: Option<Reference>,
    /// The manifest's or index's digest. Engines keep images in a form of their own and may show another one.
    pub digest: Digest,
    /// Blobs that were copied.
    pub written: Tally,
    /// Blobs that were there already.
    pub existed: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
}

fn as_text<S: serde::Serializer>(reference: &Option<Reference>, serializer: S) -> Result<S::Ok, S::Error> {
    reference.as_ref().map(Reference::to_string).serialize(serializer)
}

impl Receipt {
    fn new(destination: String, artifact: &Artifact) -> Self {
        let (written, existed, mounted) = Default::default();
        Receipt { destination, reference: None, digest: artifact.digest(), written, existed, mounted }
    }

    fn count(&mut self, outcome: Outcome, bytes: u64) {
        match outcome {
            Outcome::Written => self.written.add(bytes),
            Outcome::Existed => self.existed.add(bytes),
            Outcome::Mounted => self.mounted.add(bytes),
        }
    }
}

/// A destination.
pub trait Sink: Send + Sync {
    /// How it is named.
    fn name(&self) -> String;

    /// Whether [`Sink::send`] does anything.
    fn takes_early(&self) -> bool {
        false
    }

    /// Whether nobody who looks at the destination sees what was sent, and all of it goes if no artifact is written: then
    /// it may be sent before budgets hold.
    fn takes_unseen(&self) -> bool {
        false
    }

    /// Takes a layer before the artifact is finished. Nobody sees it yet: a name comes with [`Sink::write`] only, which
    /// then counts the layer as if it had come with the rest. What fails here is tried again there.
    fn send(&self, _layer: &Blob, _blobs: &dyn BlobSource, _progress: &Progress) -> Result<()> {
        Ok(())
    }

    /// No artifact will be written any more: what was sent and is not part of one goes, where that can be done.
    fn forget(&self) {}

    /// Writes everything that `artifact` consists of; the layers' bytes come from `blobs`.
    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt>;
}

/// What a blob is called in progress.
fn title(blob: &Blob) -> String {
    format!("{} {}", blob.name, blob.descriptor.digest.short())
}

/// Says that some tools will not find the image in a layout. Its bytes, and so its digest, are kept all the same.
fn warn_of_docker(artifact: &Artifact, destination: &str, progress: &Progress) {
    if artifact.is_docker() {
        progress.message(&format!(
            "warning: the manifest in `{destination}` is of Docker's kind, kept for its digest: umoci and older \
             versions of skopeo find no image in such a layout"
        ));
    }
}

/// The destination that `name` means. `reference` is what an archive or a layout calls the image if its name does
/// not say; without both, a layout's tag is `latest` and an archive's image has no name.
pub fn sink(name: &ImageName, access: &Access, reference: Option<&Reference>) -> Result<Box<dyn Sink>> {
    let spelled = |own: &Option<String>| own.clone().or_else(|| reference.map(Reference::to_string));
    Ok(match name {
        ImageName::OciLayout { dir, tag } => {
            Box::new(layout::LayoutSink::new(dir, tag.as_deref().unwrap_or("latest"), &access.store))
        }
        ImageName::OciArchive { file, reference } => {
            Box::new(oci_archive::OciArchiveSink::new(file, spelled(reference)))
        }
        ImageName::DockerArchive { file, reference: own } => {
            let own = own.as_deref().map(str::parse::<Reference>).transpose()?;
            Box::new(docker_archive::DockerArchiveSink::new(file, own.or(reference.cloned())))
        }
        ImageName::ContainersStorage(image) => {
            Box::new(engine::EngineSink::new(crate::engine::Kind::Podman, image, access)?)
        }
        ImageName::DockerDaemon(image) => {
            Box::new(engine::EngineSink::new(crate::engine::Kind::Docker, image, access)?)
        }
        ImageName::Registry(reference) => Box::new(registry::RegistrySink::new(reference, access)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{Fixture, snapshot};
    use crate::image::{MultiImage, Platforms, copy, open};
    use crate::oci::media_type::Compression;
    use crate::oci::{Descriptor, Platform};

    #[test]
    fn an_image_goes_through_every_local_kind_with_its_digest() {
        let fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        let names = ["oci-archive:a.tar:app:1", "oci:layout:1.0", "oci-archive:b.tar", "oci:other"];
        let name = |text: &str| {
            let (kind, rest) = text.split_once(':').unwrap();
            fixture.name(kind, rest)
        };
        fixture.write(&Artifact::Image(image.clone()), &name(names[0])).unwrap();
        for pair in names.windows(2) {
            let opened = open(&name(pair[0]), &fixture.access).unwrap();
            let target = sink(&name(pair[1]), &fixture.access, None).unwrap();
            let receipt = copy(&opened, &Platforms::All, &*target, &Progress::silent()).unwrap();
            assert_eq!((receipt.digest, receipt.written.count), (image.digest(), 3), "{pair:?}");
        }
        let last = open(&name("oci:other"), &fixture.access).unwrap().image(None).unwrap();
        assert_eq!(last.config_bytes, image.config.bytes);
    }

    #[test]
    fn archives_have_the_same_bytes_every_time() {
        let fixture = Fixture::new();
        let artifact = Artifact::Image(fixture.two_layers("amd64"));
        for kind in ["oci-archive", "docker-archive"] {
            fixture.write(&artifact, &fixture.name(kind, "a.tar:app:1")).unwrap();
            fixture.write(&artifact, &fixture.name(kind, "b.tar:app:1")).unwrap();
            let (a, b) = (std::fs::read(fixture.path("a.tar")).unwrap(), std::fs::read(fixture.path("b.tar")).unwrap());
            assert!(a == b && a.len() % 512 == 0, "{kind}");
        }
    }

    #[test]
    fn a_layout_keeps_its_other_images_and_counts_what_is_there() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.two_layers("amd64"), fixture.two_layers("arm64"));
        let first = fixture.write(&Artifact::Image(one.clone()), &fixture.name("oci", "layout:one")).unwrap();
        assert_eq!((first.written.count, first.existed.count), (3, 0));
        let second = fixture.write(&Artifact::Image(two.clone()), &fixture.name("oci", "layout:two")).unwrap();
        assert_eq!((second.written.count, second.existed.count), (2, 1));
        let before = snapshot(&fixture.path("layout"));
        fixture.write(&Artifact::Image(two.clone()), &fixture.name("oci", "layout:two")).unwrap();
        assert_eq!(snapshot(&fixture.path("layout")), before);
        fixture.write(&Artifact::Image(one.clone()), &fixture.name("oci", "layout:two")).unwrap();
        for tag in ["one", "two"] {
            let opened = open(&fixture.name("oci", &format!("layout:{tag}")), &fixture.access).unwrap();
            assert_eq!(opened.root().descriptor.digest, one.digest());
        }
        // A damaged blob is noticed and written again, although it was found sound before.
        std::thread::sleep(std::time::Duration::from_millis(150));
        for _ in 0..2 {
            let again = fixture.write(&Artifact::Image(one.clone()), &fixture.name("oci", "layout:one")).unwrap();
            assert_eq!((again.written.count, again.existed.count), (0, 3));
        }
        let blob = fixture.path("layout/blobs/sha256").join(one.layers[0].descriptor.digest.hex());
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[20] ^= 1;
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, bytes).unwrap();
        let healed = fixture.write(&Artifact::Image(one.clone()), &fixture.name("oci", "layout:one")).unwrap();
        assert_eq!(healed.written.count, 1);
        open(&fixture.name("oci", "layout:one"), &fixture.access).unwrap().image(None).unwrap();
    }

    #[test]
    fn two_writers_do_not_lose_each_others_tag() {
        let fixture = Fixture::new();
        let image = Artifact::Image(fixture.two_layers("amd64"));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (fixture, image) = (&fixture, &image);
                scope.spawn(move || fixture.write(image, &fixture.name("oci", &format!("layout:t{n}"))).unwrap());
            }
        });
        for n in 0..8 {
            open(&fixture.name("oci", &format!("layout:t{n}")), &fixture.access).unwrap();
        }
    }

    #[test]
    fn a_blob_that_is_not_what_it_should_be_leaves_nothing_under_a_final_name() {
        for (kind, rest) in [("oci", "x/layout"), ("oci-archive", "x/a.tar"), ("docker-archive", "x/a.tar")] {
            let fixture = Fixture::new();
            let image = fixture.two_layers("amd64");
            let layer = &image.layers[1].descriptor;
            let damaged = fixture.access.store.blob_path(&layer.digest);
            // Longer than a tick of the file system's clock.
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::fs::write(&damaged, vec![0; layer.size as usize]).unwrap();
            let error = fixture.write(&Artifact::Image(image.clone()), &fixture.name(kind, rest)).unwrap_err();
            assert_eq!(error.class().code(), 4, "{error}");
            let left: Vec<_> = snapshot(&fixture.path("x")).into_keys().collect();
            let bad = |path: &std::path::PathBuf| {
                path.ends_with("index.json") || path.ends_with("a.tar") || path.to_string_lossy().contains(".ingot-")
            };
            assert!(!left.iter().any(bad), "{left:?}");
        }
    }

    #[test]
    fn zstd_layers_are_unpacked_for_docker() {
        let fixture = Fixture::new();
        let layer = fixture.layer("x", Compression::Zstd);
        let image = fixture.image(&Platform::linux("amd64"), vec![layer.clone(), layer.clone()]);
        let name = fixture.name("docker-archive", "d.tar:app:1");
        fixture.write(&Artifact::Image(image), &name).unwrap();
        let read = open(&name, &fixture.access).unwrap().image(None).unwrap();
        assert_eq!(read.layers[0].descriptor.digest, layer.diff_id);
        let plain = Descriptor::new(crate::oci::media_type::LAYER, layer.diff_id, layer.uncompressed_size.unwrap());
        assert_eq!(read.layers[1].descriptor, plain);
    }

    #[test]
    fn what_a_destination_cannot_hold_is_refused_before_anything_is_written() {
        let fixture = Fixture::new();
        let images = vec![fixture.two_layers("amd64"), fixture.two_layers("arm64")];
        let multi = Artifact::Index(MultiImage::new(images, Default::default()).unwrap());
        for name in [fixture.name("docker-archive", "x.tar"), "docker-daemon:app:1".parse().unwrap()] {
            let error = fixture.write(&multi, &name).unwrap_err();
            assert_eq!((error.class().code(), error.hint().unwrap().contains("--platform")), (2, true), "{error}");
        }
        std::fs::create_dir(fixture.path("home")).unwrap();
        std::fs::write(fixture.path("home/letter"), "dear").unwrap();
        let error = fixture.write(&multi, &fixture.name("oci", "home")).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(snapshot(&fixture.path("home")).len(), 1);
        let pinned = format!("docker-daemon:app@{}", crate::oci::Digest::of(b"x"));
        assert!(fixture.write(&multi, &pinned.parse().unwrap()).is_err());
    }
}
