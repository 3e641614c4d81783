use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::layer::Entry;
use crate::layer::read::testing::RawTar;
use crate::node::testing::{gzip, put, store};

/// "x path text" of every file, executables with an x, or the error.
fn unpacked(bytes: &[u8], limits: Limits) -> Result<Vec<String>, String> {
    let (_folder, store) = store();
    let tarball = put(bytes, &store);
    let files = unpack_within(&tarball, "p@1", &store, limits, &Total::default()).map_err(|error| error.to_string())?;
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    let line = |(path, file): (&String, &PackedFile)| {
        let entry = Entry::file(file.content.clone(), 0o644, &"p".into());
        let bytes = entry.read(&TreePath::new("x").unwrap(), 1 << 20).unwrap().unwrap();
        format!("{} {path} {}", if file.executable { "x" } else { "-" }, String::from_utf8_lossy(&bytes))
    };
    Ok(files.iter().map(line).collect())
}

fn files(tar: RawTar) -> Result<Vec<String>, String> {
    unpacked(&gzip(&tar.end()), LIMITS)
}

#[test]
fn files_are_unpacked_as_npm_unpacks_them() {
    let long = format!("p/{}", "d/".repeat(60) + "file");
    let tar = RawTar::new()
        .extension(b'g', b"19 comment=abcdefg\n")
        .folder("p")
        .folder("p/empty")
        .file("p/a.js", b"a")
        .raw(b'0', b"p/run", b"", 1, 0o744, b"r")
        .raw(b'0', b"p/group", b"", 1, 0o6674, b"g")
        .file("other/b.js", b"b")
        .file("p/nothing", b"")
        .file("alone", b"beside the package")
        .symlink("p/link", "/etc/passwd")
        .hardlink("p/twin", "p/a.js")
        .special(b'3', "p/device")
        .special(b'6', "p/pipe")
        .file("./p/c.js", b"c")
        .file("p/a.js", b"the later one")
        .pax(&[("path", &long)])
        .file("short", b"long");
    assert_eq!(
        files(tar).unwrap(),
        [
            "- a.js the later one".to_string(),
            "- b.js b".into(),
            "- c.js c".into(),
            format!("- {} long", &long[2..]),
            "- group g".into(),
            "- nothing ".into(),
            "x run r".into(),
        ]
    );
    assert_eq!(files(RawTar::new().folder("p")).unwrap(), [] as [&str; 0]);
    assert_eq!(files(RawTar::new().file("p/x", b"")).unwrap(), ["- x "]);
}

#[test]
fn what_git_ignores_is_what_npm_ignores() {
    let renamed =
        files(RawTar::new().file("p/.gitignore", b"1").file("p/d/.gitignore", b"2").file("p/d/.npmignore", b"3"));
    assert_eq!(renamed.unwrap(), ["- .npmignore 1", "- d/.npmignore 3"]);
    let kept = files(RawTar::new().file("p/.npmignore", b"1").file("p/.gitignore", b"2"));
    assert_eq!(kept.unwrap(), ["- .npmignore 1"]);
}

#[test]
fn owners_and_times_do_not_matter() {
    // As old programs wrote them: an owner of more than 32 bits, one that is no number, a time that is none.
    let mut tar = RawTar::new().file("p/a", b"a").bytes;
    tar[108..116].copy_from_slice(b"wat\0\0\0\0\0");
    tar[116..124].copy_from_slice(&[0x80, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
    tar[136..148].copy_from_slice(b"NaNNaNNaNNaN");
    tar[148..156].copy_from_slice(b"        ");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let end = [0; 1024];
    assert_eq!(unpacked(&gzip(&[&tar[..], &end].concat()), LIMITS).unwrap(), ["- a a"]);
    // Without the end, too: many programs leave it out.
    assert_eq!(unpacked(&gzip(&tar), LIMITS).unwrap(), ["- a a"]);
}

#[test]
fn what_leads_out_of_the_package_is_refused() {
    for (tar, expected) in [
        (RawTar::new().file("p/../../etc/passwd", b"x"), "it has a `.` or `..` component"),
        (RawTar::new().file("..", b"x"), "it has a `.` or `..` component"),
        (RawTar::new().file("/p/x", b"x"), "`p/x` is written as an absolute path"),
        (RawTar::new().file("p/a\nb", b"x"), "is not UTF-8 text, or has control characters"),
        (RawTar::new().raw(b'0', b"p/\xff", b"", 1, 0o644, b"x"), "is not UTF-8 text, or has control characters"),
        (RawTar::new().pax(&[("path", "p/a\0b")]).file("x", b"x"), "a NUL in its path"),
        (
            RawTar::new().file("p/.wh.x", b""),
            "`p/.wh.x` has a name that begins with `.wh.`, which layers give a meaning",
        ),
        (
            RawTar::new().file("p/.wh..wh..opq", b""),
            "`p/.wh..wh..opq` has a name that begins with `.wh.`, which layers give a meaning",
        ),
        (RawTar::new().file("p/a", b"x").file("p/a/b", b"x"), "`a/b` is below `a`, which is a file"),
        (RawTar::new().extension(b'g', b"11 path=abc\n"), "is malformed"),
        (RawTar::new().raw(b'0', b"p/x", b"", 5000, 0o644, b"x"), "the tar ends inside a file"),
    ] {
        let said = files(tar).unwrap_err();
        assert!(said.starts_with("the tarball of `p@1` is not sound: ") && said.contains(expected), "{said}");
    }
}

#[test]
fn damaged_and_endless_streams_are_refused() {
    let good = gzip(&RawTar::new().file("p/a", b"a").end());
    let small = Limits { unpacked: 1 << 30, floor: 4096, files: 2, ..LIMITS };
    assert!(unpacked(&good, small).is_ok());
    // Zeros behind the stream are padding; anything else is not.
    assert!(unpacked(&[&good[..], &[0; 512]].concat(), small).is_ok());
    let deflated = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let bomb = deflated(&RawTar::new().file("p/a", &vec![0; 4 << 20]).end());
    let allowed = format!("it has more than {} unpacked bytes", bomb.len() * 200);
    // Whatever the bytes are cut into, they are counted together.
    let tar = RawTar::new().file("p/a", &vec![0; 4 << 20]).end();
    let twice = [deflated(&tar[..tar.len() / 2]), deflated(&tar[tar.len() / 2..])].concat();
    let allowed_twice = format!("it has more than {} unpacked bytes", (twice.len() as u64 * RATIO_LIMIT).max(4096));
    let many = gzip(&RawTar::new().file("p/a", b"").file("p/b", b"").file("p/c", b"").end());
    let mut wrong = good.clone();
    let crc = wrong.len() - 6;
    wrong[crc] ^= 1;
    for (bytes, expected) in [
        ([&good[..], b"x"].concat(), "its gzip stream is damaged"),
        ([&good[..], &good[..good.len() - 9]].concat(), "its gzip stream is damaged"),
        (twice, &*allowed_twice),
        (good[..good.len() - 9].to_vec(), "its gzip stream is damaged"),
        (wrong, "its gzip stream is damaged"),
        (b"PK\x03\x04 is no gzip".to_vec(), "it is no gzip stream, and as a tar: the tar ends too early"),
        ([b'x'; 1024].to_vec(), "it is no gzip stream, and as a tar: "),
        (bomb, &*allowed),
        (many, "it has more than 2 files"),
        (gzip(b""), "there is nothing in it"),
        (gzip(&[0; 1024]), "there is nothing in it"),
    ] {
        let said = unpacked(&bytes, small).map(|files| files.len()).unwrap_err();
        assert!(said.starts_with("the tarball of `p@1` is not sound: ") && said.contains(expected), "{said}");
    }
}

/// As npm has it, which asks Node's zlib and its tar.
#[test]
fn several_gzip_members_are_one_stream_and_gzip_may_be_missing() {
    let tar = RawTar::new().file("p/a", b"a").file("p/b", b"b").end();
    let expected = ["- a a", "- b b"];
    for cut in [1, 511, 512, 700, tar.len() - 1] {
        let members = [gzip(&tar[..cut]), gzip(b""), gzip(&tar[cut..]), vec![0; 7], b"whatever".to_vec()].concat();
        assert_eq!(unpacked(&members, LIMITS).unwrap(), expected, "{cut}");
    }
    assert_eq!(unpacked(&tar, LIMITS).unwrap(), expected);
    // Of two tars behind each other, the second is behind the end of the first.
    let second = RawTar::new().file("p/c", b"c").end();
    assert_eq!(unpacked(&[gzip(&tar), gzip(&second)].concat(), LIMITS).unwrap(), expected);
    assert_eq!(unpacked(&[&tar[..], b"anything"].concat(), LIMITS).unwrap(), expected);
}

#[test]
fn a_tarball_that_the_disk_has_damaged_is_removed() {
    let (_folder, store) = store();
    let tarball = put(&gzip(&RawTar::new().file("p/a", b"a").end()), &store);
    let path = store.blob_path(&tarball.digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = unpack(&tarball, "p@1", &store, &Total::default()).unwrap_err();
    assert!(error.to_string().contains("does not verify: found sha256:") && error.class().code() == 4, "{error}");
    assert!(!store.has(&tarball.digest));
}

#[test]
fn all_packages_together_have_limits() {
    let (_folder, store) = store();
    let (total, other) = (Total::default(), Total::default());
    let limits = Limits { all_unpacked: 10_000, all_files: 3, ..LIMITS };
    let unpack_into = |tar: RawTar, total: &Total| {
        let tarball = put(&gzip(&tar.end()), &store);
        unpack_within(&tarball, "p@1", &store, limits, total).map(|files| files.len()).map_err(|e| e.to_string())
    };
    let unpack = |tar: RawTar| unpack_into(tar, &total);
    assert_eq!(unpack(RawTar::new().file("p/a", b"").file("p/b", b"")), Ok(2));
    let said = unpack(RawTar::new().file("p/a", b"x").file("p/b", b"")).unwrap_err();
    assert!(said.contains("with it, the packages have more than 3 files together"), "{said}");
    assert_eq!(unpack_into(RawTar::new().file("p/a", &[0; 4000]), &other), Ok(1));
    let said = unpack_into(RawTar::new().file("p/a", &[0; 9000]), &other).unwrap_err();
    assert!(said.contains("with it, the packages have more than 10000 unpacked bytes together"), "{said}");
}
