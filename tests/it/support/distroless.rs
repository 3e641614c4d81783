//! The example made of packages alone, cast once for all tests that look at the result.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::program::Ran;
use super::{Ingot, Project, example};

/// `examples/gameforge`, variant `distroless`, as an unprivileged user made it from this machine's own apt sources.
pub struct Distroless {
    ingot: Ingot,
    project: Project,
    /// How the cast ended, and what it said.
    pub ran: Ran,
}

/// The cast; made on first use.
pub fn distroless() -> &'static Distroless {
    static DISTROLESS: OnceLock<Distroless> = OnceLock::new();
    DISTROLESS.get_or_init(|| {
        let (ingot, project) = (Ingot::new(), example());
        let mut made = Distroless { ingot, project, ran: Ran::default() };
        let outputs = ["-o", "oci:image:1", "-o", "oci-archive:image.tar", "--metadata-file", "metadata.json"];
        made.ran = made.ingot.run(made.args("build", &outputs)).ok();
        made
    })
}

impl Distroless {
    /// The ingot that made it, with its store.
    pub fn ingot(&self) -> &Ingot {
        &self.ingot
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The image's layout, with one image.
    pub fn layout(&self) -> PathBuf {
        self.ingot.path("image")
    }

    /// The same image as podman and skopeo read it.
    pub fn archive(&self) -> String {
        format!("oci-archive:{}", self.ingot.path("image.tar").display())
    }

    /// What `--metadata-file` has.
    pub fn metadata(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.ingot.path("metadata.json")).unwrap()).unwrap()
    }

    /// `ingot COMMAND PROJECT --variant distroless ...`.
    pub fn args(&self, command: &str, more: &[&str]) -> Vec<String> {
        let mut args = vec![command.into(), self.project.folder().display().to_string()];
        args.extend(["--variant".into(), "distroless".into()]);
        args.extend(release_args());
        args.extend(more.iter().map(ToString::to_string));
        args
    }
}

/// The build arguments for this machine's own release: its apt has the mirror and the keys of that one.
pub fn release_args() -> Vec<String> {
    let (base, python) = release();
    ["DISTROLESS_BASE", "DISTROLESS_PYTHON"]
        .iter()
        .zip([base, python])
        .flat_map(|(name, value)| ["--build-arg".to_string(), format!("{name}={value}")])
        .collect()
}

/// "debian:12/packages" and "3.11".
pub fn release() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim_matches('"').to_owned()
    };
    let (id, version) = (field("ID="), field("VERSION_ID="));
    let base = format!("{id}:{version}/packages");
    let known = ingot::project::known_packages(&base);
    (base.clone(), known.unwrap_or_else(|| panic!("{base} is not known")).apt.python.short())
}
