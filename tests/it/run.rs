//! The example's image in podman and docker: it answers, as the right user, with nothing to write but its folders.

use std::time::{Duration, Instant};

use crate::support::*;

/// What the service must say of itself, whatever the engine.
#[track_caller]
fn serves(port: u16) {
    assert_eq!(get_until_ready(port, "/health").text(), "ok\n");
    let health: serde_json::Value = serde_json::from_slice(&get(port, "/api/health").unwrap().body).unwrap();
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!((health["checks"]["numpy"].as_str(), health["checks"]["pillow"].as_str()), (Some("ok"), Some("ok")));
    let picture = get(port, "/api/terrain?seed=7&size=64").unwrap();
    assert_eq!(picture.status, 200, "{}", picture.text());
    assert!(picture.body.starts_with(b"\x89PNG\r\n\x1a\n") && picture.body.len() > 500);
    assert!(get(port, "/").unwrap().text().contains("<html"), "templates are found");
}

/// The files that uid 1001 may write, besides what the engine mounts.
const WRITABLE: &str = "find / -xdev ( -path /proc -o -path /sys -o -path /dev ) -prune -o -writable ! -type l -print";

#[test]
fn podman_runs_the_example() {
    // One storage for all: podman takes longer to unpack the image than to run it.
    let podman = Podman::new();
    let image = podman.pull(&gameforge().name("oci-archive"));
    answers_as_an_ordinary_user(&podman, &image);
    refuses_another_environment(&podman, &image);
    // The health check is docker's extension: podman keeps it of images in docker's form only.
    let image = podman.pull(&gameforge().name("docker-archive"));
    works_with_a_locked_file_system(&podman, &image);
    is_taken_into_the_store_and_back(&podman);
}

#[track_caller]
fn answers_as_an_ordinary_user(podman: &Podman, image: &str) {
    let service = podman.serve(image, &[]);
    service.ready("/health");
    let id = service.exec(&["id"]).ok().stdout;
    assert_eq!(id.trim(), "uid=1001(gameforge) gid=1001(gameforge) groups=1001(gameforge)");
    let first = service.exec(&["cat", "/proc/1/cmdline"]).ok().stdout.replace('\0', " ");
    assert!(first.contains("gunicorn") && !first.contains("ingot-launcher"), "process 1 is the command: {first}");
    assert_eq!(service.exec(&["find", "/app", "-name", "*.py"]).ok().stdout, "");
    let loaded = service.exec(&["python", "-c", "import gameforge.app as app; print(app.__file__)"]).ok().stdout;
    assert_eq!(loaded, "/app/gameforge/app.pyc\n");
    let listed = service.exec(&WRITABLE.split(' ').collect::<Vec<_>>()).stdout;
    let mut writable: Vec<_> = listed.lines().filter(|path| !path.starts_with("/tmp/")).collect();
    writable.retain(|path| !["/run/lock", "/tmp", "/var/tmp"].contains(path));
    writable.sort_unstable();
    assert_eq!(writable, ["/app/data", "/app/logs"], "besides what every Debian leaves open");

    serves(service.port);
    assert_eq!(service.exec(&["python", "-m", "gameforge.health"]).ok().stdout, "ok\n");
    let started = Instant::now();
    assert_eq!(service.stop(), 0, "gunicorn ends by itself: {}", service.logs());
    assert!(started.elapsed() < Duration::from_secs(10), "SIGTERM reaches it: {:?}", started.elapsed());
}

#[track_caller]
fn refuses_another_environment(podman: &Podman, image: &str) {
    let refused = podman.once(image, &["--env", "GAMEFORGE_ENV=development"], &[]).exits(78);
    assert_eq!(refused.stdout, "");
    let lines: Vec<_> = refused.stderr.lines().filter(|line| !line.starts_with("time=")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ingot: GAMEFORGE_ENV"), "{lines:?}");
    assert!(lines[0].contains("production") && !lines[0].contains("development"), "{lines:?}");
    // Another command is started by the launcher too.
    let other = podman.once(image, &[], &["python", "-c", "import os; print(os.getpid(), os.getuid())"]).ok();
    assert_eq!(other.stdout, "1 1001\n");
    let missing = podman.once(image, &[], &["no-such-program"]).exits(127);
    assert!(missing.stderr.contains("no-such-program"), "{}", missing.stderr);
}

#[track_caller]
fn works_with_a_locked_file_system(podman: &Podman, image: &str) {
    // `U`: the folder is the user's, as in the image; without it podman gives it to root.
    let locked = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let folders = ["--tmpfs=/app/data:U", "--tmpfs=/app/logs:U", "--tmpfs=/tmp"];
    let service = podman.serve(image, &[locked, folders].concat());
    service.ready("/health");
    serves(service.port);
    let refused = service.exec(&["touch", "/app/x"]);
    assert!(refused.code != 0 && refused.stderr.contains("Read-only file system"), "{refused:?}");
    podman.run(["healthcheck", "run", &service.id]).ok();
    let defined = podman.run(["inspect", "--format", "{{.Config.Healthcheck.Test}}", &service.id]).ok().stdout;
    assert!(defined.contains("gameforge.health"), "{defined}");
    assert_eq!(service.stop(), 0);
}

#[track_caller]
fn is_taken_into_the_store_and_back(podman: &Podman) {
    let ingot = podman.configure(gameforge().privileged());
    let said = ingot.run(gameforge().args("build", &["-o", "containers-storage:localhost/team/direct:3"])).ok().stdout;
    let layout = Layout::open(&gameforge().path("image"));
    let digest = layout.descriptor()["digest"].as_str().unwrap().to_owned();
    assert!(said.contains(&digest), "{said}");
    let kept = podman.run(["inspect", "--format", "{{.Digest}}", "localhost/team/direct:3"]).ok().stdout;
    assert_eq!(kept.trim(), digest, "podman keeps the manifest");
    let target = format!("oci:{}", ingot.path("back").display());
    ingot.run(["copy", "containers-storage:localhost/team/direct:3", &target]).ok();
    assert_eq!(Layout::open(&ingot.path("back")).config(), layout.config());
}

#[test]
fn docker_loads_and_runs_the_example() {
    let docker = Docker::start();
    let loaded = docker.run(["load", "--input", gameforge().path("docker.tar").to_str().unwrap()]).ok().stdout;
    assert!(loaded.contains(GameForge::NAME), "{loaded}");
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:8080");
    let ran =
        docker.run(["run", "--detach", "--read-only", "--tmpfs=/tmp", "--publish", &publish, GameForge::NAME]).ok();
    let id = ran.stdout.trim().to_owned();
    get_until_ready(port, "/health");
    assert_eq!(get(port, "/health").unwrap().text(), "ok\n");
    let user = docker.run(["exec", &id, "id"]).ok().stdout;
    assert!(user.starts_with("uid=1001(gameforge) gid=1001(gameforge)"), "{user}");
    let health = docker.run(["inspect", "--format", "{{.Config.Healthcheck.Test}}", &id]).ok().stdout;
    assert!(health.contains("gameforge.health"), "{health}");
    let started = Instant::now();
    docker.run(["stop", &id]).ok();
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(docker.run(["inspect", "--format", "{{.State.ExitCode}}", &id]).ok().stdout, "0\n");

    // The same daemon takes an image from ingot itself; what it is called, and that it is the same image.
    let host = format!("unix://{}", docker.socket().display());
    let ingot = gameforge().privileged().env("DOCKER_HOST", host);
    let said = ingot.run(gameforge().args("build", &["-o", "docker-daemon:team/direct:3"])).ok().stdout;
    let digest = Layout::open(&gameforge().path("image")).descriptor()["digest"].as_str().unwrap().to_owned();
    assert!(said.contains("team/direct:3") && said.contains(&digest), "{said}");
    let id_of = |name: &str| docker.run(["inspect", "--format", "{{.Id}}", name]).ok().stdout;
    assert_eq!(id_of("team/direct:3"), id_of(GameForge::NAME), "the configuration's digest");

    // And from a registry, where it is known by the manifest's digest.
    let registry = Registry::start();
    let target = registry.reference("team/gameforge:1");
    gameforge().ingot().run(["push", &gameforge().name("oci"), &target]).ok();
    docker.run(["pull", "--quiet", &target]).ok();
    let digests = docker.run(["inspect", "--format", "{{.RepoDigests}}", &target]).ok().stdout;
    assert!(digests.contains(&digest), "{digests}");
    assert_eq!(id_of(&target), id_of(GameForge::NAME));
}
