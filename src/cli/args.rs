//! The command line as it is typed. Parsing checks shapes; [`super::settings`] resolves what is left open.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::oci::Platform;
use crate::validate::{Profile, profiles};

/// Casts an application into an OCI image: no daemon, no Dockerfile, no root, no RUN.
#[derive(Debug, Parser)]
#[command(name = "ingot", version, max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How data is printed on stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    /// Print no progress and no messages, only data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more of what is done: a build shows its plan first
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Talk plain http to this registry (host or host:port); loopback registries need no such leave
    #[arg(long, global = true, value_name = "REGISTRY")]
    pub plain_http: Vec<String>,
    /// Read registry credentials from this file, as podman's --authfile
    #[arg(long, global = true, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// `hygiene`, `validate` and `stack check` only: for code hosts, beside the lines.
    Sarif,
    /// `hygiene`, `validate` and `stack check` only: for what shows the results of tests.
    Junit,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cast a project into one image per variant and platform
    Build(Build),
    /// Show what would be built, layer by layer, and why
    Plan(Plan),
    /// Write ingot.lock: the digests of bases, OS packages and wheels that every build then uses
    Lock(Lock),
    /// Check what would be packed: secrets, stray files, the lock; `build` does it first
    Hygiene(Hygiene),
    /// Check a finished image, whoever built it: integrity, hardening, whether it will start and link
    Validate(Validate),
    /// Run code that nobody trusts in a container that is locked down
    #[command(subcommand)]
    Sandbox(super::sandbox_args::Sandbox),
    /// Compose files: resolved, and held against the rules for hardened services
    Stack(super::stack_args::Stack),
    /// Send an image to a registry
    Push(Copy),
    /// Fetch an image from a registry
    Pull(Copy),
    /// Copy an image from anywhere to anywhere
    Copy(Copy),
    /// Show an image's digest, platform, configuration and layers
    Inspect(Look),
    /// Show which layer was made by what
    History(Look),
    /// List the files of an image
    Ls(Ls),
    /// Write an ingot.toml for the application in DIR
    Init(Init),
    /// Print a shell's completion script
    Completions(Completions),
    /// Check what this machine has that ingot can use
    Doctor(Doctor),
}

/// What selects and parametrises a build.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// The project's folder, with ingot.toml or pyproject.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// The variant to build, or `all`; the project's default otherwise
    #[arg(long, value_name = "NAME|all")]
    pub variant: Vec<String>,
    /// Platforms, separated by commas; several make an index. This machine's architecture otherwise
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// Set a build argument
    #[arg(long, value_name = "NAME=VALUE", value_parser = build_arg)]
    pub build_arg: Vec<(String, String)>,
    /// For a base of packages alone: the archive that its packages come from, instead of this machine's apt sources
    #[arg(long, value_name = "URL")]
    pub mirror: Option<url::Url>,
    /// The OpenPGP keys that sign that archive's index, instead of this machine's apt keys
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// How Ingot's own layers are compressed
    #[arg(long, value_enum, default_value_t = LayerCompression::Gzip, value_name = "KIND")]
    pub compression: LayerCompression,
}

/// How Ingot's own layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayerCompression {
    /// Read by everything.
    Gzip,
    /// Smaller; needs docker 23, containerd 1.5 or podman to run.
    Zstd,
}

/// `ingot build`.
#[derive(Debug, Args)]
pub struct Build {
    /// What to build.
    #[command(flatten)]
    pub selection: Selection,
    /// Name the image in every output and for --push
    #[arg(short, long, value_name = "REF")]
    pub tag: Vec<String>,
    /// Write to DEST: `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`, `docker://REF`, `containers-storage:REF`, `docker-daemon:REF`
    #[arg(short, long, value_name = "DEST")]
    pub output: Vec<String>,
    /// Push every tag to its registry
    #[arg(long)]
    pub push: bool,
    /// Use only what ingot.lock has, and fail if it is missing or stale
    #[arg(long)]
    pub locked: bool,
    /// Ignore the layer cache, read every file and make every layer anew
    #[arg(long)]
    pub clean: bool,
    /// Write the image even if it is over its budget (the image is labelled so)
    #[arg(long)]
    pub no_size_check: bool,
    /// Do not check what would be packed for secrets and stray files
    #[arg(long)]
    pub no_hygiene: bool,
    /// Hold each finished image against the rules of `ingot validate`, before it is written or pushed
    #[arg(long)]
    pub validate: bool,
    /// Write digest, descriptor, layers, sizes and timings of each image to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Show how long every stage and every layer took; with FILE, write that as a trace for Perfetto and its like, too
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub timings: Option<Option<PathBuf>>,
}

/// `ingot plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What to plan.
    #[command(flatten)]
    pub selection: Selection,
    /// Use only what ingot.lock has, and fail if it is missing or stale
    #[arg(long)]
    pub locked: bool,
}

/// `ingot lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// What to lock: all variants, if none is named.
    #[command(flatten)]
    pub selection: Selection,
    /// Write nothing, and fail if ingot.lock is missing or not what would be written
    #[arg(long)]
    pub check: bool,
}

/// `ingot hygiene`.
#[derive(Debug, Args)]
pub struct Hygiene {
    /// The project's folder, with ingot.toml or pyproject.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Look at this variant only; at all otherwise
    #[arg(long, value_name = "NAME|all")]
    pub variant: Vec<String>,
    /// Set a build argument
    #[arg(long, value_name = "NAME=VALUE", value_parser = build_arg)]
    pub build_arg: Vec<(String, String)>,
    /// Switch a rule off, by its id
    #[arg(long, value_name = "RULE")]
    pub skip: Vec<String>,
}

/// The places that `--target` knows.
fn places() -> PossibleValuesParser {
    let place = |profile: &'static Profile| PossibleValue::new(profile.name).help(profile.about);
    PossibleValuesParser::new(profiles().iter().map(place))
}

/// `ingot validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// The image: `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`, `containers-storage:REF`, `docker-daemon:REF`, or a reference
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Of an index, check the image for this platform only; all otherwise
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Switch a rule off, by its id
    #[arg(long, value_name = "RULE")]
    pub skip: Vec<String>,
    /// Where it will run, with that place's own limits
    #[arg(long, value_name = "PROFILE", value_parser = places())]
    pub target: Vec<String>,
    /// Do not run it: look at its files only
    #[arg(long = "static", conflicts_with_all = ["engine", "require_engine"])]
    pub only_static: bool,
    /// What to run it with: `auto` takes podman, or else docker
    #[arg(long, value_name = "auto|podman|docker", default_value = "auto")]
    pub engine: String,
    /// Fail if there is no engine; otherwise it is only told
    #[arg(long)]
    pub require_engine: bool,
    /// Take `[validate]`, `[gpu]` and `[budget]` from the project in this folder
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// The project's variant that the image is of; its default variant otherwise
    #[arg(long, value_name = "NAME", requires = "project")]
    pub variant: Option<String>,
    /// Show what each finding was concluded from
    #[arg(long)]
    pub detailed: bool,
}

/// `ingot push`, `ingot pull`, `ingot copy`.
#[derive(Debug, Args)]
pub struct Copy {
    /// The image: `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`, `containers-storage:REF`, `docker-daemon:REF`, or a reference
    #[arg(value_name = "SRC")]
    pub source: String,
    /// Where to
    #[arg(value_name = "DEST")]
    pub destination: String,
    /// Copy only the image for this platform, without the index
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
}

/// `ingot inspect`, `ingot history`.
#[derive(Debug, Args)]
pub struct Look {
    /// The image, from any source
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Which image of an index
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
}

/// `ingot ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Which image.
    #[command(flatten)]
    pub look: Look,
    /// Only this path and what is below it
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// Show mode, owner, size and link target
    #[arg(short, long)]
    pub long: bool,
}

/// `ingot init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The application's folder
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Print the file instead of writing it
    #[arg(long)]
    pub stdout: bool,
}

/// `ingot completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `ingot doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The project whose own index configuration is looked at, if there is one
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

fn build_arg(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() { Err("the name is empty".into()) } else { Ok((name.into(), value.into())) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_build_is_read_as_typed() {
        let typed =
            "ingot build app --variant all --platform linux/amd64,linux/arm64 --build-arg A=b=c -t x:1 -o oci:d";
        let Command::Build(build) = Cli::parse_from(typed.split(' ')).command else { panic!("not a build") };
        assert_eq!(build.selection.platform.len(), 2);
        assert_eq!(build.selection.build_arg, [("A".to_string(), "b=c".to_string())]);
        assert!(Cli::try_parse_from(["ingot", "build", "--build-arg", "A"]).is_err());
        assert!(Cli::try_parse_from(["ingot", "build", "--platform", "amd64"]).is_err());
    }
}
