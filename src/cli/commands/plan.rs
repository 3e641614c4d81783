//! `ingot plan`: what would be built, layer by layer, hit or miss and why.

use crate::build;
use crate::cli::args::Plan;
use crate::cli::settings::{Session, locking, request};
use crate::error::Result;
use crate::plan;
use crate::report::plan::PlanReport;

/// Runs the command.
pub fn run(args: &Plan, session: &Session) -> Result<()> {
    let (project, request) = request(&args.selection, locking(args.locked), session)?;
    let access = session.access()?;
    let plan = plan::plan(&project, &request, &access)?;
    let states = build::survey(&plan, &access.store, &session.progress)?;
    session.printer.data(&PlanReport::new(&plan, &states), PlanReport::text)
}
