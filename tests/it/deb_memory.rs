//! A package with one very large file: what becomes of it never is in memory as a whole.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ingot::debian::{Deb, Installed, Keep, Root, configure, database, install};
use ingot::image::Rootfs;
use ingot::layer::{Store, write_layer};
use ingot::oci::Digest;
use ingot::oci::media_type::Compression;
use ingot::progress::Progress;

use super::support::{Ran, Scratch};

/// The size of the file, which is a library for its name, in MiB.
const SIZE: u64 = 400;
/// The most memory at any time, in MiB, mapped files included. A program that does nothing has 30.
const LIMIT: u64 = 160;
const FOLDER: &str = "INGOT_TEST_DEB_MEMORY";

#[test]
fn a_large_package_needs_little_memory() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return into_a_layer(Path::new(&folder));
    }
    let scratch = Scratch::new();
    let folder = scratch.join("store");
    let store = Store::open_at(&folder).unwrap();
    let digest = store.put(&package()).unwrap();
    std::fs::write(folder.join("digest"), digest.hex()).unwrap();
    for found in ["made", "found"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "deb_memory::a_large_package_needs_little_memory", "--nocapture"]);
        command.env(FOLDER, &folder);
        let output = Ran::of(command).ok().stdout;
        let peak: u64 = output.split("VmHWM:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak >> 10 < LIMIT, "{} MiB, with the cast {found}", peak >> 10);
    }
}

/// What a build does with a package, in a program of its own.
#[allow(clippy::print_stdout, reason = "the other program reads it")]
fn into_a_layer(folder: &Path) {
    let store = Store::open_at(folder).unwrap();
    let digest = Digest::from_hex(&std::fs::read_to_string(folder.join("digest")).unwrap()).unwrap();
    let debs = [Deb::of_store(&digest, "large", &store).unwrap()];
    let root = Root::new(Arc::new(Rootfs::empty()));
    let mut installation = install(root, &debs, &Installed::empty(), &Keep::default()).unwrap();
    let options = configure::Options { architecture: "amd64".into(), fresh: true };
    configure::configure(&mut installation.root, &[], &options).unwrap();
    database::write(&mut installation, &debs, &Installed::empty()).unwrap();
    let tree = installation.root.finish().unwrap();
    let task = Progress::silent().task("test", None);
    let record = write_layer("os", &tree, Compression::Gzip, &store, &task).unwrap();
    assert!(record.uncompressed_size > SIZE << 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap());
}

/// Noise and zeros in turn: what hardly deflates, and what inflates a thousandfold.
fn package() -> Vec<u8> {
    let control = b"Package: large\nVersion: 1\nArchitecture: amd64\n";
    let mut data = tar();
    header(&mut data, "./lib/liblarge.so.6", SIZE << 20);
    let mut noise = vec![0; 1 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    noise[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let zeros = vec![0; 1 << 20];
    (0..SIZE).for_each(|n| data.write_all(if n % 4 == 0 { &noise } else { &zeros }).unwrap());
    let mut described = tar();
    header(&mut described, "./control", control.len() as u64);
    described.write_all(control).unwrap();
    described.write_all(&vec![0; 512 - control.len()]).unwrap();
    let mut archive = b"!<arch>\n".to_vec();
    let members =
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar.zst", end(described)), ("data.tar.zst", end(data))];
    for (name, bytes) in members {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes());
        archive.extend(&bytes);
        archive.extend(vec![b'\n'; bytes.len() % 2]);
    }
    archive
}

type Packed = zstd::stream::write::Encoder<'static, Vec<u8>>;

fn tar() -> Packed {
    Packed::new(Vec::new(), 1).unwrap()
}

fn header(out: &mut Packed, path: &str, size: u64) {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    out.write_all(header.as_bytes()).unwrap();
}

fn end(mut out: Packed) -> Vec<u8> {
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}
