//! One variant of a project, complete and typed: what a plan is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::place::{Located, Place};
use super::rule::Port;
pub use crate::debian::Upgrade;
use crate::oci::Epoch;
use crate::python::PythonVersion;
use crate::python::bytecode::BytecodeMode;

/// A variant with every override merged, every `${NAME}` expanded and every default filled in.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name in `[variants]`.
    pub name: String,
    /// Where its name is in the file: for errors about the variant as a whole.
    pub at: Place,
    /// `[image]`.
    pub image: ImageSpec,
    /// What the image is built on, as it is written: a reference, `oci:DIR`, `debian:12/packages`.
    pub base: Located<String>,
    /// `[python]`.
    pub python: Option<PythonSpec>,
    /// `[node]`.
    pub node: Option<NodeSpec>,
    /// `[os]`.
    pub os: OsSpec,
    /// `[app]`.
    pub app: Option<AppSpec>,
    /// `[user]`.
    pub user: UserSpec,
    /// `[env]`.
    pub env: BTreeMap<String, String>,
    /// `[healthcheck]`.
    pub healthcheck: Option<Healthcheck>,
    /// `[budget]`.
    pub budget: Budget,
    /// `[gpu]`.
    pub gpu: Option<GpuSpec>,
    /// The time of the build: SOURCE_DATE_EPOCH, else the commit's, else 1980. `--build-arg BUILD_DATE` does not change it.
    pub epoch: Epoch,
    /// The build arguments as they were resolved, for labels and explanations.
    pub args: BTreeMap<String, String>,
}

/// `[image]`.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// The repository part of the reference.
    pub name: String,
    /// The project's own labels.
    pub labels: BTreeMap<String, String>,
}

/// `[python]`.
#[derive(Clone, Debug)]
pub struct PythonSpec {
    /// What the base or `[os]` must provide.
    pub version: Located<PythonVersion>,
    /// The lock file, joined to the project's folder; it is there.
    pub lock: Option<Located<PathBuf>>,
    /// An absolute path in the image.
    pub venv: Located<String>,
    /// The dependencies' bytecode.
    pub bytecode: BytecodeMode,
}

/// `[node]`.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Where the table is.
    pub at: Place,
    /// The lock file, joined to the project's folder; it is there.
    pub lock: Located<PathBuf>,
    /// The package.json, joined to the project's folder; it is there.
    pub package: Located<PathBuf>,
    /// An absolute path in the image that ends in `node_modules`.
    pub modules: Located<String>,
}

/// `[os]`.
#[derive(Clone, Debug, Default)]
pub struct OsSpec {
    /// Package names, some with `=VERSION`.
    pub packages: Vec<Located<String>>,
    /// What to upgrade.
    pub upgrade: Upgrade,
    /// Whether what packages recommend is installed.
    pub recommends: bool,
    /// What is not left out of packages: "docs", "locale:de".
    pub keep: Vec<String>,
    /// The archive of a base of packages.
    pub mirror: Option<Located<String>>,
    /// The keys of that archive, joined to the project's folder; it is there.
    pub keyring: Option<Located<PathBuf>>,
}

/// `[app]`.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The folder, joined to the project's; it is there.
    pub source: Located<PathBuf>,
    /// An absolute path in the image, the working directory.
    pub target: Located<String>,
    /// The application's bytecode.
    pub bytecode: BytecodeMode,
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// Sorted.
    pub expose: Vec<Port>,
    /// Variables that must have these values at the start.
    pub require_env: BTreeMap<String, String>,
    /// Absolute paths in the image.
    pub writable: Vec<Located<String>>,
}

/// `[user]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The user's name.
    pub name: String,
    /// The group's name: the same.
    pub group: String,
    /// 1 to 2^31-1.
    pub uid: u32,
    /// 1 to 2^31-1.
    pub gid: u32,
}

/// `[healthcheck]`. Durations in nanoseconds, as docker's configuration has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// Between two checks.
    pub interval: u64,
    /// Of one check.
    pub timeout: u64,
    /// After the start, when failures do not count.
    pub start_period: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// `[budget]`. Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// All layers as they are pushed.
    pub compressed: Option<u64>,
    /// All layers unpacked.
    pub uncompressed: Option<u64>,
    /// The largest layer, compressed.
    pub layer: Option<u64>,
    /// The number of layers.
    pub layers: Option<u32>,
}

/// `[gpu]`: on which GPUs the image will run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuSpec {
    /// Architectures as numbers, sorted: 80 for `sm_80`.
    pub arch: Vec<u32>,
    /// The major and minor number of the hosts' driver.
    pub driver: Option<(u32, u32)>,
}
