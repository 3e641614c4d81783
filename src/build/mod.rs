//! The driver: a [`Plan`] becomes images.
//!
//! Every layer is looked up by its fingerprint; what is not there is made, layers in parallel, the same layer of
//! several images only once. Then each image is put together in plan order and weighed. Nothing is written to a
//! destination here: an image that is over its budget never gets that far. Layers that no budget can refuse any more
//! are told of as soon as they are finished, so that they can leave meanwhile.

mod assemble;
mod gate;
mod layers;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Result;
use crate::image::{Artifact, Blobs, Image, MultiImage};
use crate::layer::{LayerBlob, Store};
use crate::plan::Plan;
use crate::progress::Progress;

pub use gate::Leaving;
pub use layers::{LayerState, survey};

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Make every layer anew.
    pub clean: bool,
    /// Do not hold images against their budgets; they are labelled so.
    pub no_size_check: bool,
}

/// One finished layer of Ingot's own.
#[derive(Clone, Debug)]
pub struct BuiltLayer {
    /// As it stands in the manifest.
    pub blob: LayerBlob,
    /// Whether it came from the layer cache.
    pub cached: bool,
    /// How long it took to make.
    pub elapsed: Duration,
}

/// One finished image.
pub struct Built {
    /// The variant.
    pub variant: String,
    /// The image's name, a repository path.
    pub name: String,
    /// The image.
    pub image: Image,
    /// Ingot's own layers.
    pub layers: Vec<BuiltLayer>,
    /// What is over the budget, if the check was switched off.
    pub excesses: Vec<String>,
}

/// Everything that a run has made.
pub struct Outcome {
    /// The images, in plan order.
    pub images: Vec<Built>,
    /// Where all their blobs can be read.
    pub blobs: Blobs,
}

impl Outcome {
    /// One artifact per variant, sorted by its name: an image, or an index of images for several platforms.
    pub fn artifacts(&self) -> Result<Vec<(String, String, Artifact)>> {
        let mut variants: BTreeMap<&str, Vec<&Built>> = BTreeMap::new();
        for built in &self.images {
            variants.entry(&built.variant).or_default().push(built);
        }
        let artifact = |(variant, built): (&str, Vec<&Built>)| {
            let name = built.first().map(|first| first.name.clone()).unwrap_or_default();
            let artifact = match built[..] {
                [only] => Artifact::Image(only.image.clone()),
                _ => {
                    let images = built.iter().map(|built| built.image.clone()).collect();
                    Artifact::Index(MultiImage::new(images, BTreeMap::new())?)
                }
            };
            Ok((variant.to_string(), name, artifact))
        };
        variants.into_iter().map(artifact).collect()
    }
}

/// Where the blobs of all images can be read: those of bases where they are, layers that are made in the store.
pub fn blobs(plan: &Plan, store: &Store) -> Blobs {
    let mut blobs = Blobs::new(store);
    for base in plan.images.iter().map(|image| &image.base) {
        if let Some(own) = &base.blobs {
            blobs = blobs.with(own, base.layers.iter().map(|layer| &layer.descriptor));
        }
    }
    blobs
}

/// Carries a plan out. `leaving` hears of layers that may leave before the images are finished.
pub fn build(
    plan: &Plan,
    options: Options,
    store: &Store,
    progress: &Progress,
    leaving: &dyn Leaving,
) -> Result<Outcome> {
    let looking = progress.stage("look layers up");
    let states = survey(plan, store, progress)?;
    drop(looking);
    let making = progress.stage("layers");
    let made = layers::make(plan, states, options, store, progress, leaving)?;
    drop(making);
    let _stage = progress.stage("check and assemble");
    let assembled = plan.images.iter().zip(made).map(|(image, layers)| assemble::assemble(image, layers, options));
    Ok(Outcome { images: assembled.collect::<Result<Vec<Built>>>()?, blobs: blobs(plan, store) })
}
