//! The commands of Python packages: what their first lines name is there.

use std::collections::BTreeMap;

use super::program::{Script, script};
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::python::Pythons;
use crate::validate::subject::Subject;

/// How many scripts a finding names.
const NAMED: usize = 20;

/// Looks at the folders `bin` of all environments but the system's own.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    let folders = pythons.environments.iter().filter(|one| one.venv.is_some() || one.prefix == "usr/local");
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in folders.filter_map(|one| subject.root.follow(&format!("{}/bin", one.place()))) {
        for (path, _) in subject.root.list(&folder) {
            let Some(fact) = subject.file(&path).filter(|_| path.parent().as_ref() == Some(&folder)) else { continue };
            let interpreter = match script(&fact.content.head) {
                Script::Interpreter(interpreter, _) => interpreter,
                Script::LineEnd => "\r".into(),
                Script::None => continue,
            };
            let there = subject.root.follow(&interpreter).is_some_and(|real| subject.file(&real).is_some());
            // `#!/bin/sh` at the beginning of a script that finds Python by itself.
            if !there {
                missing.entry(interpreter).or_default().push(format!("/{path}"));
            }
        }
    }
    for (interpreter, scripts) in missing {
        let count = scripts.len();
        let many = if count == 1 { "one command begins".to_string() } else { format!("{count} commands begin") };
        let message = match interpreter.as_str() {
            "\r" => format!("{many} with a line that ends with a carriage return"),
            _ => format!("{many} with `#!{}`, which is not in the image", brief(&interpreter)),
        };
        let draft = Draft::new("start-script", scripts.first().cloned().unwrap_or_default(), message);
        findings.add(scripts.into_iter().take(NAMED).fold(draft, Draft::detail));
    }
}
