//! `ingot plan`: what would be built, layer by layer, hit or miss and why.

use crate::build;
use crate::cli::args::Plan;
use crate::cli::settings::{Session, locking, request};
use crate::error::Result;
use crate::image::Access;
use crate::plan;
use crate::report::node;
use crate::report::plan::PlanReport;

/// Runs the command.
pub fn run(args: &Plan, session: &Session) -> Result<()> {
    let (project, request) = request(&args.selection, locking(args.locked), session)?;
    let access = session.access()?;
    let plan = plan::plan(&project, &request, &access)?;
    let states = build::survey(&plan, &access.store, &session.progress)?;
    session.printer.data(&PlanReport::new(&plan, &states), PlanReport::text)
}

/// What is known of a plan before it is carried out.
pub fn say(plan: &plan::Plan, access: &Access, session: &Session) -> Result<()> {
    if session.global.verbose {
        let states = build::survey(plan, &access.store, &session.progress)?;
        PlanReport::new(plan, &states).text().lines().for_each(|line| session.printer.message(line));
        return Ok(());
    }
    for os in plan.images.iter().filter_map(|image| image.base.os.as_ref()) {
        for script in &os.report.not_run {
            let reason = script.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            session.printer.message(&format!("note: {} of {} was not run{reason}", script.script, script.package));
        }
    }
    for modules in plan.images.iter().filter_map(|image| image.node.as_ref()) {
        for (package, range) in &modules.other_nodes {
            session.printer.message(&format!("warning: {}", node::other_node(package, range)));
        }
        modules.scripts().iter().for_each(|package| {
            session.printer.message(&format!("note: {}", node::not_run(package)));
        });
    }
    Ok(())
}
