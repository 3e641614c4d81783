//! The `ingot` command: parse, dispatch, render the error, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ingot::cli::main(std::env::args_os().collect())
}
