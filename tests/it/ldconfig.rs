//! What Ingot configures natively against what the real tools make of the same packages.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ingot::debian::Root;
use ingot::debian::configure::{Options, Scripts, configure};
use ingot::image::Rootfs;
use ingot::layer::{Content, Entry, Kind, LayerBlob, LayerTree, Origin, Store, TreePath, write_layer};
use ingot::oci::media_type::Compression;
use ingot::progress::Progress;

use crate::support::{Ran, Scratch, tool};

/// Packages of this machine's release, fetched by apt as they are.
fn download(scratch: &Scratch, packages: &[&str]) -> BTreeMap<String, PathBuf> {
    let folder = scratch.join("debs");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(tool("apt-get", "apt"));
    command.args(["-q", "download"]).args(packages).current_dir(&folder);
    Ran::of(command).ok();
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().split('_').next().unwrap().to_string(), path))
        .collect()
}

/// A root with a merged /usr and what these packages have.
fn unpack(scratch: &Scratch, name: &str, debs: &BTreeMap<String, PathBuf>, packages: &[&str]) -> PathBuf {
    let root = scratch.join(name);
    for folder in ["bin", "sbin", "lib", "lib64"] {
        std::fs::create_dir_all(root.join("usr").join(folder)).unwrap();
        symlink(format!("usr/{folder}"), root.join(folder)).unwrap();
    }
    for package in packages {
        let deb = debs.get(*package).unwrap_or_else(|| panic!("apt did not download {package}"));
        let mut command = Command::new("sh");
        command.args(["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"", "sh"]);
        Ran::of({
            command.arg(deb).arg(&root);
            command
        })
        .ok();
    }
    root
}

/// The same folder as a layer's tree over nothing.
fn load(folder: &Path) -> Root {
    let mut root = Root::new(Arc::new(Rootfs::empty()));
    let input: Arc<str> = "the test's packages".into();
    for found in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let found = found.unwrap();
        let path = TreePath::new(found.path().strip_prefix(folder).unwrap().to_str().unwrap()).unwrap();
        let metadata = found.path().symlink_metadata().unwrap();
        let kind = if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_symlink() {
            Kind::Symlink(std::fs::read_link(found.path()).unwrap().to_str().unwrap().to_string())
        } else {
            Kind::File(Content::File { path: found.path().to_path_buf(), size: metadata.len() })
        };
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let mode = metadata.permissions().mode() & 0o7777;
        root.insert(&path, Entry { kind, mode, uid, gid, input: input.clone() }).unwrap();
    }
    root
}

fn options() -> Options {
    let architecture = Ran::of({
        let mut command = Command::new(tool("dpkg", "dpkg"));
        command.arg("--print-architecture");
        command
    });
    Options { architecture: architecture.ok().stdout.trim().to_string(), fresh: true }
}

/// The links below a folder, by path.
fn links(root: &Root, folder: &str) -> BTreeMap<String, String> {
    let link = |(path, entry): (&TreePath, &Entry)| match &entry.kind {
        Kind::Symlink(target) => Some((path.to_string(), target.clone())),
        _ => None,
    };
    root.tree().iter().filter_map(link).filter(|(path, _)| path.starts_with(folder)).collect()
}

#[test]
fn the_cache_of_libraries_is_ldconfigs_own() {
    let sets: [(&str, &[&str]); 12] = [
        ("libc", &[]),
        ("compression", &["zlib1g", "libbz2-1.0", "liblzma5", "libzstd1", "liblz4-1"]),
        ("python", &["libpython3.11-minimal", "libpython3.11-stdlib", "libexpat1", "libffi8", "libsqlite3-0"]),
        ("libpython", &["libpython3.11", "libreadline8", "libtinfo6", "libncursesw6", "libdb5.3"]),
        ("openssl", &["libssl3", "libgmp10", "libcrypt1"]),
        ("postgres", &["libpq5", "libgssapi-krb5-2", "libkrb5-3", "libldap-2.5-0", "libsasl2-2", "libcom-err2"]),
        ("compiler", &["libgcc-s1", "libstdc++6", "libgomp1", "libquadmath0", "libgfortran5"]),
        ("development", &["zlib1g", "zlib1g-dev", "libexpat1", "libexpat1-dev", "libssl-dev", "libssl3"]),
        ("blas", &["libblas3", "liblapack3", "libgfortran5"]),
        ("graphics", &["libgl1", "libglvnd0", "libglx0", "libx11-6", "libxcb1", "libdrm2"]),
        ("images", &["libjpeg62-turbo", "libpng16-16", "libtiff6", "libwebp7", "libfreetype6"]),
        ("system", &["libsystemd0", "libudev1", "libmount1", "libblkid1", "libuuid1", "libselinux1", "libpcre2-8-0"]),
    ];
    let mut wanted: Vec<&str> = sets.iter().flat_map(|(_, packages)| packages.iter().copied()).collect();
    wanted.extend(["libc6", "libc-bin"]);
    wanted.sort_unstable();
    wanted.dedup();
    let scratch = Scratch::new();
    let debs = download(&scratch, &wanted);
    let options = options();
    for (name, packages) in sets {
        let packages: Vec<&str> = ["libc6", "libc-bin"].iter().chain(packages).copied().collect();
        let folder = unpack(&scratch, name, &debs, &packages);
        if name == "compression" {
            hardware_folders(&folder);
        }
        let mut root = load(&folder);
        configure(&mut root, &[], &options).unwrap();
        let ours = root.read("/etc/ld.so.cache", 1 << 20).unwrap().unwrap();

        let mut command = Command::new(tool("ldconfig", "libc-bin"));
        command.arg("-r").arg(&folder);
        Ran::of(command).ok();
        let theirs = std::fs::read(folder.join("etc/ld.so.cache")).unwrap();
        if ours != theirs {
            std::fs::write(folder.join("ours"), &ours).unwrap();
            let print = |file: &str| {
                let mut command = Command::new(tool("ldconfig", "libc-bin"));
                command.arg("-p").arg("-C").arg(folder.join(file));
                Ran::of(command).stdout
            };
            assert_eq!(print("ours"), print("etc/ld.so.cache"), "{name}");
            panic!("{name}: same entries, other bytes: {} and {}", ours.len(), theirs.len());
        }
        assert_eq!(links(&root, "usr/lib"), links(&load(&folder), "usr/lib"), "{name}");
    }
}

/// Libraries for better processors, a second version of one, a link to elsewhere, and what is no library.
fn hardware_folders(folder: &Path) {
    let mut libraries = std::fs::read_dir(folder.join("lib")).unwrap().map(|found| found.unwrap().path());
    let libraries = libraries.find(|path| path.to_str().unwrap().ends_with("-linux-gnu")).unwrap();
    let zlib = libraries.join("libz.so.1.2.13");
    for level in ["x86-64-v3", "x86-64-v2", "empty"] {
        std::fs::create_dir_all(libraries.join("glibc-hwcaps").join(level)).unwrap();
        if level != "empty" {
            std::fs::copy(&zlib, libraries.join("glibc-hwcaps").join(level).join("libz.so.1.2.13")).unwrap();
        }
    }
    std::fs::copy(&zlib, libraries.join("libz.so.1.2.9")).unwrap();
    std::fs::remove_file(libraries.join("libbz2.so.1.0")).unwrap();
    std::fs::remove_file(libraries.join("liblzma.so.5")).unwrap();
    std::fs::write(libraries.join("libtext.so"), "INPUT(-lz)").unwrap();
    std::fs::write(libraries.join("libempty.so.1"), "").unwrap();
    std::fs::create_dir_all(folder.join("usr/local/lib/more")).unwrap();
    std::fs::copy(&zlib, folder.join("usr/local/lib/libz.so.1.3")).unwrap();
    std::fs::copy(&zlib, folder.join("usr/local/lib/more/libother.so")).unwrap();
    std::fs::write(folder.join("etc/ld.so.conf.d/more.conf"), "# more\n/usr/local/lib/more/ # here\n/nowhere\n")
        .unwrap();
}

/// Packages as they are configured after their first installation.
fn scripts<'a>(debs: &[&'a str], scripts: &'a BTreeMap<String, BTreeMap<String, String>>) -> Vec<Scripts<'a>> {
    let one = |package: &&'a str| Scripts {
        package,
        version: "1",
        scripts: &scripts[*package],
        triggers: None,
        upgraded_from: None,
    };
    debs.iter().map(one).collect()
}

/// The maintainer scripts of packages.
fn read_scripts(debs: &BTreeMap<String, PathBuf>) -> BTreeMap<String, BTreeMap<String, String>> {
    let scratch = Scratch::new();
    let read = |deb: &PathBuf| {
        let control = scratch.join(deb.file_stem().unwrap());
        let mut command = Command::new(tool("dpkg-deb", "dpkg"));
        command.arg("-e").arg(deb).arg(&control);
        Ran::of(command).ok();
        let names = ["preinst", "postinst", "prerm", "postrm", "config"].into_iter();
        names.filter_map(|name| Some((name.to_string(), std::fs::read_to_string(control.join(name)).ok()?))).collect()
    };
    debs.iter().map(|(package, deb)| (package.clone(), read(deb))).collect()
}

#[test]
fn trusted_certificates_are_those_of_update_ca_certificates() {
    let scratch = Scratch::new();
    let packages = ["ca-certificates"];
    let debs = download(&scratch, &packages);
    let folder = unpack(&scratch, "certificates", &debs, &packages);
    // Names that are changed, a file without a line end, one that is there twice, one that is no certificate.
    let local = folder.join("usr/local/share/ca-certificates/deep");
    std::fs::create_dir_all(&local).unwrap();
    let mozilla = folder.join("usr/share/ca-certificates/mozilla");
    let some = std::fs::read_to_string(mozilla.join("GlobalSign_Root_R46.crt")).unwrap();
    std::fs::write(local.join("A (new), one.crt"), some.trim_end()).unwrap();
    std::fs::write(local.join("none.crt"), "nothing\n").unwrap();
    std::fs::write(folder.join("etc/ssl/certs/own.pem"), &some).unwrap();

    let mut root = load(&folder);
    let all = read_scripts(&debs);
    configure(&mut root, &scripts(&packages, &all), &options()).unwrap();
    let configuration = root.read_text("/etc/ca-certificates.conf", 1 << 20).unwrap().unwrap();
    assert!(configuration.starts_with("# This file lists certificates that you wish to use or to ignore to be\n"));
    let mut listed: Vec<&str> = configuration.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(listed.len() > 100 && listed.is_sorted(), "{}", listed.len());
    listed.dedup();
    assert_eq!(listed.len(), std::fs::read_dir(&mozilla).unwrap().count());

    std::fs::write(folder.join("etc/ca-certificates.conf"), &configuration).unwrap();
    tool("openssl", "openssl");
    let mut command = Command::new("sh");
    command.arg(folder.join("usr/sbin/update-ca-certificates")).arg("--sysroot").arg(&folder).args(["--hooksdir", ""]);
    Ran::of(command).ok();
    let prefix = format!("{}/", folder.to_str().unwrap());
    let theirs: BTreeMap<String, String> = links(&load(&folder), "etc/ssl/certs")
        .into_iter()
        .map(|(path, target)| {
            (
                path,
                target
                    .strip_prefix(&prefix)
                    .map_or(target.clone(), |rest| format!("/{}", rest.trim_start_matches('/'))),
            )
        })
        .collect();
    assert_eq!(links(&root, "etc/ssl/certs"), theirs);
    let bundle = root.read("/etc/ssl/certs/ca-certificates.crt", 1 << 24).unwrap().unwrap();
    assert!(bundle == std::fs::read(folder.join("etc/ssl/certs/ca-certificates.crt")).unwrap(), "{}", bundle.len());
}

/// The same tree as the one layer of a base.
fn below(scratch: &Scratch, name: &str, tree: &LayerTree) -> Arc<Rootfs> {
    let store = Store::open_at(&scratch.join(format!("store-{name}"))).unwrap();
    let progress = Progress::silent();
    let record = write_layer(name, tree, Compression::None, &store, &progress.task(name, None)).unwrap();
    let layer = LayerBlob {
        descriptor: record.descriptor,
        diff_id: record.diff_id,
        uncompressed_size: Some(record.uncompressed_size),
        name: name.into(),
        created_by: String::new(),
        origin: Origin::Store,
    };
    Arc::new(Rootfs::open(&[layer], Arc::new(store.clone()), &store, &progress).unwrap())
}

#[test]
fn libraries_of_a_base_are_taken_from_its_cache_or_read() {
    let scratch = Scratch::new();
    let base = ["libc6", "libc-bin", "libbz2-1.0", "zlib1g", "zlib1g-dev", "libexpat1"];
    let more = ["liblzma5", "libexpat1-dev", "libffi8"];
    let debs = download(&scratch, &[&base[..], &more[..]].concat());
    let folder = unpack(&scratch, "base", &debs, &base);
    let ldconfig = |folder: &Path| {
        let mut command = Command::new(tool("ldconfig", "libc-bin"));
        command.arg("-r").arg(folder);
        Ran::of(command).ok();
        std::fs::read(folder.join("etc/ld.so.cache")).unwrap()
    };
    let bare = below(&scratch, "bare", load(&folder).tree());
    ldconfig(&folder);
    let cached = below(&scratch, "cached", load(&folder).tree());
    let upper = unpack(&scratch, "upper", &debs, &more);
    let whole = unpack(&scratch, "whole", &debs, &[&base[..], &more[..]].concat());
    // One library of the base is replaced by a newer file, one is removed.
    let mut libraries = std::fs::read_dir(whole.join("usr/lib")).unwrap().map(|found| found.unwrap().path());
    let libraries = libraries.find(|path| path.to_str().unwrap().ends_with("-linux-gnu")).unwrap();
    let libraries = libraries.strip_prefix(&whole).unwrap().to_path_buf();
    let newer = std::fs::read(folder.join(&libraries).join("libz.so.1.2.13")).unwrap();
    for root in [&upper, &whole] {
        std::fs::write(root.join(&libraries).join("libz.so.1.9"), &newer).unwrap();
    }
    for entry in std::fs::read_dir(whole.join(&libraries)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("libbz2") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let theirs = ldconfig(&whole);
    for (name, base) in [("bare", bare), ("cached", cached)] {
        let mut root = Root::new(base);
        for (path, entry) in load(&upper).tree().iter() {
            root.replace(path, entry.clone());
        }
        let gone: Vec<TreePath> = root.list(&format!("/{}", libraries.display())).into_keys().collect();
        gone.iter().filter(|path| path.name().starts_with("libbz2")).for_each(|path| root.remove(path));
        configure(&mut root, &[], &options()).unwrap();
        let ours = root.read("/etc/ld.so.cache", 1 << 20).unwrap().unwrap();
        assert!(ours == theirs, "{name}: {} and {} bytes", ours.len(), theirs.len());
        assert_eq!(
            root.resolve("/lib/x86_64-linux-gnu/libz.so.1").map(|path| path.name().to_string()).unwrap_or_default(),
            "libz.so.1.9",
            "{name}"
        );
    }
}

#[test]
fn alternatives_are_those_of_update_alternatives() {
    let scratch = Scratch::new();
    let packages = [
        "mawk",
        "original-awk",
        "nano",
        "vim-tiny",
        "vim-common",
        "less",
        "util-linux",
        "netcat-openbsd",
        "debianutils",
        "bash",
    ];
    let debs = download(&scratch, &packages);
    let folder = unpack(&scratch, "alternatives", &debs, &packages);
    // Man pages are left out, as Ingot leaves them out, but for those of one package.
    for found in walkdir::WalkDir::new(folder.join("usr/share/man")).into_iter().map(Result::unwrap) {
        let name = found.file_name().to_str().unwrap();
        if !found.file_type().is_dir() && !name.starts_with("mawk") {
            std::fs::remove_file(found.path()).unwrap();
        }
    }
    let mut root = load(&folder);
    let all = read_scripts(&debs);
    let configured = configure(&mut root, &scripts(&packages, &all), &options()).unwrap();
    assert_eq!(configured.not_run, []);

    // The same calls, made by the real program.
    let admin = folder.join("var/lib/dpkg");
    for made in ["var/lib/dpkg/alternatives", "etc/alternatives"] {
        std::fs::create_dir_all(folder.join(made)).unwrap();
    }
    let mut calls = 0;
    for package in packages {
        let text = all[package].get("postinst").cloned().unwrap_or_default().replace("\\\n", " ");
        for line in text.lines().filter(|line| line.trim_start().starts_with("update-alternatives")) {
            let Some((_, line)) = line.split_once("--install") else { continue };
            let line = line.replace("|| true", "");
            let words: Vec<&str> = ["--install"].into_iter().chain(line.split_whitespace()).collect();
            if words.len() < 5 || line.contains('$') {
                continue;
            }
            let mut command = Command::new(tool("update-alternatives", "dpkg"));
            command.arg("--root").arg(&folder).arg("--admindir").arg(admin.join("alternatives")).args(words);
            calls += usize::from(Ran::of(command).code == 0);
        }
    }
    assert!(calls > 5, "{calls}");
    let theirs = load(&folder);
    let mut compared = 0;
    for (path, _) in theirs.list("/var/lib/dpkg/alternatives") {
        let state = |root: &Root| root.read_text(&format!("/{path}"), 1 << 20).unwrap();
        assert_eq!(state(&root), state(&theirs), "{path}");
        let text = state(&theirs).unwrap();
        for link in
            text.lines().skip(1).filter(|line| line.starts_with("/usr/bin/") || line.starts_with("/usr/share/man"))
        {
            let target = |root: &Root| root.resolve(link);
            assert_eq!(target(&root), target(&theirs), "{link}");
        }
        compared += 1;
    }
    assert!(compared > 5, "{compared}");
    assert_eq!(
        links(&root, "etc/alternatives")
            .into_iter()
            .filter(|(path, _)| theirs.exists(path))
            .collect::<BTreeMap<_, _>>(),
        links(&theirs, "etc/alternatives")
    );
}

#[test]
fn the_python_set_is_configured_and_nothing_that_matters_is_left() {
    let scratch = Scratch::new();
    let packages = [
        "base-files",
        "base-passwd",
        "libc6",
        "libc-bin",
        "libcrypt1",
        "libgcc-s1",
        "gcc-12-base",
        "zlib1g",
        "libexpat1",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
        "python3.11-minimal",
        "python3.11",
        "python3-minimal",
        "libpython3-stdlib",
        "python3",
        "libssl3",
        "libbz2-1.0",
        "liblzma5",
        "libdb5.3",
        "libffi8",
        "libncursesw6",
        "libtinfo6",
        "libreadline8",
        "readline-common",
        "libsqlite3-0",
        "libuuid1",
        "libnsl2",
        "libtirpc3",
        "libtirpc-common",
        "media-types",
        "netbase",
        "tzdata",
        "ca-certificates",
        "openssl",
        "debianutils",
    ];
    let debs = download(&scratch, &packages);
    let folder = unpack(&scratch, "python", &debs, &packages);
    let mut root = load(&folder);
    let all = read_scripts(&debs);
    let configured = configure(&mut root, &scripts(&packages, &all), &options()).unwrap();
    assert_eq!((configured.not_run, configured.notes), (Vec::new(), Vec::new()));
    let text = |path: &str| root.read_text(path, 1 << 20).unwrap().unwrap_or_else(|| panic!("{path} is missing"));
    let entry = |path: &str| root.entry(&TreePath::new(path).unwrap()).unwrap_or_else(|| panic!("{path} is missing"));
    let link = |path: &str| match entry(path).kind {
        ingot::layer::BaseKind::Symlink(target) => target,
        other => panic!("{path}: {other:?}"),
    };
    assert!(text("/etc/passwd").starts_with("root:*:0:0:root:/root:/bin/bash\n"));
    assert!(text("/etc/group").contains("\nstaff:*:50:\n"));
    assert!(text("/etc/nsswitch.conf").contains("\nhosts:"));
    assert_eq!(text("/etc/timezone"), "Etc/UTC\n");
    assert_eq!(link("etc/localtime"), "/usr/share/zoneinfo/Etc/UTC");
    assert_eq!(
        (link("var/run"), link("var/lock"), link("usr/local/man")),
        ("/run".into(), "/run/lock".into(), "share/man".into())
    );
    assert_eq!((entry("var/mail").mode, entry("var/mail").gid, entry("root").mode), (0o2775, 8, 0o700));
    assert!(root.exists("/usr/local/lib/python3.11/dist-packages") && root.exists("/etc/python3/debian_config"));
    assert!(root.exists("/etc/ssl/certs/ca-certificates.crt") && root.exists("/etc/ld.so.cache"));
    // Twice is once: what is configured already stays as it is.
    let before: Vec<String> = root.tree().iter().map(|(path, entry)| format!("{path} {:?}", entry.mode)).collect();
    configure(&mut root, &scripts(&packages, &all), &options()).unwrap();
    let after: Vec<String> = root.tree().iter().map(|(path, entry)| format!("{path} {:?}", entry.mode)).collect();
    assert_eq!(before, after);
}
