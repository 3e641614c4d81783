//! Virtual environments: the Python that they stand for is there, and is the right one.

use crate::layer::{BaseKind, TreePath};
use crate::target::PythonVersion;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::python::{Environment, Pythons, Venv};
use crate::validate::subject::Subject;

const RULE: &str = "start-venv";

/// Looks at each.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    for environment in &pythons.environments {
        if let Some(venv) = &environment.venv {
            links(subject, environment, findings);
            home(subject, environment, venv, findings);
        }
    }
}

/// `bin/python`, `bin/python3`, `bin/python3.11`.
fn links(subject: &Subject, environment: &Environment, findings: &mut Findings<'_>) {
    let bin = format!("{}/bin", environment.place());
    let names = |name: &str| {
        let rest = name.strip_prefix("python");
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    let Some(folder) = subject.root.follow(&bin) else {
        return findings.add(Draft::new(RULE, environment.place(), "it has no folder `bin`"));
    };
    let mut found = false;
    for (path, entry) in subject.root.list(&folder) {
        if path.parent().as_ref() != Some(&folder) || !names(path.name()) {
            continue;
        }
        found = true;
        let target = match &entry.kind {
            BaseKind::Symlink(target) => target.as_str(),
            _ => "",
        };
        let Some(real) = subject.root.resolve(&path).filter(|real| subject.file(real).is_some()) else {
            let message = format!("it leads to `{}`, which is not in the image", brief(target));
            findings.add(Draft::new(RULE, format!("/{path}"), message));
            continue;
        };
        if let (Some(own), Some(version)) = (environment.version, version_of(&real))
            && !own.compatible(&version)
        {
            let message = format!("it leads to `/{real}`, the environment is for Python {}", own.short());
            findings.add(Draft::new(RULE, format!("/{path}"), message));
        }
    }
    if !found {
        findings.add(Draft::new(RULE, bin, "it has no Python"));
    }
}

/// `home` of pyvenv.cfg, where Python looks for its own library.
fn home(subject: &Subject, environment: &Environment, venv: &Venv, findings: &mut Findings<'_>) {
    let place = format!("{}/pyvenv.cfg", environment.place());
    let Some(home) = venv.home.as_deref() else {
        return findings.add(Draft::new(RULE, place, "it has no `home`: it is no virtual environment"));
    };
    let Some(folder) = subject.root.follow(home) else {
        let message = format!("`home = {}` is not in the image", brief(home));
        return findings.add(Draft::new(RULE, place, message));
    };
    let Some(version) = environment.version else { return };
    if venv.version.is_some_and(|written| !written.compatible(&version)) {
        let message = format!("its version is not that of its library, `{}`", version.name());
        return findings.add(Draft::new(RULE, place, message));
    }
    let names = [version.name(), "python3".into(), "python".into()];
    let there = names.iter().filter_map(|name| subject.root.resolve(&folder.join(name).ok()?)).collect::<Vec<_>>();
    if there.is_empty() {
        let message = format!("`home = {}` has no `{}`", brief(home), version.name());
        findings.add(Draft::new(RULE, place, message));
    } else if there.iter().filter_map(version_of).all(|found| !found.compatible(&version))
        && there.iter().any(|path| version_of(path).is_some())
    {
        let message = format!("`home = {}` has another Python than {}", brief(home), version.short());
        findings.add(Draft::new(RULE, place, message));
    }
}

/// 3.11 of `usr/bin/python3.11`.
fn version_of(path: &TreePath) -> Option<PythonVersion> {
    path.name().strip_prefix("python")?.parse().ok()
}
