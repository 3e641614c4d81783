//! What installed distributions need of each other: `pip check` without pip.

use std::collections::{BTreeMap, BTreeSet};

use crate::python::{Dependency, marker_environment, shown};
use crate::target::{Libc, Target};
use crate::validate::findings::{Draft, Findings};
use crate::validate::python::{Distribution, Environment, Pythons};
use crate::validate::subject::Subject;

/// The most requirements of one distribution that are read. Seen: 400.
const REQUIREMENTS_LIMIT: usize = 10_000;
/// How often extras may lead to extras.
const ROUNDS_LIMIT: usize = 20;

/// Looks at each environment.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    for (folder, installed) in &pythons.installed {
        if matches!(folder.name(), "site-packages" | "dist-packages") {
            duplicates(installed, findings);
        }
    }
    for environment in &pythons.environments {
        unmet(subject, pythons, environment, findings);
    }
}

fn duplicates(installed: &[Distribution<'_>], findings: &mut Findings<'_>) {
    for pair in installed.windows(2) {
        let [one, other] = pair else { continue };
        // Debian's packages leave a link beside what it leads to.
        if one.name == other.name && one.version != other.version {
            let message =
                format!("{} is installed as {} and as {}", one.name, shown(&one.version), shown(&other.version));
            let draft = Draft::new("start-duplicate", format!("/{}", one.info), message);
            findings.add(draft.detail(format!("/{}", other.info)));
        }
    }
}

/// What distributions of the environment's own need and do not get.
fn unmet(subject: &Subject, pythons: &Pythons<'_>, environment: &Environment, findings: &mut Findings<'_>) {
    let Some(python) = environment.version else { return };
    // Markers do not ask for the C library.
    let target = Target { python, platform: subject.platform.clone(), libc: Libc::Glibc(2, 17) };
    let Ok(markers) = marker_environment(&target) else { return };
    let visible = pythons.visible(environment);
    let needs: BTreeMap<&str, Vec<Dependency>> =
        visible.iter().map(|(name, distribution)| (*name, dependencies(distribution))).collect();
    // Extras that are asked for by others: they have requirements of their own.
    let mut extras: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let none = BTreeSet::new();
    for _ in 0..ROUNDS_LIMIT {
        let mut more: Vec<(&str, &BTreeSet<String>)> = Vec::new();
        for (name, needs) in &needs {
            let own = extras.get(name).unwrap_or(&none);
            let applying = needs.iter().filter(|need| !need.extras.is_empty() && need.applies(&markers, own));
            more.extend(applying.map(|need| (need.name.as_str(), &need.extras)));
        }
        let before: usize = extras.values().map(BTreeSet::len).sum();
        for (name, asked) in more {
            if let Some((name, _)) = visible.get_key_value(name) {
                extras.entry(name).or_default().extend(asked.iter().cloned());
            }
        }
        if extras.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    for (name, distribution) in &visible {
        if !is_own(environment, distribution) {
            continue;
        }
        let own = extras.get(name).unwrap_or(&none);
        for need in needs.get(name).into_iter().flatten().filter(|need| need.applies(&markers, own)) {
            let found = visible.get(need.name.as_str()).map(|found| found.version.as_str());
            let problem = match found {
                None => "it is not installed".to_string(),
                Some(version) if !need.accepts(version) => format!("{} is installed", shown(version)),
                Some(_) => continue,
            };
            let message = format!("{} {} needs `{}`: {problem}", name, shown(&distribution.version), shown(&need.text));
            findings.add(Draft::new(rule(distribution), format!("/{}", distribution.info), message));
        }
    }
}

fn dependencies(distribution: &Distribution<'_>) -> Vec<Dependency> {
    let all = distribution.headers.all("Requires-Dist");
    all.into_iter().take(REQUIREMENTS_LIMIT).filter_map(Dependency::parse).collect()
}

/// What the system's package manager installs is told as its own.
fn rule(distribution: &Distribution<'_>) -> &'static str {
    let system = ["usr/lib/python3/dist-packages/", "usr/lib/python3."];
    let info = distribution.info.as_str();
    match system.iter().any(|folder| info.starts_with(folder)) {
        true => "start-system-requirement",
        false => "start-requirement",
    }
}

/// A virtual environment does not tell of what is installed for the Python below it; that one does.
fn is_own(environment: &Environment, distribution: &Distribution<'_>) -> bool {
    environment.venv.is_none() || distribution.info.as_str().starts_with(&format!("{}/", environment.prefix))
}
