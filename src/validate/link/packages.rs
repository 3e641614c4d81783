//! Which package of Debian or Ubuntu has a library.

use std::collections::BTreeMap;

use crate::validate::subject::Subject;

/// Libraries that wheels are known to need. A line: soname, then the package in Debian 12 and 13, Ubuntu 22.04 and
/// 24.04; `-` where there is none.
const TABLE: &str = include_str!("../../../layers/libraries.txt");

/// The releases in the table's order, with what people call them.
const RELEASES: [(&str, &str); 4] =
    [("bookworm", "Debian 12"), ("trixie", "Debian 13"), ("jammy", "Ubuntu 22.04"), ("noble", "Ubuntu 24.04")];

/// The table as an image reads it.
pub(super) struct Packages {
    /// The image's column; `None` if its packages have other names.
    release: Option<usize>,
    rows: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Packages {
    /// By what the image's os-release says.
    pub fn of(subject: &Subject) -> Packages {
        let text = subject.text("etc/os-release").or_else(|| subject.text("usr/lib/os-release")).unwrap_or_default();
        Packages { release: release(text), rows: rows() }
    }

    /// What to do to get a library.
    pub fn fix(&self, library: &str) -> Option<String> {
        let release = self.release?;
        let package = *self.rows.get(library)?.get(release)?;
        let (_, name) = RELEASES.get(release)?;
        Some(match package {
            "-" => format!("{name} has no package with it: take a wheel that was built for it, or another base"),
            package => format!("Add `{package}` to [os] packages, or install it in the base."),
        })
    }
}

fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.collect()))
        })
        .collect()
}

/// The nearest release of the same distribution.
fn release(text: &str) -> Option<usize> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches(['"', '\'']).to_string()
    };
    let codename = field("VERSION_CODENAME");
    if let Some(place) = RELEASES.iter().position(|(name, _)| *name == codename) {
        return Some(place);
    }
    let number: f32 = field("VERSION_ID").parse().unwrap_or(0.0);
    match field("ID").as_str() {
        "debian" => Some(usize::from(number > 12.5)),
        "ubuntu" => Some(if number > 23.5 { 3 } else { 2 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_every_release() {
        let rows = rows();
        assert!(rows.len() > 100, "{}", rows.len());
        for (library, packages) in &rows {
            assert_eq!(packages.len(), RELEASES.len(), "{library}");
            assert!(library.contains(".so"), "{library}");
        }
        let mut sorted: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        sorted.sort_unstable();
        assert!(TABLE.lines().filter(|line| !line.starts_with('#')).eq(sorted), "sorted");
    }

    #[test]
    fn names_are_those_of_the_image() {
        let fix = |os: &str, library: &str| Packages { release: release(os), rows: rows() }.fix(library);
        let debian = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        let ubuntu = "ID=ubuntu\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n";
        for (os, library, package) in [
            (debian, "libGL.so.1", "`libgl1`"),
            (debian, "libglib-2.0.so.0", "`libglib2.0-0`"),
            (ubuntu, "libglib-2.0.so.0", "`libglib2.0-0t64`"),
            ("ID=debian\nVERSION_ID=13\n", "libglib-2.0.so.0", "`libglib2.0-0t64`"),
            ("ID=debian\n", "libgomp.so.1", "`libgomp1`"),
        ] {
            let found = fix(os, library).unwrap_or_else(|| panic!("{library}"));
            assert!(found.contains(package), "{library}: {found}");
        }
        assert_eq!(fix("ID=alpine\nVERSION_ID=3.19.1\n", "libGL.so.1"), None);
        assert_eq!(fix(debian, "libnobodyknows.so.1"), None);
    }

    /// About so many libraries: dpkg compares each with every file that it knows.
    const ASKED: usize = 30;

    /// This machine's own dpkg is asked for the libraries that it has.
    #[test]
    fn this_machines_dpkg_agrees() {
        let os = crate::fs::read_text(std::path::Path::new("/etc/os-release"), 1 << 16).unwrap();
        let Some(release) = release(&os) else { return };
        let there =
            |library: &&str| crate::fs::exists(std::path::Path::new(&format!("/usr/lib/x86_64-linux-gnu/{library}")));
        let rows = rows();
        let mut command = std::process::Command::new("dpkg");
        command
            .arg("-S")
            .args(rows.keys().copied().filter(there).take(ASKED).map(|library| format!("*-linux-gnu/{library}")));
        let output = crate::process::run(command, b"", crate::process::DEFAULT_TIMEOUT).unwrap();
        let mut compared = 0;
        for line in output.stdout_text().lines() {
            let Some((packages, path)) = line.split_once(": ") else { continue };
            let library = path.rsplit('/').next().unwrap();
            // A folder below may have another build of it.
            if !path.ends_with(&format!("-linux-gnu/{library}")) || packages.starts_with("diversion") {
                continue;
            }
            let Some(row) = rows.get(library) else { continue };
            let owners: Vec<&str> = packages.split(", ").map(|owner| owner.split(':').next().unwrap()).collect();
            assert!(owners.contains(&row[release]), "{library}: {owners:?}, {}", row[release]);
            compared += 1;
        }
        assert!(compared > 3, "apt-get install libexpat1 zlib1g: {compared} libraries compared");
    }
}
