//! Projects to build.

use std::path::{Path, PathBuf};

use super::{Scratch, TestUser};

/// A project in a folder of its own that belongs to the unprivileged user.
pub struct Project {
    scratch: Scratch,
}

impl Project {
    /// A project with this `ingot.toml`.
    pub fn new(toml: &str) -> Project {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("project")).unwrap();
        TestUser::get().own(&scratch.join("project"));
        Project { scratch }.file("ingot.toml", toml)
    }

    /// One more file.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Project {
        let file = self.folder().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        TestUser::get().own(&self.folder());
        self
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.scratch.join("project")
    }
}

/// A copy of `examples/gameforge` where an unprivileged user may read and write.
pub fn example() -> Project {
    copy_of("gameforge")
}

/// A copy of a folder of `examples`, without what a developer has made there.
pub fn copy_of(name: &str) -> Project {
    let scratch = Scratch::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    copy(&source, &scratch.join("project"));
    TestUser::get().own(&scratch.join("project"));
    Project { scratch }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if [".env", "secrets", "node_modules", "dist"].iter().any(|made| entry.file_name() == *made) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
