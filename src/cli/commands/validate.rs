//! `ingot validate`: a finished image, held against every rule.

use std::sync::Arc;

use super::hygiene::tell;
use crate::build::Outcome;
use crate::check::{self, Report};
use crate::cli::args::Validate;
use crate::cli::findings::print;
use crate::cli::settings::Session;
use crate::cli::validation::{declared, engine, policy, variant};
use crate::engine::Engine;
use crate::error::Result;
use crate::image::{Access, ImageName};
use crate::layer::BlobSource;
use crate::plan::Request;
use crate::project::Project;
use crate::validate::{Declared, Subject, rules, running, validate};

/// Runs the command.
pub fn run(args: &Validate, session: &Session) -> Result<()> {
    let project = args.project.as_ref().map(|folder| Project::load(folder)).transpose()?;
    let policy = policy(project.as_ref(), &args.skip)?;
    let access = session.access()?;
    let variant = project.as_ref().map(|project| variant(project, args.variant.as_ref(), session)).transpose()?;
    let declared = Declared { targets: args.target.clone(), ..declared(variant.as_ref()) };
    let subjects = Subject::open(&args.image.parse()?, args.platform.as_ref(), &declared, &access)?;
    let mut report = Report::default();
    let engine = engine(args, &mut report)?;
    for subject in &subjects {
        let mut found = validate(subject, &policy);
        if let (Some(engine), Some(image)) = (&engine, &subject.image) {
            found.extend(running::run(subject, image, engine, &access, &policy)?);
        }
        if subjects.len() > 1 {
            found.findings.iter_mut().for_each(|finding| finding.platform = Some(subject.platform.to_string()));
        }
        report.extend(found);
    }
    print(&report, "ingot validate", rules(), args.detailed, session)?;
    check::Error::refused(&report, check::VALIDATE, true).map_or(Ok(()), |error| Err(error.into()))
}

/// Refuses finished images that break rules; tells what should be looked at.
pub fn gate(project: &Project, request: &Request, outcome: &Outcome, access: &Access, session: &Session) -> Result<()> {
    let policy = policy(Some(project), &[])?;
    let engine = Engine::detect(None);
    let blobs: Arc<dyn BlobSource> = Arc::new(outcome.blobs.clone());
    let mut report = Report::default();
    for built in &outcome.images {
        let _stage = session.progress.stage(&format!("validate {}", built.variant));
        let declared = declared(Some(&project.variant(&built.variant, &request.args)?));
        let name = ImageName::OciLayout { dir: format!("{}-{}", built.name, built.variant).into(), tag: None };
        let subject = Subject::finished(&built.image, &name, &blobs, declared, access)?;
        let mut found = validate(&subject, &policy);
        match (&engine, &subject.image) {
            (Ok(engine), Some(image)) => found.extend(running::run(&subject, image, engine, access, &policy)?),
            (Err(error), _) => found.notes.push(format!("not run: {error}")),
            _ => {}
        }
        if outcome.images.len() > 1 {
            let whose = format!("{}, {}", built.variant, subject.platform);
            found.findings.iter_mut().for_each(|finding| finding.platform = Some(whose.clone()));
        }
        report.extend(found);
    }
    report.notes.iter().for_each(|note| session.printer.message(&format!("note: {note}")));
    tell(&report, "ingot validate", session);
    check::Error::refused(&report, check::VALIDATE, false).map_or(Ok(()), |error| Err(error.into()))
}
