//! One project, one base, one digest: whatever the machine, user, umask, time, zone, locale, folder, file order,
//! number of threads, or state of the store.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::*;

/// A cold build of a fresh copy of the project, changed by `change`.
#[track_caller]
fn cold(what: &str, change: impl FnOnce(Ingot) -> Ingot) {
    let project = service();
    Cast::of(&change(ingot_for(&project)), &project.folder(), &[]).is_reference(what);
}

#[test]
fn cold_warm_and_clean_stores_are_the_same() {
    let project = service();
    let ingot = ingot_for(&project);
    Cast::of(&ingot, &project.folder(), &[]).is_reference("cold");
    Cast::of(&ingot, &project.folder(), &[]).is_reference("warm");
    Cast::of(&ingot, &project.folder(), &["--clean"]).is_reference("--clean");
    fs::remove_dir_all(ingot.cache().join("pyc-v2")).unwrap();
    Cast::of(&ingot, &project.folder(), &["--clean"]).is_reference("--clean without compiled modules");
    Cast::of(&ingot, &project.folder(), &["--clean", "--format", "json", "--quiet"]).is_reference("--format json");
}

#[test]
fn users_and_umasks_are_the_same() {
    let project = service();
    Cast::of(&with_wheels(Ingot::privileged(), &project.folder()), &project.folder(), &[]).is_reference("root");
    for umask in ["000", "077"] {
        cold(umask, |ingot| ingot.through(&["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]));
    }
}

#[test]
fn zones_locales_and_stray_variables_are_the_same() {
    cold("Turkish in the far east", |ingot| {
        ingot.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "tr_TR.UTF-8")
    });
    cold("C in the far west", |ingot| ingot.env("TZ", "GMT+12").env("LC_ALL", "C").env("LANGUAGE", "de"));
    cold("stray variables", |ingot| {
        let python = ["PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE", "PYTHONDEVMODE", "PYTHONUTF8"];
        let ingot = python.iter().fold(ingot, |ingot, name| ingot.env(*name, "1"));
        ingot
            .env("PYTHONPYCACHEPREFIX", "/tmp/elsewhere")
            .env("PYTHONPATH", "/usr/share")
            .env("USER", "someone")
            .env("LOGNAME", "else")
            .env("HOSTNAME", "other")
            .env("TERM", "vt52")
            .env("COLUMNS", "20")
            .env("NO_COLOR", "1")
            .env("VARIANT", "x")
            .env("BUILD_VERSION", "9")
            .env("CI", "true")
            .env("TMPDIR", "/var/tmp")
    });
}

#[test]
fn homes_and_folders_are_the_same() {
    let long = Project::new("");
    let folder = long.folder().join("a project with spaces/ünd a rather long name, longer than the other/x");
    copy(&service().folder(), &folder, false);
    TestUser::get().own(&long.folder());
    // pip splits this variable at spaces, so the folder's name cannot be in it.
    let ingot = Ingot::new().within(&folder).env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", "wheels");
    let home = ingot.path("other home");
    fs::create_dir(&home).unwrap();
    TestUser::get().own(&home);
    let ingot = ingot.env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache")).unset("INGOT_CACHE");
    Cast::of(&ingot, Path::new("."), &[]).is_reference("another home and folder");
    assert!(home.join("cache/ingot/blobs").is_dir(), "the store is where XDG_CACHE_HOME says");
}

#[test]
fn file_orders_times_and_bits_are_the_same() {
    let project = Project::new("");
    let folder = project.folder().join("copy");
    copy(&service().folder(), &folder, true);
    TestUser::get().own(&folder);
    let ingot = with_wheels(Ingot::new(), &folder);
    Cast::of(&ingot, &folder, &[]).is_reference("other order, times and group bits");

    // Memory as the file system: other orders of entries, other sizes of folders.
    let memory = tempfile::Builder::new().prefix("ingot-it-").tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(memory.path(), Permissions::from_mode(0o755)).unwrap();
    let folder = memory.path().join("copy");
    copy(&service().folder(), &folder, false);
    fs::create_dir(memory.path().join("cache")).unwrap();
    TestUser::get().own(memory.path());
    let ingot = with_wheels(Ingot::new(), &folder).env("INGOT_CACHE", memory.path().join("cache"));
    Cast::of(&ingot, &folder, &[]).is_reference("in memory");
}

#[test]
fn processors_and_personalities_are_the_same() {
    for threads in ["1", "16"] {
        cold(&format!("{threads} threads"), |ingot| ingot.env("RAYON_NUM_THREADS", threads));
    }
    cold("one processor", |ingot| ingot.through(&["taskset", "-c", "0"]));
    cold("no random addresses", |ingot| ingot.through(&["setarch", "-R"]));
    cold("a 32-bit personality", |ingot| ingot.through(&["linux32"]));
    let project = service();
    if TestUser::get().uid != rustix::process::getuid().as_raw() {
        let named = ["unshare", "--uts", "sh", "-c", "hostname elsewhere.example; exec \"$@\"", "sh"];
        let ingot = with_wheels(Ingot::privileged(), &project.folder()).through(&named);
        Cast::of(&ingot, &project.folder(), &[]).is_reference("another host name");
    }
}

#[test]
fn clocks_and_terminals_are_the_same() {
    tool("faketime", "faketime");
    cold("a year later", |ingot| ingot.through(&["faketime", "-f", "+1y"]));
    cold("long ago", |ingot| ingot.through(&["faketime", "-f", "@1971-01-01 00:00:00"]));
    let project = service();
    let ingot = ingot_for(&project);
    let layout = ingot.path("image");
    // `script` gives the program a terminal, so that it draws bars.
    let line = format!("./ingot build {} -o oci:{}", project.folder().display(), layout.display());
    let ingot = ingot.through(&["sh", "-c", "cd \"${1%/*}\" && exec script -qec \"$2\" /dev/null", "sh"]);
    let mut command = ingot.command([line]);
    command.env("SHELL", "/bin/sh").env("TERM", "xterm");
    let ran = Ran::of(command).ok();
    assert!(ran.stdout.contains('\u{1b}'), "it was a terminal: {:?}", ran.stdout);
    Cast::read(&layout).is_reference("on a terminal");
}

#[test]
fn the_epoch_changes_documents_and_no_layer() {
    let project = service();
    let other = Cast::of(&ingot_for(&project).env("SOURCE_DATE_EPOCH", "1700000000"), &project.folder(), &[]);
    assert_eq!(other.layers, Cast::reference().layers);
    assert_ne!(other.digest, Cast::reference().digest);
    assert_eq!(other.config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(Cast::reference().config["created"], "1980-01-01T00:00:00Z");
    let history = other.config["history"].as_array().unwrap();
    assert_eq!(history[0]["created"], "1980-01-01T00:00:00Z", "the base's own history stays");
    assert!(history[1..].iter().all(|entry| entry["created"] == "2023-11-14T22:13:20Z"), "{history:?}");
    let wrong = ingot_for(&project).env("SOURCE_DATE_EPOCH", "yesterday");
    let ran = wrong.run(["build", project.folder().to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("SOURCE_DATE_EPOCH=`yesterday`"), "{}", ran.stderr);
}

#[test]
fn a_commit_gives_its_time_and_its_name() {
    let project = service();
    let folder = project.folder();
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "-q", "-m", "first"]);
    git(&folder, &["tag", "v1.2"]);
    TestUser::get().own(&folder);
    let ingot = ingot_for(&project);
    let first = Cast::of(&ingot, &folder, &[]);
    assert_eq!(first.config["created"], "2024-05-06T05:08:09Z");
    assert_eq!(first.config["config"]["Labels"]["org.opencontainers.image.version"], "v1.2");
    assert_eq!(first.layers, Cast::reference().layers);
    // A user's own settings of git do not matter, nor does its state.
    fs::write(ingot.home().join(".gitconfig"), "[core]\n\tabbrev = 30\n[log]\n\tshowSignature = true\n").unwrap();
    TestUser::get().own(&ingot.home());
    let ingot = ingot.env("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z").env("GIT_PAGER", "false");
    assert_eq!(Cast::of(&ingot, &folder, &[]).difference(&first), None);
    let file = folder.join("src/run.sh");
    fs::write(&file, fs::read(&file).unwrap()).unwrap();
    assert_eq!(Cast::of(&ingot, &folder, &[]).difference(&first), None, "a file that was written anew");
}

#[test]
fn a_difference_names_the_layer_and_the_file() {
    let project = service().file("src/service/static/page.html", "<p>hullo\n");
    let other = Cast::of(&ingot_for(&project), &project.folder(), &[]);
    let difference = Cast::reference().difference(&other).unwrap();
    assert!(difference.contains("app/service/static/page.html"), "{difference}");
    let changed: Vec<_> =
        (0..other.layers.len()).filter(|n| other.layers[*n] != Cast::reference().layers[*n]).collect();
    assert_eq!(changed.len(), 1, "one file of the app changes one layer: {changed:?}");
}

fn git(folder: &Path, args: &[&str]) {
    let mut command = Command::new(tool("git", "git"));
    command.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "safe.directory=*"]);
    command.args(args).env("GIT_COMMITTER_DATE", "2024-05-06T07:08:09+02:00");
    command.env("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z").env("GIT_CONFIG_GLOBAL", "/dev/null");
    Ran::of(command).ok();
}

/// Copies a tree; in disorder it comes in the opposite order, with other times and other bits for group and others.
fn copy(from: &Path, to: &Path, disorder: bool) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    if disorder {
        entries.reverse();
        fs::set_permissions(to, Permissions::from_mode(0o2770)).unwrap();
    }
    for (number, entry) in entries.iter().enumerate() {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(entry, &target, disorder);
            continue;
        }
        fs::copy(entry, &target).unwrap();
        if disorder {
            let mode = fs::metadata(entry).unwrap().permissions().mode();
            fs::set_permissions(&target, Permissions::from_mode((mode & 0o700) | 0o060)).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + 1000 * number as u64);
            File::options().write(true).open(&target).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        }
    }
}
