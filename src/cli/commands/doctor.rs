//! `ingot doctor`: what this machine has that ingot can use.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::args::Doctor;
use crate::cli::settings::Session;
use crate::debian::Sources;
use crate::engine::{Engine, Kind, Provider};
use crate::error::{Class, Result};
use crate::net::redacted;
use crate::node::Registries;
use crate::oci::Platform;
use crate::python::{Indexes, PythonVersion, Search};
use crate::report::doctor::{Check, DoctorReport, State};

/// The Python versions that are looked for.
const PYTHONS: [PythonVersion; 5] = [
    PythonVersion::new(3, 10),
    PythonVersion::new(3, 11),
    PythonVersion::new(3, 12),
    PythonVersion::new(3, 13),
    PythonVersion::new(3, 14),
];

/// Runs the command: exit code 0, or that of storage if there is no store.
pub fn run(args: &Doctor, session: &Session) -> Result<ExitCode> {
    let mut checks = vec![Check::new("platform", State::Good, Platform::host().to_string())];
    let store = session.store();
    let usable = store.is_ok();
    checks.push(match &store {
        Ok(store) => Check::new("store", State::Good, store.root().display().to_string()),
        Err(error) => Check::new("store", State::Bad, error.to_string()),
    });
    for version in PYTHONS {
        let name = format!("python {}", version.short());
        checks.push(match Search::from_environment().find(version) {
            Ok(found) => Check::new(&name, State::Good, format!("{} ({})", found.label(), found.version())),
            Err(_) => Check::new(&name, State::Missing, "not here: a base's own interpreter is used where it can run"),
        });
    }
    checks.push(match indexes(&args.dir) {
        Ok(found) => Check::new("package index", State::Good, found.join(", ")),
        Err(error) => Check::new("package index", State::Missing, error.to_string()),
    });
    checks.push(match registries(&args.dir) {
        Ok(found) => Check::new("npm registry", State::Good, found.join(", ")),
        Err(error) => Check::new("npm registry", State::Missing, error.to_string()),
    });
    checks.push(match archives() {
        Ok(found) if found.is_empty() => Check::new("apt", State::Missing, "no source is configured"),
        Ok(found) => Check::new("apt", State::Good, found.join(", ")),
        Err(error) => Check::new("apt", State::Missing, error.to_string()),
    });
    for kind in [Kind::Podman, Kind::Docker] {
        checks.push(match Engine::detect(Some(kind)) {
            Ok(engine) => Check::new(kind.program(), State::Good, engine.version().to_string()),
            Err(error) => Check::new(kind.program(), State::Missing, error.to_string()),
        });
    }
    for (kind, found) in Provider::all() {
        checks.push(match found {
            Ok(version) => Check::new(kind.name(), State::Good, version),
            Err(reason) => Check::new(kind.name(), State::Missing, reason),
        });
    }
    session.printer.data(&DoctorReport { checks }, DoctorReport::text)?;
    Ok(ExitCode::from(if usable { 0 } else { Class::Storage.code() }))
}

/// The suites of this machine's apt, from which bases of packages are made.
fn archives() -> Result<Vec<String>> {
    let mut suites: Vec<String> = Sources::of_machine()?.sources.into_iter().map(|source| source.suite).collect();
    suites.sort();
    suites.dedup();
    Ok(suites)
}

fn indexes(dir: &Path) -> Result<Vec<String>> {
    let locations = Indexes::of_this_machine(dir)?.locations()?;
    Ok(locations.iter().map(|location| location.url.to_string()).collect())
}

/// The registry of npm, and those of scopes. What logs in there is nobody's business.
fn registries(dir: &Path) -> Result<Vec<String>> {
    let found = Registries::of_this_machine(dir)?;
    let scopes = found.scopes.iter().map(|(scope, url)| format!("{scope}: {}", redacted(url)));
    Ok(std::iter::once(redacted(&found.for_all()?)).chain(scopes).collect())
}
