//! `ingot build`: plan, build, write to every destination, say what was made.

use rayon::prelude::*;

use super::hygiene;
use crate::build::{self, Options};
use crate::cli::args::Build;
use crate::cli::destinations::{self, destinations};
use crate::cli::settings::{Session, locking, request};
use crate::error::Result;
use crate::fs;
use crate::image::{Receipt, sink};
use crate::plan;
use crate::report::metadata::{self, BuildReport};
use crate::report::plan::PlanReport;

/// Runs the command.
pub fn run(args: &Build, session: &Session) -> Result<()> {
    destinations::check(args)?;
    let (project, request) = request(&args.selection, locking(args.locked), session)?;
    let access = session.access()?;
    hygiene::gate(args, &project, &request, session)?;
    let plan = plan::plan(&project, &request, &access)?;
    let variants = plan.variants();
    let places = destinations(args, &variants)?;

    if session.global.verbose {
        let states = build::survey(&plan, &access.store, &session.progress)?;
        PlanReport::new(&plan, &states).text().lines().for_each(|line| session.printer.message(line));
    }
    for os in plan.images.iter().filter_map(|image| image.base.os.as_ref()).filter(|_| !session.global.verbose) {
        for script in &os.report.not_run {
            let reason = script.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            session.printer.message(&format!("note: {} of {} was not run{reason}", script.script, script.package));
        }
    }
    let options = Options { clean: args.clean, no_size_check: args.no_size_check };
    let outcome = build::build(&plan, options, &access.store, &session.progress)?;
    for built in &outcome.images {
        for excess in &built.excesses {
            session.printer.message(&format!("warning: size check skipped: `{}` {excess}", built.variant));
        }
    }

    let artifacts = outcome.artifacts()?;
    let mut work = Vec::new();
    for ((_, _, artifact), place) in artifacts.iter().zip(&places) {
        for output in &place.outputs {
            work.push((artifact, sink(output, &access, place.reference.as_ref())?));
        }
    }
    // Nothing has been written so far; every sink is ready.
    let receipts: Vec<Result<Receipt>> =
        work.par_iter().map(|(artifact, sink)| sink.write(artifact, &outcome.blobs, &session.progress)).collect();
    let mut receipts = receipts.into_iter().collect::<Result<Vec<_>>>()?.into_iter();
    let by_variant: Vec<Vec<Receipt>> =
        places.iter().map(|place| receipts.by_ref().take(place.outputs.len()).collect()).collect();

    let report = BuildReport::new(&plan, &outcome, &artifacts, by_variant);
    if let Some(file) = &args.metadata_file {
        fs::write_atomic(file, metadata::file(&report).as_bytes())?;
    }
    session.printer.data(&report, metadata::lines)
}
