//! Pushing: blobs in parallel, asked for, mounted or sent; then manifests by digest; the tag last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::parallel::WORKERS;
use super::{Outcome, Receipt, Sink, title};
use crate::error::{During, Result};
use crate::image::blobs::Overlay;
use crate::image::frozen::{Artifact, Blob};
use crate::image::{Access, Error};
use crate::layer::{BlobSource, Origin};
use crate::net::in_parallel;
use crate::oci::{Digest, Reference};
use crate::progress::Progress;
use crate::registry::{Pushed, Registry};

/// `docker://REF`.
pub(super) struct RegistrySink {
    reference: Reference,
    access: Access,
    /// What became of layers that were sent before the image was finished.
    early: Mutex<BTreeMap<Digest, Outcome>>,
}

impl RegistrySink {
    pub fn new(reference: &Reference, access: &Access) -> Self {
        RegistrySink { reference: reference.clone(), access: access.clone(), early: Mutex::default() }
    }

    fn push(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        let (to, digest) = (&self.reference, artifact.digest());
        if let Some(expected) = to.digest().filter(|expected| *expected != digest) {
            let (expected, found) = (format!("digest {expected} of the destination"), digest.to_string());
            return Err(Error::Inconsistent { what: "names", expected, found }.into());
        }
        let registry = self.access.registry()?;
        let early = self.early().clone();
        if early.is_empty() && registry.holds(to, digest) {
            return Ok(self.unchanged(artifact, progress));
        }
        let source = Overlay::new(artifact, blobs);
        let pushed = in_parallel(&artifact.blobs(), WORKERS, |blob| {
            let size = blob.descriptor.size;
            let known = early.get(&blob.descriptor.digest).copied();
            let outcome = known.map_or_else(|| self.blob(&registry, blob, &source, progress), Ok)?;
            Ok((outcome, size))
        })?;
        let mut receipt = Receipt::new(self.name(), artifact);
        pushed.into_iter().for_each(|(outcome, size)| receipt.count(outcome, size));
        let documents = artifact.documents();
        for document in &documents {
            let descriptor = &document.descriptor;
            let is_root = descriptor.digest == digest;
            // Only the root gets the name; what it lists is known by digest.
            let at = if is_root { to.clone() } else { to.pinned(descriptor.digest) };
            registry.push_manifest(&at, &document.bytes, &descriptor.media_type)?;
        }
        receipt.reference = Some(to.clone());
        Ok(receipt)
    }

    fn early(&self) -> MutexGuard<'_, BTreeMap<Digest, Outcome>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob(&self, registry: &Registry, blob: &Blob, source: &dyn BlobSource, progress: &Progress) -> Result<Outcome> {
        let task = progress.task(&title(blob), Some(blob.descriptor.size));
        let pushed = registry.push_blob(&self.reference, &blob.descriptor, source, mount_from(blob), &task)?;
        let (outcome, said) = match pushed {
            Pushed::Existed => (Outcome::Existed, "exists"),
            Pushed::Mounted => (Outcome::Mounted, "mounted"),
            Pushed::Uploaded => (Outcome::Written, "pushed"),
        };
        task.finish(said);
        Ok(outcome)
    }

    /// The tag names the artifact already: a registry takes no manifest without the blobs that it lists.
    fn unchanged(&self, artifact: &Artifact, progress: &Progress) -> Receipt {
        let mut receipt = Receipt::new(self.name(), artifact);
        for blob in artifact.blobs() {
            let size = blob.descriptor.size;
            let task = progress.task(&title(&blob), Some(size));
            task.advance(size);
            task.finish("exists");
            receipt.count(Outcome::Existed, size);
        }
        receipt.reference = Some(self.reference.clone());
        receipt
    }
}

/// The repository that a layer is known to be in.
fn mount_from(blob: &Blob) -> Option<&Reference> {
    match &blob.layer.as_ref()?.origin {
        Origin::Remote(from) => Some(from),
        Origin::Store => None,
    }
}

impl Sink for RegistrySink {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn takes_early(&self) -> bool {
        // One that has to be a certain image may turn out to be another.
        self.reference.digest().is_none()
    }

    fn send(&self, layer: &Blob, blobs: &dyn BlobSource, progress: &Progress) -> Result<()> {
        let digest = layer.descriptor.digest;
        if self.early().contains_key(&digest) {
            return Ok(());
        }
        let outcome = self.blob(&self.access.registry()?, layer, blobs, progress)?;
        // The same layer of another platform, sent meanwhile, comes second.
        self.early().entry(digest).or_insert(outcome);
        Ok(())
    }

    fn write(&self, artifact: &Artifact, blobs: &dyn BlobSource, progress: &Progress) -> Result<Receipt> {
        self.push(artifact, blobs, progress).during(|| format!("pushing to `{}`", self.reference))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::image::fixture::Fixture;
    use crate::image::{ImageName, MultiImage, Platforms, copy, open, sink};
    use crate::oci::Platform;
    use crate::process::Running;

    /// A real registry on loopback, with its data in memory.
    struct Server {
        _process: Running,
        address: String,
    }

    impl Server {
        fn start(fixture: &Fixture) -> Self {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let config = fixture.path("registry.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{inmemory: {{}}}}\nhttp: {{addr: '{address}'}}\n"
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new("docker-registry");
            command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = Running::start(command).expect("apt-get install docker-registry");
            let deadline = Instant::now() + Duration::from_secs(30);
            while TcpStream::connect(&address).is_err() {
                assert!(Instant::now() < deadline, "docker-registry does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
            Server { _process: process, address }
        }

        fn name(&self, rest: &str) -> ImageName {
            format!("docker://{}/{rest}", self.address).parse().unwrap()
        }
    }

    fn counts(receipt: &Receipt) -> [u64; 3] {
        [receipt.written.count, receipt.existed.count, receipt.mounted.count]
    }

    #[test]
    fn images_go_to_a_registry_and_come_back() {
        let fixture = Fixture::new();
        let server = Server::start(&fixture);
        let images = vec![fixture.two_layers("amd64"), fixture.two_layers("arm64")];
        let single = Artifact::Image(images[0].clone());
        let first = fixture.write(&single, &server.name("team/app:1")).unwrap();
        assert_eq!((counts(&first), first.digest), ([3, 0, 0], single.digest()));
        let same = fixture.write(&single, &server.name("team/app:1")).unwrap();
        assert_eq!((counts(&same), &same.reference), ([0, 3, 0], &first.reference));
        assert_eq!(counts(&fixture.write(&single, &server.name("team/app:2")).unwrap()), [0, 3, 0]);
        let multi = Artifact::Index(MultiImage::new(images.clone(), Default::default()).unwrap());
        let pushed = fixture.write(&multi, &server.name("team/app:multi")).unwrap();
        assert_eq!((counts(&pushed), pushed.digest), ([2, 3, 0], multi.digest()));

        // Somebody with an empty store.
        let other = Fixture::new();
        let opened = open(&server.name("team/app:multi"), &other.access).unwrap();
        let arm = opened.image(Some(&Platform::linux("arm64"))).unwrap();
        assert_eq!((arm.manifest_descriptor.digest, arm.root_digest), (images[1].digest(), multi.digest()));
        let layer = &arm.layers[0];
        assert!(matches!(&layer.origin, Origin::Remote(from) if from.repository() == "team/app"));
        assert!(!other.access.store.has(&layer.descriptor.digest), "layers are not fetched before they are read");
        assert_eq!(opened.image(Some(&Platform::linux("s390x"))).map(|_| ()).unwrap_err().class().code(), 2);

        // To another repository of the registry: nothing but the configurations crosses the network.
        let target = sink(&server.name("other/app:1"), &other.access, None).unwrap();
        let copied = copy(&opened, &Platforms::All, &*target, &other.access.progress).unwrap();
        assert_eq!((copied.mounted.count, copied.digest), (3, multi.digest()));
        assert!(!other.access.store.has(&layer.descriptor.digest));

        // Into files, and by digest.
        for (kind, rest) in [("oci", "layout:1"), ("oci-archive", "a.tar")] {
            let target = other.name(kind, rest);
            let sink = sink(&target, &other.access, None).unwrap();
            copy(&opened, &Platforms::All, &*sink, &other.access.progress).unwrap();
            assert_eq!(open(&target, &other.access).unwrap().root().descriptor.digest, multi.digest());
        }
        let pinned = server.name(&format!("team/app@{}", images[1].digest()));
        assert_eq!(open(&pinned, &other.access).unwrap().image(None).unwrap().platform, Platform::linux("arm64"));
        let wrong = server.name(&format!("team/app@{}", images[1].digest()));
        let error = fixture.write(&single, &wrong).unwrap_err();
        assert_eq!(error.class().code(), 4, "{error}");
        let error = open(&server.name("team/none:1"), &other.access).map(|_| ()).unwrap_err();
        assert_eq!(error.class().code(), 5, "{error}");
    }
}
