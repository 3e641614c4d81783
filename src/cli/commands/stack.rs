//! `ingot stack`: Compose files, resolved, checked, and run.

use crate::cli::settings::Session;
use crate::cli::stack_args::{Action, Environment, Stack as Arguments};
use crate::cli::stack_checks;
use crate::error::Result;
use crate::stack::{Request, Stack, render};

/// Runs the command.
pub fn run(args: &Arguments, session: &Session) -> Result<()> {
    let stack = Stack::load(&request(args))?;
    let stage = |stack| Stage::new(stack, args, session);
    match &args.action {
        Action::Config => config(&stack, session),
        Action::Check(check) => stack_checks::run(check, &stack, &request(args), session),
    }
}

fn report(stack: &Stack, skip: &[String], environment: Environment) -> Result<Report> {
    let policy = Policy::new(rules(), &RulesSpec::default(), skip, "docs/stack.md")?;
    Ok(crate::stack::check(stack, &policy, environment == Environment::Production))
}

fn config(stack: &Stack, session: &Session) -> Result<()> {
    for (name, place) in &stack.unset {
        let place = format!("{}:{}", stack.file(*place), place.line);
        session.printer.message(&format!("warning: {place}: `{name}` has no value and becomes nothing"));
    }
    session.printer.data(&render::json(&stack.root), |_| render::yaml(&stack.root))
}

#[allow(clippy::disallowed_methods, reason = "Compose files are expanded with the environment")]
fn request(args: &Arguments) -> Request {
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Request {
        folder: args.project_directory.clone(),
        files: args.file.clone(),
        env_files: args.env_file.clone(),
        profiles: args.profile.clone(),
        production: args.env == Environment::Production,
        engine: None,
        environment: std::env::vars_os().filter_map(variable).collect(),
    }
}
