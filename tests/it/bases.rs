//! A base in any form, from any place: layouts, archives, registries, Docker's documents, indexes.

use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// What was built on a base.
struct Built {
    layers: Value,
    diff_ids: Value,
}

/// Builds the small service on a base and reads the result.
#[track_caller]
fn on(ingot: &Ingot, project: &Project, number: usize, base: &str) -> Built {
    let name = format!("image{number}");
    let output = format!("oci:{}", ingot.path(&name).display());
    build_on(ingot, project, base, &["-o", &output]).ok();
    let layout = Layout::open(&ingot.path(&name));
    // Every layer is read and checked against its digest and diff id.
    (0..layout.layers()).for_each(|number| drop(layout.layer(number)));
    Built { layers: layout.manifest()["layers"].clone(), diff_ids: layout.config()["rootfs"]["diff_ids"].clone() }
}

#[test]
fn every_form_of_a_base_gives_the_same_layers() {
    let (registry, project, scratch) = (Registry::start(), service_on_any_base(), Scratch::new());
    let ingot = ingot_for(&project);
    let source = format!("oci:{}:latest", project.folder().join("base").display());
    let file = |name: &str| scratch.join(name).display().to_string();
    let copy = |options: &[&str], target: &str| {
        skopeo([&["copy", "--quiet", "--dest-tls-verify=false"], options, &[&source, target]].concat()).ok();
        target.strip_prefix("docker://").unwrap_or(target).to_owned()
    };
    let docker_form = ["--format", "v2s2"];
    let bases = [
        "oci:base".to_owned(),
        copy(&[], &format!("oci-archive:{}:base", file("oci.tar"))),
        copy(&[], &format!("docker://{}", registry.reference("base:oci"))),
        copy(&docker_form, &format!("docker://{}", registry.reference("base:docker"))),
        copy(&docker_form, &format!("docker-archive:{}:some/base:1", file("docker.tar"))),
    ];
    let first = on(&ingot, &project, 0, &bases[0]);
    for (number, base) in bases.iter().enumerate().skip(1) {
        let built = on(&ingot, &project, number, base);
        assert_eq!(built.diff_ids, first.diff_ids, "{base}");
        let (layers, expected) = (built.layers.as_array().unwrap(), first.layers.as_array().unwrap());
        assert_eq!(layers[1..], expected[1..], "{base}: ingot's own layers");
        let kind = layers[0]["mediaType"].as_str().unwrap();
        assert!(kind.starts_with("application/vnd.oci.image.layer.v1.tar"), "{base}: {kind}");
        if !base.starts_with("docker-archive:") {
            assert_eq!(layers[0]["digest"], expected[0]["digest"], "{base}: as the base has it");
        }
    }
}

#[test]
fn an_index_gives_the_image_for_the_platform_also_from_an_archive() {
    let (registry, project, scratch) = (Registry::start(), service_on_any_base(), Scratch::new());
    let ingot = ingot_for(&project);
    tiny_bases(&scratch.join("both"));
    let layout = format!("oci:{}:latest", scratch.join("both").display());
    let target = registry.reference("base:both");
    skopeo(["copy", "--quiet", "--all", "--dest-tls-verify=false", &layout, &format!("docker://{target}")]).ok();
    let mut tar = Command::new(tool("tar", "tar"));
    tar.arg("--create").arg("--file").arg(scratch.join("both.tar")).arg("--directory").arg(scratch.join("both"));
    tar.arg(".");
    Ran::of(tar).ok();
    let alone = on(&ingot, &project, 0, "oci:base");
    let archive = format!("oci-archive:{}", scratch.join("both.tar").display());
    for (number, base) in [layout, target, archive].iter().enumerate() {
        assert_eq!(on(&ingot, &project, number + 1, base).layers, alone.layers, "{base}");
    }
}

#[test]
fn an_image_of_ingot_is_a_base_again_also_with_zstd_layers() {
    let project = service_on_any_base();
    let ingot = ingot_for(&project);
    let first = format!("oci:{}", ingot.path("first").display());
    build_on(&ingot, &project, "oci:base", &["-o", &first, "--compression", "zstd"]).ok();
    let second = format!("oci:{}", ingot.path("second").display());
    build_on(&ingot, &project, &first, &["-o", &second]).ok();
    let (base, layout) = (Layout::open(&ingot.path("first")), Layout::open(&ingot.path("second")));
    let below = base.layers();
    assert_eq!(
        layout.manifest()["layers"].as_array().unwrap()[..below],
        base.manifest()["layers"].as_array().unwrap()[..]
    );
    assert!(layout.layers() > below);
    let files: Vec<Member> = (0..layout.layers()).flat_map(|number| layout.layer(number)).collect();
    let accounts = &files.iter().rfind(|member| member.path == "etc/passwd").unwrap().content;
    let lines = String::from_utf8_lossy(accounts).lines().filter(|line| line.contains(":1001:")).count();
    assert_eq!(lines, 1, "the user is there once: {}", String::from_utf8_lossy(accounts));
    let users = ingot.run(["inspect", &second, "--format", "json"]).ok().json();
    assert_eq!(users["config"]["User"], "1001:1001");
    let labels = users["config"]["Labels"].clone();
    assert_eq!(labels["org.opencontainers.image.base.digest"], base.descriptor()["digest"]);
}
