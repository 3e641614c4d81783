//! `ingot hygiene`: what must not go into an image, before anything is built.

use crate::check::{self, Extent, Policy, Report, Severity};
use crate::cli::args::{Build, Hygiene};
use crate::cli::findings::print;
use crate::cli::settings::Session;
use crate::error::Result;
use crate::plan::{Request, selected};
use crate::project::{BuildArgs, Project, facts};

/// The most warnings that a build tells.
const TOLD: usize = 10;

/// Runs the command: every variant, unless some are named.
pub fn run(args: &Hygiene, session: &Session) -> Result<()> {
    let project = Project::load(&args.dir)?;
    let store = session.store()?;
    let (defaults, warning) = facts(&project.root, &store)?;
    if let Some(warning) = warning {
        session.progress.message(&format!("warning: {warning}"));
    }
    let values = BuildArgs { given: args.build_arg.iter().cloned().collect(), defaults };
    let all = vec!["all".to_string()];
    let names = selected(&project, if args.variant.is_empty() { &all } else { &args.variant })?;
    let policy = policy(&project, &args.skip)?;
    let variants = names.iter().map(|name| project.variant(name, &values)).collect::<Result<Vec<_>>>()?;
    let report = check::hygiene(&project, &variants, &policy, Extent::All, &store)?;
    print(&report, "ingot hygiene", check::rules(), false, session)?;
    check::Error::refused(&report, check::HYGIENE, true).map_or(Ok(()), |error| Err(error.into()))
}

/// Stops a build that would pack what must not be packed; tells the warnings.
pub fn gate(args: &Build, project: &Project, request: &Request, session: &Session) -> Result<()> {
    if args.no_hygiene {
        return Ok(());
    }
    let policy = policy(project, &[])?;
    let names = selected(project, &request.variants)?;
    let variants = names.iter().map(|name| project.variant(name, &request.args)).collect::<Result<Vec<_>>>()?;
    let report = check::hygiene(project, &variants, &policy, Extent::Build, &session.store()?)?;
    tell(&report, "ingot hygiene", session);
    check::Error::refused(&report, check::HYGIENE, false).map_or(Ok(()), |error| Err(error.into()))
}

fn policy(project: &Project, skip: &[String]) -> Result<Policy> {
    let spec = project.hygiene();
    let mut policy = Policy::new(check::rules(), &spec.rules, skip, "docs/hygiene.md")?;
    policy.large_file = spec.large_file;
    Ok(policy)
}

/// Tells the first warnings; `command` lists them all.
pub fn tell(report: &Report, command: &str, session: &Session) {
    let warnings = report.findings.iter().filter(|finding| finding.severity == Severity::Warning);
    for finding in warnings.clone().take(TOLD) {
        session.printer.message(&format!("warning: {}: {} [{}]", finding.place(), finding.told(), finding.rule));
    }
    let more = warnings.count().saturating_sub(TOLD);
    if more > 0 {
        session.printer.message(&format!("warning: and {more} more: `{command}` lists them"));
    }
}
