//! Each package's scripts and triggers: what of them Ingot does, and what is left and why it could matter.

use std::collections::BTreeSet;

use super::accounts::Accounts;
use super::curated::{self, Verdict};
use super::reader::Reader;
use super::site::Site;
use super::{NotRun, Scripts, shell, sysusers};
use crate::error::Result;
use crate::layer::TreePath;
use crate::text;

/// The longest command line that is shown.
const SHOWN: usize = 100;

/// Reads the scripts of all packages, in their order.
pub(super) fn read(
    site: &mut Site<'_>,
    accounts: &mut Accounts,
    packages: &[Scripts<'_>],
    architecture: &str,
) -> Result<Vec<NotRun>> {
    let mut left = Vec::new();
    let mut triggered: BTreeSet<String> = packages.iter().flat_map(activated).collect();
    let mut declared: Vec<TreePath> = sysusers::files(site);
    for package in packages {
        let postinst = package.scripts.get("postinst").map(String::as_str).unwrap_or_default();
        for file in take_declared(&mut declared, postinst) {
            sysusers::apply(site, &file, accounts)?;
        }
        let verdict = curated::package(package.package);
        for name in ["preinst", "postinst"] {
            let Some(text) = package.scripts.get(name).filter(|_| verdict != Some(Verdict::Native)) else { continue };
            let found = script(site, accounts, package, name, text, architecture, &mut triggered)?;
            let matters = match (verdict, found) {
                (_, None) | (Some(Verdict::Done | Verdict::Native), _) => continue,
                (Some(Verdict::Missing(reason)), _) => reason.to_string(),
                (None, Some(found)) => found,
            };
            left.push(NotRun { package: package.package.into(), script: name.into(), matters: Some(matters) });
        }
    }
    for file in declared {
        sysusers::apply(site, &file, accounts)?;
    }
    for package in packages {
        left.extend(triggers(site, package, &triggered));
    }
    left.sort();
    left.dedup_by(|a, b| a.package == b.package && a.matters == b.matters);
    Ok(left)
}

/// What of one script is left, in words.
fn script(
    site: &mut Site<'_>,
    accounts: &mut Accounts,
    package: &Scripts<'_>,
    name: &str,
    text: &str,
    architecture: &str,
    triggered: &mut BTreeSet<String>,
) -> Result<Option<String>> {
    if let Some(language) = other_language(text) {
        return Ok(Some(format!("it is written for `{language}`")));
    }
    let Ok(parsed) = shell::parse(text) else {
        return Ok(Some("it is written in more of the shell's language than Ingot reads".into()));
    };
    let old = package.upgraded_from.unwrap_or_default();
    let arguments: &[&str] = match (name, package.upgraded_from) {
        ("preinst", None) => &["install"],
        ("preinst", Some(_)) => &["upgrade", old, package.version],
        _ => &["configure", old],
    };
    let mut reader = Reader::new(site, accounts, architecture, package.package, name, arguments);
    reader.read(parsed)?;
    triggered.extend(std::mem::take(&mut reader.triggered));
    Ok(in_words(&reader.left))
}

/// The program in the first line, if it is no shell.
fn other_language(text: &str) -> Option<String> {
    let line = text.lines().next()?.strip_prefix("#!")?.trim();
    let mut words = line.split_whitespace().filter_map(|word| word.rsplit('/').next());
    let program = words.find(|word| *word != "env")?;
    (!matches!(program, "sh" | "bash" | "dash")).then(|| shorten(program))
}

fn in_words(left: &[String]) -> Option<String> {
    let program = |line: &String| {
        let word = line.split_whitespace().find(|word| !word.contains('=') && *word != "exec" && *word != "command")?;
        word.trim_matches(['"', '\'']).rsplit('/').next().map(str::to_string)
    };
    // What is known to matter is said first.
    if let Some(reason) = left.iter().filter_map(program).find_map(|program| curated::reason(&program)) {
        return Some(reason.to_string());
    }
    let (first, others) = left.split_first()?;
    let more = match others.len() {
        0 => String::new(),
        1 => ", nor another command".into(),
        count => format!(", nor {count} other commands"),
    };
    Some(format!("`{}` was not run{more}", shorten(first)))
}

fn shorten(text: &str) -> String {
    let text = text::escape(text);
    if text.chars().count() > SHOWN { text.chars().take(SHOWN).chain("...".chars()).collect() } else { text }
}

/// The files of users that a script hands to systemd-sysusers; all, if it names none.
fn take_declared(declared: &mut Vec<TreePath>, postinst: &str) -> Vec<TreePath> {
    let mut taken = Vec::new();
    let calls = postinst.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    for line in calls.filter(|line| line.contains("systemd-sysusers") && !line.contains("command -v")) {
        let names: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'', ';']))
            .filter(|word| word.ends_with(".conf"))
            .filter_map(|word| word.rsplit('/').next())
            .collect();
        let (now, later): (Vec<_>, Vec<_>) =
            declared.drain(..).partition(|file| names.is_empty() || names.contains(&file.name()));
        taken.extend(now);
        *declared = later;
    }
    taken
}

/// The lines of a `triggers` file: directive and name.
fn directives<'a>(package: &Scripts<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lines = package.triggers.unwrap_or_default().lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    })
}

fn activated(package: &Scripts<'_>) -> Vec<String> {
    let names = directives(package).filter(|(directive, _)| directive.starts_with("activate"));
    names.map(|(_, name)| name.to_string()).collect()
}

/// Triggers that a package waits for, and that something has activated.
fn triggers(site: &Site<'_>, package: &Scripts<'_>, triggered: &BTreeSet<String>) -> Vec<NotRun> {
    if matches!(curated::package(package.package), Some(Verdict::Done | Verdict::Native)) {
        return Vec::new();
    }
    let mut left = Vec::new();
    for (directive, name) in directives(package) {
        let happened = if name.starts_with('/') { !site.root.list(name).is_empty() } else { triggered.contains(name) };
        if !directive.starts_with("interest") || !happened {
            continue;
        }
        let matters = match curated::trigger(name) {
            Some(Verdict::Done | Verdict::Native) => continue,
            Some(Verdict::Missing(reason)) => reason.to_string(),
            None => format!("the trigger `{}` was not processed", shorten(name)),
        };
        left.push(NotRun { package: package.package.into(), script: "triggers".into(), matters: Some(matters) });
    }
    left
}

#[cfg(test)]
#[path = "scripts_tests.rs"]
mod tests;
