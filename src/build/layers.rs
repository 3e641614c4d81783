//! Layers of a plan: looked up, and made where they are missing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::gate::{Gate, Leaving, Weighed};
use super::{BuiltLayer, Options};
use crate::error::{During, Result};
use crate::layer::{
    BlobRecord, Context, Fingerprint, Largest, LayerBlob, LayerCache, Lookup, Observed, Origin, Store, make_layer,
};
use crate::oci::Digest;
use crate::plan::{ImagePlan, Plan, PlannedLayer};
use crate::progress::Progress;

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
    let state = |image: &ImagePlan, layer: &PlannedLayer| -> Result<LayerState> {
        let context = Context { store, base: layer.below.as_ref(), progress };
        let fingerprint = layer.source.fingerprint(&context)?;
        let slot = image.slot(&plan.root, layer.source.name());
        let lookup = cache.lookup(&fingerprint, context.base, &slot)?;
        Ok(LayerState { fingerprint, lookup, slot })
    };
    plan.images
        .par_iter()
        .map(|image| {
            let states: Vec<Result<LayerState>> = image
                .layers
                .par_iter()
                .map(|layer| state(image, layer).during(|| format!("looking at layer `{}`", layer.source.name())))
                .collect();
            states.into_iter().collect()
        })
        .collect()
}

struct Job<'a> {
    image: usize,
    layer: usize,
    source: &'a PlannedLayer,
    state: LayerState,
}

impl Job<'_> {
    /// The blob of a layer that was made while the build was planned.
    fn planned(&self) -> Option<Digest> {
        match &self.state.lookup {
            Lookup::Hit(record) if self.source.made.is_some() => Some(record.descriptor.digest),
            _ => None,
        }
    }
}

/// Makes what is missing. Layers with the same fingerprint are one job's work: the second image that has them finds
/// them finished, if its base looks the same.
pub fn make(
    plan: &Plan,
    states: Vec<Vec<LayerState>>,
    options: Options,
    store: &Store,
    progress: &Progress,
    leaving: &dyn Leaving,
) -> Result<Vec<Vec<MadeLayer>>> {
    let gate = Gate::new(plan, &states, options, leaving);
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<Job<'_>>> = Vec::new();
    for (image, (planned, states)) in plan.images.iter().zip(states).enumerate() {
        for (layer, (source, state)) in planned.layers.iter().zip(states).enumerate() {
            let job = Job { image, layer, source, state };
            let place = *places.entry(job.state.fingerprint.digest()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(job),
                None => groups.push(vec![job]),
            }
        }
    }
    let maker = Maker { cache: LayerCache::new(store, plan.compression), options, store, progress, leaving, gate };
    let done = dearest_first(groups, |jobs| maker.cost(jobs), |jobs| maker.group(jobs));
    let mut slots: Vec<BTreeMap<usize, MadeLayer>> = plan.images.iter().map(|_| BTreeMap::new()).collect();
    // The first error in plan order, whichever came first in time.
    for group in done {
        for (image, layer, made) in group? {
            slots[image].insert(layer, made);
        }
    }
    Ok(slots.into_iter().map(|layers| layers.into_values().collect()).collect())
}

/// Does `work` on all items in parallel, begun in the order of their cost, the dearest first: what starts last may be
/// the only thing that still runs, so let it be small. Results in the order of the items.
fn dearest_first<T: Send, R: Send, C: Ord>(
    items: Vec<T>,
    cost: impl Fn(&T) -> C,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let count = items.len();
    let mut order: Vec<(usize, T)> = items.into_iter().enumerate().collect();
    order.sort_by_key(|(_, item)| Reverse(cost(item)));
    // Whichever task a thread takes, it does the next item: rayon hands tasks out from both ends.
    let next = Mutex::new(order.into_iter());
    let one = |_| {
        let (place, item) = next.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        Some((place, work(item)))
    };
    let mut done: Vec<(usize, R)> = (0..count).into_par_iter().with_max_len(1).filter_map(one).collect();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

struct Maker<'a> {
    cache: LayerCache<'a>,
    options: Options,
    store: &'a Store,
    progress: &'a Progress,
    leaving: &'a dyn Leaving,
    gate: Option<Gate<'a>>,
}

impl Maker<'_> {
    /// Layers that are there cost nothing and are first: they may leave at once.
    fn cost(&self, jobs: &[Job<'_>]) -> (bool, u64) {
        let there = |job: &Job<'_>| {
            matches!(job.state.lookup, Lookup::Hit(_)) && (!self.options.clean || job.source.made.is_some())
        };
        (jobs.iter().all(there), jobs.iter().map(|job| job.source.source.cost()).max().unwrap_or_default())
    }

    fn group(&self, jobs: Vec<Job<'_>>) -> Result<Vec<(usize, usize, MadeLayer)>> {
        let places: Vec<(usize, usize)> = jobs.iter().map(|job| (job.image, job.layer)).collect();
        let mut finished: Vec<(Observed, BlobRecord)> = Vec::new();
        // Made while the build was planned, for one of the images that have it.
        let planned: BTreeSet<Digest> = jobs.iter().filter_map(Job::planned).collect();
        let mut done = Vec::new();
        for job in jobs {
            let name = job.source.source.name();
            let base = &job.source.below;
            let same = |(observed, _): &&(Observed, BlobRecord)| {
                observed.iter().all(|(path, seen)| crate::layer::BaseView::lookup(base.as_ref(), path) == *seen)
            };
            let (record, cached, elapsed) = match (&job.state.lookup, finished.iter().find(same)) {
                (_, Some((_, record))) => (record.clone(), true, Duration::ZERO),
                // Made while the build was planned.
                (Lookup::Hit(record), None) if job.source.made.is_some() => {
                    (record.clone(), false, job.source.made.unwrap_or_default())
                }
                (Lookup::Hit(record), None) if !self.options.clean || planned.contains(&record.descriptor.digest) => {
                    self.progress.task(&format!("layer {name}"), None).finish("cached");
                    (record.clone(), true, Duration::ZERO)
                }
                _ => {
                    self.leaving.wanted()?;
                    let begin = Instant::now();
                    let (observed, record) = self.one(&job, &places)?;
                    finished.push((observed, record.clone()));
                    (record, false, begin.elapsed())
                }
            };
            let blob = LayerBlob {
                descriptor: record.descriptor,
                diff_id: record.diff_id,
                uncompressed_size: Some(record.uncompressed_size),
                name: name.to_string(),
                created_by: job.source.source.created_by(),
                origin: Origin::Store,
            };
            if let Some(gate) = &self.gate {
                gate.finished(job.image, job.layer, &blob);
            }
            let built = BuiltLayer { blob, cached, elapsed };
            done.push((job.image, job.layer, MadeLayer { built, largest: record.largest }));
        }
        Ok(done)
    }

    /// Makes a layer, which is that of `places`.
    fn one(&self, job: &Job<'_>, places: &[(usize, usize)]) -> Result<(Observed, BlobRecord)> {
        let context = Context { store: self.store, base: job.source.below.as_ref(), progress: self.progress };
        let seen = |size| {
            if let Some(gate) = &self.gate {
                places.iter().for_each(|(image, layer)| gate.bounded(*image, *layer, size));
            }
        };
        let compression = self.cache.compression();
        let source = Weighed { inner: job.source.source.as_ref(), compression, seen: &seen };
        make_layer(&source, &job.state.fingerprint, &self.cache, &context, &job.state.slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_dearest_are_begun_first_whatever_thread_has_time() {
        let costs: [u64; 16] = [3, 1, 7, 90, 2, 8, 1, 1, 5, 4, 3, 80, 1, 2, 6, 9];
        let (dear, late) = (AtomicU64::new(0), AtomicU64::new(0));
        // The two dearest wait for each other; what comes after them finds both begun.
        let work = |cost: u64| {
            if cost >= 80 {
                let begin = Instant::now();
                dear.fetch_add(1, Ordering::SeqCst);
                while dear.load(Ordering::SeqCst) < 2 && begin.elapsed() < Duration::from_secs(10) {
                    std::thread::yield_now();
                }
            } else if dear.load(Ordering::SeqCst) < 2 {
                late.fetch_add(1, Ordering::SeqCst);
            }
            cost * 2
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let done = pool.install(|| dearest_first(costs.to_vec(), |cost| *cost, work));
        assert_eq!(done, costs.map(|cost| cost * 2));
        assert_eq!(late.load(Ordering::SeqCst), 0, "begun before the dearest");
    }
}
