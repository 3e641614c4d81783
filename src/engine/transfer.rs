//! Images to and from an engine's own store, as archives.

use std::path::Path;
use std::time::Duration;

use super::error::{clean, last_line};
use super::{Engine, Error, Kind};
use crate::oci::Reference;

/// How long an engine may take to read or write an archive.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl Engine {
    /// Loads an archive; the image's ID or name, as the engine says it.
    pub fn load(&self, archive: &Path) -> Result<String, Error> {
        let path = self.path(archive)?;
        let said = self.run(&["load", "--input", path])?;
        // "Loaded image: NAME", "Loaded image ID: sha256:...", "Loaded image(s): NAME".
        let loaded = said.lines().rev().find_map(|line| line.trim().strip_prefix("Loaded image"));
        loaded
            .and_then(|rest| rest.split_once(": "))
            .map(|(_, image)| clean(image))
            .filter(|image| argument(image))
            .ok_or_else(|| Error::Answer { command: format!("{} load", self.kind), said: last_line(&said) })
    }

    /// Writes the image that the engine knows as `image` to a new file: podman an `oci-archive`, docker its own form.
    pub fn save(&self, image: &str, to: &Path) -> Result<(), Error> {
        let path = self.path(to)?;
        self.checked(image)?;
        match self.kind {
            Kind::Podman => self.run(&["save", "--quiet", "--format", "oci-archive", "--output", path, "--", image])?,
            Kind::Docker => self.run(&["save", "--output", path, "--", image])?,
        };
        Ok(())
    }

    /// Fetches an image from its registry, with the engine's own credentials.
    pub fn pull(&self, image: &str) -> Result<(), Error> {
        self.checked(image)?;
        self.run(&["pull", "--quiet", "--", image]).map(|_| ())
    }

    /// Gives an image that the engine has a name.
    pub fn tag(&self, image: &str, name: &Reference) -> Result<(), Error> {
        self.checked(image)?;
        // The whole name: podman would put a short one under `localhost/`.
        self.run(&["tag", "--", image, &name.to_string()]).map(|_| ())
    }

    fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        let command = self.command(arguments.iter().copied());
        self.succeeds(arguments.first().copied().unwrap_or_default(), command, TRANSFER_TIMEOUT)
    }

    fn checked(&self, image: &str) -> Result<(), Error> {
        if argument(image) { Ok(()) } else { Err(Error::Argument { kind: self.kind, text: clean(image) }) }
    }

    /// Paths are the store's own and absolute, so none begins with a dash.
    fn path<'a>(&self, path: &'a Path) -> Result<&'a str, Error> {
        path.to_str()
            .filter(|text| text.starts_with('/'))
            .ok_or_else(|| Error::Argument { kind: self.kind, text: clean(&path.to_string_lossy()) })
    }
}

/// Whether a value can be nothing but a name: it begins with a letter or digit and has no unusual character.
pub(super) fn argument(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.len() <= 512 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::fake;
    use crate::error::Explain;

    #[test]
    fn the_loaded_image_is_read_from_what_the_engine_says() {
        for (says, expected) in [
            ("Loaded image: docker.io/library/app:1", "docker.io/library/app:1"),
            ("Loaded image ID: sha256:abc", "sha256:abc"),
            ("Getting image\\nLoaded image(s): localhost/x:latest", "localhost/x:latest"),
        ] {
            let (_folder, engine) = fake(Kind::Docker, &format!("printf '{says}\\n'"));
            assert_eq!(engine.load(Path::new("/x.tar")).unwrap(), expected);
        }
        let (_folder, engine) = fake(Kind::Docker, "echo 'Loaded image: --rm'");
        assert!(matches!(engine.load(Path::new("/x.tar")).unwrap_err(), Error::Answer { .. }));
    }

    #[test]
    fn what_looks_like_an_option_never_gets_there() {
        let (folder, engine) = fake(Kind::Podman, "echo \"$@\" > \"$(dirname \"$0\")/called\"");
        for image in ["--help", "-v", "", "a b", "x\n", "[driver]x"] {
            let error = engine.save(image, Path::new("/x.tar")).unwrap_err();
            assert_eq!(error.class().code(), 2, "{image:?}");
        }
        assert!(engine.load(Path::new("-x.tar")).is_err());
        assert!(!folder.path().join("called").exists());
        engine.tag("sha256:abc", &"app:1".parse().unwrap()).unwrap();
        let called = std::fs::read_to_string(folder.path().join("called")).unwrap();
        assert_eq!(called.trim(), "tag -- sha256:abc docker.io/library/app:1");
    }

    #[test]
    fn a_failure_shows_the_last_line() {
        let (_folder, engine) = fake(Kind::Podman, "echo one >&2; echo 'no space left' >&2; exit 125");
        let error = engine.save("app", Path::new("/x.tar")).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class().code()), ("`podman save` failed: no space left", 7));
    }
}
