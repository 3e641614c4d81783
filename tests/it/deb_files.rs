//! Real packages: what Ingot unpacks is what dpkg-deb unpacks, and what it says of it is what dpkg finds.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use ingot::debian::{Deb, Installed, Keep, Root, database, install};
use ingot::fs::Mapped;
use ingot::image::Rootfs;
use ingot::layer::{Entry, Kind, LayerTree, Store, TreePath, write_layer};
use ingot::oci::Digest;
use ingot::oci::media_type::Compression;
use ingot::progress::Progress;

use super::support::{Ran, Scratch, downloaded_debs, tool};

/// Packages of different kinds: libraries, interpreters, data, setuid programs, conffiles, diversions, links, fonts.
const PACKAGES: [&str; 32] = [
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "debianutils",
    "dpkg",
    "fonts-dejavu-core",
    "git",
    "libc-bin",
    "libc6",
    "libgl1",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libstdc++6",
    "login",
    "mawk",
    "media-types",
    "netbase",
    "nginx-common",
    "nodejs",
    "openssl",
    "passwd",
    "perl-base",
    "postgresql-15",
    "python3.11-minimal",
    "sudo",
    "tzdata",
    "util-linux",
    "zlib1g",
];

/// The longest file of a package that is read, in bytes.
const LIMIT: u64 = 256 << 20;

/// All packages, opened once: their files are in a folder that is gone, and in memory as maps.
struct Opened {
    paths: Vec<PathBuf>,
    debs: Vec<Deb>,
    listings: Vec<Listing>,
}

fn opened() -> &'static Opened {
    static OPENED: OnceLock<Opened> = OnceLock::new();
    OPENED.get_or_init(|| {
        let scratch = Scratch::new();
        let store = Store::open_at(&scratch.join("store")).unwrap();
        let open = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Deb::open(Arc::new(Mapped::open(path).unwrap()), &name, &store).unwrap()
        };
        let paths = downloaded_debs(&PACKAGES);
        let debs: Vec<Deb> = paths.iter().map(open).collect();
        let listings = debs.iter().map(library).collect();
        Opened { paths, debs, listings }
    })
}

/// One line for each entry: kind, mode, owner, what it is.
type Listing = BTreeMap<String, String>;

fn line(kind: &str, mode: u32, owner: (u32, u32), what: &str) -> String {
    // An ordinary user cannot unpack as root: everything is his then.
    let owner = if rustix::process::getuid().is_root() { owner } else { (0, 0) };
    format!("{kind} {mode:o} {}:{} {what}", owner.0, owner.1)
}

fn of_bytes(bytes: &[u8]) -> String {
    format!("{} {}", bytes.len(), Digest::of(bytes))
}

/// What a .deb has, as the library reads it.
fn library(deb: &Deb) -> Listing {
    let entries: BTreeMap<&TreePath, &Entry> = deb.entries.iter().map(|(path, entry)| (path, entry)).collect();
    let listed = |path: &TreePath, entry: &Entry| match &entry.kind {
        Kind::Directory => line("folder", entry.mode, (entry.uid, entry.gid), ""),
        Kind::Symlink(target) => line("link", 0o777, (entry.uid, entry.gid), target),
        Kind::File(_) | Kind::Hardlink(_) => {
            let (path, entry) = match &entry.kind {
                Kind::Hardlink(first) => (first, entries[first]),
                _ => (path, entry),
            };
            let bytes = entry.read(path, LIMIT).unwrap().unwrap();
            line("file", entry.mode, (entry.uid, entry.gid), &of_bytes(&bytes))
        }
    };
    entries.iter().map(|(path, entry)| (path.to_string(), listed(path, entry))).collect()
}

/// What is in a folder.
fn disk(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let walk = walkdir::WalkDir::new(root).min_depth(1);
    for entry in walk {
        let entry = entry.unwrap();
        let found = std::fs::symlink_metadata(entry.path()).unwrap();
        let owner = (found.uid(), found.gid());
        let mode = found.permissions().mode() & 0o7777;
        let text = if found.is_dir() {
            line("folder", mode, owner, "")
        } else if found.is_symlink() {
            line("link", 0o777, owner, &std::fs::read_link(entry.path()).unwrap().to_string_lossy())
        } else {
            line("file", mode, owner, &of_bytes(&std::fs::read(entry.path()).unwrap()))
        };
        listing.insert(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned(), text);
    }
    listing
}

#[track_caller]
fn same(name: &str, expected: &Listing, found: &Listing) {
    let differs = |path: &&String| expected.get(*path) != found.get(*path);
    let paths: BTreeSet<&String> = expected.keys().chain(found.keys()).filter(differs).collect();
    let shown: Vec<String> = paths
        .iter()
        .take(20)
        .map(|path| format!("{path}\n    expected {:?}\n    found    {:?}", expected.get(*path), found.get(*path)))
        .collect();
    assert!(paths.is_empty(), "{name}: {} entries differ\n  {}", paths.len(), shown.join("\n  "));
}

#[test]
fn packages_are_unpacked_as_dpkg_deb_unpacks_them() {
    let scratch = Scratch::new();
    let all = opened();
    for ((path, deb), listing) in all.paths.iter().zip(&all.debs).zip(&all.listings) {
        let folder = scratch.join("dpkg-deb");
        let mut command = Command::new(tool("dpkg-deb", "dpkg"));
        command.arg("-x").arg(path).arg(&folder);
        Ran::of(command).ok();
        let expected = disk(&folder);
        assert_eq!(expected.len(), deb.entries.len());
        same(&deb.package.name, &expected, listing);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// Writes a tree to the disk, by way of the layer that it becomes.
fn write_out(tree: LayerTree, scratch: &Scratch, store: &Store) -> PathBuf {
    let task = Progress::silent().task("test", None);
    let mut tree = tree;
    tree.complete(&Rootfs::empty()).unwrap();
    let record = write_layer("os", &tree, Compression::None, store, &task).unwrap();
    let root = scratch.join("root");
    std::fs::create_dir(&root).unwrap();
    let mut command = Command::new(tool("tar", "tar"));
    command.args(["--numeric-owner", "-xpf"]).arg(store.blob_path(&record.descriptor.digest)).arg("-C").arg(&root);
    Ran::of(command).ok();
    root
}

fn dpkg(program: &str, root: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(tool(program, "dpkg"));
    command.arg(format!("--root={}", root.display())).args(args).env("LC_ALL", "C");
    Ran::of(command)
}

/// A root as a fresh system has it: the folders of old are links.
fn merged_root() -> Root {
    let mut root = Root::new(Arc::new(Rootfs::empty()));
    let input: Arc<str> = "the fresh root".into();
    for name in ["bin", "lib", "lib32", "lib64", "libx32", "sbin"] {
        let path = |text: &str| TreePath::new(text).unwrap();
        root.insert(&path(name), Entry::symlink(format!("usr/{name}"), &input)).unwrap();
        root.insert(&path(&format!("usr/{name}")), Entry::directory(&input)).unwrap();
    }
    root
}

#[test]
fn dpkg_finds_what_was_installed() {
    let scratch = Scratch::new();
    let store = Store::open_at(&scratch.join("store")).unwrap();
    let debs = &opened().debs;
    let installed = Installed::empty();
    let mut installation = install(merged_root(), debs, &installed, &Keep::default()).unwrap();
    database::write(&mut installation, debs, &installed).unwrap();
    let privileged: Vec<&str> = installation.privileged.iter().map(|(path, _, _)| path.as_str()).collect();
    for path in ["usr/bin/passwd", "usr/bin/su", "usr/bin/sudo", "usr/bin/chage"] {
        assert!(privileged.contains(&path), "{path}: {privileged:?}");
    }
    assert!(installation.left_out > 10_000_000, "{}", installation.left_out);
    let root = write_out(installation.root.finish().unwrap(), &scratch, &store);

    // Less what is left out by rule, every path of every package is there, as dpkg-deb would have made it.
    let keep = Keep::default();
    let mut expected = Listing::new();
    for listing in &opened().listings {
        let merged = |path: &String| {
            let top = path.split('/').next().unwrap();
            let merged = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"].contains(&top);
            if merged { format!("usr/{path}") } else { path.clone() }
        };
        let kept = listing.iter().filter(|(path, _)| !keep.leaves_out(&TreePath::new(path).unwrap()));
        expected.extend(kept.map(|(path, line)| (merged(path), line.clone())));
    }
    let found = disk(&root);
    let only = |listing: &Listing, folders: bool| -> Listing {
        let ours = |path: &str| path.starts_with("var/lib/dpkg/");
        let kept = listing.iter().filter(|(path, line)| !ours(path) && (folders || !line.starts_with("folder")));
        kept.map(|(path, line)| (path.clone(), line.clone())).collect()
    };
    let own_links: Listing =
        found.iter().filter(|(path, _)| !path.contains('/')).map(|(a, b)| (a.clone(), b.clone())).collect();
    expected.extend(own_links);
    same("the root", &only(&expected, false), &only(&found, false));
    let empty: Vec<&String> = only(&found, true)
        .iter()
        .filter(|(path, line)| line.starts_with("folder") && expected.get(*path) != Some(line))
        .filter_map(|(path, _)| expected.get_key_value(path).map(|(path, _)| path))
        .collect();
    assert!(empty.is_empty(), "folders differ: {empty:?}");

    let verified = dpkg("dpkg", &root, &["-V"]).ok();
    assert_eq!(verified.stdout, "", "dpkg -V: {}", verified.stderr);
    let audit = dpkg("dpkg", &root, &["--audit"]).ok();
    assert_eq!(audit.stdout, "");
    let list = dpkg("dpkg-query", &root, &["-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n"]).ok();
    let mut names: Vec<String> =
        debs.iter().map(|deb| format!("ii  {} {}", deb.package.name, deb.package.version)).collect();
    names.sort();
    assert_eq!(list.stdout.lines().collect::<Vec<_>>(), names);
    for (path, owner) in [
        ("/usr/bin/python3.11", "python3.11-minimal"),
        ("/bin/sh", "dash"),
        ("/usr/share/doc/libc6/copyright", "libc6:amd64"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "libc6:amd64"),
    ] {
        let found = dpkg("dpkg-query", &root, &["-S", path]).ok();
        assert_eq!(found.stdout, format!("{owner}: {path}\n"));
    }
    assert_eq!(dpkg("dpkg-query", &root, &["-S", "/usr/share/doc/libc6/changelog.Debian.gz"]).code, 1);

    // dpkg writes the same status as soon as it writes one.
    let status = root.join("var/lib/dpkg/status");
    let before = std::fs::read_to_string(&status).unwrap();
    let mut command = Command::new(tool("dpkg", "dpkg"));
    command.arg(format!("--root={}", root.display())).arg("--set-selections");
    Ran::fed(command, b"dash hold\n").ok();
    let after = std::fs::read_to_string(&status).unwrap();
    assert_ne!(before, after);
    same_text(
        &before
            .replace("Package: dash\nEssential: yes\nStatus: install", "Package: dash\nEssential: yes\nStatus: hold"),
        &after,
    );
}

#[track_caller]
fn same_text(expected: &str, found: &str) {
    let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(expected == found, "the first line that differs: {differs:?}");
}
