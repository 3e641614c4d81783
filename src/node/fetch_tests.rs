use std::sync::Arc;

use super::*;
use crate::net::testing::{Act, Seen, Server, quick};
use crate::node::Integrity;
use crate::node::registry::Login;
use crate::node::testing::{integrity, store, tarball};

fn package(name: &str, bytes: &[u8], resolved: Option<&str>) -> Package {
    Package {
        path: format!("node_modules/{name}"),
        folder: name.into(),
        name: name.into(),
        version: "1.0.0".into(),
        tarball: Some(Origin {
            resolved: resolved.map(str::to_string),
            integrity: Integrity::parse(&integrity(bytes)).unwrap(),
        }),
        bins: BTreeMap::new(),
        install_script: false,
    }
}

fn at(server: &Server) -> Registries {
    Registries { registry: Some(server.url("/npm/")), ..Registries::default() }
}

fn go(packages: &[Package], registries: &Registries, store: &Store) -> Result<Vec<Option<Tarball>>> {
    let given = || Ok(registries.clone());
    fetch(packages, "package-lock.json", &given, &|| Ok(quick()), store, &Progress::silent())
}

#[test]
fn each_tarball_is_fetched_once_and_remembered() {
    let (one, two) = (tarball(&[("a", "1")]), tarball(&[("a", "2")]));
    let (first, second) = (one.clone(), two.clone());
    let server = Server::start(move |seen| match seen.path() {
        "/npm/a/-/a-1.0.0.tgz" => Act::body(200, &first),
        "/npm/@s/b/-/b-1.0.0.tgz" => Act::body(200, &second),
        _ => Act::status(404),
    });
    let (_folder, store) = store();
    let bundled = Package { tarball: None, ..package("in", b"", None) };
    let packages = [package("a", &one, None), package("@s/b", &two, None), bundled, package("a", &one, None)];
    let found = go(&packages, &at(&server), &store).unwrap();
    let expected = |bytes: &[u8]| Some(Tarball { digest: Digest::of(bytes), size: bytes.len() as u64 });
    assert_eq!(found, [expected(&one), expected(&two), None, expected(&one)]);
    assert_eq!(server.seen().len(), 2, "{:?}", server.lines());
    // From now on nobody is asked.
    let nobody = || panic!("everything is here");
    let again = fetch(&packages, "x", &nobody, &|| panic!("everything is here"), &store, &Progress::silent());
    assert_eq!(again.unwrap(), found);
    // What was removed from the store is fetched anew.
    store.discard(&Digest::of(&one)).unwrap();
    assert_eq!(go(&packages, &at(&server), &store).unwrap(), found);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn what_does_not_match_the_lock_is_never_stored() {
    let (good, bad) = (tarball(&[("a", "1")]), tarball(&[("a", "2")]));
    let served = bad.clone();
    let server = Server::start(move |_| Act::body(200, &served));
    let (_folder, store) = store();
    let error = go(&[package("a", &good, None)], &at(&server), &store).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "fetching `a@1.0.0`: `a@1.0.0` from {} does not match package-lock.json: expected {}, found {}",
            server.url("/npm/a/-/a-1.0.0.tgz"),
            integrity(&good),
            integrity(&bad)
        )
    );
    assert!(error.class().code() == 4 && error.hint().unwrap().contains("replaced, or damaged"));
    assert!(!store.has(&Digest::of(&bad)) && !store.has(&Digest::of(&good)));
}

#[test]
fn registries_that_fail_are_network_errors() {
    let bytes = tarball(&[("a", "1")]);
    for (status, times) in [(404, 2), (401, 1), (500, 5)] {
        let server = Server::start(move |_| Act::status(status));
        let (_folder, store) = store();
        let error = go(&[package("a", &bytes, None)], &at(&server), &store).unwrap_err();
        assert_eq!(error.class().code(), 5, "{error}");
        assert!(
            error.to_string().starts_with("fetching `a@1.0.0`: ") && error.to_string().contains(&status.to_string())
        );
        assert_eq!(server.seen().len(), times, "{:?}", server.lines());
    }
}

#[test]
fn where_a_registry_has_its_own_places_its_document_says_so() {
    let bytes = tarball(&[("a", "1")]);
    let served = bytes.clone();
    let place = Arc::new(std::sync::Mutex::new(String::new()));
    let told = place.clone();
    let server = Server::start(move |seen: &Seen| match seen.path() {
        "/npm/@s%2fb" => {
            assert!(seen.header("accept").unwrap().starts_with("application/vnd.npm.install-v1+json"));
            let document = format!(
                r#"{{"versions": {{"1.0.0": {{"dist": {{"tarball": "{}"}}}}, "2.0.0": 7}}}}"#,
                told.lock().unwrap()
            );
            Act::body(200, document.as_bytes())
        }
        "/elsewhere/b.tgz" => Act::body(200, &served),
        _ => Act::status(404),
    });
    *place.lock().unwrap() = server.url("/elsewhere/b.tgz").to_string();
    let (_folder, store) = store();
    assert!(go(&[package("@s/b", &bytes, None)], &at(&server), &store).is_ok());
    assert_eq!(server.lines(), ["GET /npm/@s/b/-/b-1.0.0.tgz", "GET /npm/@s%2fb", "GET /elsewhere/b.tgz"]);
    // A lock that says where it is, is believed.
    let (_folder, store) = self::store();
    let gone = package("@s/b", &bytes, Some(server.url("/gone.tgz").as_str()));
    assert_eq!(go(&[gone], &at(&server), &store).unwrap_err().class().code(), 5);
    assert_eq!(server.lines().len(), 4);
    let odd = package("@s/b", &bytes, Some("https://["));
    assert!(go(&[odd], &at(&server), &store).unwrap_err().to_string().contains("a `resolved` is not a URL"));
}

#[test]
fn a_login_is_sent_to_its_own_place_and_no_other() {
    let bytes = tarball(&[("a", "1")]);
    let served = bytes.clone();
    let stranger = Server::start(move |_| Act::body(200, &served));
    let away = stranger.url("/a.tgz").to_string();
    let served = bytes.clone();
    let server = Server::start(move |seen| match seen.path() {
        "/npm/moved/-/moved-1.0.0.tgz" => Act::status(302).with("Location", away.clone()),
        _ => Act::body(200, &served),
    });
    let login = Login { header: "Bearer canary".into() };
    let registries = Registries {
        logins: [(format!("//{}/npm/", server.authority()), login)].into(),
        replace: crate::node::registry::Replace::Never,
        ..at(&server)
    };
    let (_folder, store) = store();
    let mut other = package("b", &bytes, Some(stranger.url("/b.tgz").as_str()));
    go(&[package("a", &bytes, None)], &registries, &store).unwrap();
    // The same bytes are not fetched twice: what is remembered has to go.
    let forget = || std::fs::remove_dir_all(store.root().join("index-v1")).unwrap();
    forget();
    go(&[other.clone()], &registries, &store).unwrap();
    forget();
    other.tarball.as_mut().unwrap().resolved = Some(server.url("/outside/b.tgz").to_string());
    go(&[other], &registries, &store).unwrap();
    forget();
    go(&[package("moved", &bytes, None)], &registries, &store).unwrap();
    let authorized: Vec<(String, bool)> = server
        .seen()
        .iter()
        .map(|seen| (seen.path().to_string(), seen.header("authorization") == Some("Bearer canary")))
        .collect();
    assert_eq!(
        authorized,
        [
            ("/npm/a/-/a-1.0.0.tgz".to_string(), true),
            // On the same server, though nothing is written for the place.
            ("/outside/b.tgz".to_string(), true),
            ("/npm/moved/-/moved-1.0.0.tgz".to_string(), true)
        ]
    );
    assert_eq!(stranger.lines(), ["GET /b.tgz", "GET /a.tgz"]);
    // A package of another registry, and a stranger who sends back to the place: no login.
    let to = server.url("/outside/back.tgz").to_string();
    let sender = Server::start(move |_| Act::status(302).with("Location", to.clone()));
    forget();
    go(&[package("back", &bytes, Some(sender.url("/x.tgz").as_str()))], &registries, &store).unwrap();
    let scoped = Registries { scopes: [("@s".to_string(), stranger.url("/"))].into(), ..registries };
    forget();
    go(&[package("@s/c", &bytes, Some(server.url("/outside/c.tgz").as_str()))], &scoped, &store).unwrap();
    let last: Vec<(String, bool)> = server
        .seen()
        .iter()
        .skip(3)
        .map(|seen| (seen.path().to_string(), seen.header("authorization").is_some()))
        .collect();
    assert_eq!(last, [("/outside/back.tgz".to_string(), false), ("/outside/c.tgz".to_string(), false)]);
    assert!(stranger.seen().iter().all(|seen| seen.header("authorization").is_none()));
}
