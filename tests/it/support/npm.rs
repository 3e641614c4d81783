//! npm: this machine's own, and registries that say what a test wants.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use sha2::Digest as _;

use super::program::{Ran, tool};
use super::server::{Reply, Server};
use super::{Scratch, derive, tar_of, tiny_base};

/// The project file of a small gateway.
pub const NODE_TOML: &str = r#"
[image]
name = "gateway"
[node]
lock = "package-lock.json"
[app]
source = "."
command = ["node", "server.js"]
expose = [8080]
[variants.default]
base = "oci:base"
"#;

/// `npm ARGS` in a folder.
#[track_caller]
pub fn npm(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(tool("npm", "npm"));
    command.args(args).args(["--no-audit", "--no-fund"]).current_dir(folder);
    Ran::of(command).ok()
}

/// `npm ci` as images are made, with this registry, whatever becomes of it.
pub fn npm_ci(folder: &Path, registry: &str) -> Ran {
    let mut command = Command::new(tool("npm", "npm"));
    command.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"]);
    command.arg(format!("--registry={registry}")).arg(format!("--cache={}", folder.join(".cache").display()));
    command.current_dir(folder);
    Ran::of(command)
}

/// The registry that this machine's npm uses.
pub fn npm_registry() -> &'static str {
    static REGISTRY: OnceLock<String> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut command = Command::new(tool("npm", "npm"));
        command.args(["config", "get", "registry"]);
        Ran::of(command).ok().stdout.trim().to_owned()
    })
}

/// A tarball with these files in its folder `package`, as npm packs it.
pub fn npm_tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let paths: Vec<String> = files.iter().map(|(path, _)| format!("package/{path}")).collect();
    let entries: Vec<(&str, Option<&[u8]>, u32, u64)> =
        paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), Some(text.as_bytes()), 0o644, 0)).collect();
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar_of(&entries)).unwrap();
    encoder.finish().unwrap()
}

/// The hash that a lock has of a tarball.
pub fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(sha2::Sha512::digest(bytes)))
}

/// A registry of tarballs by path.
pub struct NpmRegistry {
    server: Server,
}

impl NpmRegistry {
    /// With these files: `/a/-/a-1.0.0.tgz` and what is there.
    pub fn of(files: &[(&str, &[u8])]) -> NpmRegistry {
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
        let handler =
            move |path: &str| files.get(path).map(|bytes| Reply::Text("application/octet-stream", bytes.clone()));
        NpmRegistry { server: Server::start(handler) }
    }

    /// `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.server.authority())
    }

    /// `//127.0.0.1:PORT/`, as settings name it.
    pub fn place(&self) -> String {
        format!("//{}/", self.server.authority())
    }

    /// What was asked, and with which `Authorization`; sorted.
    pub fn asked(&self) -> Vec<(String, Option<String>)> {
        let mut asked = self.server.asked_by();
        asked.sort();
        asked
    }
}

/// Writes a layout of the tiny base with something that is called `node`.
pub fn node_base(layout: &Path) {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    std::fs::create_dir_all(layout).unwrap();
    let node: &[u8] = b"not a program\n";
    derive(&scratch.join("tiny"), layout, |_| {}, Some(tar_of(&[("usr/bin/node", Some(node), 0o755, 0)])));
}
