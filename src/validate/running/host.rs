//! The image in the engine's own store: found there, or handed over and removed again.

use crate::engine::{Engine, HeldImage, Kind, KnownImage};
use crate::error::Result;
use crate::image::{Access, Artifact, BaseImage, ImageName, sink};

/// An image that the engine has for as long as this value lives.
pub(super) struct Guest<'a> {
    engine: &'a Engine,
    name: String,
    /// The tag that was made here.
    _made: Option<HeldImage>,
}

impl<'a> Guest<'a> {
    /// The image, handed over if the engine lacks it. Both engines know images by the digest of their configuration.
    pub fn new(image: &BaseImage, engine: &'a Engine, access: &Access) -> Result<Self> {
        let own = match (&image.name, engine.kind()) {
            (ImageName::ContainersStorage(name), Kind::Podman) | (ImageName::DockerDaemon(name), Kind::Docker) => {
                Some(name.clone())
            }
            _ => None,
        };
        let name = own.unwrap_or_else(|| image.manifest.config.digest.hex());
        if engine.known_image(&name)?.is_some() {
            return Ok(Guest { engine, name, _made: None });
        }
        let short = image.manifest.config.digest.short();
        let tag = format!("localhost/ingot-validate:{}", short.trim_start_matches("sha256:"));
        let place = match engine.kind() {
            Kind::Podman => ImageName::ContainersStorage(tag.clone()),
            Kind::Docker => ImageName::DockerDaemon(tag.clone()),
        };
        let guest = Guest { engine, _made: Some(HeldImage::new(engine, &tag)), name: tag };
        sink(&place, access, None)?.write(&Artifact::Image(image.to_image()), &*image.blobs, &access.progress)?;
        Ok(guest)
    }

    /// What the engine knows of it.
    pub fn image(&self) -> Result<KnownImage> {
        Ok(self.engine.known_image(&self.name)?.unwrap_or_default())
    }
}
