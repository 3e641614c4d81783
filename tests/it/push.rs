//! Real registries: what is sent, what is not, in which order, with which credentials, and how it comes back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::*;

/// Puts the project's base into a registry and returns its digest.
fn base_into(registry: &Registry, project: &Project, name: &str) -> String {
    let layout = project.folder().join("base");
    let target = format!("docker://{}", registry.reference(name));
    skopeo(["copy", "--quiet", "--dest-tls-verify=false", &format!("oci:{}:latest", layout.display()), &target]).ok();
    Layout::open(&layout).descriptor()["digest"].as_str().unwrap().to_owned()
}

fn skopeo_digest(reference: &str) -> Value {
    let found = skopeo(["inspect", "--tls-verify=false", &format!("docker://{reference}")]).ok().json();
    found["Digest"].clone()
}

#[test]
fn a_push_sends_what_is_missing_once_and_the_name_last() {
    let (registry, project) = (Registry::start(), service_on_any_base());
    base_into(&registry, &project, "library/base:1");
    let (base, target) = (registry.reference("library/base:1"), registry.reference("team/service:1"));
    let before = registry.requests().len();
    let ingot = ingot_for(&project);
    let file = ingot.path("metadata.json").display().to_string();
    let said = build_on(&ingot, &project, &base, &["-t", &target, "--push", "--metadata-file", &file]).ok().stdout;
    let digest = skopeo_digest(&target);
    assert_eq!(said, format!("{target}@{}\n", digest.as_str().unwrap()));
    let metadata: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    let receipt = &metadata["outputs"][0];
    // venv, app, runtime and the configuration; the base's layer is in another repository of the registry.
    let counts = ["written", "mounted", "existed"].map(|field| receipt[field]["count"].as_u64());
    assert_eq!(counts, [Some(4), Some(1), Some(0)], "{receipt}");

    let requests = registry.requests().split_off(before);
    let ours: Vec<&Request> = requests.iter().filter(|request| request.uri.contains("team/service")).collect();
    let mount = ours.iter().find(|request| request.uri.contains("mount=")).expect("the base's layer is mounted");
    assert!(mount.method == "POST" && mount.status == 201 && mount.uri.contains("from=library"), "{mount:?}");
    let manifest = ours.iter().position(|request| request.method == "PUT" && request.uri.contains("/manifests/1"));
    let after = &ours[manifest.expect("the manifest is sent") + 1..];
    assert!(!after.iter().any(|request| request.is_upload()), "nothing is sent after the name: {after:#?}");
    let puts = ours.iter().filter(|request| request.method == "PUT" && request.is_upload()).count();
    assert_eq!(puts, 4, "each blob once");
    let asked = ours.iter().filter(|request| request.method == "HEAD" && request.uri.contains("/blobs/")).count();
    assert!(asked >= 4, "each blob is asked for before it is sent");

    // Again, by somebody who has nothing: the same digest, and nothing is sent.
    let before = registry.requests().len();
    let again =
        build_on(&ingot_for(&project), &project, &base, &["-t", &target, "--push", "--format", "json"]).ok().json();
    assert_eq!(again[0]["containerimage.digest"], digest);
    assert_eq!(again[0]["outputs"][0]["existed"]["count"], 5, "{again}");
    let more = registry.requests().split_off(before);
    assert!(!more.iter().any(|request| request.is_upload() || request.method == "POST"), "{more:#?}");
}

#[test]
fn a_base_by_digest_is_that_base_and_no_other() {
    let (registry, project) = (Registry::start(), service_on_any_base());
    let digest = base_into(&registry, &project, "base:1");
    let ingot = ingot_for(&project);
    let at = |digest: &str| format!("localhost:{}/base@{digest}", registry.port);
    let (first, second) = (format!("oci:{}", ingot.path("a").display()), format!("oci:{}", ingot.path("b").display()));
    build_on(&ingot, &project, &at(&digest), &["-o", &first]).ok();
    build_on(&ingot, &project, "oci:base", &["-o", &second]).ok();
    let (pinned, local) = (Layout::open(&ingot.path("a")), Layout::open(&ingot.path("b")));
    assert_eq!(pinned.manifest()["layers"], local.manifest()["layers"]);
    let labels = pinned.config()["config"]["Labels"].clone();
    assert_eq!(labels["org.opencontainers.image.base.digest"], digest.as_str());
    let name = labels["org.opencontainers.image.base.name"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("localhost:{}/base", registry.port)), "{name}");

    let other = at(&format!("sha256:{}", "0".repeat(64)));
    let missing = build_on(&ingot, &project, &other, &["-o", &format!("oci:{}", ingot.path("c").display())]).exits(5);
    assert!(missing.stderr.contains("/base@sha256:0000") && missing.stderr.contains("hint: "), "{}", missing.stderr);
    assert!(!ingot.path("c").exists());
}

/// An auth file as podman writes it, which the unprivileged user may read.
fn auth_file(path: &Path, registry: &Registry, user: &str, password: &str) -> String {
    let login = json!({"auth": STANDARD.encode(format!("{user}:{password}"))});
    let auths = json!({"auths": {format!("127.0.0.1:{}", registry.port): login}});
    std::fs::write(path, auths.to_string()).unwrap();
    TestUser::get().own(path);
    path.display().to_string()
}

#[test]
fn a_password_is_taken_from_podmans_and_dockers_files_and_never_shown() {
    let (registry, project) = (Registry::with_password("someone", "correct-horse"), service_on_any_base());
    let ingot = ingot_for(&project);
    let target = registry.reference("team/service:1");
    // A place that is closed to this user, as root's podman leaves one, holds no credentials of his.
    let closed = ingot.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let ingot = ingot.env("XDG_RUNTIME_DIR", closed);
    let push = |ingot: &Ingot, more: &[&str]| {
        build_on(ingot, &project, "oci:base", &[&["-t", &target, "--push"], more].concat())
    };

    let refused = push(&ingot, &[]).exits(5);
    assert!(refused.stderr.contains("hint: ") && refused.stdout.is_empty(), "{}", refused.stderr);
    let wrong = auth_file(&ingot.path("wrong.json"), &registry, "someone", "battery-staple");
    let refused = push(&ingot, &["--authfile", &wrong]).exits(5);
    let encoded = STANDARD.encode("someone:battery-staple");
    assert!(!refused.stderr.contains("battery-staple") && !refused.stderr.contains(&encoded), "{}", refused.stderr);
    assert!(!registry.requests().iter().any(|request| request.status < 300 && request.method != "GET"), "nothing sent");

    let right = auth_file(&ingot.path("auth.json"), &registry, "someone", "correct-horse");
    let said = push(&ingot, &["--authfile", &right, "--verbose"]).ok();
    assert!(said.stdout.starts_with(&format!("{target}@sha256:")), "{}", said.stdout);
    assert!(!said.stderr.contains("correct-horse"), "{}", said.stderr);
    let ingot = ingot.env("REGISTRY_AUTH_FILE", &right);
    assert_eq!(push(&ingot, &[]).ok().stdout, said.stdout);
    let source = format!("docker://{target}");
    let found = skopeo(["inspect", "--tls-verify=false", "--creds", "someone:correct-horse", &source]).ok().json();
    assert_eq!(said.stdout.trim(), format!("{target}@{}", found["Digest"].as_str().unwrap()));

    // docker's own file, in its own place.
    let home = ingot_for(&project);
    std::fs::create_dir(home.home().join(".docker")).unwrap();
    auth_file(&home.home().join(".docker/config.json"), &registry, "someone", "correct-horse");
    TestUser::get().own(&home.home());
    home.run(["inspect", &target]).ok();
}

#[test]
fn images_go_through_a_registry_and_come_back_the_same() {
    let (registry, project) = (Registry::start(), service_on_any_base());
    let ingot = ingot_for(&project);
    let place = |kind: &str, name: &str| format!("{kind}:{}", ingot.path(name).display());
    let image = place("oci", "image");
    build_on(&ingot, &project, "oci:base", &["-o", &image]).ok();
    let digest = Layout::open(&ingot.path("image")).descriptor()["digest"].as_str().unwrap().to_owned();

    let (first, second) = (registry.reference("a/one:1"), registry.reference("b/two:2"));
    assert_eq!(ingot.run(["push", &image, &first]).ok().stdout, format!("{first}@{digest}\n"));
    assert_eq!(skopeo_digest(&first), digest.as_str());
    let copied = ingot.run(["copy", &format!("docker://{first}"), &format!("docker://{second}"), "--format", "json"]);
    let copied = copied.ok().json();
    assert_eq!(
        (copied["digest"].as_str(), &copied["mounted"]["count"]),
        (Some(digest.as_str()), &json!(4)),
        "{copied}"
    );
    assert_eq!(skopeo_digest(&second), digest.as_str());

    // Everything that can be a destination, and what others say of it.
    for (kind, name) in [("oci", "back"), ("oci-archive", "back.tar"), ("docker-archive", "back-docker.tar")] {
        let target = place(kind, name);
        let said = ingot.run(["pull", &second, &target]).ok().stdout;
        assert!(said.ends_with(&format!("@{digest}\n")), "{target}: {said}");
        let config = skopeo(["inspect", "--config", "--raw", &target]).ok().json();
        assert_eq!(config, Layout::open(&ingot.path("image")).config(), "{target}");
    }
    assert_eq!(Layout::open(&ingot.path("back")).descriptor()["digest"], digest.as_str());
    // What went through an archive goes back into the registry under the same digest.
    let third = registry.reference("c/three:3");
    assert_eq!(
        ingot.run(["push", &place("oci-archive", "back.tar"), &third]).ok().stdout,
        format!("{third}@{digest}\n")
    );

    // An unknown name, and a registry that is not there.
    let missing = ingot.run(["pull", &registry.reference("a/none:1"), &place("oci", "none")]).exits(5);
    assert!(missing.stderr.starts_with("error: ") && missing.stderr.contains("a/none:1"), "{}", missing.stderr);
    let port = free_port();
    let nobody = ingot.run(["push", &image, &format!("127.0.0.1:{port}/x:1")]).exits(5);
    assert!(nobody.stderr.contains(&port.to_string()) && nobody.stderr.contains("hint: "), "{}", nobody.stderr);
    assert!(!ingot.path("none").exists());
}

#[test]
fn an_image_in_a_registry_is_looked_into() {
    let (registry, project) = (Registry::start(), service_on_any_base());
    let ingot = ingot_for(&project);
    let target = registry.reference("team/service:1");
    let said = build_on(&ingot, &project, "oci:base", &["-t", &target, "--push"]).ok().stdout;
    let digest = said.trim().rsplit_once('@').unwrap().1;
    // Somebody else, with an empty store.
    let other = Ingot::new();
    let raw = skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{target}")]).ok().json();
    let text = other.run(["inspect", &target]).ok().stdout;
    let data = other.run(["inspect", &format!("docker://{target}"), "--format", "json"]).ok().json();
    assert!(text.contains(digest) && text.contains("1001:1001"), "{text}");
    assert_eq!(data["digest"], digest);
    for (found, expected) in data["layers"].as_array().unwrap().iter().zip(raw["layers"].as_array().unwrap()) {
        assert_eq!((&found["digest"], &found["size"]), (&expected["digest"], &expected["size"]));
        assert!(text.contains(expected["digest"].as_str().unwrap()), "{text}");
    }
    let requests = registry.requests();
    let layers: Vec<_> = raw["layers"].as_array().unwrap().iter().map(|l| l["digest"].as_str().unwrap()).collect();
    let fetched = |request: &Request| request.method == "GET" && layers.iter().any(|l| request.uri.contains(l));
    assert!(!requests.iter().any(fetched), "manifest and configuration are enough to look at an image");

    let history = other.run(["history", &target]).ok().stdout;
    assert!(history.lines().count() == 1 + raw["layers"].as_array().unwrap().len(), "{history}");
    assert!(history.contains("ingot: app in /app"), "{history}");
    let history = other.run(["history", &target, "--format", "json"]).ok().json();
    let newest = raw["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&history[0]["digest"], &history[0]["size"]), (&newest["digest"], &newest["size"]));

    let listed = other.run(["ls", "--long", &target, "/app"]).ok().stdout;
    assert!(
        listed.lines().any(|line| line.starts_with("d0755  1001:1001") && line.ends_with(" /app/data")),
        "{listed}"
    );
    let listed = other.run(["ls", &target, "/app", "--format", "json"]).ok().json();
    let paths: Vec<_> = listed.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/app/service/health.pyc") && !paths.iter().any(|path| path.ends_with(".py")), "{paths:?}");
}
