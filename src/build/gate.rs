//! When layers may leave although their image is not finished: as soon as no size budget can refuse any image of the
//! run any more. Until then nothing leaves.
//!
//! A layer that is there has its size; of one that is being made, the most that it can have is known once it is known
//! what will be in it. If the budgets hold even so, finished layers need not wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Options;
use super::layers::LayerState;
use crate::error::Result;
use crate::layer::{Content, Context, Fingerprint, Kind, LayerBlob, LayerSource, LayerTree, Lookup};
use crate::plan::{ImagePlan, Plan};

/// Where the images are to go.
pub trait Leaving: Sync {
    /// This layer of this variant may leave: said at most once for a layer of an image.
    fn ready(&self, variant: &str, layer: &LayerBlob);

    /// Fails when nobody will take the images, whatever is made: asked before each layer is made.
    fn wanted(&self) -> Result<()>;
}

/// What an entry may need in a tar besides its content: headers for names of any length, and padding.
const ENTRY_BOUND: u64 = 4096;
/// What a tar and its compression add to the whole.
const LAYER_BOUND: u64 = 1 << 20;

/// The size of a layer, or the most that it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub compressed: u64,
    pub uncompressed: u64,
}

impl Size {
    /// The most that a layer with this tree can have, in whatever way it is compressed.
    pub fn bound(tree: &LayerTree) -> Size {
        let (mut compressed, mut uncompressed) = (LAYER_BOUND, LAYER_BOUND);
        for (path, entry) in tree.iter() {
            // The folders above it may have to be added.
            let names = ENTRY_BOUND + 2 * path.as_str().len() as u64 + 1024 * path.ancestors().len() as u64;
            let (packed, size) = match &entry.kind {
                Kind::File(Content::Packed(packed)) => (packed.length.max(packed.size), packed.size),
                Kind::File(content) => (content.size(), content.size()),
                Kind::Symlink(target) => (target.len() as u64, target.len() as u64),
                Kind::Directory | Kind::Hardlink(_) => (0, 0),
            };
            // What cannot be compressed is stored in blocks, with a few bytes for each.
            compressed += names + packed + packed / 256;
            uncompressed += names + size;
        }
        Size { compressed, uncompressed }
    }
}

/// Holds layers back until no budget can refuse them.
pub(super) struct Gate<'a> {
    plan: &'a Plan,
    leaving: &'a dyn Leaving,
    state: Mutex<State>,
}

struct State {
    sizes: Vec<Vec<Option<Size>>>,
    waiting: Vec<(usize, LayerBlob)>,
    open: bool,
}

impl<'a> Gate<'a> {
    /// For a run in which these layers are found. If nothing has to be made, nothing is told: then the images are
    /// finished at once.
    pub fn new(plan: &'a Plan, states: &[Vec<LayerState>], options: Options, leaving: &'a dyn Leaving) -> Option<Self> {
        let kept = |(planned, state): (&crate::plan::PlannedLayer, &LayerState)| match &state.lookup {
            Lookup::Hit(record) if !options.clean || planned.made.is_some() => {
                Some(Size { compressed: record.descriptor.size, uncompressed: record.uncompressed_size })
            }
            _ => None,
        };
        let of_image = |(image, states): (&ImagePlan, &Vec<LayerState>)| -> Vec<Option<Size>> {
            image.layers.iter().zip(states).map(kept).collect()
        };
        let sizes: Vec<Vec<Option<Size>>> = plan.images.iter().zip(states).map(of_image).collect();
        if sizes.iter().flatten().all(Option::is_some) {
            return None;
        }
        let gate = Gate { plan, leaving, state: Mutex::new(State { sizes, waiting: Vec::new(), open: false }) };
        let mut state = gate.state();
        gate.try_open(&mut state, options.no_size_check);
        drop(state);
        Some(gate)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most that a layer can have is known.
    pub fn bounded(&self, image: usize, layer: usize, size: Size) {
        let mut state = self.state();
        if let Some(slot) = state.sizes.get_mut(image).and_then(|sizes| sizes.get_mut(layer)) {
            *slot = Some(size);
        }
        self.try_open(&mut state, false);
    }

    /// A layer is finished.
    pub fn finished(&self, image: usize, layer: usize, blob: &LayerBlob) {
        let uncompressed = blob.uncompressed_size.unwrap_or_default();
        self.bounded(image, layer, Size { compressed: blob.descriptor.size, uncompressed });
        let mut state = self.state();
        if state.open {
            drop(state);
            self.tell(image, blob);
        } else {
            state.waiting.push((image, blob.clone()));
        }
    }

    fn tell(&self, image: usize, blob: &LayerBlob) {
        if let Some(image) = self.plan.images.get(image) {
            self.leaving.ready(&image.variant, blob);
        }
    }

    fn try_open(&self, state: &mut State, anyway: bool) {
        if state.open {
            return;
        }
        state.open = anyway || self.plan.images.iter().zip(&state.sizes).all(|(image, sizes)| holds(image, sizes));
        if state.open {
            for (number, image) in self.plan.images.iter().enumerate() {
                image.base.layers.iter().for_each(|blob| self.tell(number, blob));
            }
            std::mem::take(&mut state.waiting).iter().for_each(|(image, blob)| self.tell(*image, blob));
        }
    }
}

/// Whether an image is within its budget whatever becomes of its layers.
fn holds(image: &ImagePlan, sizes: &[Option<Size>]) -> bool {
    let budget = &image.budget;
    let base = &image.base.layers;
    let within = |limit: Option<u64>, of_base: u64, of_layer: fn(&Size) -> u64| match limit {
        None => true,
        Some(limit) => {
            let own: Option<u64> = sizes.iter().map(|size| size.as_ref().map(of_layer)).sum();
            own.is_some_and(|own| of_base.saturating_add(own) <= limit)
        }
    };
    let compressed = base.iter().map(|layer| layer.descriptor.size).sum();
    let uncompressed = base.iter().filter_map(|layer| layer.uncompressed_size).sum();
    let largest = |limit: u64| {
        let own = sizes.iter().all(|size| size.is_some_and(|size| size.compressed <= limit));
        own && base.iter().all(|layer| layer.descriptor.size <= limit)
    };
    within(budget.compressed, compressed, |size| size.compressed)
        && within(budget.uncompressed, uncompressed, |size| size.uncompressed)
        && budget.layer.is_none_or(largest)
        && budget.layers.is_none_or(|limit| (base.len() + sizes.len()) as u64 <= u64::from(limit))
}

/// A source whose tree is looked at as soon as it is there.
pub(super) struct Weighed<'a> {
    pub inner: &'a dyn LayerSource,
    pub seen: &'a (dyn Fn(Size) + Sync),
}

impl LayerSource for Weighed<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn created_by(&self) -> String {
        self.inner.created_by()
    }

    fn fingerprint(&self, context: &Context<'_>) -> Result<Fingerprint> {
        self.inner.fingerprint(context)
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let tree = self.inner.tree(context)?;
        (self.seen)(Size::bound(&tree));
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{EmptyBase, Entry, Store, TreePath, write_layer};
    use crate::oci::media_type::Compression;
    use crate::progress::Progress;

    /// Bytes that no encoder makes smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn no_layer_is_larger_than_its_bound() {
        let input: Arc<str> = "test".into();
        let deep = |n: usize| format!("{}/{n}", vec!["d".repeat(250); 14].join("/"));
        let tree_of = |entries: Vec<(String, Entry)>| {
            let mut tree = LayerTree::new();
            entries.into_iter().for_each(|(at, entry)| tree.insert(TreePath::new(&at).unwrap(), entry).unwrap());
            tree
        };
        let file = |bytes: Vec<u8>| Entry::file(bytes, 0o644, &input);
        let trees = [
            (0..3).map(|n| (format!("n{n}"), file(noise(3 << 20)))).collect::<Vec<_>>(),
            (0..3000).map(|n| (format!("small/{n}"), file(noise(n % 7)))).collect(),
            (0..400).map(|n| (deep(n), file(Vec::new()).owned(4_000_000, 4_000_000))).collect(),
            (0..400).map(|n| (format!("l{n}"), Entry::symlink("é".repeat(1500), &input))).collect(),
            (0..400).map(|n| (format!("{n}/a/b/c/d/e/f/g/h/i/j/k/l/m/n"), file(noise(1)))).collect(),
        ];
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        for (number, entries) in trees.into_iter().enumerate() {
            let mut tree = tree_of(entries);
            let bound = Size::bound(&tree);
            tree.complete(&EmptyBase).unwrap();
            for compression in [Compression::Gzip, Compression::Zstd] {
                let task = Progress::silent().task("x", None);
                let record = write_layer("x", &tree, compression, &store, &task).unwrap();
                let found = Size { compressed: record.descriptor.size, uncompressed: record.uncompressed_size };
                assert!(
                    found.compressed <= bound.compressed && found.uncompressed <= bound.uncompressed,
                    "{number}: {found:?}, at most {bound:?}"
                );
            }
        }
    }
}
