//! Where a sandbox runs: which engine, which image, and what happens if there is none.

use std::io::Read;
use std::path::Path;

use crate::engine;
use crate::error::Result;
use crate::fs;
use crate::net::Socket;
use crate::oci::Digest;
use crate::process;
use crate::sandbox::service::{Service, Settings};
use crate::sandbox::{self, Mode, Runner};

use super::sandbox_args::{Serve, Within};
use super::settings::{Error, Session};
use super::signals;

/// The most bytes of a program on stdin.
const STDIN_LIMIT: u64 = 16 << 20;

/// The runner that the options mean. Without an engine there is one only where somebody asked for it by name, and never
/// in production.
pub fn runner(within: &Within, unsafe_subprocess: bool, label: &str, session: &Session) -> Result<Runner> {
    let kind = (within.engine != "auto").then(|| within.engine.parse()).transpose()?;
    let store = session.store()?;
    let mode = sandbox::mode();
    if mode == Mode::Production && unsafe_subprocess {
        return Err(sandbox::Error::Production { why: "`--unsafe-subprocess` is not allowed".into() }.into());
    }
    let prepared = match &within.image {
        Some(image) => sandbox::prepare(image, kind, &session.access()?),
        None => Err(Error::usage("there is no image to run in", "name one with --image").into()),
    };
    match prepared {
        Ok(prepared) => Runner::contained(prepared, &store, label),
        Err(error) if unsafe_subprocess && (within.image.is_none() || no_engine(&error)) => {
            let warning = "warning: --unsafe-subprocess: this code can see and change what you can";
            session.printer.error_line(warning);
            Ok(Runner::uncontained(&store))
        }
        Err(error) if mode == Mode::Production && no_engine(&error) => {
            Err(sandbox::Error::Production { why: error.to_string() }.into())
        }
        Err(error) => Err(error),
    }
}

fn no_engine(error: &crate::error::Error) -> bool {
    error.cause().downcast_ref::<engine::Error>().is_some()
}

/// A program from stdin.
pub fn stdin() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(STDIN_LIMIT + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 <= STDIN_LIMIT => Ok(text),
        Ok(_) => Err(Error::usage("the program on stdin is larger than 16 MiB", "put it into a folder").into()),
        Err(error) => Err(Error::usage(format!("the program on stdin cannot be read: {error}"), "is it UTF-8?").into()),
    }
}

/// Serves until the process ends.
pub fn serve(args: &Serve, session: &Session) -> Result<u8> {
    if args.detached {
        process::leave_session();
    }
    let socket = if args.shared { Socket::bind_shared(&args.socket)? } else { Socket::bind(&args.socket)? };
    let runner = runner(&args.within, false, &label(&args.socket), session)?;
    let settings = Settings {
        ceilings: args.ceilings.limits(),
        max_sessions: args.max_sessions,
        queue: args.queue,
        allow_weak: args.within.allow_weak,
        label: label(&args.socket),
    };
    let service = Service::new(runner, settings)?;
    for weak in service.limits().iter().filter(|check| !check.holds) {
        session.printer.error_line(&format!("warning: not in force: {}: {}", weak.name, weak.found));
    }
    let ending = service.clone();
    signals::at_end(move || ending.stop());
    session.printer.message(&format!("sandbox: {} at once, on {}", args.max_sessions, args.socket.display()));
    service.serve(socket).map(|()| 0)
}

/// What the containers of a service are labelled with: another service with the same socket is the same one later.
fn label(socket: &Path) -> String {
    let folder = socket.parent().map(fs::canonical).unwrap_or_default();
    let name = folder.join(socket.file_name().unwrap_or_default());
    format!("serve-{}", Digest::of(name.as_os_str().as_encoded_bytes()).short())
}
