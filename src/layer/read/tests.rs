//! Hand-made tars, honest and hostile.

use super::testing::{RawTar, compress, pax_record};
use super::*;
use crate::layer::BlobReader;

fn open(blob: Vec<u8>, compression: Compression, diff_id: Option<Digest>) -> Result<LayerReader, Error> {
    let descriptor = Descriptor::of(compression.media_type(), &blob);
    open_as(blob, compression, &descriptor, diff_id)
}

fn open_as(
    blob: Vec<u8>,
    compression: Compression,
    descriptor: &Descriptor,
    diff_id: Option<Digest>,
) -> Result<LayerReader, Error> {
    let verified = BlobReader::new(std::io::Cursor::new(blob), descriptor.digest, Some(descriptor.size));
    LayerReader::open(Box::new(verified), compression, descriptor, diff_id)
}

fn members(tar: Vec<u8>) -> Result<Vec<Member>, Error> {
    let mut reader = open(tar, Compression::None, None)?;
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        members.push(member);
    }
    reader.finish()?;
    Ok(members)
}

fn refused(tar: RawTar, why: &str) {
    let error = members(tar.end()).expect_err(why);
    assert!(error.to_string().contains(why), "{why}: {error}");
}

fn names(members: &[Member]) -> Vec<String> {
    members.iter().map(|member| member.path.as_ref().map_or(".".into(), |path| path.to_string())).collect()
}

fn sample() -> RawTar {
    RawTar::new().folder("./").folder("./etc/").file("./etc/a", &[b'x'; 700]).symlink("etc/l", "/../abs")
}

#[test]
fn all_compressions_give_the_same_members() {
    let tar = sample().end();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut blob = compress(&tar[..700], compression);
        blob.extend(compress(&tar[700..], compression));
        assert_eq!(sniff(&blob), compression);
        let mut reader = open(blob, compression, Some(Digest::of(&tar))).unwrap();
        let mut found = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            if member.kind == MemberKind::File {
                assert_eq!(reader.read_body(700).unwrap(), [b'x'; 700]);
            }
            found.push(member);
        }
        assert_eq!(names(&found), [".", "etc", "etc/a", "etc/l"]);
        assert_eq!((found[2].uid, found[2].gid, found[2].mode, found[2].mtime), (1, 2, 0o644, 315_532_800));
        assert_eq!(found[3].kind, MemberKind::Symlink("/../abs".into()));
        let summary = reader.finish().unwrap();
        assert_eq!((summary.entries, summary.uncompressed_size), (4, tar.len() as u64));
    }
}

#[test]
fn a_media_type_that_lies_is_named() {
    let blob = compress(&sample().end(), Compression::Gzip);
    let error = open(blob, Compression::Zstd, None).err().unwrap();
    assert!(error.to_string().contains("its media type says zstd, but its bytes are gzip"), "{error}");
}

#[test]
fn the_diff_id_is_compared() {
    let error = open(sample().end(), Compression::None, Some(Digest::of(b""))).unwrap().finish().unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn what_follows_the_end_is_seen() {
    let tar = sample().end();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let good = compress(&tar, compression);
        let descriptor = Descriptor::of(compression.media_type(), &good);
        for junk in [&b"junk"[..], &[0; 512], &[0]] {
            let mut blob = good.clone();
            blob.extend_from_slice(junk);
            // Under the true digest of the good blob: the digest does not hold.
            let reader = open_as(blob.clone(), compression, &descriptor, None).unwrap();
            assert!(reader.finish().is_err(), "{compression:?} {junk:?}");
            // Under its own digest: zeros behind a plain tar are padding, everything else is an error.
            let padding = compression == Compression::None && junk.iter().all(|byte| *byte == 0);
            let result = open(blob, compression, None).unwrap().finish();
            assert_eq!(result.is_ok(), padding, "{compression:?} {junk:?} {result:?}");
        }
        // A wrong byte anywhere, a cut anywhere.
        for at in (4..good.len()).step_by(41) {
            let mut blob = good.clone();
            blob[at] ^= 0x40;
            let error = open_as(blob, compression, &descriptor, None).unwrap().finish().unwrap_err();
            assert!(matches!(error, Error::Digest { .. } | Error::Damaged { .. } | Error::Limit { .. }), "{error}");
            let cut = good[..at].to_vec();
            assert!(open_as(cut.clone(), compression, &descriptor, None).unwrap().finish().is_err());
            assert!(open(cut, compression, None).unwrap().finish().is_err());
        }
    }
}

#[test]
fn a_tar_ends_with_two_blocks_of_zeros() {
    let tar = sample();
    for (zeros, good) in [(0, false), (512, false), (1024, true), (10240, true)] {
        let mut bytes = tar.bytes.clone();
        bytes.resize(bytes.len() + zeros, 0);
        assert_eq!(members(bytes).is_ok(), good, "{zeros}");
    }
    let mut hidden = tar.bytes.clone();
    hidden.resize(hidden.len() + 512, 0);
    hidden.extend(RawTar::new().file("hidden", b"").end());
    assert!(members(hidden).unwrap_err().to_string().contains("behind a block of zeros"));
    assert!(members(Vec::new()).is_err());
    assert_eq!(members(vec![0; 1024]).unwrap(), []);
}

#[test]
fn sizes_have_one_reading() {
    let nested = RawTar::new().file("smuggled", b"").end();
    for (stated, pax) in [(nested.len() as u64, "0"), (0, &*nested.len().to_string()), (512, "1024")] {
        let tar = RawTar::new().pax(&[("size", pax)]).raw(b'0', b"f", b"", stated, 0o644, &nested);
        refused(tar, "in the PAX header but");
    }
    let same = RawTar::new().pax(&[("size", "3")]).file("f", b"abc").end();
    assert_eq!(members(same).unwrap()[0].size, 3);
    refused(RawTar::new().raw(b'5', b"d/", b"", 512, 0o755, &[1; 512]), "is not a file, but has 512 bytes");
    refused(RawTar::new().raw(b'1', b"d", b"x", 512, 0o755, &[1; 512]), "is not a file");
    let mut negative = RawTar::new().file("f", b"");
    negative.bytes[124..136].fill(0xff);
    refresh_checksum(&mut negative.bytes);
    refused(negative, "a size of -1");
}

fn refresh_checksum(block: &mut [u8]) {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&block[..512]);
    header.set_cksum();
    block[..512].copy_from_slice(header.as_bytes());
}

#[test]
fn extension_headers_have_one_reading() {
    let long = "d/".repeat(100) + "f";
    let long_name = |tar: RawTar| tar.extension(b'L', format!("{long}\0").as_bytes());
    let one = members(long_name(RawTar::new()).file("short", b"").end()).unwrap();
    assert_eq!(names(&one), std::slice::from_ref(&long));
    let one = members(RawTar::new().pax(&[("path", &long)]).file("short", b"").end()).unwrap();
    assert_eq!(names(&one), std::slice::from_ref(&long));
    // The body of a PAX header that comes before `L` does not change where the entry begins.
    let both = RawTar::new().pax(&[("mtime", "1.5"), ("SCHILY.xattr.a", "1")]);
    let one = members(long_name(both).file("short", b"abc").end()).unwrap();
    assert_eq!((one[0].mtime, one[0].xattrs.len(), one[0].size), (1, 1, 3));

    refused(long_name(RawTar::new().pax(&[("path", "x")])).file("f", b""), "both give a name");
    refused(long_name(long_name(RawTar::new())).file("f", b""), "two extension headers of one kind");
    refused(RawTar::new().pax(&[]).pax(&[]).file("f", b""), "two extension headers of one kind");
    refused(long_name(RawTar::new()), "ends after an extension header");
    refused(RawTar::new().extension(b'x', b"11 path=ab").file("f", b""), "malformed");
    for record in [("path", "x"), ("size", "1"), ("uid", "0"), ("linkpath", "x")] {
        let tar = RawTar::new().extension(b'g', pax_record(record.0, record.1).as_bytes()).file("f", b"");
        refused(tar, "a global PAX header");
    }
    let git = RawTar::new().extension(b'g', pax_record("comment", "0123").as_bytes()).file("f", b"").end();
    assert_eq!(members(git).unwrap().len(), 1);
}

#[test]
fn limits_hold() {
    let huge = RawTar::new().raw(b'x', b"x", b"", 5 << 30, 0o644, b"");
    refused(huge, "bytes in an extension header");
    let mut many = RawTar::new();
    for _ in 0..=EXTENSIONS_LIMIT {
        many = many.extension(b'g', b"");
    }
    refused(many.file("f", b""), "extension headers before one entry");
    refused(RawTar::new().pax(&[("path", &"x/".repeat(3000))]).file("f", b""), "longer than 4095");
    refused(RawTar::new().pax(&[("path", &"x".repeat(300))]).file("f", b""), "longer than 255");
    refused(RawTar::new().pax(&[("uid", "4294967296")]).file("f", b""), "does not fit 32 bits");
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    // Two gigabytes of zeros in two megabytes, as many gzip members.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![0; 64 << 20]).unwrap();
    let zeros = encoder.finish().unwrap();
    let mut blob = compress(&RawTar::new().raw(b'0', b"f", b"", 2 << 30, 0o644, b"").bytes, Compression::Gzip);
    for _ in 0..33 {
        blob.extend_from_slice(&zeros);
    }
    let error = open(blob, Compression::Gzip, None).unwrap().finish().unwrap_err();
    assert!(matches!(error, Error::Limit { what: "uncompressed bytes", limit: RATIO_FLOOR, .. }), "{error}");
}

#[test]
fn unknown_and_sparse_entries_are_refused() {
    refused(RawTar::new().special(b'S', "f"), "a sparse file");
    refused(RawTar::new().pax(&[("GNU.sparse.major", "1")]).file("f", b""), "a sparse file");
    for flag in *b"VMNDXAIz8" {
        refused(RawTar::new().special(flag, "f"), "unknown kind");
    }
    refused(RawTar::new().file("f/", b""), "whose name ends in `/`");
    let old = members(RawTar::new().special(0, "f/").end()).unwrap();
    assert_eq!(old[0].kind, MemberKind::Directory);
    for flag in *b"346" {
        assert_eq!(members(RawTar::new().special(flag, "dev/x").end()).unwrap()[0].kind, MemberKind::Special);
    }
}

#[test]
fn paths_are_made_regular_or_refused() {
    let tar = RawTar::new().file("/abs", b"").file("./a//b/./c", b"").folder("d//");
    assert_eq!(names(&members(tar.end()).unwrap()), ["abs", "a/b/c", "d"]);
    for bad in ["..", "../x", "a/../b", "a/.."] {
        refused(RawTar::new().file(bad, b""), "`.` or `..` component");
        refused(RawTar::new().hardlink("x", bad), "`.` or `..` component");
    }
    for root in ["", ".", "/", "./", "/.", ".//"] {
        assert_eq!(members(RawTar::new().folder(root).end()).unwrap()[0].path, None);
        refused(RawTar::new().symlink(root, "/etc"), "the root is not a folder");
        refused(RawTar::new().hardlink("x", root), "a link to the root");
    }
    let odd = members(RawTar::new().raw(b'0', b"caf\xe9\n", b"", 0, 0o644, b"").end()).unwrap();
    assert!(odd[0].lossy);
    assert_eq!(names(&odd), ["caf\u{fffd}\u{fffd}"]);
    let mut broken = RawTar::new().file("f", b"");
    broken.bytes[0] = b'g';
    refused(broken, "checksum");
}

#[test]
fn whiteouts_are_told_apart() {
    let tar = RawTar::new().file("a/.wh.b", b"").file("a/.wh..wh..opq", b"").file(".wh..wh..opq", b"");
    let found = members(tar.file(".wh..wh.plnk/1.2", b"").file(".wh..wh.aufs", b"").file(".wh.x", b"").end()).unwrap();
    let kinds: Vec<_> = found.iter().map(|member| member.kind.clone()).collect();
    use MemberKind::{Ignored, Opaque, Whiteout};
    assert_eq!(kinds, [Whiteout, Opaque, Opaque, Ignored, Ignored, Whiteout]);
    assert_eq!(names(&found)[..3], ["a/b", "a", "."]);
    for bad in [".wh.", "a/.wh.", ".wh..", ".wh...", "a/.wh..."] {
        refused(RawTar::new().file(bad, b""), "a whiteout without a name");
    }
    refused(RawTar::new().file("a/.wh.b/c", b""), "below a whiteout");
    refused(RawTar::new().folder("a/.wh.b"), "a whiteout that is a folder");
}

#[test]
fn a_failing_disk_is_not_a_damaged_layer() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("bad sector"))
        }
    }
    let start = compress(&sample().end(), Compression::Gzip)[..40].to_vec();
    let descriptor = Descriptor::of(Compression::Gzip.media_type(), &start);
    let blob = Box::new(std::io::Cursor::new(start).chain(Failing));
    let error = LayerReader::open(blob, Compression::Gzip, &descriptor, None).unwrap().finish().unwrap_err();
    assert!(matches!(error, Error::Stream { .. }), "{error}");
}

/// What ordinary programs write is read as it was meant: long and odd names, links, large numbers, empty files.
#[test]
fn tars_of_other_programs_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
set -e
at=deep/$(printf 'x%.0s' $(seq 120))/$(printf 'y%.0s' $(seq 120)); mkdir -p t/$at; cd t
printf hello > file; ln file hard; ln -s ../abs link; ln -s $(printf 'z%.0s' $(seq 150)) longlink; mkfifo pipe; : > empty
printf deep > $at/$(printf 'f%.0s' $(seq 100)); printf u > 'ünï code'; touch -d @-100 old; chmod 4711 file
cd ..
for format in gnu pax ustar oldgnu; do tar --format=$format --sort=name --owner=0 --group=3000000 -cf $format.tar \
    $(test $format = ustar && echo --exclude=longlink --exclude=old --exclude=deep --group=3) -C t .; done
python3 -c \"
import tarfile
for name, format in ('pygnu', tarfile.GNU_FORMAT), ('pypax', tarfile.PAX_FORMAT):
    with tarfile.open(name + '.tar', 'w', format=format) as tar: tar.add('t', arcname='.')
\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir(folder.path());
    let output = crate::process::run(command, b"", crate::process::DEFAULT_TIMEOUT).unwrap();
    assert!(output.status.success(), "needs tar and python3 (apt-get install tar python3): {}", output.stderr_text());
    for (format, count) in [("gnu", 13), ("pax", 13), ("ustar", 7), ("oldgnu", 13), ("pygnu", 13), ("pypax", 13)] {
        let bytes = std::fs::read(folder.path().join(format!("{format}.tar"))).unwrap();
        let found = members(bytes).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(found.len(), count, "{format} {:?}", names(&found));
        let at = |name: &str| found.iter().find(|member| member.path.as_ref().is_some_and(|path| path.name() == name));
        let file = at("file").unwrap();
        assert!((file.mode, file.size) == (0o4711, 5) && at("hard").unwrap().path != file.path, "{format}");
        assert_eq!(at("link").unwrap().kind, MemberKind::Symlink("../abs".into()));
        assert!(at("ünï code").is_some_and(|member| !member.lossy && member.size == 1), "{format}");
        if count == 13 {
            assert_eq!(at(&"f".repeat(100)).unwrap().size, 4);
            assert_eq!(at("longlink").unwrap().kind, MemberKind::Symlink("z".repeat(150)));
            assert_eq!(at("old").unwrap().mtime, -100, "{format}");
        }
    }
}
