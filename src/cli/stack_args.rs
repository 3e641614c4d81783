//! `ingot stack` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `ingot stack`.
#[derive(Debug, Args)]
pub struct Stack {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
    /// A Compose file; more of them are laid over the first
    #[arg(short, long, global = true, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The project's folder, if it is not that of the first file
    #[arg(long, global = true, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
    /// Variables for the file; without it `.env` in the project's folder
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Take services of this profile, too
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Where it runs: `production` lays compose.production.yaml over the files and refuses development settings
    #[arg(long, global = true, value_name = "KIND", value_enum, default_value_t = Environment::Development)]
    pub env: Environment,
    /// Who runs it.
    #[command(flatten)]
    pub runner: Runner,
}

/// Who runs a stack.
#[derive(Debug, Args)]
pub struct Runner {
    /// Whose containers: `auto` takes the engine that runs the stack already, or podman, or docker
    #[arg(long, global = true, default_value = "auto", value_name = "ENGINE", value_parser = ["auto", "podman", "docker"])]
    pub engine: String,
    /// Who starts them: the first one that the engine has
    #[arg(long, global = true, default_value = "auto", value_name = "PROVIDER",
          value_parser = ["auto", "podman-compose", "podman compose", "docker compose", "docker-compose"])]
    pub provider: String,
}

/// What is done with a stack.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the stack as one resolved file
    Config {
        /// As a provider gets it: images by their content, what providers read in different ways in one way
        #[arg(long)]
        pinned: bool,
    },
    /// Hold the stack against the rules for hardened services
    Check(Check),
    /// Cast the images of the services that have a project (`x-ingot`), side by side
    Build {
        /// These services only
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// How.
        #[command(flatten)]
        casting: Casting,
    },
    /// Cast, load and start: each service when those that it waits for are well
    Up(Up),
    /// Remove the containers and networks; volumes, and the data in them, stay
    Down {
        /// Remove the named volumes, too, with all data in them
        #[arg(long)]
        volumes: bool,
    },
    /// List the services, with state, health and ports
    Ps,
    /// Show what the services say
    Logs(Logs),
    /// End services and start them again, in order
    Restart(Restart),
    /// Ask every service how it is; the answer is one JSON document
    Health,
    /// Write the stack as Kubernetes manifests
    Export(Export),
}

/// How images are cast.
#[derive(Debug, Args)]
pub struct Casting {
    /// Use only what each ingot.lock has, and fail if one is missing or stale
    #[arg(long)]
    pub locked: bool,
}

/// `ingot stack up`.
#[derive(Debug, Args)]
pub struct Up {
    /// These services, and those that they wait for
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How.
    #[command(flatten)]
    pub casting: Casting,
    /// How long each service may take until it is well; its health check's own time otherwise
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Start although `ingot stack check` finds errors, but for the engine's socket; not with --env production
    #[arg(long)]
    pub no_check: bool,
}

/// `ingot stack logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// These services only
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on with what comes, until Ctrl-C or the end of the services
    #[arg(short, long)]
    pub follow: bool,
    /// A Compose file; before `logs` it is `-f` as everywhere
    // The same as the option of all, but for the letter.
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Begin with so many of the last lines of each
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub tail: Option<u32>,
}

/// `ingot stack restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// These services only
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How long each service may take until it is well; its health check's own time otherwise
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// `ingot stack check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Switch a rule off, by its id
    #[arg(long, value_name = "RULE")]
    pub skip: Vec<String>,
    /// Harden the files: write what answers the findings into them, and show it as a diff
    #[arg(long)]
    pub fix: bool,
    /// Write also what depends on images that are not known; services may not start with it
    #[arg(long, requires = "fix")]
    pub fix_unknown: bool,
    /// Show what --fix would write, and write nothing
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
}

/// `ingot stack export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Manifests for Kubernetes
    #[arg(long, required = true)]
    pub kubernetes: bool,
    /// A file (.yaml, .json), or a folder that gets a file of each object; without it all goes to stdout
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// The namespace of all objects, which is made, too
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The reference that the image of a service was pushed under
    #[arg(long, value_name = "SERVICE=REF", value_parser = pair)]
    pub image: Vec<(String, String)>,
    /// What becomes of ports that are published on every address
    #[arg(long, value_name = "HOW", value_enum)]
    pub publish: Option<Publish>,
    /// How large volumes are that do not say it
    #[arg(long, value_name = "SIZE")]
    pub volume_size: Option<String>,
    /// Let go of what has no counterpart, by its key
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Let go of everything that has no counterpart
    #[arg(long)]
    pub lossy: bool,
}

/// What becomes of published ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Publish {
    /// They are reached inside the cluster only.
    None,
    /// A Service of type LoadBalancer.
    LoadBalancer,
    /// A Service of type NodePort.
    NodePort,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (service, reference) = text.split_once('=').ok_or("expected SERVICE=REFERENCE")?;
    Ok((service.into(), reference.into()))
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// On somebody's machine.
    Development,
    /// Where it matters.
    Production,
}
