//! Registries that lie, break off or are not there, and passwords that must stay secret.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::*;

/// How a registry answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// As it should.
    None,
    /// Blobs end early.
    Truncated,
    /// Blobs have one other byte.
    OtherBytes,
    /// The manifest has one other byte than its digest says.
    OtherManifest,
    /// The manifest is announced as something else.
    ContentType(&'static str),
    /// Manifests are a page for people.
    Page,
    /// Everything is answered with this status.
    Status(u16),
}

/// Serves the tiny base as `team/base:1` from a layout; returns the port.
fn serve(layout: PathBuf, lie: Lie) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let layout = Arc::new(layout);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let layout = layout.clone();
            std::thread::spawn(move || answer(&stream, &layout, lie));
        }
    });
    port
}

fn answer(stream: &TcpStream, layout: &Path, lie: Lie) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let manifest = std::fs::read_to_string(layout.join("index.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).ok()?;
    let digest = manifest["manifests"][0]["digest"].as_str()?.to_owned();
    let name = path.rsplit('/').next()?;
    let is_manifest = path.contains("/manifests/");
    let wanted = if is_manifest { digest.as_str() } else { name };
    let found = std::fs::read(layout.join("blobs").join(wanted.replace(':', "/")));
    let (mut status, mut body) = match found {
        _ if path == "/v2/" => (200, b"{}".to_vec()),
        Ok(bytes) => (200, bytes),
        Err(_) => (404, Vec::new()),
    };
    let mut kind = if is_manifest { "application/vnd.oci.image.manifest.v1+json" } else { "application/octet-stream" };
    let mut length = body.len();
    match lie {
        Lie::Status(code) => (status, body, length) = (code, Vec::new(), 0),
        Lie::Truncated if !is_manifest => body.truncate(length / 2),
        Lie::OtherBytes if !is_manifest => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        Lie::OtherManifest if is_manifest => body.push(b'\n'),
        Lie::ContentType(other) if is_manifest => kind = other,
        Lie::Page if is_manifest => (body, kind) = (b"<html>sign in, please</html>".to_vec(), "text/html"),
        _ => {}
    }
    if lie != Lie::Truncated {
        length = body.len();
    }
    let mut stream = stream;
    let digest = if is_manifest { format!("Docker-Content-Digest: {digest}\r\n") } else { String::new() };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{digest}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body).ok()?;
    }
    Some(())
}

/// Builds on a base from such a registry.
#[track_caller]
fn against(lie: Lie, codes: &[i32], words: &[&str]) {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("base"));
    let port = serve(scratch.join("base"), lie);
    let digest = Layout::open(&scratch.join("base")).descriptor()["digest"].as_str().unwrap().to_owned();
    for reference in ["team/base:1".to_owned(), format!("team/base@{digest}")] {
        let project = service_with(|toml| toml.replace("oci:base", &format!("127.0.0.1:{port}/{reference}")));
        let ingot = ingot_for(&project);
        let output = ingot.path("image");
        let folder = project.folder();
        let ran = ingot.run(["build", folder.to_str().unwrap(), "-o", &format!("oci:{}", output.display()), "--quiet"]);
        assert!(codes.contains(&ran.code), "{lie:?} {reference}: {ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{lie:?} {reference}: {}", ran.stderr);
        assert!(!output.exists() && ran.stdout.is_empty(), "nothing is written");
        store_is_sound(&ingot.cache());

        // The same from an honest one, with the same store.
        let honest = serve(scratch.join("base"), Lie::None);
        let toml = std::fs::read_to_string(folder.join("ingot.toml")).unwrap();
        let project = project.file("ingot.toml", toml.replace(&port.to_string(), &honest.to_string()));
        let cast = Cast::of(&ingot, &project.folder(), &[]);
        assert_eq!(cast.layers, Cast::reference().layers, "the next build works");
    }
}

#[test]
fn a_registry_that_breaks_off() {
    against(Lie::Truncated, &[5], &["broke off"]);
}

#[test]
fn a_registry_that_serves_other_bytes() {
    against(Lie::OtherBytes, &[4], &["error: "]);
}

#[test]
fn a_registry_that_serves_another_manifest() {
    against(Lie::OtherManifest, &[4], &["does not verify"]);
    against(Lie::Page, &[4, 5], &["error: "]);
}

#[test]
fn a_registry_that_calls_a_manifest_something_else() {
    against(Lie::ContentType("application/vnd.oci.image.index.v1+json"), &[4, 5], &["error: "]);
}

#[test]
fn a_registry_that_refuses() {
    against(Lie::Status(404), &[5], &["is not in the registry"]);
    against(Lie::Status(403), &[5], &["denies"]);
    against(Lie::Status(418), &[5], &["418"]);
}

#[test]
fn a_fetched_base_that_the_disk_has_damaged_is_fetched_again() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("base"));
    let port = serve(scratch.join("base"), Lie::None);
    let project = service_with(|toml| toml.replace("oci:base", &format!("127.0.0.1:{port}/team/base:1")));
    let ingot = ingot_for(&project);
    let first = Cast::of(&ingot, &project.folder(), &[]);
    let blob = ingot.cache().join("blobs").join(first.layers[0].replace(':', "/"));
    for listing in [true, false] {
        if blob.exists() {
            let mut bytes = std::fs::read(&blob).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            overwrite(&blob, &bytes);
        }
        if !listing {
            std::fs::remove_dir_all(ingot.cache().join("bases-v1")).unwrap();
        }
        let output = format!("oci:{}", ingot.path(&format!("damaged-{listing}")).display());
        let ran = ingot.run(["build", project.folder().to_str().unwrap(), "-o", &output]);
        assert!([0, 4].contains(&ran.code), "{ran:?}");
        assert_eq!(Cast::of(&ingot, &project.folder(), &[]).difference(&first), None);
        store_is_sound(&ingot.cache());
    }
}

/// What nobody may ever see.
const CANARY: &str = "c4nary-s3cret";

/// The canary, and what becomes of it in a header.
fn secrets() -> [String; 2] {
    use base64::Engine;
    [CANARY.to_owned(), base64::engine::general_purpose::STANDARD.encode(format!("someone:{CANARY}"))]
}

#[track_caller]
fn secret_is_kept(ran: &Ran, folders: &[&Path]) {
    for secret in secrets() {
        assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret), "{ran:?}");
        for folder in folders {
            let mut command = std::process::Command::new("grep");
            command.args(["-rlF", &secret]).arg(folder);
            let found = Ran::of(command);
            assert_eq!((found.stdout.as_str(), found.code), ("", 1), "the secret was written");
        }
    }
}

#[test]
fn passwords_of_indexes_are_never_shown() {
    let project = service();
    let folder = project.folder();
    let lock = std::fs::read_to_string(folder.join("requirements.lock")).unwrap();
    let more = format!("{lock}gamma==1.0 --hash=sha256:{}\n", "0".repeat(64));
    let project = project.file("requirements.lock", more);
    let scratch = Scratch::new();
    tiny_base(&scratch.join("base"));
    let index = format!("http://someone:{CANARY}@127.0.0.1:{}/simple/", serve(scratch.join("base"), Lie::Status(403)));
    let nobody = format!("http://someone:{CANARY}@127.0.0.1:9/simple/");
    let variables = [("PIP_INDEX_URL", index.as_str()), ("PIP_EXTRA_INDEX_URL", &index), ("UV_INDEX_URL", &nobody)];
    for (name, value) in variables {
        let ingot = ingot_for(&project)
            .env(name, value)
            .unset("PIP_NO_INDEX")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1");
        for more in [["--format", "json"], ["--verbose", "--clean"]] {
            let ran = ingot.run(["build", folder.to_str().unwrap()].iter().chain(&more));
            assert_ne!(ran.code, 0);
            assert_ne!(ran.code, 1, "{ran:?}");
            secret_is_kept(&ran, &[&ingot.cache(), &ingot.path("")]);
        }
    }
    let ingot = ingot_for(&project).env("PIP_INDEX_URL", &index).unset("PIP_NO_INDEX");
    secret_is_kept(&ingot.run(["plan", folder.to_str().unwrap()]), &[]);
    secret_is_kept(&ingot.run(["doctor", folder.to_str().unwrap()]), &[]);
    // In the lock itself.
    let project = project.file("requirements.lock", format!("--index-url {index}\n{lock}"));
    secret_is_kept(&ingot.run(["build", project.folder().to_str().unwrap()]), &[&ingot.cache()]);
    let line = format!("gamma @ {}gamma-1.0-py3-none-any.whl --hash=sha256:{}\n", index, "0".repeat(64));
    let project = project.file("requirements.lock", line);
    secret_is_kept(&ingot.run(["build", project.folder().to_str().unwrap()]), &[&ingot.cache()]);
}

#[test]
fn passwords_of_registries_are_never_shown() {
    let registry = Registry::with_password("someone", CANARY);
    let project = service();
    let folder = project.folder();
    let ingot = ingot_for(&project);
    let auths = |password: &str| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("someone:{password}"));
        format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"{pair}\"}}}}}}", registry.port)
    };
    let project = project.file("auth.json", auths(CANARY));
    let reference = registry.reference("team/service:1");
    let metadata = ingot.path("metadata.json");
    let auth = project.folder().join("auth.json");
    let words = ["build", folder.to_str().unwrap(), "-t", &reference, "--push", "--authfile", auth.to_str().unwrap()];
    let output = format!("oci:{}", ingot.path("image").display());
    let more = ["--metadata-file", metadata.to_str().unwrap(), "--format", "json", "--verbose", "-o", &output];
    let ran = ingot.run(words.iter().chain(&more)).ok();
    secret_is_kept(&ran, &[&ingot.cache(), &ingot.path(""), &ingot.home()]);
    assert!(metadata.exists());

    // A wrong password, as the canary; a name with a password in it; a damaged file.
    let registry = Registry::with_password("someone", "another");
    let reference = registry.reference("team/service:1");
    let auths = auths(CANARY).replace(&words[3][10..15], &registry.port.to_string());
    let project = project.file("auth.json", auths.clone());
    let words = ["build", folder.to_str().unwrap(), "-t", &reference, "--push", "--authfile", auth.to_str().unwrap()];
    let ran = ingot.run(words).exits(5);
    assert!(ran.stderr.contains("does not let these credentials"), "{}", ran.stderr);
    secret_is_kept(&ran, &[]);
    let project = project.file("auth.json", auths.replace("}}}", ""));
    secret_is_kept(&ingot.run(words), &[]);
    drop(project);
    for name in [format!("someone:{CANARY}@127.0.0.1:5/x"), format!("docker://someone:{CANARY}@127.0.0.1:5/x:1")] {
        for command in [
            &["inspect", name.as_str()][..],
            &["build", folder.to_str().unwrap(), "-t", &name],
            &["pull", &name, "oci:x"],
        ] {
            let ran = ingot.run(command).exits(2);
            secret_is_kept(&ran, &[]);
        }
    }
}
