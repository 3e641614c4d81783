//! What happens at the same time: layers leave while others are made, unless a budget may still refuse the image. And
//! `--timings`, which shows it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

/// When a span began and ended, in microseconds.
type Times = (u64, u64);

/// The spans of a trace by name. It must be what trace viewers read.
fn trace(file: &Path) -> Vec<(String, Times)> {
    let trace: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let mut lanes: BTreeMap<u64, Vec<Times>> = BTreeMap::new();
    let mut named = Vec::new();
    let mut spans = Vec::new();
    for event in events {
        let number = |field: &str| event[field].as_u64().unwrap_or_else(|| panic!("{field}: {event}"));
        let name = event["name"].as_str().unwrap().to_owned();
        assert_eq!(number("pid"), 1);
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(name == "thread_name" && event["args"]["name"].is_string(), "{event}");
                named.push(number("tid"));
            }
            "X" => {
                let times = (number("ts"), number("ts") + number("dur"));
                lanes.entry(number("tid")).or_default().push(times);
                spans.push((name, times));
            }
            other => panic!("{other}"),
        }
    }
    for (lane, mut times) in lanes {
        assert!(named.contains(&lane), "lane {lane} has a name");
        times.sort_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
        let mut open: Vec<Times> = Vec::new();
        for (start, end) in times {
            open.retain(|(_, outer)| *outer > start);
            assert!(open.iter().all(|(_, outer)| *outer >= end), "{start}..{end} is in no one's {open:?}");
            open.push((start, end));
        }
    }
    spans
}

fn find(spans: &[(String, Times)], start: &str) -> Times {
    let found = spans.iter().find(|(name, _)| name.starts_with(start));
    found.unwrap_or_else(|| panic!("{start}: {spans:?}")).1
}

/// The service with this budget, and what builds it.
fn budgeted(budget: &str) -> (Project, Ingot) {
    let project =
        service_with(|toml| if budget.is_empty() { toml } else { format!("{toml}budget = {{ {budget} }}\n") });
    let ingot = ingot_for(&project);
    (project, ingot)
}

/// Builds a project to these destinations; how it ended, and its trace.
fn traced(ingot: &Ingot, project: &Path, more: &[&str]) -> (Ran, Vec<(String, Times)>) {
    let file = ingot.path("trace.json");
    let (folder, timings) = (project.display().to_string(), format!("--timings={}", file.display()));
    let ran = ingot.run([&["build", &folder, &timings], more].concat());
    let spans = if ran.code == 0 { trace(&file) } else { Vec::new() };
    (ran, spans)
}

/// The service with this budget, pushed to a registry; how it ended, and its trace.
fn pushed(registry: &Registry, budget: &str, more: &[&str]) -> (Ran, Vec<(String, Times)>) {
    let (project, ingot) = budgeted(budget);
    let target = registry.reference("team/service:1");
    traced(&ingot, &project.folder(), &[&["-t", &target, "--push"], more].concat())
}

/// The end of the layer that is finished last, and the begin of the first blob that is sent.
fn last_and_first(spans: &[(String, Times)]) -> (u64, u64) {
    let made = ["layer venv", "layer app", "layer runtime"].map(|name| find(spans, name).1);
    let sent = ["base 1/1 ", "venv ", "app ", "runtime "].map(|name| find(spans, name).0);
    (*made.iter().max().unwrap(), *sent.iter().min().unwrap())
}

#[test]
fn layers_leave_while_others_are_made() {
    let registry = Registry::start();
    let (ran, spans) = pushed(&registry, "", &["--format", "json"]);
    let outputs = ran.ok().json()[0]["outputs"][0].clone();
    let counts = ["written", "mounted", "existed"].map(|field| outputs[field]["count"].as_u64());
    assert_eq!(counts, [Some(5), Some(0), Some(0)], "{outputs}");
    let (made, sent) = last_and_first(&spans);
    assert!(sent < made, "the first is sent at {sent}, the last is made at {made}: {spans:?}");
    // Wheels are compiled while others may still be on their way.
    let (fetching, compiling) = (find(&spans, "wheels of small"), find(&spans, "compile alpha"));
    assert!(fetching.0 <= compiling.0 && compiling.1 <= fetching.1, "{spans:?}");
    // A budget that holds, whatever becomes of the layers, is no reason to wait for all of them; names come last.
    let requests = registry.requests();
    let name = requests.iter().position(|request| request.method == "PUT" && request.uri.ends_with("/manifests/1"));
    let uploads = requests.iter().filter(|request| request.method == "PUT" && request.is_upload()).count();
    assert!(uploads == 5 && !requests[name.unwrap()..].iter().any(|request| request.is_upload()), "{requests:?}");
}

#[test]
fn a_layout_is_filled_while_layers_are_made() {
    let (project, ingot) = budgeted("");
    let layout = ingot.path("new/image");
    let output = format!("oci:{}", layout.display());
    let (ran, spans) = traced(&ingot, &project.folder(), &["-o", &output, "--format", "json"]);
    let outputs = ran.ok().json()[0]["outputs"][0].clone();
    let counts = ["written", "existed"].map(|field| outputs[field]["count"].as_u64());
    assert_eq!(counts, [Some(5), Some(0)], "{outputs}");
    let (made, copied) = last_and_first(&spans);
    assert!(copied < made, "the first is copied at {copied}, the last is made at {made}: {spans:?}");
    // Each of them once.
    for name in ["base 1/1 ", "venv ", "app ", "runtime "] {
        assert_eq!(spans.iter().filter(|(span, _)| span.starts_with(name)).count(), 1, "{name}: {spans:?}");
    }
    Cast::read(&layout).is_reference("copied while layers were made");
    assert_eq!(leftovers(&layout), Vec::<String>::new());
}

/// Temporary files in a folder.
fn leftovers(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".ingot-")).collect()
}

#[test]
fn a_layout_gets_nothing_of_an_image_that_is_refused_or_fails() {
    let broken = || service().file("src/service/broken.py", "def f(:\n");
    for (project, code) in [(broken(), 2), (budgeted("compressed = \"20kB\"").0, 3), (budgeted("layers = 3").0, 3)] {
        let ingot = ingot_for(&project);
        let folder = project.folder().display().to_string();
        let output = |name: &str| format!("oci:{}", ingot.path(name).display());
        ingot.run(["build", &folder, "-o", &output("new/image")]).exits(code);
        assert!(!ingot.path("new").exists(), "not even a folder: {code}");
        // One that is there stays as it is.
        let other = service();
        let before = Cast::of(&ingot_for(&other), &other.folder(), &["-o", &output("old")]);
        let blobs = || std::fs::read_dir(ingot.path("old/blobs/sha256")).unwrap().count();
        let count = blobs();
        ingot.run(["build", &folder, "-o", &output("old:other")]).exits(code);
        assert_eq!((Cast::read(&ingot.path("old")), blobs()), (before, count));
        assert_eq!(leftovers(&ingot.path("old")), Vec::<String>::new());
        // Nor does anything come into a folder that is something else.
        std::fs::create_dir(ingot.path("home")).unwrap();
        std::fs::write(ingot.path("home/letter"), "dear").unwrap();
        TestUser::get().own(&ingot.path("home"));
        ingot.run(["build", &other.folder().display().to_string(), "-o", &output("home")]).exits(2);
        assert_eq!(std::fs::read_dir(ingot.path("home")).unwrap().count(), 1);
    }
}

#[test]
fn a_budget_that_is_tight_holds_everything_back() {
    // The image fits, but before its layers are finished nobody can know: they might not compress at all.
    let budget = "compressed = \"200kB\"";
    let (ran, spans) = pushed(&Registry::start(), budget, &[]);
    ran.ok();
    let (project, ingot) = budgeted(budget);
    let (ran, copied) = traced(&ingot, &project.folder(), &["-o", &format!("oci:{}", ingot.path("image").display())]);
    ran.ok();
    let (made, sent) = last_and_first(&spans);
    assert!(sent >= made, "the first is sent at {sent}, the last is made at {made}: {spans:?}");
    let (made, base) = last_and_first(&copied);
    let own = ["venv ", "app ", "runtime "].map(|name| find(&copied, name).0);
    assert!(own.iter().all(|sent| *sent >= made), "one is copied before the last is made at {made}: {copied:?}");
    // In a layout nobody sees what has no name: the base, which is there, need not wait.
    assert!(base == find(&copied, "base 1/1 ").0 && base < made, "the base waits: {copied:?}");
    // Nobody minds what it weighs.
    let registry = Registry::start();
    let (ran, _) = pushed(&registry, "compressed = \"20kB\"", &["--no-size-check"]);
    ran.ok();
}

#[test]
fn nothing_is_sent_of_an_image_that_is_over_its_budget() {
    for budget in ["compressed = \"20kB\"", "uncompressed = \"100kB\"", "layer = \"30kB\"", "layers = 3"] {
        let registry = Registry::start();
        pushed(&registry, budget, &[]).0.exits(3);
        let sent: Vec<Request> =
            registry.requests().into_iter().filter(|request| !["GET", "HEAD"].contains(&&*request.method)).collect();
        assert!(sent.is_empty(), "{budget}: {sent:?}");
    }
}

#[test]
fn a_build_that_fails_names_nothing() {
    let registry = Registry::start();
    let project = service().file("src/service/broken.py", "def f(:\n");
    let ingot = ingot_for(&project);
    let target = registry.reference("team/service:1");
    let ran = ingot.run(["build", &project.folder().display().to_string(), "-t", &target, "--push"]).exits(2);
    assert!(ran.stderr.contains("broken.py"), "{}", ran.stderr);
    let named = |request: &Request| request.method == "PUT" && request.uri.contains("/manifests/");
    assert!(!registry.requests().iter().any(named));
}

/// A registry that has nothing and never answers to an upload; its address.
fn stuck() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = |stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(request)) = lines.next() {
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            if request.starts_with("POST ") {
                std::thread::sleep(Duration::from_secs(600));
            }
            let _ = (&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

#[test]
fn a_build_that_fails_does_not_wait_for_a_registry_that_does_not_answer() {
    let project = service().file("src/service/broken.py", "def f(:\n");
    let ingot = ingot_for(&project);
    let begin = Instant::now();
    let target = format!("{}/team/service:1", stuck());
    let ran = ingot.run(["build", &project.folder().display().to_string(), "-t", &target, "--push"]).exits(2);
    assert!(ran.stderr.contains("broken.py"), "{}", ran.stderr);
    // An upload is given up after five times half a minute.
    assert!(begin.elapsed() < Duration::from_secs(90), "{:?}", begin.elapsed());
}

#[test]
fn who_may_not_push_hears_it_before_everything_is_made() {
    let registry = Registry::with_password("somebody", "secret");
    let project = service();
    // One layer after the other.
    let ingot = ingot_for(&project).env("RAYON_NUM_THREADS", "1");
    let target = registry.reference("team/service:1");
    let ran = ingot.run(["build", &project.folder().display().to_string(), "-t", &target, "--push"]).exits(5);
    assert!(ran.stderr.contains("does not let anonymous users push `team/service`"), "{}", ran.stderr);
    assert!(ran.stderr.matches("warning: ").count() == 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("layer runtime: "), "{}", ran.stderr);
}

/// Waits until something is the case; whether it came to be.
fn comes(what: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(25) {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// The service with a third wheel, which has a layer of its own.
fn heavy_service(change: impl FnOnce(String) -> String) -> Project {
    let project = service_with(change);
    let mut state = 1u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..3 << 20).map(|_| noise()).collect();
    let (_, line) = Wheel::new("heavy", "1.0").file("heavy/data.bin", noise).write(&project.folder().join("wheels"));
    let lock = std::fs::read_to_string(project.folder().join("requirements.lock")).unwrap() + &line;
    project.file("requirements.lock", lock)
}

/// An `ingot` that knows nothing but this index.
fn with_index(index: &Server) -> Ingot {
    Ingot::new().env("PIP_INDEX_URL", index.index())
}

#[test]
fn the_layer_of_a_heavy_wheel_is_made_while_others_are_on_their_way() {
    let project = heavy_service(|toml| toml);
    let reference = Cast::of(&ingot_for(&project), &project.folder(), &[]);
    for threads in ["1", "2"] {
        // The last wheel is sent when the layer of the first is in the store.
        let cache = Arc::new(OnceLock::<PathBuf>::new());
        let made = {
            let cache = cache.clone();
            move || {
                let entries = cache.get().and_then(|cache| std::fs::read_dir(cache.join("layers-v1")).ok());
                entries.into_iter().flatten().flatten().any(|entry| {
                    std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("\"venv: heavy\""))
                })
            }
        };
        let (seen, files) = (Arc::new(AtomicBool::new(false)), index_of(&project.folder().join("wheels")));
        let index = {
            let seen = seen.clone();
            Server::start(move |path| {
                if path.starts_with("/files/beta") {
                    seen.store(comes(&made), Ordering::SeqCst);
                }
                files(path)
            })
        };
        let ingot = with_index(&index).env("RAYON_NUM_THREADS", threads);
        cache.set(ingot.cache()).unwrap();
        let output = format!("oci:{}", ingot.path("image").display());
        let (ran, spans) = traced(&ingot, &project.folder(), &["-o", &output, "--clean", "--format", "json"]);
        let report = ran.ok().json();
        assert!(seen.load(Ordering::SeqCst), "nothing was made of the first before the last had come: {spans:?}");
        let (fetching, making) = (find(&spans, "wheels of small"), find(&spans, "layer venv: heavy"));
        assert!(fetching.0 <= making.0 && making.1 <= fetching.1, "{spans:?}");
        // It is made once, and that counts as made, whatever `--clean` means.
        assert_eq!(spans.iter().filter(|(name, _)| name == "layer venv: heavy").count(), 1, "{spans:?}");
        let layers = report[0]["images"][0]["layers"].as_array().unwrap();
        let heavy = layers.iter().find(|layer| layer["name"] == "venv: heavy").unwrap();
        assert_eq!(heavy["cached"], false, "{heavy}");
        assert_eq!(reference.difference(&Cast::read(&ingot.path("image"))), None);
        store_is_sound(&ingot.cache());
    }
}

#[test]
fn what_two_images_need_is_fetched_and_made_once() {
    let project = heavy_service(|toml| toml + "\n[variants.other]\nbase = \"oci:base\"\nenv = { A = \"b\" }\n");
    let index = Server::start(index_of(&project.folder().join("wheels")));
    let ingot = with_index(&index);
    let outputs = ["--variant", "all", "--clean", "-o", &format!("oci:{}", ingot.path("image").display())];
    let (ran, spans) = traced(&ingot, &project.folder(), &outputs);
    ran.ok();
    let mut files = index.asked();
    files.retain(|path| path.starts_with("/files/"));
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(spans.iter().filter(|(name, _)| name == "preparing venv: heavy").count(), 1, "{spans:?}");
    store_is_sound(&ingot.cache());
}

#[test]
fn wheels_are_fetched_while_os_packages_are() {
    let archive = SignedArchive::new(&["bookworm", "bookworm-updates", "bookworm-security"], &["stub"]);
    let project = heavy_service(|toml| toml.replace("[app]", "[os]\npackages = [\"stub\"]\n\n[app]"));
    let index = Server::start(index_of(&project.folder().join("wheels")));
    let (mirror, keyring) = (archive.mirror(), archive.keyring("archive").display().to_string());
    let from = ["--mirror", &mirror, "--keyring", &keyring];
    let ingot = with_index(&index);
    let output = format!("oci:{}", ingot.path("image").display());
    // The archive gives no answer before the wheels are there.
    let silence = archive.files();
    let (came, (ran, spans)) = std::thread::scope(|scope| {
        let building = scope.spawn(|| traced(&ingot, &project.folder(), &[&["-o", &output], &from[..]].concat()));
        let blobs = || std::fs::read_dir(ingot.cache().join("blobs/sha256")).map_or(0, Iterator::count);
        let came = comes(|| blobs() >= 3);
        drop(silence);
        (came, building.join().unwrap())
    });
    ran.ok();
    assert!(came, "no wheel is fetched before the packages are: {:?}", index.asked());
    let (fetching, packages) = (find(&spans, "fetch 3 wheels"), find(&spans, "OS packages of small"));
    assert!(fetching.1 <= packages.1, "{spans:?}");
    assert_eq!(index.asked().iter().filter(|path| path.starts_with("/files/")).count(), 3, "{:?}", index.asked());
    let other = Cast::of(&ingot_for(&project), &project.folder(), &from);
    assert_eq!(other.difference(&Cast::read(&ingot.path("image"))), None);
}

#[test]
fn locked_wheels_are_fetched_while_the_base_is() {
    let project = service_on_any_base();
    let index = Arc::new(Server::start(index_of(&project.folder().join("wheels"))));
    let (came, files) = (Arc::new(AtomicBool::new(false)), registry_of(&project.folder().join("base")));
    let locking = Arc::new(AtomicBool::new(true));
    let registry = {
        let (index, came, locking) = (index.clone(), came.clone(), locking.clone());
        Server::start(move |path| {
            if path.contains("/blobs/") && !locking.load(Ordering::SeqCst) {
                let fetched = || index.asked().iter().filter(|path| path.starts_with("/files/")).count() == 2;
                came.store(comes(fetched), Ordering::SeqCst);
            }
            files(path)
        })
    };
    let base = format!("BASE={}/base:1", registry.authority());
    let folder = project.folder().display().to_string();
    ingot_for(&project).run(["lock", &folder, "--build-arg", &base]).ok();
    locking.store(false, Ordering::SeqCst);
    let ingot = with_index(&index);
    let output = format!("oci:{}", ingot.path("image").display());
    ingot.run(["build", &folder, "--build-arg", &base, "--locked", "-o", &output]).ok();
    assert!(came.load(Ordering::SeqCst), "no wheel is fetched before the base is: {:?}", index.asked());
    let other = ingot_for(&project).env("RAYON_NUM_THREADS", "1");
    let other = Cast::of(&other, &project.folder(), &["--build-arg", &base, "--locked"]);
    assert_eq!(other.difference(&Cast::read(&ingot.path("image"))), None);
}

#[test]
fn a_plan_that_fails_does_not_wait_for_wheels() {
    let archive = SignedArchive::new(&["bookworm", "bookworm-updates", "bookworm-security"], &["stub"]);
    let project = service_with(|toml| toml.replace("[app]", "[os]\npackages = [\"no-such-package\"]\n\n[app]"));
    let files = index_of(&project.folder().join("wheels"));
    let index = Server::start(move |path| {
        if path.starts_with("/files/") {
            std::thread::sleep(Duration::from_secs(100));
        }
        files(path)
    });
    let ingot = with_index(&index);
    let (mirror, keyring) = (archive.mirror(), archive.keyring("archive").display().to_string());
    let begin = Instant::now();
    let folder = project.folder().display().to_string();
    let output = format!("oci:{}", ingot.path("image").display());
    let ran = ingot.run(["build", &folder, "-o", &output, "--mirror", &mirror, "--keyring", &keyring]).exits(2);
    assert!(ran.stderr.contains("no-such-package"), "{}", ran.stderr);
    assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
    assert!(!index.asked().is_empty());
    store_is_sound(&ingot.cache());
}

#[test]
fn timings_are_a_table_with_every_layer_and_every_destination() {
    let project = service();
    let ingot = ingot_for(&project);
    let (folder, layout) = (project.folder().display().to_string(), format!("oci:{}:1", ingot.path("image").display()));
    for cached in [false, true] {
        let ran = ingot.run(["build", &folder, "-o", &layout, "--timings"]).ok();
        let lines: Vec<&str> = ran.stderr.lines().skip_while(|line| !line.starts_with("STAGE ")).collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["STAGE", "START", "TIME", "BYTES", "RATE", "RESULT"]
        );
        let table = lines.join("\n");
        for name in ["read the project", "plan", "layer venv", "layer app", "layer runtime", &format!("write {layout}")]
        {
            let row = lines.iter().find(|line| line.trim_start().starts_with(name));
            let row = row.unwrap_or_else(|| panic!("{name}: {table}"));
            assert!(row.matches(" s").count() >= 2, "start and time: {row}");
            assert!(!name.starts_with("layer") || row.ends_with("cached") == cached, "{row}");
        }
        assert!(ran.stdout.starts_with("oci:"), "stdout has data only: {}", ran.stdout);
        assert!(std::fs::read_dir(ingot.path("")).unwrap().count() == 1, "no file without a name");
    }
    // Quiet means quiet: the trace is written all the same.
    let file = ingot.path("t.json");
    let ran = ingot.run(["build", &folder, "-o", &layout, "-q", &format!("--timings={}", file.display())]).ok();
    assert_eq!(ran.stderr, "");
    find(&trace(&file), "layer venv");
    // A folder is no place for a trace.
    ingot.run(["build", &folder, "-o", &layout, "--timings=/nonexistent/t.json"]).exits(6);
}
