//! OS packages on a base, on another architecture, updated, and refused: seen from outside.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// A project whose only variant stands on `base`.
fn project(base: &str, python: Option<&str>, os: &str) -> Project {
    let python = python.map(|version| format!("[python]\nversion = \"{version}\"\n")).unwrap_or_default();
    Project::new(&format!("[image]\nname = \"x\"\n[os]\n{os}\n{python}[variants.x]\nbase = \"{base}\"\n"))
}

/// Builds it into `name` of the ingot's folder.
#[track_caller]
fn build(ingot: &Ingot, project: &Project, name: &str, more: &[&str]) -> Ran {
    let folder = project.folder().display().to_string();
    ingot.run([&["build", &folder, "-o", &format!("oci:{name}:1")], more].concat()).ok()
}

fn plan(ingot: &Ingot, project: &Project) -> serde_json::Value {
    ingot.run(["plan", &project.folder().display().to_string(), "--format", "json"]).ok().json()
}

fn dpkg(root: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(tool("dpkg", "dpkg"));
    command.arg(format!("--root={}", root.display())).args(args);
    Ran::of(command)
}

/// dpkg's own judgement of an unpacked image.
#[track_caller]
fn dpkg_is_content(root: &Path) {
    for question in ["--verify", "--audit"] {
        assert_eq!(dpkg(root, &[question]).ok().stdout, "", "{question}");
    }
}

fn unpacked(ingot: &Ingot, name: &str, scratch: &Scratch) -> PathBuf {
    umoci(&ingot.path(name), "1", &scratch.join(name))
}

/// The versions of a package that this machine's apt knows, with the suites they are in.
fn versions(package: &str) -> Vec<(String, String)> {
    let mut command = Command::new(tool("apt-cache", "apt"));
    command.args(["madison", package]);
    let listed = Ran::of(command).ok().stdout;
    let row = |line: &str| {
        let mut parts = line.split('|').map(str::trim);
        let (version, place) = (parts.nth(1)?, parts.next()?);
        Some((version.to_owned(), place.split_whitespace().nth(1)?.to_owned()))
    };
    listed.lines().filter_map(row).collect()
}

/// A package, an old version of it, and a newer one from a security suite.
fn security_update() -> (String, String, String) {
    for package in ["libssl3", "libssl3t64", "libexpat1", "tzdata", "libc6", "libsqlite3-0"] {
        let found = versions(package);
        let secure = found.iter().find(|(_, suite)| suite.contains("-security"));
        let old = found.iter().rfind(|(_, suite)| !suite.contains('-') || suite.contains("-updates"));
        let (Some((new, _)), Some((old, _))) = (secure, old) else { continue };
        let mut command = Command::new(tool("dpkg", "dpkg"));
        command.args(["--compare-versions", old, "lt", new]);
        if Ran::of(command).code == 0 {
            return (package.into(), old.clone(), new.clone());
        }
    }
    panic!("no package has a security update: choose others (apt-cache madison)");
}

#[test]
fn a_base_with_dpkg_gets_python_and_security_updates() {
    let (release, python) = release();
    let (package, old, new) = security_update();
    let (ingot, scratch) = (distroless().ingot(), Scratch::new());
    let listed = format!("packages = [\"dpkg\", \"dash\", \"coreutils\", \"{package}={old}\"]");
    build(ingot, &project(&release, None, &listed), "base", &[]);
    let before = unpacked(ingot, "base", &scratch);
    dpkg_is_content(&before);
    let version = |root: &Path| dpkg(root, &["--list", &package]).ok().stdout;
    assert!(version(&before).contains(&old), "{}", version(&before));

    // The base has no apt: its release says which suites are meant.
    let base = format!("oci:{}:1", ingot.path("base").display());
    let same = plan(ingot, &project(&base, None, "packages = [\"dash\"]"));
    assert_eq!(same["images"][0]["os"], serde_json::Value::Null, "what is there is not installed again: {same}");
    let updated = project(&base, Some(&python), "upgrade = \"security\"");
    let planned = plan(ingot, &updated);
    let packages = planned["images"][0]["os"]["packages"].as_array().unwrap();
    let line = packages.iter().find(|line| line["name"] == *package).unwrap_or_else(|| panic!("{planned:#}"));
    assert_eq!((line["old"].as_str(), line["version"].as_str()), (Some(&*old), Some(&*new)), "{line}");
    assert_eq!(line["reason"], "security update");
    // `image` is the example's, which other tests look at.
    build(ingot, &updated, "updated", &[]);
    let after = unpacked(ingot, "updated", &scratch);
    dpkg_is_content(&after);
    assert!(version(&after).contains(&new) && !version(&after).contains(&old), "{}", version(&after));

    let podman = Podman::new();
    let mut command = Command::new(tool("skopeo", "skopeo"));
    let archive = scratch.join("image.tar");
    command.args(["copy", "--quiet", &format!("oci:{}:1", ingot.path("updated").display())]);
    command.arg(format!("oci-archive:{}", archive.display()));
    Ran::of(command).ok();
    let image = podman.pull(&format!("oci-archive:{}", archive.display()));
    let said =
        podman.once(&image, &["--read-only"], &["python", "-c", "import ssl, sqlite3; print(ssl.OPENSSL_VERSION)"]);
    assert!(said.ok().stdout.starts_with("OpenSSL 3"));
    // The linker's own cache of that image is the one that it would make.
    let check = "ldconfig -X -C /tmp/theirs && sha256sum </etc/ld.so.cache && sha256sum </tmp/theirs";
    let sums = podman.once(&image, &["--user=0", "--entrypoint="], &["sh", "-c", check]).ok().stdout;
    let sums: Vec<_> = sums.lines().collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{sums:?}");
}

#[test]
fn another_architecture_is_assembled_here() {
    let (release, python) = release();
    let (ingot, scratch) = (distroless().ingot(), Scratch::new());
    let project = project(&release, Some(&python), "packages = [\"dash\", \"libgomp1\"]");
    build(ingot, &project, "arm", &["--platform", "linux/arm64"]);
    let root = unpacked(ingot, "arm", &scratch);
    // Every file that a package has is there with its sum.
    dpkg_is_content(&root);
    let listed = dpkg(&root, &["--list"]).ok().stdout;
    let foreign: Vec<_> = listed.lines().filter(|line| line.starts_with("ii") && line.contains(" amd64 ")).collect();
    assert!(foreign.is_empty() && listed.lines().filter(|line| line.contains(" arm64 ")).count() > 20, "{listed}");
    // ELF for AArch64: e_machine is 183.
    for program in
        ["usr/bin/dash".into(), format!("usr/bin/python{python}"), "usr/lib/aarch64-linux-gnu/libc.so.6".into()]
    {
        let bytes = std::fs::read(root.join(&program)).unwrap();
        assert_eq!((&bytes[..4], bytes[18]), (&b"\x7fELF"[..], 183), "{program}");
    }
    let library = root.join(format!("usr/lib/python{python}/__pycache__"));
    assert!(std::fs::read_dir(library).unwrap().count() > 100);
    let cache = std::fs::read(root.join("etc/ld.so.cache")).unwrap();
    let has = |text: &str| cache.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("glibc-ld.so.cache1.1") && has("/lib/aarch64-linux-gnu/libc.so.6") && has("libgomp.so.1"));
}

#[test]
fn what_cannot_be_installed_is_explained_at_its_line() {
    let (release, python) = release();
    let ingot = distroless().ingot();
    let refused = |project: &Project, code: i32| {
        let ran = ingot.run(["plan", "-q", &project.folder().display().to_string()]).exits(code);
        ran.stderr.replace(&project.folder().display().to_string(), "PROJECT")
    };
    let unknown = refused(&project(&release, Some(&python), "packages = [\"dash\", \"libgomp2\"]"), 2);
    assert!(
        unknown.contains("there is no package `libgomp2`") && unknown.contains("PROJECT/ingot.toml:4:"),
        "{unknown}"
    );
    assert!(unknown.contains("did you mean") && unknown.contains("`libgomp1`"), "{unknown}");
    let version = refused(&project(&release, None, "packages = [\"dash=0.1\"]"), 2);
    assert!(version.contains("dash") && version.contains("0.1") && version.contains("ingot.toml:4:"), "{version}");
    let conflict = refused(&project(&release, None, "packages = [\"exim4-daemon-light\", \"postfix\"]"), 2);
    assert!(conflict.contains("conflict"), "{conflict}");
    let other = refused(&project(&release, Some("3.9"), ""), 2);
    assert!(other.contains(&format!("its packages have Python {python}")), "{other}");
    let suite = refused(&project("debian:99/packages", None, ""), 2);
    assert!(suite.contains("debian:12/packages"), "{suite}");
    let apt = project("ubuntu:22.04/packages", None, "mirror = \"http://127.0.0.1:9/ubuntu\"");
    let unreachable = refused(&apt, 2);
    assert!(unreachable.contains("keyring"), "no key is trusted for another distribution's archive: {unreachable}");
}

#[test]
fn what_is_left_out_can_be_kept() {
    let (release, _) = release();
    let ingot = distroless().ingot();
    let listed = |name: &str, keep: &str| {
        build(ingot, &project(&release, None, &format!("packages = [\"dash\"]\n{keep}")), name, &[]);
        ingot.run(["ls", &format!("oci:{name}:1"), "/usr/share"]).ok().stdout
    };
    let plain = listed("plain", "");
    assert!(plain.contains("/usr/share/doc/dash/copyright\n") && !plain.contains("/usr/share/man/"), "{plain}");
    assert!(!plain.contains("/usr/share/doc/dash/changelog"));
    let kept = listed("kept", "keep = [\"man\", \"docs\"]");
    assert!(
        kept.contains("/usr/share/man/man1/dash.1.gz\n") && kept.contains("/usr/share/doc/dash/changelog"),
        "{kept}"
    );
}
