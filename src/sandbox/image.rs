//! The image of a sandbox: one that an engine has, or one that is loaded into it once. Nothing is ever pulled.

use super::Error;
use crate::engine::{Engine, Kind, KnownImage};
use crate::error::{During, Result};
use crate::image::{Access, ImageName, Opened, Platforms, copy, open, sink};

/// The name of what was loaded for sandboxes; its tag is the manifest's digest.
const REPOSITORY: &str = "localhost/ingot-sandbox";

/// An image that is ready, and the engine that has it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Who runs it.
    pub engine: Engine,
    /// As it was named.
    pub name: String,
    /// What the engine knows of it.
    pub image: KnownImage,
}

/// What a name says about where the image is.
enum Where {
    /// In an engine's store, under a name; one of the two if it says so.
    Local(String, Option<Kind>),
    /// Somewhere else.
    Elsewhere(ImageName),
}

/// Finds the image, or loads it. `engine` is the one that was asked for.
pub fn prepare(name: &str, engine: Option<Kind>, access: &Access) -> Result<Prepared> {
    let place = place(name)?;
    let implied = match &place {
        Where::Local(_, kind) => engine.or(*kind),
        Where::Elsewhere(_) => engine,
    };
    let engine = Engine::detect(implied)?;
    let image = match place {
        Where::Local(local, kind) if kind.is_none_or(|kind| kind == engine.kind()) => {
            let missing = || Error::NoImage { engine: engine.kind().to_string(), name: name.into() };
            engine.known_image(&local)?.ok_or_else(missing)?
        }
        // The other engine has it.
        Where::Local(..) => load(&name.parse()?, &engine, access)?,
        Where::Elsewhere(image) => load(&image, &engine, access)?,
    };
    Ok(Prepared { engine, name: name.into(), image })
}

fn place(name: &str) -> Result<Where> {
    let digest = name
        .strip_prefix("sha256:")
        .is_some_and(|hex| (12..=64).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if digest {
        return Ok(Where::Local(name.into(), None));
    }
    Ok(match name.parse::<ImageName>()? {
        ImageName::ContainersStorage(local) => Where::Local(local, Some(Kind::Podman)),
        ImageName::DockerDaemon(local) => Where::Local(local, Some(Kind::Docker)),
        // A reference is what the engine calls it: `app:1` may be podman's `localhost/app:1`.
        ImageName::Registry(_) => Where::Local(name.trim_start_matches("docker://").into(), None),
        other => Where::Elsewhere(other),
    })
}

fn load(name: &ImageName, engine: &Engine, access: &Access) -> Result<KnownImage> {
    let loaded = || -> Result<KnownImage> {
        let opened = open(name, access)?;
        let base = opened.image(None)?;
        let (manifest, config) = (base.manifest_descriptor.digest, base.manifest.config.digest);
        let tag = format!("{REPOSITORY}:sha256-{}", manifest.hex());
        let is_it = |found: &KnownImage| {
            [config.hex(), manifest.hex()].contains(&found.id.trim_start_matches("sha256:").into())
        };
        if let Some(found) = engine.known_image(&tag)?.filter(is_it) {
            return Ok(found);
        }
        put(&opened, &tag, engine, access)?;
        let found = engine.known_image(&tag)?;
        match found {
            Some(found) if is_it(&found) => Ok(found),
            other => Err(Error::OtherImage {
                engine: engine.kind().to_string(),
                name: tag,
                expected: config.to_string(),
                found: other.map_or("nothing".into(), |found| found.id),
            }
            .into()),
        }
    };
    loaded().during(|| format!("loading `{name}` into {}", engine.kind()))
}

fn put(opened: &Opened, tag: &str, engine: &Engine, access: &Access) -> Result<()> {
    let target = match engine.kind() {
        Kind::Podman => ImageName::ContainersStorage(tag.into()),
        Kind::Docker => ImageName::DockerDaemon(tag.into()),
    };
    copy(opened, &Platforms::One(None), sink(&target, access, None)?.as_ref(), &access.progress).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_the_image_is() {
        let local = |name: &str| match place(name).unwrap() {
            Where::Local(local, kind) => (local, kind),
            Where::Elsewhere(image) => panic!("{image}"),
        };
        assert_eq!(local("app:1"), ("app:1".into(), None));
        assert_eq!(local("3e4b1206c40b"), ("3e4b1206c40b".into(), None));
        assert_eq!(local("sha256:3e4b1206c40b"), ("sha256:3e4b1206c40b".into(), None));
        assert_eq!(local("containers-storage:localhost/app:1"), ("localhost/app:1".into(), Some(Kind::Podman)));
        assert_eq!(local("docker-daemon:app"), ("app".into(), Some(Kind::Docker)));
        assert_eq!(local("docker://app:2"), ("app:2".into(), None));
        assert!(matches!(place("oci:dist/app").unwrap(), Where::Elsewhere(_)));
        assert!(place("./app").is_err() && place("--privileged").is_err());
    }
}
