//! `ingot stack` as it is typed.

use std::path::PathBuf;

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
}

/// What is done with a stack.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the stack as one resolved file
    Config,
    /// Hold the stack against the rules for hardened services
    Check {
        /// Switch a rule off, by its id
        #[arg(long, value_name = "RULE")]
        skip: Vec<String>,
    },
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// On somebody's machine.
    Development,
    /// Where it matters.
    Production,
}
