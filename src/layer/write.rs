//! Makes a [`LayerBlob`](super::LayerBlob)'s bytes from a tree: tar, diffID, compression, digest, store, in one pass.

use std::collections::BTreeMap;

use super::encode::Plain;
use super::{BlobRecord, Error, Kind, LargeFile, Largest, LayerTree, Store, encode, tar};
use crate::error::Result;
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Hasher};
use crate::progress::Task;

/// How many of a layer's largest files and inputs are remembered, for the tables of budgets and plans.
pub const LARGEST: usize = 20;

/// Writes the layer into the store.
///
/// `name` is the layer's name, for messages; `task` advances by uncompressed bytes.
pub fn write_layer(
    name: &str,
    tree: &LayerTree,
    compression: Compression,
    store: &Store,
    task: &Task,
) -> Result<BlobRecord> {
    let stream = |source| {
        Error::carried(source, |source| Error::Stream { action: "write", object: format!("layer `{name}`"), source })
    };
    let advance = |bytes| task.advance(bytes);
    let blob = store.writer()?;
    let (blob, tar_stream) = match compression {
        Compression::Gzip => {
            let mut gzip = encode::Gzip::new(blob).map_err(stream)?;
            tar::write_tree(tree, &mut gzip, name, &advance)?;
            gzip.finish().map_err(stream)?
        }
        Compression::Zstd => {
            let mut plain = Plain { out: encode::zstd(blob).map_err(stream)?, tar: Hasher::new() };
            tar::write_tree(tree, &mut plain, name, &advance)?;
            (plain.out.finish().map_err(stream)?, plain.tar)
        }
        Compression::None => {
            let mut plain = Plain { out: blob, tar: Hasher::new() };
            tar::write_tree(tree, &mut plain, name, &advance)?;
            (plain.out, plain.tar)
        }
    };
    let uncompressed_size = tar_stream.length();
    let diff_id = tar_stream.finish();
    let (digest, size) = blob.finish()?;
    Ok(BlobRecord {
        descriptor: Descriptor::new(compression.media_type(), digest, size),
        diff_id,
        uncompressed_size,
        entries: tree.len() as u64,
        largest: largest(tree),
    })
}

fn largest(tree: &LayerTree) -> Largest {
    let mut files = Vec::new();
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Kind::File(content) = &entry.kind {
            let size = content.size();
            *totals.entry(&entry.input).or_default() += size;
            files.push(LargeFile { path: path.to_string(), size, input: entry.input.to_string() });
        }
    }
    files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    files.truncate(LARGEST);
    let mut inputs: Vec<(String, u64)> = totals.into_iter().map(|(input, size)| (input.to_string(), size)).collect();
    inputs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    inputs.truncate(LARGEST);
    Largest { files, inputs }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::layer::{Entry, TreePath};
    use crate::oci::Digest;
    use crate::progress::Progress;

    #[test]
    fn all_compressions_hold_the_same_tar() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let mut tree = LayerTree::new();
        for (name, size) in [("a", 10usize), ("b", 3 << 20), ("c", 0)] {
            let entry = Entry::file(vec![b'x'; size], 0o644, &"test".into());
            tree.insert(TreePath::new(name).unwrap(), entry).unwrap();
        }
        let task = Progress::silent().task("test", None);
        let mut diff_ids = Vec::new();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let record = write_layer("test", &tree, compression, &store, &task).unwrap();
            let bytes = store.read(&record.descriptor.digest, 1 << 30).unwrap();
            let mut plain = Vec::new();
            match compression {
                Compression::None => plain = bytes,
                Compression::Gzip => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap()),
                Compression::Zstd => plain = ::zstd::decode_all(&bytes[..]).unwrap(),
            }
            assert_eq!(Digest::of(&plain), record.diff_id);
            assert_eq!(plain.len() as u64, record.uncompressed_size);
            assert_eq!(record.largest.files[0].path, "b");
            diff_ids.push(record.diff_id);
        }
        assert!(diff_ids.iter().all(|id| *id == diff_ids[0]));
    }
}
