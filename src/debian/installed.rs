//! What dpkg's database says is installed: `/var/lib/dpkg/status`, and `status.d` of images without dpkg.

use super::{Error, Package, Paragraph, Version, paragraphs};
use crate::error::{During, Result};
use crate::image::Rootfs;
use crate::layer::TreePath;

/// The longest status file that is read, in bytes; a desktop of 5,000 packages has about 10 MB.
const STATUS_LIMIT: u64 = 256 << 20;
/// dpkg's own list.
const STATUS: &str = "var/lib/dpkg/status";
/// The states of a package that is installed; the last two wait for triggers, which changes nothing of that.
const INSTALLED: [&str; 3] = ["installed", "triggers-pending", "triggers-awaited"];
/// One file for each package, as distroless images have it.
const STATUS_FOLDER: &str = "var/lib/dpkg/status.d";

/// A package that dpkg's database has as installed.
#[derive(Clone, Debug)]
pub struct InstalledPackage {
    /// The package; it has no location.
    pub package: Package,
    /// Whether it is on hold: its administrator wants it neither upgraded nor removed.
    pub held: bool,
    /// Its paragraph as it stands in the database, with the final line feed.
    pub text: String,
}

/// All packages that are installed, sorted by name and architecture.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    packages: Vec<InstalledPackage>,
}

impl Installed {
    /// Nothing is installed.
    pub fn empty() -> Installed {
        Installed::default()
    }

    /// What the database in this root file system says; nothing if there is none.
    pub fn of(root: &Rootfs) -> Result<Installed> {
        let mut texts = vec![text_of(root, &TreePath::new(STATUS)?)?];
        for (path, _) in root.list(&TreePath::new(STATUS_FOLDER)?) {
            if !path.as_str().ends_with(".md5sums") {
                texts.push(text_of(root, &path)?);
            }
        }
        Installed::parse(texts.iter().map(String::as_str)).during(|| "reading dpkg's database of the base".into())
    }

    /// From the texts of status files. Where two speak of one package, the first counts.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Installed, Error> {
        let mut packages: Vec<InstalledPackage> = Vec::new();
        for text in texts.into_iter().flat_map(paragraphs) {
            packages.extend(installed(text)?);
        }
        let key = |one: &InstalledPackage| (one.package.name.clone(), one.package.architecture.clone());
        packages.sort_by_cached_key(key);
        packages
            .dedup_by(|b, a| (&a.package.name, &a.package.architecture) == (&b.package.name, &b.package.architecture));
        Ok(Installed { packages })
    }

    /// All of them, sorted by name and architecture.
    pub fn packages(&self) -> &[InstalledPackage] {
        &self.packages
    }

    /// Those of this name: one for each architecture.
    pub fn named(&self, name: &str) -> &[InstalledPackage] {
        let start = self.packages.partition_point(|one| one.package.name.as_str() < name);
        let end = self.packages.partition_point(|one| one.package.name.as_str() <= name);
        self.packages.get(start..end).unwrap_or_default()
    }

    /// The one of this name for `native` or for all architectures.
    pub fn native(&self, name: &str, native: &str) -> Option<&InstalledPackage> {
        self.named(name).iter().find(|one| is_native(&one.package, native))
    }

    /// In which version the package of this name is there, for `native` or for all architectures.
    pub fn version(&self, name: &str, native: &str) -> Option<&Version> {
        self.native(name, native).map(|one| &one.package.version)
    }

    /// Whether nothing is installed.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
}

/// Whether the package is for this architecture or for all.
pub(super) fn is_native(package: &Package, native: &str) -> bool {
    package.architecture == native || package.architecture == "all"
}

fn text_of(root: &Rootfs, path: &TreePath) -> Result<String> {
    let bytes = root.read(path, STATUS_LIMIT)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The package of a paragraph, if it is installed. `status.d` has no field `Status`: what is there is installed.
fn installed(text: &str) -> Result<Option<InstalledPackage>, Error> {
    let paragraph = Paragraph::parse(text);
    if paragraph.is_empty() {
        return Ok(None);
    }
    let mut words = paragraph.get("Status").unwrap_or("install ok installed").split_whitespace();
    let held = words.next() == Some("hold");
    if !words.last().is_some_and(|state| INSTALLED.contains(&state)) {
        return Ok(None);
    }
    let named = || paragraph.get("Package").unwrap_or_default().escape_debug().take(100).collect();
    let package = Package::parse(&paragraph).map_err(|error| match error {
        field @ Error::Field { .. } => field,
        other => Error::Status { package: named(), source: Box::new(other) },
    })?;
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(Some(InstalledPackage { package, held, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: b\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: half\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: pends\nStatus: install ok triggers-pending\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: waits\nStatus: install ok triggers-awaited\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: held\nStatus: hold ok installed\nVersion: 2\nArchitecture: all\n\n\
                      Package: b\nStatus: install ok installed\nVersion: 1\nArchitecture: i386\n\n";
        let folder = "Package: a\nVersion: 3\nArchitecture: amd64";
        let again = "Package: b\nVersion: 9\nArchitecture: amd64\n";
        let installed = Installed::parse([status, folder, again]).unwrap();
        let names: Vec<_> = installed.packages().iter().map(|one| one.package.qualified("amd64")).collect();
        assert_eq!(names, ["a", "b", "b:i386", "held", "pends", "waits"]);
        assert_eq!(installed.version("b", "amd64").unwrap().as_str(), "1");
        assert!(installed.native("held", "amd64").unwrap().held && !installed.native("a", "amd64").unwrap().held);
        assert_eq!(installed.native("a", "amd64").unwrap().text, "Package: a\nVersion: 3\nArchitecture: amd64\n");
        assert_eq!((installed.named("b").len(), installed.named("x").len()), (2, 0));
        assert!(Installed::empty().is_empty());
    }

    #[test]
    fn a_paragraph_that_does_not_parse_names_its_package() {
        let bad = "Package: b\nStatus: install ok installed\nVersion: 1 2\nArchitecture: amd64\n";
        let error = crate::error::Error::from(Installed::parse([bad]).unwrap_err());
        assert_eq!(
            error.to_string(),
            "dpkg's database has no readable description of package `b`: `1 2` is not a version of a package: it has a \
             character that no version has"
        );
        assert_eq!(error.class().code(), 4);
        let bad = "Package: b\nStatus: install ok installed\nVersion: 1\n";
        assert!(Installed::parse([bad]).unwrap_err().to_string().contains("package `b` has no field"));
    }

    #[test]
    fn a_root_without_dpkg_has_nothing() {
        assert!(Installed::of(&Rootfs::empty()).unwrap().is_empty());
    }
}
