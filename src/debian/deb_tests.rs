//! Hand-made .debs, honest and hostile. Each hostile one ends in an error that names the package, in time.

use std::sync::mpsc;
use std::time::Duration;

use super::super::ar::testing::archive;
use super::super::deb_testing::{RawDeb, open, open_with, pack};
use super::*;
use crate::error::Class;
use crate::layer::read::testing::RawTar;

/// How long anything may take.
const WATCHDOG: Duration = Duration::from_secs(60);

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    (folder, store)
}

fn good() -> RawDeb {
    RawDeb::new("good", "1:2-3", "amd64", "Multi-Arch: same\n")
        .with("conffiles", "/etc/a\nremove-on-upgrade /etc/b\n")
        .with("postinst", "#!/bin/sh\n")
        .with("triggers", "interest x\n")
        .with("md5sums", "0  usr/bin/a\n")
        .data(|tar| {
            tar.folder("./usr/")
                .folder("./usr/bin/")
                .raw(b'0', b"./usr/bin/a", b"", 3, 0o4755, b"abc")
                .hardlink("./usr/bin/0", "./usr/bin/a")
                .hardlink("./usr/bin/b", "./usr/bin/0")
                .symlink("./usr/bin/l", "../../../etc")
                .file("./etc/empty", b"")
                .file("./etc/a", &[b'x'; 100_000])
        })
}

/// Opens it under a watchdog, with small limits.
fn opened(bytes: Vec<u8>) -> Result<Deb> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (_folder, store) = store();
        let limits = Limits { control: 1 << 20, data: 64 << 20, floor: 1 << 20 };
        sender.send(open_with(Some(limits), &bytes, &store)).unwrap();
    });
    receiver.recv_timeout(WATCHDOG).expect("it hangs, or panics")
}

fn refused(bytes: Vec<u8>, why: &str) {
    let error = opened(bytes).expect_err(why);
    let text = error.to_string();
    assert!(text.contains(why) && (text.contains("`evil`") || text.contains("`good`")), "{why}: {text}");
    assert_eq!(error.class(), Class::Verification);
    assert!(error.hint().is_some());
}

fn bad_data(add: impl FnOnce(RawTar) -> RawTar, why: &str) {
    refused(good().data(add).bytes(), why);
}

#[test]
fn all_compressions_give_the_same_package() {
    let (folder, store) = store();
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let deb = RawDeb { suffix, ..good() }.open(&store).unwrap();
        assert_eq!((deb.package.name.as_str(), deb.package.version.as_str()), ("good", "1:2-3"));
        assert_eq!(deb.control.get("Multi-Arch"), Some("same"));
        assert_eq!(deb.scripts["postinst"], "#!/bin/sh\n");
        assert_eq!((deb.conffiles.as_slice(), deb.triggers.as_deref()), (&["/etc/a".into()][..], Some("interest x\n")));
        assert_eq!(deb.others.keys().collect::<Vec<_>>(), ["conffiles", "md5sums"]);
        let paths: Vec<&str> = deb.entries.iter().map(|(path, _)| path.as_str()).collect();
        let expected = ["etc/a", "etc/empty", "usr", "usr/bin", "usr/bin/0", "usr/bin/a", "usr/bin/b", "usr/bin/l"];
        assert_eq!(paths, expected);
        let read = |n: usize| deb.entries[n].1.read(&deb.entries[n].0, 1 << 20).unwrap();
        assert_eq!((read(0), read(1), read(5)), (Some(vec![b'x'; 100_000]), Some(vec![]), Some(b"abc".to_vec())));
        for link in [4, 6] {
            assert!(matches!(&deb.entries[link].1.kind, Kind::Hardlink(first) if first.as_str() == "usr/bin/a"));
        }
        assert!(matches!(&deb.entries[7].1.kind, Kind::Symlink(target) if target == "../../../etc"));
        assert_eq!((deb.entries[5].1.uid, deb.entries[5].1.gid, &*deb.entries[5].1.input), (1, 2, "package `good`"));
        assert_eq!(deb.privileged(), [(TreePath::new("usr/bin/a").unwrap(), 0o4755)]);
    }
    // Nothing stays behind under a name.
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn another_package_than_the_index_promised_is_refused() {
    let (_folder, store) = store();
    let deb = good().open(&store).unwrap();
    deb.check_against(&deb.package).unwrap();
    for (name, version, architecture, field) in [
        ("other", "1:2-3", "amd64", "name"),
        ("good", "2-3", "amd64", "version"),
        ("good", "1:2-3", "all", "architecture"),
    ] {
        let other = RawDeb::new(name, version, architecture, "").open(&store).unwrap();
        let error = deb.check_against(&other.package).unwrap_err();
        assert!(error.to_string().contains(&format!("expected {field} `")), "{error}");
        assert_eq!(error.class(), Class::Verification);
    }
}

#[test]
fn paths_stay_inside() {
    for bad in ["../x", "./../x", "./a/../b", "./usr/.."] {
        bad_data(|tar| tar.file(bad, b""), "`.` or `..` component");
        bad_data(|tar| tar.hardlink("./x", bad), "`.` or `..` component");
    }
    bad_data(|tar| tar.file("/etc/passwd", b""), "is written as an absolute path");
    bad_data(|tar| tar.hardlink("./x", "/etc/a"), "is written as an absolute path");
    bad_data(|tar| tar.hardlink("./x", "./etc/passwd"), "which is no earlier file of the package");
    bad_data(|tar| tar.hardlink("./x", "./usr/bin"), "which is no earlier file of the package");
    bad_data(|tar| tar.hardlink("./x", "./usr/bin/l"), "which is no earlier file of the package");
    bad_data(|tar| tar.hardlink("./x", "./x"), "which is no earlier file of the package");
    bad_data(|tar| tar.symlink("./d", "/etc").file("./d/passwd", b""), "is below `/d`, which is no folder");
    bad_data(|tar| tar.file("./d/passwd", b"").symlink("./d", "/etc"), "is below `/d`, which is no folder");
    bad_data(|tar| tar.file("./etc/a/b", b""), "is below `/etc/a`, which is no folder");
    bad_data(|tar| tar.file("./etc/a", b""), "comes twice");
    bad_data(|tar| tar.symlink("./usr/bin", "/x"), "comes twice");
    bad_data(|tar| tar.symlink("./x", ""), "is a link to nothing");
    bad_data(|tar| tar.pax(&[("linkpath", &"x".repeat(5000))]).symlink("./x", ""), "longer than 4095 bytes");
    for name in ["./.wh.x", "./etc/.wh..wh..opq", "./.wh..wh.aufs"] {
        bad_data(|tar| tar.file(name, b""), "begins with `.wh.`");
    }
    bad_data(|tar| tar.file("./caf\u{7}", b""), "is not UTF-8 text");
    bad_data(|tar| tar.raw(b'0', b"./caf\xe9", b"", 0, 0o644, b""), "is not UTF-8 text");
    for flag in *b"346" {
        bad_data(|tar| tar.special(flag, "./dev/x"), "`/dev/x` is a device or a pipe");
    }
    bad_data(|tar| tar.raw(b'0', b"./x", b"", 1 << 40, 0o644, b""), "a size of");
    bad_data(|tar| tar.raw(b'0', b"./x", b"", 1 << 30, 0o644, b""), "the tar ends inside a file");
}

#[test]
fn control_tars_without_sense_are_refused() {
    let control = |add: &dyn Fn(RawTar) -> RawTar, why: &str| {
        let deb = good();
        refused(RawDeb { control: add(deb.control.clone()), ..deb }.bytes(), why);
    };
    control(&|_| RawTar::new(), "it has no control file");
    control(&|tar| tar.file("./control", b""), "comes twice");
    control(&|tar| tar.folder("./x/"), "is not a file");
    control(&|tar| tar.symlink("./config", "/etc/passwd"), "is not a file");
    control(&|tar| tar.hardlink("./config", "./control"), "is not a file");
    control(&|tar| tar.file("./a/b", b""), "has a path that no control file has");
    control(&|tar| tar.file("/config", b""), "has a path that no control file has");
    control(&|tar| tar.file("./.wh.a", b""), "is not a file");
    control(&|tar| tar.raw(b'0', b"./x", b"", 2 << 20, 0o644, b""), "the tar ends too early");
    control(&|tar| (0..200).fold(tar, |tar, n| tar.file(&format!("./f{n}"), b"")), "one file too many");
    let text = |text: &[u8], why: &str| {
        refused(RawDeb { control: RawTar::new().file("./control", text), ..good() }.bytes(), why);
    };
    text(b"Package: a\xff\n", "`control` is not UTF-8 text");
    text(b"Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\n", "more than one paragraph");
    text(b"Package: a\nArchitecture: all\n", "has no field `Version`");
    text(b"Package: ../a\nVersion: 1\nArchitecture: all\n", "the name `../a`");
    text(b"Package: a\nVersion: 1\nArchitecture: a/b\n", "the architecture `a/b`");
    text(b"Package: a\nVersion: ../1\nArchitecture: all\n", "is not a version");
    refused(RawDeb::new("good", "1", "all", "").with("conffiles", "etc/a\n").bytes(), "has the line `etc/a`");
}

/// CVE-2025-6297: members without permissions. Nothing is extracted, so nothing is left behind.
#[test]
fn control_without_permissions_is_read() {
    let (_folder, store) = store();
    let control = b"Package: good\nVersion: 1\nArchitecture: all\n";
    let control = RawTar::new().raw(b'5', b"./", b"", 0, 0, b"").raw(b'0', b"./control", b"", 43, 0, control);
    RawDeb { control, ..good() }.open(&store).unwrap();
}

#[test]
fn a_script_that_is_a_program_is_kept() {
    let (_folder, store) = store();
    let deb = good();
    let control = deb.control.clone().file("./preinst", b"\x7fELF\xff");
    let deb = RawDeb { control, ..deb }.open(&store).unwrap();
    assert!(!deb.scripts.contains_key("preinst") && deb.others["preinst"] == b"\x7fELF\xff");
}

#[test]
fn bombs_are_stopped() {
    let tar = RawTar::new().folder("./").raw(b'0', b"./x", b"", 40 << 20, 0o644, &vec![0; 40 << 20]).end();
    for suffix in [".gz", ".xz", ".zst"] {
        let packed = pack(&tar, suffix);
        let (name, control) = (format!("data.tar{suffix}"), pack(&good().control.end(), suffix));
        let control_name = format!("control.tar{suffix}");
        let bytes = archive(&[("debian-binary", b"2.0\n"), (&control_name, &control), (&name, &packed)]);
        let limit = (packed.len() as u64 * super::super::data_stream::RATIO_LIMIT).clamp(1 << 20, 64 << 20);
        if limit < 40 << 20 {
            refused(bytes, &format!("has more than {limit} uncompressed bytes in `data.tar{suffix}`"));
        } else {
            opened(bytes).unwrap();
        }
        // As a control tar.
        let bytes = archive(&[("debian-binary", b"2.0\n"), (&control_name, &packed), (&name, &packed)]);
        refused(bytes, "more than");
    }
    // Without compression, the absolute limit holds.
    let (_folder, store) = store();
    let limits = Limits { control: 1 << 20, data: 1 << 20, floor: 1 << 20 };
    let deb = RawDeb::new("good", "1", "all", "").data(|tar| tar.file("./x", &vec![1; 2 << 20]));
    let error = open_with(Some(limits), &deb.bytes(), &store).unwrap_err();
    assert!(error.to_string().contains("more than 1048576 uncompressed bytes"), "{error}");
}

/// A dictionary of 1.5 GiB costs nothing to ask for.
#[test]
fn memory_for_unpacking_has_a_limit() {
    let tar = good().data.end();
    // The size of the dictionary is one byte in the block's header, which has a checksum.
    let mut xz = liblzma::encode_all(&tar[..], 1).unwrap();
    // Header 12, block header: size, flags, filter id, length of its properties, the dictionary's size.
    assert_eq!(&xz[13..16], &[0, 0x21, 1]);
    xz[16] = 37;
    let end = 12 + (usize::from(xz[12]) + 1) * 4;
    let sum = crc32fast::hash(&xz[12..end - 4]).to_le_bytes();
    xz[end - 4..end].copy_from_slice(&sum);
    let control = pack(&good().control.end(), "");
    let with =
        |name: &str, data: &[u8]| archive(&[("debian-binary", b"2.0\n"), ("control.tar", &control), (name, data)]);
    refused(with("data.tar.xz", &xz), "memory limit reached");
    // A frame with a window of 2^28 bytes: magic, descriptor, window, then whatever.
    let zst = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3][..], &[0; 64]].concat();
    refused(with("data.tar.zst", &zst), "too much memory");
}

#[test]
fn streams_end_where_their_member_ends() {
    let control = good().control.end();
    let tar = good().data.end();
    let with = |suffix: &str, data: &[u8]| {
        archive(&[("debian-binary", b"2.0\n"), ("control.tar", &control), (&format!("data.tar{suffix}"), data)])
    };
    for suffix in [".gz", ".xz", ".zst"] {
        let whole = pack(&tar, suffix);
        // Several streams are one, as for dpkg.
        let two = [pack(&tar[..700], suffix), pack(&tar[700..], suffix)].concat();
        assert_eq!(opened(with(suffix, &two)).unwrap().entries.len(), 8);
        for junk in [&b"x"[..], b"junk that is none", &[0; 5], b"\x1f\x8b"] {
            refused(with(suffix, &[&whole[..], junk].concat()), "cannot be decompressed");
        }
        for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            assert!(opened(with(suffix, &whole[..cut])).is_err(), "{suffix} {cut}");
        }
        for at in (0..whole.len()).step_by(13) {
            let mut wrong = whole.clone();
            wrong[at] ^= 0x10;
            // Without a checksum (zstd, the time in gzip) it may still be a tar.
            if let Err(error) = opened(with(suffix, &wrong)) {
                assert_eq!(error.class(), Class::Verification, "{error}");
            }
        }
        refused(with(suffix, &[]), "data.tar");
        refused(with(suffix, &tar), "cannot be decompressed");
    }
    refused(with("", &[&tar[..], b"x"].concat()), "there is data behind the end of the tar");
    refused(with("", &tar[..tar.len() - 1024]), "the tar ends too early");
}

/// CVE-2026-2219: dpkg-deb did not see the end of such streams.
#[test]
fn zstd_streams_that_give_nothing_end() {
    let control = pack(&good().control.end(), ".zst");
    let with =
        |data: &[u8]| archive(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &control), ("data.tar.zst", data)]);
    let empty = zstd::encode_all(&b""[..], 1).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let endless = [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];
    for data in [empty.repeat(1), empty.repeat(10_000), skippable.repeat(1), skippable.repeat(10_000), endless.to_vec()]
    {
        refused(with(&data), "data.tar.zst");
    }
    let tar = pack(&good().data.end(), ".zst");
    assert_eq!(opened(with(&[&skippable[..], &empty, &tar, &skippable].concat())).unwrap().entries.len(), 8);
    refused(with(&[&tar[..], &endless].concat()), "cannot be decompressed");
}

#[test]
fn a_cut_anywhere_is_an_error() {
    for suffix in [".gz", ".xz", ".zst", ""] {
        let whole = RawDeb { suffix, ..RawDeb::new("good", "1", "all", "") }.bytes();
        let (_folder, store) = store();
        for cut in (0..whole.len()).step_by(whole.len() / 97 + 1) {
            let error = open(&whole[..cut], &store).expect_err("cut");
            assert_eq!(error.class(), Class::Verification, "{error}");
        }
    }
}

/// Whatever one byte is: an error that names the package, or a package.
#[test]
fn a_wrong_byte_anywhere_is_no_panic() {
    let whole = RawDeb::new("good", "1", "all", "").data(|tar| tar.file("./a", b"1").hardlink("./b", "./a")).bytes();
    let (_folder, store) = store();
    for at in (0..whole.len()).step_by(7) {
        for flip in [0x01, 0x80, 0xff] {
            let mut wrong = whole.clone();
            wrong[at] ^= flip;
            if let Err(error) = open(&wrong, &store) {
                let text = error.to_string();
                assert!(
                    error.class() == Class::Verification && (text.contains("`evil`") || text.contains("`good`")),
                    "{text}"
                );
            }
        }
    }
}
