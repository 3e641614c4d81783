//! `ingot init`: an ingot.toml for the application in a folder.

use crate::cli::args::Init;
use crate::cli::settings::{Error, Session};
use crate::error::Result;
use crate::fs;
use crate::project::{self, FILE_NAME};

/// Runs the command.
pub fn run(args: &Init, session: &Session) -> Result<()> {
    let text = project::init::detect(&args.dir)?.to_toml();
    if args.stdout {
        return session.printer.raw(text.as_bytes());
    }
    let file = args.dir.join(FILE_NAME);
    if fs::exists(&file) {
        let problem = format!("`{}` is there already", file.display());
        return Err(Error::usage(problem, "remove it first, or look at the new one with --stdout").into());
    }
    fs::write_atomic(&file, text.as_bytes())?;
    session.printer.message(&format!("wrote {}: look it over, then run `ingot plan`", file.display()));
    session.printer.data(&file.display().to_string(), String::clone)
}
