//! The command line: arguments as typed ([`args`]), resolved ([`settings`]), one file per command, and all printing.

pub mod args;
mod commands;
mod destinations;
mod findings;
mod live;
mod printer;
mod progress;
pub mod sandbox_args;
mod sandboxes;
mod settings;
mod signals;
mod stack_args;
mod stack_checks;
mod stack_export;
mod stack_logs;
mod stack_view;
mod stacks;
mod timings;
mod validation;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Format};
use printer::Printer;
use settings::{Error, Session};

use crate::error::{Class, Result};

/// Runs the command and says how it ended.
pub fn main(args: Vec<OsString>) -> ExitCode {
    // Process 1 of a sandbox: no signal handler, no other thread, no command line.
    if args.get(1).is_some_and(|word| word == crate::sandbox::guard::WORD) {
        return guard();
    }
    signals::install();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, mistakes to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new(&cli.global);
    // Whatever panics is a defect of Ingot; what it said is on stderr already.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(cli, printer)));
    signals::wait_if_ending();
    let code = match ran {
        Err(_) => ExitCode::from(Class::Bug.code()),
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            printer.error(&error);
            ExitCode::from(error.class().code())
        }
    };
    // What a thread still has that nobody waited for.
    crate::fs::remove_temporaries();
    code
}

fn guard() -> ExitCode {
    use std::os::fd::AsFd;
    let pipes = (std::io::stdin().as_fd().try_clone_to_owned(), std::io::stdout().as_fd().try_clone_to_owned());
    let (Ok(input), Ok(output)) = pipes else { return ExitCode::from(125) };
    ExitCode::from(crate::sandbox::guard::run(input, output))
}

fn run(cli: Cli, printer: Printer) -> Result<ExitCode> {
    let session = Session::new(cli.global, printer);
    let checks = matches!(cli.command, Command::Hygiene(_) | Command::Validate(_) | Command::Stack(_));
    if matches!(session.global.format, Format::Sarif | Format::Junit) && !checks {
        let message = "only `ingot hygiene`, `ingot validate` and `ingot stack check` print SARIF and JUnit";
        return Err(Error::usage(message, "use `--format json`").into());
    }
    match cli.command {
        Command::Build(args) => commands::build::run(&args, &session)?,
        Command::Plan(args) => commands::plan::run(&args, &session)?,
        Command::Lock(args) => commands::lock::run(&args, &session)?,
        Command::Hygiene(args) => commands::hygiene::run(&args, &session)?,
        Command::Validate(args) => commands::validate::run(&args, &session)?,
        Command::Sandbox(command) => return Ok(commands::sandbox::run(&command, &session)),
        Command::Stack(args) => commands::stack::run(&args, &session)?,
        Command::Push(args) => commands::copy::push(&args, &session)?,
        Command::Pull(args) => commands::copy::pull(&args, &session)?,
        Command::Copy(args) => commands::copy::run(&args, &session)?,
        Command::Inspect(args) => commands::inspect::run(&args, &session)?,
        Command::History(args) => commands::history::run(&args, &session)?,
        Command::Ls(args) => commands::ls::run(&args, &session)?,
        Command::Init(args) => commands::init::run(&args, &session)?,
        Command::Completions(args) => commands::completions::run(&args, &session)?,
        Command::Doctor(args) => return commands::doctor::run(&args, &session),
    }
    Ok(ExitCode::SUCCESS)
}
