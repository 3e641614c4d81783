//! Sources of images and machines, from files that are made here.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::error::Explain;
use crate::layer::Store;
use crate::layer::read::testing::{RawTar, layer};
use crate::progress::Progress;

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n";

/// A root of one layer with these files.
fn image(folder: &Path, files: &[(&str, &str)]) -> Rootfs {
    let store = Store::open_at(&folder.join("store")).unwrap();
    let tar = files.iter().fold(RawTar::new(), |tar, (path, text)| tar.file(path, text.as_bytes()));
    let layer = layer(&store, "base", tar.end());
    Rootfs::open(&[layer], Arc::new(store.clone()), &store, &Progress::silent()).unwrap()
}

fn machine(files: &[(&str, &str)], conf: &str) -> Machine {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Machine::read_at(folder.path(), &AptConf::parse(conf)).unwrap()
}

fn debian() -> Machine {
    let text = "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
                Signed-By: /usr/share/keyrings/debian.gpg\n\nTypes: deb\nURIs: http://s.example/debian-security/\n\
                Suites: bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian.gpg\n";
    let files = [("etc/apt/sources.list.d/debian.sources", text), ("usr/share/keyrings/debian.gpg", "ring")];
    machine(&files, "Acquire::Check-Valid-Until \"false\";")
}

fn names(suites: &[&str]) -> Vec<String> {
    suites.iter().map(|suite| suite.to_string()).collect()
}

fn rings(source: &Source) -> Vec<&str> {
    source.keys.rings.iter().map(|ring| ring.name.as_str()).collect()
}

#[test]
fn an_image_says_where_its_packages_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = format!(
        "Signed-By:\n{}",
        KEY.lines().map(|l| format!(" {}\n", if l.is_empty() { "." } else { l })).collect::<String>()
    );
    let paragraph = format!("Types: deb\nURIs: https://u:canary@b.example/x\nSuites: ./\nTrusted: yes\n{embedded}");
    let root = image(
        folder.path(),
        &[
            ("etc/apt/sources.list", "deb http://a.example/ubuntu jammy main universe\n"),
            ("etc/apt/sources.list.d/a.list", "deb [signed-by=/usr/share/keyrings/a.gpg] http://c.example/ s main\n"),
            ("etc/apt/sources.list.d/b.sources", &paragraph),
            ("etc/apt/sources.list.d/c.list.disabled", "nonsense"),
            ("etc/apt/sources.list.d/sub/d.list", "nonsense"),
            ("etc/apt/trusted.gpg.d/a.gpg", "ring a"),
            ("etc/apt/trusted.gpg.d/b.asc", KEY),
            ("etc/apt/trusted.gpg.d/c.txt", "x"),
            ("etc/apt/apt.conf.d/99x", "Acquire { Check-Valid-Until no; };"),
            ("etc/apt/auth.conf.d/x.conf", "machine http://c.example login me password canary"),
            ("etc/apt/preferences.d/x", "Package: *\nPin: origin a.example\nPin-Priority: 7\n"),
            ("usr/share/keyrings/a.gpg", "ring"),
        ],
    );
    let sources = Sources::of_base(&root).unwrap().unwrap();
    let [main, pinned, flat] = sources.sources.as_slice() else { panic!("{sources:?}") };
    assert_eq!((main.archive.as_str(), main.suite.as_str()), ("http://a.example/ubuntu/", "jammy"));
    assert_eq!(main.release_folder(), "http://a.example/ubuntu/dists/jammy/");
    assert_eq!(rings(main), ["/etc/apt/trusted.gpg.d/a.gpg", "/etc/apt/trusted.gpg.d/b.asc"]);
    assert!(!main.check_valid_until && main.credentials.is_none() && !main.trusted);
    assert_eq!(rings(pinned), ["/usr/share/keyrings/a.gpg"]);
    assert_eq!(pinned.credentials.as_ref().unwrap().username, "me");
    assert_eq!((flat.release_folder(), flat.trusted), ("https://b.example/x/".into(), true));
    assert_eq!(std::str::from_utf8(&flat.keys.rings[0].bytes).unwrap(), KEY);
    assert_eq!(flat.credentials.as_ref().unwrap().password, "canary");
    assert_eq!(flat.origin, "sources.list.d/b.sources:1");
    assert_eq!(
        sources.preferences.priority(
            "x",
            "x",
            "1",
            &super::super::preferences::Pocket { host: "a.example".into(), ..Default::default() }
        ),
        7
    );
    assert!(!format!("{sources:?}").contains("canary"));
    assert!(Sources::of_base(&image(folder.path(), &[("etc/apt/trusted.gpg.d/a.gpg", "x")])).unwrap().is_none());
}

#[test]
fn fingerprints_restrict_trusted_keys() {
    let (folder, print) = (tempfile::tempdir().unwrap(), "a".repeat(40));
    let line = format!("deb [signed-by={print}!] http://a.example/ s main\n");
    let root = image(folder.path(), &[("etc/apt/sources.list", &line), ("etc/apt/trusted.gpg", "x")]);
    let sources = Sources::of_base(&root).unwrap().unwrap();
    let keys = &sources.sources[0].keys;
    assert_eq!((keys.rings.len(), keys.fingerprints[0].as_str()), (1, format!("{}!", "A".repeat(40)).as_str()));
}

#[test]
fn sources_that_cannot_be_used_are_told() {
    for (line, message) in [
        (
            "deb tor+http://a.example/ s main",
            "`sources.list:1` names a source by `tor+http:`, and only http and https are supported",
        ),
        ("deb file:/srv s main", "`sources.list:1` names a source by `file:`, and only http and https are supported"),
        (
            "deb mirror+file:/etc/m s main",
            "`sources.list:1` names a source by `mirror+file:`, and only http and https are supported",
        ),
        ("deb a.example s main", "`sources.list:1` is not a source of packages: its URI is no URL"),
        (
            "deb http://a.example/?x s main",
            "`sources.list:1` is not a source of packages: its URI has a query or a fragment",
        ),
        (
            "deb [signed-by=/no] http://a.example/ s main",
            "`sources.list:1` is signed by the keyring `/no`, which is not there",
        ),
        (
            "deb [signed-by=x] http://a.example/ s main",
            "`sources.list:1` is not a source of packages: its Signed-By is neither a file, nor a fingerprint, nor a key",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = Sources::of_base(&image(folder.path(), &[("etc/apt/sources.list", line)])).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.class(), crate::error::Class::Usage);
        assert!(error.hint().is_some());
        assert_eq!(machine(&[("etc/apt/sources.list", line)], "").left_out, [message]);
    }
}

#[test]
fn a_machine_gives_archives_and_keys_of_its_release() {
    let machine = debian();
    let suites = names(&["bookworm", "bookworm-updates", "bookworm-security"]);
    let found = Sources::for_release(&machine, &suites, &names(&["main", "contrib"]), None, None, "x").unwrap();
    let urls: Vec<&str> = found.sources.iter().map(|source| source.archive.as_str()).collect();
    assert_eq!(urls, ["http://a.example/debian/", "http://a.example/debian/", "http://s.example/debian-security/"]);
    assert!(found.sources.iter().all(|source| !source.check_valid_until && source.components.len() == 2));
    assert_eq!(found.sources[0].origin, "sources.list.d/debian.sources:1");
}

#[test]
fn archives_of_others_with_suites_of_the_same_name_are_passed_over() {
    let text = "deb http://x.example/linux bookworm stable\ndeb http://y.example/node bookworm main\n\
                deb http://z.example/any trixie main\ndeb http://a.example/pub/debian/ bookworm main\n";
    let machine = machine(&[("etc/apt/sources.list", text)], "");
    for suite in ["bookworm", "trixie"] {
        let found = Sources::for_release(&machine, &names(&[suite]), &names(&["main"]), None, None, "x").unwrap();
        assert_eq!(found.sources[0].archive.as_str(), "http://a.example/pub/debian/", "{suite}");
    }
    let text = text.replace("a.example/pub/debian/ bookworm main", "a.example/deb12 bookworm main contrib non-free");
    let machine = self::machine(&[("etc/apt/sources.list", &text)], "");
    let found = Sources::for_release(&machine, &names(&["bookworm"]), &names(&["contrib"]), None, None, "x").unwrap();
    assert_eq!(found.sources[0].archive.as_str(), "http://a.example/deb12/");
}

#[test]
fn another_release_of_the_distribution_is_found_by_its_pocket() {
    let suites = names(&["trixie", "trixie-security"]);
    let found = Sources::for_release(&debian(), &suites, &names(&["main"]), None, None, "x").unwrap();
    let urls: Vec<String> = found.sources.iter().map(Source::release_folder).collect();
    assert_eq!(
        urls,
        ["http://a.example/debian/dists/trixie/", "http://s.example/debian-security/dists/trixie-security/"]
    );
    assert_eq!(rings(&found.sources[1]), ["/usr/share/keyrings/debian.gpg"]);
}

#[test]
fn a_pocket_that_the_machine_does_not_use_is_beside_the_release() {
    let text = "deb [signed-by=/usr/share/keyrings/x.gpg] http://a.example/x/debian bookworm main\n";
    let files = [("etc/apt/sources.list", text), ("usr/share/keyrings/x.gpg", "ring")];
    let suites = names(&["bookworm", "bookworm-updates", "bookworm-security"]);
    let found = Sources::for_release(&machine(&files, ""), &suites, &names(&["main"]), None, None, "x").unwrap();
    let urls: Vec<&str> = found.sources.iter().map(|source| source.archive.as_str()).collect();
    let (release, security) = ("http://a.example/x/debian/", "http://a.example/x/debian-security/");
    assert_eq!(urls, [release, release, security]);
    assert!(found.sources.iter().all(|source| rings(source) == ["/usr/share/keyrings/x.gpg"]));
}

#[test]
fn what_does_not_fit_needs_a_mirror_and_a_keyring() {
    let machine = debian();
    let folder = tempfile::tempdir().unwrap();
    let keyring = folder.path().join("ring.gpg");
    std::fs::write(&keyring, "x").unwrap();
    let of = |suites: &[&str], mirror: Option<&str>, keyring: Option<&Path>| {
        let mirror = mirror.map(|url| Url::parse(url).unwrap());
        Sources::for_release(
            &machine,
            &names(suites),
            &names(&["main"]),
            mirror.as_ref(),
            keyring,
            "`ubuntu:22.04/packages`",
        )
    };
    let error = of(&["jammy"], None, None).unwrap_err();
    assert_eq!(error.to_string(), "no source for the suite `jammy` of `ubuntu:22.04/packages`");
    assert!(error.hint().unwrap().contains("--mirror URL --keyring FILE"));
    let error = of(&["jammy"], Some("http://m.example/ubuntu"), None).unwrap_err();
    assert_eq!(error.to_string(), "no keyring that says who may sign the suite `jammy` of `ubuntu:22.04/packages`");
    let found = of(&["jammy", "jammy-security"], Some("http://u:p@m.example/ubuntu"), Some(&keyring)).unwrap();
    assert!(found.sources.iter().all(|source| source.archive.as_str() == "http://m.example/ubuntu/"));
    assert!(found.sources.iter().all(|source| source.credentials.as_ref().unwrap().password == "p"));
    assert_eq!(rings(&found.sources[0]), [keyring.to_str().unwrap()]);
    let found = of(&["bookworm", "bookworm-security"], Some("http://m.example/x/debian/"), None).unwrap();
    assert_eq!(found.sources[1].archive.as_str(), "http://m.example/x/debian-security/");
    assert_eq!(rings(&found.sources[0]), ["/usr/share/keyrings/debian.gpg"]);
    assert!(of(&["bookworm"], None, Some(Path::new("/no/ring"))).is_err());
    let left_out = SourcesError::NoSuite { suite: "s".into(), at: "x".into(), left_out: names(&["a", "b"]) };
    assert_eq!(left_out.details().as_deref(), Some("passed over:\n  a\n  b"));
}

#[test]
fn a_mirror_is_asked_as_the_one_that_auth_conf_names() {
    let auth = "machine m.example/x/debian/ login main password canary1\n\
                machine https://m.example/x/debian-security login safe password canary2\n";
    let files = [("etc/apt/auth.conf.d/m.conf", auth), ("etc/apt/trusted.gpg.d/k.gpg", "x")];
    let text = "deb http://a.example/debian bookworm main\n";
    let machine = machine(&[&files[..], &[("etc/apt/sources.list", text)]].concat(), "");
    let users = |mirror: &str| -> Vec<Option<String>> {
        let (suites, mirror) = (names(&["bookworm", "bookworm-security"]), Url::parse(mirror).unwrap());
        let found = Sources::for_release(&machine, &suites, &names(&["main"]), Some(&mirror), None, "x").unwrap();
        found.sources.into_iter().map(|source| source.credentials.map(|known| known.username)).collect()
    };
    let some = |name: &str| Some(name.to_string());
    assert_eq!(users("https://m.example/x/debian"), [some("main"), some("safe")]);
    assert_eq!(users("https://u:p@m.example/x/debian"), [some("u"), some("u")]);
    // An entry without a scheme is for https; other hosts and folders get nothing.
    assert_eq!(users("http://m.example/x/debian"), [None, None]);
    assert_eq!(users("https://m.example.evil/x/debian"), [None, None]);
    assert!(!format!("{machine:?}").contains("canary"));
}

#[test]
fn files_that_cannot_be_read_are_left_out_and_told() {
    let files = [
        ("etc/apt/sources.list", "deb http://a.example/ s main"),
        ("etc/apt/sources.list.d/x.list/folder", ""),
        ("etc/apt/trusted.gpg.d/x.gpg/folder", ""),
        ("etc/apt/trusted.gpg.d/y.gpg", "y"),
        ("etc/apt/auth.conf.d/x.conf/folder", ""),
    ];
    let machine = machine(&files, "");
    assert_eq!(rings(&machine.sources[0]), ["/etc/apt/trusted.gpg.d/y.gpg"]);
    let told = "`sources.list.d/x.list` is not a source of packages: this user cannot read the file";
    assert_eq!(machine.left_out, [told]);
}

#[test]
fn places_are_those_that_apt_config_names() {
    let conf = "Dir \"/\"; Dir::Etc \"opt/apt\"; Dir::Etc::sourcelist \"/x/my.list\"; Dir::Etc::trustedparts \"keys\";";
    let machine = machine(&[("x/my.list", "deb http://a.example/ s main"), ("opt/apt/keys/k.gpg", "x")], conf);
    assert_eq!(rings(&machine.sources[0]), ["/opt/apt/keys/k.gpg"]);
    assert!(machine.sources[0].check_valid_until);
}

#[test]
fn this_machine_has_sources() {
    let machine = Sources::of_machine().unwrap();
    assert!(machine.sources.iter().any(|source| !source.keys.rings.is_empty()), "{machine:?}");
}
