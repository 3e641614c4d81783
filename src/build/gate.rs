//! When layers may leave although their image is not finished: as soon as no size budget can refuse any image of the
//! run any more. Until then nothing leaves.
//!
//! A layer that is there has its size; of one that is being made, the most that it can have is known once it is known
//! what will be in it. If the budgets hold even so, finished layers need not wait.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Options;
use super::layers::LayerState;
use crate::error::Result;
use crate::layer::encode::spliced;
use crate::layer::{Content, Context, Entry, Fingerprint, Kind, LayerBlob, LayerSource, LayerTree, Lookup};
use crate::oci::media_type::Compression;
use crate::plan::{ImagePlan, Plan};

/// Where the images are to go.
pub trait Leaving: Sync {
    /// This layer of this variant may leave: said at most once for a layer of an image.
    fn ready(&self, variant: &str, layer: &LayerBlob);

    /// The variant begins with this layer of its base. It may not leave yet, but can be brought to where it is to be, if
    /// nobody sees it there: said at most once for a layer of an image, before `ready`.
    fn begins(&self, _variant: &str, _layer: &LayerBlob) {}

    /// Fails when nobody will take the images, whatever is made: asked before each layer is made.
    fn wanted(&self) -> Result<()>;
}

/// The header of an entry in a tar with all its fields in their places, and the padding of its content.
const ENTRY_BOUND: u64 = 1024;
/// The headers of any entry, besides names.
const ODD_ENTRY_BOUND: u64 = 4096;
/// What a compressed stream needs besides what it was, wherever another begins.
const JOINT_BOUND: u64 = 64;
/// What a tar and its compression add to the whole.
const LAYER_BOUND: u64 = 1 << 20;

/// The size of a layer, or the most that it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub compressed: u64,
    pub uncompressed: u64,
}

impl Size {
    /// The most that a layer with this tree can have.
    pub fn bound(tree: &LayerTree, compression: Compression) -> Size {
        let (mut compressed, mut uncompressed) = (LAYER_BOUND, LAYER_BOUND);
        let mut add = |name: &str, entry: Option<&Entry>| {
            let link = match entry.map(|entry| &entry.kind) {
                Some(Kind::Symlink(target)) => target.as_str(),
                Some(Kind::Hardlink(target)) => target.as_str(),
                _ => "",
            };
            let fits = |text: &str| text.len() < 100 && text.is_ascii();
            let usual = entry.is_none_or(|entry| entry.uid.max(entry.gid) < 1 << 20);
            let headers = match entry {
                _ if usual && fits(name) && fits(link) => ENTRY_BOUND,
                _ => ODD_ENTRY_BOUND + 2 * (name.len() + link.len()) as u64,
            };
            let (packed, size) = match entry.map(|entry| &entry.kind) {
                Some(Kind::File(Content::Packed(packed))) if compression == Compression::Gzip && spliced(packed) => {
                    (packed.length, packed.size)
                }
                Some(Kind::File(content)) => (content.size(), content.size()),
                _ => (0, 0),
            };
            // A size of 8 GiB and more does not fit its field.
            let headers = if size >> 33 == 0 { headers } else { headers.max(ODD_ENTRY_BOUND) };
            // What cannot be compressed is stored in blocks, with a few bytes for each.
            compressed += headers + JOINT_BOUND + packed + packed / 256;
            uncompressed += headers + size;
        };
        // Folders above an entry may have to be added.
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for (path, entry) in tree.iter() {
            add(path.as_str(), Some(entry));
            let mut rest = path.as_str();
            while let Some((folder, _)) = rest.rsplit_once('/') {
                if !above.insert(folder) {
                    break;
                }
                add(folder, None);
                rest = folder;
            }
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
        for image in &plan.images {
            image.base.layers.iter().for_each(|layer| leaving.begins(&image.variant, layer));
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
    pub compression: Compression,
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
        (self.seen)(Size::bound(&tree, self.compression));
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{EmptyBase, Packed, Packing, Store, TreePath, write_layer};
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
        let folder = tempfile::tempdir().unwrap();
        // Noise in blocks that are stored, as a wheel may have it: it is longer than what it means.
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut encoder, &noise(6000)).unwrap();
        let stream = encoder.finish().unwrap();
        let archive = folder.path().join("archive");
        std::fs::write(&archive, &stream).unwrap();
        let archive = Arc::new(crate::fs::Mapped::open(&archive).unwrap());
        let packed = |_| {
            let crc32 = crc32fast::hash(&noise(6000));
            let (archive, length) = (archive.clone(), stream.len() as u64);
            let content = Packed { archive, offset: 0, length, packing: Packing::Deflated, crc32, size: 6000 };
            Entry::file(Content::Packed(content), 0o644, &input)
        };
        let trees = [
            (0..3).map(|n| (format!("n{n}"), file(noise(3 << 20)))).collect::<Vec<_>>(),
            (0..3000).map(|n| (format!("small/{n}"), file(noise(n % 7)))).collect(),
            (0..400).map(|n| (deep(n), file(Vec::new()).owned(4_000_000, 4_000_000))).collect(),
            (0..400).map(|n| (format!("l{n}"), Entry::symlink("é".repeat(1500), &input))).collect(),
            (0..400).map(|n| (format!("{}{n}", "x".repeat(96)), Entry::symlink("y".repeat(100), &input))).collect(),
            (0..2000).map(|n| (format!("spliced/{n}"), packed(n))).collect(),
            (0..400).map(|n| (format!("{n}/a/b/c/d/e/f/g/h/i/j/k/l/m/n"), file(noise(1)))).collect(),
        ];
        let store = Store::open_at(folder.path()).unwrap();
        for (number, entries) in trees.into_iter().enumerate() {
            let mut tree = tree_of(entries);
            let before = tree.clone();
            tree.complete(&EmptyBase).unwrap();
            for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
                let bound = Size::bound(&before, compression);
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
