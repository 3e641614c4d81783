//! The layer of OS packages: packages unpacked over the base, and configured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::configure::{self, Options, Scripts};
use super::{Deb, DebError, Installed, Keep, Package, Root, database, install};
use crate::error::{During, Result};
use crate::image::Rootfs;
use crate::layer::{Bucket, Context, Fingerprint, Kind, LayerSource, LayerTree, Store, TreePath};
use crate::oci::{Digest, Platform, json};

/// The name of the layer.
pub const OS_LAYER: &str = "os packages";
/// The version of everything that decides what packages become in a layer.
const VERSION: u32 = 2;
/// The largest report that is read, in bytes.
const REPORT_LIMIT: u64 = 16 << 20;

/// A package to be installed; its .deb is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// "amd64", "all".
    pub architecture: String,
    /// The .deb.
    pub sha256: Digest,
    /// The version that the base has.
    pub old: Option<String>,
}

impl Chosen {
    /// Whether the .deb is what was chosen.
    fn agrees(&self, own: &Package) -> Result<(), DebError> {
        let fields = [
            ("name", &*self.name, &*own.name),
            ("version", &*self.version, own.version.as_str()),
            ("architecture", &*self.architecture, &*own.architecture),
        ];
        match fields.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((field, expected, found)) => Err(DebError::Other {
                package: self.name.clone(),
                field,
                expected: expected.into(),
                found: found.into(),
            }),
        }
    }
}

/// What the layer is made of.
pub struct OsSpec {
    /// The files of the base.
    pub below: Arc<Rootfs>,
    /// What stands for them.
    pub base: Digest,
    /// Whether there is nothing below: a base that is made of packages alone.
    pub fresh: bool,
    /// Whether `/bin` and `/lib` of a fresh base are links into `/usr`.
    pub usr_merge: bool,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// The packages, sorted by name.
    pub packages: Vec<Chosen>,
    /// What is not left out of them.
    pub keep: Vec<String>,
}

/// A maintainer script that was not run, and that might have done something of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptNotRun {
    /// The package.
    pub package: String,
    /// "postinst".
    pub script: String,
    /// What it would have done, as far as that is known.
    pub reason: Option<String>,
}

/// A file that runs with the rights of its owner or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedFile {
    /// The package.
    pub package: String,
    /// Its path, absolute.
    pub path: String,
    /// Its mode.
    pub mode: u32,
}

/// What happened while packages became a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsReport {
    /// Scripts that were not run and that might matter.
    pub not_run: Vec<ScriptNotRun>,
    /// Files that are setuid or setgid.
    pub privileged: Vec<PrivilegedFile>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// The bytes of documentation, manuals and translations that were left out.
    pub left_out: u64,
}

/// The source of layer "os".
pub struct OsLayer {
    spec: OsSpec,
    report: Mutex<Option<OsReport>>,
}

/// Debian's name of a platform's architecture.
pub fn architecture(platform: &Platform) -> Option<&'static str> {
    match (platform.architecture.as_str(), platform.variant.as_deref()) {
        ("amd64", _) => Some("amd64"),
        ("arm64", _) => Some("arm64"),
        ("arm", Some("v5")) => Some("armel"),
        ("arm", Some("v6")) => None,
        ("arm", _) => Some("armhf"),
        ("386", _) => Some("i386"),
        ("ppc64le", _) => Some("ppc64el"),
        ("s390x", _) => Some("s390x"),
        ("riscv64", _) => Some("riscv64"),
        _ => None,
    }
}

impl OsLayer {
    /// Of these packages.
    pub fn new(spec: OsSpec) -> Self {
        OsLayer { spec, report: Mutex::new(None) }
    }

    /// The packages.
    pub fn packages(&self) -> &[Chosen] {
        &self.spec.packages
    }

    /// What happened when the layer with this fingerprint was made; `None` if nobody remembers.
    pub fn report(&self, fingerprint: &Fingerprint, store: &Store) -> Result<Option<OsReport>> {
        let made = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if made.is_some() {
            return Ok(made);
        }
        let bytes = store.get_entry(Bucket::OsReports, &report_name(fingerprint), REPORT_LIMIT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn open(&self, context: &Context<'_>) -> Result<Vec<Deb>> {
        let open = |chosen: &Chosen| -> Result<Deb> {
            let deb = Deb::of_store(&chosen.sha256, &chosen.name, context.store)?;
            chosen
                .agrees(&deb.package)
                .map_err(crate::error::Error::from)
                .during(|| format!("unpacking package `{}`", chosen.name))?;
            Ok(deb)
        };
        let opened: Vec<Result<Deb>> = self.spec.packages.par_iter().map(open).collect();
        opened.into_iter().collect()
    }
}

/// Removes the base's bytecode of modules that are replaced: no package has it, and what Ingot wrote is believed
/// without a look at the source (PEP 552, unchecked).
fn forget_bytecode(root: &mut Root) -> Result<()> {
    let mut folders: BTreeMap<TreePath, BTreeSet<String>> = BTreeMap::new();
    for (path, entry) in root.tree().iter() {
        if let (Kind::File(_), Some(stem), Some(folder)) = (&entry.kind, path.name().strip_suffix(".py"), path.parent())
        {
            folders.entry(folder.join("__pycache__")?).or_default().insert(stem.to_string());
        }
    }
    for (folder, stems) in folders {
        for (path, _) in root.below().clone().list(&folder) {
            let stem = path.name().split('.').next().unwrap_or_default();
            if path.name().ends_with(".pyc") && stems.contains(stem) && root.own(&path).is_none() {
                root.remove(&path);
            }
        }
    }
    Ok(())
}

fn report_name(fingerprint: &Fingerprint) -> String {
    format!("{}.json", fingerprint.digest().hex())
}

impl LayerSource for OsLayer {
    fn name(&self) -> &str {
        OS_LAYER
    }

    fn created_by(&self) -> String {
        format!("ingot: {} OS packages", self.spec.packages.len())
    }

    fn fingerprint(&self, _: &Context<'_>) -> Result<Fingerprint> {
        let spec = &self.spec;
        let mut fingerprint = Fingerprint::new(self.name(), "os", VERSION)
            .field("base", spec.base)
            .field("architecture", &spec.architecture)
            .field("fresh", format!("{} {}", spec.fresh, spec.usr_merge))
            .field("keep", spec.keep.join(" "));
        for chosen in &spec.packages {
            let old = chosen.old.as_deref().unwrap_or("-");
            let value = format!("{} {} {} from {old}", chosen.version, chosen.architecture, chosen.sha256);
            fingerprint = fingerprint.field(format!("package {}", chosen.name), value);
        }
        Ok(fingerprint)
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let spec = &self.spec;
        let installed = Installed::of(&spec.below)?;
        let keep = Keep::parse(&spec.keep)?;
        let debs = self.open(context)?;
        let mut root = Root::new(spec.below.clone());
        if spec.fresh {
            configure::prepare_fresh(&mut root, spec.usr_merge, &spec.architecture)?;
        }
        let mut installation = install(root, &debs, &installed, &keep)?;
        let old: BTreeMap<&str, &str> =
            spec.packages.iter().filter_map(|chosen| Some((chosen.name.as_str(), chosen.old.as_deref()?))).collect();
        let scripts: Vec<Scripts<'_>> = debs
            .iter()
            .map(|deb| Scripts {
                package: &deb.package.name,
                version: deb.package.version.as_str(),
                scripts: &deb.scripts,
                triggers: deb.triggers.as_deref(),
                upgraded_from: old.get(deb.package.name.as_str()).copied(),
            })
            .collect();
        let options = Options { architecture: spec.architecture.clone(), fresh: spec.fresh };
        let configured = configure::configure(&mut installation.root, &scripts, &options)?;
        database::write(&mut installation, &debs, &installed)?;
        forget_bytecode(&mut installation.root)?;
        let report = OsReport {
            not_run: configured
                .not_run
                .into_iter()
                .map(|one| ScriptNotRun { package: one.package, script: one.script, reason: one.matters })
                .collect(),
            privileged: installation
                .privileged
                .iter()
                .map(|(path, mode, package)| PrivilegedFile {
                    package: package.clone(),
                    path: format!("/{path}"),
                    mode: *mode,
                })
                .collect(),
            notes: configured.notes,
            left_out: installation.left_out,
        };
        let fingerprint = self.fingerprint(context)?;
        context.store.put_entry(Bucket::OsReports, &report_name(&fingerprint), &json::canonical(&report))?;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        installation.root.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Entry;
    use crate::layer::read::testing::{RawTar, layer};
    use crate::progress::Progress;

    #[test]
    fn bytecode_of_replaced_modules_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let tar = RawTar::new()
            .file("usr/lib/python3.11/ssl.py", b"old")
            .file("usr/lib/python3.11/__pycache__/ssl.cpython-311.pyc", b"old")
            .file("usr/lib/python3.11/__pycache__/ssl.cpython-311.opt-1.pyc", b"old")
            .file("usr/lib/python3.11/__pycache__/other.cpython-311.pyc", b"good");
        let layers = [layer(&store, "base", tar.end())];
        let rootfs = Rootfs::open(&layers, Arc::new(store.clone()), &store, &Progress::silent()).unwrap();
        let mut root = Root::new(Arc::new(rootfs));
        let path = TreePath::new("usr/lib/python3.11/ssl.py").unwrap();
        root.replace(&path, Entry::file("new", 0o644, &"package `x`".into()));
        forget_bytecode(&mut root).unwrap();
        let tree = root.finish().unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        let removed = ["ssl.cpython-311.opt-1.pyc", "ssl.cpython-311.pyc"];
        let removed = removed.map(|name| format!("usr/lib/python3.11/__pycache__/.wh.{name}"));
        assert_eq!(paths, [removed[0].as_str(), &removed[1], "usr/lib/python3.11/ssl.py"]);
    }

    #[test]
    fn architectures_have_debians_names() {
        for (platform, name) in [
            ("linux/amd64", Some("amd64")),
            ("linux/arm64", Some("arm64")),
            ("linux/arm/v7", Some("armhf")),
            ("linux/386", Some("i386")),
            ("linux/ppc64le", Some("ppc64el")),
            ("linux/loong64", None),
        ] {
            assert_eq!(architecture(&platform.parse().unwrap()), name, "{platform}");
        }
    }

    #[test]
    fn a_deb_that_is_another_one_is_refused() {
        let chosen = Chosen {
            name: "a".into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: Digest::of(b"x"),
            old: None,
        };
        let control = "Package: a\nVersion: 2\nArchitecture: all\n";
        let package = Package::parse(&super::super::Paragraph::parse(control)).unwrap();
        let error = chosen.agrees(&package).unwrap_err();
        assert!(error.to_string().contains("version") && error.to_string().contains('2'), "{error}");
        let same = Chosen { version: "2".into(), ..chosen };
        assert!(same.agrees(&package).is_ok());
    }
}
