//! Packages files: reading, reducing, and files that are not what they should be.

use super::*;
use crate::debian::trust_testing::{gzip, xz};
use crate::error::{Class, Error as Any};

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn paragraph(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Filename: pool/{name}_{version}.deb\nSize: 12\n\
         SHA256: {SHA256}\n\n"
    )
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    (folder, store)
}

fn open(store: &Store, bytes: &[u8], packing: Packing, plain: Option<&[u8]>) -> Result<Index> {
    let digest = store.put(bytes).unwrap();
    let plain = plain.map(|plain| (plain.len() as u64, Digest::of(plain)));
    let packed = Packed { url: "U", digest, size: bytes.len() as u64, packing, plain };
    Index::open(store, &packed, "amd64")
}

/// The name of the table of a file.
fn name(packed: &[u8]) -> String {
    format!("{}-amd64", Digest::of(packed).hex())
}

fn index(text: &str) -> Index {
    open(&store().1, text.as_bytes(), Packing::None, None).unwrap()
}

fn refused(error: Any) -> String {
    assert_eq!(error.class(), Class::Verification, "{error}");
    error.to_string()
}

fn versions(index: &Index, name: &str) -> Vec<String> {
    let archive: Arc<str> = "http://a.example/".into();
    index.named(name).map(|at| index.package(at, &archive).unwrap().version.to_string()).collect()
}

#[test]
fn packages_are_found_by_name_and_by_what_they_provide() {
    let text = [
        paragraph("b", "2", "Provides: x (= 1), y:any ,z\nDepends: a (>= 1),\n  c | d\nDescription: long\n text\n"),
        paragraph("a", "1", "provides: x\nSource: src (1)\n"),
        paragraph("b", "1", ""),
        paragraph("ab", "1", ""),
        paragraph("c", "1", "").replace("amd64", "arm64"),
        paragraph("d", "1", "").replace("amd64", "all"),
    ]
    .concat();
    let index = index(&text);
    assert_eq!(versions(&index, "b"), ["2", "1"]);
    assert_eq!((versions(&index, "a").len(), versions(&index, "ab").len(), versions(&index, "abc").len()), (1, 1, 0));
    assert_eq!((versions(&index, "c").len(), versions(&index, "d").len(), versions(&index, "").len()), (0, 1, 0));
    assert_eq!(index.names().collect::<Vec<_>>(), ["a", "ab", "b", "b", "d"]);
    let archive: Arc<str> = "http://a.example/".into();
    let of = |name: &str| -> Vec<String> {
        index.providing(name).map(|at| index.package(at, &archive).unwrap().name).collect()
    };
    assert_eq!(
        (of("x"), of("y"), of("z"), of("b")),
        (vec!["b".into(), "a".into()], vec!["b".into()], vec!["b".into()], Vec::<String>::new())
    );
    let package = index.package(index.named("b").next().unwrap(), &archive).unwrap();
    assert_eq!(package.depends.len(), 2);
    let location = package.location.unwrap();
    assert_eq!((location.path.as_str(), location.size, &*location.archive), ("pool/b_2.deb", 12, "http://a.example/"));
    assert_eq!(index.package(index.named("a").next().unwrap(), &archive).unwrap().source, "src");
}

#[test]
fn what_could_never_be_installed_is_no_package() {
    for field in ["Filename", "Size", "SHA256", "Package"] {
        let text: String = paragraph("a", "1", "")
            .lines()
            .filter(|line| !line.starts_with(field))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(index(&text).len(), 0, "{field}");
    }
    assert_eq!(index("").len(), 0);
    assert_eq!(index("nonsense\n\n\n:\n: x\n x\n").len(), 0);
    let flat = index(&paragraph("a", "1", "").replace("pool/", "./"));
    let archive: Arc<str> = "http://a.example/".into();
    assert_eq!(flat.package(flat.named("a").next().unwrap(), &archive).unwrap().location.unwrap().path, "a_1.deb");
}

#[test]
fn files_outside_the_archive_are_refused() {
    for path in ["/etc/passwd", "../x.deb", "pool/../../x.deb", "pool/..", "pool/\u{1}x"] {
        let text = paragraph("a", "1", "").replace("pool/a_1.deb", path);
        let error = open(&store().1, text.as_bytes(), Packing::None, None).err().unwrap();
        assert_eq!(refused(error), "`U` is malformed: the file of package `a` is not below the archive");
    }
}

#[test]
fn fields_that_a_package_lacks_are_told_when_it_is_asked_for() {
    let archive: Arc<str> = "http://a.example/".into();
    for (from, to, field) in
        [("Size: 12", "Size: x", "Size"), (SHA256, "abc", "SHA256"), ("Version: 1", "X: 1", "Version")]
    {
        let index = index(&paragraph("a", "1", "").replace(from, to));
        let error = index.package(index.named("a").next().unwrap(), &archive).unwrap_err();
        assert_eq!(error.to_string(), format!("the description of package `a` has no field `{field}`"));
    }
}

#[test]
fn every_packing_is_read_and_kept_reduced() {
    let text = paragraph("a", "1", "Description: left out\n");
    let gzip = gzip(text.as_bytes());
    let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let twice = [xz(text.as_bytes()), xz(paragraph("b", "1", "").as_bytes())].concat();
    for (bytes, packing) in
        [(gzip, Packing::Gzip), (zstd, Packing::Zstd), (twice, Packing::Xz), (text.clone().into_bytes(), Packing::None)]
    {
        let (_folder, store) = store();
        let index = open(&store, &bytes, packing, None).unwrap();
        assert_eq!(versions(&index, "a"), ["1"], "{packing:?}");
        assert_eq!(index.len(), 1 + usize::from(packing == Packing::Xz));
        let kept = store.get_entry(Bucket::Packages, &name(&bytes), 1 << 20).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&kept).contains("left out"));
        // The second time the compressed file is not even looked at.
        store.discard(&Digest::of(&bytes)).unwrap();
        let packed = Packed { url: "U", digest: Digest::of(&bytes), size: 1, packing, plain: None };
        assert_eq!(Index::open(&store, &packed, "amd64").unwrap().len(), index.len());
    }
}

#[test]
fn a_damaged_table_is_made_anew() {
    let (_folder, store) = store();
    let text = paragraph("a", "1", "");
    let name = name(text.as_bytes());
    open(&store, text.as_bytes(), Packing::None, None).unwrap();
    let good = store.get_entry(Bucket::Packages, &name, 1 << 20).unwrap().unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(Index::of(Text::Loaded(bad)).is_none(), "{at}");
        assert!(Index::of(Text::Loaded(good[..at].to_vec())).is_none(), "{at}");
    }
    // Sound by its digest, but no table.
    for body in [
        "x",
        "\n",
        "1 0 0\n",
        "0 1 0\nabcd",
        "0 0 1\n",
        "0 0\n",
        "-1 0 0\n",
        "0 0 0\nx",
        "4294967295 4294967295 4294967295\n",
        "99999999999999999999 0 0\n",
    ] {
        let text = format!("{MAGIC}{}\n{body}", Digest::of(body.as_bytes()).hex());
        assert!(Index::of(Text::Loaded(text.into_bytes())).is_none(), "{body}");
    }
    store.put_entry(Bucket::Packages, &name, b"nonsense").unwrap();
    assert_eq!(open(&store, text.as_bytes(), Packing::None, None).unwrap().len(), 1);
    assert_eq!(store.get_entry(Bucket::Packages, &name, 1 << 20).unwrap().unwrap(), good);
}

#[test]
fn packed_files_that_are_not_what_was_signed() {
    let text = paragraph("a", "1", "").repeat(50);
    let packed = xz(text.as_bytes());
    let of = |bytes: &[u8], plain: Option<&[u8]>| refused(open(&store().1, bytes, Packing::Xz, plain).err().unwrap());
    assert!(open(&store().1, &packed, Packing::Xz, Some(text.as_bytes())).is_ok());
    let other = text.replace("Size: 12", "Size: 13");
    assert!(of(&packed, Some(other.as_bytes())).starts_with("`U` is not what was signed: expected sha256:"));
    assert_eq!(of(&packed, Some(b"short")), "`U` is too large: more than 5 bytes");
    for cut in (0..packed.len()).step_by(16) {
        assert!(of(&packed[..cut], None).starts_with("could not unpack `U`"), "{cut}");
    }
    for at in (0..packed.len()).step_by(16) {
        let mut bad = packed.clone();
        bad[at] ^= 0x10;
        if let Err(error) = open(&store().1, &bad, Packing::Xz, Some(text.as_bytes())) {
            refused(error);
        }
    }
}

#[test]
fn bombs_do_not_go_off() {
    let bomb = xz(&vec![b'\n'; 64 << 20]);
    assert!(bomb.len() < 100 << 10);
    let (_folder, store) = store();
    let error = open(&store, &bomb, Packing::Xz, None).err().unwrap();
    let limit = (bomb.len() as u64 * RATIO_LIMIT).max(RATIO_FLOOR);
    assert_eq!(refused(error), format!("`U` is too large: more than {limit} bytes"));
}
