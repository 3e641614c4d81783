//! The command line: arguments as typed, one file per command, and all printing.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command and says how it ended.
pub fn main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::from(2)
}
