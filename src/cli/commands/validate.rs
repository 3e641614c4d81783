//! `ingot validate`: a finished image, held against every rule.

use crate::check::{self, Policy, Report};
use crate::cli::args::{Format, Validate};
use crate::cli::settings::Session;
use crate::engine::Engine;
use crate::error::Result;
use crate::project::{Project, RulesSpec};
use crate::report::{self, check::CheckReport, sarif::Sarif};
use crate::validate::{Declared, Subject, rules, running, validate};

/// Runs the command.
pub fn run(args: &Validate, session: &Session) -> Result<()> {
    let project = args.project.as_ref().map(|folder| Project::load(folder)).transpose()?;
    let spec = project.as_ref().map_or_else(RulesSpec::default, |project| project.rules("validate"));
    let policy = Policy::new(rules(), &spec, &args.skip, "docs/validate.md")?;
    let access = session.access()?;
    let declared = Declared { targets: args.target.clone(), ..Declared::default() };
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
    match session.global.format {
        Format::Sarif => session.printer.raw((report::json(&Sarif::new(rules(), &report)) + "\n").as_bytes())?,
        Format::Junit => session.printer.raw(report::junit::junit("ingot validate", &report).as_bytes())?,
        Format::Text | Format::Json => {
            session.printer.data(&CheckReport::new(&report).detailed(args.detailed), CheckReport::text)?
        }
    }
    check::Error::refused(&report, check::VALIDATE, true).map_or(Ok(()), |error| Err(error.into()))
}

/// What runs the image; without one, that is told, unless it is required.
fn engine(args: &Validate, report: &mut Report) -> Result<Option<Engine>> {
    if args.only_static {
        return Ok(None);
    }
    let kind = match args.engine.as_str() {
        "auto" => None,
        name => Some(name.parse()?),
    };
    match Engine::detect(kind) {
        Ok(engine) => Ok(Some(engine)),
        Err(error) if args.require_engine || kind.is_some() => Err(error.into()),
        Err(error) => {
            report.notes.push(format!("not run: {error}"));
            Ok(None)
        }
    }
}
