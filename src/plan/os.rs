//! Packages of the base's own distribution: which, from where, and the layer that they become.
//!
//! What comes after that layer is planned by looking at it (its Python, its C library, its users), so it is made
//! while the build is planned, unless the layer cache has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::{Base, Error, PlannedLayer};
use crate::debian::{
    self, Archive, Candidate, Chosen, Floor, Installed, Location, OsLayer, OsReport, OsSpec, Reason, Request, Solution,
    Sources, Upgrade, Wanted,
};
use crate::error::{During, Result};
use crate::image::{Access, BaseFacts, Blobs, Rootfs, remember_listing};
use crate::layer::{
    BlobRecord, BlobSource, Context, LayerBlob, LayerCache, LayerSource, LayerTree, Lookup, Origin, make_layer_with,
};
use crate::lock::{Hex, LockedImage, LockedPackage, LockedSuite};
use crate::net::Http;
use crate::oci::Platform;
use crate::oci::media_type::Compression;
use crate::project::{self, KnownBase, PythonSpec, Variant, known_packages};

/// The name of the layer.
pub const LAYER: &str = debian::OS_LAYER;
/// What nothing but maintainer scripts needs: no base without dpkg gets it, unless it is asked for.
const SCRIPTS_ONLY: [&str; 9] = [
    "adduser",
    "debconf",
    "debconf-2.0",
    "dpkg",
    "init-system-helpers",
    "libdebconfclient0",
    "lsb-base",
    "sensible-utils",
    "ucf",
];
/// What only the scripts of one package need; others may need it when they run.
const SCRIPTS_ONLY_OF: [(&str, &str); 5] = [
    ("base-files", "awk"),
    ("base-files", "mawk"),
    ("bash", "debianutils"),
    ("ca-certificates", "openssl"),
    ("dash", "debianutils"),
];
/// What wheels may expect of a system besides its C library (PEP 599 and its successors).
const WHEEL_LIBRARIES: [&str; 1] = ["libstdc++6"];

/// The layer of OS packages, finished.
pub struct Os {
    /// The layer.
    pub layer: PlannedLayer,
    /// As it stands in the manifest.
    pub blob: LayerBlob,
    /// What is installed and upgraded, sorted by name.
    pub packages: Vec<LockedPackage>,
    /// The version that the base has, by package.
    pub old: BTreeMap<String, String>,
    /// The signed indexes that were used.
    pub suites: Vec<LockedSuite>,
    /// Packages that nothing but maintainer scripts need, and who depends on them.
    pub omitted: Vec<(String, Vec<String>)>,
    /// Packages that are older than they could be, and why.
    pub held_back: Vec<String>,
    /// What happened while the layer was made.
    pub report: OsReport,
}

/// How packages are found, besides what the variant says.
pub struct Settings<'a> {
    /// What is locked, if that may be used.
    pub pins: Option<&'a LockedImage>,
    /// What was locked, fresh or not.
    pub last: Option<&'a LockedImage>,
    /// The archive of a base of packages.
    pub mirror: Option<&'a Url>,
    /// The keys of that archive.
    pub keyring: Option<&'a Path>,
    /// How the layer is compressed.
    pub compression: Compression,
    /// Whose layer it is, for the layer cache.
    pub slot: String,
}

/// What was chosen, and from where.
#[derive(Default)]
struct Selection {
    packages: Vec<LockedPackage>,
    suites: Vec<LockedSuite>,
    omitted: Vec<(String, Vec<String>)>,
    held_back: Vec<String>,
    sources: Option<Sources>,
}

struct Work<'a> {
    variant: &'a Variant,
    settings: &'a Settings<'a>,
    access: &'a Access,
    architecture: &'static str,
    known: Option<KnownBase>,
    installed: Installed,
}

/// Adds the layer of the variant's OS packages to its base, if it needs any.
pub fn install(
    base: Base,
    variant: &Variant,
    platform: &Platform,
    settings: &Settings<'_>,
    access: &Access,
) -> Result<Base> {
    let fresh = base.root_digest.is_none();
    let wanted = wanted(&base, variant, fresh)?;
    let upgrade = variant.os.upgrade != Upgrade::None && !fresh;
    if wanted.is_empty() && !upgrade {
        return Ok(base);
    }
    let place = || variant.os.packages.first().map_or(&variant.base.at, |first| &first.at);
    if !fresh && !base.facts.dpkg {
        let message = format!("base `{}` has no dpkg: OS packages cannot be installed into it", base.name);
        let hint = "choose a base that is made of Debian's or Ubuntu's packages".to_string();
        return Err(place().error(message, Some(hint)));
    }
    let Some(architecture) = debian::architecture(platform) else {
        return Err(Error::NoArchitecture { platform: platform.to_string() }.into());
    };
    let work = Work {
        variant,
        settings,
        access,
        architecture,
        known: known_packages(&base.name),
        installed: Installed::of(&base.below)?,
    };
    let selection = match settings.pins {
        Some(pins) => {
            Selection { packages: pins.packages.clone(), suites: pins.suites.clone(), ..Selection::default() }
        }
        None => work.resolve(&base, wanted)?,
    };
    if selection.packages.is_empty() {
        return Ok(base);
    }
    work.fetch(&base, &selection)?;
    work.layer(base, selection)
}

/// What has to be there: what the project asks for, what a base of packages has, and Python.
fn wanted(base: &Base, variant: &Variant, fresh: bool) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (index, package) in variant.os.packages.iter().enumerate() {
        let parsed = Wanted::parse(&package.value, index);
        wanted.push(parsed.map_err(|error| package.at.error(error.to_string(), None))?);
    }
    // Behind the last one of the project's.
    let implied = variant.os.packages.len();
    let mut add = |name: &str| {
        if !wanted.iter().any(|known| known.name == name) {
            wanted.push(Wanted { name: name.to_string(), architecture: None, version: None, index: implied });
        }
    };
    if fresh && let Some(known) = known_packages(&base.name) {
        known.apt.packages.iter().for_each(|name| add(name));
    }
    if let Some(python) = &variant.python
        && base.facts.python(&python.version.value).is_none()
        && offers_python(base, python, fresh)?
    {
        let name = python.version.value.name();
        add(&format!("{name}-minimal"));
        add(&format!("lib{name}-stdlib"));
        if fresh {
            WHEEL_LIBRARIES.iter().for_each(|name| add(name));
        }
    }
    Ok(wanted)
}

/// Whether the packages of the base's release may have this Python. What its apt knows besides, nobody knows before
/// it is asked.
fn offers_python(base: &Base, python: &PythonSpec, fresh: bool) -> Result<bool> {
    let known = known_packages(&base.name).or_else(|| of_release(base));
    let compatible = known.is_some_and(|known| known.apt.python.compatible(&python.version.value));
    Ok(compatible || !fresh && base.facts.dpkg && Sources::of_base(&base.below)?.is_some())
}

/// The packages of the base's release, as far as its os-release says which one it is.
fn of_release(base: &Base) -> Option<KnownBase> {
    let (id, release) = (base.facts.id()?, base.facts.version_id()?);
    known_packages(&format!("{id}:{release}{}", project::PACKAGES_SUFFIX))
}

impl Work<'_> {
    /// Resolves what is wanted against what the sources offer now.
    fn resolve(&self, base: &Base, wanted: Vec<Wanted>) -> Result<Selection> {
        let has_dpkg = self.installed.native("dpkg", self.architecture).is_some();
        let mut omit_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (of, name) in SCRIPTS_ONLY_OF.iter().filter(|_| !has_dpkg) {
            omit_of.entry(of.to_string()).or_default().insert(name.to_string());
        }
        let request = Request {
            packages: wanted,
            upgrade: self.variant.os.upgrade,
            recommends: self.variant.os.recommends,
            architecture: self.architecture.to_string(),
            omit: if has_dpkg { BTreeSet::new() } else { SCRIPTS_ONLY.map(str::to_string).into() },
            omit_of,
        };
        let sources = self.sources(base)?;
        let http = || Ok(Http::new()?);
        let context = debian::Context::new(&self.access.store, &self.access.progress, &http);
        let archive = Archive::open(&sources, self.architecture, &self.floor(&sources), &context)?;
        let solution =
            debian::solve(&archive, &self.installed, &request).map_err(|error| self.unsolved(base, error))?;
        Ok(self.selection(solution, &archive, sources))
    }

    fn selection(&self, solution: Solution, archive: &Archive, sources: Sources) -> Selection {
        let suite_of = |location: &Location| {
            let found = archive.releases().iter().find(|release| *release.archive == *location.archive);
            found.map(|release| release.suite.clone()).unwrap_or_default()
        };
        let locked = |candidate: &Candidate, reason: &Reason| {
            let package = &candidate.package;
            let location = package.location.as_ref()?;
            Some(LockedPackage {
                name: package.qualified(self.architecture),
                version: package.version.to_string(),
                architecture: package.architecture.clone(),
                suite: suite_of(location),
                path: location.path.clone(),
                size: location.size,
                sha256: Hex(location.sha256),
                reason: self.reason(&package.name, reason),
            })
        };
        let mut packages: Vec<LockedPackage> =
            solution.changes.iter().filter_map(|change| locked(&change.candidate, &change.reason)).collect();
        packages.sort();
        let suite =
            |release: &debian::ReleaseInfo| LockedSuite { name: release.suite.clone(), date: release.date.clone() };
        let suites: Vec<LockedSuite> = archive.releases().iter().map(suite).collect();
        let held_back = solution.left.iter().map(|left| {
            let why = if left.held { "it is on hold" } else { "another package stands in the way" };
            format!("{} stays at {} ({} is there): {why}", left.name, left.installed, left.available)
        });
        Selection {
            packages,
            suites,
            omitted: solution.omitted,
            held_back: held_back.collect(),
            sources: Some(sources),
        }
    }

    /// Why a package is there, in words. What the project did not list was asked for by Ingot.
    fn reason(&self, name: &str, reason: &Reason) -> String {
        let listed = |package: &project::Located<String>| package.value.split(['=', ':']).next() == Some(name);
        match reason {
            Reason::Requested if self.variant.os.packages.iter().any(listed) => "requested".into(),
            Reason::Requested if name.contains("python") => "[python] version".into(),
            Reason::Requested if WHEEL_LIBRARIES.contains(&name) => "expected by wheels".into(),
            Reason::Requested => "part of the base".into(),
            Reason::Needed(by) => format!("needed by {by}"),
            Reason::Recommended(by) => format!("recommended by {by}"),
            Reason::Upgrade { security: true } => "security update".into(),
            Reason::Upgrade { security: false } => "update".into(),
        }
    }

    /// The error of the resolver, at the line of the project file that it is about.
    fn unsolved(&self, base: &Base, error: debian::SolveError) -> crate::error::Error {
        use crate::error::Explain as _;
        match error.wanted_index().map(|index| self.variant.os.packages.get(index)) {
            Some(Some(package)) => package.at.error_with(error.to_string(), error.hint(), error.details()),
            Some(None) => match &self.variant.python {
                Some(python) => base.lacks(python, Some(&error.to_string())),
                None => error.into(),
            },
            None => error.into(),
        }
    }

    /// The base's own sources; of a base of packages those of the machine, or what the caller says.
    fn sources(&self, base: &Base) -> Result<Sources> {
        let given = |located: &Option<project::Located<String>>| located.as_ref().map(|one| one.value.clone());
        let mirror = match self.settings.mirror {
            Some(mirror) => Some(mirror.clone()),
            None => given(&self.variant.os.mirror).and_then(|text| Url::parse(&text).ok()),
        };
        let keyring: Option<PathBuf> = match self.settings.keyring {
            Some(keyring) => Some(keyring.to_path_buf()),
            None => self.variant.os.keyring.as_ref().map(|keyring| keyring.value.clone()),
        };
        let of_base =
            || Sources::of_base(&base.below).during(|| format!("reading the apt sources of base `{}`", base.name));
        if base.root_digest.is_some()
            && let Some(sources) = of_base()?
        {
            return Ok(sources);
        }
        let Some(known) = self.known.clone().or_else(|| of_release(base)) else {
            return Err(Error::NoSources { base: base.name.clone() }.into());
        };
        let machine = Sources::of_machine()?;
        Sources::for_release(
            &machine,
            &known.apt.suites,
            &known.apt.components,
            mirror.as_ref(),
            keyring.as_deref(),
            &base.name,
        )
    }

    /// Indexes may not be older than those of the lock, which has them in the order of the sources.
    fn floor(&self, sources: &Sources) -> Floor {
        let mut last: Vec<&LockedSuite> =
            self.settings.last.map(|last| last.suites.iter().collect()).unwrap_or_default();
        let mut floor = Floor::new();
        for source in &sources.sources {
            if let Some(at) = last.iter().position(|suite| suite.name == source.suite) {
                let known = last.remove(at);
                floor.insert((source.archive.to_string(), source.suite.clone()), known.date.clone());
            }
        }
        floor
    }

    /// Puts every .deb into the store.
    fn fetch(&self, base: &Base, selection: &Selection) -> Result<()> {
        let missing = |package: &&LockedPackage| !self.access.store.has(&package.sha256.0);
        let missing: Vec<&LockedPackage> = selection.packages.iter().filter(missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let own;
        let sources = match &selection.sources {
            Some(sources) => sources,
            None => {
                own = self.sources(base)?;
                &own
            }
        };
        let location = |package: &&LockedPackage| {
            let same = |source: &&debian::Source| source.suite == package.suite;
            let source = sources.sources.iter().find(same).or(sources.sources.first())?;
            Some(Location {
                archive: source.archive.as_str().into(),
                path: package.path.clone(),
                size: package.size,
                sha256: package.sha256.0,
            })
        };
        let locations: Vec<Location> = missing.iter().filter_map(location).collect();
        let http = || Ok(Http::new()?);
        let context = debian::Context::new(&self.access.store, &self.access.progress, &http);
        // Unpacked and compressed while others are on their way.
        debian::fetch_locations(&locations, sources, &context, |location| {
            let named = |package: &&&LockedPackage| package.sha256.0 == location.sha256;
            let name = missing.iter().find(named).map(|package| package.name.as_str()).unwrap_or_default();
            debian::cast(&location.sha256, name, &self.access.store)
        })?;
        Ok(())
    }

    /// The layer, from the cache or made now, and the base with it.
    fn layer(&self, base: Base, selection: Selection) -> Result<Base> {
        let native = |name: &str| name.split(':').next().unwrap_or_default().to_string();
        let old_of = |package: &LockedPackage| {
            self.installed.version(&native(&package.name), self.architecture).map(ToString::to_string)
        };
        let old: BTreeMap<String, String> =
            selection.packages.iter().filter_map(|package| Some((package.name.clone(), old_of(package)?))).collect();
        let chosen = |package: &LockedPackage| Chosen {
            name: native(&package.name),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            sha256: package.sha256.0,
            old: old.get(&package.name).cloned(),
        };
        let os = Arc::new(OsLayer::new(OsSpec {
            below: base.below.clone(),
            base: base.digest(),
            fresh: base.root_digest.is_none(),
            usr_merge: self.known.as_ref().is_none_or(|known| known.usr_merge),
            architecture: self.architecture.to_string(),
            packages: selection.packages.iter().map(chosen).collect(),
            keep: self.variant.os.keep.clone(),
        }));
        let Access { store, progress, .. } = self.access;
        let context = Context { store, base: base.below.as_ref(), progress };
        let fingerprint = os.fingerprint(&context)?;
        let cache = LayerCache::new(store, self.settings.compression);
        let mut made = None;
        let known = os.report(&fingerprint, store)?;
        let record = match cache.lookup(&fingerprint, context.base, &self.settings.slot)? {
            Lookup::Hit(record) if known.is_some() => record,
            _ => {
                let begin = Instant::now();
                let slot = &self.settings.slot;
                let listed = |tree: &LayerTree, record: &BlobRecord| remember_listing(tree, record, store);
                let (_, record) = make_layer_with(os.as_ref(), &fingerprint, &cache, &context, slot, &listed)?;
                made = Some(begin.elapsed());
                record
            }
        };
        let blob = LayerBlob {
            descriptor: record.descriptor,
            diff_id: record.diff_id,
            uncompressed_size: Some(record.uncompressed_size),
            name: os.name().to_string(),
            created_by: os.created_by(),
            origin: Origin::Store,
        };
        let mut blobs = Blobs::new(store);
        if let Some(own) = &base.blobs {
            blobs = blobs.with(own, base.layers.iter().map(|layer| &layer.descriptor));
        }
        let layers: Vec<LayerBlob> = base.layers.iter().chain([&blob]).cloned().collect();
        let rootfs = Arc::new(Rootfs::open(&layers, Arc::new(blobs) as Arc<dyn BlobSource>, store, progress)?);
        rootfs.inherit(&base.below);
        let report = os.report(&fingerprint, store)?.unwrap_or_default();
        Ok(Base {
            facts: BaseFacts::of(&rootfs)?,
            rootfs,
            os: Some(Os {
                layer: PlannedLayer { source: os, below: base.below.clone(), made },
                blob,
                packages: selection.packages,
                old,
                suites: selection.suites,
                omitted: selection.omitted,
                held_back: selection.held_back,
                report,
            }),
            ..base
        })
    }
}
