//! An image that breaks each rule, one that is much the same and does not, and images that nobody should trust.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::RULES;
use crate::check::Severity;
use crate::layer::read::testing::{RawTar, compress};
use crate::oci::media_type::{self, Compression};
use crate::oci::{Descriptor, Digest};
use crate::validate::fixture::{Case, Entry, Recipe, hold};

const NO: fn(&mut Recipe) = |_| {};

#[test]
fn every_rule_fires_and_does_not() {
    hold(RULES, &[DOCUMENTS, LAYERS, ENTRIES].concat());
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap().replace("sha256:", "");
    layout.join("blobs/sha256").join(digest)
}

fn document(layout: &Path, descriptor: &Value) -> Value {
    serde_json::from_slice(&std::fs::read(blob(layout, descriptor)).unwrap()).unwrap()
}

fn manifest(layout: &Path) -> Value {
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    document(layout, &index["manifests"][0])
}

const DOCUMENTS: &[Case] = &[
    Case {
        rule: "layout",
        breaks: |recipe| recipe.edit_layout = |layout| std::fs::remove_file(layout.join("oci-layout")).unwrap(),
        passes: NO,
    },
    Case {
        rule: "document",
        breaks: |recipe| recipe.config["Env"] = json!("PATH=/usr/bin"),
        passes: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin"]),
    },
    Case {
        rule: "document-digest",
        breaks: |recipe| {
            recipe.edit_layout = |layout| {
                std::fs::remove_file(blob(layout, &manifest(layout)["config"])).unwrap();
            }
        },
        passes: NO,
    },
    Case {
        rule: "media-type",
        breaks: |recipe| {
            recipe.edit_manifest = |manifest| manifest["layers"][1]["mediaType"] = json!("application/x-tar")
        },
        passes: |recipe| {
            recipe.edit_manifest = |manifest| manifest["layers"][1]["mediaType"] = json!(media_type::DOCKER_LAYER_GZIP);
        },
    },
    Case {
        rule: "descriptor-data",
        breaks: |recipe| recipe.edit_manifest = |manifest| manifest["config"]["data"] = json!("e30="),
        passes: |recipe| {
            recipe.edit_config = |config| *config = small_config();
            recipe.edit_manifest = |manifest| {
                let bytes = crate::oci::json::canonical(&small_config());
                manifest["config"]["data"] = json!(BASE64.encode(bytes));
                manifest["layers"] = json!([]);
            };
        },
    },
    Case {
        rule: "layer-count",
        breaks: |recipe| {
            recipe.edit_config = |config| drop(config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop());
        },
        passes: |recipe| {
            recipe.edit_config =
                |config| config["history"].as_array_mut().unwrap().push(json!({ "empty_layer": true }));
        },
    },
    Case {
        rule: "platform-mismatch",
        breaks: |recipe| recipe.edit_layout = |layout| list_for(layout, "arm64"),
        passes: |recipe| recipe.edit_layout = |layout| list_for(layout, "amd64"),
    },
    Case {
        rule: "text-size",
        breaks: |recipe| recipe.config["Labels"]["notes"] = json!("x".repeat(100_000)),
        passes: |recipe| recipe.config["Labels"]["notes"] = json!("x".repeat(1000)),
    },
];

fn small_config() -> Value {
    json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } })
}

/// Puts an index between `index.json` and the manifest.
fn list_for(layout: &Path, architecture: &str) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"][0]["platform"] = json!({ "os": "linux", "architecture": architecture });
    let inner = index.to_string();
    let descriptor = Descriptor::of(media_type::INDEX, inner.as_bytes());
    std::fs::write(layout.join("blobs/sha256").join(descriptor.digest.hex()), inner).unwrap();
    index["manifests"] = json!([descriptor]);
    std::fs::write(path, index.to_string()).unwrap();
}

/// Turns the upper layer into a foreign one, with or without its blob.
fn foreign(manifest: &mut Value) {
    manifest["layers"][1]["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
}

fn remove_layer(layout: &Path) {
    std::fs::remove_file(blob(layout, &manifest(layout)["layers"][1])).unwrap();
}

const LAYERS: &[Case] = &[
    Case { rule: "layer-missing", breaks: |recipe| recipe.edit_layout = remove_layer, passes: NO },
    Case {
        rule: "layer-foreign",
        breaks: |recipe| (recipe.edit_manifest, recipe.edit_layout) = (foreign, remove_layer),
        passes: |recipe| recipe.edit_manifest = foreign,
    },
    Case {
        rule: "layer-digest",
        breaks: |recipe| {
            recipe.edit_layout = |layout| {
                let path = blob(layout, &manifest(layout)["layers"][0]);
                let mut bytes = std::fs::read(&path).unwrap();
                // The time in the gzip header: the tar stays the same.
                bytes[4] ^= 1;
                std::fs::write(path, bytes).unwrap();
            }
        },
        passes: NO,
    },
    Case {
        rule: "layer-compression",
        breaks: |recipe| {
            recipe.compression = Compression::Zstd;
            recipe.edit_manifest = |manifest| manifest["layers"][0]["mediaType"] = json!(media_type::LAYER_GZIP);
        },
        passes: |recipe| recipe.compression = Compression::Zstd,
    },
    Case {
        rule: "layer-damaged",
        breaks: |recipe| recipe.edit_tar = |_, tar| tar.truncate(tar.len() - 1024 - 100),
        passes: |recipe| recipe.edit_tar = |_, tar| tar.resize(tar.len() + 10_240, 0),
    },
    Case { rule: "layer-end", breaks: |recipe| recipe.edit_tar = |_, tar| tar.truncate(tar.len() - 1024), passes: NO },
    Case { rule: "layer-trailing", breaks: |recipe| recipe.edit_blob = |_, blob| blob.extend(b"trailing"), passes: NO },
    Case {
        rule: "layer-diff-id",
        breaks: |recipe| recipe.edit_config = |config| config["rootfs"]["diff_ids"][0] = json!(Digest::of(b"other")),
        passes: NO,
    },
    Case {
        rule: "layer-limit",
        breaks: |recipe| recipe.edit_tar = |_, tar| comment(tar, 2 << 20),
        passes: |recipe| recipe.edit_tar = |_, tar| comment(tar, 2 << 10),
    },
    Case {
        rule: "layer-pieces",
        breaks: |recipe| {
            recipe.compression = Compression::None;
            recipe.edit_manifest = |manifest| {
                manifest["layers"].as_array_mut().unwrap().iter_mut().for_each(|layer| {
                    layer["mediaType"] = json!(media_type::LAYER_GZIP);
                });
            };
            recipe.edit_blob = |_, blob| {
                let (one, two) = blob.split_at(700);
                *blob = [compress(one, Compression::Gzip), compress(two, Compression::Gzip)].concat();
            };
        },
        passes: NO,
    },
];

fn comment(tar: &mut Vec<u8>, length: usize) {
    let record = crate::layer::read::testing::pax_record("comment", &"x".repeat(length));
    let head = RawTar::new().extension(b'g', record.as_bytes()).bytes;
    tar.splice(0..0, head);
}

fn attribute(recipe: &mut Recipe, name: &str) {
    let pax = vec![(format!("SCHILY.xattr.{name}"), "y".into())];
    recipe.entry(1, Entry { pax, ..Entry::new(b'0', "app/x", 0o644) });
}

fn owned(recipe: &mut Recipe, uid: u32) {
    let pax = vec![("uid".into(), uid.to_string())];
    recipe.entry(1, Entry { pax, ..Entry::new(b'0', "app/x", 0o644) });
}

fn changed(recipe: &mut Recipe, mtime: &str) {
    let pax = vec![("mtime".into(), mtime.into())];
    recipe.entry(1, Entry { pax, ..Entry::new(b'0', "app/x", 0o644) });
}

fn link(recipe: &mut Recipe, target: &str) {
    recipe.entry(1, Entry { link: target.into(), ..Entry::new(b'1', "app/link", 0o644) });
}

const ENTRIES: &[Case] = &[
    Case {
        rule: "entry-refused",
        breaks: |recipe| {
            recipe.file(1, "../escape", 0o644, "x");
        },
        passes: |recipe| {
            recipe.file(1, "..escape", 0o644, "x");
        },
    },
    Case {
        rule: "entry-path",
        breaks: |recipe| {
            recipe.file(1, "/absolute", 0o644, "x");
        },
        passes: |recipe| {
            recipe.file(1, "ünïcode", 0o644, "x");
        },
    },
    Case {
        rule: "entry-duplicate",
        breaks: |recipe| {
            recipe.file(1, "app/x", 0o644, "x").file(1, "app/x", 0o644, "y");
        },
        passes: |recipe| {
            recipe.folder(1, "app", 0o755);
        },
    },
    Case {
        rule: "entry-parent",
        breaks: |recipe| {
            recipe.file(1, "opt/x", 0o644, "x");
        },
        passes: |recipe| {
            recipe.folder(1, "opt", 0o755).file(1, "opt/x", 0o644, "x");
        },
    },
    Case {
        rule: "entry-link",
        breaks: |recipe| link(recipe, "usr/bin/nothing"),
        passes: |recipe| link(recipe, "usr/bin/sh"),
    },
    Case {
        rule: "entry-whiteout",
        breaks: |recipe| {
            recipe.file(1, "app/x", 0o644, "x").file(1, "app/.wh.x", 0o644, "");
        },
        passes: |recipe| {
            recipe.file(0, "etc/x", 0o644, "x").file(1, "etc/.wh.x", 0o644, "");
        },
    },
    Case {
        rule: "entry-device",
        breaks: |recipe| {
            recipe.folder(0, "dev", 0o755).entry(0, Entry::new(b'4', "dev/sda", 0o600));
        },
        passes: |recipe| {
            recipe.folder(0, "dev", 0o755).entry(0, Entry::new(b'3', "dev/null", 0o666));
        },
    },
    Case { rule: "entry-owner", breaks: |recipe| owned(recipe, 4_000_000), passes: |recipe| owned(recipe, 65_534) },
    Case {
        rule: "entry-time",
        breaks: |recipe| changed(recipe, "-157766400"),
        passes: |recipe| changed(recipe, "315532800"),
    },
    Case {
        rule: "entry-attribute",
        breaks: |recipe| attribute(recipe, "trusted.overlay.opaque"),
        passes: |recipe| attribute(recipe, "user.comment"),
    },
];

/// Rule, place and message of all findings that are errors.
fn errors(recipe: &Recipe) -> Vec<String> {
    let findings = recipe.report().findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    findings.map(|finding| format!("{} {}: {}", finding.rule, finding.place(), finding.message)).collect()
}

#[test]
fn one_cause_is_one_finding() {
    let mut recipe = Recipe::good();
    recipe.edit_layout = |layout| {
        let path = blob(layout, &manifest(layout)["layers"][0]);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(path, bytes).unwrap();
    };
    let found = errors(&recipe);
    assert!(found.len() == 1 && found[0].starts_with("layer-digest layer 1/2: expected sha256:"), "{found:?}");
    // A blob that is cut off is not even read.
    recipe.edit_layout = |layout| {
        let path = blob(layout, &manifest(layout)["layers"][0]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    assert!(errors(&recipe).iter().any(|one| one.starts_with("layer-digest layer 1/2")), "{:?}", errors(&recipe));
    // Neither is what is no file of the layout's.
    recipe.edit_layout = |layout| {
        let path = blob(layout, &manifest(layout)["layers"][0]);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
    };
    let found = errors(&recipe);
    assert!(found.len() == 1 && found[0].ends_with("expected a regular file, found a symbolic link"), "{found:?}");
}

#[test]
fn the_rest_of_a_damaged_image_is_looked_at() {
    let mut recipe = Recipe::good();
    recipe.file(1, "app/../../x", 0o644, "hidden").symlink(1, "", "/etc").file(1, "app/twice", 0o644, "1");
    recipe.file(1, "app/twice", 0o644, "2");
    recipe.edit_layout = |layout| {
        std::fs::remove_file(layout.join("oci-layout")).unwrap();
        let path = blob(layout, &manifest(layout)["layers"][0]);
        std::fs::remove_file(path).unwrap();
    };
    let fired = recipe.fired();
    for rule in ["layout", "layer-missing", "entry-refused", "entry-duplicate"] {
        assert!(fired.contains(&rule.to_string()), "{rule}: {fired:?}");
    }
    let refused = &recipe.findings("entry-refused")[0];
    assert_eq!(refused.details.len(), 2, "{refused:?}");
    // The configuration is another document: broken parts are told, each once, and the others are used.
    let mut recipe = Recipe::good();
    recipe.edit_config = |config| {
        config["history"] = json!("none");
        config["os"] = json!(7);
        config["config"]["Env"] = json!({});
    };
    let found = recipe.findings("document");
    let places: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(places, ["configuration.config", "configuration.history", "configuration.os"]);
}

#[test]
fn documents_that_lie_are_findings() {
    let told = |recipe: &Recipe, start: &str| {
        let found = errors(recipe);
        assert!(found.iter().any(|one| one.starts_with(start)), "{start}: {found:?}");
    };
    let mut recipe = Recipe::good();
    recipe.edit_manifest = |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 100_000]);
    };
    // 4 MiB are the most that is read of a document.
    told(&recipe, "document image: document sha256:");
    recipe.edit_manifest = |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 5000]);
    };
    told(&recipe, "document manifest: malformed manifest: `layers` has 5000 entries, the limit is 1000");
    recipe.edit_manifest = |manifest| manifest["layers"][0]["size"] = json!(-1);
    told(&recipe, "document manifest");
    recipe.edit_manifest = |manifest| manifest["layers"][0]["size"] = json!(u64::MAX);
    told(&recipe, "layer-digest layer 1/2");
    recipe.edit_manifest = |manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
    told(&recipe, "document manifest");
    recipe.edit_manifest = |manifest| manifest["manifests"] = json!([]);
    told(&recipe, "document manifest");
    recipe.edit_manifest = |manifest| manifest["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    told(&recipe, "media-type manifest");
    recipe.edit_manifest =
        |manifest| manifest["annotations"] = json!({ "\u{1b}[2J": "\u{1b}]52;c;x\u{7}".repeat(20_000) });
    let found = recipe.findings("text-size");
    assert!(found.len() == 1 && !found[0].message.contains(char::is_control), "{found:?}");
}

#[test]
fn an_index_that_cannot_be_read_is_a_finding() {
    let mut recipe = Recipe::good();
    recipe.edit_index = |index| index["manifests"] = json!("none");
    assert_eq!(recipe.fired(), ["document"]);
    recipe.edit_index = |_| {};
    recipe.edit_layout = |layout| std::fs::write(layout.join("index.json"), "{").unwrap();
    assert_eq!(recipe.fired(), ["document"]);
    recipe.edit_layout = |layout| {
        let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        std::fs::write(blob(layout, &index["manifests"][0]), "{}").unwrap();
    };
    assert_eq!(recipe.fired(), ["document-digest"]);
}

#[test]
fn a_tar_without_its_end_may_lack_its_last_bytes() {
    let fired = |edit: fn(usize, &mut Vec<u8>)| {
        let mut recipe = Recipe::good();
        recipe.edit_tar = edit;
        let fired = recipe.fired();
        ["layer-end", "layer-damaged"].map(|rule| fired.contains(&rule.to_string()))
    };
    fn whole() -> Vec<u8> {
        RawTar::new().file("f", b"abc").bytes
    }
    assert_eq!(fired(|_, tar| *tar = whole()), [true, false]);
    assert_eq!(fired(|_, tar| *tar = [whole(), vec![0; 512]].concat()), [true, false]);
    // What umoci writes; and what is cut off.
    assert_eq!(fired(|_, tar| *tar = whole()[..512 + 3].to_vec()), [true, false]);
    assert_eq!(fired(|_, tar| *tar = whole()[..512 + 4].to_vec()), [false, true]);
    assert_eq!(fired(|_, tar| *tar = whole()[..512 + 2].to_vec()), [false, true]);
    assert_eq!(fired(|_, tar| *tar = whole()[..511].to_vec()), [false, true]);
    assert_eq!(fired(|_, tar| *tar = Vec::new()), [true, false]);
}

#[test]
fn tars_that_lie_neither_hang_nor_hide() {
    let mut recipe = Recipe::good();
    // More than there is, a size in two readings, another tar in a body, a bomb of names.
    recipe.edit_tar = |_, tar| *tar = RawTar::new().raw(b'0', b"f", b"", 1 << 40, 0o644, b"x").end();
    assert!(recipe.fired().contains(&"layer-damaged".to_string()), "{:?}", recipe.fired());
    recipe.edit_tar = |_, tar| {
        *tar = RawTar::new().pax(&[("size", "512")]).raw(b'0', b"f", b"", 1024, 0o644, &[1; 1024]).end();
    };
    assert!(recipe.fired().contains(&"layer-damaged".to_string()));
    recipe.edit_tar = |_, tar| {
        let mut many = RawTar::new();
        for n in 0..5000 {
            many = many.file(&format!("../{n}\u{1b}[31m"), b"");
        }
        *tar = many.end();
    };
    let found = recipe.findings("entry-refused");
    assert!(found.len() == 2 && found.iter().all(|one| one.details.len() == 100), "{}", found.len());
    assert!(!format!("{:?}", found[0]).contains('\u{1b}'));
    recipe.edit_tar = |_, tar| {
        let mut many = RawTar::new();
        for _ in 0..5000 {
            many = many.file("same", b"").hardlink("same", "same").file(".wh.same", b"");
        }
        *tar = many.end();
    };
    let fired = recipe.fired();
    assert!(["entry-duplicate", "entry-whiteout"].iter().all(|rule| fired.contains(&rule.to_string())), "{fired:?}");
}
