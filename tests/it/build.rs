//! The example, cast by an ordinary user: what the program says, writes and leaves out.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::*;

/// 1980-01-01, the time of everything that ingot makes.
const EPOCH: u64 = 315_532_800;

fn digest_of(layout: &Layout) -> String {
    layout.descriptor()["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_ordinary_user_casts_the_example_into_three_outputs() {
    let example = gameforge();
    let layout = Layout::open(&example.path("image"));
    let digest = digest_of(&layout);
    let archive = |place: &str| format!("{place}:{}@{digest}\n", GameForge::NAME);
    let lines =
        format!("oci:image:1.2@{digest}\n{}{}", archive("oci-archive:oci.tar"), archive("docker-archive:docker.tar"));
    assert_eq!(example.ran.stdout, lines, "stdout is data only");
    assert!(example.ran.stderr.contains("layer app: "), "{}", example.ran.stderr);
    assert!(!example.ran.stderr.contains('\x1b'), "no escape sequences where there is no terminal");

    for name in ["image", "image/index.json", "oci.tar", "docker.tar", "metadata.json"] {
        assert_eq!(std::fs::metadata(example.path(name)).unwrap().uid(), TestUser::get().uid, "{name}");
    }
    let mut left: Vec<_> =
        std::fs::read_dir(example.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().starts_with('.') || name.to_string_lossy().contains("tmp"));
    assert!(left.is_empty(), "temporary files: {left:?}");
    let root = format!("{}/blobs/sha256", example.path("image").display());
    assert_eq!(std::fs::read_dir(root).unwrap().count(), layout.layers() + 2, "layers, config and manifest, no more");
}

#[test]
fn the_metadata_file_tells_what_a_pipeline_wants_to_know() {
    let example = gameforge();
    let layout = Layout::open(&example.path("image"));
    let metadata: Value = serde_json::from_slice(&std::fs::read(example.path("metadata.json")).unwrap()).unwrap();
    let (descriptor, manifest) = (layout.descriptor(), layout.manifest());
    assert_eq!(metadata["containerimage.digest"], descriptor["digest"]);
    for field in ["digest", "size", "mediaType"] {
        assert_eq!(metadata["containerimage.descriptor"][field], descriptor[field], "{field}");
    }
    let image = &metadata["images"][0];
    assert_eq!((image["platform"].as_str(), &image["digest"]), (Some("linux/amd64"), &descriptor["digest"]));
    let layers = image["layers"].as_array().unwrap();
    assert_eq!(layers.len(), layout.layers());
    for (n, (told, found)) in layers.iter().zip(manifest["layers"].as_array().unwrap()).enumerate() {
        for field in ["digest", "size", "mediaType"] {
            assert_eq!(told[field], found[field], "layer {n}");
        }
        assert_eq!(told["diff_id"], layout.config()["rootfs"]["diff_ids"][n]);
        assert!(told["milliseconds"].is_u64() && told["name"].is_string(), "{told}");
    }
    let total: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(image["size"], total);
    let outputs = metadata["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 3, "{outputs:#?}");
    assert!(outputs.iter().all(|output| output["digest"] == descriptor["digest"]));
}

#[test]
fn a_second_build_makes_nothing_anew_and_says_so() {
    let example = gameforge();
    let ingot = example.ingot();
    let plan = ingot.run(example.args("plan", &["--format", "json"])).ok().json();
    let states: Vec<_> = plan["images"][0]["layers"].as_array().unwrap().iter().map(|l| l["state"].clone()).collect();
    // numpy, pillow, the rest of the environment, the application, the small files.
    assert_eq!(states, ["base", "hit", "hit", "hit", "hit", "hit"]);
    let text = ingot.run(example.args("plan", &[])).ok().stdout;
    assert!(text.starts_with("distroless for linux/amd64: ") && text.contains("venv: numpy"), "{text}");

    // No index is needed where nothing is made anew.
    let offline = example.ingot().env("PIP_INDEX_URL", "http://127.0.0.1:9/simple").env("PIP_FIND_LINKS", "");
    let output = format!("oci:{}", offline.path("again").display());
    let file = offline.path("metadata.json").display().to_string();
    let args = example.args("build", &["-o", &output, "--format", "json", "--metadata-file", &file]);
    let built = offline.run(args).ok().json();
    assert_eq!(built[0], serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap());
    let layers = built[0]["images"][0]["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["cached"] == true), "{layers:#?}");
    assert_eq!(built[0]["containerimage.digest"], digest_of(&Layout::open(&example.path("image"))));
}

#[test]
fn the_layers_hold_what_they_should_and_no_source_of_the_app() {
    let layout = Layout::open(&gameforge().path("image"));
    let layers: Vec<_> = (1..layout.layers()).map(|number| layout.layer(number)).collect();
    for member in layers.iter().flatten() {
        let line = member.line();
        assert_eq!(member.mtime, EPOCH, "{line}");
        assert!([0, 1001].contains(&member.uid) && member.uid == member.gid, "{line}");
        assert_eq!(member.mode & 0o6002 & if member.kind == "symlink" { 0 } else { 0o7777 }, 0, "{line}");
        assert!(!member.path.starts_with('/') && !member.path.contains(".."), "{line}");
    }
    for members in &layers {
        let mut paths: Vec<_> = members.iter().map(|member| member.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), members.len(), "no path twice in one layer");
    }
    let files: Vec<&Member> = layers.iter().flatten().filter(|member| member.kind == "file").collect();
    let has = |path: &str| files.iter().any(|member| member.path == path);

    let app: Vec<_> = files.iter().filter(|member| member.path.starts_with("app/")).collect();
    assert!(app.iter().all(|member| !member.path.ends_with(".py") && !member.path.contains("__pycache__")), "{app:?}");
    let compiled = app.iter().filter(|member| member.path.ends_with(".pyc")).count();
    let source = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gameforge/src/gameforge"));
    let sources = source.unwrap().filter(|entry| entry.as_ref().unwrap().path().extension() == Some("py".as_ref()));
    assert_eq!(compiled, sources.count(), "one .pyc per source");
    assert!(has("app/gameforge/static/style.css") && has("app/gameforge/templates/index.html"));
    for found in [".dockerignore", "requirements.lock", "ingot.toml", "lock.sh"] {
        assert!(!files.iter().any(|member| member.path.ends_with(found)), "{found} is not for the image");
    }

    let site = "opt/venv/lib/python3.11/site-packages";
    assert!(has("opt/venv/pyvenv.cfg") && has("opt/venv/bin/gunicorn") && has(&format!("{site}/flask/app.py")));
    assert!(has(&format!("{site}/flask/__pycache__/app.cpython-311.pyc")), "dependencies are compiled beside");
    let gunicorn = files.iter().find(|member| member.path == "opt/venv/bin/gunicorn").unwrap();
    assert!(gunicorn.content.starts_with(b"#!/opt/venv/bin/python") && gunicorn.mode == 0o755);
}

#[test]
fn the_configuration_is_the_contract() {
    let layout = Layout::open(&gameforge().path("image"));
    let (config, manifest) = (layout.config(), layout.manifest());
    let run = &config["config"];
    assert_eq!((run["User"].as_str(), run["WorkingDir"].as_str()), (Some("1001:1001"), Some("/app")));
    assert_eq!(run["Entrypoint"], json!(["/usr/local/bin/ingot-launcher"]));
    let command = ["gunicorn", "--bind", "0.0.0.0:8080", "--workers", "2", "gameforge.wsgi:app"];
    assert_eq!(run["Cmd"], json!(command));
    assert_eq!((run["StopSignal"].as_str(), &run["ExposedPorts"]), (Some("SIGTERM"), &json!({"8080/tcp": {}})));
    let seconds = |n: u64| n * 1_000_000_000;
    let health = json!({"Test": ["CMD", "python", "-m", "gameforge.health"], "Interval": seconds(30),
        "Timeout": seconds(15), "StartPeriod": seconds(120), "Retries": 3});
    assert_eq!(run["Healthcheck"], health);
    let environment: Vec<&str> = run["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(environment.contains(&"GAMEFORGE_ENV=production"), "{environment:?}");
    assert!(environment.iter().any(|line| line.starts_with("PATH=/opt/venv/bin:")), "{environment:?}");

    let labels = run["Labels"].as_object().unwrap();
    for (name, value) in [("title", "GameForge Production"), ("created", "1980-01-01T00:00:00Z")] {
        assert_eq!(labels[&format!("org.opencontainers.image.{name}")], value);
    }
    assert_eq!(&Value::Object(labels.clone()), &manifest["annotations"], "annotations are the labels");
    let base = Layout::open(&debian_base()).descriptor();
    assert_eq!(labels["org.opencontainers.image.base.digest"], base["digest"]);

    assert_eq!((config["architecture"].as_str(), config["os"].as_str()), (Some("amd64"), Some("linux")));
    let history = config["history"].as_array().unwrap();
    let made = history.iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(made, layout.layers(), "one entry of the history per layer");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), layout.layers());
}

#[test]
fn the_commands_of_the_demo_show_the_image() {
    let folder = Scratch::new();
    // The demo's own commands, from the Makefile, in a folder that looks like the checkout.
    let mut make = Command::new(tool("make", "make"));
    make.args(["--dry-run", "--no-print-directory", "demo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let listed = Ran::of(make).ok().stdout;
    let commands: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("target/release/ingot ")).collect();
    assert!(commands.len() >= 3, "{listed}");

    for name in ["examples", "dist"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    std::fs::rename(example().folder(), folder.join("examples/gameforge")).unwrap();
    TestUser::get().own(&folder.join("dist"));
    let cast = distroless();
    let said: String = commands
        .iter()
        .map(|line| {
            let mut command = cast.ingot().command(line.split_whitespace());
            command.current_dir(folder.path());
            Ran::of(command).ok().stdout
        })
        .collect();

    let layout = Layout::open(&cast.layout());
    let digest = digest_of(&layout);
    assert!(said.contains(&format!("\noci:dist/gameforge-distroless:latest@{digest}\n")), "{said}");
    for layer in layout.manifest()["layers"].as_array().unwrap() {
        assert!(said.contains(layer["digest"].as_str().unwrap()), "{layer}: {said}");
    }
    for expected in ["gunicorn", "1001:1001", "launcher", "libc6", "os packages"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
