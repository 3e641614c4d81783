//! `ingot stack`: Compose files, resolved, checked, and run.

use crate::cli::settings::Session;
use crate::cli::stack_args::{Action, Environment, Stack as Arguments};
use crate::cli::stack_checks;
use crate::cli::stack_export;
use crate::cli::stack_logs;
use crate::cli::stacks::Stage;
use crate::engine::Kind;
use crate::error::Result;
use crate::report::json;
use crate::report::stack::{BuiltReport, StackReport};
use crate::stack::{Request, Stack, render};

/// Runs the command.
pub fn run(args: &Arguments, session: &Session) -> Result<()> {
    let stack = Stack::load(&request(args))?;
    let stage = |stack| Stage::new(stack, args, session);
    match &args.action {
        Action::Config { pinned: false } => config(&stack, session),
        Action::Config { pinned: true } => {
            let node = stage(stack)?.pinned()?;
            session.printer.data(&render::json(&node), |_| render::yaml(&node))
        }
        Action::Check(check) => stack_checks::run(check, &stack, &request(args), session),
        Action::Export(export) => {
            if args.env == Environment::Production {
                stack_checks::before_start(&stack, false, true)?;
            }
            stack_export::run(export, &stack, session)
        }
        Action::Build { services, casting } => {
            session.printer.data(&stage(stack)?.build(services, casting)?, BuiltReport::text)
        }
        Action::Up(up) => {
            stack_checks::before_start(&stack, up.no_check, args.env == Environment::Production)?;
            session.printer.data(&stage(stack)?.up(up)?, StackReport::text)
        }
        Action::Down { volumes } => stage(stack)?.down(*volumes),
        Action::Logs(logs) => stack_logs::show(&stage(stack)?, logs),
        Action::Restart(restart) => session.printer.data(&stage(stack)?.restart(restart)?, StackReport::text),
        Action::Health => {
            let health = stage(stack)?.health()?;
            session.printer.data(&health, json)?;
            health.trouble().map_or(Ok(()), |trouble| Err(trouble.into()))
        }
        Action::Ps => session.printer.data(&stage(stack)?.ps()?, StackReport::text),
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
        engine: match args.runner.engine.as_str() {
            "podman" => Some(Kind::Podman),
            "docker" => Some(Kind::Docker),
            _ => None,
        },
        environment: std::env::vars_os().filter_map(variable).collect(),
    }
}
