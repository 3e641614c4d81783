use std::path::Path;

use super::testing::{Made, library, program};
use super::*;

fn full() -> Made {
    Made {
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        soname: Some("liba.so.1"),
        needed: vec!["libb.so.2", "libc.so.6", "libb.so.2"],
        rpath: Some("$ORIGIN/../a.libs"),
        runpath: Some("$ORIGIN:/opt/lib"),
        requires: vec![("libc.so.6", "GLIBC_2.34"), ("libb.so.2", "B_1?")],
        provides: vec!["A_1", "A_2"],
        cuda: vec![(2, 80), (2, 90), (1, 90)],
        ..Made::default()
    }
}

#[test]
fn a_file_says_all_that_a_loader_asks() {
    let found = read(&full().bytes()).unwrap();
    assert_eq!(found.machine.architecture(), Some("amd64"));
    assert_eq!(found.interpreter.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert_eq!((found.soname.as_deref(), found.dynamic, found.is_program()), (Some("liba.so.1"), true, true));
    assert_eq!(found.needed, ["libb.so.2", "libc.so.6"]);
    assert_eq!(found.rpath.as_deref(), Some("$ORIGIN/../a.libs"));
    assert_eq!(found.runpath.as_deref(), Some("$ORIGIN:/opt/lib"));
    let required: Vec<_> =
        found.requires.iter().map(|one| (one.library.as_str(), one.version.as_str(), one.weak)).collect();
    assert_eq!(required, [("libc.so.6", "GLIBC_2.34", false), ("libb.so.2", "B_1", true)]);
    assert_eq!(found.provides, ["A_1", "A_2"]);
    assert_eq!(found.cuda.unwrap().told(), "sm_80, sm_90, PTX of 90");
    assert_eq!(found.damage, None);
}

#[test]
fn a_static_program_needs_nothing() {
    let found = read(&program()).unwrap();
    assert_eq!((found.kind, found.dynamic, found.damage, found.cuda), (Kind::Program, false, None, None));
    assert_eq!(read(b"#!/bin/sh\n"), None);
    assert_eq!(read(b"\x7fELF\x09").unwrap().damage, Some("its class is neither 32 nor 64 bits"));
}

#[test]
fn architectures_have_the_names_of_images() {
    for (machine, name) in [(62, Some("amd64")), (183, Some("arm64")), (243, Some("riscv64")), (1, None)] {
        let made = Made { machine, ..library(&["libc.so.6"]) };
        assert_eq!(read(&made.bytes()).unwrap().machine.architecture(), name);
    }
}

/// What binutils and this machine's own loader know of real files.
#[test]
fn this_machines_own_files_are_read() {
    let read_file = |path: &str| read(&crate::fs::read(Path::new(path), 64 << 20).unwrap()).unwrap();
    let libc = read_file("/lib/x86_64-linux-gnu/libc.so.6");
    assert_eq!((libc.soname.as_deref(), libc.damage), (Some("libc.so.6"), None));
    assert!(libc.provides.iter().any(|version| version == "GLIBC_2.34"), "{:?}", libc.provides);
    assert!(libc.requires.iter().any(|one| one.library == "ld-linux-x86-64.so.2"));
    let loader = read_file("/lib64/ld-linux-x86-64.so.2");
    assert_eq!(loader.folders, ["/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib/", "/usr/lib/"]);
    let program = read_file("/usr/bin/python3.11");
    assert_eq!(program.interpreter.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert!(program.needed.iter().any(|name| name == "libc.so.6"));
}

#[test]
fn gpus_run_what_is_made_for_them_or_can_be_compiled_for_them() {
    let cuda =
        |sass: &[u32], ptx: &[u32]| Cuda { sass: sass.iter().copied().collect(), ptx: ptx.iter().copied().collect() };
    for (code, gpu, runs) in [
        (cuda(&[80], &[]), 80, true),
        (cuda(&[80], &[]), 86, true),
        (cuda(&[86], &[]), 80, false),
        (cuda(&[80], &[]), 90, false),
        (cuda(&[80], &[80]), 90, true),
        (cuda(&[], &[90]), 80, false),
        (cuda(&[100], &[]), 103, true),
        (cuda(&[90], &[]), 120, false),
    ] {
        assert_eq!(code.runs_on(gpu), runs, "{} on sm_{gpu}", code.told());
    }
}

#[test]
fn files_that_lie_are_no_panic() {
    let whole = full().bytes();
    (0..whole.len()).for_each(|length| drop(read(&whole[..length])));
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            drop(read(&damaged));
        }
        // Words that are as large as can be.
        let mut damaged = whole.clone();
        let end = (at + 8).min(damaged.len());
        damaged[at..end].fill(0xff);
        drop(read(&damaged));
    }
    let cut = read(&whole[..whole.len() - 8]).unwrap();
    assert_eq!(cut.damage, Some("it is cut off: a segment goes beyond its end"));
}

#[test]
fn a_million_needed_libraries_are_not_kept() {
    let mut made = library(&[]);
    made.needed = vec!["liba.so"; 50_000];
    assert_eq!(read(&made.bytes()).unwrap().needed, ["liba.so"]);
    let names: Vec<&'static str> = (0..5_000).map(|n| &*format!("lib{n}.so").leak()).collect();
    made.needed = names;
    assert_eq!(read(&made.bytes()).unwrap().needed.len(), NEEDED_LIMIT);
}

/// A table of versions whose distances lead back and forth ends.
#[test]
fn tables_of_versions_end() {
    let name = |_: u32| Some("x".to_string());
    for distance in [1u32, 2, 0xffff_ffff] {
        let mut table = vec![0u8; 4096];
        table.chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&distance.to_le_bytes()));
        assert!(versions::required(&table, Endianness::Little, &name).len() <= 4_096);
        assert!(versions::provided(&table, Endianness::Little, &name).len() <= 4_096);
    }
}

#[test]
fn fat_binaries_that_lie_end() {
    let bytes = full().bytes();
    let at = bytes.windows(4).position(|four| four == 0xBA55_ED50u32.to_le_bytes()).unwrap();
    for field in 0..96 {
        for value in [0u8, 1, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at + field] = value;
            drop(read(&damaged));
        }
    }
    let mut zeros = full();
    zeros.tail = vec![0; 4 << 20];
    assert!(read(&zeros.bytes()).unwrap().cuda.is_some());
}

/// Large libraries keep most containers in data of their own: cuFFT's are in `.ldata`, one of them in `.nv_fatbin`.
#[test]
fn containers_outside_their_section_count_too() {
    let mut made = Made { cuda: vec![(2, 52)], ..library(&[]) };
    // What only begins like one, then linkable code of kind 8.
    made.tail = [&0xBA55_ED50u32.to_le_bytes()[..], b"no container", &testing::fatbin(&[(8, 50), (2, 90)])].concat();
    let cuda = read(&made.bytes()).unwrap().cuda.unwrap();
    assert_eq!(cuda.told(), "sm_52, sm_90, PTX of 50");
    let without_section = Made { cuda: Vec::new(), ..made };
    assert_eq!(read(&without_section.bytes()).unwrap().cuda, None);
}
