//! The machine's own apt: its lists as a universe of packages, and its resolver.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use ingot::debian::{Candidate, Error, Package, Paragraph, Universe, paragraphs};

use super::Ran;

/// What the machine's apt knows, read once for all tests.
pub struct AptLists {
    texts: BTreeMap<String, Vec<(&'static str, bool)>>,
    providers: BTreeMap<String, Vec<String>>,
}

/// The machine's lists. `apt-get update` has to have been run (`make install-test-tools`).
pub fn apt_lists() -> &'static AptLists {
    static LISTS: LazyLock<AptLists> = LazyLock::new(AptLists::read);
    &LISTS
}

fn apt(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    Ran::of(command).ok()
}

impl AptLists {
    fn read() -> AptLists {
        let format = ["indextargets", "--format", "$(FILENAME) $(CODENAME)", "Created-By: Packages"];
        let targets = apt("apt-get", &format).stdout;
        let mut lists = AptLists { texts: BTreeMap::new(), providers: BTreeMap::new() };
        for target in targets.lines() {
            let (file, suite) = target.split_once(' ').unwrap();
            // The helper of the other tests keeps a few megabytes only.
            let output = Command::new("/usr/lib/apt/apt-helper").args(["cat-file", file]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            lists.add(Box::leak(text.into_boxed_str()), suite.ends_with("-security"));
        }
        assert!(
            lists.texts.len() > 10_000,
            "apt's lists are missing: run `make install-test-tools`, or as root: apt-get update"
        );
        lists
    }

    fn add(&mut self, text: &'static str, security: bool) {
        for paragraph in paragraphs(text) {
            let field = |name: &str| {
                let start = paragraph.find(name)? + name.len();
                paragraph[start..].lines().next().map(str::trim)
            };
            let name = paragraph.strip_prefix("Package: ").unwrap().lines().next().unwrap();
            for provided in field("\nProvides: ").into_iter().flat_map(|field| field.split(',')) {
                let provided = provided.trim().split([' ', '(']).next().unwrap();
                self.providers.entry(provided.to_string()).or_default().push(name.to_string());
            }
            self.texts.entry(name.to_string()).or_default().push((paragraph, security));
        }
    }
}

impl Universe for AptLists {
    fn versions(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let mut found: Vec<Candidate> = Vec::new();
        for (text, security) in self.texts.get(name).into_iter().flatten() {
            let package = Arc::new(Package::parse(&Paragraph::parse(text))?);
            match found.iter_mut().find(|known| known.package.version == package.version) {
                Some(known) => known.security |= security,
                None => found.push(Candidate { package, priority: 500, security: *security }),
            }
        }
        found.sort_by(|a, b| b.package.version.cmp(&a.package.version));
        Ok(found)
    }

    fn providers(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let mut names = self.providers.get(name).cloned().unwrap_or_default();
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for own in names.iter().filter(|own| *own != name) {
            let provides = |one: &Candidate| one.package.provides.iter().any(|provided| provided.name == name);
            found.extend(self.versions(own)?.into_iter().filter(provides));
        }
        Ok(found)
    }

    fn similar(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
}

/// What apt would install, upgrade or remove on top of a status file: "name version", and "-name".
///
/// `cache` is a folder where apt may keep what it has read; the action is `["install", NAME, ...]`, for example.
pub fn apt_simulate(status: &Path, cache: &Path, action: &[&str]) -> Result<Vec<String>, String> {
    answer(status, cache, &["-s", "-q"], action, change)
}

/// The same, at half the time, where there is nothing to remove: what apt would fetch.
pub fn apt_fetches(status: &Path, cache: &Path, action: &[&str]) -> Result<Vec<String>, String> {
    std::fs::create_dir_all(cache.join("archives/partial")).unwrap();
    answer(status, cache, &["--print-uris", "-qq"], action, fetch)
}

fn answer(
    status: &Path,
    cache: &Path,
    options: &[&str],
    action: &[&str],
    read: fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let mut command = Command::new("apt-get");
    command.args(options).args(["--no-install-recommends", "-o", "Debug::NoLocking=1"]);
    // apt brings what is installed of the same source package up to date, too; Ingot leaves what holds as it is.
    command.args(["-o", "APT::Get::Upgrade-By-Source-Package=false"]);
    let (status, cache) = (status.display(), cache.display());
    let settings = [
        &*format!("Dir::State::status={status}"),
        &*format!("Dir::Cache={cache}"),
        "Dir::Cache::pkgcache=pkgcache.bin",
        "Dir::Cache::srcpkgcache=srcpkgcache.bin",
        "Dir::Etc::preferences=/dev/null",
        "Dir::Etc::preferencesparts=/dev/null",
        "Dir::State::extended_states=/dev/null",
    ];
    command.args(settings.iter().flat_map(|setting| ["-o", *setting])).args(action).env("LC_ALL", "C");
    let ran = Ran::of(command);
    if ran.code != 0 {
        return Err(ran.stderr);
    }
    let mut found: Vec<String> = ran.stdout.lines().filter_map(read).collect();
    found.sort();
    Ok(found)
}

/// "'URI' name_1%3a2.0_amd64.deb SIZE HASH".
fn fetch(line: &str) -> Option<String> {
    let mut parts = line.split(' ').nth(1)?.split('_');
    Some(format!("{} {}", parts.next()?, parts.next()?.replace("%3a", ":")))
}

/// "Inst name [old] (version Debian:12.11/stable [amd64])".
fn change(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    match (words.next()?, words.next()?) {
        ("Inst", name) => {
            let version = line.split_once('(')?.1.split(' ').next()?;
            Some(format!("{name} {version}"))
        }
        ("Remv", name) => Some(format!("-{name}")),
        _ => None,
    }
}
