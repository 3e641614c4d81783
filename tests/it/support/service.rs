//! A small service that is cast in a moment, from nothing but files: the tiny base, two wheels, an application.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ingot::oci::Digest;
use serde_json::Value;

use super::{Ingot, Layout, Member, Project, Ran, Scratch, Wheel, tiny_base};

/// Its project file.
const PROJECT: &str = r#"[image]
name = "team/service"

[image.labels]
"org.opencontainers.image.title" = "Service"
"org.opencontainers.image.version" = "${BUILD_VERSION}"

[python]
version = "3.11"
lock = "requirements.lock"

[app]
source = "src"
command = ["alpha", "--serve"]
expose = [8080]
require-env = { SERVICE_ENV = "production" }
writable = ["/app/data"]

[healthcheck]
command = ["python", "-m", "service.health"]
interval = "30s"

[variants.small]
base = "oci:base"
"#;

/// Its source.
const SOURCE: [(&str, &str); 5] = [
    ("src/service/__init__.py", "\"\"\"A service.\"\"\"\nNAMES = frozenset({\"a\", \"b\", \"c\", \"d\"})\n"),
    (
        "src/service/health.py",
        "import sys\n\n\ndef main(args=()):\n    return {1: 'one', 2: 'two'}.get(len(args), sys.argv)\n",
    ),
    (
        "src/service/naïve.py",
        "class Ü:\n    x: int = 1\n\n    async def f(self):\n        return [y async for y in self]\n",
    ),
    ("src/service/static/page.html", "<p>hello\n"),
    ("src/run.sh", "#!/bin/sh\nexec true\n"),
];

/// The project: `ingot.toml`, `requirements.lock`, `src`, the base in `base`, the wheels in `wheels`.
pub fn service() -> Project {
    service_with(|toml| toml)
}

/// The same with a changed `ingot.toml`.
pub fn service_with(change: impl FnOnce(String) -> String) -> Project {
    let mut project = Project::new(&change(PROJECT.to_owned()));
    let scratch = Scratch::new();
    let mut lock = String::new();
    for wheel in wheels() {
        let (path, line) = wheel.write(scratch.path());
        lock.push_str(&line);
        project = project.file(&format!("wheels/{}", wheel.file_name()), std::fs::read(path).unwrap());
    }
    project = SOURCE.iter().fold(project, |project, (path, text)| project.file(path, text));
    tiny_base(&project.folder().join("base"));
    // The last file gives everything to its user.
    project.file("requirements.lock", lock)
}

fn wheels() -> [Wheel; 2] {
    let text: String = (0..4000).map(|n| format!("line {n} of {}\n", n * n)).collect();
    let alpha = Wheel::new("alpha", "1.0")
        .scripts(&["alpha = alpha:main"])
        .file("alpha/main.py", "def main():\n    return {'one', 'two'}\n")
        .file("alpha/table.txt", text)
        .file("alpha-1.0.data/scripts/alpha-tool", "#!python\nprint('tool')\n")
        .requires("beta-pkg");
    let library: Vec<u8> = (0..60_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let beta = Wheel::new("beta-pkg", "2.1").tag("cp311-cp311-manylinux_2_17_x86_64");
    [alpha, beta.file_with_mode("beta_pkg/native.so", library, 0o755)]
}

/// The small service on a base that is named on the command line.
pub fn service_on_any_base() -> Project {
    service_with(|toml| {
        toml.replace("base = \"oci:base\"", "base = \"${BASE}\"")
            .replace("[variants.small]", "[args]\nBASE = \"oci:base\"\n\n[variants.small]")
    })
}

/// `ingot build PROJECT --build-arg BASE=... MORE`.
pub fn build_on(ingot: &Ingot, project: &Project, base: &str, more: &[&str]) -> Ran {
    let (folder, base) = (project.folder().display().to_string(), format!("BASE={base}"));
    ingot.run([&["build", &folder, "--build-arg", &base], more].concat())
}

/// An `ingot` that finds the project's wheels and asks no index.
pub fn ingot_for(project: &Project) -> Ingot {
    with_wheels(Ingot::new(), &project.folder())
}

/// The same of a given `ingot` and a project in a folder.
pub fn with_wheels(ingot: Ingot, project: &Path) -> Ingot {
    ingot.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", project.join("wheels"))
}

/// An image, read back to be compared with another.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// The manifest's digest.
    pub digest: String,
    /// The configuration.
    pub config: Value,
    /// The layers' digests, the base's first.
    pub layers: Vec<String>,
    /// What the layers hold, line by line.
    pub listings: Vec<Vec<String>>,
}

impl Cast {
    /// Builds a project into a layout of its own and reads that back.
    #[track_caller]
    pub fn of(ingot: &Ingot, project: &Path, args: &[&str]) -> Cast {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let layout = ingot.path(&format!("image{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let (project, output) = (project.to_str().unwrap(), format!("oci:{}", layout.display()));
        ingot.run(["build", project, "-o", &output].iter().chain(args)).ok();
        Cast::read(&layout)
    }

    /// What every build of the service must be.
    pub fn reference() -> &'static Cast {
        static REFERENCE: OnceLock<Cast> = OnceLock::new();
        REFERENCE.get_or_init(|| {
            let project = service();
            Cast::of(&ingot_for(&project), &project.folder(), &[])
        })
    }

    /// Fails the test unless this is what every build of the service must be.
    #[track_caller]
    pub fn is_reference(&self, what: &str) {
        if let Some(difference) = Cast::reference().difference(self) {
            panic!("{what}: another digest\n{difference}");
        }
    }

    /// The only image of a layout, every blob checked.
    #[track_caller]
    pub fn read(layout: &Path) -> Cast {
        let layout = Layout::open(layout);
        let manifest = layout.manifest();
        let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        Cast {
            digest: digest(&layout.descriptor()),
            config: layout.config(),
            layers: manifest["layers"].as_array().unwrap().iter().map(digest).collect(),
            listings: (0..layout.layers())
                .map(|number| {
                    layout.layer(number).iter().map(|file| format!("{} {}", file.mtime, file.line())).collect()
                })
                .collect(),
        }
    }

    /// How another image differs: the layer and the file, or the document. Nothing if the digests are the same.
    pub fn difference(&self, other: &Cast) -> Option<String> {
        if self.digest == other.digest {
            return None;
        }
        for (number, (ours, theirs)) in self.listings.iter().zip(&other.listings).enumerate() {
            let files = changes(ours, theirs);
            if !files.is_empty() {
                return Some(format!("layer {number} differs:\n{files}"));
            }
            if self.layers[number] != other.layers[number] {
                return Some(format!("layer {number} has the same files in other bytes"));
            }
        }
        let lines = |config: &Value| format!("{config:#}").lines().map(str::to_owned).collect::<Vec<_>>();
        Some(format!("the documents differ:\n{}", changes(&lines(&self.config), &lines(&other.config))))
    }
}

/// The lines that only one side has.
pub fn changes(ours: &[String], theirs: &[String]) -> String {
    let only = |these: &[String], those: &[String], sign: char| {
        let lines = these.iter().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}\n"));
        lines.collect::<String>()
    };
    only(ours, theirs, '-') + &only(theirs, ours, '+')
}

/// One line of every member of a layer: for a golden file.
pub fn listing(members: &[Member]) -> String {
    members.iter().map(|member| member.line() + "\n").collect()
}

/// Fails the test if the store holds a blob under another name than its own, or anything without a final name.
#[track_caller]
pub fn store_is_sound(store: &Path) {
    let entries = |folder: &str| {
        let found = std::fs::read_dir(store.join(folder)).into_iter().flatten();
        found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    for blob in entries("blobs/sha256") {
        let found = Digest::of(&std::fs::read(&blob).unwrap());
        assert_eq!(blob.file_name().unwrap().to_str(), Some(&*found.hex()), "a blob is not what its name says");
    }
    assert_eq!(entries("tmp"), Vec::<std::path::PathBuf>::new(), "files without a final name are left behind");
}
