//! What Ingot configures natively against what the real tools make of the same packages.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ingot::debian::Root;
use ingot::debian::configure::{Options, Scripts, configure};
use ingot::image::Rootfs;
use ingot::layer::{Content, Entry, Kind, TreePath};

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
        ("blas", &["libblas3", "liblapack3", "libgfortran5", "libopenblas0-pthread"]),
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
    let libraries = std::fs::read_dir(folder.join("lib")).unwrap().map(|found| found.unwrap().path());
    let libraries = libraries.filter(|path| path.to_str().unwrap().ends_with("-linux-gnu")).next().unwrap();
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
    let read = |deb: &PathBuf| {
        let found = ["preinst", "postinst", "prerm", "postrm", "config"].into_iter().filter_map(|name| {
            let mut command = Command::new(tool("dpkg-deb", "dpkg"));
            command.arg("-I").arg(deb).arg(name);
            let ran = Ran::of(command);
            (ran.code == 0).then(|| (name.to_string(), ran.stdout))
        });
        found.collect()
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
