//! Names of images, as podman and skopeo write them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Error;
use crate::error::Error as AnyError;
use crate::fs;
use crate::oci::{Reference, without_password};

/// Where an image is, or shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// `oci:DIR[:TAG]`: an OCI layout.
    OciLayout {
        /// The layout's folder.
        dir: PathBuf,
        /// The `org.opencontainers.image.ref.name` of the image in it.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:REF]`: a tar of an OCI layout.
    OciArchive {
        /// The tar.
        file: PathBuf,
        /// The `org.opencontainers.image.ref.name` of the image in it.
        reference: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        /// The tar.
        file: PathBuf,
        /// The image's name in it.
        reference: Option<String>,
    },
    /// `docker://REF` or just `REF`: a registry.
    Registry(Reference),
    /// `containers-storage:REF`: podman's own store.
    ContainersStorage(String),
    /// `docker-daemon:REF`: the docker daemon's store.
    DockerDaemon(String),
}

/// Transports of other tools, so that their names are not taken for a Docker Hub repository.
const FOREIGN: [&str; 7] = ["dir:", "ostree:", "sif:", "tarball:", "atomic:", "oci-dir:", "docker:"];

impl ImageName {
    /// Whether reading it needs the network.
    pub fn is_remote(&self) -> bool {
        matches!(self, ImageName::Registry(_))
    }

    /// The registry reference, if it is one.
    pub fn reference(&self) -> Option<&Reference> {
        if let ImageName::Registry(reference) = self { Some(reference) } else { None }
    }

    /// The file or folder, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ImageName::OciLayout { dir, .. } => Some(dir),
            ImageName::OciArchive { file, .. } | ImageName::DockerArchive { file, .. } => Some(file),
            _ => None,
        }
    }
}

fn refuse(text: &str, reason: impl Into<String>) -> Error {
    let text = without_password(text).chars().filter(|c| !c.is_control()).take(300).collect();
    Error::Name { text, reason: reason.into(), meant: None }
}

/// `PATH[:REST]`; a path with a colon cannot be named, as in the other tools.
fn path_and_rest(text: &str, rest: &str) -> Result<(PathBuf, Option<String>), Error> {
    let (path, reference) = match rest.split_once(':') {
        Some((path, reference)) => (path, Some(reference)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(refuse(text, "the path is missing"));
    }
    if let Some(reference) = reference {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
        if !reference.starts_with(|c: char| c.is_ascii_alphanumeric()) || !reference.bytes().all(sound) {
            return Err(refuse(text, format!("`{}` is not a tag", reference.escape_debug())));
        }
    }
    Ok((PathBuf::from(path), reference.map(str::to_string)))
}

/// A name in an engine's store: a reference, or (for reading) an image's ID.
fn engine_name(text: &str, name: &str) -> Result<String, Error> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.bytes().all(sound) {
        return Err(refuse(text, "expected a reference or an image's ID after the colon"));
    }
    Ok(name.to_string())
}

/// What a bare path probably means.
fn bare_path(text: &str) -> Option<Error> {
    let path = Path::new(text);
    let looks_like_a_path = text.starts_with(['/', '.', '~']) || text.ends_with(".tar");
    let is_layout = fs::exists(&path.join("oci-layout"));
    if !is_layout && !looks_like_a_path {
        return None;
    }
    let (reason, meant) = if is_layout {
        ("it is a folder with an OCI layout", Some(format!("oci:{text}")))
    } else if text.ends_with(".tar") || text.ends_with(".tar.gz") {
        ("it is a file's name", Some(format!("oci-archive:{text}` or `docker-archive:{text}")))
    } else {
        ("it is a path", None)
    };
    Some(Error::Name { text: text.chars().take(300).collect(), reason: reason.into(), meant })
}

impl FromStr for ImageName {
    type Err = AnyError;

    fn from_str(text: &str) -> Result<Self, AnyError> {
        if text.contains('\0') {
            return Err(refuse(text, "it contains a null character").into());
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (dir, tag) = path_and_rest(text, rest)?;
            return Ok(ImageName::OciLayout { dir, tag });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, reference) = path_and_rest(text, rest)?;
            return Ok(ImageName::OciArchive { file, reference });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (file, reference) = path_and_rest(text, rest)?;
            return Ok(ImageName::DockerArchive { file, reference });
        }
        if let Some(rest) = text.strip_prefix("containers-storage:") {
            return Ok(ImageName::ContainersStorage(engine_name(text, rest)?));
        }
        if let Some(rest) = text.strip_prefix("docker-daemon:") {
            return Ok(ImageName::DockerDaemon(engine_name(text, rest)?));
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return Ok(ImageName::Registry(rest.parse::<Reference>()?));
        }
        if let Some(foreign) = FOREIGN.iter().find(|foreign| text.starts_with(**foreign)) {
            return Err(refuse(text, format!("`{foreign}` is not supported")).into());
        }
        if let Some(error) = bare_path(text) {
            return Err(error.into());
        }
        Ok(ImageName::Registry(text.parse::<Reference>()?))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, rest) = match self {
            ImageName::OciLayout { dir, tag } => ("oci", dir, tag),
            ImageName::OciArchive { file, reference } => ("oci-archive", file, reference),
            ImageName::DockerArchive { file, reference } => ("docker-archive", file, reference),
            ImageName::Registry(reference) => return write!(f, "docker://{reference}"),
            ImageName::ContainersStorage(name) => return write!(f, "containers-storage:{name}"),
            ImageName::DockerDaemon(name) => return write!(f, "docker-daemon:{name}"),
        };
        write!(f, "{prefix}:{}", path.display())?;
        rest.as_ref().map_or(Ok(()), |rest| write!(f, ":{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_as_podman_does() {
        for text in [
            "oci:dist/app",
            "oci:/x/app:1.2",
            "oci-archive:a.tar",
            "oci-archive:a.tar:localhost/app:1",
            "docker-archive:a.tar:docker.io/library/app:1",
            "docker://localhost:5000/app:1",
            "containers-storage:localhost/app:1",
            "docker-daemon:app:1",
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.to_string().parse::<ImageName>().unwrap(), name);
        }
        let bare: ImageName = "ubuntu:22.04".parse().unwrap();
        assert_eq!(bare.to_string(), "docker://docker.io/library/ubuntu:22.04");
        assert!(bare.is_remote() && bare.reference().is_some() && bare.path().is_none());
        let ImageName::OciArchive { file, reference } = "oci-archive:a.tar:x/y:1".parse().unwrap() else { panic!() };
        assert_eq!((file.to_str(), reference.as_deref()), (Some("a.tar"), Some("x/y:1")));
    }

    #[test]
    fn what_is_no_name_is_refused_with_advice() {
        for text in [
            "oci:",
            "oci::x",
            "oci:x:",
            "oci:x:-t",
            "oci:x:a b",
            "containers-storage:",
            "docker-daemon:--rm",
            "containers-storage:[overlay@/x]y",
            "dir:/tmp/x",
            "docker:x",
            "",
            "UPPER/app",
        ] {
            let error = text.parse::<ImageName>().unwrap_err();
            assert_eq!(error.class().code(), 2, "{text:?}: {error}");
            assert!(error.hint().is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_bare_path_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("oci-layout"), "{}").unwrap();
        let text = folder.path().to_str().unwrap();
        let error = text.parse::<ImageName>().unwrap_err();
        assert_eq!(error.hint().unwrap(), format!("did you mean `oci:{text}`?"));
        let error = "app.tar".parse::<ImageName>().unwrap_err();
        assert!(error.hint().unwrap().contains("`oci-archive:app.tar`"), "{:?}", error.hint());
        assert!("./x".parse::<ImageName>().is_err());
    }
}
