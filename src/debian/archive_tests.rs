//! Whole archives: the machine's own.

use super::*;
use crate::debian::fetch_debs;
use crate::layer::Store;
use crate::progress::Progress;

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
    let digests = fetch_debs(&[package.clone()], &sources, &context).unwrap();
    assert_eq!(digests, [package.location.as_ref().unwrap().sha256]);
    assert!(store.read(&digests[0], 1 << 20).unwrap().starts_with(b"!<arch>\n"));
    let offline = || panic!("no network");
    let offline = Context { http: &offline, ..context };
    assert_eq!(fetch_debs(&[package.clone()], &sources, &offline).unwrap(), digests);
}
