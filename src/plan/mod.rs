//! Project, base and locks to a [`Plan`]: for each variant and platform the base, the layers in their order, and the
//! configuration of the image. Everything that a build does is decided here; [`crate::build`] is a function of it.
//!
//! Planning opens the base (manifest and configuration, then its listing) and fetches wheels into the store, because
//! fingerprints are made of their digests. It writes no output.

mod ahead;
mod base;
pub mod budget;
mod config;
mod error;
mod known;
mod layers;
mod lock;
pub mod node;
pub mod os;
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::prelude::*;
use url::Url;

use crate::error::{During, Result};
use crate::fs;
use crate::image::{Access, Rootfs};
use crate::layer::LayerSource;
use crate::lock::LockedImage;
use crate::oci::media_type::Compression;
use crate::oci::{Config, Digest, Epoch, Platform};
use crate::project::{Budget, BuildArgs, Project, Variant};
use crate::python::Target;

pub use base::Base;
pub use error::Error;
pub use layers::{EXCLUDED, excluded_names};
pub use lock::Locking;

use lock::Pins;

/// Where engines and overlay file systems stop.
const ENGINE_LAYERS: usize = 125;

/// What is left for images made on top of this one.
const CHILDREN_LAYERS: usize = 25;

/// The most layers of an image, base included.
pub const LAYERS_LIMIT: usize = ENGINE_LAYERS - CHILDREN_LAYERS;

/// What an image may have besides its base and its environment: OS packages, the standard library's bytecode, the
/// application, the small files.
const OTHER_LAYERS: usize = 4;

/// What is to be planned.
pub struct Request {
    /// Variants by name; none means the project's default.
    pub variants: Vec<String>,
    /// Platforms; none means this machine's architecture.
    pub platforms: Vec<Platform>,
    /// Build arguments.
    pub args: BuildArgs,
    /// How Ingot's own layers are compressed.
    pub compression: Compression,
    /// What ingot.lock means.
    pub locking: Locking,
    /// The archive of bases that are made of packages alone, instead of what the project or the machine says.
    pub mirror: Option<Url>,
    /// The keys of that archive.
    pub keyring: Option<PathBuf>,
    /// Whether a build follows: then what layers will need may be made while the plan waits for the network.
    pub ahead: bool,
}

/// What will be built.
pub struct Plan {
    /// The project's folder, absolute: layers of one project are compared with their last build.
    pub root: PathBuf,
    /// One image per variant and platform, variants sorted by name, platforms in the order asked for.
    pub images: Vec<ImagePlan>,
    /// How Ingot's own layers are compressed.
    pub compression: Compression,
}

/// One image to be built.
pub struct ImagePlan {
    /// The variant's name.
    pub variant: String,
    /// The image's name, a repository path.
    pub name: String,
    /// What it runs on.
    pub platform: Platform,
    /// What it stands on.
    pub base: Base,
    /// Ingot's own layers, in order.
    pub layers: Vec<PlannedLayer>,
    /// The configuration, with the base's layers and history, and without Ingot's own.
    pub config: Config,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it may weigh.
    pub budget: Budget,
    /// The time in the image's documents.
    pub epoch: Epoch,
    /// What the environment was made for, if it has Python.
    pub target: Option<Target>,
    /// Its packages of Node, if it has any.
    pub node: Option<node::Modules>,
    /// What all moving inputs are now.
    pub locked: LockedImage,
}

/// One layer of Ingot's own.
#[derive(Clone)]
pub struct PlannedLayer {
    /// What it is made of.
    pub source: Arc<dyn LayerSource>,
    /// The files of the layers that it stands on, as far as it may see them.
    pub below: Arc<Rootfs>,
    /// How long it took, if it had to be made while the build was planned.
    pub made: Option<Duration>,
}

impl ImagePlan {
    /// Whose layer it is, for the layer cache: project, variant, platform, layer.
    pub fn slot(&self, root: &Path, layer: &str) -> String {
        slot(root, &self.variant, &self.platform, layer)
    }
}

fn slot(root: &Path, variant: &str, platform: &Platform, layer: &str) -> String {
    format!("{}\n{variant}\n{platform}\n{layer}", root.display())
}

/// Plans every image that is asked for, in parallel.
pub fn plan(project: &Project, request: &Request, access: &Access) -> Result<Plan> {
    let names = selected(project, &request.variants)?;
    let variants = names.iter().map(|name| project.variant(name, &request.args)).collect::<Result<Vec<_>, _>>()?;
    let platforms = if request.platforms.is_empty() { vec![Platform::host()] } else { request.platforms.clone() };
    let wanted: Vec<(&Variant, &Platform)> =
        variants.iter().flat_map(|variant| platforms.iter().map(move |platform| (variant, platform))).collect();
    let several = wanted.len() > 1;
    let root = fs::canonical(&project.root);
    let pins = Pins::open(&project.root, request.locking)?;
    let (compilers, locks) = (python::Compilers::default(), lock::Files::default());
    let begun = Mutex::default();
    let planning = Planning {
        project,
        request,
        pins: &pins,
        root: &root,
        access,
        compilers: &compilers,
        locks: &locks,
        begun: &begun,
    };
    let images: Vec<Result<ImagePlan>> = wanted
        .par_iter()
        .map(|(variant, platform)| {
            let planned = image(&planning, variant, platform);
            if several {
                planned.during(|| format!("planning variant `{}` for {platform}", variant.name))
            } else {
                planned
            }
        })
        .collect();
    let images = images.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Plan { root, images, compression: request.compression })
}

/// The names of the variants that are asked for, sorted: the default one if none is.
pub fn selected(project: &Project, asked: &[String]) -> Result<Vec<String>> {
    let known = project.variants();
    let mut names = if asked.iter().any(|name| name == "all") {
        known.clone()
    } else if asked.is_empty() {
        vec![project.default_variant().ok_or_else(|| Error::NoDefaultVariant { known: known.join(", ") })?]
    } else {
        asked.to_vec()
    };
    names.sort();
    names.dedup();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Error::UnknownVariant { name: unknown.clone(), known: known.join(", ") }.into());
    }
    Ok(names)
}

/// What all images of a plan have in common.
struct Planning<'a> {
    project: &'a Project,
    request: &'a Request,
    pins: &'a Pins,
    root: &'a Path,
    access: &'a Access,
    compilers: &'a python::Compilers,
    locks: &'a lock::Files,
    /// Fingerprints of layers that were begun ahead: images that have the same one make it once.
    begun: &'a Mutex<BTreeSet<Digest>>,
}

fn image(planning: &Planning<'_>, variant: &Variant, platform: &Platform) -> Result<ImagePlan> {
    let Planning { project, request, access, .. } = *planning;
    let lock = planning.locks.of(variant)?;
    let inputs = lock::inputs(variant, lock.as_deref());
    let pins = planning.pins.of(variant, platform, &inputs, &access.progress)?;
    let begin = |target: Option<Target>, pins| python::ahead(planning, lock.as_deref(), &target?, pins).ok();
    let mut ahead = begin(ahead::expected(variant, platform, pins), pins);
    let stage = |name: &str| access.progress.stage(&format!("{name} of {} for {platform}", variant.name));
    let modules_ahead = variant.node.as_ref().and_then(|spec| node::Ahead::begin(spec, variant, platform, access));
    let opening = stage("base");
    let base = Base::open(project, variant, platform, pins, access)?;
    drop(opening);
    let pins = planning.pins.still(pins, &base, variant, platform, &access.progress)?;
    let last = planning.pins.last(variant, platform);
    ahead = ahead.or_else(|| begin(ahead::expected_on(&base, variant, platform), pins));
    let settings = os::Settings {
        pins,
        last,
        mirror: request.mirror.as_ref(),
        keyring: request.keyring.as_deref(),
        compression: request.compression,
        slot: slot(planning.root, &variant.name, platform, os::LAYER),
    };
    let installing = stage("OS packages");
    let base = os::install(base, variant, platform, &settings, access)?;
    drop(installing);
    let choosing = stage("wheels");
    let python = match &variant.python {
        Some(spec) => {
            let slot = |layer: &str| slot(planning.root, &variant.name, platform, layer);
            let lock = lock.as_deref();
            let asked = python::Asked { spec, platform, lock, pins, last, slot: &slot };
            Some(python::environment(planning, &asked, &base, ahead)?)
        }
        None => None,
    };
    drop(choosing);
    let packages = stage("packages of Node");
    let node = match &variant.node {
        Some(spec) => Some(node::modules(spec, variant, &base, platform, access, modules_ahead)?),
        None => None,
    };
    drop(packages);
    let target = python.as_ref().map(|environment| environment.target.clone());
    let locked = LockedImage {
        variant: variant.name.clone(),
        platform: platform.to_string(),
        inputs,
        base: base.root_digest.filter(|_| base.reference.is_some()),
        manifest: base.manifest_digest,
        suites: base.os.as_ref().map(|os| os.suites.clone()).unwrap_or_default(),
        packages: base.os.as_ref().map(|os| os.packages.clone()).unwrap_or_default(),
        wheels: python.as_ref().map(|environment| environment.wheels.clone()).unwrap_or_default(),
    };
    let layers = layers::sources(project, variant, &base, python, node.as_ref().map(|node| node.layer.clone()))?;
    let total = base.layers.len() + layers.len();
    if total > LAYERS_LIMIT {
        return Err(Error::TooManyLayers { total, limit: LAYERS_LIMIT }.into());
    }
    let labels = config::labels(variant, &base);
    Ok(ImagePlan {
        variant: variant.name.clone(),
        name: variant.image.name.clone(),
        platform: platform.clone(),
        config: config::config(
            variant,
            &base,
            platform,
            &labels,
            node.as_ref().is_some_and(|node| node.has_programs()),
        ),
        annotations: labels,
        budget: variant.budget.clone(),
        epoch: variant.epoch,
        base,
        layers,
        target,
        node,
        locked,
    })
}

impl Plan {
    /// Each variant once, with its image's name, sorted.
    pub fn variants(&self) -> Vec<(String, String)> {
        let mut variants: Vec<_> =
            self.images.iter().map(|image| (image.variant.clone(), image.name.clone())).collect();
        variants.dedup();
        variants
    }
}
