//! One layer from its source: tree, parents, bytes, and a place in the layer cache.

use super::{BlobRecord, Context, Fingerprint, LayerCache, LayerSource, LayerTree, Observed, write_layer};
use crate::error::{During, Result};
use crate::text;

/// Makes a layer, whether it is in the cache or not, and remembers it under `fingerprint`. Returns what it saw of
/// the layers below, and the finished blob.
pub fn make_layer(
    source: &dyn LayerSource,
    fingerprint: &Fingerprint,
    cache: &LayerCache<'_>,
    context: &Context<'_>,
    slot: &str,
) -> Result<(Observed, BlobRecord)> {
    make_layer_with(source, fingerprint, cache, context, slot, &|_, _| Ok(()))
}

/// [`make_layer`]; `seen` hears of the tree and what it became, before anybody else.
pub fn make_layer_with(
    source: &dyn LayerSource,
    fingerprint: &Fingerprint,
    cache: &LayerCache<'_>,
    context: &Context<'_>,
    slot: &str,
    seen: &dyn Fn(&LayerTree, &BlobRecord) -> Result<()>,
) -> Result<(Observed, BlobRecord)> {
    let name = source.name();
    let made = || -> Result<(Observed, BlobRecord)> {
        let preparing = context.progress.task(&format!("preparing {name}"), None);
        let mut tree = source.tree(context)?;
        let observed = tree.complete(context.base)?;
        drop(preparing);
        let task = context.progress.task(&format!("layer {name}"), Some(tree.size()));
        let record = write_layer(name, &tree, cache.compression(), context.store, &task)?;
        seen(&tree, &record)?;
        cache.remember(fingerprint, observed.clone(), &record, slot)?;
        task.finish(&format!(
            "{} entries, {} -> {}",
            record.entries,
            text::size(record.uncompressed_size),
            text::size(record.descriptor.size)
        ));
        Ok((observed, record))
    };
    made().during(|| format!("building layer `{name}`"))
}
