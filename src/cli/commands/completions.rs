//! `ingot completions`: a shell's completion script.

use clap::CommandFactory;

use crate::cli::args::{Cli, Completions};
use crate::cli::settings::Session;
use crate::error::Result;

/// Runs the command.
pub fn run(args: &Completions, session: &Session) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ingot", &mut script);
    session.printer.raw(&script)
}
