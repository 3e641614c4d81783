//! Rules: what the image starts is there, can be executed and finds what it needs before its first line runs.

mod bytecode;
mod command;
mod person;
mod program;
mod requirements;
mod rules;
mod scripts;
mod service;
mod venv;

#[cfg(test)]
mod tests;

use super::findings::{Draft, Findings};
use super::python::Pythons;
use super::subject::Subject;

pub(super) use rules::RULES;

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    if subject.platform.os != "linux" || !subject.has_config {
        return;
    }
    let pythons = Pythons::of(subject);
    if pythons.too_many {
        let message = "it has more interpreters or environments of Python than are looked at";
        findings.add(Draft::new("start-limit", "/", message));
    }
    command::look(subject, &pythons, findings);
    venv::look(subject, &pythons, findings);
    scripts::look(subject, &pythons, findings);
    requirements::look(subject, &pythons, findings);
    bytecode::look(subject, &pythons, findings);
}
