//! Whole archives: made ones, hostile ones, and the machine's own.

use super::*;
use crate::debian::trust_testing::{Key, NOW, Repository, source, sources, xz};
use crate::debian::{Location, fetch_debs, fetch_locations};
use crate::error::Class;
use crate::layer::Store;
use crate::net::testing::{Act, Server, quick};
use crate::progress::Progress;

const DEB: &[u8] = b"!<arch>\nnot really";

fn paragraph(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Filename: pool/{name}.deb\nSize: {}\n\
         SHA256: {}\n\n",
        DEB.len(),
        Digest::of(DEB).hex()
    )
}

/// A repository with `a` in one version, and its .deb.
fn repository(version: &str) -> Repository {
    let text = [paragraph("a", version, ""), paragraph("b", "1", "Provides: mail\nDepends: a\n")].concat();
    let mut repository = Repository::new("bookworm", &text);
    repository.files.insert("pool/a.deb".into(), DEB.to_vec());
    repository
}

struct Home {
    _folder: tempfile::TempDir,
    store: Store,
    progress: Progress,
}

impl Home {
    fn new() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        Home { _folder: folder, store, progress: Progress::silent() }
    }

    fn with<T>(&self, work: impl FnOnce(&Context<'_>) -> T) -> T {
        let http = || Ok(quick());
        let now = jiff::Timestamp::from_second(NOW).unwrap();
        work(&Context { now, ..Context::new(&self.store, &self.progress, &http) })
    }

    fn open(&self, sources: &Sources) -> Result<Archive> {
        self.with(|context| Archive::open(sources, "amd64", &Floor::new(), context))
    }

    fn fetch(&self, locations: &[Location], sources: &Sources) -> Result<Vec<Digest>> {
        self.with(|context| fetch_locations(locations, sources, context, |_| Ok(())))
    }
}

fn of(servers: &[&Server]) -> Sources {
    sources(servers.iter().map(|server| source(server, "bookworm", Key::new(1).keys())).collect())
}

fn versions(archive: &Archive, name: &str) -> Vec<String> {
    archive.versions(name).unwrap().iter().map(|found| found.package.version.to_string()).collect()
}

fn refused(error: crate::error::Error) -> String {
    assert_eq!(error.class(), Class::Verification, "{error}");
    error.to_string()
}

/// The requests but for those of a suite's signed file.
fn asked(server: &Server) -> Vec<String> {
    let lines = server.lines().into_iter().filter(|line| !line.contains("Release"));
    lines.map(|line| line.replace("GET /dists/bookworm/main/binary-amd64/", "")).collect()
}

#[test]
fn an_archive_is_opened_and_opened_again_without_its_index() {
    let (home, server) = (Home::new(), repository("1").sign().serve());
    let archive = home.open(&of(&[&server])).unwrap();
    assert_eq!((versions(&archive, "a"), versions(&archive, "c")), (vec!["1".to_string()], Vec::new()));
    assert_eq!(archive.providers("mail").unwrap()[0].package.name, "b");
    assert!(archive.providers("a").unwrap().is_empty());
    let [release] = archive.releases() else { panic!() };
    assert_eq!((release.archive.as_str(), release.suite.as_str()), (server.url("/").as_str(), "bookworm"));
    assert_eq!((release.codename.as_str(), release.date.as_str()), ("bookworm", "2027-01-14T08:00:00Z"));
    let by_hash =
        format!("by-hash/SHA256/{}", Digest::of(&repository("1").listed["main/binary-amd64/Packages.xz"]).hex());
    assert_eq!(asked(&server), [by_hash]);
    assert_eq!(home.open(&of(&[&server])).unwrap().len(), 2);
    assert_eq!(asked(&server).len(), 1);
    let packages = [archive.versions("a").unwrap()[0].package.clone()];
    let fetched = home.with(|context| fetch_debs(&packages, &of(&[&server]), context)).unwrap();
    assert_eq!((fetched, home.store.read(&Digest::of(DEB), 100).unwrap()), (vec![Digest::of(DEB)], DEB.to_vec()));
}

#[test]
fn by_hash_that_is_not_there_falls_back_to_the_plain_path() {
    let home = Home::new();
    let mut without = repository("1").sign();
    without.files.retain(|path, _| !path.contains("by-hash"));
    let server = without.serve();
    assert_eq!(home.open(&of(&[&server])).unwrap().len(), 2);
    assert_eq!(asked(&server)[1], "Packages.xz");
    let (home, mut never) = (Home::new(), repository("1"));
    never.field("Acquire-By-Hash", "no");
    let server = never.sign().serve();
    home.open(&of(&[&server])).unwrap();
    assert_eq!(asked(&server), ["Packages.xz"]);
    let (home, mut gone) = (Home::new(), repository("1").sign());
    gone.files.retain(|path, _| !path.contains("binary-"));
    let error = home.open(&of(&[&gone.serve()])).err().unwrap();
    assert!(error.to_string().ends_with("Packages.xz` is not there, though it is listed as signed"), "{error}");
    assert_eq!(error.class(), Class::Network);
    // Refused is not absent.
    let home = Home::new();
    let server = repository("1").sign().serve_with(|seen| seen.path().contains("by-hash").then(|| Act::status(403)));
    assert_eq!(home.open(&of(&[&server])).err().unwrap().class(), Class::Network);
}

#[test]
fn indexes_that_are_not_what_was_signed_are_refused() {
    let other = xz(paragraph("a", "666", "").as_bytes());
    let real = repository("1").listed["main/binary-amd64/Packages.xz"].clone();
    let mut same_length = real.clone();
    *same_length.last_mut().unwrap() ^= 1;
    let longer = [real.as_slice(), b"x"].concat();
    for bytes in [other, same_length, longer, real[..20].to_vec(), Vec::new()] {
        let home = Home::new();
        let server = repository("1")
            .sign()
            .serve_with(move |seen| seen.path().contains("binary-").then(|| Act::body(200, &bytes)));
        let text = refused(home.open(&of(&[&server])).err().unwrap());
        assert!(text.starts_with("reading the packages of `bookworm` (test.sources:1): `http://127.0.0.1:"), "{text}");
        assert!(text.contains("is not what was signed: expected "), "{text}");
        let kept = std::fs::read_dir(home.store.root().join("blobs/sha256")).unwrap().count();
        assert_eq!(kept, 0);
    }
}

#[test]
fn every_mirror_is_verified_on_its_own() {
    let good = || repository("1").sign().serve();
    let tampered = || {
        let mut repository = repository("1").sign();
        let text = String::from_utf8(repository.files["dists/bookworm/InRelease"].clone()).unwrap();
        repository.files.insert("dists/bookworm/InRelease".into(), text.replacen("Test", "Evil", 1).into_bytes());
        repository.serve()
    };
    let (good, bad) = (good(), tampered());
    for servers in [[&good, &bad], [&bad, &good]] {
        let text = refused(Home::new().open(&of(&servers)).err().unwrap());
        assert!(text.contains(&format!("`{}", bad.url("/dists/bookworm/InRelease"))), "{text}");
        assert!(text.ends_with("the signature does not belong to this text"), "{text}");
    }
    // One that does not answer is not left out.
    let dead = Server::start(|_| Act::status(503));
    for servers in [[&good, &dead], [&dead, &good]] {
        assert_eq!(Home::new().open(&of(&servers)).err().unwrap().class(), Class::Network);
    }
    assert_eq!(Home::new().open(&of(&[&good, &good])).unwrap().versions("a").unwrap().len(), 1);
}

#[test]
fn sources_are_ordered_by_priority_then_version() {
    let mut backports = repository("3");
    backports.field("NotAutomatic", "yes");
    backports.field("ButAutomaticUpgrades", "yes");
    let mut security = repository("2");
    security.field("Label", "Debian-Security");
    let servers = [backports, security, repository("1")].map(|repository| repository.sign().serve());
    let mut sources = of(&[&servers[0], &servers[1], &servers[2]]);
    let archive = Home::new().open(&sources).unwrap();
    let found: Vec<_> = archive
        .versions("a")
        .unwrap()
        .iter()
        .map(|one| (one.package.version.to_string(), one.priority, one.security))
        .collect();
    assert_eq!(found, [("2".into(), 500, true), ("1".into(), 500, false), ("3".into(), 100, false)]);
    sources.preferences.add("p", "Package: a\nPin: version 1\nPin-Priority: 1001\n").unwrap();
    assert_eq!(versions(&Home::new().open(&sources).unwrap(), "a"), ["1", "2", "3"]);
    let b = &archive.versions("b").unwrap();
    assert_eq!((b.len(), b[0].priority, b[0].security), (1, 500, true));
}

#[test]
fn what_a_suite_does_not_have_is_told() {
    let server = repository("1").sign().serve();
    let mut contrib = of(&[&server]);
    contrib.sources[0].components = vec!["contrib".into()];
    let error = Home::new().open(&contrib).err().unwrap();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.to_string().ends_with("has no packages of the component `contrib` for amd64"), "{error}");
    // Another architecture: nothing from this one, with a message; a restricted source is not even asked.
    let home = Home::new();
    let arm = home.with(|context| Archive::open(&of(&[&server]), "arm64", &Floor::new(), context)).unwrap();
    assert!(arm.is_empty());
    let before = server.lines().len();
    let mut restricted = of(&[&server]);
    restricted.sources[0].architectures = Some(vec!["amd64".into()]);
    home.with(|context| Archive::open(&restricted, "arm64", &Floor::new(), context)).unwrap();
    assert_eq!(server.lines().len(), before);
}

#[test]
fn packages_for_all_are_read_where_they_have_an_index_of_their_own() {
    for (architectures, inside, expected) in [("all amd64", "", 3), ("all amd64", "Packages", 2), ("amd64", "", 2)] {
        let mut repository = repository("1");
        repository.list("main/binary-all/Packages.xz", &xz(paragraph("c", "1", "").replace("amd64", "all").as_bytes()));
        repository.field("Architectures", architectures);
        repository.field("No-Support-for-Architecture-all", inside);
        let server = repository.sign().serve();
        assert_eq!(Home::new().open(&of(&[&server])).unwrap().len(), expected, "{architectures} {inside}");
    }
}

#[test]
fn flat_repositories_are_read() {
    let mut flat = Repository::new("x", "");
    flat.listed.clear();
    flat.list("Packages.xz", &xz(paragraph("a", "1", "").replace("pool/", "./").as_bytes()));
    let mut flat = flat.sign();
    flat.files = flat.files.into_iter().map(|(path, bytes)| (path.replace("dists/x/", ""), bytes)).collect();
    flat.files.insert("a.deb".into(), DEB.to_vec());
    let (home, server) = (Home::new(), flat.serve());
    let mut sources = of(&[&server]);
    sources.sources[0].suite = "/".into();
    sources.sources[0].components.clear();
    let archive = home.open(&sources).unwrap();
    let packages = [archive.versions("a").unwrap()[0].package.clone()];
    home.with(|context| fetch_debs(&packages, &sources, context)).unwrap();
}

#[test]
fn a_damaged_blob_is_fetched_anew() {
    let (home, server) = (Home::new(), repository("1").sign().serve());
    home.open(&of(&[&server])).unwrap();
    let digest = Digest::of(&repository("1").listed["main/binary-amd64/Packages.xz"]);
    std::fs::write(home.store.blob_path(&digest), b"damaged").unwrap();
    std::fs::remove_dir_all(home.store.root().join("packages-v1")).unwrap();
    assert_eq!(home.open(&of(&[&server])).unwrap().len(), 2);
    assert_eq!(asked(&server).len(), 2);
}

fn location(server: &Server, path: &str) -> Location {
    Location {
        archive: server.url("/").as_str().into(),
        path: path.into(),
        size: DEB.len() as u64,
        sha256: Digest::of(DEB),
    }
}

#[test]
fn debs_are_verified_and_other_archives_are_asked() {
    let good = repository("1").serve();
    let evil = |bytes: &'static [u8]| Server::start(move |_| Act::body(200, bytes));
    let (other, short, long) = (evil(b"!<arch>\nnot r3ally"), evil(b"!"), evil(b"!<arch>\nnot really, but more of it"));
    let gone = Server::start(|_| Act::status(404));
    for bad in [&other, &short, &long, &gone] {
        let wanted = [location(bad, "pool/a.deb")];
        let home = Home::new();
        let error = home.fetch(&wanted, &of(&[bad])).unwrap_err();
        let class = if std::ptr::eq(bad, &gone) { Class::Network } else { Class::Verification };
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().starts_with("fetching `a.deb`: "), "{error}");
        assert!(!home.store.has(&Digest::of(DEB)));
        assert_eq!(home.fetch(&wanted, &of(&[bad, &good])).unwrap(), [Digest::of(DEB)]);
    }
    // From the store, without asking anybody; twice the same is fetched once.
    let home = Home::new();
    let before = good.lines().len();
    let wanted = [location(&good, "pool/a.deb"), location(&good, "pool/a.deb")];
    home.fetch(&wanted, &Sources::default()).unwrap();
    home.fetch(&wanted, &Sources::default()).unwrap();
    assert_eq!(good.lines().len(), before + 1);
}

#[test]
fn credentials_go_to_their_archive_only() {
    let server = Server::start(|_| Act::status(404));
    let own = repository("1")
        .sign()
        .serve_with(|seen| (seen.header("authorization") != Some("Basic dTpjYW5hcnk=")).then(|| Act::status(401)));
    let mut sources = of(&[&server, &own]);
    let credentials = crate::net::Credentials { username: "u".into(), password: "canary".into() };
    sources.sources[1].credentials = Some(credentials);
    let home = Home::new();
    home.open(&Sources { sources: vec![sources.sources[1].clone()], ..Sources::default() }).unwrap();
    home.fetch(&[location(&server, "pool/a.deb")], &sources).unwrap();
    assert!(!server.seen().is_empty() && server.seen().iter().all(|seen| seen.header("authorization").is_none()));
    let error = Home::new().fetch(&[location(&own, "pool/a.deb")], &of(&[&server])).unwrap_err();
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn odd_characters_in_a_path_are_themselves() {
    let url = crate::debian::fetch::below("http://a.example/x/", "./pool/a_1%3a2+b~c?d#e f.deb").unwrap();
    assert_eq!(url.as_str(), "http://a.example/x/pool/a_1%253a2+b~c%3Fd%23e%20f.deb");
    assert!(crate::debian::fetch::below("mailto:x", "y").is_err());
}

#[test]
fn similar_names() {
    assert_eq!(
        (distance("abc", "abd"), distance("abc", "ab"), distance("abc", "bac"), distance("a", "abcd")),
        (1, 1, 2, 3)
    );
    let text = ["libgomp1", "gomp", "python3", "zzz"].map(|name| paragraph(name, "1", "")).concat();
    let server = Repository::new("bookworm", &text).sign().serve();
    let archive = Home::new().open(&of(&[&server])).unwrap();
    assert_eq!(archive.similar("libgomp2"), ["libgomp1", "gomp"]);
    assert_eq!(archive.similar("pyton3"), ["python3"]);
    assert_eq!(archive.similar("nothinglikeit"), Vec::<String>::new());
}

#[test]
fn the_machines_own_archive_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    let progress = Progress::silent();
    let http = || Ok(Http::new()?);
    let context = Context::new(&store, &progress, &http);
    let machine = Sources::of_machine().unwrap();
    let sources = Sources { sources: machine.sources.clone(), ..Default::default() };
    let archive = Archive::open(&sources, "amd64", &Floor::new(), &context).unwrap();
    assert_eq!(archive.releases().len(), sources.sources.len());
    let python = archive.versions("python3").unwrap();
    let package = &python[0].package;
    assert_eq!((package.name.as_str(), package.architecture.as_str(), python[0].priority), ("python3", "amd64", 500));
    assert_eq!(archive.similar("pyhton3"), ["python3"]);
    assert!(archive.providers("mail-transport-agent").unwrap().iter().any(|one| one.package.name == "postfix"));
    // A second time, from the store.
    let again = Archive::open(&sources, "amd64", &Floor::new(), &context).unwrap();
    assert_eq!((again.len(), again.releases()), (archive.len(), archive.releases()));
    let digests = fetch_debs(std::slice::from_ref(package), &sources, &context).unwrap();
    assert_eq!(digests, [package.location.as_ref().unwrap().sha256]);
    assert!(store.read(&digests[0], 1 << 20).unwrap().starts_with(b"!<arch>\n"));
    let offline = || panic!("no network");
    let offline = Context { http: &offline, ..context };
    assert_eq!(fetch_debs(std::slice::from_ref(package), &sources, &offline).unwrap(), digests);
}
