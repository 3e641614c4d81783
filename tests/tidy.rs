//! The rules of the house, executed: `ARCHITECTURE.md` says what holds, this test shows that it does.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reads the tree as it is"
)]

#[path = "tidy/hosts.rs"]
mod hosts;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;

use source::{Source, root, sources, tracked};

/// The most lines that a file may have before its tests.
const FILE_CEILING: usize = 600;
/// What the median file stays under.
const FILE_MEDIAN: usize = 200;
/// The most lines of a command's file.
const COMMAND_CEILING: usize = 100;
/// The most lines of `main.rs`.
const MAIN_CEILING: usize = 40;
/// The most lines of `ARCHITECTURE.md`.
const ARCHITECTURE_CEILING: usize = 150;

/// Fails with all findings at once.
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// Every line of code for which `bad` says what is wrong.
fn lines(files: &[Source], bad: impl Fn(&Source, &str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.code() {
            if let Some(what) = bad(file, line) {
                found.push(format!("{}:{number}: {what}", file.path));
            }
        }
    }
    found
}

#[test]
fn files_are_short() {
    let files = sources("src");
    let long = |file: &Source| {
        let limit = match file.path.as_str() {
            "src/main.rs" => MAIN_CEILING,
            path if path.starts_with("src/cli/commands/") => COMMAND_CEILING,
            _ => FILE_CEILING,
        };
        let count = file.before_tests().count();
        (count > limit).then(|| format!("{}: {count} lines before its tests, at most {limit}", file.path))
    };
    none("a file is too long", files.iter().filter_map(long).collect());

    let mut counts: Vec<_> = files.iter().map(|file| file.before_tests().count()).collect();
    counts.sort_unstable();
    let median = counts[counts.len() / 2];
    assert!(
        median < FILE_MEDIAN,
        "the median file has {median} lines before its tests, it should stay under {FILE_MEDIAN}"
    );
}

#[test]
fn modules_open_with_their_purpose() {
    let silent = |file: &Source| (!file.tests && !file.text.starts_with("//!")).then(|| file.path.clone());
    none("a file must open with //! and what it is for", sources("src").iter().filter_map(silent).collect());
}

#[test]
fn only_net_and_registry_are_asynchronous() {
    let found = lines(&sources("src"), |file, line| {
        // The solver's trait has asynchronous functions; nothing in them waits.
        let allowed = ["src/net/", "src/registry/", "src/debian/solve/provider.rs"]
            .iter()
            .any(|room| file.path.starts_with(room));
        let name =
            ["tokio::", "reqwest::", "oci_client::", "async fn", ".await"].iter().find(|name| line.contains(**name))?;
        (!allowed).then(|| format!("{name} belongs in src/net or src/registry"))
    });
    none("asynchronous code outside its rooms", found);
}

#[test]
fn only_cli_and_report_print() {
    let found = lines(&sources("src"), |file, line| {
        let allowed =
            file.path == "src/main.rs" || ["src/cli/", "src/report/"].iter().any(|room| file.path.starts_with(room));
        let name =
            ["println!", "print!(", "eprint", "io::stdout", "io::stderr"].iter().find(|name| line.contains(**name))?;
        (!allowed).then(|| format!("{name}: libraries return values, src/cli prints them"))
    });
    none("printing in a library", found);
}

#[test]
fn files_and_programs_have_one_door() {
    let found = lines(&sources("src"), |file, line| {
        // Types may be named; the functions that touch a path are banned here and in clippy.toml.
        let types = ["File", "FileType", "Metadata", "Permissions"];
        let uses = |line: &str| {
            line.split("std::fs").skip(1).all(|rest| {
                types.contains(
                    &rest.trim_start_matches("::").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default(),
                )
            })
        };
        let is_fs = file.path == "src/fs.rs" || file.path.starts_with("src/fs/");
        if !is_fs && !uses(line) {
            return Some("std::fs: use crate::fs".into());
        }
        let (_, used) = line.split_once("std::process::")?;
        let types = ["Command", "ExitStatus", "Stdio", "ChildStdin", "ChildStdout", "ChildStderr"];
        let mut names = used.split(|symbol: char| !symbol.is_alphanumeric()).filter(|name| !name.is_empty());
        let harmless = if used.starts_with('{') {
            names.all(|name| types.contains(&name))
        } else {
            names.next().is_some_and(|name| types.contains(&name))
        };
        let main = (file.path == "src/main.rs" || file.path.starts_with("src/cli/"))
            && ["ExitCode", "exit"].iter().any(|name| used.starts_with(name));
        (!harmless && !main && file.path != "src/process.rs")
            .then(|| "std::process: hand a Command to crate::process".into())
    });
    none("a door beside the door", found);
}

#[test]
fn nothing_is_left_half_done() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("FIX", "ME")];
    let ignored = concat!("#[ig", "nore");
    let mut found = Vec::new();
    for file in sources("src").iter().chain(&sources("tests")).chain(&sources("benches")) {
        for (number, line) in file.text.lines().enumerate() {
            for mark in marks.iter().chain([&ignored]).filter(|mark| line.contains(**mark)) {
                found.push(format!("{}:{}: {mark}", file.path, number + 1));
            }
        }
    }
    found.extend(tracked().into_iter().filter(|path| path.ends_with(".snap.new") || path.ends_with(".pending-snap")));
    none("left-overs", found);
}

#[test]
fn architecture_is_short_and_names_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let count = text.lines().count();
    assert!(
        count <= ARCHITECTURE_CEILING,
        "ARCHITECTURE.md has {count} lines, at most {ARCHITECTURE_CEILING}: invariants only"
    );
    assert_eq!(
        rooms::ordered(&text),
        rooms::on_disk(&rooms::ordered(&text)),
        "ARCHITECTURE.md `Room order` and src/ differ"
    );
}

#[test]
fn rooms_use_only_rooms_before_them() {
    let order = rooms::ordered(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    none("a room uses a later room", sources("src").iter().flat_map(|file| rooms::backwards(file, &order)).collect());
}

#[test]
fn every_command_has_a_page() {
    let missing = sources("src/cli/commands").into_iter().filter_map(|file| {
        let name = Path::new(&file.path).file_stem()?.to_str()?.to_owned();
        (name != "mod" && !root().join(format!("docs/{name}.md")).is_file())
            .then(|| format!("docs/{name}.md is missing"))
    });
    none("a command without its page", missing.collect());
}

#[test]
fn every_embedded_file_is_used() {
    let code: String = sources("src").into_iter().map(|file| file.text).collect();
    let unused = tracked().into_iter().filter(|path| {
        let data = path.starts_with("layers/") || path.starts_with("base-manifests/");
        data && !path.ends_with("README.md") && !code.contains(path.as_str())
    });
    none("a file that no source includes", unused.collect());
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for path in tracked().iter().filter(|path| path.ends_with(".md")) {
        let folder = root().join(path).parent().unwrap().to_owned();
        for link in source::links(&fs::read_to_string(root().join(path)).unwrap()) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = link.contains("://") || link.starts_with("mailto:") || file.is_empty();
            if !outside && !folder.join(file).exists() {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    none("a broken link", broken);
}

#[test]
fn no_package_host_is_written_down() {
    let hosts = hosts::of_this_machine();
    assert!(!hosts.is_empty(), "neither apt, pip nor npm could say which hosts they use: apt-get install python3-pip");
    let mut found = Vec::new();
    for path in tracked() {
        let Ok(bytes) = fs::read(root().join(&path)) else { continue };
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        // The names themselves stay out of the message too.
        found.extend(hosts.iter().filter(|host| text.contains(host.as_str())).map(|_| path.clone()));
    }
    none("a package host is named (ask the machine's tools instead)", found);
}
