//! Updates of dependencies: what the registry has is not sent again, and the lock says which wheel is in which layer.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// Bytes that do not compress: a wheel of this size.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let word = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8)).flat_map(|_| word(&mut state)).collect()
}

/// Writes these wheels beside the project, and a lock that names them.
fn depend(folder: &Path, wheels: &[(&str, &str, usize)]) {
    let wheels = wheels.iter().map(|(name, version, size)| {
        let seed = name.bytes().chain(version.bytes()).fold(7, |sum, byte| sum * 31 + u64::from(byte));
        let module = format!("def f():\n    return {seed}\n");
        Wheel::new(name, version)
            .file(&format!("{name}/data.bin"), noise(seed, *size))
            .file(&format!("{name}/m.py"), module)
    });
    let lock: String = wheels.map(|wheel| wheel.write(&folder.join("wheels")).1).collect();
    std::fs::write(folder.join("requirements.lock"), lock).unwrap();
    TestUser::get().own(&folder.join("wheels"));
}

/// Names and digests of the image's own layers.
fn layers(metadata: &Path) -> Vec<(String, String)> {
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["images"][0]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (text(&layer["name"]), text(&layer["digest"])))
        .collect()
}

#[test]
fn a_small_update_sends_small_layers_and_locking_again_changes_nothing() {
    let (registry, project) = (Registry::start(), service());
    let ingot = ingot_for(&project);
    let (folder, target) = (project.folder(), registry.reference("team/service:1"));
    let at = folder.display().to_string();
    let all = |small: &'static str| {
        [
            ("heavy", "1", 2_500_000),
            ("large", "1", 1_500_000),
            ("other", "1", 900_000),
            ("small", small, 30_000),
            ("tiny", "1", 900),
        ]
    };
    let lock = || std::fs::read_to_string(folder.join("ingot.lock")).unwrap();
    let push = |name: &str| {
        let file = ingot.path(name);
        let file = file.display().to_string();
        let before = registry.requests().len();
        ingot.run(["build", "-q", &at, "--locked", "-t", &target, "--push", "--metadata-file", &file]).ok();
        let requests = registry.requests().split_off(before);
        let sent = requests.into_iter().filter(|request| request.method == "PUT" && request.is_upload()).count();
        (layers(Path::new(&file)), sent)
    };
    depend(&folder, &all("1"));
    ingot.run(["lock", "-q", &at]).ok();
    let first_lock = lock();
    for (name, place) in
        [("heavy", "own"), ("large", "shared"), ("other", "shared"), ("small", "small"), ("tiny", "small")]
    {
        let entry = first_lock.split("[[image.wheel]]").find(|entry| entry.contains(&format!("name = \"{name}\"")));
        assert!(entry.unwrap().contains(&format!("layer = \"{place}\"")), "{first_lock}");
    }
    let (first, _) = push("first.json");
    let names: Vec<&str> = first.iter().skip(1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["venv: heavy", "venv", "venv (small)", "app", "runtime"]);

    // One small dependency: one layer and the configuration are sent.
    depend(&folder, &all("2"));
    let stale = ingot.run(["lock", "-q", "--check", &at]).exits(2);
    assert!(stale.stderr.contains("~ input `python.lock`"), "{}", stale.stderr);
    ingot.run(["lock", "-q", &at]).ok();
    let (second, sent) = push("second.json");
    let changed: Vec<&str> =
        second.iter().filter(|layer| !first.contains(layer)).map(|(name, _)| name.as_str()).collect();
    assert_eq!((changed, sent), (vec!["venv (small)"], 2));

    // Locked again: the same file. What is there is a state, and whoever has another store builds the same.
    let second_lock = lock();
    ingot.run(["lock", "-q", &at]).ok();
    assert_eq!(lock(), second_lock);
    ingot.run(["lock", "-q", "--check", &at]).ok();
    let layout = ingot.path("again");
    let other = ingot_for(&project);
    other.run(["build", "-q", &at, "--locked", "-o", &format!("oci:{}", other.path("again").display())]).ok();
    ingot.run(["build", "-q", &at, "--locked", "-o", &format!("oci:{}", layout.display())]).ok();
    assert_eq!(Cast::read(&layout).digest, Cast::read(&other.path("again")).digest);

    // A middle dependency comes: it is sent, and the others of its size are not.
    depend(&folder, &[&all("2")[..], &[("middle", "1", 800_000)]].concat());
    ingot.run(["lock", "-q", &at]).ok();
    let (third, sent) = push("third.json");
    let changed: Vec<&str> =
        third.iter().filter(|layer| !second.contains(layer)).map(|(name, _)| name.as_str()).collect();
    assert_eq!((changed, sent), (vec!["venv (small)"], 2));

    // A lock from before there were layers is good, and stays what it is until it is written anew.
    let old: String =
        lock().lines().filter(|line| !line.starts_with("layer = ")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("ingot.lock"), &old).unwrap();
    ingot.run(["lock", "-q", "--check", &at]).ok();
    ingot.run(["build", "-q", &at, "--locked", "-o", &format!("oci:{}", ingot.path("old").display())]).ok();
    std::fs::write(folder.join("ingot.lock"), old.replace("sha256 = ", "layer = \"there\"\nsha256 = ")).unwrap();
    let bad = ingot.run(["build", "-q", &at, "-o", "oci:bad"]).exits(2);
    assert!(bad.stderr.contains("is not a lock: ") && bad.stderr.contains("ingot lock"), "{}", bad.stderr);
}
