//! What the services of a stack say, each line behind the name of its service.

use std::io::{self, IsTerminal, Write};

use super::printer::OutputError;
use super::settings::Error;
use super::stack_args::Logs;
use super::stacks::Stage;
use crate::engine::Service;
use crate::error::Result;
use crate::stack::Trouble;
use crate::text;

/// Prints the logs, to their end or, if they are followed, to that of the containers. A terminal gets nothing that it
/// would act on; a file or a pipe gets every byte.
pub fn show(stage: &Stage<'_>, args: &Logs) -> Result<()> {
    stage.known(&args.services, false)?;
    let engine = stage.engine()?;
    let chosen = |one: &Service| args.services.is_empty() || args.services.contains(&one.service);
    let containers: Vec<Service> = stage.containers(&engine)?.into_iter().filter(chosen).collect();
    if containers.is_empty() {
        let problem = format!("the stack `{}` is not up", stage.stack.name);
        return Err(Error::usage(problem, "start it: `ingot stack up`").into());
    }
    let ids: Vec<&str> = containers.iter().map(|one| one.id.as_str()).collect();
    let several = |one: &Service| containers.iter().filter(|other| other.service == one.service).count() > 1;
    let name = |one: &Service| if several(one) { one.name.clone() } else { one.service.clone() };
    let names: Vec<String> = containers.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut logs = engine.logs(&ids, args.tail, args.follow)?;
    let terminal = io::stdout().is_terminal();
    while let Some(line) = logs.wait() {
        let name = names.get(line.container).map_or("", String::as_str);
        let mut out = format!("{name:<width$} | ").into_bytes();
        match terminal {
            true => out.extend(text::escape(&String::from_utf8_lossy(&line.bytes)).bytes()),
            false => out.extend(&line.bytes),
        }
        out.push(b'\n');
        let mut to = io::stdout().lock();
        match to.write_all(&out).and_then(|()| to.flush()) {
            // `ingot stack logs | head`
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(OutputError)?,
        }
    }
    match logs.failed() {
        0 => Ok(()),
        count => Err(Trouble::NoLogs { engine: engine.kind(), count }.into()),
    }
}
