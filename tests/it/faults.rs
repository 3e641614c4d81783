//! What happens to a build from outside: full disks, limits, closed pipes, signals, damaged caches, company.
//!
//! After each: the exit code is right, the store holds only what its names say, the next build gives the same image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::*;

/// A shell between the user and `ingot`.
fn shell(ingot: Ingot, script: &str) -> Ingot {
    ingot.through(&["sh", "-c", script, "sh"])
}

#[track_caller]
fn build(ingot: &Ingot, project: &Project, output: &Path) -> Ran {
    ingot.run(["build", project.folder().to_str().unwrap(), "-o", &format!("oci:{}", output.display())])
}

/// The next build, without the fault, is what it must be.
#[track_caller]
fn works_again(ingot: Ingot, project: &Project) {
    let ingot = ingot.through::<&str>(&[]);
    Cast::of(&ingot, &project.folder(), &[]).is_reference("the next build");
    store_is_sound(&ingot.cache());
}

#[test]
fn a_full_disk_is_a_storage_error() {
    let project = service();
    for options in ["size=8k", "size=40k", "size=100k", "size=1m,nr_inodes=4", "size=1m,nr_inodes=12"] {
        let ingot = ingot_for(&project);
        let script = format!(
            "mount -t tmpfs -o {options} none \"$INGOT_CACHE\" && \"$@\"; code=$?; ls -A \"$INGOT_CACHE/tmp\"; exit $code"
        );
        let ingot = ingot.through(&["unshare", "-Urm", "sh", "-c", &script, "sh"]);
        let image = ingot.path("image");
        let ran = build(&ingot, &project, &image).exits(6);
        assert_eq!(ran.stdout, "", "{options}: nothing is left in the store's folder of temporary files");
        assert!(ran.stderr.contains("hint: the file system of "), "{options}: {}", ran.stderr);
        assert!(!image.exists());
        works_again(ingot, &project);
    }
    // The disk of the output is full.
    let ingot = ingot_for(&project);
    let folder = ingot.path("disk");
    fs::create_dir(&folder).unwrap();
    TestUser::get().own(&folder);
    let script = format!(
        "mount -t tmpfs -o size=20k none {0} && \"$@\"; code=$?; find {0} -type f; exit $code",
        folder.display()
    );
    let ingot = ingot.through(&["unshare", "-Urm", "sh", "-c", &script, "sh"]);
    let ran = build(&ingot, &project, &folder.join("image")).exits(6);
    assert!(!ran.stdout.contains("index.json") && !ran.stdout.contains(".ingot-"), "{}", ran.stdout);
    let archive = format!("oci-archive:{}", folder.join("image.tar").display());
    let ran = ingot.run(["build", project.folder().to_str().unwrap(), "-o", &archive]).exits(6);
    assert_eq!(ran.stdout, "", "nothing is left of the archive");
    works_again(ingot, &project);
}

#[test]
fn limits_are_kept() {
    let project = service();
    let ingot = shell(ingot_for(&project), "ulimit -n 64; exec \"$@\"");
    Cast::of(&ingot, &project.folder(), &[]).is_reference("64 open files");
    // In units of 512 bytes: no file may be larger than 4 KiB.
    let ingot = shell(ingot_for(&project), "ulimit -f 8; exec \"$@\"");
    let ran = build(&ingot, &project, &ingot.path("image")).exits(6);
    assert!(ran.stderr.contains("error: ") && !ingot.path("image").exists(), "{}", ran.stderr);
    store_is_sound(&ingot.cache());
    works_again(ingot, &project);
}

#[test]
fn homes_that_are_no_homes() {
    let project = service();
    let ingot = ingot_for(&project).unset("HOME").unset("INGOT_CACHE");
    let ran = build(&ingot, &project, &ingot.path("image")).exits(2);
    assert!(
        ran.stderr.contains("error: there is no place for the store") && ran.stderr.contains("INGOT_CACHE"),
        "{}",
        ran.stderr
    );
    let ingot = ingot.env("HOME", "/usr");
    let ran = build(&ingot, &project, &ingot.path("image")).exits(6);
    assert!(ran.stderr.contains("`/usr/.cache/ingot") && ran.stderr.contains("INGOT_CACHE"), "{}", ran.stderr);
    // With a place for the store, nobody needs a home.
    for ingot in [
        ingot_for(&project).unset("HOME"),
        ingot_for(&project).env("HOME", "/proc"),
        ingot_for(&project).env("HOME", "relative"),
    ] {
        Cast::of(&ingot, &project.folder(), &[]).is_reference("no home");
    }
}

#[test]
fn pipes_that_do_not_take_it() {
    let project = service();
    let ingot = shell(ingot_for(&project), "\"$@\" >/dev/full");
    let image = ingot.path("image");
    let ran = build(&ingot, &project, &image).exits(6);
    assert!(ran.stderr.contains("error: could not write to standard output"), "{}", ran.stderr);
    Cast::read(&image).is_reference("the image is there all the same");
    for script in ["\"$@\" >&-", "\"$@\" 2>&-", "\"$@\" 2>/dev/full", "\"$@\" <&- >&- 2>&-"] {
        let ingot = shell(ingot_for(&project), script);
        build(&ingot, &project, &ingot.path("image")).ok();
        Cast::read(&ingot.path("image")).is_reference(script);
    }
    let ingot = ingot.through(&["bash", "-c", "set -o pipefail; \"$@\" | head -1", "bash"]);
    let ran = ingot.run(["ls", "--quiet", &format!("oci:{}", image.display())]).ok();
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""));
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_store_that_the_disk_has_damaged_never_gives_another_image() {
    let project = service();
    let ingot = ingot_for(&project);
    Cast::of(&ingot, &project.folder(), &[]).is_reference("the first build");
    let all = files(&ingot.cache());
    assert!(all.len() > 8, "{all:?}");
    for file in all.iter().filter(|file| file.metadata().unwrap().len() > 0) {
        let good = fs::read(file).unwrap();
        for (what, change) in [("flipped", true), ("cut", false)] {
            let mut bytes = good.clone();
            let middle = bytes.len() / 2;
            if change {
                bytes[middle] ^= 4
            } else {
                bytes.truncate(middle)
            }
            overwrite(file, &bytes);
            let what = format!("{} is {what}", file.display());
            for args in [&[][..], &["--clean"]] {
                let output = ingot.path("image");
                let _ = fs::remove_dir_all(&output);
                let layout = format!("oci:{}", output.display());
                let folder = project.folder();
                let words = ["build", folder.to_str().unwrap(), "-o", &layout];
                let ran = ingot.run(words.iter().chain(args));
                match ran.code {
                    0 => Cast::read(&output).is_reference(&what),
                    4 => {
                        assert!(!output.join("index.json").exists() && ran.stderr.contains("hint: "), "{what}: {ran:?}")
                    }
                    _ => panic!("{what}: {ran:?}"),
                }
            }
            Cast::of(&ingot, &project.folder(), &[]).is_reference(&format!("after {what}"));
            store_is_sound(&ingot.cache());
        }
    }
}

#[test]
fn a_damaged_layer_is_never_pushed() {
    let registry = Registry::start();
    let project = service();
    let ingot = ingot_for(&project);
    let built = Cast::of(&ingot, &project.folder(), &[]);
    let layer = ingot.cache().join("blobs").join(built.layers[2].replace(':', "/"));
    let mut bytes = fs::read(&layer).unwrap();
    bytes[20] ^= 1;
    overwrite(&layer, &bytes);
    let reference = registry.reference("team/service:1");
    let folder = project.folder();
    let push = || ingot.run(["build", folder.to_str().unwrap(), "-t", &reference, "--push"]);
    let first = push();
    assert!([0, 4].contains(&first.code), "{first:?}");
    push().ok();
    let copied = ingot.path("copy");
    ingot.run(["pull", &reference, &format!("oci:{}", copied.display())]).ok();
    Cast::read(&copied).is_reference("what the registry has");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    killed(Signal::INT, Some(130));
}

#[test]
fn a_termination_leaves_nothing_behind() {
    killed(Signal::TERM, Some(143));
}

#[test]
fn a_kill_leaves_nothing_under_a_final_name() {
    killed(Signal::KILL, None);
}

/// Cold builds that are ended after ever more time.
#[track_caller]
fn killed(signal: Signal, code: Option<i32>) {
    let project = service();
    let ingot = ingot_for(&project);
    let begin = Instant::now();
    build(&ingot, &project, &ingot.path("whole")).ok();
    let whole = begin.elapsed();
    for step in 0..10 {
        let what = format!("{signal:?} in step {step}");
        fs::remove_dir_all(ingot.cache()).unwrap();
        fs::create_dir(ingot.cache()).unwrap();
        TestUser::get().own(&ingot.cache());
        let output = ingot.path(&format!("killed{step}"));
        let folder = project.folder();
        let mut command =
            ingot.command(["build", folder.to_str().unwrap(), "-o", &format!("oci:{}", output.display())]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(whole * step / 9);
        let _ = kill_process(Pid::from_child(&child), signal);
        let status = child.wait().unwrap();
        // At the very beginning there is no handler yet; at the end it may have been quicker.
        if let (Some(code), Some(found)) = (code, status.code()) {
            assert!([0, code].contains(&found), "{what}: {status:?}");
        }
        nobody_has(&ingot.cache());
        if output.join("index.json").exists() {
            Cast::read(&output).is_reference(&what);
        }
        if signal != Signal::KILL {
            assert_eq!(files(&ingot.cache().join("tmp")), Vec::<PathBuf>::new(), "{what}");
            let left = files(&output).into_iter().filter(|file| file.to_string_lossy().contains(".ingot-"));
            assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{what}");
        }
        build(&ingot, &project, &output).ok();
        Cast::read(&output).is_reference(&what);
        store_is_sound(&ingot.cache());
    }
}

/// Waits until no process has this store in its environment: the children of a build end with it.
#[track_caller]
fn nobody_has(store: &Path) {
    let mark = format!("INGOT_CACHE={}", store.display());
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let alive: Vec<PathBuf> = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|process| {
                let environment = fs::read(process.join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .collect();
        if alive.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still alive: {alive:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn builds_share_a_store_at_the_same_time() {
    let project = service();
    let ingot = ingot_for(&project);
    for round in 0..2 {
        let folder = project.folder();
        let outputs: Vec<PathBuf> = (0..4).map(|number| ingot.path(&format!("image{round}-{number}"))).collect();
        let mut children: Vec<_> = outputs
            .iter()
            .map(|output| {
                let destination = format!("oci:{}", output.display());
                let mut command = ingot.command(["build", folder.to_str().unwrap(), "--clean", "-o", &destination]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for (child, output) in children.iter_mut().zip(&outputs) {
            assert!(child.wait().unwrap().success());
            Cast::read(output).is_reference("in company");
        }
        store_is_sound(&ingot.cache());
    }
    // The same, into the same place.
    let output = format!("oci:{}", ingot.path("shared").display());
    let folder = project.folder();
    let mut children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = ingot.command(["build", folder.to_str().unwrap(), "-o", &output]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    Cast::read(&ingot.path("shared")).is_reference("into one place");
}
