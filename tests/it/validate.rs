//! `ingot validate` without an engine: the example has no errors, and of images that other tools made, what is found is
//! what a person would say.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// A token that nobody has: no such literal stands in this repository.
fn token() -> String {
    format!("{}_{}", "npm", "k2J9xQ7vRt4Wm8Zs1Lp6Hd3Nc5Bf0Gy2Ua7E")
}

/// All findings about an image, of every group, as `severity rule place`, sorted; nothing else may be in the output.
#[track_caller]
fn found(ingot: &Ingot, image: &str, code: i32) -> Vec<String> {
    let ran = ingot.run(["validate", "--static", "--format", "json", image]).exits(code);
    assert!(!ran.stdout.contains(&token()[4..]) && !ran.stderr.contains(&token()[4..]), "a secret is shown: {ran:?}");
    let report = ran.json();
    let all = report["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let mut found: Vec<String> =
        all.map(|one| format!("{} {} {}", text(&one["severity"]), text(&one["rule"]), text(&one["path"]))).collect();
    found.sort();
    found
}

fn shell(script: &str, folder: &Path) {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder);
    Ran::of(command).ok();
}

/// A root with a shell and two programs, those of this machine; two accounts; an application; a file that is a mistake.
fn root(scratch: &Scratch) -> PathBuf {
    let folder = scratch.join("root");
    std::fs::create_dir(&folder).unwrap();
    let script = "
mkdir -p etc tmp app bin usr/bin && chmod 1777 tmp
programs='/bin/sh /bin/rm /bin/chmod'
cp -L --parents $programs $(ldd $programs | grep -o '/[^ :]*lib[^ :]*' | sort -u) .
printf 'root:x:0:0:root:/root:/bin/sh\\nweb:x:1500:1500::/app:/bin/sh\\n' > etc/passwd
printf 'root:x:0:\\nweb:x:1500:\\n' > etc/group
printf '#!/bin/sh\\nexec sleep 1000\\n' > app/serve && chmod 755 app/serve
tar --sort=name --owner=0 --group=0 -cf ../root.tar .";
    shell(script, &folder);
    scratch.join("root.tar")
}

/// What a careless Dockerfile leaves behind.
fn context(scratch: &Scratch) -> PathBuf {
    let folder = scratch.join("context");
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    std::fs::write(folder.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(folder.join("settings.py"), format!("TOKEN = '{}'\n", token())).unwrap();
    std::fs::write(folder.join("main.py"), "print('hello')\n").unwrap();
    folder
}

const RECIPE: &str = "
COPY . /app
RUN rm /app/settings.py && chmod 777 /app
ENV DB_PASSWORD=correct-horse PATH=/app:/bin
EXPOSE 80
USER web
CMD [\"./serve\"]
";

/// What is wrong with an image made by that.
const CARELESS: [&str; 10] = [
    "error secret /app/settings.py",
    "error secret config.Env",
    // There is no WorkingDir, so that `./serve` is `/serve`.
    "error start-command config.Cmd",
    "error version-control /app/.git",
    "info healthcheck-missing config.Healthcheck",
    "info labels-missing config.Labels",
    "warning entrypoint-relative config.Cmd",
    "warning path-writable /app",
    "warning port-privileged config.ExposedPorts",
    "warning user-name config.User",
];

/// And that its folder belongs to everybody.
fn careless() -> Vec<String> {
    let mut all: Vec<String> = CARELESS.iter().map(|one| one.to_string()).collect();
    all.push("warning world-writable /app".into());
    all
}

#[test]
fn the_example_has_no_errors() {
    let ingot = Ingot::new();
    // Debian's own `su` and `newgrp`; the example does not say where its source is.
    let expected = ["info labels-missing config.Labels", "warning setuid-packaged image"];
    assert_eq!(found(&ingot, &gameforge().name("oci"), 0), expected);
    assert_eq!(found(&ingot, &gameforge().name("docker-archive"), 0), expected);
    let distroless = format!("oci:{}", distroless().layout().display());
    // A tool of Debian's base-passwd, whose library only debconf's own programs need.
    assert_eq!(found(&ingot, &distroless, 0), [expected[0], "info link-unused /usr/sbin/update-passwd"]);
}

#[test]
fn what_buildah_made() {
    let scratch = Scratch::new();
    let (root, context) = (root(&scratch), context(&scratch));
    let recipe = scratch.join("Containerfile");
    std::fs::write(&recipe, format!("FROM scratch\nADD root.tar /\n{RECIPE}")).unwrap();
    std::fs::rename(root, context.join("root.tar")).unwrap();
    std::fs::write(context.join(".containerignore"), "").unwrap();
    let buildah = |args: &[&str]| {
        let mut command = Command::new(tool("buildah", "buildah"));
        command.arg("--root").arg(scratch.join("storage")).arg("--runroot").arg(scratch.join("run"));
        command.args(["--storage-driver", "vfs"]).args(args);
        Ran::of(command).ok();
    };
    let image = format!("oci:{}:1", scratch.join("image").display());
    let folders = [recipe, context].map(|path| path.display().to_string());
    let args = ["bud", "--quiet", "--layers", "--isolation", "chroot", "--tag", "careless"];
    buildah(&[&args[..], &["--file", &folders[0], &folders[1]]].concat());
    buildah(&["push", "--quiet", "careless", &image]);
    assert_eq!(found(&Ingot::new(), &image, 3), careless());
}

#[test]
fn what_docker_built() {
    let scratch = Scratch::new();
    let (root, context) = (root(&scratch), context(&scratch));
    std::fs::write(context.join("Dockerfile"), format!("FROM base\n{RECIPE}")).unwrap();
    let docker = Docker::start();
    let path = |path: &Path| path.display().to_string();
    docker.run(["import", &path(&root), "base"]).ok();
    docker.run(["build", "--quiet", "--network", "none", "--tag", "careless", &path(&context)]).ok();
    let archive = scratch.join("docker.tar");
    docker.run(["save", "--output", &path(&archive), "careless"]).ok();
    shell("chmod 644 docker.tar", scratch.path());
    assert_eq!(found(&Ingot::new(), &format!("docker-archive:{}", archive.display()), 3), careless());
}

#[test]
fn what_mmdebstrap_made_and_podman_imported() {
    let (scratch, podman) = (Scratch::new(), Podman::new());
    let layout = Layout::open(&debian_base());
    let layer = layout.manifest()["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
    let blob = debian_base().join("blobs").join(layer);
    let (tar, archive) = (scratch.join("root.tar"), scratch.join("image.tar"));
    shell(&format!("gzip -dc {} > {}", blob.display(), tar.display()), scratch.path());
    let path = |path: &Path| path.display().to_string();
    podman.run(["import", "--quiet", "--change", "USER nobody", &path(&tar), "localhost/debian:12"]).ok();
    podman.run(["save", "--quiet", "--format", "oci-archive", "--output", &path(&archive), "localhost/debian:12"]).ok();
    shell("chmod 644 image.tar", scratch.path());
    let expected = [
        "info healthcheck-missing config.Healthcheck",
        "info labels-missing config.Labels",
        "warning setuid-packaged image",
        "warning start-nothing config",
        "warning user-name config.User",
    ];
    assert_eq!(found(&Ingot::new(), &format!("oci-archive:{}", archive.display()), 0), expected);
}

#[test]
fn what_umoci_made() {
    let scratch = Scratch::new();
    let program = tool("umoci", "umoci").display().to_string();
    let script = format!(
        "mkdir -p files/tool && echo hi > files/tool/run && chmod 4755 files/tool/run
umoci() {{ {program} \"$@\"; }}
umoci init --layout image && umoci new --image image:1
umoci insert --rootless --image image:1 files /opt
umoci config --image image:1 --config.user 1001:1001 --config.entrypoint /opt/tool/run --config.label a=b
chmod -R a+rX image"
    );
    shell(&script, scratch.path());
    let image = format!("oci:{}:1", scratch.join("image").display());
    let expected = [
        "error setuid /opt/tool/run",
        // It is neither a program nor a script.
        "error start-format config.Entrypoint",
        "info healthcheck-missing config.Healthcheck",
        "info labels-missing config.Labels",
        // `umoci insert` forgets the end of the tar.
        "warning layer-end layer 1/1",
        "warning user-unknown config.User",
    ];
    assert_eq!(found(&Ingot::new(), &image, 3), expected);
}

#[test]
fn what_tar_made() {
    let scratch = Scratch::new();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/base/layout.py");
    // Appended to, and with absolute names: what happens when a layer is made by hand.
    let script = format!(
        "mkdir -p r/app r/var/lib/apt/lists && echo 1 > r/app/x && echo 'Package: x' > r/var/lib/apt/lists/Packages
tar --owner=70000 --group=0 -C r -cf layer.tar app
echo 2 > r/app/x && tar --owner=0 --group=0 -C r -rf layer.tar app/x var/lib/apt/lists/Packages
tar -P --owner=0 --group=0 --transform='s,^,/,' -C r -rf layer.tar app/x
python3 {} layer.tar image 1",
        tools.display()
    );
    shell(&script, scratch.path());
    let image = format!("oci:{}", scratch.join("image").display());
    let expected = [
        "error entry-duplicate /app/x",
        // The command is `bash`, and there is none.
        "error start-command config.Cmd",
        "error user-root config.User",
        "info entry-parent /var",
        "info healthcheck-missing config.Healthcheck",
        "info labels-missing config.Labels",
        "warning entry-owner layer 1/1",
        "warning entry-path /app/x",
        "warning package-cache /var/lib/apt/lists",
    ];
    assert_eq!(found(&Ingot::new(), &image, 3), expected);
}
