//! Base images: Debian's real one, and a tiny one made in code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ingot::oci::Digest;
use serde_json::{Value, json};

use super::program::{Ran, tool};

/// A layout of Debian with Python, made once by `tests/tools/base/make-base.sh` and readable for everybody.
pub fn debian_base() -> PathBuf {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT
        .get_or_init(|| {
            tool("mmdebstrap", "mmdebstrap");
            // A folder per user: what root made is not an ordinary user's to replace.
            let own = format!("ingot-it-base-{}", rustix::process::getuid().as_raw());
            let folder = Path::new("/tmp").join(own);
            std::fs::create_dir_all(&folder).unwrap();
            let package = Path::new(env!("CARGO_MANIFEST_DIR"));
            let recipe: Vec<u8> = ["make-base.sh", "layout.py"]
                .iter()
                .flat_map(|name| std::fs::read(package.join("tests/tools/base").join(name)).unwrap())
                .collect();
            let layout = folder.join(Digest::of(&recipe).short());
            // Another test program may make the same one at the same time.
            let mut command = Command::new(tool("flock", "util-linux"));
            command.arg(folder.join("lock")).arg(package.join("tests/tools/base/make-base.sh")).arg(&layout);
            Ran::of(command).ok();
            layout
        })
        .clone()
}

/// The folder of libraries of one architecture.
const AMD64: &str = "x86_64-linux-gnu";

/// The tiny base's files: enough to be recognised as Debian 12 with Python 3.11 and glibc 2.36. It cannot run.
const TINY: [(&str, &str); 8] = [
    ("etc/group", "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n"),
    ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Tiny\"\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"),
    ("usr/bin/python3.11", "not a program\n"),
    ("usr/bin/sh", "not a program\n"),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"),
    ("var/lib/dpkg/status", ""),
];

/// Writes a layout with one small layer, the same bytes every time: for golden listings and for tests that run nothing.
pub fn tiny_base(layout: &Path) {
    let mut entry = tiny_image(layout, "amd64");
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    finish(layout, &entry);
}

/// The same for amd64 and arm64, in an index.
pub fn tiny_bases(layout: &Path) {
    let manifests = ["amd64", "arm64"].map(|architecture| tiny_image(layout, architecture));
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
    let (digest, size) = put(layout, index.to_string().as_bytes());
    let annotations = json!({"org.opencontainers.image.ref.name": "latest"});
    finish(layout, &json!({"mediaType": kind, "digest": digest, "size": size, "annotations": annotations}));
}

fn finish(layout: &Path, entry: &Value) {
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn put(layout: &Path, bytes: &[u8]) -> (String, usize) {
    let (digest, blobs) = (Digest::of(bytes), layout.join("blobs/sha256"));
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
    (digest.to_string(), bytes.len())
}

/// Writes the image's blobs and returns its entry in an index.
fn tiny_image(layout: &Path, architecture: &str) -> Value {
    let put_json = |kind: &str, document: &Value| {
        let (digest, size) = put(layout, document.to_string().as_bytes());
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size})
    };
    let tar = tiny_tar(if architecture == "arm64" { "aarch64-linux-gnu" } else { AMD64 });
    let mut encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&tar).unwrap();
    let (digest, size) = put(layout, &encoder.finish().unwrap());
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "1980-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).to_string()]},
        "history": [{"created": "1980-01-01T00:00:00Z", "created_by": "tiny"}],
    });
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put_json("config.v1+json", &config), "layers": [layer],
    });
    let mut entry = put_json("manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    entry
}

fn tiny_tar(triplet: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header
    };
    for folder in [
        "etc",
        "root",
        "tmp",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/lib/x86_64-linux-gnu",
        "var",
        "var/lib",
        "var/lib/dpkg",
    ] {
        let mode = match folder {
            "tmp" => 0o1777,
            "root" => 0o700,
            _ => 0o755,
        };
        let mut header = header(tar::EntryType::Directory, mode, 0);
        builder.append_data(&mut header, format!("{}/", folder.replace(AMD64, triplet)), &[][..]).unwrap();
    }
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib")] {
        builder.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), link, target).unwrap();
    }
    for (path, text) in TINY {
        let mode = if path.starts_with("usr/bin/") { 0o755 } else { 0o644 };
        let mut header = header(tar::EntryType::Regular, mode, text.len() as u64);
        builder.append_data(&mut header, path.replace(AMD64, triplet), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}
