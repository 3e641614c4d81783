//! Our resolver against apt's own, with this machine's lists: what is installed on top of nothing, and on top of this
//! machine.

use std::path::Path;
use std::process::Command;

use ingot::debian::{Change, Installed, Request, Universe, Upgrade, Wanted, solve};
use ingot::error::Explain;

use crate::support::*;

const STATUS: &str = "/var/lib/dpkg/status";

/// Package sets of different kinds, on top of nothing.
const SETS: &[&str] = &[
    "python3",
    "python3-venv python3-pip",
    "python3-numpy",
    "python3-django",
    "postgresql",
    "postgresql-15",
    "nodejs",
    "npm",
    "nginx",
    "default-jre-headless",
    "libgl1",
    "openssl",
    "ca-certificates",
    "tzdata",
    "perl",
    "perl-base",
    "git",
    "imagemagick",
    "gcc",
    "build-essential",
    "r-base-core",
    "php-cli",
    "php",
    "ruby",
    "rails",
    "redis-server",
    "ffmpeg",
    "curl wget",
    "apache2",
    "mariadb-server",
    "sqlite3 libsqlite3-0",
    "gnupg",
    "openssh-server",
    "systemd",
    "dbus",
    "libreoffice-calc",
    "emacs-nox",
    "vim",
    "golang",
    "rustc cargo",
    "octave",
    "gdal-bin",
    "libopencv-dev",
    "postfix",
    "mailutils",
    "exim4-daemon-light mutt",
    "chromium",
    "cups",
    "podman",
    "cmake ninja-build",
    "locales",
    "bash coreutils dpkg",
    "mawk gawk",
    "awk-is-no-package",
];

/// Sets on top of what this machine has.
const ON_TOP: &[&str] = &[
    "postgresql",
    "nginx-full",
    "r-base-core",
    "ffmpeg",
    "default-jdk",
    "php",
    "rails",
    "emacs-nox",
    "mariadb-server",
    "octave",
    "libreoffice-calc",
];

/// Where the answers differ, and why that is right: the set, what only apt has, what only we have.
const KNOWN: &[(&str, &[&str], &[&str])] = &[
    // apt upgrades what is installed and wanted. We leave what the base has; upgrades are asked for as such.
    ("postgresql", &["postgresql", "postgresql-client-common", "postgresql-common", "postgresql-contrib"], &[]),
    // apt also upgrades what is installed and of one source with something new. Nothing needs it: it stays.
    ("octave", &["libevent-2.1-7", "libpcre2-8-0"], &[]),
];

fn architecture() -> String {
    let mut command = Command::new("dpkg");
    command.arg("--print-architecture");
    Ran::of(command).ok().stdout.trim().to_string()
}

fn ours(installed: &Installed, packages: &[&str], upgrade: Upgrade) -> Result<Vec<String>, String> {
    let wanted = packages.iter().enumerate().map(|(index, text)| Wanted::parse(text, index).unwrap());
    let request = Request { packages: wanted.collect(), upgrade, architecture: architecture(), ..Request::default() };
    let solution = solve(apt_lists(), installed, &request);
    let solution = solution.map_err(|error| format!("{error}: {:?}", error.details()))?;
    let shown = |change: &Change| format!("{} {}", change.candidate.package.name, change.candidate.package.version);
    let mut found: Vec<String> = solution.changes.iter().map(shown).collect();
    found.sort();
    Ok(found)
}

fn only(a: &[String], b: &[String]) -> Vec<String> {
    a.iter().filter(|one| !b.contains(one)).cloned().collect()
}

/// What one has and the other has not.
fn difference(status: &Path, cache: &Path, installed: &Installed, set: &str) -> Option<String> {
    let packages: Vec<&str> = set.split(' ').collect();
    let action: Vec<&str> = ["install"].into_iter().chain(packages.iter().copied()).collect();
    let apt = if installed.is_empty() { apt_fetches } else { apt_simulate };
    match (apt(status, cache, &action), ours(installed, &packages, Upgrade::None)) {
        (Ok(theirs), Ok(ours)) => {
            let (apt, own) = (only(&theirs, &ours), only(&ours, &theirs));
            let known = KNOWN.iter().filter(|known| known.0 == set && !installed.is_empty()).any(|known| {
                let all = |found: &[String], names: &[&str]| {
                    found.iter().all(|one| names.contains(&one.split(' ').next().unwrap()))
                };
                all(&apt, known.1) && all(&own, known.2)
            });
            let same = apt.is_empty() && own.is_empty();
            (!known && !same).then(|| format!("{set}: only apt {apt:?}, only we {own:?}"))
        }
        (Err(_), Err(_)) => None,
        (theirs, ours) => Some(format!("{set}: apt {theirs:?}, we {ours:?}")),
    }
}

/// Compares all sets, two at a time: apt is slow.
fn compare(status: &Path, installed: &Installed, sets: &[String]) {
    apt_lists();
    let (first, second) = sets.split_at(sets.len() / 2);
    let part = |sets: &[String]| {
        let scratch = Scratch::new();
        let found = sets.iter().filter_map(|set| difference(status, scratch.path(), installed, set));
        found.collect::<Vec<String>>()
    };
    let found = std::thread::scope(|scope| {
        let second = scope.spawn(|| part(second));
        [part(first), second.join().unwrap()].concat()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Packages of which there is an older version: each in that one, as far as apt can do that at all.
fn older() -> Vec<String> {
    let older = |name: &&str| {
        let versions = apt_lists().versions(name).unwrap();
        versions.get(1).map(|one| format!("{name}={}", one.package.version))
    };
    ["tzdata", "libc6", "libexpat1", "sudo", "rsync", "vim-tiny", "screen"].iter().filter_map(older).collect()
}

#[test]
fn packages_on_top_of_nothing_are_those_of_apt() {
    let scratch = Scratch::new();
    let status = scratch.join("status");
    std::fs::write(&status, "").unwrap();
    let sets: Vec<String> = SETS.iter().map(ToString::to_string).chain(older()).collect();
    assert!(sets.len() >= SETS.len() + 2, "apt's lists have no older versions: run `make install-test-tools`");
    compare(&status, &Installed::empty(), &sets);
}

#[test]
fn packages_on_top_of_this_machine_are_those_of_apt() {
    let text = std::fs::read_to_string(STATUS).unwrap();
    let installed = Installed::parse([text.as_str()]).unwrap();
    compare(Path::new(STATUS), &installed, &ON_TOP.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn upgrades_of_this_machine_are_those_of_apt() {
    let text = std::fs::read_to_string(STATUS).unwrap();
    let installed = Installed::parse([text.as_str()]).unwrap();
    let scratch = Scratch::new();
    let theirs = apt_simulate(Path::new(STATUS), scratch.path(), &["upgrade", "--with-new-pkgs"]).unwrap();
    let ours = ours(&installed, &[], Upgrade::All).unwrap();
    let (apt, own) = (only(&theirs, &ours), only(&ours, &theirs));
    assert!(apt.is_empty() && own.is_empty(), "only apt {apt:#?}, only we {own:#?}");
}

#[test]
fn real_conflicts_are_told_in_words() {
    let told = |set: &str| ours(&Installed::empty(), &set.split(' ').collect::<Vec<_>>(), Upgrade::None).unwrap_err();
    let together = told("postfix exim4-daemon-light");
    assert!(
        together.starts_with("packages `postfix` and `exim4-daemon-light` cannot be installed together"),
        "{together}"
    );
    assert!(together.contains("`postfix` conflicts with `exim4-daemon-light`"), "{together}");
    let provided = told("default-mta postfix");
    assert!(
        provided.contains("`exim4-daemon-light` conflicts with `postfix`; it is what provides `default-mta`"),
        "{provided}"
    );
    assert!(told("mail-transport-agent").starts_with("`mail-transport-agent` is no package"));
    assert!(told("curl libcurl4=1").starts_with("there is no version `1` of package `libcurl4`"));
    assert!(told("python3-pip pyton3").starts_with("there is no package `pyton3`"));
}
