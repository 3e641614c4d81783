//! Indexes that serve, lie, refuse and withhold; folders, locks that name files, and warm stores.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::net::Credentials;
use crate::net::testing::{Act, Seen, Server, quick};
use crate::python::location::IndexOptions;
use crate::python::lock::{LockedFile, Unusable};
use crate::python::tags::tests::target;
use crate::python::testing::{WheelBuilder, store};
use crate::python::{Libc, Target};

/// Nobody looks on.
fn silent() -> Watch<'static> {
    static WANTED: AtomicBool = AtomicBool::new(false);
    Watch { arrived: &|_| {}, unwanted: &WANTED }
}

fn here() -> Target {
    target(11, "amd64", Libc::Glibc(2, 36))
}

fn locked(hashes: &[&[u8]]) -> Locked {
    let mut hashes: Vec<Digest> = hashes.iter().map(|bytes| Digest::of(bytes)).collect();
    hashes.sort();
    Locked {
        name: "x".into(),
        version: "1".into(),
        hashes,
        marker: None,
        place: "r.lock:7".into(),
        files: Vec::new(),
        requires_python: None,
        unusable: None::<Unusable>,
    }
}

fn wheel(tag: &str) -> WheelBuilder {
    WheelBuilder::new("x", "1").tag(tag).file("x.py", tag)
}

const PURE: &str = "py3-none-any";
const BINARY: &str = "cp311-cp311-manylinux_2_17_x86_64";
const FOREIGN: &str = "cp311-cp311-win_amd64";

fn offline() -> Result<Http> {
    panic!("no network is needed here")
}

fn folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Indexes) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let links = vec![Links::Folder(folder.path().to_path_buf())];
    (folder, Indexes::only(IndexOptions { links, no_index: true, ..IndexOptions::default() }))
}

fn go(locked: &Locked, indexes: &Indexes, store: &Store, http: &dyn Fn() -> Result<Http>) -> Result<Wheel> {
    let wheels = fetch(std::slice::from_ref(locked), &here(), indexes, store, http, &Progress::silent(), &silent())?;
    assert_eq!(wheels.len(), 1);
    Ok(wheels.into_iter().next().unwrap())
}

fn from_folder(locked: &Locked, files: &[(&str, &[u8])]) -> Result<Wheel> {
    let (_folder, indexes) = folder(files);
    let (_store_folder, store) = store();
    go(locked, &indexes, &store, &|| Ok(quick()))
}

#[test]
fn the_best_wheel_with_a_locked_hash_is_taken_and_remembered() {
    let (pure, binary, foreign) = (wheel(PURE), wheel(BINARY), wheel(FOREIGN));
    let (p, b, f) = (pure.build(), binary.build(), foreign.build());
    let files = [(&pure.name()[..], &p[..]), (&binary.name(), &b), (&foreign.name(), &f), ("notes.txt", b"")];
    let (kept, indexes) = folder(&files);
    let (_folder, store) = store();
    let both = locked(&[&p, &b, &f]);
    let found = go(&both, &indexes, &store, &offline).unwrap();
    assert_eq!((found.filename, found.digest, found.size), (binary.name(), Digest::of(&b), b.len() as u64));
    assert_eq!((found.name.as_str(), found.place.as_str()), ("x", "r.lock:7"));
    assert!(store.has(&Digest::of(&b)) && !store.has(&Digest::of(&p)));
    // Another hash in the lock, another choice.
    assert_eq!(go(&locked(&[&p]), &indexes, &store, &offline).unwrap().filename, pure.name());
    // From a warm store: no folder, no index, no network.
    drop(kept);
    let nowhere = Indexes::only(IndexOptions { no_index: true, ..IndexOptions::default() });
    assert_eq!(go(&both, &nowhere, &store, &offline).unwrap().filename, binary.name());
    // A blob that went away is not invented.
    store.discard(&Digest::of(&b)).unwrap();
    assert!(go(&both, &nowhere, &store, &|| Ok(quick())).is_err());
}

#[test]
fn the_build_number_decides_between_equal_tags() {
    let bytes = [wheel(PURE).build(), wheel(PURE).file("2", "").build(), wheel(PURE).file("10", "").build()];
    let names = ["x-1-py3-none-any.whl", "x-1-2-py3-none-any.whl", "x-1-10-py3-none-any.whl"];
    let files: Vec<(&str, &[u8])> = names.iter().zip(&bytes).map(|(name, bytes)| (*name, &bytes[..])).collect();
    let all = locked(&[&bytes[0], &bytes[1], &bytes[2]]);
    assert_eq!(from_folder(&all, &files).unwrap().filename, "x-1-10-py3-none-any.whl");
}

#[test]
fn what_is_missing_is_explained() {
    let (pure, foreign) = (wheel(PURE), wheel(FOREIGN));
    let (p, f) = (pure.build(), foreign.build());
    let error = from_folder(&locked(&[b"?"]), &[("y-1-py3-none-any.whl", &p)]).unwrap_err();
    assert!(error.to_string().starts_with("`x==1` (r.lock:7) was not found: looked in `/"), "{error}");
    assert_eq!(error.class().code(), 5);
    let error = from_folder(&locked(&[&f]), &[(&foreign.name(), &f)]).unwrap_err();
    assert!(error.to_string().ends_with("found `x-1-cp311-cp311-win_amd64.whl`"), "{error}");
    let error = from_folder(&locked(&[&f]), &[(&foreign.name(), &f), (&pure.name(), &p)]).unwrap_err();
    assert!(error.to_string().ends_with(&format!("found {}", Digest::of(&p))), "{error}");
    assert_eq!(error.class().code(), 4);
}

/// An index that serves these files, as JSON.
fn index(files: Vec<(String, Vec<u8>)>, change: impl Fn(&Seen, Act) -> Act + Send + Sync + 'static) -> Server {
    let files = Arc::new(files);
    Server::start(move |seen| {
        let act = match seen.path() {
            "/simple/x/" => {
                let listed: Vec<String> = files
                    .iter()
                    .map(|(name, bytes)| {
                        let hash = Digest::of(bytes).hex();
                        format!(r#"{{"filename": "{name}", "url": "/files/{name}", "hashes": {{"sha256": "{hash}"}}, "size": {}}}"#, bytes.len())
                    })
                    .collect();
                let page = format!(r#"{{"meta": {{"api-version": "1.0"}}, "files": [{}]}}"#, listed.join(","));
                Act::body(200, page.as_bytes()).with("Content-Type", "application/vnd.pypi.simple.v1+json")
            }
            path => match files.iter().find(|(name, _)| path == format!("/files/{name}")) {
                Some((_, bytes)) => Act::body(200, bytes),
                None => Act::status(404),
            },
        };
        change(seen, act)
    })
}

fn at(server: &Server) -> Indexes {
    let index = Location::parse(server.url("/simple").as_str(), "test").unwrap();
    Indexes::only(IndexOptions { index: Some(index), ..IndexOptions::default() })
}

fn from_index(locked: &Locked, server: &Server) -> Result<Wheel> {
    let (_folder, store) = store();
    go(locked, &at(server), &store, &|| Ok(quick()))
}

#[test]
fn an_index_is_asked_once() {
    let (pure, binary) = (wheel(PURE), wheel(BINARY));
    let (p, b) = (pure.build(), binary.build());
    let server = index(vec![(pure.name(), p.clone()), (binary.name(), b.clone())], |_, act| act);
    let (_folder, store) = store();
    let both = locked(&[&p, &b]);
    for _ in 0..2 {
        assert_eq!(go(&both, &at(&server), &store, &|| Ok(quick())).unwrap().digest, Digest::of(&b));
    }
    let file = format!("GET /files/{}", binary.name());
    assert_eq!(server.lines(), ["GET /simple/x/".to_string(), file]);
    assert!(server.seen()[0].header("accept").unwrap().starts_with("application/vnd.pypi.simple.v1+json"));
}

#[test]
fn an_index_that_lies_is_found_out() {
    let pure = wheel(PURE);
    let p = pure.build();
    // The page promises the locked hash, the body is another.
    let evil = wheel(PURE).file("evil.py", "").build();
    let body = evil.clone();
    let server = index(vec![(pure.name(), p.clone())], move |seen, act| {
        if seen.path().starts_with("/files/") { Act::body(200, &body[..]) } else { act }
    });
    let error = from_index(&locked(&[&p]), &server).unwrap_err();
    assert!(matches!(error.class().code(), 4 | 5), "{error}");
    // The same with a body of the promised length.
    let mut flipped = p.clone();
    flipped[40] ^= 1;
    let server = index(vec![(pure.name(), p.clone())], move |seen, act| {
        if seen.path().starts_with("/files/") { Act::body(200, &flipped) } else { act }
    });
    let error = from_index(&locked(&[&p]), &server).unwrap_err();
    let start = format!("`{}` does not match `x==1` (r.lock:7): expected {}", pure.name(), Digest::of(&p));
    assert!(error.to_string().starts_with(&start), "{error}");
    assert_eq!(error.class().code(), 4);
    // The page itself has another hash than the lock: nothing is downloaded.
    let server = index(vec![(pure.name(), evil)], |_, act| act);
    let error = from_index(&locked(&[&p]), &server).unwrap_err();
    assert!(error.to_string().starts_with(&start), "{error}");
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn an_index_without_hashes_is_checked_by_the_lock() {
    let pure = wheel(PURE);
    let p = pure.build();
    let body = p.clone();
    // Row 74: the name is the lock's and the index's, never that of a header.
    let server = Server::start(move |seen| match seen.path() {
        "/simple/x/" => {
            Act::body(200, b"<a href='../../f/x-1-py3-none-any.whl'>x</a>").with("Content-Type", "text/html")
        }
        "/f/x-1-py3-none-any.whl" => {
            Act::body(200, &body).with("Content-Disposition", "attachment; filename=\"../../../etc/evil\"")
        }
        _ => Act::status(404),
    });
    let (_folder, store) = store();
    let http = || Ok(quick());
    assert_eq!(go(&locked(&[&p]), &at(&server), &store, &http).unwrap().filename, pure.name());
    store.discard(&Digest::of(&p)).unwrap();
    let error = go(&locked(&[b"other"]), &at(&server), &store, &http).unwrap_err();
    assert_eq!(error.class().code(), 4);
    assert!(!store.has(&Digest::of(&p)), "what is not in the lock does not stay in the store");
}

#[test]
fn each_reason_has_its_words() {
    let (pure, foreign) = (wheel(PURE), wheel(FOREIGN));
    let (p, f) = (pure.build(), foreign.build());
    let sdist = ("x-1.tar.gz".to_string(), b"source".to_vec());
    let say =
        |files: Vec<(String, Vec<u8>)>, locked: &Locked| from_index(locked, &index(files, |_, act| act)).unwrap_err();
    // Row 71.
    let error = say(vec![sdist.clone()], &locked(&[b"source"]));
    assert_eq!(error.to_string(), "`x==1` (r.lock:7) has no wheel, only a source distribution: `x-1.tar.gz`");
    let error = say(vec![sdist, (foreign.name(), f.clone())], &locked(&[&f]));
    let text = error.to_string();
    assert!(text.starts_with("no wheel of `x==1` (r.lock:7) is for Python 3.11 on linux/amd64 with glibc 2.36: expected one of `cp311-cp311-manylinux_2_36_x86_64`"), "{text}");
    assert!(text.ends_with("found `x-1-cp311-cp311-win_amd64.whl`"), "{text}");
    assert_eq!(error.class().code(), 2);
    let error = say(vec![("x-2-py3-none-any.whl".into(), p.clone())], &locked(&[&p]));
    assert!(error.to_string().contains("was not found: looked in `http://127.0.0.1"), "{error}");
    let server = index(vec![], |_, _| Act::status(403));
    let error = from_index(&locked(&[&p]), &server).unwrap_err();
    assert!(error.to_string().starts_with("looking for `x==1` (r.lock:7): "), "{error}");
    assert_eq!(error.class().code(), 5);
    let server = index(vec![], |_, _| Act::body(200, b"{").with("Content-Type", "application/json"));
    assert!(from_index(&locked(&[&p]), &server).unwrap_err().to_string().contains("is not JSON as expected"));
}

#[test]
fn a_second_index_and_a_page_of_links_help_out() {
    let pure = wheel(PURE);
    let p = pure.build();
    let good = index(vec![(pure.name(), p.clone())], |_, act| act);
    let refuses = index(vec![], |_, _| Act::status(403));
    let mut indexes = at(&refuses);
    indexes.options.extra.push(Location::parse(good.url("/simple/").as_str(), "test").unwrap());
    let (_folder, first) = store();
    go(&locked(&[&p]), &indexes, &first, &|| Ok(quick())).unwrap();

    let links = format!("<a href='/files/{}'>x</a><a href='/files/other-1-py3-none-any.whl'>y</a>", pure.name());
    let body = p.clone();
    let page = Server::start(move |seen| match seen.path() {
        "/links.html" => Act::body(200, links.as_bytes()).with("Content-Type", "text/html"),
        _ => Act::body(200, &body),
    });
    let links = vec![Links::Page(Location::parse(page.url("/links.html").as_str(), "test").unwrap())];
    let indexes = Indexes::only(IndexOptions { links, no_index: true, ..IndexOptions::default() });
    let (_folder, second) = store();
    assert_eq!(go(&locked(&[&p]), &indexes, &second, &|| Ok(quick())).unwrap().digest, Digest::of(&p));
}

#[test]
fn a_pylock_decides_by_itself() {
    let (pure, binary) = (wheel(PURE), wheel(BINARY));
    let (p, b) = (pure.build(), binary.build());
    let file = |builder: &WheelBuilder, bytes: &[u8], path: Option<PathBuf>| LockedFile {
        filename: builder.name(),
        digest: Digest::of(bytes),
        size: Some(bytes.len() as u64),
        path,
    };
    let mut lock = locked(&[&p, &b]);
    lock.files = vec![file(&pure, &p, None), file(&binary, &b, None)];
    let server = index(vec![(pure.name(), p.clone()), (binary.name(), b.clone())], |_, act| act);
    assert_eq!(from_index(&lock, &server).unwrap().filename, binary.name());
    // An index that has only the worse one does not decide.
    let server = index(vec![(pure.name(), p.clone())], |_, act| act);
    assert!(from_index(&lock, &server).is_err());
    // In the store already, under nothing but its hash.
    let (_folder, store) = store();
    store.put(&b).unwrap();
    let nowhere = Indexes::only(IndexOptions { no_index: true, ..IndexOptions::default() });
    assert_eq!(go(&lock, &nowhere, &store, &offline).unwrap().filename, binary.name());
    // A path in the lock, right and wrong.
    store.discard(&Digest::of(&b)).unwrap();
    let (folder, _) = folder(&[("b.whl", &b), ("evil.whl", b"evil")]);
    lock.files[1].path = Some(folder.path().join("b.whl"));
    assert_eq!(go(&lock, &nowhere, &store, &offline).unwrap().filename, binary.name());
    store.discard(&Digest::of(&b)).unwrap();
    lock.files[1].path = Some(folder.path().join("evil.whl"));
    assert_eq!(go(&lock, &nowhere, &store, &offline).unwrap_err().class().code(), 4);
}

#[test]
fn credentials_go_to_their_index_and_are_never_shown() {
    let pure = wheel(PURE);
    let p = pure.build();
    let server = index(vec![(pure.name(), p.clone())], |seen, act| {
        if seen.header("authorization").is_some() { act } else { Act::status(401) }
    });
    let mut indexes = at(&server);
    let (_folder, store) = store();
    let error = go(&locked(&[&p]), &indexes, &store, &|| Ok(quick())).unwrap_err();
    assert_eq!(error.class().code(), 5);
    let login = Credentials { username: "u".into(), password: "canary".into() };
    indexes.options.index.as_mut().unwrap().login = Some(login);
    go(&locked(&[&p]), &indexes, &store, &|| Ok(quick())).unwrap();
    let error = go(&locked(&[b"?"]), &indexes, &store, &|| Ok(quick())).unwrap_err();
    assert!(!format!("{error:?} {indexes:?}").contains("canary"));
}

#[test]
fn many_are_fetched_at_the_same_time_in_order() {
    let names: Vec<String> = (0..30).map(|n| format!("p{n:02}")).collect();
    let bytes: BTreeMap<String, Vec<u8>> =
        names.iter().map(|name| (name.clone(), WheelBuilder::new(name, "1").build())).collect();
    let served = bytes.clone();
    let server = Server::start(move |seen| {
        let path = seen.path().to_string();
        match path.strip_prefix("/simple/") {
            Some(name) => {
                let name = name.trim_end_matches('/');
                let page =
                    format!("<a href='/f/{name}-1-py3-none-any.whl#sha256={}'>x</a>", Digest::of(&served[name]).hex());
                Act::body(200, page.as_bytes())
                    .with("Content-Type", "text/html")
                    .delay(std::time::Duration::from_millis(60))
            }
            None => Act::body(200, &served[&path[3..6]]),
        }
    });
    let all: Vec<Locked> =
        bytes.iter().map(|(name, bytes)| Locked { name: name.clone(), ..locked(&[bytes]) }).collect();
    let (_folder, store) = store();
    let before = std::time::Instant::now();
    let wheels = fetch(&all, &here(), &at(&server), &store, &|| Ok(quick()), &Progress::silent(), &silent()).unwrap();
    let found: Vec<_> = wheels.iter().map(|wheel| wheel.name.clone()).collect();
    assert_eq!(found, names);
    assert!(before.elapsed() < std::time::Duration::from_millis(30 * 60 * 3 / 4 + 3000), "{:?}", before.elapsed());
}

#[test]
fn a_wheel_is_told_of_while_others_are_on_their_way() {
    let names = ["a", "b"];
    let bytes: BTreeMap<String, Vec<u8>> =
        names.iter().map(|name| (name.to_string(), WheelBuilder::new(name, "1").build())).collect();
    let served = bytes.clone();
    let (told, heard) = std::sync::mpsc::channel();
    let heard = Mutex::new(heard);
    let server = Server::start(move |seen| {
        let path = seen.path().to_string();
        match path.strip_prefix("/simple/").map(|rest| rest.trim_end_matches('/')) {
            Some(name) => {
                let digest = Digest::of(&served[name]).hex();
                let page = format!("<a href='/f/{name}-1-py3-none-any.whl#sha256={digest}'>x</a>");
                Act::body(200, page.as_bytes()).with("Content-Type", "text/html")
            }
            // The second is sent when somebody has heard of the first.
            None if path.contains("/b-1") => {
                match heard.lock().unwrap().recv_timeout(std::time::Duration::from_secs(30)) {
                    Ok(name) if name == "a" => Act::body(200, &served["b"]),
                    _ => Act::status(410),
                }
            }
            None => Act::body(200, &served["a"]),
        }
    });
    let all: Vec<Locked> =
        bytes.iter().map(|(name, bytes)| Locked { name: name.clone(), ..locked(&[bytes]) }).collect();
    let (_folder, store) = store();
    let told = Mutex::new(told);
    let fetch_all = |arrived: &(dyn Fn(&Wheel) + Sync)| {
        fetch(
            &all,
            &here(),
            &at(&server),
            &store,
            &|| Ok(quick()),
            &Progress::silent(),
            &Watch { arrived, ..silent() },
        )
        .unwrap();
    };
    fetch_all(&|wheel| {
        assert!(store.has(&wheel.digest));
        told.lock().unwrap().send(wheel.name.clone()).unwrap();
    });
    // What was there before is no news.
    fetch_all(&|wheel| panic!("{}", wheel.name));
}

#[test]
fn what_two_images_need_is_fetched_once() {
    let pure = wheel(PURE);
    let p = pure.build();
    let page = format!("<a href='/f/{}#sha256={}'>x</a>", pure.name(), Digest::of(&p).hex());
    let served = p.clone();
    let server = Server::start(move |seen| match seen.path() {
        "/simple/x/" => Act::body(200, page.as_bytes()).with("Content-Type", "text/html"),
        _ => Act::body(200, &served).delay(std::time::Duration::from_millis(300)),
    });
    let (_folder, store) = store();
    let get = |minor| {
        let target = target(minor, "amd64", Libc::Glibc(2, 36));
        let store = store.clone();
        fetch(&[locked(&[&p])], &target, &at(&server), &store, &|| Ok(quick()), &Progress::silent(), &silent())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (8..12).map(|minor| scope.spawn(move || get(minor).unwrap().remove(0).digest)).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap() == Digest::of(&p)));
    });
    let files = server.seen().iter().filter(|seen| seen.path().starts_with("/f/")).count();
    assert_eq!(files, 1);
}

#[test]
fn what_nobody_wants_is_broken_off() {
    let pure = wheel(PURE);
    let p = pure.build();
    let page = format!("<a href='/f/{}#sha256={}'>x</a>", pure.name(), Digest::of(&p).hex());
    let served = p.clone();
    let unwanted = Arc::new(AtomicBool::new(false));
    let stop = unwanted.clone();
    let server = Server::start(move |seen| match seen.path() {
        "/simple/x/" => Act::body(200, page.as_bytes()).with("Content-Type", "text/html"),
        _ => {
            stop.store(true, Ordering::Relaxed);
            Act::body(200, &served)
        }
    });
    let (_folder, store) = store();
    let watch = Watch { unwanted: &unwanted, ..silent() };
    let get = || fetch(&[locked(&[&p])], &here(), &at(&server), &store, &|| Ok(quick()), &Progress::silent(), &watch);
    let error = get().unwrap_err();
    assert!(error.chain().concat().contains("nobody wants the wheel any more"), "{error}");
    assert_eq!(server.seen().len(), 2);
    let error = get().unwrap_err();
    assert_eq!(error.to_string(), "`x==1` is not wanted any more");
    assert!(!store.has(&Digest::of(&p)) && server.seen().len() == 2);
}

struct Heard(Mutex<Vec<String>>);

impl crate::progress::Reporter for Heard {
    fn started(&self, _: u64, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: u64, _: u64) {}
    fn finished(&self, _: u64, _: &str) {}
    fn message(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_string());
    }
}

#[test]
fn a_withdrawn_wheel_is_used_with_a_warning() {
    let pure = wheel(PURE);
    let p = pure.build();
    let (page, body) = (
        format!("<a href='/f/{}#sha256={}' data-yanked='it\u{1b}[31m leaks'>x</a>", pure.name(), Digest::of(&p).hex()),
        p.clone(),
    );
    let server = Server::start(move |seen| match seen.path() {
        "/simple/x/" => Act::body(200, page.as_bytes()).with("Content-Type", "text/html"),
        _ => Act::body(200, &body),
    });
    let (_folder, store) = store();
    let heard = Arc::new(Heard(Mutex::new(Vec::new())));
    let progress = Progress::new(heard.clone());
    fetch(&[locked(&[&p])], &here(), &at(&server), &store, &|| Ok(quick()), &progress, &silent()).unwrap();
    assert_eq!(*heard.0.lock().unwrap(), ["`x==1` (r.lock:7) was withdrawn: it[31m leaks"]);
}
