//! Release files: believed ones, and every way to tamper with one.

use super::*;
use crate::debian::keyring::{Keyring, Keys};
use crate::debian::trust_testing::{DAY, Key, NOW, Repository, Subkey, armoured, date as shown_date, source};
use crate::error::{Class, Error};
use crate::net::testing::{Act, Server, quick};

const PACKAGES: &str = "Package: a\nVersion: 1\n";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn repository() -> Repository {
    Repository::new("bookworm", PACKAGES)
}

fn fetch_of(server: &Server, change: impl FnOnce(&mut Source)) -> Result<Release> {
    let mut source = source(server, "bookworm", Key::new(1).keys());
    change(&mut source);
    Release::fetch(&source, &quick(), &Floor::new(), at(NOW))
}

/// The message, without the server's address, and the class.
fn told(server: &Server, error: Error) -> (String, Class) {
    (error.to_string().replace(server.url("/").as_str(), "U/"), error.class())
}

fn refused(repository: Repository) -> String {
    let server = repository.serve();
    let (text, class) = told(&server, fetch_of(&server, |_| {}).unwrap_err());
    assert_eq!(class, Class::Verification, "{text}");
    text
}

/// Serves this as InRelease.
fn inrelease(text: &str) -> String {
    let mut repository = repository();
    repository.files.insert("dists/bookworm/InRelease".into(), text.as_bytes().to_vec());
    refused(repository)
}

#[test]
fn a_signed_suite_is_believed() {
    let server = repository().sign().serve();
    let release = fetch_of(&server, |_| {}).unwrap();
    assert_eq!((release.date, release.valid_until), (at(NOW - DAY), Some(at(NOW + 7 * DAY))));
    assert_eq!((release.pocket.suite.as_str(), release.pocket.codename.as_str()), ("stable", "bookworm"));
    assert!(release.by_hash && !release.all_is_inside && !release.is_security("bookworm"));
    assert_eq!(release.files["main/binary-amd64/Packages"].size, PACKAGES.len() as u64);
    assert_eq!(server.lines(), ["GET /dists/bookworm/InRelease"]);
    // By its suite's name, too; and a flat one whatever its name.
    let mut stable = repository();
    stable.files = stable.clone().sign().files;
    stable.files = stable.files.into_iter().map(|(path, bytes)| (path.replace("bookworm", "stable"), bytes)).collect();
    assert!(fetch_of(&stable.serve(), |source| source.suite = "stable".into()).is_ok());
    let mut flat = repository().sign();
    flat.files = flat.files.into_iter().map(|(path, bytes)| (path.replace("dists/bookworm/", "x/"), bytes)).collect();
    let flat = fetch_of(&flat.serve(), |source| {
        source.suite = "./x/".into();
        source.components.clear();
    });
    assert!(flat.is_ok());
}

#[test]
fn a_detached_signature_serves_as_well() {
    for binary in [true, false] {
        let mut repository = repository();
        let text = repository.release();
        let packets = repository.key.packets(text.as_bytes());
        let signature = if binary { packets } else { armoured("PGP SIGNATURE", &packets).into_bytes() };
        repository.files.insert("dists/bookworm/Release".into(), text.clone().into_bytes());
        repository.files.insert("dists/bookworm/Release.gpg".into(), signature);
        let server = repository.clone().serve();
        assert_eq!(fetch_of(&server, |_| {}).unwrap().sha256, Digest::of(text.as_bytes()));
        assert_eq!(server.lines().len(), 3);
        let tampered = text.replace("stable", "stabel").into_bytes();
        repository.files.insert("dists/bookworm/Release".into(), tampered);
        assert!(refused(repository).ends_with("the signature does not belong to this text"));
    }
}

#[test]
fn unsigned_suites_are_refused_even_if_apt_was_told_to_trust_them() {
    let mut repository = repository();
    let expected = "the suite `bookworm` at `U/dists/bookworm/` is not signed";
    assert_eq!(refused(repository.clone()), expected);
    repository.files.insert("dists/bookworm/Release".into(), repository.release().into_bytes());
    assert_eq!(refused(repository.clone()), expected);
    let server = repository.clone().serve();
    let error = fetch_of(&server, |source| source.trusted = true).unwrap_err();
    assert!(error.hint().unwrap().starts_with("`trusted=yes` makes apt use it unsigned; Ingot does not"));
    assert_eq!(fetch_of(&server, |_| {}).unwrap_err().hint().as_deref(), Some("name a source that is signed"));
    repository.files.insert("dists/bookworm/Release.gpg".into(), b"nothing".to_vec());
    assert_eq!(refused(repository), "`U/dists/bookworm/Release` is malformed: it has no signature");
    assert_eq!(
        inrelease(&self::repository().release()),
        "`U/dists/bookworm/InRelease` is malformed: it does not begin with a clear-signed message"
    );
}

#[test]
fn only_the_keys_of_the_source_count() {
    let server = repository().sign().serve();
    let print = Key::new(1).fingerprint();
    let other = |source: &mut Source| source.keys = Key::new(2).keys();
    let (text, class) = told(&server, fetch_of(&server, other).unwrap_err());
    assert_eq!(
        text,
        format!("`U/dists/bookworm/InRelease` has no good signature: key {print}: it is not in the keyring")
    );
    assert_eq!(class, Class::Verification);
    // Pinned to another key of the same keyring.
    let pinned = |source: &mut Source| source.keys.fingerprints = vec![Key::new(2).fingerprint()];
    let (text, _) = told(&server, fetch_of(&server, pinned).unwrap_err());
    assert!(text.ends_with("the source allows other keys only"), "{text}");
    let none = |source: &mut Source| source.keys = Keys::default();
    assert!(told(&server, fetch_of(&server, none).unwrap_err()).0.ends_with("there is no keyring"));
    let two = |source: &mut Source| {
        source.keys.rings.insert(0, Keyring::new("other", Key::new(2).ring()));
    };
    assert!(fetch_of(&server, two).is_ok());
}

#[test]
fn bad_keys_are_refused_here_too() {
    for (key, expected) in [
        (Key { lasts: Some(DAY as u32), ..Key::new(1) }, "the key expired on 2024-04-21"),
        (Key { revoked: true, ..Key::new(1) }, "the key was revoked"),
        (
            Key { subkey: Some(Subkey { back: false, ..Subkey::good() }), ..Key::new(1) },
            "the key has not signed its bond to the primary key",
        ),
    ] {
        let mut repository = repository();
        repository.key = key.clone();
        let server = repository.sign().serve();
        let error = fetch_of(&server, |source| source.keys = key.keys()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn what_stands_around_the_signed_text_is_refused() {
    let good = String::from_utf8(repository().sign().files["dists/bookworm/InRelease"].clone()).unwrap();
    let evil = "Origin: Evil\n";
    for text in [
        format!("{evil}{good}"),
        format!("\n{good}"),
        format!("{good}{evil}"),
        format!("{good}{good}"),
        good.replacen("Hash: SHA512\n", &format!("Hash: SHA512\n{evil}"), 1),
        good.replace('\n', "\r\n"),
        good.replacen("Origin", "Or\0igin", 1),
        good.replacen("Origin: Test", &format!("Origin: {}", "x".repeat(20_000)), 1),
    ] {
        let told = inrelease(&text);
        assert!(told.starts_with("`U/dists/bookworm/InRelease` is malformed: "), "{told}");
    }
    for text in [
        good.replacen("Origin: Test", "Origin: Evil", 1),
        good.replacen("Origin", "X: y\nOrigin", 1),
        // An empty line more: the text, not the frame.
        good.replacen("Origin", "\nOrigin", 1),
        good.replacen("Hash: SHA512\n\n", "Hash: SHA512\n \n\n", 1),
    ] {
        let told = inrelease(&text);
        assert!(told.ends_with("the signature does not belong to this text"), "{told}");
    }
}

#[test]
fn fields_that_do_not_hold() {
    let with = |name: &str, value: &str| {
        let mut repository = repository();
        repository.field(name, value);
        refused(repository.sign())
    };
    let url = "`U/dists/bookworm/InRelease`";
    for (name, value, expected) in [
        ("Date", "", format!("{url} is malformed: it has no `Date`")),
        ("Date", "yesterday", format!("{url} is malformed: its `Date` is no date")),
        ("Date", &shown_date(NOW + 2 * DAY), format!("{url} was made in the future: 2027-01-17T08:00:00Z")),
        ("Valid-Until", "never", format!("{url} is malformed: its `Valid-Until` is no date")),
        ("Valid-Until", &shown_date(NOW - 1), format!("{url} was valid until 2027-01-15T07:59:59Z")),
        ("Codename", "trixie", format!("{url} is signed for the suite `stable, trixie`, expected `bookworm`")),
        ("SHA256", "x", format!("{url} is malformed: a line of its `SHA256` is not digest, size and path")),
        ("Origin", "a\n\nb: c", format!("{url} is malformed: it is not one paragraph")),
    ] {
        assert_eq!(with(name, value), expected);
    }
    let mut empty = repository();
    empty.listed.clear();
    assert_eq!(refused(empty.sign()), format!("{url} is malformed: it has no `SHA256`"));
}

#[test]
fn a_suite_is_of_the_pocket_that_was_asked_for() {
    let told = |asked: &str, suite: &str, codename: &str| {
        let mut repository = Repository::new(asked, PACKAGES);
        repository.field("Suite", suite);
        repository.field("Codename", codename);
        let server = repository.sign().serve();
        let source = source(&server, asked, Key::new(1).keys());
        let release = Release::fetch(&source, &quick(), &Floor::new(), at(NOW));
        release.err().map(|error| self::told(&server, error))
    };
    for (asked, suite, codename) in [
        ("jammy", "jammy", "jammy"),
        ("jammy-proposed", "jammy-proposed", "jammy"),
        ("bookworm", "oldstable", "bookworm"),
        ("bookworm-security", "oldstable-security", "bookworm-security"),
        ("stable-security", "stable-security", "bookworm-security"),
        ("bookworm-updates", "oldstable-updates", "bookworm-updates"),
        ("bookworm-proposed-updates", "oldstable-proposed-updates", "bookworm-proposed-updates"),
        ("bullseye-backports-sloppy", "oldoldstable-backports-sloppy", "bullseye-backports-sloppy"),
        ("buster/updates", "oldoldstable", "buster"),
        ("bookworm-pgdg", "bookworm-pgdg", "bookworm-pgdg"),
        ("experimental", "experimental", "rc-buggy"),
        ("bookworm", "", "bookworm"),
    ] {
        assert_eq!(told(asked, suite, codename), None, "{asked}: {suite}, {codename}");
    }
    for (asked, suite, codename) in [
        ("jammy", "jammy-proposed", "jammy"),
        ("jammy", "jammy-backports", "jammy"),
        ("jammy", "jammy-infra", "jammy"),
        ("bookworm", "oldstable-updates", "bookworm"),
        ("bookworm-security", "oldstable-proposed-updates", "bookworm-security"),
        ("buster/updates", "buster-backports", "buster"),
    ] {
        let expected =
            format!("`U/dists/{asked}/InRelease` is signed for the suite `{suite}, {codename}`, expected `{asked}`");
        assert_eq!(told(asked, suite, codename), Some((expected, Class::Verification)));
    }
}

#[test]
fn an_expired_suite_counts_if_its_source_says_so() {
    let mut repository = repository();
    repository.field("Valid-Until", &shown_date(NOW - 100 * DAY));
    repository.field("Date", &shown_date(NOW - 200 * DAY));
    let server = repository.sign().serve();
    assert!(fetch_of(&server, |source| source.check_valid_until = false).is_ok());
    let error = fetch_of(&server, |_| {}).unwrap_err();
    assert!(error.hint().unwrap().contains("check-valid-until=no"));
}

#[test]
fn a_replayed_older_suite_is_refused() {
    let server = repository().sign().serve();
    let source = source(&server, "bookworm", Key::new(1).keys());
    let with = |suite: &str, known: &str| {
        let floor = Floor::from([((source.archive.to_string(), suite.to_string()), known.to_string())]);
        Release::fetch(&source, &quick(), &floor, at(NOW))
    };
    let own = at(NOW - DAY).to_string();
    assert!(with("bookworm", &own).is_ok() && with("bookworm", "2020-01-01T00:00:00Z").is_ok());
    assert!(with("trixie", "2030-01-01T00:00:00Z").is_ok());
    for known in [at(NOW - DAY + 1).to_string(), "nonsense".to_string()] {
        let (text, class) = told(&server, with("bookworm", &known).unwrap_err());
        assert_eq!(text, format!("`U/dists/bookworm/InRelease` is of {own}, and ingot.lock knows one of {known}"));
        assert_eq!(class, Class::Verification);
    }
}

#[test]
fn servers_that_do_not_answer_are_network_errors() {
    for act in [Act::status(403), Act::status(500), Act::hang_up()] {
        let server = repository().sign().serve_with(move |_| Some(act.clone()));
        let error = fetch_of(&server, |_| {}).unwrap_err();
        assert_eq!(error.class(), Class::Network, "{error}");
    }
    // A redirect cannot say more than a URL.
    let server = repository().sign().serve_with(|seen| {
        let evil = "/x%0d%0aSize: 1\u{1}";
        (!seen.path().contains("%0")).then(|| Act::status(302).with("Location", evil))
    });
    assert!(fetch_of(&server, |_| {}).is_err());
    assert!(server.lines().iter().all(|line| line.lines().count() == 1));
}

#[test]
fn dates() {
    let expected: Timestamp = "2023-06-10T08:54:07Z".parse().unwrap();
    for text in ["Sat, 10 Jun 2023 08:54:07 UTC", "Sat, 10 Jun 2023 08:54:07 +0000", "10 Jun 2023  8:54:07 GMT"] {
        assert_eq!(date(text), Some(expected), "{text}");
    }
    assert!(date("Sat,  7 Oct 2023 09:00:00 UTC").is_some());
    for bad in [
        "",
        "Sat, 10 Jun 2023 08:54:07 CET",
        "32 Jun 2023 1:1:1 UTC",
        "1 Foo 2023 1:1:1 UTC",
        "1 Jun 2023 1:1 UTC",
        "1 Jun 2023 1:1:1:1 UTC",
        "1 Jun 2023 1:1:1 UTC x",
        "1 Jun 99999 1:1:1 UTC",
    ] {
        assert_eq!(date(bad), None, "{bad}");
    }
}

#[test]
fn tables() {
    let digest = Digest::of(b"").hex();
    assert_eq!(files(&format!("\n {digest}  12 a/b\n {digest} 12 a/b")).unwrap()["a/b"].size, 12);
    for bad in [
        "x",
        &format!("{digest} x a"),
        &format!("{digest} -1 a"),
        "x 1 a",
        &format!("{digest} 1 a b"),
        &format!("{digest} 1 a\n{digest} 2 a"),
        "",
    ] {
        assert!(files(bad).is_err(), "{bad}");
    }
}
