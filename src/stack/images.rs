//! The images of a stack that Ingot casts: built side by side in one store, and handed to an engine that lacks them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use super::ingot::{Cast, SANDBOX, SandboxImage, extras, sandbox};
use super::load::Stack;
use super::node::Node;
use super::trouble::Trouble;
use crate::build::{self, Leaving, Options};
use crate::check::{self, Extent, Policy, Severity};
use crate::engine::{Engine, Kind};
use crate::error::{During, Result};
use crate::fs;
use crate::image::{Access, Artifact, Blobs, Image, ImageName, sink};
use crate::layer::LayerBlob;
use crate::net::in_parallel;
use crate::oci::media_type::Compression;
use crate::oci::{Config, Digest, Platform};
use crate::plan::{self, Locking, Request, selected};
use crate::project::{BuildArgs, Project, facts};

/// Images that are cast at the same time; each works on its layers in parallel, too.
const AT_ONCE: usize = 4;
/// The most warnings of hygiene that are told for an image.
const TOLD: usize = 5;

/// How images are cast.
#[derive(Clone, Copy, Debug)]
pub struct Casting {
    /// What ingot.lock means.
    pub locking: Locking,
    /// As in `ingot build`.
    pub options: Options,
}

/// An image that a service needs, and what it is cast from.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The service.
    pub service: String,
    /// What from.
    pub cast: Cast,
    /// For which platform, if the service says.
    pub platform: Option<Platform>,
}

/// What there is to cast for these services, or for all; the sandbox's image is among them if one of them uses it.
pub fn wanted(stack: &Stack, services: &[String]) -> Result<Vec<Wanted>> {
    let (mut found, mut uses_sandbox) = (Vec::new(), services.iter().any(|name| name == SANDBOX));
    for (name, service) in stack.services().filter(|(name, _)| is_chosen(services, name)) {
        let extras = extras(stack, name, service)?;
        uses_sandbox |= extras.sandbox;
        if let Some(cast) = extras.cast {
            found.push(Wanted { service: name.into(), cast, platform: platform(service)? });
        }
    }
    if let Some(spec) = sandbox(stack)?.filter(|_| uses_sandbox || services.is_empty())
        && let SandboxImage::Cast(cast) = spec.image
    {
        found.push(Wanted { service: SANDBOX.into(), cast, platform: None });
    }
    Ok(found)
}

fn is_chosen(services: &[String], name: &str) -> bool {
    services.is_empty() || services.iter().any(|service| service == name)
}

fn platform(service: &Node) -> Result<Option<Platform>> {
    Ok(service.get("platform").and_then(Node::scalar).map(str::parse).transpose()?)
}

/// A finished image of a service.
#[derive(Clone)]
pub struct CastImage {
    /// The service.
    pub service: String,
    /// What it is called in an engine: `localhost/STACK-SERVICE:sha256-...`.
    pub name: String,
    /// The image.
    pub image: Image,
    /// How many of its layers had to be made.
    pub made: usize,
    blobs: Blobs,
}

impl CastImage {
    /// What the image says of its health check, in the configuration's own form.
    pub fn healthcheck(&self) -> Option<Json> {
        let config = Config::parse(&self.image.config.bytes).ok()?;
        config.get("Healthcheck").filter(|check| check.is_object()).cloned()
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        self.image.digest()
    }
}

/// What the image of a service is called in an engine.
pub fn image_name(stack: &str, service: &str, manifest: &Digest) -> String {
    let hex = manifest.hex();
    format!("localhost/{stack}-{service}:sha256-{}", hex.get(..12).unwrap_or(&hex)).to_lowercase()
}

/// Nothing leaves before all is finished.
struct Staying;

impl Leaving for Staying {
    fn ready(&self, _: &str, _: &LayerBlob) {}

    fn wanted(&self) -> Result<()> {
        Ok(())
    }
}

/// What two services may have in common.
type Recipe = (PathBuf, Option<String>, BTreeMap<String, String>, Option<String>);

fn recipe(wanted: &Wanted) -> Recipe {
    let cast = &wanted.cast;
    (
        fs::canonical(&cast.project),
        cast.variant.clone(),
        cast.args.clone(),
        wanted.platform.as_ref().map(ToString::to_string),
    )
}

/// Casts the images, each once however many services have it. Hygiene and budgets hold as in `ingot build`.
pub fn cast(stack: &str, wanted: &[Wanted], casting: Casting, access: &Access) -> Result<Vec<CastImage>> {
    // Each with how many others have the same.
    let mut distinct: BTreeMap<Recipe, (&Wanted, usize)> = BTreeMap::new();
    for one in wanted {
        distinct.entry(recipe(one)).and_modify(|(_, others)| *others += 1).or_insert((one, 0));
    }
    let work: Vec<(Recipe, (&Wanted, usize))> = distinct.into_iter().collect();
    let made = in_parallel(&work, AT_ONCE, |(_, (wanted, others))| {
        let access = of(access, &wanted.service, *others);
        one(wanted, casting, &access).during(|| format!("casting the image of `{}`", wanted.service))
    })?;
    let by_recipe: BTreeMap<&Recipe, &(Image, usize, Blobs)> =
        work.iter().map(|(recipe, _)| recipe).zip(&made).collect();
    let image = |wanted: &Wanted| {
        let (image, made, blobs) = by_recipe.get(&recipe(wanted))?;
        let name = image_name(stack, &wanted.service, &image.digest());
        let (image, blobs) = (image.clone(), blobs.clone());
        Some(CastImage { service: wanted.service.clone(), name, image, made: *made, blobs })
    };
    Ok(wanted.iter().filter_map(image).collect())
}

/// The same, whose progress says whose image it is about.
fn of(access: &Access, service: &str, others: usize) -> Access {
    let name = if others == 0 { service.to_string() } else { format!("{service} and {others} more") };
    let mut own = access.clone();
    own.progress = access.progress.named(&name);
    own
}

fn one(wanted: &Wanted, casting: Casting, access: &Access) -> Result<(Image, usize, Blobs)> {
    let project = Project::load(&wanted.cast.project)?;
    let (defaults, warning) = facts(&project.root, &access.store)?;
    if let Some(warning) = warning {
        access.progress.message(&format!("warning: {warning}"));
    }
    let request = Request {
        variants: wanted.cast.variant.clone().into_iter().collect(),
        platforms: wanted.platform.clone().into_iter().collect(),
        args: BuildArgs { given: wanted.cast.args.clone(), defaults },
        compression: Compression::Gzip,
        locking: casting.locking,
        mirror: None,
        keyring: None,
        ahead: true,
    };
    hygiene(wanted, &project, &request, access)?;
    let plan = plan::plan(&project, &request, access)?;
    let outcome = build::build(&plan, casting.options, &access.store, &access.progress, &Staying)?;
    for (built, excess) in outcome.images.iter().flat_map(|built| built.excesses.iter().map(move |one| (built, one))) {
        access.progress.message(&format!("warning: size check skipped: `{}` {excess}", built.variant));
    }
    let mut images = outcome.images;
    match (images.pop(), images.pop()) {
        (Some(built), None) => {
            let made = built.layers.iter().filter(|layer| !layer.cached).count();
            Ok((built.image, made, outcome.blobs))
        }
        // `variant: all`.
        _ => Err(Trouble::SeveralImages { service: wanted.service.clone() }.into()),
    }
}

fn hygiene(wanted: &Wanted, project: &Project, request: &Request, access: &Access) -> Result<()> {
    let spec = project.hygiene();
    let mut policy = Policy::new(check::rules(), &spec.rules, &[], "docs/hygiene.md")?;
    policy.large_file = spec.large_file;
    let names = selected(project, &request.variants)?;
    let variants = names.iter().map(|name| project.variant(name, &request.args)).collect::<Result<Vec<_>>>()?;
    let report = check::hygiene(project, &variants, &policy, Extent::Build, &access.store)?;
    let warnings: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Warning).collect();
    for finding in warnings.iter().take(TOLD) {
        let (place, told) = (finding.place(), finding.told());
        access.progress.message(&format!("warning: {place}: {told} [{}]", finding.rule));
    }
    if warnings.len() > TOLD {
        let folder = wanted.cast.project.display();
        let more = warnings.len() - TOLD;
        access.progress.message(&format!("warning: and {more} more: `ingot hygiene {folder}` lists them"));
    }
    check::Error::refused(&report, check::HYGIENE, false).map_or(Ok(()), |error| Err(error.into()))
}

/// Writes the images into one layout, each under its service's name; what is there already is not written again.
pub fn keep(images: &[CastImage], folder: &std::path::Path, access: &Access) -> Result<()> {
    for image in images {
        let name = ImageName::OciLayout { dir: folder.into(), tag: Some(image.service.clone()) };
        put(image, &name, access)?;
    }
    Ok(())
}

/// Gives an engine the images that it lacks; how many those were.
pub fn load(images: &[CastImage], engine: &Engine, access: &Access) -> Result<usize> {
    let mut loaded = 0;
    for image in images {
        if has(image, engine)? {
            continue;
        }
        // Under another service's name, perhaps: then another name is enough.
        if let Some(known) = known(image, engine)? {
            engine.tag(&known, &image.name.parse()?)?;
            if has(image, engine)? {
                continue;
            }
        }
        let name = match engine.kind() {
            Kind::Podman => ImageName::ContainersStorage(image.name.clone()),
            Kind::Docker => ImageName::DockerDaemon(image.name.clone()),
        };
        put(image, &name, access)
            .during(|| format!("loading the image of `{}` into {}", image.service, engine.kind()))?;
        if !has(image, engine)? {
            let (engine, name) = (engine.kind(), image.name.clone());
            return Err(Trouble::NotLoaded { engine, name, digest: image.digest() }.into());
        }
        loaded += 1;
    }
    Ok(loaded)
}

/// Whether an engine has exactly this image under its name. docker's stores know it by its configuration or its manifest.
fn has(image: &CastImage, engine: &Engine) -> Result<bool> {
    let own = [image.image.config.descriptor.digest.hex(), image.digest().hex()];
    let found = engine.known_image(&image.name)?;
    Ok(found.is_some_and(|found| own.contains(&found.id.trim_start_matches("sha256:").to_string())))
}

/// The image's ID in an engine, if that has it under any name.
fn known(image: &CastImage, engine: &Engine) -> Result<Option<String>> {
    let id = format!("sha256:{}", image.image.config.descriptor.digest.hex());
    Ok(engine.known_image(&id)?.map(|found| found.id))
}

fn put(image: &CastImage, name: &ImageName, access: &Access) -> Result<()> {
    let access = &of(access, &image.service, 0);
    let blobs: Arc<dyn crate::layer::BlobSource> = Arc::new(image.blobs.clone());
    let artifact = Artifact::Image(image.image.clone());
    sink(name, access, None)?.write(&artifact, &*blobs, &access.progress).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Request;

    #[test]
    fn images_have_names_of_their_content() {
        let digest = Digest::of(b"x");
        assert_eq!(image_name("app", "Web", &digest), format!("localhost/app-web:sha256-{}", &digest.hex()[..12]));
    }

    #[test]
    fn what_is_to_be_cast_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let text = "x-ingot: {sandbox: {project: ./x}}\nservices:\n  web: {platform: linux/arm64, x-ingot: {project: ./web, sandbox: true}}\n  db: {image: postgres}\n  job: {x-ingot: {project: ./web}}\n";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let stack = Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap();
        let names = |services: &[&str]| {
            let services: Vec<String> = services.iter().map(ToString::to_string).collect();
            wanted(&stack, &services).unwrap().into_iter().map(|one| one.service).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["job", "web", "sandbox"]);
        assert_eq!(names(&["job"]), ["job"]);
        assert_eq!(names(&["web"]), ["web", "sandbox"], "it uses the sandbox");
        assert_eq!(names(&["sandbox"]), ["sandbox"]);
        assert_eq!(names(&["db"]), [] as [&str; 0]);
        let all = wanted(&stack, &[]).unwrap();
        assert_eq!(recipe(&all[0]).0, recipe(&all[1]).0);
        assert!(recipe(&all[0]) != recipe(&all[1]), "another platform is another image");
    }
}
