//! A mirror that meddles with the machine's real archive is found out, whatever it changes: exit code 4, nothing built.

use std::path::Path;

use crate::support::*;

/// A project of packages of this machine's release.
fn project() -> Project {
    let (base, _) = release();
    Project::new(&format!("[image]\nname = \"x\"\n[os]\npackages = [\"dash\"]\n[variants.x]\nbase = \"{base}\"\n"))
}

/// What a build says that is refused for what the mirror changed.
#[track_caller]
fn refused(ingot: &Ingot, project: &Project, mirror: &Meddler, code: i32) -> String {
    let folder = project.folder().display().to_string();
    let ran = ingot.run(["build", "-q", &folder, "--mirror", &mirror.url(), "-o", "oci:out:1"]).exits(code);
    assert_eq!(ran.stdout, "");
    assert!(!ingot.path("out").exists(), "nothing is written");
    ran.stderr
}

fn replaced(body: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(from), "the test changes something");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn a_changed_release_is_refused() {
    let (ingot, project) = (Ingot::new(), project());
    let changes: [(&str, fn(Vec<u8>) -> Vec<u8>); 4] = [
        ("a word of the signed text", |body| replaced(body, "Origin: ", "Origin: X")),
        ("text before the message", |body| [&b"Origin: X\n"[..], &body].concat()),
        ("no signature", |body| {
            let text = String::from_utf8(body).unwrap();
            let (_, signed) = text.split_once("\n\n").unwrap();
            signed.split("-----BEGIN PGP SIGNATURE").next().unwrap().into()
        }),
        ("half of the file", |body| body[..body.len() / 2].to_vec()),
    ];
    for (what, change) in changes {
        let mirror = Meddler::start(move |path, body| match path.rsplit('/').next() {
            Some("InRelease") => Some(change(body)),
            Some("Release" | "Release.gpg") => None,
            _ => Some(body),
        });
        let said = refused(&ingot, &project, &mirror, 4);
        assert!(said.contains("InRelease") && said.contains("hint: "), "{what}: {said}");
    }
    // A suite that the mirror does not have any more: nobody should notice that its updates are missing.
    let mirror = Meddler::start(|path, body| (!path.contains("-security/")).then_some(body));
    let said = refused(&ingot, &project, &mirror, 4);
    assert!(said.contains("-security`") && said.contains("is not signed"), "it is not left out: {said}");
}

#[test]
fn a_changed_index_or_package_is_refused_and_an_honest_mirror_is_not() {
    let (ingot, project) = (Ingot::new(), project());
    let flip = |mut body: Vec<u8>| {
        let middle = body.len() / 2;
        body[middle] ^= 1;
        body
    };
    let index = Meddler::start(move |path, body| {
        let is_index = path.contains("/by-hash/") || path.contains("/Packages");
        Some(if is_index { flip(body) } else { body })
    });
    let said = refused(&ingot, &project, &index, 4);
    assert!(said.contains("is not what was signed: expected sha256:"), "{said}");

    let package = Meddler::start(move |path, body| Some(if path.contains("/dash_") { flip(body) } else { body }));
    let said = refused(&ingot, &project, &package, 4);
    assert!(said.contains("dash_") && said.contains("expected"), "{said}");

    // The same store, an honest mirror: nothing of the lies stayed.
    let honest = Meddler::start(|_, body| Some(body));
    let folder = project.folder().display().to_string();
    ingot.run(["build", "-q", &folder, "--mirror", &honest.url(), "-o", "oci:out:1"]).ok();
    assert!(ingot.path("out").exists());

    // A lock of today: a mirror that goes back in time is found out. (The real archive has no older release to
    // serve, so the lock is of tomorrow.)
    ingot.run(["lock", "-q", &folder, "--mirror", &honest.url()]).ok();
    let lock = project.folder().join("ingot.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    let date = text.lines().find(|line| line.starts_with("date = ")).unwrap().to_owned();
    std::fs::write(&lock, text.replace(&date, "date = \"2999-01-01T00:00:00Z\"").replace("dash", "dash ")).unwrap();
    let stale = ingot.run(["build", "-q", &folder, "--mirror", &honest.url(), "-o", "oci:again:1"]).exits(4);
    assert!(stale.stderr.contains("older") || stale.stderr.contains("2999"), "{}", stale.stderr);
    assert!(!Path::new(&ingot.path("again")).exists());
}
