//! The helpers themselves, and that this machine can do what the other tests need.

use std::process::Command;

use crate::support::*;

#[test]
fn podman_runs_the_debian_base_and_publishes_a_port() {
    let podman = Podman::new();
    let image = podman.pull(&format!("oci:{}:latest", debian_base().display()));
    let ran =
        podman.once(&image, &["--user", "1001:1001"], &["python3", "-c", "import os, ssl; print(os.getuid(), 6 * 7)"]);
    assert_eq!(ran.ok().stdout, "1001 42\n");
    assert_eq!(podman.once(&image, &[], &["sh", "-c", "exit 78"]).code, 78);

    let serve = ["--entrypoint", r#"["python3", "-m", "http.server", "8080", "--directory", "/etc"]"#, "--name", "web"];
    let container = podman.serve(&image, &serve);
    assert!(container.ready("/os-release").text().contains("ID=debian"));
    assert_eq!(container.exec(&["python3", "-c", "print(1)"]).ok().stdout, "1\n");
    container.stop();
}

#[test]
fn docker_loads_an_archive_and_runs_it() {
    let scratch = Scratch::new();
    let archive = scratch.join("base.tar");
    let (source, target) =
        (format!("oci:{}:latest", debian_base().display()), format!("docker-archive:{}:base:1", archive.display()));
    skopeo(["copy", &source, &target]).ok();
    let docker = Docker::start();
    assert!(docker.run(["load", "--input", archive.to_str().unwrap()]).ok().stdout.contains("base:1"));
    assert_eq!(docker.run(["run", "--rm", "base:1", "python3", "-c", "print(42)"]).ok().stdout, "42\n");
}

#[test]
fn a_registry_takes_an_image_and_gives_it_back() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    let registry = Registry::start();
    let (source, reference) =
        (format!("oci:{}:latest", scratch.join("tiny").display()), registry.reference("team/tiny:1"));
    skopeo(["copy", "--dest-tls-verify=false", &source, &format!("docker://{reference}")]).ok();
    let found = skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{reference}")]).ok();
    assert_eq!(found.json(), Layout::open(&scratch.join("tiny")).manifest());
    assert!(
        registry.log().contains("PUT /v2/team/tiny/manifests/1") || registry.log().contains("http.request.method=PUT")
    );
}

#[test]
fn a_registry_with_a_password_wants_it() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    let registry = Registry::with_password("someone", "secret");
    assert_eq!(get(registry.port, "/v2/").unwrap().status, 401);
    let (source, target) =
        (format!("oci:{}:latest", scratch.join("tiny").display()), format!("docker://{}", registry.reference("x:1")));
    assert_ne!(skopeo(["copy", "--dest-tls-verify=false", &source, &target]).code, 0);
    skopeo(["copy", "--dest-tls-verify=false", "--dest-creds", "someone:secret", &source, &target]).ok();
}

#[test]
fn umoci_unpacks_the_tiny_base() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    let root = umoci(&scratch.join("tiny"), "latest", &scratch.join("bundle"));
    assert!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
}

#[test]
fn a_layout_is_read_and_listed() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    let layout = Layout::open(&scratch.join("tiny"));
    assert_eq!((layout.layers(), layout.config()["os"].as_str()), (1, Some("linux")));
    let lines: Vec<_> = layout.layer(0).iter().map(Member::line).collect();
    assert!(lines.contains(&"directory 1777 0:0        0 tmp".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"symlink   0777 0:0        0 lib -> usr/lib".to_owned()), "{lines:#?}");
    let again = Scratch::new();
    tiny_base(&again.join("tiny"));
    assert_eq!(Layout::open(&again.join("tiny")).index(), layout.index(), "the tiny base is the same every time");
}

#[test]
fn a_blob_with_another_digest_is_noticed() {
    let scratch = Scratch::new();
    tiny_base(&scratch.join("tiny"));
    let layout = Layout::open(&scratch.join("tiny"));
    let digest = layout.manifest()["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
    std::fs::write(scratch.join("tiny/blobs").join(digest), "other").unwrap();
    std::panic::catch_unwind(|| layout.layer(0)).unwrap_err();
}

#[test]
fn pip_installs_a_wheel_that_was_built_in_code() {
    let scratch = Scratch::new();
    let wheel =
        Wheel::new("tiny-tool", "1.2").scripts(&["tiny-tool = tiny_tool:main"]).requires("other; python_version < '3'");
    let (_, line) = wheel.file("tiny_tool/data.txt", "x".repeat(5000)).write(&scratch.join("wheels"));
    std::fs::write(scratch.join("lock"), line).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-warn-script-location", "--require-hashes"]);
    command.arg("--target").arg(scratch.join("site")).arg("--find-links").arg(scratch.join("wheels"));
    command.arg("--requirement").arg(scratch.join("lock")).env("HOME", scratch.path()).env_remove("PIP_FIND_LINKS");
    Ran::of(command).ok();
    assert_eq!(std::fs::read(scratch.join("site/tiny_tool/data.txt")).unwrap().len(), 5000);
    assert!(scratch.join("site/bin/tiny-tool").exists());
}

#[test]
fn ingot_runs_as_an_ordinary_user_in_a_world_of_its_own() {
    let mut command = TestUser::get().command(&tool("id", "coreutils"));
    command.arg("-u");
    assert_eq!(Ran::of(command).ok().stdout.trim(), TestUser::get().uid.to_string());
    assert_ne!(TestUser::get().uid, 0);

    let ingot = Ingot::new().env("MARK", "1");
    let shown = format!("{:?}", ingot.command(["--version"]));
    assert!(shown.contains("MARK") && shown.contains("INGOT_CACHE"), "{shown}");
    assert!(ingot.run(["--version"]).code < 126, "the program starts");
    assert!(ingot.home().is_dir() && ingot.cache().is_dir() && !ingot.path("new").exists());
}

#[test]
fn projects_belong_to_the_user_who_builds_them() {
    use std::os::unix::fs::MetadataExt;
    let project = Project::new("[image]\nname = \"x\"\n").file("src/x/__init__.py", "");
    for path in ["ingot.toml", "src/x/__init__.py"] {
        assert_eq!(std::fs::metadata(project.folder().join(path)).unwrap().uid(), TestUser::get().uid);
    }
    assert!(example().folder().join("src/gameforge/wsgi.py").is_file());
}
