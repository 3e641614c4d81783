//! Tests against a real registry: `docker-registry` of the distribution, started on a loopback port.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::testing::{client, quick};
use super::{Error, Options, Pushed, Registry, RemoteBlobs};
use crate::layer::{BlobSource, Store};
use crate::oci::{Descriptor, Digest, Reference, media_type};
use crate::process::Running;
use crate::progress::Progress;

/// A running registry; it ends with this value.
struct Real {
    _running: Running,
    folder: tempfile::TempDir,
    port: u16,
}

impl Real {
    fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let storage = folder.path().join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", secret: test}}\n{auth}",
            storage.display()
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(command).expect("apt-get install docker-registry");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Real { _running: running, folder, port }
    }

    fn at(&self, name: &str) -> Reference {
        format!("127.0.0.1:{}/{name}", self.port).parse().unwrap()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

struct Image {
    store: Store,
    _folder: tempfile::TempDir,
    layer: Descriptor,
    config: Descriptor,
    manifest: Vec<u8>,
}

fn image() -> Image {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i ^ (i >> 9)) as u8).collect();
    let layer = Descriptor::of(media_type::LAYER_GZIP, &bytes);
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    store.put(&bytes).unwrap();
    store.put(b"{}").unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [layer],
    });
    Image { store, _folder: folder, layer, config, manifest: serde_json::to_vec(&manifest).unwrap() }
}

fn push(registry: &Registry, image: &Image, to: &Reference, from: Option<&Reference>) -> Vec<Pushed> {
    let task = Progress::silent().task("x", None);
    let blobs = [&image.layer, &image.config];
    let how = blobs.map(|blob| registry.push_blob(to, blob, &image.store, from, &task).unwrap());
    let digest = registry.push_manifest(to, &image.manifest, media_type::MANIFEST).unwrap();
    assert_eq!(digest, Digest::of(&image.manifest));
    how.to_vec()
}

#[test]
fn an_image_is_pushed_pulled_and_mounted() {
    let (real, image, (registry, _file)) = (Real::start(""), image(), client("{}"));
    let app = real.at("team/app:1");
    assert_eq!(registry.head(&app).unwrap(), None);
    assert_eq!(push(&registry, &image, &app, None), [Pushed::Uploaded, Pushed::Uploaded]);
    assert_eq!(push(&registry, &image, &app, None), [Pushed::Existed, Pushed::Existed]);
    assert_eq!(push(&registry, &image, &real.at("other/app:2"), Some(&app)), [Pushed::Mounted, Pushed::Mounted]);
    // A mount from where it is not becomes an upload in the session that the registry opens.
    let nowhere = real.at("no/where:1");
    let fresh = Real::start("");
    assert_eq!(push(&registry, &image, &fresh.at("a:1"), Some(&fresh.at("no/where:1"))), [Pushed::Uploaded; 2]);

    let fetched = registry.manifest(&app).unwrap();
    assert_eq!((&fetched.bytes, fetched.content_type.as_deref()), (&image.manifest, Some(media_type::MANIFEST)));
    assert_eq!(registry.head(&app).unwrap(), Some(fetched.digest));
    assert_eq!(registry.manifest(&app.pinned(fetched.digest)).unwrap(), fetched);
    assert_eq!(registry.tags(&app).unwrap(), ["1"]);
    assert!(matches!(registry.manifest(&nowhere), Err(Error::NotFound { .. })));
    assert!(matches!(registry.tags(&nowhere), Err(Error::NotFound { .. })));

    // By digest only, as for the images of an index.
    registry.push_manifest(&real.at("team/app").pinned(fetched.digest), &image.manifest, media_type::MANIFEST).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    let remote = RemoteBlobs::new(registry, app, store.clone(), Progress::silent());
    for blob in [&image.layer, &image.config] {
        std::io::copy(&mut BlobSource::open(&remote, blob).unwrap(), &mut std::io::sink()).unwrap();
        assert!(store.has(&blob.digest));
    }
}

#[test]
fn a_manifest_without_its_blobs_is_refused() {
    let (real, image, (registry, _file)) = (Real::start(""), image(), client("{}"));
    let error = registry.push_manifest(&real.at("a:1"), &image.manifest, media_type::MANIFEST).unwrap_err();
    assert_eq!(error.code(), Some("MANIFEST_BLOB_UNKNOWN"), "{error}");
}

fn file_of(auths: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!(r#"{{"auths":{auths}}}"#)).unwrap();
    file
}

/// A part of the next test, in a process that has the variables.
#[test]
fn in_another_environment() {
    let Ok(reference) = std::env::var("INGOT_TEST_PULL") else { return };
    let registry = Registry::new(quick(), Options::default()).unwrap();
    registry.manifest(&reference.parse().unwrap()).unwrap();
}

#[test]
fn a_registry_with_passwords_lets_in_who_has_one() {
    // htpasswd -Bbn user canary
    let users = tempfile::NamedTempFile::new().unwrap();
    let mut htpasswd = Command::new("htpasswd");
    htpasswd.args(["-Bbn", "user", "canary"]);
    let made = crate::process::run(htpasswd, b"", crate::process::DEFAULT_TIMEOUT);
    std::fs::write(users.path(), made.expect("apt-get install apache2-utils").stdout).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", users.path().display());
    let (real, image) = (Real::start(&auth), image());
    let app = real.at("team/app:1");

    let (stranger, _file) = client("{}");
    let error = stranger.manifest(&app).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { known: false, .. }), "{error}");
    let wrong = format!(r#"{{"127.0.0.1:{}":{{"username":"user","password":"guess"}}}}"#, real.port);
    let (guesser, _file) = client(&wrong);
    let error = guesser.manifest(&app).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { known: true, .. }), "{error}");

    let right = format!(r#"{{"127.0.0.1:{}/team":{{"username":"user","password":"canary"}}}}"#, real.port);
    let (registry, _file) = client(&right);
    assert_eq!(push(&registry, &image, &app, None), [Pushed::Uploaded, Pushed::Uploaded]);
    assert_eq!(registry.manifest(&app).unwrap().bytes, image.manifest);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    // A client that knows nothing yet, so that the blob itself is refused first.
    let (second, _file) = client(&right);
    second.pull_blob(&app, &image.layer, &store, &Progress::silent().task("x", None)).unwrap();
    // The same credentials by way of the environment.
    let file = file_of(&right);
    let elsewhere = |auth: &Path| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "registry::real::in_another_environment"]);
        test.env("INGOT_TEST_PULL", app.to_string()).env("REGISTRY_AUTH_FILE", auth);
        crate::process::run(test, b"", crate::process::DEFAULT_TIMEOUT).unwrap().status.success()
    };
    assert!(elsewhere(file.path()) && !elsewhere(file_of("{}").path()) && !elsewhere(Path::new("/nonexistent")));
    let other = real.at("other/app:1");
    assert!(matches!(registry.manifest(&other), Err(Error::Unauthorized { known: false, .. })));
    assert!(real.folder().join("storage").exists());
}
