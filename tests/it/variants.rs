//! Several images of one project: variants share layers, platforms make an index without emulation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::*;

fn digests(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// The small service with a second variant.
fn two_variants() -> Project {
    service_with(|toml| {
        format!(
            "{toml}env = {{ MODE = \"small\" }}\n\n[variants.large]\nbase = \"oci:base\"\n\
             env = {{ MODE = \"large\", EXTRA = \"1\" }}\nbudget = {{ compressed = \"3GB\" }}\n"
        )
    })
}

#[test]
fn all_variants_are_built_at_once_and_share_their_layers() {
    let project = two_variants();
    let (ingot, folder) = (ingot_for(&project), project.folder().display().to_string());
    let (output, file) = (format!("oci:{}", ingot.path("both").display()), ingot.path("metadata.json"));
    let metadata = file.display().to_string();
    let ran = ingot.run(["build", &folder, "--variant", "all", "-o", &output, "--metadata-file", &metadata]).ok();
    let layout = Layout::open(&ingot.path("both"));
    let index = layout.index();
    let entry = |tag: &str| {
        let entries = index["manifests"].as_array().unwrap();
        let name = "org.opencontainers.image.ref.name";
        entries
            .iter()
            .find(|entry| entry["annotations"][name] == tag)
            .unwrap_or_else(|| panic!("{tag}: {index}"))
            .clone()
    };
    let (large, small) = (entry("large"), entry("small"));
    let line = |tag: &str, entry: &Value| format!("{output}:{tag}@{}\n", entry["digest"].as_str().unwrap());
    assert_eq!(ran.stdout, line("large", &large) + &line("small", &small), "sorted by name");
    assert_ne!(large["digest"], small["digest"]);

    let (large, small) = (layout.document(&large), layout.document(&small));
    assert_eq!(digests(&large), digests(&small), "they differ in their configuration only");
    let environment = |manifest: &Value| layout.document(&manifest["config"])["config"]["Env"].to_string();
    assert!(environment(&large).contains("MODE=large") && environment(&large).contains("EXTRA=1"));
    assert!(environment(&small).contains("MODE=small") && !environment(&small).contains("EXTRA"));
    let blobs = std::fs::read_dir(ingot.path("both/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, digests(&large).len() + 4, "each layer is there once");
    let made = ran.stderr.lines().filter(|line| line.contains("layer venv: ")).count();
    assert_eq!(made, 1, "each layer is made once: {}", ran.stderr);

    let told: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for (variant, manifest) in [("large", large), ("small", small)] {
        let layers = &told[variant]["images"][0]["layers"];
        assert_eq!(layers.as_array().unwrap().len(), manifest["layers"].as_array().unwrap().len(), "{told}");
        assert_eq!(told[variant]["variant"], variant);
    }
}

#[test]
fn every_variant_needs_a_place_and_a_name_of_its_own() {
    let project = two_variants();
    let (ingot, folder) = (ingot_for(&project), project.folder().display().to_string());
    let archive = format!("oci-archive:{}", ingot.path("one.tar").display());
    let refused = ingot.run(["build", &folder, "--variant", "all", "-o", &archive]).exits(2);
    assert!(refused.stderr.contains("{variant}") && refused.stdout.is_empty(), "{}", refused.stderr);
    let unknown = ingot.run(["build", &folder, "--variant", "larg"]).exits(2);
    assert!(unknown.stderr.contains("larg") && unknown.stderr.contains("large"), "{}", unknown.stderr);

    let registry = Registry::start();
    let archive = format!("oci-archive:{}", ingot.path("{variant}.tar").display());
    let tag = registry.reference("team/service:1-{variant}");
    let chosen = ["--variant", "small", "--variant", "large"];
    let ran = ingot.run([&["build", &folder], &chosen[..], &["-t", &tag, "--push", "-o", &archive]].concat()).ok();
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
    let sent = registry.requests().iter().filter(|request| request.method == "PUT" && request.is_upload()).count();
    assert_eq!(sent, 4 + 2, "shared layers are sent once, although both images are pushed at a time");
    for variant in ["small", "large"] {
        let target = registry.reference(&format!("team/service:1-{variant}"));
        let found = skopeo(["inspect", "--tls-verify=false", &format!("docker://{target}")]).ok().json();
        let digest = found["Digest"].as_str().unwrap();
        assert_eq!(
            ran.stdout.matches(&format!("{target}@{digest}\n")).count(),
            2,
            "archive and registry: {}",
            ran.stdout
        );
        let in_archive = format!("oci-archive:{}", ingot.path(&format!("{variant}.tar")).display());
        assert_eq!(skopeo(["inspect", &in_archive]).ok().json()["Digest"], digest);
    }
}

/// The small service on a base for two platforms, with a wheel for each.
fn two_platforms() -> Project {
    let scratch = Scratch::new();
    let mut project = Project::new(
        "[image]\nname = \"team/multi\"\n\n[python]\nversion = \"3.11\"\nlock = \"requirements.lock\"\n\n\
         [app]\nsource = \"src\"\ncommand = [\"python\", \"-m\", \"app\"]\n\n[variants.cpu]\nbase = \"oci:base\"\n",
    )
    .file("src/app/__init__.py", "")
    .file("src/app/__main__.py", "import fast\n\nNAMES = frozenset({'a', 'b', 'c'})\nprint(fast, NAMES)\n");
    let mut hashes = String::new();
    for machine in ["x86_64", "aarch64"] {
        let wheel = Wheel::new("fast", "1.0").tag(&format!("cp311-cp311-manylinux_2_17_{machine}"));
        let wheel = wheel.file_with_mode("fast/native.so", format!("machine code of {machine}"), 0o755);
        let (path, line) = wheel.write(scratch.path());
        hashes.push_str(&format!(" \\\n    {}", line.trim().split_once(' ').unwrap().1));
        project = project.file(&format!("wheels/{}", wheel.file_name()), std::fs::read(path).unwrap());
    }
    tiny_bases(&project.folder().join("base"));
    project.file("requirements.lock", format!("fast==1.0{hashes}\n"))
}

#[test]
fn two_platforms_make_an_index_of_images_with_their_own_wheels() {
    let project = two_platforms();
    let (ingot, folder) = (ingot_for(&project), project.folder().display().to_string());
    let registry = Registry::start();
    let (output, target) = (format!("oci:{}", ingot.path("multi").display()), registry.reference("team/multi:1"));
    let both = ["--platform", "linux/amd64,linux/arm64", "-t", &target, "--push", "-o", &output];
    let said = ingot.run([&["build", &folder], &both[..]].concat()).ok().stdout;
    let layout = Layout::open(&ingot.path("multi"));
    let root = layout.descriptor();
    assert_eq!(root["mediaType"], "application/vnd.oci.image.index.v1+json");
    let digest = root["digest"].as_str().unwrap();
    assert_eq!(said, format!("{output}:latest@{digest}\n{target}@{digest}\n"));

    let index = skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{target}")]).ok().json();
    assert_eq!(index, layout.document(&root), "the registry has the same index");
    let entries = index["manifests"].as_array().unwrap();
    let mut seen = Vec::new();
    for (entry, machine) in entries.iter().zip(["x86_64", "aarch64"]) {
        let manifest = layout.document(entry);
        let config = layout.document(&manifest["config"]);
        assert_eq!(config["architecture"], entry["platform"]["architecture"]);
        let files: Vec<Member> =
            digests(&manifest)[1..].iter().flat_map(|digest| members(&layout.blob(digest)).0).collect();
        let native = files.iter().find(|file| file.path.ends_with("fast/native.so")).unwrap();
        assert_eq!(String::from_utf8_lossy(&native.content), format!("machine code of {machine}"));
        let compiled: BTreeSet<(String, Vec<u8>)> =
            files.into_iter().filter(|f| f.path.ends_with(".pyc")).map(|f| (f.path, f.content)).collect();
        assert!(compiled.iter().any(|(path, _)| path == "app/app/__main__.pyc"), "compiled without emulation");
        seen.push((digests(&manifest), compiled, entry["platform"]["architecture"].clone()));
    }
    assert_eq!((&seen[0].2, &seen[1].2), (&Value::from("amd64"), &Value::from("arm64")));
    assert_eq!(seen[0].1, seen[1].1, "bytecode is portable");
    let shared: Vec<bool> = seen[0].0.iter().zip(&seen[1].0).map(|(a, b)| a == b).collect();
    assert_eq!(shared, [false, false, true, true], "base and venv differ, app and runtime are the same");

    // Others take all of it, or their part; so does ingot.
    let scratch = Scratch::new();
    let copied = format!("oci:{}:1", scratch.join("all").display());
    skopeo(["copy", "--quiet", "--all", "--src-tls-verify=false", &format!("docker://{target}"), &copied]).ok();
    assert_eq!(Layout::open(&scratch.join("all")).descriptor()["digest"], digest);
    let podman = Podman::new();
    podman.run(["pull", "--quiet", "--tls-verify=false", "--platform", "linux/arm64", &target]).ok();
    let chosen = podman.run(["inspect", "--format", "{{.Architecture}} {{.Config.User}}", &target]).ok().stdout;
    assert_eq!(chosen, "arm64 1001:1001\n", "podman finds its platform in the index");
    let found = ingot.run(["inspect", &target, "--platform", "linux/arm64", "--format", "json"]).ok().json();
    assert_eq!((&found["digest"], &found["root_digest"]), (&entries[1]["digest"], &Value::from(digest)));
    let part = format!("oci:{}", ingot.path("arm").display());
    ingot.run(["pull", &target, &part, "--platform", "linux/arm64"]).ok();
    assert_eq!(Layout::open(&ingot.path("arm")).descriptor()["digest"], entries[1]["digest"]);
    let none = ingot.run(["pull", &target, &part, "--platform", "linux/s390x"]).exits(2);
    assert!(none.stderr.contains("linux/s390x") && none.stderr.contains("linux/arm64"), "{}", none.stderr);
}

#[test]
fn a_platform_without_a_base_or_a_wheel_is_refused() {
    let project = two_platforms();
    let (ingot, folder) = (ingot_for(&project), project.folder().display().to_string());
    let missing = ingot.run(["build", &folder, "--platform", "linux/amd64,linux/s390x"]);
    assert!([2, 4].contains(&missing.code) && missing.stderr.contains("linux/s390x"), "{missing:?}");
    std::fs::remove_file(project.folder().join("wheels/fast-1.0-cp311-cp311-manylinux_2_17_aarch64.whl")).unwrap();
    let missing = ingot.run(["build", &folder, "--platform", "linux/arm64"]);
    assert!(missing.code != 0 && missing.code != 1 && missing.stderr.contains("fast"), "{missing:?}");
    assert!(missing.stderr.contains("hint: ") && missing.stdout.is_empty(), "{}", missing.stderr);
    // What is there can still be built.
    let output = format!("oci:{}", ingot.path("amd").display());
    ingot.run(["build", &folder, "--platform", "linux/amd64", "-o", &output]).ok();
}
