//! Every kind of output, read by the programs that others use: skopeo, umoci, tar, gzip, Python, podman, docker.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::*;

fn layout() -> Layout {
    Layout::open(&gameforge().path("image"))
}

fn digest() -> String {
    layout().descriptor()["digest"].as_str().unwrap().to_owned()
}

#[test]
fn one_build_writes_four_kinds_and_skopeo_reads_them_alike() {
    let example = gameforge();
    let registry = Registry::start();
    let ingot = example.ingot();
    let reference = registry.reference("team/gameforge:1.2");
    let path = |name: &str| ingot.path(name).display().to_string();
    let outputs = [
        format!("oci:{}:1.2", path("image")),
        format!("oci-archive:{}:1.2", path("oci.tar")),
        format!("docker-archive:{}:{reference}", path("docker.tar")),
        format!("docker://{reference}"),
    ];
    let args: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output.as_str()]).collect();
    let said = ingot.run(example.args("build", &args)).ok().stdout;
    assert!(said.lines().count() == 4 && said.lines().all(|line| line.ends_with(&format!("@{}", digest()))), "{said}");

    let scratch = Scratch::new();
    for (n, output) in outputs.iter().enumerate() {
        let config = skopeo(["inspect", "--tls-verify=false", "--config", output]).ok().json();
        assert_eq!(config["rootfs"], layout().config()["rootfs"], "{output}");
        assert_eq!(config["config"]["User"], "1001:1001", "{output}");
        let is_docker = output.starts_with("docker-archive:");
        if !is_docker {
            let raw = skopeo(["inspect", "--tls-verify=false", "--raw", output]).ok().json();
            assert_eq!(raw, layout().manifest(), "{output}");
        }
        // skopeo checks every blob on its way; the digest survives where the form is the same.
        let target = scratch.join(format!("copy-{n}"));
        let there = format!("oci:{}:copy", target.display());
        skopeo(["copy", "--quiet", "--src-tls-verify=false", output, &there]).ok();
        let copied = Layout::open(&target).descriptor()["digest"].clone();
        assert!(is_docker || copied == digest().as_str(), "{output}: {copied}");
        std::fs::remove_dir_all(target).unwrap();
    }

    // And ingot reads all that it writes.
    for output in &outputs {
        let found = ingot.run(["inspect", "--format", "json", output]).ok().json();
        assert_eq!(found["config"]["User"], "1001:1001", "{output}");
        assert_eq!(found["layers"].as_array().unwrap().len(), layout().layers(), "{output}");
        if !output.starts_with("docker-archive:") {
            assert_eq!(found["digest"], digest().as_str(), "{output}");
        }
    }
}

#[test]
fn skopeo_carries_it_through_other_forms_and_ingot_reads_them() {
    let (scratch, ingot) = (Scratch::new(), gameforge().ingot());
    let docker_form = format!("docker-archive:{}:team/x:1", scratch.join("docker.tar").display());
    skopeo(["copy", "--quiet", &gameforge().name("oci"), &docker_form]).ok();
    let oci_form = format!("oci-archive:{}:1", scratch.join("oci.tar").display());
    skopeo(["copy", "--quiet", &gameforge().name("oci-archive"), &oci_form]).ok();
    let paths = |image: &str| ingot.run(["ls", "--long", image, "/app"]).ok().stdout;
    let expected = paths(&gameforge().name("oci"));
    assert!(expected.contains("/app/gameforge/wsgi.pyc"), "{expected}");
    assert_eq!(paths(&docker_form), expected);
    assert_eq!(paths(&oci_form), expected);
    assert_eq!(ingot.run(["inspect", "--format", "json", &oci_form]).ok().json()["digest"], digest().as_str());
}

/// Everything below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut command = Command::new("find");
    command.arg(folder).args(["-mindepth", "1", "-printf", "%P\n"]);
    Ran::of(command).ok().stdout.lines().map(|path| format!("/{path}")).collect()
}

#[test]
fn umoci_unpacks_the_files_that_ingot_lists() {
    let scratch = Scratch::new();
    let root = umoci(&gameforge().path("image"), "1.2", &scratch.join("bundle"));
    let listed = gameforge().ingot().run(["ls", &gameforge().name("oci")]).ok().stdout;
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let found = files(&root);
    let differ: Vec<_> = listed.symmetric_difference(&found).take(20).collect();
    assert!(differ.is_empty() && found.len() > 3000, "{} files, other in one of both: {differ:#?}", found.len());
    let launcher = std::fs::read_to_string(root.join("usr/local/bin/ingot-launcher")).unwrap();
    assert!(launcher.starts_with("#!") && launcher.contains("GAMEFORGE_ENV"));
}

/// Reads a layer as a stream, as SOCI and others do: `r|gz` takes one gzip member only.
const TARFILE: &str = "import sys, tarfile
for name in sys.argv[1:]:
    with tarfile.open(name, 'r|gz') as layer:
        members = [(m.name, len(layer.extractfile(m).read()) if m.isfile() else 0) for m in layer]
    print(len(members), sum(size for _, size in members))
";

#[test]
fn other_programs_read_every_layer() {
    let layout = layout();
    let layers = layout.manifest()["layers"].clone();
    let digests: Vec<&str> = layers.as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    let paths: Vec<PathBuf> =
        digests.iter().map(|d| gameforge().path("image/blobs").join(d.replace(':', "/"))).collect();
    tool("pigz", "pigz");
    let mut unpack = Command::new("sh");
    let script = "for layer; do gzip --test < \"$layer\" && pigz --test < \"$layer\" || exit 1; done";
    unpack.args(["-c", script, "sh"]).args(&paths);
    Ran::of(unpack).ok();
    let mut python = Command::new(tool("python3", "python3"));
    python.args(["-c", TARFILE]).args(&paths);
    let read = Ran::of(python).ok().stdout;
    for (n, (line, path)) in read.lines().zip(&paths).enumerate() {
        let members = layout.layer(n);
        let total: usize = members.iter().map(|member| member.content.len()).sum();
        assert_eq!(line, format!("{} {total}", members.len()), "layer {n} in Python");
        let mut tar = Command::new(tool("tar", "tar"));
        tar.arg("--list").arg("--gzip").arg("--file").arg(path);
        let listed = Ran::of(tar).ok();
        assert_eq!(
            (listed.stdout.lines().count(), listed.stderr.as_str()),
            (members.len(), ""),
            "layer {n} in GNU tar"
        );
    }
}

/// What the schemas of the image specification ask of a descriptor.
#[track_caller]
fn is_descriptor(value: &Value) {
    let digest = value["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{digest}");
    assert!(value["size"].is_u64() && value["mediaType"].as_str().unwrap().contains('/'), "{value}");
}

#[track_caller]
fn is_text_map(value: &Value) {
    assert!(value.as_object().is_some_and(|map| map.values().all(Value::is_string)), "{value}");
}

#[test]
fn the_documents_keep_to_the_specification() {
    let layout = layout();
    let (index, manifest, config) = (layout.index(), layout.manifest(), layout.config());
    let media = |name: &str| format!("application/vnd.oci.image.{name}");
    assert_eq!((&index["schemaVersion"], &manifest["schemaVersion"]), (&Value::from(2), &Value::from(2)));
    is_descriptor(&index["manifests"][0]);
    assert_eq!(index["manifests"][0]["mediaType"], media("manifest.v1+json"));
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2");
    assert_eq!(manifest["mediaType"], media("manifest.v1+json"));
    is_descriptor(&manifest["config"]);
    assert_eq!(manifest["config"]["mediaType"], media("config.v1+json"));
    for layer in manifest["layers"].as_array().unwrap() {
        is_descriptor(layer);
        assert_eq!(layer["mediaType"], media("layer.v1.tar+gzip"));
    }
    is_text_map(&manifest["annotations"]);
    is_text_map(&config["config"]["Labels"]);
    assert_eq!(config["rootfs"]["type"], "layers");
    for entry in config["history"].as_array().unwrap() {
        let time = entry["created"].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
    }
    // One canonical form: what is written is what sorting the keys gives.
    for descriptor in [layout.descriptor(), manifest["config"].clone()] {
        let bytes = layout.blob(descriptor["digest"].as_str().unwrap());
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), value.to_string(), "sorted, without spaces");
    }
}

#[test]
fn layers_of_zstd_are_read_by_others_and_the_base_stays_as_it_was() {
    let project = service();
    let (ingot, folder) = (ingot_for(&project), project.folder().display().to_string());
    let place = |kind: &str, name: &str| format!("{kind}:{}", ingot.path(name).display());
    let (image, archive) = (place("oci", "image"), place("docker-archive", "docker.tar"));
    // As a file: podman makes a name of a layout's folder, and not every folder makes one.
    let file = place("oci-archive", "image.tar");
    let zstd = ["--compression", "zstd", "-o", &image, "-o", &archive, "-o", &file];
    ingot.run([&["build", folder.as_str()], &zstd[..]].concat()).ok();
    let layout = Layout::open(&ingot.path("image"));
    let layers = layout.manifest()["layers"].clone();
    let kinds: Vec<&str> = layers.as_array().unwrap().iter().map(|l| l["mediaType"].as_str().unwrap()).collect();
    let ends = ["gzip", "zstd", "zstd", "zstd"].map(|end| format!("application/vnd.oci.image.layer.v1.tar+{end}"));
    assert_eq!(kinds, ends);
    assert_eq!(layers[0], Layout::open(&project.folder().join("base")).manifest()["layers"][0]);
    // The same files as in gzip.
    let gzip = place("oci", "gzip");
    ingot.run(["build", &folder, "-o", &gzip]).ok();
    let other = Layout::open(&ingot.path("gzip"));
    assert_eq!(layout.config()["rootfs"], other.config()["rootfs"], "the diff ids are the same");
    (0..layout.layers()).for_each(|number| assert_eq!(layout.layer(number), other.layer(number)));

    // Both check every layer against its diff id.
    let podman = Podman::new();
    podman.pull(&file);
    podman.pull(&archive);
    let files = |image: &str| ingot.run(["ls", "--long", image]).ok().stdout;
    assert_eq!(files(&archive), files(&gzip));
}
