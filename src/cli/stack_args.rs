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
    /// Show what --fix would write, and write nothing
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// On somebody's machine.
    Development,
    /// Where it matters.
    Production,
}
