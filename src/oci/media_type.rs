//! Media types of both worlds (image-spec media-types.md, and Docker's schema 2).

use super::Error;

/// OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer, plain tar.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, plain tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, zstd: not specified, but written by BuildKit.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The manifests and indexes that Ingot asks registries for, best first.
pub const ACCEPT: [&str; 4] = [INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, one member or several.
    Gzip,
    /// zstd, one frame or several.
    Zstd,
}

impl Compression {
    /// What a layer's media type says. Foreign ("nondistributable") layers count as their ordinary kind.
    pub fn of_layer(media_type: &str) -> Result<Self, Error> {
        let plain = media_type.replace(".nondistributable", "").replace(".foreign", "");
        match plain.as_str() {
            LAYER_GZIP | DOCKER_LAYER_GZIP => Ok(Compression::Gzip),
            LAYER_ZSTD | DOCKER_LAYER_ZSTD => Ok(Compression::Zstd),
            LAYER | DOCKER_LAYER => Ok(Compression::None),
            _ => Err(Error::MediaType { what: "layer", media_type: media_type.to_string() }),
        }
    }

    /// The OCI media type of a layer that is compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => LAYER,
            Compression::Gzip => LAYER_GZIP,
            Compression::Zstd => LAYER_ZSTD,
        }
    }
}

/// The OCI type for a Docker one; any other stays as it is.
pub fn to_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_MANIFEST => MANIFEST,
        DOCKER_INDEX => INDEX,
        DOCKER_CONFIG => CONFIG,
        DOCKER_LAYER_GZIP => LAYER_GZIP,
        DOCKER_LAYER => LAYER,
        DOCKER_LAYER_ZSTD => LAYER_ZSTD,
        other => other,
    }
}
