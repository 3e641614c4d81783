//! Real folders, a real compiler.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::fs::{Moment, Stamp};
use crate::layer::{BaseEntry, BaseView, EmptyBase, Kind, Store};
use crate::progress::Progress;
use crate::python::bytecode::{Module, SyntaxError};
use crate::python::compiler_tests::interpreter;
use crate::python::{Compiler, PythonVersion};

struct Project {
    folder: tempfile::TempDir,
    store: Store,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(&folder.path().join("store")).unwrap();
        let project = Project { folder, store };
        files.iter().for_each(|(path, text)| project.write(path, text));
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("project").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn layer(&self, mode: BytecodeMode) -> AppLayer {
        let compiler: Arc<dyn Compile> = Arc::new(Compiler::new(interpreter(11), None));
        AppLayer::new(AppSpec {
            root: self.path(""),
            source: "src".into(),
            target: TreePath::new("/app").unwrap(),
            mode,
            compiler: (mode != BytecodeMode::None).then_some(compiler),
            exclude: vec!["src/dist".into()],
            exclude_names: &["node_modules"],
            programs: Programs::default(),
        })
    }

    fn with<T>(&self, base: &dyn BaseView, work: impl FnOnce(&Context<'_>) -> T) -> T {
        work(&Context { store: &self.store, base, progress: &Progress::silent() })
    }

    fn tree(&self, mode: BytecodeMode) -> Result<LayerTree> {
        self.with(&EmptyBase, |context| self.layer(mode).tree(context))
    }

    fn fingerprint(&self, mode: BytecodeMode) -> Digest {
        self.with(&EmptyBase, |context| self.layer(mode).fingerprint(context)).unwrap().digest()
    }

    fn error(&self, mode: BytecodeMode) -> crate::error::Error {
        self.tree(mode).unwrap_err()
    }
}

/// `path mode [-> target]`, one a line.
fn listing(tree: &LayerTree) -> Vec<String> {
    let line = |(path, entry): (&TreePath, &Entry)| {
        assert_eq!((entry.uid, entry.gid), (0, 0));
        match &entry.kind {
            Kind::Symlink(target) => format!("{path} -> {target}"),
            Kind::Directory => format!("{path}/ {:o}", entry.mode),
            _ => format!("{path} {:o}", entry.mode),
        }
    };
    tree.iter().map(line).collect()
}

fn bytes(tree: &LayerTree, path: &str) -> Vec<u8> {
    match &tree.get(&TreePath::new(path).unwrap()).unwrap().kind {
        Kind::File(Content::Bytes(bytes)) => bytes.to_vec(),
        Kind::File(Content::File { path, size }) => {
            let bytes = std::fs::read(path).unwrap();
            assert_eq!(bytes.len() as u64, *size);
            bytes
        }
        other => panic!("{other:?}"),
    }
}

fn example() -> Project {
    let project = Project::new(&[
        ("src/main.py", "import pkg.deep.x\n"),
        ("src/run", "#!/bin/sh\n"),
        ("src/manage.py", "#!/usr/bin/env python\nprint('hello')\n"),
        ("src/pkg/__init__.py", ""),
        ("src/pkg/deep/x.py", "y = 1\n"),
        ("src/pkg/deep/x.pyi", "y: int\n"),
        ("src/pkg/deep/__pycache__/x.cpython-39.pyc", "old"),
        ("src/old.pyc", "old"),
        ("src/a folder/größe.txt", "text"),
        ("src/dist/image.tar", "output"),
        ("src/tests/test.py", "("),
        ("src/notes/a.md", ""),
        ("src/notes/keep/b.md", ""),
        (".dockerignore", "**/tests\nsrc/notes\n!src/notes/keep\n"),
    ]);
    std::fs::create_dir_all(project.path("src/empty/inner")).unwrap();
    symlink("pkg/deep/x.py", project.path("src/link.py")).unwrap();
    symlink("../run", project.path("src/pkg/run")).unwrap();
    project.mode("src/run", 0o775);
    project.mode("src/manage.py", 0o700);
    project
}

#[test]
fn sources_only() {
    assert_eq!(
        listing(&example().tree(BytecodeMode::None).unwrap()),
        [
            "app/a folder/größe.txt 644",
            "app/empty/inner/ 755",
            "app/link.py -> pkg/deep/x.py",
            "app/main.py 644",
            "app/manage.py 755",
            "app/notes/keep/b.md 644",
            "app/pkg/__init__.py 644",
            "app/pkg/deep/x.py 644",
            "app/pkg/deep/x.pyi 644",
            "app/pkg/run -> ../run",
            "app/run 755",
        ]
    );
}

#[test]
fn bytecode_alongside() {
    let listing = listing(&example().tree(BytecodeMode::Alongside).unwrap());
    for expected in [
        "app/__pycache__/main.cpython-311.pyc 644",
        "app/__pycache__/manage.cpython-311.pyc 644",
        "app/main.py 644",
        "app/pkg/deep/__pycache__/x.cpython-311.pyc 644",
        "app/pkg/deep/x.py 644",
    ] {
        assert!(listing.contains(&expected.to_string()), "{expected}: {listing:#?}");
    }
    assert_eq!(listing.len(), 15);
}

#[test]
fn only_bytecode_leaves_no_source_and_runs() {
    let project = example();
    project.write(
        "src/main.py",
        "import pkg.deep.x, link, sys\nprint(pkg.deep.x.y + link.y, sys._getframe().f_code.co_filename)\n",
    );
    let tree = project.tree(BytecodeMode::Only).unwrap();
    assert_eq!(
        listing(&tree),
        [
            "app/a folder/größe.txt 644",
            "app/empty/inner/ 755",
            "app/link.pyc -> pkg/deep/x.pyc",
            "app/main.pyc 644",
            "app/manage.pyc 644",
            "app/notes/keep/b.md 644",
            "app/pkg/__init__.pyc 644",
            "app/pkg/deep/x.pyc 644",
            "app/pkg/run -> ../run",
            "app/run 755",
        ]
    );
    let root = tempfile::tempdir().unwrap();
    for (path, entry) in tree.iter() {
        let place = root.path().join(path.as_str());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        match &entry.kind {
            Kind::Symlink(target) => symlink(target, place).unwrap(),
            Kind::Directory => std::fs::create_dir_all(place).unwrap(),
            _ => std::fs::write(place, bytes(&tree, path.as_str())).unwrap(),
        }
    }
    let mut command = interpreter(11).command(&["import sys; sys.path.insert(0, sys.argv[1]); import main"]);
    command.arg(root.path().join("app"));
    let output = crate::process::run(command, b"", crate::process::DEFAULT_TIMEOUT).unwrap();
    assert_eq!(output.stdout_text(), "2 /app/main.py", "{}", output.stderr_text());
}

#[test]
fn the_bytes_depend_on_content_and_the_owners_x_bit_only() {
    let (one, two) = (example(), example());
    two.mode("src/main.py", 0o604);
    two.mode("src/run", 0o700);
    two.mode("src/manage.py", 0o777);
    two.mode("src/pkg", 0o700);
    let mode = BytecodeMode::Alongside;
    assert_eq!(one.fingerprint(mode), two.fingerprint(mode));
    let (first, second) = (one.tree(mode).unwrap(), two.tree(mode).unwrap());
    assert_eq!(listing(&first), listing(&second));
    for (path, entry) in first.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File(_))) {
        assert_eq!(bytes(&first, path.as_str()), bytes(&second, path.as_str()), "{entry:?}");
    }
    let changes: [&dyn Fn(); 5] = [
        &|| two.write("src/main.py", "other"),
        &|| two.mode("src/main.py", 0o744),
        &|| two.write("src/new.txt", ""),
        &|| std::fs::create_dir(two.path("src/hollow")).unwrap(),
        &|| std::fs::remove_file(two.path("src/pkg/run")).and_then(|()| symlink("x", two.path("src/pkg/run"))).unwrap(),
    ];
    let mut seen = BTreeSet::from([two.fingerprint(mode), two.fingerprint(BytecodeMode::None)]);
    for change in changes {
        change();
        assert!(seen.insert(two.fingerprint(mode)));
    }
}

/// The path, the version and the magic number stand for the bytecode.
struct Echo(PythonVersion, [u8; 4]);

impl Compile for Echo {
    fn version(&self) -> PythonVersion {
        self.0
    }
    fn magic(&self) -> [u8; 4] {
        self.1
    }
    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        let one = |module: &Module| Ok(format!("{} {:?} {} {:?}", self.0, self.1, module.path, module.source).into());
        Ok(modules.iter().map(one).collect())
    }
}

/// The key has every input that can change a byte, and no path or mtime of this machine.
/// What a workspace calls a program can be run, and its first line ends as on Linux.
#[test]
fn programs_can_be_run_whatever_their_mode() {
    let project = Project::new(&[("src/cli.js", "#!x\r\n1\n"), ("src/other.js", "2\n"), ("src/lib/real.js", "3\n")]);
    std::os::unix::fs::symlink("lib/real.js", project.path("src/link.js")).unwrap();
    for file in ["src/cli.js", "src/other.js", "src/lib/real.js"] {
        project.mode(file, 0o644);
    }
    let programs = |paths: &[&str]| {
        let mend: fn(&[u8]) -> Option<Vec<u8>> =
            |bytes| bytes.contains(&b'\r').then(|| bytes.iter().copied().filter(|byte| *byte != b'\r').collect());
        let programs = Programs { paths: paths.iter().map(|path| path.to_string()).collect(), mend: Some(mend) };
        AppLayer::new(AppSpec { programs, ..project.layer(BytecodeMode::None).spec })
    };
    let all = programs(&["cli.js", "link.js", "gone.js"]);
    let tree = project.with(&EmptyBase, |context| all.tree(context)).unwrap();
    assert_eq!(
        listing(&tree),
        ["app/cli.js 755", "app/lib/real.js 755", "app/link.js -> lib/real.js", "app/other.js 644"]
    );
    assert_eq!(bytes(&tree, "app/cli.js"), b"#!x\n1\n");
    let fingerprint =
        |layer: AppLayer| project.with(&EmptyBase, |context| layer.fingerprint(context)).unwrap().digest();
    assert_eq!(fingerprint(programs(&["gone.js"])), project.fingerprint(BytecodeMode::None));
    assert_ne!(fingerprint(programs(&["cli.js"])), project.fingerprint(BytecodeMode::None));
    // One that can be run already is the same only if it stays as it is.
    project.mode("src/cli.js", 0o755);
    assert_ne!(fingerprint(programs(&["cli.js"])), project.fingerprint(BytecodeMode::None));
}

#[test]
fn other_bytes_have_another_key() {
    type Change = Box<dyn Fn(&Project, &mut AppSpec)>;
    let echo = |minor, micro, magic: &[u8; 4]| -> Arc<dyn Compile> {
        Arc::new(Echo(PythonVersion { micro, ..PythonVersion::new(3, minor) }, *magic))
    };
    let compiler = move |minor, micro, magic: &'static [u8; 4]| -> Change {
        Box::new(move |_, spec| spec.compiler = Some(echo(minor, micro, magic)))
    };
    let write =
        |path: &'static str, text: &'static str| -> Change { Box::new(move |project, _| project.write(path, text)) };
    let mode = |mode: BytecodeMode| -> Change { Box::new(move |_, spec| spec.mode = mode) };
    let changes: Vec<Change> = vec![
        Box::new(|_, _| ()),
        mode(BytecodeMode::None),
        mode(BytecodeMode::Alongside),
        compiler(12, None, b"echo"),
        compiler(11, Some(3), b"echo"),
        compiler(11, None, b"else"),
        Box::new(|_, spec| spec.target = TreePath::new("srv").unwrap()),
        Box::new(|_, spec| spec.source = "src/a folder".into()),
        Box::new(|_, spec| spec.exclude.push("src/manage.py".into())),
        write("src/main.py", "import pkg\n"),
        write("src/a folder/größe.txt", "texts"),
        write("src/new.py", ""),
        write("src/new.txt", ""),
        write(".dockerignore", "**/tests\nsrc/notes\n"),
        Box::new(|project, _| project.mode("src/run", 0o644)),
        Box::new(|project, _| project.mode("src/manage.py", 0o644)),
        Box::new(|project, _| std::fs::rename(project.path("src/manage.py"), project.path("src/manages.py")).unwrap()),
        Box::new(|project, _| std::fs::remove_file(project.path("src/main.py")).unwrap()),
        Box::new(|project, _| std::fs::remove_dir_all(project.path("src/empty")).unwrap()),
        Box::new(|project, _| {
            std::fs::remove_file(project.path("src/link.py")).unwrap();
            symlink("main.py", project.path("src/link.py")).unwrap();
        }),
    ];
    let look = |change: &Change| {
        let project = example();
        let mut spec = project.layer(BytecodeMode::Only).spec;
        spec.compiler = Some(echo(11, None, b"echo"));
        change(&project, &mut spec);
        let layer = AppLayer::new(spec);
        let tree = project.with(&EmptyBase, |context| layer.tree(context)).unwrap();
        let content = |(path, entry): (&TreePath, &Entry)| entry.read(path, 1 << 20).unwrap();
        let contents: Vec<Option<Vec<u8>>> = tree.iter().map(content).collect();
        (project.with(&EmptyBase, |context| layer.fingerprint(context)).unwrap().digest(), listing(&tree), contents)
    };
    let seen: Vec<_> = changes.iter().map(look).collect();
    for (at, one) in seen.iter().enumerate() {
        for (other_at, other) in seen[..at].iter().enumerate() {
            assert!(one.0 != other.0 || (&one.1, &one.2) == (&other.1, &other.2), "changes {other_at} and {at}");
            // Nearly each of them is another tree, else this says nothing; a module that is compiled has no execute bit.
            let same = (other_at, at) == (0, 15) || other_at >= 13 && at == 15;
            assert!(same || (&one.1, &one.2) != (&other.1, &other.2), "changes {other_at} and {at} are the same");
        }
    }
    // Elsewhere, later, and in another order of writing: the same.
    assert_eq!(look(&changes[0]).0, seen[0].0);
    let aged: Change = Box::new(|project, _| {
        let file = std::fs::File::options().append(true).open(project.path("src/main.py")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
    });
    assert_eq!(look(&aged), seen[0]);
}

#[test]
fn syntax_errors_are_shown_with_their_lines() {
    let project = Project::new(&[
        ("src/good.py", "x = 1\n"),
        ("src/bad.py", "def f():\n    return 1 +* 2\n"),
        ("src/pkg/größe.py", "class Größe: pass\nwährung = (1,\n"),
        ("src/zero.py", "x = '\0'\n"),
    ]);
    let error = project.error(BytecodeMode::Only);
    assert_eq!(error.class(), crate::error::Class::Usage);
    insta::assert_snapshot!(format!("{error}\n{}\nhint: {}", error.snippet().unwrap(), error.hint().unwrap()), @r"
    3 modules do not compile: `src/bad.py`, line 2; `src/pkg/größe.py`, line 2; `src/zero.py`
    error: invalid syntax
     --> src/bad.py:2:15
      |
    2 |     return 1 +* 2
      |               ^
    error: '(' was never closed
     --> src/pkg/größe.py:2:12
      |
    2 | währung = (1,
      |            ^
    error: source code string cannot contain null bytes
     --> src/zero.py
    hint: correct it, or leave out with .dockerignore what is not for this version of Python
    ");
    project.write(".dockerignore", "src/pkg\nsrc/zero.py\n");
    let error = project.error(BytecodeMode::Alongside);
    assert_eq!(error.to_string(), "`src/bad.py`, line 2 does not compile: invalid syntax");
    assert!(error.snippet().unwrap().starts_with(" --> src/bad.py:2:15\n"), "{error:?}");
    assert!(project.tree(BytecodeMode::None).is_ok());
}

#[test]
fn links_out_of_the_folder_are_refused_and_never_followed() {
    for (target, expected) in [
        ("/etc/passwd", "is absolute: it would lead to another place in the image"),
        ("../../secret", "leads out of the source folder"),
        ("x/../../secret", "goes up again after a name: it may lead anywhere"),
    ] {
        let project = Project::new(&[("src/a.py", ""), ("secret", "s")]);
        symlink(target, project.path("src/link")).unwrap();
        let error = project.error(BytecodeMode::None);
        assert_eq!(error.to_string(), format!("reading `src`: the link `src/link` to `{target}` {expected}"));
        assert!(error.hint().unwrap().contains(".dockerignore"));
        project.write(".dockerignore", "src/link\n");
        project.tree(BytecodeMode::None).unwrap();
    }
    // To a folder: kept as a link, what is behind it is not listed twice.
    let project = Project::new(&[("src/pkg/a.py", "")]);
    symlink("pkg", project.path("src/alias")).unwrap();
    assert_eq!(listing(&project.tree(BytecodeMode::None).unwrap()), ["app/alias -> pkg", "app/pkg/a.py 644"]);
    symlink("pkg/a.py", project.path("src/script")).unwrap();
    let error = project.error(BytecodeMode::Only);
    assert!(error.to_string().contains("leads to a source that is not in the image"), "{error}");
}

#[test]
fn what_is_no_file_or_has_no_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new(&[("src/a.py", "")]);
    let socket = std::os::unix::net::UnixListener::bind(project.path("src/socket")).unwrap();
    assert_eq!(
        project.error(BytecodeMode::None).to_string(),
        "reading `src`: `src/socket` is a socket: expected a file, a folder or a link"
    );
    drop(socket);
    std::fs::remove_file(project.path("src/socket")).unwrap();
    std::fs::write(project.path("src").join(std::ffi::OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
    let error = project.error(BytecodeMode::None).to_string();
    assert_eq!(error, "reading `src`: `src/caf\\xe9.txt` has a name that is not UTF-8");
    project.write(".dockerignore", "src/caf*\n");
    project.tree(BytecodeMode::None).unwrap();
    project.write("src/bell\u{7}.txt", "");
    assert!(project.error(BytecodeMode::None).to_string().contains("control character"));
}

#[test]
fn a_source_folder_must_be_one_and_have_files() {
    let project = Project::new(&[("other/a.py", ""), ("file", "")]);
    let error = |source: &str| {
        let spec = AppSpec { source: source.into(), ..project.layer(BytecodeMode::None).spec };
        project.with(&EmptyBase, |context| AppLayer::new(spec).fingerprint(context)).unwrap_err().to_string()
    };
    symlink("other", project.path("link")).unwrap();
    std::fs::create_dir(project.path("empty")).unwrap();
    for (source, found) in
        [("src", "not there"), ("link", "a link"), ("file", "not a folder"), ("../x", "outside"), ("/etc", "outside")]
    {
        let expected = format!("`[app] source` is `{source}`, which is {found}: expected a folder in the project");
        assert!(error(source).ends_with(&expected), "{}", error(source));
    }
    assert!(error("empty").ends_with("`empty` has no files for the image"));
    project.write(".dockerignore", "a\n[\n");
    assert!(error("other").ends_with("line 2 of `.dockerignore` is not a pattern: `[`, a `[` is not closed"));
}

#[test]
fn bytecode_and_a_folder_of_its_name_collide() {
    let project = Project::new(&[("src/x.py", ""), ("src/x.pyc/inner.txt", "")]);
    project.tree(BytecodeMode::Alongside).unwrap();
    let mut tree = project.tree(BytecodeMode::Only).unwrap();
    let error = tree.complete(&EmptyBase).unwrap_err().to_string();
    assert!(error.contains("`/app/x.pyc`"), "{error}");
    std::fs::remove_file(project.path("src/x.pyc/inner.txt")).unwrap();
    let error = project.error(BytecodeMode::Only).to_string();
    assert_eq!(error, "`/app/x.pyc` comes from two inputs: bytecode of `src/x.py` and `src/x.pyc`");
}

#[test]
fn a_large_file_goes_through_the_store_and_may_not_change() {
    let project = Project::new(&[("src/data.bin", &"x".repeat(3 << 20)), ("src/big.py", &"#\n".repeat(1 << 20))]);
    let layer = project.layer(BytecodeMode::Alongside);
    let change = |path: &str, text: &str| project.write(path, text);
    project.with(&EmptyBase, |context| {
        layer.fingerprint(context).unwrap();
        let tree = layer.tree(context).unwrap();
        assert_eq!(bytes(&tree, "app/data.bin").len(), 3 << 20);
        // A damaged blob in the store is not taken for the file.
        let blob = project.store.blob_path(&Digest::of("x".repeat(3 << 20).as_bytes()));
        std::fs::write(&blob, "y".repeat(3 << 20)).unwrap();
        assert_eq!(bytes(&layer.tree(context).unwrap(), "app/data.bin"), "x".repeat(3 << 20).as_bytes());
        change("src/big.py", &"\n#".repeat(1 << 20));
        assert!(
            layer.tree(context).unwrap_err().to_string().ends_with("`src/big.py` changed while the layer was made")
        );
    });
    let layer = project.layer(BytecodeMode::None);
    project.with(&EmptyBase, |context| {
        layer.fingerprint(context).unwrap();
        change("src/big.py", &"##".repeat(1 << 20));
        assert!(
            layer.tree(context).unwrap_err().to_string().ends_with("`src/big.py` changed while the layer was made")
        );
    });
}

struct UsrMerged;

impl BaseView for UsrMerged {
    fn lookup(&self, path: &TreePath) -> Option<BaseEntry> {
        let kind = match path.as_str() {
            "app/lib" => BaseKind::Symlink("usr/lib".into()),
            "app/var" => BaseKind::Directory,
            _ => return None,
        };
        Some(BaseEntry { kind, mode: 0o700, uid: 3, gid: 3 })
    }
}

#[test]
fn an_empty_folder_does_not_hide_the_bases() {
    let project = Project::new(&[("src/a.txt", "")]);
    std::fs::create_dir(project.path("src/var")).unwrap();
    let layer = project.layer(BytecodeMode::None);
    let tree = project.with(&UsrMerged, |context| layer.tree(context)).unwrap();
    assert_eq!(listing(&tree), ["app/a.txt 644"]);
    std::fs::create_dir(project.path("src/lib")).unwrap();
    let layer = project.layer(BytecodeMode::None);
    let error = project.with(&UsrMerged, |context| layer.tree(context)).unwrap_err();
    assert!(error.to_string().contains("`/app/lib` is a link to `usr/lib`, expected a folder"), "{error}");
}

#[test]
fn bytecode_without_a_compiler_is_a_bug_of_the_caller() {
    let project = Project::new(&[("src/a.py", "")]);
    let spec = AppSpec { mode: BytecodeMode::Only, ..project.layer(BytecodeMode::None).spec };
    let error = project.with(&EmptyBase, |context| AppLayer::new(spec).tree(context)).unwrap_err();
    assert_eq!(
        (error.class().code(), error.to_string().as_str()),
        (1, "the app's bytecode was asked for without a compiler")
    );
}

/// What a program does that writes without moving the file's times: the note has another content.
fn mislead(project: &Project, file: &str) {
    let stamps = Stamps::open(&project.store, &project.path("src"));
    let found = Stamp::of(&std::fs::symlink_metadata(project.path("src").join(file)).unwrap());
    stamps.note(file, found, Digest::of(b"old"), Moment::now());
    stamps.save();
}

#[test]
fn after_a_stamp_that_was_wrong_the_next_build_is_right() {
    let project = Project::new(&[("src/a.txt", "new"), ("src/m.py", "x = 1\n"), ("src/big.bin", &"x".repeat(3 << 20))]);
    std::thread::sleep(std::time::Duration::from_millis(120));
    for file in ["a.txt", "m.py", "big.bin"] {
        mislead(&project, file);
        let error = project.error(BytecodeMode::Only).to_string();
        assert!(error.ends_with(&format!("`src/{file}` changed while the layer was made")), "{error}");
        assert_eq!(bytes(&project.tree(BytecodeMode::Only).unwrap(), "app/a.txt"), b"new", "{file}");
    }
}

#[test]
fn a_store_without_stamps_has_every_file_read() {
    let mut project = Project::new(&[("src/a.txt", "new")]);
    std::thread::sleep(std::time::Duration::from_millis(120));
    let truth = project.fingerprint(BytecodeMode::None);
    mislead(&project, "a.txt");
    assert_ne!(project.fingerprint(BytecodeMode::None), truth, "a wrong stamp is believed");
    let believing = project.store.clone();
    project.store = believing.without_stamps();
    assert_eq!(project.fingerprint(BytecodeMode::None), truth);
    assert_eq!(bytes(&project.tree(BytecodeMode::None).unwrap(), "app/a.txt"), b"new");
    // And the next build needs not be told again, whether there was something to note or not.
    project.store = believing.clone();
    assert_eq!(project.fingerprint(BytecodeMode::None), truth);
    mislead(&project, "a.txt");
    Stamps::open(&believing.without_stamps(), &project.path("src")).save();
    assert_eq!(project.fingerprint(BytecodeMode::None), truth);
}
