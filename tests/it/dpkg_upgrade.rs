//! Packages over older ones: the root that Ingot makes against the one that dpkg makes of the same packages.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ingot::debian::{Deb, Installed, Keep, Root, database, install};
use ingot::fs::Mapped;
use ingot::image::Rootfs;
use ingot::layer::{BaseKind, LayerBlob, Origin, Store, TreePath, write_layer};
use ingot::oci::media_type::Compression;
use ingot::oci::{Descriptor, Digest};
use ingot::progress::Progress;

use super::support::{Ran, Scratch, tool};

/// A package in code: its name, version, architecture, further fields, files (a target after `->` makes a link,
/// after `=` a hard link, a final `/` a folder), and files of its control tar.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
    fields: &'a str,
    files: &'a [(&'a str, &'a str)],
    control: &'a [(&'a str, &'a str)],
}

impl Package<'_> {
    /// The .deb, made by dpkg-deb.
    fn build(&self, scratch: &Scratch) -> PathBuf {
        let folder = scratch.join(format!("build-{}-{}-{}", self.name, self.version, self.architecture));
        let write = |path: &str, text: &str| {
            let path = folder.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.split_once(' ') {
                _ if text == "/" => std::fs::create_dir_all(&path).unwrap(),
                Some(("->", target)) => symlink(target, &path).unwrap(),
                Some(("=", first)) => std::fs::hard_link(folder.join(first), &path).unwrap(),
                _ => std::fs::write(&path, text).unwrap(),
            }
        };
        let Package { name, version, architecture, fields, .. } = self;
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nPriority: optional\nSection: misc\n\
             Maintainer: Nobody <nobody@archive.example>\n{fields}Description: a package\n of a test\n"
        );
        write("DEBIAN/control", &control);
        self.control.iter().for_each(|(path, text)| write(&format!("DEBIAN/{path}"), text));
        self.files.iter().for_each(|(path, text)| write(path, text));
        let plain = |(_, text): &&(&str, &str)| !text.starts_with("-> ") && *text != "/" && !text.starts_with("= ");
        let sums = self.files.iter().filter(plain).map(|(path, _)| path.trim_start_matches('/'));
        let mut command = Command::new(tool("md5sum", "coreutils"));
        command.args(sums).current_dir(&folder);
        let sums = Ran::of(command).ok().stdout;
        std::fs::write(folder.join("DEBIAN/md5sums"), sums).unwrap();
        let file = folder.with_extension("deb");
        // Every way in which a package may be packed.
        let packed = ["-Znone", "-Zgzip", "-Zxz", "-Zzstd"][usize::from(name.as_bytes()[0]) % 4];
        let mut command = Command::new(tool("dpkg-deb", "dpkg"));
        command.args(["--root-owner-group", packed, "-b"]).arg(&folder).arg(&file);
        Ran::of(command).ok();
        file
    }
}

fn package<'a>(name: &'a str, version: &'a str, fields: &'a str, files: &'a [(&'a str, &'a str)]) -> Package<'a> {
    Package { name, version, architecture: "all", fields, files, control: &[] }
}

/// A root that dpkg accepts.
fn fresh(scratch: &Scratch, name: &str) -> PathBuf {
    let root = scratch.join(name);
    for folder in ["info", "updates", "triggers"] {
        std::fs::create_dir_all(root.join("var/lib/dpkg").join(folder)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    for folder in ["bin", "lib"] {
        std::fs::create_dir_all(root.join("usr").join(folder)).unwrap();
        symlink(format!("usr/{folder}"), root.join(folder)).unwrap();
    }
    root
}

fn as_root(program: &str, package: &str) -> Command {
    let program = tool(program, package);
    if rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(tool("unshare", "util-linux"));
    command.args(["--user", "--map-root-user"]).arg(program);
    command
}

fn dpkg(root: &Path, args: &[&str], debs: &[PathBuf]) -> Ran {
    let mut command = as_root("dpkg", "dpkg");
    command.arg(format!("--root={}", root.display())).args(["--log=/dev/null", "--force-confdef", "--force-confold"]);
    command.args(["--force-architecture", "--force-depends"]).args(args).args(debs).env("LC_ALL", "C");
    // Programs that dpkg wants to see.
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    Ran::of(command)
}

/// Path to kind, mode and content.
type Listing = BTreeMap<String, String>;

fn text_of(path: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    // The order in a list is the package's.
    if path.ends_with(".list") {
        lines.sort_unstable();
    }
    lines.join("\n")
}

/// What dpkg keeps for itself.
fn is_internal(path: &str) -> bool {
    let name = path.strip_prefix("var/lib/dpkg/").unwrap_or("");
    // What the administrator could have instead of his own file: Ingot asks nobody.
    path.ends_with(".dpkg-dist")
        || ["status-old", "lock", "lock-frontend", "triggers/Lock", "triggers/Unincorp", "diversions-old"]
            .contains(&name)
}

fn disk(root: &Path) -> Listing {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    let listed = entries.map(|entry| {
        let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let found = std::fs::symlink_metadata(entry.path()).unwrap();
        let mode = found.permissions().mode() & 0o7777;
        let line = if found.is_dir() {
            format!("folder {mode:o}")
        } else if found.is_symlink() {
            format!("-> {}", std::fs::read_link(entry.path()).unwrap().display())
        } else {
            format!("{mode:o} {}", text_of(&path, &std::fs::read(entry.path()).unwrap()))
        };
        (path, line)
    });
    listed.filter(|(path, _)| !is_internal(path)).collect()
}

/// The folder as the one layer of an image.
fn layer(root: &Path, store: &Store) -> LayerBlob {
    let mut command = as_root("tar", "tar");
    let file = root.with_extension("tar");
    command.args(["--numeric-owner", "--sort=name", "-cf"]).arg(&file).arg("-C").arg(root).arg(".");
    Ran::of(command).ok();
    let bytes = std::fs::read(&file).unwrap();
    store.put(&bytes).unwrap();
    let descriptor = Descriptor::of(Compression::None.media_type(), &bytes);
    blob(descriptor, Digest::of(&bytes), bytes.len() as u64)
}

fn blob(descriptor: Descriptor, diff_id: Digest, size: u64) -> LayerBlob {
    let (name, created_by) = ("layer".to_string(), String::new());
    LayerBlob { descriptor, diff_id, uncompressed_size: Some(size), name, created_by, origin: Origin::Store }
}

fn rootfs(layers: &[LayerBlob], store: &Store) -> Rootfs {
    Rootfs::open(layers, Arc::new(store.clone()), store, &Progress::silent()).unwrap()
}

/// What Ingot makes of a root and these packages.
fn ours(root: &Path, debs: &[PathBuf], store: &Store) -> Listing {
    let base = layer(root, store);
    let below = Arc::new(rootfs(std::slice::from_ref(&base), store));
    let open = |path: &PathBuf| Deb::open(Arc::new(Mapped::open(path).unwrap()), "test", store).unwrap();
    let debs: Vec<Deb> = debs.iter().map(open).collect();
    let installed = Installed::of(&below).unwrap();
    let mut installation = install(Root::new(below.clone()), &debs, &installed, &Keep::default()).unwrap();
    database::write(&mut installation, &debs, &installed).unwrap();
    let mut tree = installation.root.finish().unwrap();
    tree.complete(&*below).unwrap();
    let task = Progress::silent().task("test", None);
    let record = write_layer("os", &tree, Compression::None, store, &task).unwrap();
    let whole = rootfs(&[base, blob(record.descriptor, record.diff_id, record.uncompressed_size)], store);
    let paths: Vec<TreePath> = whole.iter().map(|(path, _)| path.clone()).collect();
    let contents = whole.read_many(&paths, 1 << 20).unwrap();
    let lines = whole.iter().map(|(path, entry)| {
        let line = match &entry.kind {
            BaseKind::Directory => format!("folder {:o}", entry.mode),
            BaseKind::Symlink(target) => format!("-> {target}"),
            _ => format!("{:o} {}", entry.mode, text_of(path.as_str(), &contents[path])),
        };
        (path.to_string(), line)
    });
    lines.filter(|(path, _)| !is_internal(path)).collect()
}

#[track_caller]
fn same(expected: &Listing, found: &Listing) {
    let paths: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let paths = paths.into_iter().filter(|path| expected.get(*path) != found.get(*path));
    let shown: Vec<String> =
        paths.map(|path| format!("{path}\n  dpkg  {:?}\n  ingot {:?}", expected.get(path), found.get(path))).collect();
    assert!(shown.is_empty(), "dpkg and Ingot differ:\n{}", shown.join("\n"));
}

/// Installs `old` with dpkg, changes the root, then `new` with both.
fn compare(old: &[Package], change: impl Fn(&Path), new: &[Package], extra: &[&str]) -> Listing {
    let scratch = Scratch::new();
    let store = Store::open_at(&scratch.join("store")).unwrap();
    let root = fresh(&scratch, "root");
    let build = |packages: &[Package]| -> Vec<PathBuf> { packages.iter().map(|one| one.build(&scratch)).collect() };
    if !old.is_empty() {
        dpkg(&root, &["-i"], &build(old)).ok();
    }
    change(&root);
    let debs = build(new);
    let found = ours(&root, &debs, &store);
    let mut reversed = debs.clone();
    reversed.reverse();
    assert_eq!(found, ours(&root, &reversed, &store), "the order of packages matters");
    let args: Vec<&str> = extra.iter().copied().chain(["-i"]).collect();
    dpkg(&root, &args, &debs).ok();
    let mut expected = disk(&root);
    // dpkg makes these when it is asked for the first time.
    let optional = ["var/lib/dpkg/info/format", "var/lib/dpkg/triggers/File", "var/lib/dpkg/diversions"];
    for path in optional {
        if found.contains_key(path) != expected.contains_key(path) {
            expected.remove(path);
        }
    }
    let mut comparable = found.clone();
    optional.iter().filter(|path| !expected.contains_key(**path)).for_each(|path| drop(comparable.remove(*path)));
    same(&expected, &comparable);
    found
}

#[test]
fn new_packages_are_installed_as_by_dpkg() {
    let a = Package {
        control: &[
            ("conffiles", "/etc/a.conf\n/etc/sub/b.conf\n"),
            ("triggers", "interest-noawait /usr/share/x\ninterest a-trigger\nactivate-noawait nobody\n"),
            ("shlibs", "liba 1 a\n"),
        ],
        architecture: "amd64",
        fields: "Multi-Arch: same\nHomepage: x\nX-Own: y\nDepends: b (>= 1),c|d\nEssential: no\nSource: s (2)\n",
        files: &[
            ("etc/a.conf", "1\n"),
            ("etc/sub/b.conf", "2\n"),
            ("usr/lib/liba.so.1", "lib"),
            ("usr/lib/liba.so", "-> liba.so.1"),
            ("lib/old", "3"),
            ("usr/share/a/one", "4"),
            ("usr/share/a/two", "= usr/share/a/one"),
            ("usr/share/a/empty", "/"),
        ],
        ..package("a", "1:2-3", "", &[])
    };
    let b = package("b", "1", "Replaces: c\n", &[("usr/share/c", "b"), ("usr/share/b", "b")]);
    let c = package("c", "1", "", &[("usr/share/c", "c"), ("usr/share/c2", "c")]);
    let found = compare(&[], |_| {}, &[a, c, b], &[]);
    assert!(found["var/lib/dpkg/info/c.list"].contains("/usr/share/c2") && found["usr/share/c"].ends_with('b'));
}

#[test]
fn older_packages_give_way_as_with_dpkg() {
    let conffiles =
        |files: &'static str| -> &'static [(&'static str, &'static str)] { Vec::leak(vec![("conffiles", files)]) };
    let old = [
        Package {
            control: conffiles("/etc/a.conf\n/etc/a.user\n/etc/a.gone\n/etc/a.obsolete\n/etc/a.same\n"),
            ..package(
                "a",
                "1",
                "",
                &[
                    ("etc/a.conf", "1\n"),
                    ("etc/a.user", "1\n"),
                    ("etc/a.gone", "1\n"),
                    ("etc/a.obsolete", "1\n"),
                    ("etc/a.same", "1\n"),
                    ("usr/share/a/old", "1"),
                    ("usr/share/a/kept", "1"),
                    ("usr/share/a/sub/deep/gone", "1"),
                    ("usr/share/a/not-empty/gone", "1"),
                    ("usr/share/a/link", "-> old"),
                    ("usr/share/a/moved", "1"),
                    ("usr/share/common/a", "1"),
                    ("lib/through", "1"),
                    ("usr/share/a/folder/x", "1"),
                ],
            )
        },
        package("b", "1", "", &[("usr/share/b/taken", "1"), ("usr/share/b/left", "1"), ("usr/share/common/b", "1")]),
        package("e", "1", "", &[("usr/share/e/moves", "1"), ("usr/share/e/stays", "1")]),
        Package { architecture: "amd64", ..package("d", "1", "Multi-Arch: same\n", &[("usr/lib/d", "1")]) },
        Package {
            control: &[("triggers", "interest-noawait /usr/share/t\ninterest t1\n"), ("shlibs", "t 1 t\n")],
            ..package("t", "1", "", &[("usr/share/t/x", "1")])
        },
        package("z", "1", "", &[("usr/share/z", "1")]),
    ];
    let new = [
        Package {
            control: conffiles("/etc/a.conf\n/etc/a.user\n/etc/a.gone\n/etc/a.same\n/etc/a.new\n/etc/a.there\n"),
            ..package(
                "a",
                "2",
                "Replaces: e (<< 2)\n",
                &[
                    ("etc/a.conf", "2\n"),
                    ("etc/a.user", "2\n"),
                    ("etc/a.gone", "2\n"),
                    ("etc/a.same", "1\n"),
                    ("etc/a.new", "2\n"),
                    ("etc/a.there", "2\n"),
                    ("usr/share/a/kept", "2"),
                    ("usr/share/a/link", "-> kept"),
                    ("usr/share/a/unowned", "2"),
                    ("usr/share/e/moves", "2"),
                    ("usr/lib/through", "2"),
                    ("usr/share/a/folder", "-> ../elsewhere"),
                ],
            )
        },
        package("c", "1", "Replaces: b\n", &[("usr/share/b/taken", "2")]),
        package("e", "2", "", &[("usr/share/e/stays", "2")]),
        Package { architecture: "amd64", ..package("d", "2", "Multi-Arch: same\n", &[("usr/lib/d", "2")]) },
        Package { control: &[("triggers", "interest t2\n")], ..package("t", "2", "", &[("usr/share/t/x", "2")]) },
    ];
    let change = |root: &Path| {
        std::fs::write(root.join("etc/a.user"), "mine\n").unwrap();
        std::fs::remove_file(root.join("etc/a.gone")).unwrap();
        std::fs::write(root.join("etc/a.there"), "mine\n").unwrap();
        std::fs::write(root.join("usr/share/a/unowned"), "1").unwrap();
        std::fs::write(root.join("usr/share/a/not-empty/mine"), "1").unwrap();
    };
    let found = compare(&old, change, &new, &[]);
    for gone in ["usr/share/a/old", "usr/share/a/sub", "usr/share/a/moved", "etc/a.gone"] {
        assert!(!found.contains_key(gone), "{gone}");
    }
    assert!(found["etc/a.user"].ends_with("mine") && found["etc/a.conf"].ends_with('2'));
    assert!(found["var/lib/dpkg/status"].contains("/etc/a.obsolete b026324c6904b2a9cb4b88d6d61c81d1 obsolete"));
}

#[test]
fn diversions_of_the_base_hold_as_with_dpkg() {
    let old = [
        package("d", "1", "", &[("usr/share/x", "d")]),
        package("a", "1", "", &[("usr/share/a", "1"), ("usr/share/y", "1"), ("usr/share/gone", "1")]),
    ];
    let new = [
        package("a", "2", "", &[("usr/share/a", "2"), ("usr/share/x", "2"), ("usr/share/y", "2")]),
        package("b", "1", "", &[("usr/share/local", "b")]),
    ];
    let change = |root: &Path| {
        let divert = |args: &[&str]| {
            let mut command = as_root("dpkg-divert", "dpkg");
            command.arg(format!("--root={}", root.display())).args(args).env("LC_ALL", "C");
            Ran::of(command).ok();
        };
        divert(&["--package", "d", "--no-rename", "--divert", "/usr/share/x.d", "--add", "/usr/share/x"]);
        divert(&["--package", "d", "--rename", "--divert", "/usr/share/y.d", "--add", "/usr/share/y"]);
        divert(&["--package", "d", "--rename", "--divert", "/usr/share/gone.d", "--add", "/usr/share/gone"]);
        divert(&["--local", "--rename", "--add", "/usr/share/local"]);
    };
    let found = compare(&old, change, &new, &[]);
    for (path, text) in [("x", "644 d"), ("x.d", "644 2"), ("y.d", "644 2"), ("local.distrib", "644 b")] {
        assert_eq!(found[&format!("usr/share/{path}")], text);
    }
    assert!(!found.contains_key("usr/share/gone.d") && !found.contains_key("usr/share/y"));
}
