//! `ingot sandbox`: code that nobody trusts, in a container that is locked down.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::live::Live;
use crate::cli::sandbox_args::{Check, Run, Sandbox, environment};
use crate::cli::sandboxes::{runner, serve, stdin};
use crate::cli::settings::{Error, Session};
use crate::error::Result;
use crate::report::sandbox::{SandboxCheck, summary};
use crate::sandbox::{Cancel, Code, Folder, Input, Kept, Request, RunFailure, RunResult};

/// The exit code of a sandbox that failed.
const FAILED: u8 = 125;

/// Runs the command. Whatever fails has exit code 125: the others are the program's.
pub fn run(command: &Sandbox, session: &Session) -> ExitCode {
    let ran = match command {
        Sandbox::Run(args) => once(args, session),
        Sandbox::Check(args) => check(args, session),
        Sandbox::Serve(args) => serve(args, session),
    };
    ExitCode::from(ran.unwrap_or_else(|error| {
        if session.printer.json() {
            let _ = session.printer.data(&RunFailure::new(&error), |_| String::new());
        }
        session.printer.error(&error);
        FAILED
    }))
}

fn once(args: &Run, session: &Session) -> Result<u8> {
    let runner = runner(&args.within, args.unsafe_subprocess, "run", session)?;
    let limits = args.ceilings.limits();
    let private = runner.temporary()?;
    let code = match args.code.as_path() {
        path if path == Path::new("-") => Code::take(&Input::Text(&stdin()?), private)?,
        path if path.is_dir() => Code::take(&Input::Folder(path), private)?,
        path => Code::take(&Input::File(path), private)?,
    };
    let mut folder = args.output.as_deref().map(Folder::open).transpose()?;
    let request = Request {
        args: args.args.clone(),
        env: environment(&args.env),
        interpreter: args.interpreter.clone(),
        output: folder.is_some(),
        // There is nothing that could be in force.
        allow_weak: args.within.allow_weak || runner.prepared().is_none(),
        ..Request::new(Some(code), limits)
    };
    let (mut kept, mut live) = (Kept::default(), Live::new());
    let mut outcome = runner.run(&request, &Cancel::default(), &mut |event| {
        if session.printer.json() {
            kept.take(&event)
        } else {
            live.pass(&event)?
        }
        Ok(folder.as_mut().map_or(Ok(()), |folder| folder.take(&event))?)
    })?;
    if let Some(folder) = folder {
        folder.correct(&mut outcome);
    }
    live.end()?;
    let code = outcome.code();
    let result = RunResult::new(outcome, kept);
    if session.printer.json() {
        session.printer.data(&result, |_| String::new())?;
    }
    let output = args.output.as_deref().map(|folder| folder.display().to_string());
    summary(&result, output.as_deref()).iter().for_each(|line| session.printer.message(line));
    Ok(code)
}

fn check(args: &Check, session: &Session) -> Result<u8> {
    let runner = runner(&args.within, false, "check", session)?;
    let request = Request { allow_weak: true, ..Request::new(None, args.ceilings.limits()) };
    let outcome = runner.run(&request, &Cancel::default(), &mut |_| Ok(()))?;
    let prepared = runner.prepared().ok_or_else(|| Error::usage("there is no engine", "install podman"))?;
    let report = SandboxCheck::new(prepared, outcome.checks);
    session.printer.data(&report, SandboxCheck::text)?;
    Ok(if report.sound || args.within.allow_weak { 0 } else { FAILED })
}
