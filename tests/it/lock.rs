//! ingot.lock: what it pins stays, although the registry moves on, or is gone.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// A tiny base with one more label, so that each is another image.
fn base(ingot: &Ingot, name: &str) -> String {
    let layout = ingot.path(name);
    std::fs::create_dir(&layout).unwrap();
    tiny_base(&layout);
    TestUser::get().own(&layout);
    format!("oci:{}:latest", layout.display())
}

fn base_label(layout: &Path) -> Value {
    Layout::open(layout).manifest()["annotations"]["org.opencontainers.image.base.digest"].clone()
}

#[test]
fn a_base_stays_the_locked_one_until_it_is_locked_anew() {
    let (registry, ingot) = (Registry::start(), Ingot::new());
    let reference = registry.reference("team/base:1");
    ingot.run(["push", "-q", &base(&ingot, "first"), &reference]).ok();
    let project = Project::new(&format!("[image]\nname = \"x\"\n[variants.x]\nbase = \"{reference}\"\n"));
    let folder = project.folder().display().to_string();
    let build = |name: &str, more: &[&str]| {
        ingot.run([&["build", "-q", &folder, "-o", &format!("oci:{name}:1")], more].concat())
    };
    let said = ingot.run(["lock", &folder]).ok().stdout;
    assert!(said.contains("x for linux/") && said.contains("+ base sha256:"), "{said}");
    ingot.run(["lock", "-q", "--check", &folder]).ok();
    build("one", &["--locked"]).ok();
    let first = base_label(&ingot.path("one"));

    // The tag moves: an image of the first base with another layer.
    let moved =
        Project::new(&format!("[image]\nname = \"y\"\n[env]\nA = \"1\"\n[variants.y]\nbase = \"{reference}\"\n"));
    let output = format!("docker://{reference}");
    ingot.run(["build", "-q", &moved.folder().display().to_string(), "-o", &output]).ok();
    build("two", &[]).ok();
    assert_eq!(base_label(&ingot.path("two")), first, "the lock holds without being asked for");
    let checked = ingot.run(["lock", "-q", "--check", &folder]).exits(2);
    assert!(checked.stderr.contains("is stale") && checked.stderr.contains("~ base sha256:"), "{}", checked.stderr);

    // The registry is gone; all that the image needs was seen before.
    drop(registry);
    build("three", &["--locked"]).ok();
    assert_eq!(Layout::open(&ingot.path("three")).manifest(), Layout::open(&ingot.path("one")).manifest());
    assert_eq!(build("four", &["--clean"]).code, 0, "layers are made anew from what the store has");

    // A lock that was edited is held against the image.
    let lock = project.folder().join("ingot.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    let line = text.lines().find(|line| line.starts_with("manifest = ")).unwrap();
    std::fs::write(&lock, text.replace(line, &format!("manifest = \"sha256:{}\"", "0".repeat(64)))).unwrap();
    let lied = build("five", &[]).exits(4);
    assert!(lied.stderr.contains("is not the one of ingot.lock: expected sha256:0000"), "{}", lied.stderr);
    std::fs::write(&lock, "version = 9\n").unwrap();
    let format = build("five", &[]).exits(2);
    assert!(format.stderr.contains("has format 9: expected 1"), "{}", format.stderr);
}

#[test]
fn a_lock_pins_the_wheel_that_was_chosen() {
    let project = service();
    let ingot = ingot_for(&project);
    let folder = project.folder().display().to_string();
    let output = |name: &str| format!("oci:{}", ingot.path(name).display());
    ingot.run(["lock", "-q", &folder]).ok();
    let text = std::fs::read_to_string(project.folder().join("ingot.lock")).unwrap();
    assert!(text.contains("[[image.wheel]]\nname = "), "{text}");
    ingot.run(["build", "-q", &folder, "--locked", "-o", &output("one")]).ok();
    // A base in a folder is another one today.
    let base = project.folder().join("base");
    std::fs::rename(&base, project.folder().join("old")).unwrap();
    std::fs::create_dir(&base).unwrap();
    tiny_bases(&base);
    let moved = ingot.run(["build", "-q", &folder, "--locked", "-o", &output("two")]);
    std::fs::remove_dir_all(&base).unwrap();
    std::fs::rename(project.folder().join("old"), &base).unwrap();
    // The same image in an index is the same base.
    assert_eq!(moved.code, 0, "{}", moved.stderr);
    let image = ingot.path("one");
    let other = format!("oci:{}", image.display());
    let file = project.folder().join("ingot.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("oci:base", &other)).unwrap();
    ingot.run(["lock", "-q", &folder]).ok();
    let more = Project::new("[image]\nname = \"y\"\n[env]\nA = \"1\"\n[variants.y]\nbase = \"oci:base\"\n");
    std::fs::create_dir(more.folder().join("base")).unwrap();
    tiny_base(&more.folder().join("base"));
    std::fs::remove_dir_all(&image).unwrap();
    ingot.run(["build", "-q", &more.folder().display().to_string(), "-o", &other]).ok();
    let stale = ingot.run(["build", "-q", &folder, "--locked", "-o", &output("three")]).exits(2);
    assert!(stale.stderr.contains("is another image"), "{}", stale.stderr);
    std::fs::write(&file, text).unwrap();
    ingot.run(["lock", "-q", &folder]).ok();
    // Another lock of the dependencies: the lock is stale, and says of what.
    let requirements = project.folder().join("requirements.lock");
    let text = std::fs::read_to_string(&requirements).unwrap();
    std::fs::write(&requirements, text.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    let stale = ingot.run(["build", "-q", &folder, "--locked", "-o", &output("two")]).exits(2);
    assert!(stale.stderr.contains("`python.lock` changed"), "{}", stale.stderr);
}
