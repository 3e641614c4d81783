//! Findings of any check on stdout, in the format that was asked for.

use super::args::Format;
use super::settings::Session;
use crate::check::{Report, Rule};
use crate::error::Result;
use crate::report::{self, check::CheckReport, sarif::Sarif};

/// Prints a report of `command` ("ingot hygiene"), which has these rules; `detailed` with what findings rest on.
pub fn print(report: &Report, command: &str, rules: &'static [Rule], detailed: bool, session: &Session) -> Result<()> {
    let printer = &session.printer;
    match session.global.format {
        Format::Sarif => Ok(printer.raw((report::json(&Sarif::new(rules, report)) + "\n").as_bytes())?),
        Format::Junit => Ok(printer.raw(report::junit::junit(command, report).as_bytes())?),
        Format::Text | Format::Json => {
            Ok(printer.data(&CheckReport::new(report).detailed(detailed), CheckReport::text)?)
        }
    }
}
