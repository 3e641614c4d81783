//! How much work a small build is, counted in instructions by valgrind and not timed: seconds of a machine that others
//! use too say nothing, and a change that makes every build slower must not hide in them.
//!
//! The program is the one that `cargo test` builds, unoptimised, so the numbers are only good for being compared
//! with themselves. `UPDATE=1 cargo test --test it instructions` writes what is so now; look at the difference, and say in
//! the commit why it is worth it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::*;

/// How much more than recorded is found out, in percent: of all, and of one stage.
///
/// The same program counts the same to a hundred-thousandth. What is left is for other machines: which instructions a
/// library chooses, and what the interpreter that compiles says.
const TOLERANCE: u64 = 5;
const STAGE_TOLERANCE: u64 = 10;
/// Stages of fewer instructions than this are not looked at one by one.
const SMALL: u64 = 1_000_000;

/// Stages by what the names of their functions, or the object files that they are in, contain; the first that fits
/// counts.
const STAGES: [(&str, &[&str]); 10] = [
    ("inflate", &["ingot::layer::inflate", "ingot::layer::huffman", "ingot::layer::splice", "zlib_rs"]),
    ("hash", &["sha2", "digest::", "block_buffer", "ingot::oci::digest", "crc32fast"]),
    ("deflate", &["deflate_", "libdeflate", "hc_matchfinder", "ingot::layer::run", "ingot::layer::short"]),
    ("tar", &["ingot::layer::", "tar::"]),
    ("wheels", &["ingot::python", "rawzip", "pep508", "pep440", "csv"]),
    ("images", &["ingot::image", "ingot::registry", "oci_spec"]),
    ("debian", &["ingot::debian"]),
    ("project", &["ingot::project", "ingot::plan", "toml", "winnow"]),
    ("documents", &["serde", "ingot::oci"]),
    ("memory", &["libc.so", "ld-linux", "malloc", "memcpy", "memmove", "alloc::"]),
];

#[test]
fn a_small_build_is_as_much_work_as_it_was() {
    let found = counted();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt");
    if std::env::var_os("UPDATE").is_some() {
        let lines: String = found.iter().map(|(stage, count)| format!("{stage} {count}\n")).collect();
        std::fs::write(&file, lines).unwrap();
    }
    let expected: BTreeMap<String, u64> = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(stage, count)| (stage.to_owned(), count.parse().unwrap()))
        .collect();
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (stage, now) in &found {
        let before = expected.get(stage).copied().unwrap_or_default();
        let tolerance = if stage == "all" { TOLERANCE } else { STAGE_TOLERANCE };
        let counts = before.max(*now) >= SMALL;
        if counts && *now > before + before * tolerance / 100 {
            wrong.push(format!("`{stage}` is more work by more than {tolerance} %"));
        }
        // A number that is far too high guards nothing.
        if counts && *now < before - before * 2 * tolerance / 100 {
            wrong.push(format!("`{stage}` is less work by more than {} %: record it", 2 * tolerance));
        }
        table += &format!("{stage:12} expected {before:>13} found {now:>13}\n");
    }
    let advice = "if that is as it should be: UPDATE=1 cargo test --test it instructions";
    assert!(wrong.is_empty(), "{}\n{table}{advice}", wrong.join("\n"));
}

/// Instructions of one build by stage, and of `all`.
fn counted() -> BTreeMap<String, u64> {
    let valgrind = tool("valgrind", "valgrind");
    let project = project();
    // One thread does everything in one order.
    let ingot = ingot_for(&project).env("RAYON_NUM_THREADS", "1").env("SOURCE_DATE_EPOCH", "1700000000");
    let profile = ingot.path("profile");
    let ingot = ingot.through(&[
        valgrind.to_str().unwrap(),
        "--tool=callgrind",
        "--quiet",
        "--compress-strings=no",
        "--compress-pos=no",
        &format!("--callgrind-out-file={}", profile.display()),
    ]);
    let output = format!("oci:{}", ingot.path("image").display());
    ingot.run(["build", project.folder().to_str().unwrap(), "-o", &output]).ok();
    by_stage(&std::fs::read_to_string(&profile).unwrap())
}

/// The small service with a wheel that has something of everything: many small modules, text, a library.
fn project() -> Project {
    let mut wheel = Wheel::new("gamma", "1.0").tag("cp311-cp311-manylinux_2_17_x86_64");
    let mut state = 1u32;
    let mut dice = |sides: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % sides
    };
    let text = |lines: u32, dice: &mut dyn FnMut(u32) -> u32| -> String {
        (0..lines).map(|n| format!("value_{n} = {} + {}\n", dice(1000), dice(7))).collect()
    };
    for n in 0..100 {
        let lines = 5 + dice(200);
        wheel = wheel.file(&format!("gamma/part{}/module{n}.py", n % 7), text(lines, &mut dice));
    }
    wheel = wheel.file("gamma/table.csv", text(20_000, &mut dice));
    let library: Vec<u8> =
        (0..800_000u32).map(|n| if n % 16 < 9 { (n / 640 % 256) as u8 } else { dice(256) as u8 }).collect();
    wheel = wheel.file_with_mode("gamma/native.so", library, 0o755);
    let project = service();
    let (path, line) = wheel.write(&project.folder().join("wheels"));
    TestUser::get().own(&path);
    let lock = std::fs::read_to_string(project.folder().join("requirements.lock")).unwrap() + &line;
    project.file("requirements.lock", lock)
}

/// Reads callgrind's output: `ob=` and `fn=` say where the lines after them belong; the line after `calls=` is what the
/// called function took, which is counted there.
fn by_stage(profile: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::from([("all".to_owned(), 0)]);
    let (mut object, mut stage, mut called) = ("", "other", false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("ob=") {
            object = name;
        } else if let Some(name) = line.strip_prefix("fn=") {
            let is = |part: &&&str| name.contains(**part) || object.contains(**part);
            let fits = |(_, parts): &&(&str, &[&str])| parts.iter().any(|part| is(&part));
            stage = STAGES.iter().find(fits).map_or("other", |(stage, _)| stage);
        } else if line.starts_with("calls=") {
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost: u64 = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or_default();
            if !std::mem::take(&mut called) {
                *found.entry(stage.to_owned()).or_default() += cost;
                *found.entry("all".to_owned()).or_default() += cost;
            }
        }
    }
    found
}
