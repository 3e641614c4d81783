//! The example, cast once for all tests that look at the result.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::program::Ran;
use super::{Ingot, Project, TestUser, debian_base, example};

/// `examples/gameforge`, variant `distroless` on a base image, as an unprivileged user made it.
pub struct GameForge {
    folder: PathBuf,
    project: Project,
    /// How the cast ended, and what it said.
    pub ran: Ran,
}

/// The cast; made on first use. Its folder goes when a later test program starts.
pub fn gameforge() -> &'static GameForge {
    static GAMEFORGE: OnceLock<GameForge> = OnceLock::new();
    GAMEFORGE.get_or_init(GameForge::make)
}

impl GameForge {
    /// What the image is called in its outputs.
    pub const NAME: &'static str = "registry.example/team/gameforge:1.2";

    fn make() -> GameForge {
        let own = format!("ingot-it-cast-{}", rustix::process::getuid().as_raw());
        let all = Path::new("/tmp").join(own);
        std::fs::create_dir_all(&all).unwrap();
        for left in std::fs::read_dir(&all).unwrap() {
            let left = left.unwrap();
            if !Path::new("/proc").join(left.file_name()).exists() {
                let _ = std::fs::remove_dir_all(left.path());
            }
        }
        let folder = all.join(std::process::id().to_string());
        for name in ["cache", "out"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        TestUser::get().own(&folder);
        let mut made = GameForge { folder, project: example(), ran: Ran::default() };
        let outputs = ["-o", "oci:image:1.2", "-o", "oci-archive:oci.tar", "-o", "docker-archive:docker.tar"];
        let more = ["--tag", Self::NAME, "--metadata-file", "metadata.json"];
        made.ran = made.ingot().run(made.args("build", &[&outputs[..], &more].concat())).ok();
        made
    }

    /// A file or folder of the outputs: `image`, `oci.tar`, `docker.tar`, `metadata.json`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("out").join(name)
    }

    /// The name of an output as ingot and skopeo write it: `oci:.../image:1.2`.
    pub fn name(&self, kind: &str) -> String {
        let (file, tag) = match kind {
            "oci" => ("image", ":1.2".to_owned()),
            "oci-archive" => ("oci.tar", String::new()),
            "docker-archive" => ("docker.tar", String::new()),
            other => panic!("the cast has no {other}"),
        };
        format!("{kind}:{}{tag}", self.path(file).display())
    }

    /// A fresh ingot that works in the folder of the outputs with the store of the cast.
    pub fn ingot(&self) -> Ingot {
        Ingot::new().env("INGOT_CACHE", self.folder.join("cache")).within(&self.folder.join("out"))
    }

    /// The same as whoever runs the tests, with a copy of the store: engines' own stores are not for everybody.
    pub fn privileged(&self) -> Ingot {
        let ingot = Ingot::privileged();
        let mut command = Command::new("cp");
        command.arg("--recursive").arg("--no-target-directory").arg(self.folder.join("cache")).arg(ingot.cache());
        Ran::of(command).ok();
        ingot
    }

    /// `ingot COMMAND PROJECT --variant distroless ...`: the same project on the same base.
    pub fn args(&self, command: &str, more: &[&str]) -> Vec<String> {
        let base = format!("DISTROLESS_BASE=oci:{}:latest", debian_base().display());
        let project = self.project.folder().display().to_string();
        let mut args = vec![command.into(), project, "--variant".into(), "distroless".into()];
        args.extend(["--build-arg".into(), base]);
        args.extend(more.iter().map(ToString::to_string));
        args
    }
}
