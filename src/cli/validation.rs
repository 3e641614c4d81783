//! What `ingot validate` and `build --validate` take from the command line and the project.

use super::args::Validate;
use super::settings::Session;
use crate::check::{Policy, Report};
use crate::engine::Engine;
use crate::error::Result;
use crate::plan::selected;
use crate::project::{BuildArgs, Project, RulesSpec, Variant, facts};
use crate::validate::{Declared, rules};

/// The rules that are on.
pub fn policy(project: Option<&Project>, skip: &[String]) -> Result<Policy> {
    let spec = project.map_or_else(RulesSpec::default, |project| project.rules("validate"));
    Policy::new(rules(), &spec, skip, "docs/validate.md")
}

/// The variant that an image is held against.
pub fn variant(project: &Project, name: Option<&String>, session: &Session) -> Result<Variant> {
    let (defaults, _) = facts(&project.root, &session.store()?)?;
    let names = selected(project, &name.cloned().into_iter().collect::<Vec<_>>())?;
    let name = names.first().cloned().unwrap_or_default();
    project.variant(&name, &BuildArgs { given: Default::default(), defaults })
}

/// What the variant is for.
pub fn declared(variant: Option<&Variant>) -> Declared {
    let Some(variant) = variant else { return Declared::default() };
    Declared { budget: variant.budget.clone(), gpu: variant.gpu.clone(), ..Declared::default() }
}

/// What runs the image; without one, that is told, unless it is required.
pub fn engine(args: &Validate, report: &mut Report) -> Result<Option<Engine>> {
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
