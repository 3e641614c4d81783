//! Popular wheels, spliced: 54 of them become layers that every reader inflates to the plain tar.

use std::process::Command;

use crate::support::*;

/// Inflates a layer with zlib as one gzip member, and hashes what comes out.
const ZLIB: &str = "import hashlib, sys, zlib
inflate = zlib.decompressobj(31)
data = inflate.decompress(open(sys.argv[1], 'rb').read()) + inflate.flush()
assert inflate.eof and not inflate.unused_data, 'not one whole gzip member'
print('sha256:' + hashlib.sha256(data).hexdigest())
";

/// Compares every file of so many layers with what Python's zipfile reads in the wheels: a path and the CRC-32 of its bytes.
const ZIPS: &str = "import sys, tarfile, zipfile, zlib
wanted = {}
layers, wheels = sys.argv[2:2 + int(sys.argv[1])], sys.argv[2 + int(sys.argv[1]):]
for name in wheels:
    with zipfile.ZipFile(name) as wheel:
        wanted.update((i.filename, i.CRC) for i in wheel.infolist() if not i.is_dir() and '.data/' not in i.filename)
site = 'opt/venv/lib/python3.11/site-packages/'
found = {}
for name in layers:
    with tarfile.open(name, 'r|gz') as layer:
        for member in layer:
            if member.isfile() and member.name.startswith(site):
                found[member.name[len(site):]] = zlib.crc32(layer.extractfile(member).read())
other = [name for name, crc in wanted.items() if found.get(name) != crc and not name.endswith('.dist-info/RECORD')]
print(len(wanted), other[:10])
";

#[test]
fn popular_wheels_are_spliced_bit_exactly() {
    let lock = include_str!("popular.lock");
    let project = service_with(|toml| {
        toml.replace("lock = \"requirements.lock\"", "lock = \"popular.lock\"\nbytecode = \"none\"")
            .replace("source = \"src\"", "source = \"src\"\nbytecode = \"none\"")
    })
    .file("popular.lock", lock);
    let ingot = Ingot::new();
    let folder = project.folder().display().to_string();
    for kind in ["gzip", "zstd"] {
        let output = format!("oci:{}", ingot.path(kind).display());
        ingot.run(["build", &folder, "--compression", kind, "-o", &output]).ok();
    }
    // zstd layers take every file unpacked and know nothing of splicing: the tar below must be the same.
    let layouts = ["gzip", "zstd"].map(|kind| Layout::open(&ingot.path(kind)));
    let [spliced, plain] = layouts.each_ref().map(|layout| layout.config()["rootfs"]["diff_ids"].clone());
    assert_eq!(spliced, plain);

    let manifest = layouts[0].manifest();
    // Between the base and the application; wheels that are large have layers of their own.
    let layers = manifest["layers"].as_array().unwrap();
    let (mut paths, mut size) = (Vec::new(), 0);
    for number in 1..layers.len() - 1 {
        size += layers[number]["size"].as_u64().unwrap();
        let digest = layers[number]["digest"].as_str().unwrap();
        let path = ingot.path("gzip/blobs").join(digest.replace(':', "/"));
        let mut python = Command::new(tool("python3", "python3"));
        python.args(["-c", ZLIB]).arg(&path);
        assert_eq!(Ran::of(python).ok().stdout.trim(), spliced[number].as_str().unwrap(), "zlib finds the diff id");
        for program in ["gzip", "pigz"] {
            let mut test = Command::new(tool(program, program));
            test.args(["--test", "--stdout"]).arg(&path);
            Ran::of(test).ok();
        }
        paths.push(path);
    }

    // Every file of every wheel, as another zip reader sees them; and no byte more than 1.01 of the wheels.
    let hashes = lock.lines().filter_map(|line| line.split_once("--hash=sha256:").map(|(_, hash)| hash));
    let wheels: Vec<_> = hashes.map(|hash| ingot.cache().join("blobs/sha256").join(hash)).collect();
    assert!(wheels.len() >= 50, "{} wheels", wheels.len());
    let mut python = Command::new(tool("python3", "python3"));
    python.args(["-c", ZIPS]).arg(paths.len().to_string()).args(&paths).args(&wheels);
    let read = Ran::of(python).ok().stdout;
    let (count, other) = read.trim().split_once(' ').unwrap();
    assert_eq!(other, "[]", "of {count} files these differ");
    assert!(count.parse::<usize>().unwrap() > 3000, "{count} files");
    let packed: u64 = wheels.iter().map(|wheel| std::fs::metadata(wheel).unwrap().len()).sum();
    assert!(size * 100 <= packed * 101, "the layers have {size} bytes, their wheels have {packed}");
}
