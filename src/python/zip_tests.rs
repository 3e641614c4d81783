//! Zip files that two readers could read in two ways, one test for each way.

use super::*;
use crate::python::testing::{ZipMember, ZipParts, archive, zip};

fn open(bytes: &[u8]) -> Result<Archive, String> {
    let (_folder, archive) = archive(bytes).unwrap();
    archive.map_err(|error| {
        assert!(matches!(error, Error::Zip { .. }), "{error}");
        error.to_string()
    })
}

fn refused(bytes: &[u8], expected: &str) {
    let error = open(bytes).expect_err(expected);
    assert!(error.contains(expected), "expected {expected}: {error}");
}

fn x() -> ZipMember {
    ZipMember::new("x.py", "print('hello, hello, hello')")
}

fn u32_at(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Where the central directory begins.
fn central_at(bytes: &[u8]) -> usize {
    bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap()
}

fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let mut extra = vec![1, 0, (values.len() * 8) as u8, 0];
    values.iter().for_each(|value| extra.extend_from_slice(&value.to_le_bytes()));
    extra
}

#[test]
fn a_sound_archive_is_read() {
    let stored = ZipMember { deflated: false, mode: 0o100_755, ..ZipMember::new("b/ü.so", "1234") };
    let members = [x(), ZipMember { mode: 0o40_755, deflated: false, ..ZipMember::new("b/", "") }, stored];
    let (_folder, archive) = archive(&zip(&members)).unwrap();
    let archive = archive.unwrap();
    let names: Vec<_> = archive.members.iter().map(|m| (m.name.as_str(), m.executable, m.packing)).collect();
    assert_eq!(names, [("b/ü.so", true, Packing::Stored), ("x.py", false, Packing::Deflated)]);
    assert_eq!(archive.read(archive.member("x.py").unwrap(), 100).unwrap(), b"print('hello, hello, hello')");
    assert_eq!(archive.read(archive.member("b/ü.so").unwrap(), 4).unwrap(), b"1234");
    let error = archive.read(archive.member("b/ü.so").unwrap(), 3).unwrap_err();
    assert!(error.to_string().contains("it has 4 bytes, the limit is 3"), "{error}");
    assert!(archive.member("x").is_none());
}

/// Row 70: one beginning, one end; no prefix, no suffix, no comment.
#[test]
fn nothing_stands_before_or_behind() {
    let good = zip(&[x()]);
    refused(&[b"#!/bin/sh\n", &good[..]].concat(), "does not begin with a local file header");
    refused(&[&[0u8; 512][..], &good].concat(), "does not begin with a local file header");
    refused(&[&good[..], b"\n"].concat(), "does not end with the end record");
    refused(&[&good[..], &good].concat(), "does not end where the end record begins");
    refused(&good[..good.len() - 1], "does not end with the end record");
    refused(b"", "does not begin");
    refused(b"PK\x03\x04", "too short");
    refused(&zip(&[]), "does not begin");
    let mut comment = good.clone();
    let at = comment.len() - 2;
    comment[at] = 5;
    refused(&comment, "announces a comment");
    comment.extend_from_slice(b"hello");
    refused(&comment, "does not end with the end record");
    // A whole second archive as the comment of the first.
    let mut hidden = good.clone();
    hidden[at..at + 2].copy_from_slice(&(good.len() as u16).to_le_bytes());
    hidden.extend_from_slice(&good);
    assert!(open(&hidden).is_err());
}

/// Row 62: local headers and the central directory say the same.
#[test]
fn both_headers_agree() {
    let good = zip(&[x()]);
    // Offsets in the local header: flags 6, method 8, CRC 14, packed 18, size 22, name 30.
    for (at, expected) in [(6, "differ"), (8, "differ"), (14, "differ"), (18, "differ"), (22, "differ"), (30, "differ")]
    {
        let mut bytes = good.clone();
        bytes[at] ^= 2;
        refused(&bytes, expected);
    }
    let central = central_at(&good);
    // Packed size in the central directory.
    let mut bytes = good.clone();
    bytes[central + 20] -= 1;
    assert!(open(&bytes).is_err());
    // The count and the size of the directory.
    let mut more = ZipParts::of(&[x(), ZipMember::new("y.py", "1")]);
    more.count = 1;
    refused(&more.bytes(), "more entries than it says");
    more.count = 3;
    refused(&more.bytes(), "cut off");
    // The directory does not end where the end record begins.
    let mut bytes = good.clone();
    let end = bytes.len() - 22;
    u32_at(&mut bytes, end + 16, 0);
    refused(&bytes, "does not end where the end record begins");
}

#[test]
fn names_come_once_and_are_plain() {
    refused(&zip(&[x(), x()]), "its name comes twice");
    let folder = ZipMember { mode: 0o40_755, deflated: false, ..ZipMember::new("x.py/", "") };
    refused(&zip(&[x(), folder]), "its name comes twice");
    refused(&zip(&[x(), ZipMember::new("x.py/y.py", "")]), "a folder above it is a file");
    // Rows 65, 67, 68, 77: refused, never rewritten.
    for bad in [
        "../x",
        "a/../x",
        "..././x",
        "./x",
        "/etc/passwd",
        "//x",
        "a//b",
        "",
        "/",
        "//",
        "a\\b",
        "..\\x",
        "C:/x",
        "a\0b",
        "a\nb",
        "..",
        "a/..",
        "../site-packages-evil/x",
    ] {
        refused(&zip(&[ZipMember::new(bad, "")]), "is not a plain relative path");
    }
    let long = "a".repeat(300);
    refused(&zip(&[ZipMember::new(&long, "")]), "is not a plain relative path");
    let latin = ZipMember { name: vec![b'a', 0xe4], ..x() };
    refused(&zip(&[latin]), "its name is not UTF-8");
    let unmarked = ZipMember { flags: 0, ..ZipMember::new("ä.py", "") };
    refused(&zip(&[unmarked]), "not marked as UTF-8");
}

/// Row 66.
#[test]
fn links_and_special_files_are_refused() {
    for mode in [0o120_777, 0o020_644, 0o060_644, 0o010_644, 0o140_644, 0o040_755] {
        refused(&zip(&[ZipMember { mode, ..x() }]), "a link or a special file");
    }
    refused(&zip(&[ZipMember { mode: 0o100_644, deflated: false, ..ZipMember::new("a/", "") }]), "a link or a special");
    let full = ZipMember { mode: 0o40_755, deflated: false, ..ZipMember::new("a/", "content") };
    refused(&zip(&[full]), "it is a folder with content");
    // Row 73: only the x bit of a mode matters, setuid and the rest are gone.
    let (_folder, archive) = archive(&zip(&[ZipMember { mode: 0o104_755, ..x() }])).unwrap();
    assert!(archive.unwrap().members[0].executable);
}

#[test]
fn flags_and_methods() {
    for flags in [1u16, 1 << 5, 1 << 6, 1 << 13, 1 << 4] {
        refused(&zip(&[ZipMember { flags, ..x() }]), "encrypted or has unknown flags");
    }
    open(&zip(&[ZipMember { flags: 0b110, ..x() }])).unwrap();
    for method in [1u8, 9, 12, 14, 93, 99] {
        let mut bytes = zip(&[x()]);
        let central = central_at(&bytes);
        (bytes[8], bytes[central + 10]) = (method, method);
        refused(&bytes, &format!("packed with method {method}"));
    }
}

#[test]
fn data_descriptors_agree() {
    let late = ZipMember { flags: 8, ..x() };
    open(&zip(&[late.clone(), ZipMember::new("y.py", "1")])).unwrap();
    let (crc, size) = (crc32fast::hash(&late.content), late.content.len() as u32);
    let good = zip(std::slice::from_ref(&late));
    let packed = u32::from_le_bytes(good[central_at(&good) + 20..][..4].try_into().unwrap());
    let form = |signature: bool, wide: bool, crc: u32| {
        let mut bytes = if signature { b"PK\x07\x08".to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&crc.to_le_bytes());
        for value in [packed, size] {
            bytes.extend_from_slice(&value.to_le_bytes());
            bytes.extend_from_slice(if wide { &[0; 4] } else { &[] });
        }
        bytes
    };
    for signature in [false, true] {
        for wide in [false, true] {
            let with = |crc| ZipMember { descriptor: Some(form(signature, wide, crc)), ..late.clone() };
            open(&zip(&[with(crc), ZipMember::new("y.py", "1")])).unwrap_or_else(|e| panic!("{signature} {wide}: {e}"));
            refused(&zip(&[with(crc ^ 1)]), "its data descriptor and the central directory differ");
        }
    }
    refused(&zip(&[ZipMember { descriptor: Some(Vec::new()), ..late.clone() }]), "its data descriptor is malformed");
    refused(&zip(&[ZipMember { descriptor: Some(vec![0; 17]), ..late }]), "its data descriptor is malformed");
}

/// Rows 64 and 65: overlaps, gaps, and what unpacks to more than it says.
#[test]
fn every_byte_belongs_to_one_thing() {
    let mut gap = ZipParts::of(&[x()]);
    gap.locals.extend_from_slice(b"hidden");
    refused(&gap.bytes(), "bytes behind it belong to nothing");
    let mut between = ZipParts::of(&[x()]);
    between.locals.extend_from_slice(b"hidden");
    between.add(&ZipMember::new("y.py", "1"));
    refused(&between.bytes(), "bytes behind it belong to nothing");
    // Two entries that share one local entry: the quoted-overlap bomb in its simplest form.
    let mut shared = ZipParts::of(&[x()]);
    let copy = shared.central.clone();
    shared.central.extend_from_slice(&copy);
    shared.count = 2;
    assert!(open(&shared.bytes()).is_err());
    // A local entry that nobody lists.
    let mut unlisted = ZipParts::of(&[x()]);
    let (central, count) = (unlisted.central.clone(), unlisted.count);
    unlisted.add(&ZipMember::new("y.py", "1"));
    (unlisted.central, unlisted.count) = (central, count);
    refused(&unlisted.bytes(), "belong to nothing");
    // Nested: the second entry lies within the data of the first.
    let inner = zip(&[ZipMember::new("inner.py", "1")]);
    let mut outer = ZipParts::of(&[ZipMember { deflated: false, ..ZipMember::new("outer", &inner) }]);
    let mut entry = ZipParts::of(&[ZipMember::new("inner.py", "1")]).central;
    u32_at(&mut entry, 42, 30 + 5);
    outer.central.extend_from_slice(&entry);
    outer.count = 2;
    assert!(open(&outer.bytes()).is_err());
}

#[test]
fn sizes_are_believed_only_if_they_are_possible() {
    let lie = |size: u32| {
        let mut bytes = zip(&[x()]);
        let central = central_at(&bytes);
        u32_at(&mut bytes, 22, size);
        u32_at(&mut bytes, central + 24, size);
        bytes
    };
    refused(&lie(2_000_000_000), "it cannot unpack to the size it says");
    for (size, expected) in [(27, "unpacks to more than the 27 bytes"), (29, "unpacks to 28 bytes, expected 29")] {
        let (_folder, archive) = archive(&lie(size)).unwrap();
        let archive = archive.unwrap();
        let error = archive.read(&archive.members[0], 1000).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let stored = ZipMember { deflated: false, ..x() };
    let mut bytes = zip(&[stored]);
    let central = central_at(&bytes);
    u32_at(&mut bytes, 22, 5);
    u32_at(&mut bytes, central + 24, 5);
    refused(&bytes, "packed and unpacked size differ");
}

#[test]
fn damage_inside_a_member_is_found() {
    let good = zip(&[x()]);
    let read = |bytes: &[u8]| {
        let (_folder, archive) = archive(bytes).unwrap();
        let archive = archive.unwrap();
        archive.read(&archive.members[0], 1000).unwrap_err().to_string()
    };
    let central = central_at(&good);
    let mut crc = good.clone();
    crc[14] ^= 1;
    crc[central + 16] ^= 1;
    assert!(read(&crc).contains("its CRC-32 is"));
    let mut data = good.clone();
    data[34] = 0xff;
    assert!(read(&data).contains("its deflate stream is damaged"));
    // A byte behind the deflate stream, counted as part of it.
    let mut parts = ZipParts::of(&[x()]);
    parts.locals.push(0);
    parts.locals[18] += 1;
    parts.central[20] += 1;
    assert!(read(&parts.bytes()).contains("there are bytes behind its deflate stream"));
    let mut parts = ZipParts::of(&[x()]);
    parts.locals.pop();
    parts.locals[18] -= 1;
    parts.central[20] -= 1;
    assert!(read(&parts.bytes()).contains("its deflate stream is cut off"));
}

/// Rows 63 and 77.
#[test]
fn zip64_is_consistent() {
    let parts = ZipParts::of(&[x()]);
    let with = |end64: Vec<u8>, end: Vec<u8>| [&parts.locals[..], &parts.central, &end64, &end].concat();
    open(&with(parts.end64(0), parts.end())).unwrap();
    refused(&with(parts.end64(1), parts.end()), "its end record and its zip64 end record differ");
    let mut saturated = parts.end();
    u32_at(&mut saturated, 16, u32::MAX);
    open(&with(parts.end64(0), saturated.clone())).unwrap();
    refused(&with(Vec::new(), saturated.clone()), "needs zip64 fields, and there are none");
    // The locator points elsewhere than right before it.
    let mut elsewhere = parts.end64(0);
    elsewhere[56 + 8] ^= 1;
    refused(&with(elsewhere, saturated.clone()), "locator does not point to");
    // Extensible data between record and locator.
    let mut extensible = parts.end64(0);
    extensible[4] = 45;
    extensible.insert(56, 0);
    refused(&with(extensible, saturated.clone()), "locator does not point to");
    let mut longer = parts.end64(0);
    longer[4] = 45;
    refused(&with(longer, saturated), "missing or has extensible data");
    // A locator right before an end record that does not need it, without a record.
    let mut locator = parts.end64(0).split_off(56);
    locator[8] = 0;
    refused(&with(locator, parts.end()), "locator does not point to");
}

#[test]
fn zip64_sizes_of_a_member() {
    let size = x().content.len() as u64;
    let good = zip(&[x()]);
    let central = central_at(&good);
    let packed = u64::from(good[central + 20]);
    // As Python's force_zip64 writes it: both sizes in the local header, none in the directory.
    let both = ZipMember { local_extra: zip64_extra(&[size, packed]), ..x() };
    let mut forced = zip(std::slice::from_ref(&both));
    u32_at(&mut forced, 18, u32::MAX);
    u32_at(&mut forced, 22, u32::MAX);
    open(&forced).unwrap();
    open(&zip(&[both])).unwrap();
    refused(&zip(&[ZipMember { local_extra: zip64_extra(&[size, packed + 1]), ..x() }]), "zip64 extra field differ");
    refused(&zip(&[ZipMember { central_extra: zip64_extra(&[size]), ..x() }]), "more than it needs");
    let twice = [zip64_extra(&[]), zip64_extra(&[])].concat();
    refused(&zip(&[ZipMember { central_extra: twice, ..x() }]), "two zip64 extra fields");
    let mut missing = zip(&[x()]);
    let central = central_at(&missing);
    u32_at(&mut missing, central + 24, u32::MAX);
    refused(&missing, "it needs a zip64 extra field");
    for extra in [vec![1], vec![1, 0, 9, 0], vec![0x55, 0x54, 1]] {
        refused(&zip(&[ZipMember { central_extra: extra, ..x() }]), "extra fields are malformed");
    }
    let unicode = vec![0x75, 0x70, 1, 0, 0];
    refused(&zip(&[ZipMember { central_extra: unicode, ..x() }]), "gives it another name");
    let time = vec![0x55, 0x54, 1, 0, 0];
    open(&zip(&[ZipMember { central_extra: time, ..x() }])).unwrap();
}

/// Row 76: many members in about linear time, and not more of them than the limit.
#[test]
fn many_members_are_quick_and_limited() {
    let before = std::time::Instant::now();
    let mut parts = ZipParts::default();
    let member = ZipMember { deflated: false, ..x() };
    for index in 0..60_000 {
        parts.add(&ZipMember { name: format!("d/e/f{index:06}").into_bytes(), ..member.clone() });
    }
    open(&parts.bytes()).unwrap();
    assert!(before.elapsed() < std::time::Duration::from_secs(20), "{:?}", before.elapsed());
    let mut end = ZipParts { count: MEMBERS_LIMIT + 1, ..parts.clone() };
    let end64 = end.end64(0);
    end.count = 0xffff;
    refused(&[&parts.locals[..], &parts.central, &end64, &end.end()].concat(), "the limit is 200000");
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_harmless_and_never_a_panic() {
    let good = zip(&[x(), ZipMember { flags: 8, ..ZipMember::new("d/y.py", "1") }]);
    for at in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let (_folder, archive) = archive(&bytes).unwrap();
        let Ok(archive) = archive else { continue };
        for member in &archive.members {
            if let Ok(content) = archive.read(member, 1000) {
                assert!([&x().content[..], b"1"].contains(&&content[..]), "bit {at}");
            }
        }
    }
}
