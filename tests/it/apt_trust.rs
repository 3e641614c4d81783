//! Archives of packages: only what the right key has signed is used, and nothing that is older than the lock.

use std::path::Path;

use crate::support::*;

const BASE: &str = "debian:12/packages";
const INDEX: &str = "debian/dists/bookworm/main/binary-amd64/Packages";

struct Case {
    archive: SignedArchive,
    project: Project,
    ingot: Ingot,
}

impl Case {
    fn new() -> Case {
        let known = ingot::project::known_packages(BASE).unwrap();
        let suites: Vec<&str> = known.apt.suites.iter().map(String::as_str).collect();
        let mut packages: Vec<&str> = known.apt.packages.iter().map(String::as_str).collect();
        packages.push("tool");
        let project = Project::new(&format!(
            "[image]\nname = \"x\"\n[os]\npackages = [\"tool\"]\n[variants.a]\nbase = \"{BASE}\"\n"
        ));
        Case { archive: SignedArchive::new(&suites, &packages), project, ingot: Ingot::new() }
    }

    fn run(&self, command: &str, keyring: &Path, more: &[&str]) -> Ran {
        let (mirror, folder) = (self.archive.mirror(), self.project.folder());
        let mut args = vec![command, folder.to_str().unwrap(), "--platform", "linux/amd64", "--mirror", &mirror];
        args.extend(["--keyring", keyring.to_str().unwrap()]);
        args.extend(more);
        self.ingot.run(args)
    }

    fn lock(&self) -> Ran {
        self.run("lock", &self.archive.keyring("archive"), &[])
    }

    /// The lock is refused as unverified, with this in the message.
    #[track_caller]
    fn refused(&self, expected: &str) {
        let ran = self.lock().exits(4);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn signed_packages_are_locked_and_nothing_else() {
    let case = Case::new();
    let said = case.lock().ok();
    assert!(said.stdout.contains("OS packages"), "{}", said.stdout);
    let lock = std::fs::read_to_string(case.project.folder().join("ingot.lock")).unwrap();
    assert!(lock.contains("name = \"tool\"") && !lock.contains("127.0.0.1"), "{lock}");

    // Another key of the same look, with the same files.
    let stranger = case.archive.keyring("stranger");
    let ran = case.run("lock", &stranger, &[]).exits(4);
    assert!(ran.stderr.contains("it is not in the keyring"), "{}", ran.stderr);
    case.archive.sign("stranger");
    case.refused("it is not in the keyring");
    case.run("lock", &stranger, &[]).ok();

    // Nobody's signature.
    case.archive.files().retain(|path, _| !path.ends_with("InRelease"));
    case.refused("is not signed");
}

#[test]
fn tampered_replayed_and_expired_indexes_are_refused() {
    let mut case = Case::new();
    let inrelease = "debian/dists/bookworm/InRelease";
    let good = case.archive.files().clone();
    for (path, from, to, expected) in [
        (inrelease, "Origin: Test", "Origin: Tast", "the signature does not belong to this text"),
        (inrelease, "-----BEGIN PGP SIGNED", "Origin: Evil\n-----BEGIN PGP SIGNED", "is malformed"),
        (inrelease, "-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\nx\n", "is malformed"),
        (inrelease, "Origin: Test\n", "Origin: Test\r\n", "is malformed"),
        (INDEX, "Version: 1.0", "Version: 9.0", "is not what was signed"),
        (INDEX, "Package: tool", "Package: tool\nX: y", "is not what was signed"),
    ] {
        case.archive.change(path, from, to);
        case.refused(expected);
        *case.archive.files() = good.clone();
    }
    // The archive of another suite, well signed.
    let other = good["debian-security/dists/bookworm-security/InRelease"].clone();
    case.archive.files().insert(inrelease.into(), other);
    case.refused("is signed for the suite");
    *case.archive.files() = good.clone();

    // The mirror goes back to an older state than the lock knows.
    case.lock().ok();
    case.archive.times.0 = "2 days ago".into();
    case.archive.sign("archive");
    case.refused("ingot.lock knows one of");
    // A fresh one that will not be valid any more, and one of tomorrow.
    *case.archive.files() = good;
    case.lock().ok();
    std::fs::remove_file(case.project.folder().join("ingot.lock")).unwrap();
    case.archive.times = ("3 days ago".into(), "2 days ago".into());
    case.archive.sign("archive");
    let expired = case.lock();
    // A machine whose apt does not look at it, as many snapshots need, does not have Ingot look at it.
    match apt_checks_dates() {
        true => assert!(expired.exits(4).stderr.contains("was valid until")),
        false => drop(expired.ok()),
    }
    case.archive.times = ("3 days".into(), "9 days".into());
    case.archive.sign("archive");
    case.refused("was made in the future");
}

fn apt_checks_dates() -> bool {
    let mut command = std::process::Command::new(tool("apt-config", "apt"));
    command.args(["shell", "CHECK", "Acquire::Check-Valid-Until/b"]);
    !Ran::of(command).stdout.contains("'false'")
}

#[test]
fn a_package_that_is_not_the_locked_one_is_refused() {
    let case = Case::new();
    case.lock().ok();
    let output = case.ingot.path("image").display().to_string();
    let args = ["-o", &format!("oci:{output}"), "--locked"];
    let keyring = case.archive.keyring("archive");
    for folder in std::fs::read_dir(case.ingot.cache()).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.is_dir() {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
    let deb = "debian/pool/tool.deb";
    case.archive.change(deb, "debian-binary", "debian-b1nary");
    let ran = case.run("build", &keyring, &args).exits(4);
    assert!(ran.stderr.contains("`tool.deb`") && ran.stderr.contains("is not what was signed"), "{}", ran.stderr);
    assert!(!Path::new(&output).exists());

    // The lock says it all: indexes are not even asked for, and with a warm store nobody is.
    case.archive.change(deb, "debian-b1nary", "debian-binary");
    case.archive.asked();
    case.run("build", &keyring, &args).ok();
    assert_eq!(case.archive.asked(), [deb]);
    case.archive.files().clear();
    case.run("build", &keyring, &args).ok();
    assert_eq!(case.archive.asked(), Vec::<String>::new());
}
