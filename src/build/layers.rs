//! Layers of a plan: looked up, and made where they are missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::{BuiltLayer, Options};
use crate::error::{During, Result};
use crate::layer::{
    BlobRecord, Context, Fingerprint, Largest, LayerBlob, LayerCache, LayerSource, Lookup, Observed, Origin, Store,
    write_layer,
};
use crate::oci::{Digest, Platform};
use crate::plan::{ImagePlan, Plan};
use crate::progress::Progress;
use crate::text;

/// One layer of one image, before the build.
pub struct LayerState {
    /// What decides its bytes.
    pub fingerprint: Fingerprint,
    /// Whether it is there, and why not.
    pub lookup: Lookup,
    slot: String,
}

/// What was made, with the layer's largest files.
pub struct MadeLayer {
    /// The layer.
    pub built: BuiltLayer,
    /// What it weighs most by.
    pub largest: Largest,
}

/// Fingerprints of all layers of all images, and what the cache says of them.
pub fn survey(plan: &Plan, store: &Store, progress: &Progress) -> Result<Vec<Vec<LayerState>>> {
    let cache = LayerCache::new(store, plan.compression);
    let state = |image: &ImagePlan, layer: &Arc<dyn LayerSource>| -> Result<LayerState> {
        let context = Context { store, base: image.base.rootfs().as_ref(), progress };
        let fingerprint = layer.fingerprint(&context)?;
        let slot = slot(plan, &image.variant, &image.platform, layer.name());
        let lookup = cache.lookup(&fingerprint, context.base, &slot)?;
        Ok(LayerState { fingerprint, lookup, slot })
    };
    plan.images
        .par_iter()
        .map(|image| {
            let states: Vec<Result<LayerState>> = image
                .layers
                .par_iter()
                .map(|layer| state(image, layer).during(|| format!("looking at layer `{}`", layer.name())))
                .collect();
            states.into_iter().collect()
        })
        .collect()
}

fn slot(plan: &Plan, variant: &str, platform: &Platform, layer: &str) -> String {
    format!("{}\n{variant}\n{platform}\n{layer}", plan.root.display())
}

struct Job<'a> {
    image: usize,
    layer: usize,
    source: &'a Arc<dyn LayerSource>,
    plan: &'a ImagePlan,
    state: LayerState,
}

/// Makes what is missing. Layers with the same fingerprint are one job's work: the second image that has them finds
/// them finished, if its base looks the same.
pub fn make(
    plan: &Plan,
    states: Vec<Vec<LayerState>>,
    options: Options,
    store: &Store,
    progress: &Progress,
) -> Result<Vec<Vec<MadeLayer>>> {
    let mut groups: BTreeMap<Digest, Vec<Job<'_>>> = BTreeMap::new();
    for (image, (planned, states)) in plan.images.iter().zip(states).enumerate() {
        for (layer, (source, state)) in planned.layers.iter().zip(states).enumerate() {
            let job = Job { image, layer, source, plan: planned, state };
            groups.entry(job.state.fingerprint.digest()).or_default().push(job);
        }
    }
    let maker = Maker { cache: LayerCache::new(store, plan.compression), plan, options, store, progress };
    let done: Vec<Result<Vec<(usize, usize, MadeLayer)>>> =
        groups.into_values().collect::<Vec<_>>().into_par_iter().map(|jobs| maker.group(jobs)).collect();
    let mut slots: Vec<BTreeMap<usize, MadeLayer>> = plan.images.iter().map(|_| BTreeMap::new()).collect();
    // The first error in plan order, whichever came first in time.
    for group in done {
        for (image, layer, made) in group? {
            slots[image].insert(layer, made);
        }
    }
    Ok(slots.into_iter().map(|layers| layers.into_values().collect()).collect())
}

struct Maker<'a> {
    cache: LayerCache<'a>,
    plan: &'a Plan,
    options: Options,
    store: &'a Store,
    progress: &'a Progress,
}

impl Maker<'_> {
    fn group(&self, jobs: Vec<Job<'_>>) -> Result<Vec<(usize, usize, MadeLayer)>> {
        let mut finished: Vec<(Observed, BlobRecord)> = Vec::new();
        let mut done = Vec::new();
        for job in jobs {
            let name = job.source.name();
            let base = job.plan.base.rootfs();
            let same = |(observed, _): &&(Observed, BlobRecord)| {
                observed.iter().all(|(path, seen)| crate::layer::BaseView::lookup(base.as_ref(), path) == *seen)
            };
            let (record, cached, elapsed) = match (&job.state.lookup, finished.iter().find(same)) {
                (_, Some((_, record))) => (record.clone(), true, Duration::ZERO),
                (Lookup::Hit(record), None) if !self.options.clean => {
                    self.progress.task(&format!("layer {name}"), None).finish("cached");
                    (record.clone(), true, Duration::ZERO)
                }
                _ => {
                    let begin = Instant::now();
                    let (observed, record) = self.one(&job).during(|| format!("building layer `{name}`"))?;
                    finished.push((observed, record.clone()));
                    (record, false, begin.elapsed())
                }
            };
            let blob = LayerBlob {
                descriptor: record.descriptor,
                diff_id: record.diff_id,
                uncompressed_size: Some(record.uncompressed_size),
                name: name.to_string(),
                created_by: job.source.created_by(),
                origin: Origin::Store,
            };
            let built = BuiltLayer { blob, cached, elapsed };
            done.push((job.image, job.layer, MadeLayer { built, largest: record.largest }));
        }
        Ok(done)
    }

    fn one(&self, job: &Job<'_>) -> Result<(Observed, BlobRecord)> {
        let base = job.plan.base.rootfs().as_ref();
        let context = Context { store: self.store, base, progress: self.progress };
        let preparing = self.progress.task(&format!("preparing {}", job.source.name()), None);
        let mut tree = job.source.tree(&context)?;
        let observed = tree.complete(base)?;
        drop(preparing);
        let task = self.progress.task(&format!("layer {}", job.source.name()), Some(tree.size()));
        let record = write_layer(job.source.name(), &tree, self.plan.compression, self.store, &task)?;
        self.cache.remember(&job.state.fingerprint, observed.clone(), &record, &job.state.slot)?;
        task.finish(&format!(
            "{} files, {} -> {}",
            record.entries,
            text::size(record.uncompressed_size),
            text::size(record.descriptor.size)
        ));
        Ok((observed, record))
    }
}
