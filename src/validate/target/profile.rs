//! Places where images run, and what each of them takes, as far as it says so itself.

/// What becomes of an index of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// The place takes the image that it can run.
    Chooses,
    /// It is refused.
    Never,
}

/// One place.
pub struct Profile {
    /// What `--target` calls it.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Where its limits are written down.
    pub source: &'static str,
    /// The most layers.
    pub(super) layers: Option<usize>,
    /// The most bytes of all layers, unpacked.
    pub(super) size: Option<u64>,
    pub(super) index: Index,
    /// Whether it unpacks zstd.
    pub(super) zstd: bool,
    /// What it runs; any if there is none.
    pub(super) architectures: &'static [&'static str],
    /// Whether the user must be a number other than 0.
    pub(super) numeric_user: bool,
    /// Whether a working folder that is missing is made.
    pub(super) makes_folder: bool,
}

/// A place without limits of its own.
const ANY: Profile = Profile {
    name: "",
    about: "",
    source: "",
    layers: None,
    size: None,
    index: Index::Chooses,
    zstd: true,
    architectures: &[],
    numeric_user: false,
    makes_folder: true,
};

/// moby: layer/layer_store.go, `maxLayerDepth`.
const MOBY_LAYERS: Option<usize> = Some(125);

const PROFILES: &[Profile] = &[
    Profile {
        name: "cloud-run",
        about: "Google Cloud Run: linux/amd64, also from an index",
        source: "Cloud Run, container runtime contract",
        architectures: &["amd64"],
        ..ANY
    },
    Profile { name: "containerd", about: "containerd 1.5 and later", source: "containerd 1.5 release notes", ..ANY },
    Profile {
        name: "containerd14",
        about: "containerd up to 1.4: no zstd",
        source: "containerd 1.5 release notes",
        zstd: false,
        ..ANY
    },
    Profile {
        name: "docker20",
        about: "Docker Engine up to 20.10: 125 layers, no zstd",
        source: "moby's layer store; Docker Engine 23.0 release notes",
        layers: MOBY_LAYERS,
        zstd: false,
        ..ANY
    },
    Profile {
        name: "docker23",
        about: "Docker Engine 23.0 and later: 125 layers",
        source: "moby's layer store; Docker Engine 23.0 release notes",
        layers: MOBY_LAYERS,
        ..ANY
    },
    Profile {
        name: "kubernetes-restricted",
        about: "Kubernetes with the restricted pod security standard: a numeric user other than 0",
        source: "Kubernetes, pod security standards; kubelet's check of `runAsNonRoot`",
        numeric_user: true,
        ..ANY
    },
    Profile {
        name: "lambda",
        about: "AWS Lambda: 10 GB unpacked, linux on amd64 or arm64, no index",
        source: "AWS Lambda developer guide, quotas and requirements for container images",
        // "10 GB"; the larger reading, so that nothing is refused here that is taken there.
        size: Some(10 << 30),
        index: Index::Never,
        architectures: &["amd64", "arm64"],
        ..ANY
    },
    Profile {
        name: "podman",
        about: "podman: the working folder must be in the image",
        source: "podman, \"workdir does not exist on container\"",
        makes_folder: false,
        ..ANY
    },
    // A place with a limit that an image of a test can break.
    #[cfg(test)]
    Profile { name: "test", about: "", source: "", size: Some(1 << 10), ..ANY },
];

/// All places, sorted by name.
pub fn profiles() -> &'static [Profile] {
    PROFILES
}

/// The place of that name.
pub(super) fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}
