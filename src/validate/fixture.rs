//! Images for tests: a good one, made in code, that a test changes in one way.
//!
//! [`GOOD`] passes every rule. A test changes it (`recipe.file(...)`, `recipe.config["User"] = ...`) and says which rules
//! fire with [`Recipe::fired`].

use serde_json::{Value, json};

use super::{Declared, Findings, Subject, rules, validate};
use crate::check::{Finding, Policy, Report};
use crate::image::{Access, ImageName};
use crate::layer::Store;
use crate::layer::read::testing::{RawTar, compress};
use crate::oci::media_type::{self, Compression};
use crate::oci::{Descriptor, Digest, json::canonical};
use crate::progress::Progress;
use crate::project::RulesSpec;

/// One member of a tar: the type flag, path, link target, mode, owner, body, extended attributes.
#[derive(Clone)]
pub struct Entry {
    pub flag: u8,
    pub path: String,
    pub link: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub body: Vec<u8>,
    pub pax: Vec<(String, String)>,
}

/// An image before it is written as an OCI layout. Every part may be changed.
#[derive(Clone)]
pub struct Recipe {
    /// The entries of each layer, the lowest first.
    pub layers: Vec<Vec<Entry>>,
    /// Of each layer.
    pub compression: Compression,
    /// The configuration's `config`.
    pub config: Value,
    /// Changes the whole configuration, with diffIDs and history in it.
    pub edit_config: fn(&mut Value),
    /// Changes the manifest.
    pub edit_manifest: fn(&mut Value),
    /// Changes `index.json`.
    pub edit_index: fn(&mut Value),
    /// Changes the layout once everything is written.
    pub edit_layout: fn(&std::path::Path),
    /// Changes a layer's tar.
    pub edit_tar: fn(usize, &mut Vec<u8>),
    /// Changes a layer's compressed bytes, before they are hashed.
    pub edit_blob: fn(usize, &mut Vec<u8>),
    /// What the image is for.
    pub declared: Declared,
}

impl Entry {
    /// Of this type, with nothing in it.
    pub fn new(flag: u8, path: &str, mode: u32) -> Self {
        let (path, link, owner) = (path.to_string(), String::new(), (0, 0));
        Entry { flag, path, link, mode, owner, body: Vec::new(), pax: Vec::new() }
    }
}

impl Recipe {
    /// An image that passes every rule: a base of a few folders and files, and a layer with an application.
    pub fn good() -> Self {
        let mut recipe = Recipe {
            layers: vec![Vec::new(), Vec::new()],
            compression: Compression::Gzip,
            config: json!({
                "User": "1001:1001",
                "WorkingDir": "/app",
                "Entrypoint": ["/app/serve"],
                "Cmd": [],
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "Healthcheck": { "Test": ["CMD", "/app/serve", "--health"] },
                "Labels": {
                    "org.opencontainers.image.title": "good",
                    "org.opencontainers.image.version": "1.0",
                    "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
                    "org.opencontainers.image.created": "1980-01-01T00:00:00Z",
                    "org.opencontainers.image.source": "https://git.example/good",
                    "org.opencontainers.image.base.name": "registry.example/base:1",
                    "org.opencontainers.image.base.digest": format!("sha256:{}", "a".repeat(64)),
                },
            }),
            edit_config: |_| {},
            edit_manifest: |_| {},
            edit_index: |_| {},
            edit_layout: |_| {},
            edit_tar: |_, _| {},
            edit_blob: |_, _| {},
            declared: Declared::default(),
        };
        for folder in ["etc", "usr", "usr/bin", "usr/lib", "var", "root"] {
            recipe.folder(0, folder, 0o755);
        }
        recipe.folder(0, "tmp", 0o1777);
        recipe.symlink(0, "bin", "usr/bin").symlink(0, "lib", "usr/lib");
        let passwd = "root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:1001:1001::/app:/usr/sbin/nologin\n";
        recipe.file(0, "etc/passwd", 0o644, passwd).file(0, "etc/group", 0o644, "root:x:0:\napp:x:1001:\n");
        recipe.file(0, "usr/bin/sh", 0o755, super::elf::testing::program());
        recipe.folder(1, "app", 0o755).file(1, "app/serve", 0o755, "#!/bin/sh\nexit 0\n");
        recipe
    }

    /// Adds a file to a layer.
    pub fn file(&mut self, layer: usize, path: &str, mode: u32, body: impl AsRef<[u8]>) -> &mut Self {
        self.entry(layer, Entry { body: body.as_ref().to_vec(), ..Entry::new(b'0', path, mode) })
    }

    /// Adds a folder.
    pub fn folder(&mut self, layer: usize, path: &str, mode: u32) -> &mut Self {
        self.entry(layer, Entry::new(b'5', path, mode))
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, layer: usize, path: &str, target: &str) -> &mut Self {
        self.entry(layer, Entry { link: target.into(), ..Entry::new(b'2', path, 0o777) })
    }

    /// Adds any entry.
    pub fn entry(&mut self, layer: usize, entry: Entry) -> &mut Self {
        while self.layers.len() <= layer {
            self.layers.push(Vec::new());
        }
        self.layers[layer].push(entry);
        self
    }

    /// Removes an entry from the layer that has it.
    #[allow(dead_code, reason = "for the rules that are still to come")]
    pub fn without(&mut self, path: &str) -> &mut Self {
        self.layers.iter_mut().for_each(|layer| layer.retain(|entry| entry.path != path));
        self
    }

    /// Writes it as an OCI layout, and reads that as the command does. The folder goes when the pair is dropped.
    pub fn read(&self) -> (tempfile::TempDir, crate::error::Result<Subject>) {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path());
        let store = Store::open_at(&folder.path().join("store")).unwrap();
        let access = Access::new(&store, &Progress::silent());
        let name: ImageName = format!("oci:{}", folder.path().join("layout").display()).parse().unwrap();
        let read = || -> crate::error::Result<Subject> {
            let mut subjects = Subject::open(&name, None, &self.declared, &access)?;
            Ok(subjects.remove(0))
        };
        let subject = read();
        (folder, subject)
    }

    /// All findings.
    pub fn report(&self) -> Report {
        let policy = Policy::new(rules(), &RulesSpec::default(), &[], "docs/validate.md").unwrap();
        validate(&self.read().1.unwrap(), &policy)
    }

    /// Which rules fire, sorted, each once.
    pub fn fired(&self) -> Vec<String> {
        let mut fired: Vec<String> = self.report().findings.into_iter().map(|finding| finding.rule).collect();
        fired.sort();
        fired.dedup();
        fired
    }

    /// The findings of one rule.
    pub fn findings(&self, rule: &str) -> Vec<Finding> {
        self.report().findings.into_iter().filter(|finding| finding.rule == rule).collect()
    }

    fn write(&self, folder: &std::path::Path) {
        let blobs = folder.join("layout/blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let put = |media: &str, bytes: &[u8]| {
            let descriptor = Descriptor::of(media, bytes);
            std::fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
            descriptor
        };
        let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
        for (number, entries) in self.layers.iter().enumerate() {
            let mut tar = tar(entries);
            (self.edit_tar)(number, &mut tar);
            diff_ids.push(Digest::of(&tar));
            let mut blob = compress(&tar, self.compression);
            (self.edit_blob)(number, &mut blob);
            layers.push(put(self.compression.media_type(), &blob));
            history.push(json!({ "created": "1980-01-01T00:00:00Z", "created_by": format!("make layer {number}") }));
        }
        let mut config = json!({ "architecture": "amd64", "os": "linux", "created": "1980-01-01T00:00:00Z",
            "config": self.config, "history": history, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        (self.edit_config)(&mut config);
        let config = put(media_type::CONFIG, &canonical(&config));
        let mut manifest =
            json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers });
        (self.edit_manifest)(&mut manifest);
        let manifest = put(media_type::MANIFEST, &canonical(&manifest));
        let mut index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [manifest] });
        (self.edit_index)(&mut index);
        std::fs::write(folder.join("layout/index.json"), canonical(&index)).unwrap();
        std::fs::write(folder.join("layout/oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        (self.edit_layout)(&folder.join("layout"));
    }
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = RawTar::new();
    for entry in entries {
        if !entry.pax.is_empty() {
            let records: Vec<(&str, &str)> =
                entry.pax.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            tar = tar.pax(&records);
        }
        tar = tar.owned(entry.owner).raw(
            entry.flag,
            entry.path.as_bytes(),
            entry.link.as_bytes(),
            entry.body.len() as u64,
            entry.mode,
            &entry.body,
        );
    }
    tar.end()
}

/// An image that breaks a rule, and one that is much the same and does not.
#[derive(Clone, Copy)]
pub struct Case {
    pub rule: &'static str,
    pub breaks: fn(&mut Recipe),
    pub passes: fn(&mut Recipe),
}

/// Holds that every rule of a group has a case, that the first image breaks it, and that the second does not.
pub fn hold(declared: &[super::rule::Declared], cases: &[Case]) {
    let ids: Vec<&str> = declared.iter().map(|rule| rule.id).collect();
    let mut told: Vec<&str> = cases.iter().map(|case| case.rule).collect();
    told.dedup();
    assert_eq!(told, ids, "every rule has its case, in the order of the rules");
    for case in cases {
        let mut broken = Recipe::good();
        (case.breaks)(&mut broken);
        let fired = broken.fired();
        assert!(fired.contains(&case.rule.to_string()), "{} does not fire: {fired:?}", case.rule);
        let mut passing = Recipe::good();
        (case.passes)(&mut passing);
        let fired = passing.fired();
        assert!(!fired.contains(&case.rule.to_string()), "{} fires: {:?}", case.rule, passing.findings(case.rule));
    }
}

#[test]
fn the_good_image_passes_every_rule() {
    assert_eq!(Recipe::good().report().findings, []);
}

#[test]
fn a_group_without_rules_finds_nothing() {
    let policy = Policy::new(rules(), &RulesSpec::default(), &[], "docs/validate.md").unwrap();
    let (_folder, subject) = Recipe::good().read();
    assert!(Findings::new(&policy).report(&subject.unwrap()).findings.is_empty());
}
