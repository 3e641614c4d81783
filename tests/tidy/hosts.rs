//! Which package hosts this machine uses: asked of apt, pip and npm, so that none of them is written here.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const PIP: &str = "from pip._internal.models.index import PyPI as p; print('https://' + p.netloc); print('https://' + p.file_storage_domain)";

/// Host names in lower case, without those of this machine itself.
pub fn of_this_machine() -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for text in [
        apt(),
        said(&["python3", "-c", PIP]),
        said(&["/usr/bin/python3", "-c", PIP]),
        said(&["npm", "config", "get", "registry"]),
    ] {
        hosts.extend(in_text(&text));
    }
    hosts
}

/// The hosts of all URLs in a text.
fn in_text(text: &str) -> Vec<String> {
    let after_scheme = text.split("://").skip(1);
    let host = |rest: &str| {
        let authority = rest.split(|symbol: char| symbol == '/' || symbol.is_whitespace()).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
        host.to_lowercase()
    };
    let named = |host: &String| host.contains('.') && host.parse::<std::net::IpAddr>().is_err();
    after_scheme.map(host).filter(named).collect()
}

fn apt() -> String {
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let used = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "list" || e == "sources");
    let files = folder.filter(used).chain(["/etc/apt/sources.list".into()]);
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// What a tool prints; nothing if it is not there.
fn said(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[test]
fn hosts_are_cut_out_of_urls() {
    let text = "URIs: https://user:secret@Mirror.example:8443/debian\n# http://127.0.0.1/x http://localhost/y ftp://other.example";
    assert_eq!(in_text(text), ["mirror.example", "other.example"]);
}
