//! Where each file of a wheel goes, with pip itself as the judge.

use super::*;
use crate::layer::{LayerTree, Store};
use crate::python::testing::{WheelBuilder, store};
use crate::python::wheel::Wheel;
use std::path::Path;

fn layout() -> Layout {
    Layout { root: TreePath::new("opt/venv").unwrap(), python: PythonVersion::new(3, 11) }
}

fn installed(builder: &WheelBuilder) -> Result<Vec<File>, String> {
    let (_folder, store) = store();
    let wheel = OpenWheel::open(&builder.put(&store), &store).map_err(|error| error.to_string())?;
    let mut files = files(&wheel, &layout()).map_err(|error| error.to_string())?;
    files.push(record_of(&wheel, &files, &layout()));
    for file in &mut files {
        file.content = file.read(&wheel).map_err(|error| error.to_string())?.to_vec().into();
    }
    Ok(files)
}

fn text(files: &[File], below: &str) -> String {
    let file = files.iter().find(|file| file.below == below).unwrap_or_else(|| panic!("{below} is missing"));
    let Content::Bytes(bytes) = &file.content else { panic!("{below} is packed") };
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that a wheel can have.
fn full() -> WheelBuilder {
    WheelBuilder::new("Full_Wheel", "1.2")
        .file("full/__init__.py", "def main(): print('hi')\nclass C:\n    run = main\n")
        .executable("full/tool.sh", "#!/bin/sh\n")
        .file("full/data, with comma.txt", "x")
        .file("full/ü.txt", "x")
        .file("Full_Wheel-1.2.data/purelib/pure.py", "1")
        .file("Full_Wheel-1.2.data/platlib/plat.so", "\x7fELF")
        .executable("Full_Wheel-1.2.data/scripts/rewritten", "#!python -E\nprint(1)\n")
        .executable("Full_Wheel-1.2.data/scripts/windowed", "#!pythonw\nprint(1)\n")
        .executable("Full_Wheel-1.2.data/scripts/plain.sh", "#!/bin/sh\necho 1\n")
        .executable("Full_Wheel-1.2.data/scripts/full-run", "#!python\nold wrapper\n")
        .file("Full_Wheel-1.2.data/headers/full.h", "#define X\n")
        .file("Full_Wheel-1.2.data/data/share/full/x.txt", "x")
        .file("Full_Wheel-1.2.data/data/etc/full.conf", "x")
        .file(
            "Full_Wheel-1.2.dist-info/entry_points.txt",
            "[console_scripts]\nfull-run = full:main\nfull-extra = full:C.run [extra]\n[gui_scripts]\nfull-gui = full:main\n",
        )
}

#[test]
fn every_scheme_has_its_place() {
    let files = installed(&full()).unwrap();
    let names: Vec<_> = files.iter().map(|file| (file.below.as_str(), file.mode)).collect();
    let site = "lib/python3.11/site-packages";
    for (below, mode) in [
        ("bin/rewritten".to_string(), 0o755),
        ("bin/full-run".to_string(), 0o755),
        ("bin/full-gui".to_string(), 0o755),
        ("etc/full.conf".to_string(), 0o644),
        ("share/full/x.txt".to_string(), 0o644),
        ("include/site/python3.11/Full-Wheel/full.h".to_string(), 0o644),
        (format!("{site}/pure.py"), 0o644),
        (format!("{site}/plat.so"), 0o644),
        (format!("{site}/full/tool.sh"), 0o755),
        (format!("{site}/Full_Wheel-1.2.dist-info/INSTALLER"), 0o644),
        (format!("{site}/Full_Wheel-1.2.dist-info/RECORD"), 0o644),
    ] {
        assert!(names.contains(&(below.as_str(), mode)), "{below}: {names:?}");
    }
    assert!(text(&files, "bin/rewritten").starts_with("#!/opt/venv/bin/python\nprint(1)\n"));
    assert!(text(&files, "bin/windowed").starts_with("#!/opt/venv/bin/python\n"));
    assert_eq!(text(&files, "bin/plain.sh"), "#!/bin/sh\necho 1\n");
    assert!(!text(&files, "bin/full-run").contains("old wrapper"));
    assert!(text(&files, "bin/full-extra").contains("from full import C\n"));
    let record = text(&files, &format!("{site}/Full_Wheel-1.2.dist-info/RECORD"));
    assert!(record.contains("../../../bin/full-run,sha256="), "{record}");
    assert!(record.contains("Full_Wheel-1.2.dist-info/RECORD,,\r\n"), "{record}");
    assert!(record.contains("Full_Wheel-1.2.dist-info/INSTALLER,sha256="), "{record}");
    assert!(record.contains("\"full/data, with comma.txt\",sha256="), "{record}");
    assert!(!record.contains("direct_url") && !record.contains(".data/"), "{record}");
}

#[test]
fn what_the_wheel_says_of_its_installation_is_replaced() {
    let files = installed(
        &WheelBuilder::new("x", "1")
            .file("x-1.dist-info/INSTALLER", "evil")
            .file("x-1.dist-info/REQUESTED", "")
            .file("x-1.dist-info/direct_url.json", "{}"),
    )
    .unwrap();
    let names: Vec<_> = files.iter().map(|file| file.below.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["INSTALLER", "METADATA", "WHEEL", "RECORD"]);
    assert_eq!(text(&files, "lib/python3.11/site-packages/x-1.dist-info/INSTALLER"), "ingot\n");
}

#[test]
fn a_path_is_written_once() {
    let twice = WheelBuilder::new("x", "1").file("a.py", "1").file("x-1.data/purelib/a.py", "2");
    assert!(installed(&twice).unwrap_err().contains("it installs `lib/python3.11/site-packages/a.py` twice"));
}

#[test]
fn modules_of_tests_are_not_compiled() {
    let file = |below: &str| File::made(below.into(), Vec::new(), 0o644);
    let site = "lib/python3.11/site-packages";
    for (below, expected) in [
        (format!("{site}/a/b.py"), true),
        (format!("{site}/testing.py"), true),
        (format!("{site}/test.py"), true),
        (format!("{site}/a/tests/b.py"), false),
        (format!("{site}/test/b.py"), false),
        (format!("{site}/a/b.pyi"), false),
        ("bin/x.py".into(), false),
    ] {
        assert_eq!(file(&below).is_module(&layout()), expected, "{below}");
    }
}

/// The same wheel, installed by pip, has the same files with the same bytes and modes.
#[test]
fn pip_makes_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    let wheel = folder.path().join(full().name());
    std::fs::write(&wheel, full().build()).unwrap();
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).env("PIP_NO_INDEX", "1").env("PIP_CONFIG_FILE", "/dev/null");
        let output = crate::process::run(command, b"", std::time::Duration::from_secs(300)).unwrap();
        assert!(output.status.success(), "apt-get install python3-venv: {}", output.stderr_text());
        output.stdout_text()
    };
    let at = venv.to_str().unwrap();
    run(Path::new("sh"), &["-c", &format!("umask 022; exec python3 -m venv '{at}'")]);
    let python = venv.join("bin/python");
    let version: PythonVersion =
        run(&python, &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).parse().unwrap();
    let before = listing(&venv);
    let install =
        format!("umask 022; exec '{}' -m pip install --no-deps --no-compile '{}'", python.display(), wheel.display());
    run(Path::new("sh"), &["-c", &install]);

    let (_folder, store) = store();
    let theirs: BTreeMap<_, _> = listing(&venv).into_iter().filter(|(path, _)| !before.contains_key(path)).collect();
    let layout = Layout { root: TreePath::new(at).unwrap(), python: version };
    let ours = ours(&store, &full().put(&store), &layout);
    let info = format!("{}/Full_Wheel-1.2.dist-info", layout.library());
    for (path, (mode, bytes)) in &theirs {
        // A file that was named on the command line: pip notes that, a lock does not.
        if path.ends_with("direct_url.json") || path.ends_with("REQUESTED") {
            continue;
        }
        let Some((our_mode, our_bytes)) = ours.get(path) else { panic!("{path} is missing") };
        assert_eq!(mode, our_mode, "{path}");
        if path == &format!("{info}/INSTALLER") {
            continue;
        }
        let shown = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace("bin/python3", "bin/python");
            // Of RECORD only what both must agree on; pip keeps a row for the wrapper that it did not install.
            let keep = |line: &&str| {
                !["INSTALLER", "direct_url", "REQUESTED", ".data/scripts/full-run"]
                    .iter()
                    .any(|name| line.contains(name))
            };
            let lines = text.split_inclusive('\n').filter(|line| !path.ends_with("/RECORD") || keep(line));
            lines
                .map(
                    |line| {
                        if path.ends_with("/RECORD") && line.contains("/bin/") { unhashed(line) } else { line.into() }
                    },
                )
                .collect::<String>()
        };
        assert_eq!(shown(bytes), shown(our_bytes), "{path}");
    }
    let extra: Vec<_> = ours.keys().filter(|path| !theirs.contains_key(*path)).collect();
    assert!(extra.is_empty(), "{extra:?}");
}

/// A row of a script: its hash depends on which of `python` and `python3` was called.
fn unhashed(row: &str) -> String {
    row.split(',').next().unwrap_or_default().to_string() + "\n"
}

fn ours(store: &Store, wheel: &Wheel, layout: &Layout) -> BTreeMap<String, (u32, Vec<u8>)> {
    let wheel = OpenWheel::open(wheel, store).unwrap();
    let mut files = files(&wheel, layout).unwrap();
    files.push(record_of(&wheel, &files, layout));
    let mut tree = LayerTree::new();
    let input = wheel.wheel.input();
    for file in &files {
        tree.insert(layout.root.join(&file.below).unwrap(), file.entry(&input)).unwrap();
    }
    assert_eq!(tree.len(), files.len());
    files.iter().map(|file| (file.below.clone(), (file.mode, file.read(&wheel).unwrap().to_vec()))).collect()
}

/// Files below a folder, with mode and content.
fn listing(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_string();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        found.insert(path, (mode, std::fs::read(entry.path()).unwrap()));
    }
    found
}
