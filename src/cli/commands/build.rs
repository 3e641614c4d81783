//! `ingot build`: plan, build, write to every destination, say what was made.

use std::sync::Arc;

use super::hygiene;
use crate::build::{self, Options};
use crate::cli::args::Build;
use crate::cli::destinations::{self, destinations, sinks};
use crate::cli::settings::{Session, locking, request};
use crate::cli::timings::Timings;
use crate::error::Result;
use crate::fs;
use crate::image::{Access, Artifact, Early, Receipt, Sink};
use crate::layer::BlobSource;
use crate::net::in_parallel;
use crate::plan::{self, Plan, Request};
use crate::report::metadata::{self, BuildReport};
use crate::report::plan::PlanReport;

/// Runs the command.
pub fn run(args: &Build, session: &Session) -> Result<()> {
    if args.clean { timed(args, &session.without_stamps()) } else { timed(args, session) }
}

fn timed(args: &Build, session: &Session) -> Result<()> {
    let Some(file) = &args.timings else { return build(args, session) };
    let (timings, progress) = Timings::of(&session.progress);
    build(args, &session.with(progress))?;
    if let Some(file) = file {
        timings.write(file)?;
    }
    timings.table().lines().for_each(|line| session.printer.message(line));
    Ok(())
}

fn build(args: &Build, session: &Session) -> Result<()> {
    destinations::check(args)?;
    let progress = &session.progress;
    let reading = progress.stage("read the project");
    let (project, request) = request(&args.selection, locking(args.locked), session)?;
    let access = session.access()?;
    drop(reading);
    let checking = progress.stage("hygiene");
    hygiene::gate(args, &project, &request, session)?;
    drop(checking);
    let planning = progress.stage("plan");
    let plan = plan::plan(&project, &Request { ahead: true, ..request }, &access)?;
    drop(planning);
    let variants = plan.variants();
    let places = destinations(args, &variants)?;
    say(&plan, &access, session)?;

    let sinks = sinks(&variants, &places, &access)?;
    let early = Early::new(sinks.clone());
    let options = Options { clean: args.clean, no_size_check: args.no_size_check };
    let blobs: Arc<dyn BlobSource> = Arc::new(build::blobs(&plan, &access.store));
    let report = early.during(&blobs, progress, || {
        let outcome = build::build(&plan, options, &access.store, progress, &early)?;
        for built in &outcome.images {
            for excess in &built.excesses {
                session.printer.message(&format!("warning: size check skipped: `{}` {excess}", built.variant));
            }
        }
        // Up to here no name has been written anywhere.
        let artifacts = outcome.artifacts()?;
        let wanted =
            artifacts.iter().zip(&places).flat_map(|(artifact, place)| place.outputs.iter().map(|_| &artifact.2));
        let work: Vec<(usize, (&Artifact, &Arc<dyn Sink>))> =
            wanted.zip(sinks.iter().map(|(_, sink)| sink)).enumerate().collect();
        let mut receipts = in_parallel(&work, work.len(), |(number, (artifact, sink))| {
            let _stage = progress.stage(&format!("write {}", sink.name()));
            early.settle(*number);
            sink.write(artifact, &outcome.blobs, progress)
        })?
        .into_iter();
        let by_variant: Vec<Vec<Receipt>> =
            places.iter().map(|place| receipts.by_ref().take(place.outputs.len()).collect()).collect();
        Ok(BuildReport::new(&plan, &outcome, &artifacts, by_variant))
    })?;
    if let Some(file) = &args.metadata_file {
        fs::write_atomic(file, metadata::file(&report).as_bytes())?;
    }
    session.printer.data(&report, metadata::lines)
}

/// What is known of a plan before it is carried out.
fn say(plan: &Plan, access: &Access, session: &Session) -> Result<()> {
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
    Ok(())
}
