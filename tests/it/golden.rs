//! Every byte of a small image is known: digests and the listing of each of Ingot's layers stand in `tests/golden`.
//!
//! A build of another machine, another dependency or another idea that changes one byte fails here and names the
//! file. `UPDATE=1 cargo test --test it golden` writes what is so now; look at the difference before you commit it.
//! Bytes that change on purpose need another version of the layer format, or old caches give old layers.

use std::path::Path;

use crate::support::*;

#[test]
fn bytecode_only_is_as_it_was() {
    golden("service", &service());
}

#[test]
fn source_and_bytecode_side_by_side_are_as_they_were() {
    let project = service_with(|toml| toml.replace("source = \"src\"", "source = \"src\"\nbytecode = \"alongside\""));
    golden("alongside", &project);
}

#[test]
fn no_bytecode_at_all_is_as_it_was() {
    let project = service_with(|toml| {
        let toml = toml.replace("source = \"src\"", "source = \"src\"\nbytecode = \"none\"");
        toml.replace("[app]", "bytecode = \"none\"\n\n[app]")
    });
    golden("none", &project);
}

/// Builds a project and compares what came out with the golden file.
#[track_caller]
fn golden(name: &str, project: &Project) {
    let ingot = ingot_for(project).env("SOURCE_DATE_EPOCH", "1700000000");
    let layout = ingot.path("image");
    ingot.run(["build", project.folder().to_str().unwrap(), "-o", &format!("oci:{}", layout.display())]).ok();
    let found = described(&Layout::open(&layout));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(
        expected == found,
        "{} does not hold any more (- expected, + found):\n{}",
        file.display(),
        changes(&lines(&expected), &lines(&found))
    );
}

/// Digests, and the listing of every layer but the base's.
fn described(layout: &Layout) -> String {
    let (manifest, config) = (layout.manifest(), layout.config());
    let mut text = format!("manifest {}\n", layout.descriptor()["digest"].as_str().unwrap());
    text.push_str(&format!("config   {}\n", manifest["config"]["digest"].as_str().unwrap()));
    for number in 1..layout.layers() {
        let layer = &manifest["layers"][number];
        let made = config["history"][number]["created_by"].as_str().unwrap();
        text.push_str(&format!("\nlayer {number}: {made}\n"));
        text.push_str(&format!("digest  {} {}\n", layer["digest"].as_str().unwrap(), layer["size"]));
        text.push_str(&format!("diff id {}\n", config["rootfs"]["diff_ids"][number].as_str().unwrap()));
        let members = layout.layer(number);
        assert!(members.iter().all(|member| member.mtime == 315_532_800), "every time is 1980-01-01: {members:?}");
        text.push_str(&listing(&members));
    }
    text.push_str(&format!("\n{config:#}\n"));
    text
}
