//! Images made of packages alone: they run, dpkg believes their database, they are the same everywhere, and smaller
//! than any base image.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// What the standard library and wheels need of a system, each with an answer that is the same on every good one.
const PROGRAM: &str = r#"
import ctypes, ctypes.util, json, locale, multiprocessing, os, pwd, socket, sqlite3, ssl, sys, time, zoneinfo
import bz2, curses, dbm, decimal, hashlib, lzma, readline, uuid, zlib
from datetime import datetime

def square(n):
    return n * n

if __name__ == "__main__":
    answers = {}
    context = ssl.create_default_context()
    answers["authorities"] = len(context.get_ca_certs()) > 0 or bool(os.listdir(ssl.get_default_verify_paths().capath))
    answers["bundle"] = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt").cert_store_stats()["x509"]
    connection = sqlite3.connect(":memory:")
    answers["sqlite"] = connection.execute("select upper('x') || count(*) from sqlite_master").fetchone()[0]
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    answers["zone"] = datetime(2024, 7, 1, 12, tzinfo=zone).isoformat()
    answers["local"] = time.tzname[0]
    answers["libc"] = ctypes.CDLL("libc.so.6").abs(-7)
    answers["libm"] = ctypes.CDLL("libm.so.6") is not None
    answers["stdc++"] = ctypes.CDLL("libstdc++.so.6") is not None
    answers["locale"] = locale.setlocale(locale.LC_ALL, "C.UTF-8")
    answers["encoding"] = [sys.getfilesystemencoding(), "ä".encode(locale.getpreferredencoding()).hex()]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        answers["processes"] = pool.map(square, range(5))
    answers["user"] = pwd.getpwuid(os.getuid()).pw_name
    answers["services"] = [socket.getservbyname("https"), socket.getprotobyname("tcp")]
    answers["hash"] = hashlib.new("sha3_256", lzma.decompress(lzma.compress(bz2.compress(zlib.compress(b"x"))))).hexdigest()[:8]
    import numpy
    answers["numpy"] = int(numpy.arange(10).reshape(2, 5).sum())
    answers["cached"] = all(os.path.exists(m.__cached__) for m in (json, locale, zoneinfo, decimal))
    print(json.dumps(answers, sort_keys=True))
"#;

/// Runs the program as the image's user on a read-only root.
#[track_caller]
fn answers(podman: &Podman, image: &str, program: &Path) -> serde_json::Value {
    let mount = format!("--volume={}:/tmp/program.py:ro", program.display());
    let options = ["--read-only", "--cap-drop=ALL", "--env", "TZ=", &mount];
    podman.once(image, &options, &["python", "/tmp/program.py"]).ok().json()
}

#[test]
fn programs_run_as_they_do_on_a_root_that_mmdebstrap_made() {
    let (podman, scratch) = (Podman::new(), Scratch::new());
    let program = scratch.join("program.py");
    std::fs::write(&program, PROGRAM).unwrap();
    let image = podman.pull(&distroless().archive());
    let mut ours = answers(&podman, &image, &program);
    let peer = podman.pull(&gameforge().name("oci-archive"));
    let mut theirs = answers(&podman, &peer, &program);
    // Only ours has the bytecode of the standard library: the peer's base leaves it out.
    assert_eq!(ours["cached"], true, "{ours}");
    ours["cached"] = serde_json::Value::Null;
    theirs["cached"] = serde_json::Value::Null;
    assert_eq!(ours, theirs);
    assert_eq!(ours["zone"], "2024-07-01T12:00:00+02:00");

    let service = podman.serve(&image, &["--read-only", "--tmpfs=/app/data:U", "--tmpfs=/app/logs:U", "--tmpfs=/tmp"]);
    assert_eq!(service.ready("/health").text(), "ok\n");
    assert_eq!(service.exec(&["python", "-m", "gameforge.health"]).ok().stdout, "ok\n");
    assert_ne!(service.exec(&["sh", "-c", "true"]).code, 0, "there is no shell");
    assert_eq!(service.stop(), 0, "{}", service.logs());
}

#[test]
fn dpkg_believes_the_database() {
    let scratch = Scratch::new();
    let root = umoci(&distroless().layout(), "1", &scratch.join("bundle"));
    let dpkg = |args: &[&str]| {
        let mut command = Command::new(tool("dpkg", "dpkg"));
        command.arg(format!("--root={}", root.display())).args(args);
        Ran::of(command)
    };
    assert_eq!(dpkg(&["--verify"]).ok().stdout, "");
    assert_eq!(dpkg(&["--audit"]).ok().stdout, "");
    let listed = dpkg(&["--list"]).ok().stdout;
    let metadata = distroless().metadata();
    let packages = metadata["images"][0]["os"]["packages"].as_array().unwrap();
    assert!(packages.len() > 20, "{packages:?}");
    for package in packages {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let same = |line: &&str| {
            let mut words = line.split_whitespace();
            words.next() == Some("ii")
                && words.next().is_some_and(|found| found.split(':').next() == Some(name))
                && words.next() == Some(version)
        };
        assert!(listed.lines().any(|line| same(&line)), "{name} {version}: {listed}");
    }
    let owner = dpkg(&["--search", "/etc/debian_version"]).ok().stdout;
    assert_eq!(owner, "base-files: /etc/debian_version\n");
}

#[test]
fn the_bytes_do_not_depend_on_who_makes_them() {
    let cast = distroless();
    // Root, another store, one thread, another umask, time zone and language.
    let other = Ingot::privileged()
        .env("RAYON_NUM_THREADS", "1")
        .env("TZ", "Pacific/Auckland")
        .env("LC_ALL", "tr_TR.UTF-8")
        .through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let output = format!("oci:{}", other.path("image").display());
    other.run(cast.args("build", &["-o", &output])).ok();
    let (ours, theirs) = (Layout::open(&cast.layout()), Layout::open(&other.path("image")));
    assert_eq!(ours.manifest(), theirs.manifest());
    assert_eq!(ours.config(), theirs.config());
}

#[test]
fn a_locked_build_is_the_same_and_needs_no_network() {
    let cast = distroless();
    let ingot = cast.ingot();
    let project = example();
    let args = |command: &str, more: &[&str]| {
        let mut args = cast.args(command, more);
        args[1] = project.folder().display().to_string();
        args
    };
    let missing = ingot.run(args("build", &["--locked"])).exits(2);
    assert!(
        missing.stderr.contains("ingot.lock` does not exist") && missing.stderr.contains("ingot lock"),
        "{}",
        missing.stderr
    );
    let said = ingot.run(args("lock", &[])).ok().stdout;
    assert!(said.starts_with("distroless for linux/") && said.contains("OS packages"), "{said}");
    let written = std::fs::read_to_string(project.folder().join("ingot.lock")).unwrap();
    assert!(written.contains("name = \"libc6\"") && !written.contains("://"), "{written}");
    ingot.run(args("lock", &["--check"])).ok();

    // A machine that reaches nobody.
    let output = format!("oci:{}", ingot.path("locked").display());
    let mut command = ingot.command(args("build", &["--locked", "-o", &output]));
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.env("no_proxy", "").env("PIP_FIND_LINKS", "").env("PIP_NO_INDEX", "1");
    Ran::of(command).ok();
    let digest = |layout: &Path| Layout::open(layout).descriptor()["digest"].clone();
    assert_eq!(digest(&ingot.path("locked")), digest(&cast.layout()));

    // Another request than the locked one.
    let file = project.folder().join("ingot.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("[variants.distroless]\n", "[variants.distroless]\nos = { packages = [\"dash\"] }\n"),
    )
    .unwrap();
    let stale = ingot.run(args("build", &["--locked"])).exits(2);
    assert!(stale.stderr.contains("`os.packages` changed"), "{}", stale.stderr);
    let plan = ingot.run(args("plan", &[])).ok();
    assert!(plan.stderr.contains("resolved anew") && plan.stdout.contains("dash"), "{} {}", plan.stderr, plan.stdout);
}
