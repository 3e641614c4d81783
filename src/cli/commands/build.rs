//! `ingot build`: plan, build, write to every destination, say what was made.

use std::sync::Arc;

use super::{hygiene, plan as planned, validate};
use crate::build::{self, Options};
use crate::cli::args::Build;
use crate::cli::destinations::{self, Gate, destinations, sinks};
use crate::cli::settings::{Session, locking, request};
use crate::cli::timings::Timings;
use crate::error::Result;
use crate::fs;
use crate::image::{Artifact, Early, Receipt, Sink};
use crate::layer::{self, BlobSource};
use crate::net::in_parallel;
use crate::plan::{self, Request};
use crate::report::metadata::{self, BuildReport};

/// Runs the command; once more if something in the store was damaged, which is gone now.
pub fn run(args: &Build, session: &Session) -> Result<()> {
    let session = if args.clean { session.without_stamps() } else { session.with(session.progress.clone()) };
    match timed(args, &session) {
        Err(error) if matches!(error.cause().downcast_ref(), Some(layer::Error::Rotten { .. })) => {
            session
                .progress
                .message(&format!("warning: {}: it was removed, and is made or fetched anew", error.cause()));
            timed(args, &session)
        }
        done => done,
    }
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
    let request = Request { ahead: true, ..request };
    let plan = plan::plan(&project, &request, &access)?;
    drop(planning);
    let variants = plan.variants();
    let places = destinations(args, &variants)?;
    planned::say(&plan, &access, session)?;

    let sinks = sinks(&variants, &places, &access)?;
    let early = Early::new(sinks.clone());
    let options = Options { clean: args.clean, no_size_check: args.no_size_check };
    let blobs: Arc<dyn BlobSource> = Arc::new(build::blobs(&plan, &access.store));
    let report = early.during(&blobs, progress, || {
        let gate = Gate { early: &early, closed: args.validate };
        let outcome = build::build(&plan, options, &access.store, progress, &gate)?;
        for built in &outcome.images {
            for excess in &built.excesses {
                session.printer.message(&format!("warning: size check skipped: `{}` {excess}", built.variant));
            }
        }
        if args.validate {
            validate::gate(&project, &request, &outcome, &access, session)?;
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
