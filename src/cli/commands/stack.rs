//! `ingot stack`: Compose files, resolved and checked.

use crate::check::{self, Policy};
use crate::cli::findings::print;
use crate::cli::settings::Session;
use crate::cli::stack_args::{Action, Environment, Stack as Arguments};
use crate::error::Result;
use crate::project::RulesSpec;
use crate::stack::{Request, Stack, render, rules};

/// Runs the command.
pub fn run(args: &Arguments, session: &Session) -> Result<()> {
    let stack = Stack::load(&request(args))?;
    match &args.action {
        Action::Config => config(&stack, session),
        Action::Check { skip } => {
            let policy = Policy::new(rules(), &RulesSpec::default(), skip, "docs/stack.md")?;
            let report = crate::stack::check(&stack, &policy, args.env == Environment::Production);
            print(&report, "ingot stack check", rules(), false, session)?;
            check::Error::refused(&report, check::STACK, true).map_or(Ok(()), |error| Err(error.into()))
        }
    }
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
        environment: std::env::vars_os().filter_map(variable).collect(),
    }
}
