//! `ingot stack check`: findings, and the files with what answers them.

use crate::check::{self, Report};
use crate::error::Result;
use crate::report::fix::FixReport;
use crate::stack::{ENGINE_SOCKET, Fixed, Request, Stack, fix, policy, rules};

use super::args::Format;
use super::findings::print;
use super::settings::Session;
use super::stack_args::Check;

/// The name of the command in reports.
const COMMAND: &str = "ingot stack check";

/// Runs the command. The exit code is that of the check after the fix.
pub fn run(args: &Check, stack: &Stack, request: &Request, session: &Session) -> Result<()> {
    let policy = policy(&args.skip)?;
    if !args.fix {
        let mut report = crate::stack::check(stack, &policy, request.production);
        report.notes.extend(unseen(stack));
        print(&report, COMMAND, rules(), false, session)?;
        return refused(&report);
    }
    let fixed = fix(request, &policy, args.fix_unknown)?;
    if let Some(note) = unseen(stack) {
        session.printer.message(&format!("note: {note}"));
    }
    if !args.dry_run {
        fixed.write()?;
    }
    match session.global.format {
        Format::Sarif | Format::Junit => print(&fixed.report, COMMAND, rules(), true, session)?,
        Format::Text | Format::Json => {
            session.printer.data(&FixReport::new(&fixed, !args.dry_run), FixReport::text)?;
        }
    }
    tell(&fixed, args.dry_run, session);
    refused(&fixed.report)
}

/// The services that no finding is about, because they are of other profiles.
fn unseen(stack: &Stack) -> Option<String> {
    let names: Vec<String> = stack.asleep.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty())
        .then(|| format!("not looked at, for other profiles: {} (--profile '*' takes all)", names.join(", ")))
}

/// Refuses a stack that must not be started. `lenient` lets everything pass, in development, but the engine's socket.
pub fn before_start(stack: &Stack, lenient: bool, production: bool) -> Result<()> {
    let mut report = crate::stack::check(stack, &policy(&[])?, production);
    if lenient && !production {
        report.findings.retain(|finding| finding.rule == ENGINE_SOCKET);
    }
    check::Error::refused(&report, check::STACK, false).map_or(Ok(()), |error| Err(error.into()))
}

fn tell(fixed: &Fixed, dry_run: bool, session: &Session) {
    for file in &fixed.files {
        let done = if dry_run { "would write" } else { "wrote" };
        session.printer.message(&format!("{done} {}", file.name));
    }
    for line in &fixed.advice {
        session.printer.message(&format!("note: {line}"));
    }
}

fn refused(report: &Report) -> Result<()> {
    check::Error::refused(report, check::STACK, true).map_or(Ok(()), |error| Err(error.into()))
}
