//! Casts: what goes in comes out, and one that is damaged is made again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::deb_testing::RawDeb;
use super::*;
use crate::error::Class;
use crate::layer::encode::RUN;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    (folder, store)
}

/// Bytes that deflate badly, so that the length of a stream is about that of the file.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

/// Files of these contents, and one entry of every other kind.
fn package(files: &[Vec<u8>]) -> RawDeb {
    RawDeb::new("a", "1", "all", "").with("conffiles", "/f0\n").with("postinst", "#!/bin/sh\n").data(|tar| {
        let tar = tar.folder("./usr/").raw(b'0', b"./usr/su", b"", 3, 0o4755, b"abc").hardlink("./usr/two", "./usr/su");
        let tar = tar.symlink("./usr/link", "su").file("./usr/empty", b"").hardlink("./usr/void", "./usr/empty");
        files.iter().enumerate().fold(tar, |tar, (n, content)| tar.file(&format!("./f{n}"), content))
    })
}

fn put(deb: &RawDeb, store: &Store) -> Digest {
    store.put(&deb.bytes()).unwrap()
}

fn contents(deb: &Deb) -> BTreeMap<String, Vec<u8>> {
    let read = |(path, entry): &(TreePath, Entry)| Some((path.to_string(), entry.read(path, 1 << 30).unwrap()?));
    deb.entries.iter().filter_map(read).collect()
}

fn cast_path(digest: &Digest, store: &Store) -> PathBuf {
    store.entry_path(Bucket::Debs, &name(digest))
}

#[test]
fn files_of_every_size_come_out_as_they_went_in() {
    let (_folder, store) = store();
    let mut files: Vec<Vec<u8>> = [1, 8000, 8187, 8192, 8200, 20_000, RUN - 1, RUN, RUN + 1, 9 << 20].map(noise).into();
    files.extend([8192, RUN, 3 * RUN, 20 << 20].map(|length| vec![7; length]));
    let deb = package(&files);
    let digest = put(&deb, &store);
    let first = Deb::of_store(&digest, "a", &store).unwrap();
    // From now on nobody needs the .deb.
    store.discard(&digest).unwrap();
    let second = Deb::of_store(&digest, "a", &store).unwrap();
    let third = deb.open(&store).unwrap();
    for found in [&first, &second, &third] {
        let contents = contents(found);
        for (n, file) in files.iter().enumerate() {
            assert!(contents[&format!("f{n}")] == *file, "{n}");
        }
        assert_eq!((contents["usr/su"].as_slice(), contents["usr/empty"].len()), (&b"abc"[..], 0));
        assert_eq!((found.package.name.as_str(), found.conffiles.as_slice()), ("a", &["/f0".to_string()][..]));
        assert_eq!(found.scripts["postinst"], "#!/bin/sh\n");
        assert_eq!(found.privileged(), [(TreePath::new("usr/su").unwrap(), 0o4755)]);
        let kinds = found.entries.iter().rev().take(6).map(|(_, entry)| match &entry.kind {
            Kind::Directory => format!("folder {:o}", entry.mode),
            Kind::File(_) => format!("file {:o} {} {}", entry.mode, entry.uid, entry.input),
            Kind::Symlink(target) => format!("-> {target}"),
            Kind::Hardlink(first) => format!("= {first}"),
        });
        let own = "1 package `a`";
        let expected = [
            "= usr/empty".into(),
            "= usr/su".into(),
            format!("file 4755 {own}"),
            "-> su".into(),
            format!("file 644 {own}"),
            "folder 755".into(),
        ];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
    let layer = |deb: &Deb| {
        let mut tree = crate::layer::LayerTree::new();
        deb.entries.iter().for_each(|(path, entry)| tree.insert(path.clone(), entry.clone()).unwrap());
        let task = crate::progress::Progress::silent().task("test", None);
        let record = crate::layer::write_layer("test", &tree, crate::oci::media_type::Compression::Gzip, &store, &task);
        record.unwrap().descriptor.digest
    };
    assert!(layer(&first) == layer(&second) && layer(&first) == layer(&third));
    let deflated: Vec<bool> = (0..files.len()).map(|n| is_deflated(&first, &format!("f{n}"))).collect();
    let expected =
        [false, false, false, true, true, true, true, true, true, true, false, false, true, true].map(|is: bool| is);
    assert_eq!(deflated, expected);
}

fn is_deflated(deb: &Deb, path: &str) -> bool {
    let (_, entry) = deb.entries.iter().find(|(other, _)| other.as_str() == path).unwrap();
    matches!(&entry.kind, Kind::File(Content::Packed(packed)) if packed.packing == crate::layer::Packing::Deflated)
}

#[test]
fn libraries_say_what_they_are() {
    use super::super::elf::{self, Known, testing::made_at};
    let (_folder, store) = store();
    let large = made_at(62, "liblarge.so.1", [3 << 20, 300, 7 << 20], 8 << 20);
    let mut dense = noise(5 << 20);
    let head = made_at(62, "libdense.so.1", [RUN as u64 - 20, 2 * RUN as u64 - 2, 4 << 20], 5 << 20);
    dense.iter_mut().zip(&head).filter(|(_, new)| **new != 0).for_each(|(old, new)| *old = *new);
    dense[..300].copy_from_slice(&head[..300]);
    for place in [RUN - 20, 2 * RUN - 2] {
        dense[place..place + 60].copy_from_slice(&head[place..place + 60]);
    }
    let small = made_at(183, "libsmall.so.1", [232, 280, 344], 376);
    let deb = RawDeb::new("a", "1", "all", "").data(|tar| {
        let tar = tar.file("./lib/liblarge.so.1", &large).file("./lib/libdense.so.1", &dense);
        tar.file("./lib/libsmall.so.1", &small).file("./lib/libc.so", b"INPUT(x)").file("./lib/small", &small)
    });
    let deb = Deb::of_store(&put(&deb, &store), "a", &store).unwrap();
    let of = |path: &str| match &deb.entries.iter().find(|(other, _)| other.as_str() == path).unwrap().1.kind {
        Kind::File(Content::Packed(packed)) => deb.libraries.get(&place_of(packed)),
        _ => None,
    };
    for (path, bytes) in [("lib/liblarge.so.1", large), ("lib/libdense.so.1", dense), ("lib/libsmall.so.1", small)] {
        let expected = Known::Library(elf::facts(bytes.as_slice()).unwrap());
        assert!(of(path) == Some(&expected), "{path} {:?} {expected:?}", of(path));
    }
    assert_eq!((of("lib/libc.so"), of("lib/small")), (Some(&Known::Other), None));
}

#[test]
fn a_cast_is_always_the_same() {
    let (_folder, store) = store();
    let deb = package(&[noise(30_000), vec![1; 5000]]);
    let digest = put(&deb, &store);
    cast(&digest, "a", &store).unwrap();
    let first = std::fs::read(cast_path(&digest, &store)).unwrap();
    std::fs::remove_file(cast_path(&digest, &store)).unwrap();
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| cast(&digest, "a", &store).unwrap()))));
    assert!(std::fs::read(cast_path(&digest, &store)).unwrap() == first);
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    // Another encoder or format changes this: then the version of casts or `LAYER_FORMAT` must change too.
    assert_eq!(Digest::of(&first).short(), "c8f8e1091640");
}

#[test]
fn a_damaged_cast_is_made_again_and_never_used() {
    let (_folder, store) = store();
    let deb = package(&[noise(20_000), b"small".to_vec()]);
    let digest = put(&deb, &store);
    let path = cast_path(&digest, &store);
    let whole = contents(&Deb::of_store(&digest, "a", &store).unwrap());
    let good = std::fs::read(&path).unwrap();
    let other = put(&package(&[b"other".to_vec()]), &store);
    cast(&other, "a", &store).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..good.len())
        .step_by(good.len() / 60)
        .chain(good.len() - 130..good.len())
        .map(|at| {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            wrong
        })
        .collect();
    damages.extend([0, 1, 50, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec()));
    damages.extend([[&good[..], b"x"].concat(), std::fs::read(cast_path(&other, &store)).unwrap()]);
    for damage in damages {
        std::fs::write(&path, &damage).unwrap();
        assert!(contents(&Deb::of_store(&digest, "a", &store).unwrap()) == whole);
        assert!(std::fs::read(&path).unwrap() == good);
    }
    // Nothing to make it of.
    std::fs::write(&path, b"").unwrap();
    store.discard(&digest).unwrap();
    let error = Deb::of_store(&digest, "a", &store).unwrap_err();
    assert!(error.to_string().contains("is not in the store"), "{error}");
}

#[test]
fn what_cannot_be_kept_says_where() {
    let (folder, store) = store();
    let digest = put(&package(&[]), &store);
    // In the way of the bucket.
    std::fs::write(folder.path().join("debs-v1"), b"").unwrap();
    let error = cast(&digest, "a", &store).unwrap_err();
    assert_eq!(error.class(), Class::Storage);
    assert!(format!("{error} {:?}", error.cause()).contains("debs-v1"), "{error}");
}

#[test]
fn a_rotten_deb_is_no_cast() {
    let (_folder, store) = store();
    let digest = put(&package(&[]), &store);
    let mut bytes = std::fs::read(store.blob_path(&digest)).unwrap();
    bytes[200] ^= 1;
    std::fs::write(store.blob_path(&digest), bytes).unwrap();
    assert!(cast(&digest, "a", &store).is_err());
    assert!(!store.has(&digest) && !cast_path(&digest, &store).exists());
}
