//! What is wrong with a project, a lock, a wheel or a base is refused: with the right exit code, in words that
//! stand in `tests/golden/messages`, with nothing half-written, and the next build works.
//!
//! `UPDATE=1 cargo test --test it bad_input` writes the messages as they are now.

use std::path::Path;

use crate::support::*;

/// Builds what must be refused, then the sound service with the same store.
#[track_caller]
fn refused(name: &str, code: i32, project: &Project, args: &[&str]) {
    let ingot = ingot_for(project);
    let folder = project.folder();
    let image = ingot.path("image");
    let output = format!("oci:{}", image.display());
    let mut words = vec!["build", folder.to_str().unwrap(), "--quiet"];
    if !args.contains(&"-o") {
        words.extend(["-o", &output]);
    }
    words.extend(args);
    let ran = ingot.run(words).exits(code);
    assert_eq!(ran.stdout, "");
    let home = ingot.home();
    let message = ran.stderr.replace(folder.to_str().unwrap(), "PROJECT");
    let message = message.replace(home.parent().unwrap().to_str().unwrap(), "SCRATCH");
    snapshot(name, &message);
    assert!(!image.exists() && !folder.join("dist").exists(), "nothing is written");
    store_is_sound(&ingot.cache());

    let sound = service();
    let ingot = ingot.env("PIP_FIND_LINKS", sound.folder().join("wheels"));
    Cast::of(&ingot, &sound.folder(), &[]).is_reference("the next build");
}

/// Compares a message with the one that stands in the folder of messages.
#[track_caller]
fn snapshot(name: &str, message: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/messages/{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, message).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == message, "{name}\n--- expected\n{expected}\n--- found\n{message}");
}

/// The service with one piece of its project file replaced.
fn edited(from: &'static str, to: &'static str) -> Project {
    service_with(move |toml| {
        assert!(toml.contains(from), "{from}");
        toml.replace(from, to)
    })
}

/// The service with another wheel in its folder and other lines in its lock.
fn locked(wheel: Option<&Wheel>, lock: impl FnOnce(&str) -> String) -> Project {
    let scratch = Scratch::new();
    let Some(wheel) = wheel else { return service().file("requirements.lock", lock("")) };
    let (path, line) = wheel.write(scratch.path());
    let bytes = std::fs::read(path).unwrap();
    service().file(&format!("wheels/{}", wheel.file_name()), bytes).file("requirements.lock", lock(&line))
}

#[test]
fn mistakes_in_the_project_file() {
    refused("unknown-key", 2, &edited("[app]\n", "[app]\nsauce = \"src\"\n"), &[]);
    refused("undefined-name", 2, &edited("${BUILD_VERSION}", "${BULD_VERSION}"), &[]);
    refused("wrong-type", 2, &edited("expose = [8080]", "expose = \"8080\""), &[]);
    refused("toml-syntax", 2, &edited("source = \"src\"", "source = src"), &[]);
    refused("missing-lock", 2, &edited("requirements.lock", "requirement.lock"), &[]);
    refused("missing-source", 2, &edited("source = \"src\"", "source = \"source\""), &[]);
    refused("python-version", 2, &edited("\"3.11\"", "\"3.12\""), &[]);
    refused("source-outside", 2, &edited("source = \"src\"", "source = \"../src\""), &[]);
}

#[test]
fn mistakes_on_the_command_line() {
    refused("unknown-variant", 2, &service(), &["--variant", "smal"]);
    refused("bad-reference", 2, &service(), &["-t", "127.0.0.1:5000/Upper:1"]);
    refused("bad-output", 2, &service(), &["-o", "tar:image.tar"]);
    refused("push-without-tag", 2, &service(), &["--push"]);
    refused("bad-build-arg", 2, &service(), &["--build-arg", "NOVALUE"]);
    refused("no-project", 2, &service(), &["--metadata-file", "x", "second-folder"]);
}

#[test]
fn locks_and_wheels_that_do_not_fit() {
    let other = Wheel::new("gamma", "1.0").tag("cp312-cp312-manylinux_2_17_x86_64");
    refused("wheel-for-another-python", 2, &locked(Some(&other), str::to_owned), &[]);
    let newer = Wheel::new("gamma", "1.0").tag("cp311-cp311-manylinux_2_39_x86_64");
    refused("wheel-for-a-newer-glibc", 2, &locked(Some(&newer), str::to_owned), &[]);
    let gamma = Wheel::new("gamma", "1.0");
    let zeros = format!("gamma==1.0 --hash=sha256:{}\n", "0".repeat(64));
    refused("wheel-with-another-hash", 4, &locked(Some(&gamma), |_| zeros.clone()), &[]);
    refused("requirement-without-hash", 2, &locked(Some(&gamma), |_| "gamma==1.0\n".into()), &[]);
    refused("requirement-without-version", 2, &locked(Some(&gamma), |_| zeros.replace("==1.0", ">=1.0")), &[]);
    refused("wheel-not-found", 5, &locked(None, |_| zeros.clone()), &[]);
    let sdist = locked(None, |_| zeros.clone()).file("wheels/gamma-1.0.tar.gz", "not really");
    refused("only-a-source-distribution", 2, &sdist, &[]);
}

#[test]
fn wheels_that_are_not_sound() {
    let gamma = Wheel::new("gamma", "1.0");
    let project = |bytes: &[u8]| {
        let line = format!("gamma==1.0 --hash={}\n", ingot::oci::Digest::of(bytes));
        locked(None, |_| line).file(&format!("wheels/{}", gamma.file_name()), bytes)
    };
    refused("wheel-is-no-zip", 4, &project(b"PK?"), &[]);
    let bytes = gamma.bytes();
    refused("wheel-is-cut", 4, &project(&bytes[..bytes.len() - 30]), &[]);
    let escaping = Wheel::new("gamma", "1.0").file("../../../etc/cron.d/x", "* * * * *");
    refused("wheel-escapes", 4, &locked(Some(&escaping), str::to_owned), &[]);

    let thief = Wheel::new("thief", "1.0").file("alpha/table.txt", "mine\n");
    let scratch = Scratch::new();
    let (path, line) = thief.write(scratch.path());
    let project = service().file(&format!("wheels/{}", thief.file_name()), std::fs::read(path).unwrap());
    let lock = std::fs::read_to_string(project.folder().join("requirements.lock")).unwrap() + &line;
    refused("two-wheels-own-a-path", 2, &project.file("requirements.lock", lock), &[]);
}

#[test]
fn a_syntax_error_of_the_application() {
    let project = service().file("src/service/broken.py", "def fine():\n    pass\n\nprint('a'\nx = 1\n");
    refused("app-syntax", 2, &project, &[]);
    refused("app-not-text", 2, &service().file("src/service/latin.py", b"x = '\xe9'\n"), &[]);
}

#[test]
fn bases_that_do_not_fit() {
    refused("base-missing", 2, &edited("oci:base", "oci:bse"), &[]);
    refused("base-for-another-platform", 2, &service(), &["--platform", "linux/arm64"]);
    refused("base-not-a-layout", 4, &service().file("base/index.json", "{}"), &[]);
    refused("base-without-tag", 2, &edited("oci:base", "oci:base:other"), &[]);

    // A byte of the layer is another one; then the layer is too short; then it is not there.
    let layer = |project: &Project| {
        let layout = Layout::open(&project.folder().join("base"));
        let digest = layout.manifest()["layers"][0]["digest"].as_str().unwrap().to_owned();
        project.folder().join("base/blobs").join(digest.replace(':', "/"))
    };
    let damaged = |change: fn(&Path)| {
        let project = service();
        change(&layer(&project));
        project
    };
    let flipped = damaged(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
    refused("base-layer-flipped", 4, &flipped, &[]);
    let short = damaged(|path| std::fs::write(path, &std::fs::read(path).unwrap()[..100]).unwrap());
    refused("base-layer-short", 4, &short, &[]);
    refused("base-layer-missing", 4, &damaged(|path| std::fs::remove_file(path).unwrap()), &[]);
}

#[test]
fn places_that_cannot_be_written() {
    refused("output-in-a-closed-folder", 6, &service(), &["-o", "oci:/proc/ingot-output"]);
    refused("archive-in-a-closed-folder", 6, &service(), &["-o", "oci-archive:/usr/ingot.tar"]);
    refused("output-is-a-file", 6, &service(), &["-o", "oci:/etc/passwd"]);
    refused("nobody-listens", 5, &edited("oci:base", "127.0.0.1:9/team/base:1"), &[]);
}
