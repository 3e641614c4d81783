//! The accounts of the image.

use std::collections::BTreeMap;

use super::user::rows;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::subject::Subject;

/// The most names in a message.
const NAMED: usize = 10;

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    for file in ["etc/passwd", "etc/shadow"] {
        let text = subject.text(file).unwrap_or_default();
        let open = text.lines().filter(|line| !line.starts_with(['#', '+', '-'])).filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            (fields.next()?.is_empty() && fields.next().is_some()).then_some(name)
        });
        let open: Vec<&str> = open.collect();
        if !open.is_empty() {
            let message = format!("no password is needed for {}", listed(&open));
            findings.add(Draft::new("password-empty", format!("/{file}"), message));
        }
    }
    for (file, what) in [("etc/passwd", "user"), ("etc/group", "group")] {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ids: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for (name, id) in rows(subject, file) {
            *names.entry(name).or_default() += 1;
            ids.entry(id).or_default().push(name);
        }
        let twice: Vec<&str> = names.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
        let mut told = Vec::new();
        if !twice.is_empty() {
            told.push(format!("{what} {} is there more than once", listed(&twice)));
        }
        for (id, mut names) in ids {
            names.sort_unstable();
            names.dedup();
            if names.len() > 1 && told.len() < NAMED {
                told.push(format!("{what} id {id} is {}", listed(&names)));
            }
        }
        if !told.is_empty() {
            findings.add(Draft::new("account-duplicate", format!("/{file}"), told.join("; ")));
        }
    }
}

fn listed(names: &[&str]) -> String {
    let mut all: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", brief(name))).collect();
    if names.len() > NAMED {
        all.push(format!("{} more", names.len() - NAMED));
    }
    match all.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => all.concat(),
    }
}
