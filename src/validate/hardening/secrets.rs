//! Secrets: in the configuration, in the history, in any layer.

use std::collections::{BTreeMap, BTreeSet};

use super::layer_name;
use super::packaged::Packaged;
use crate::check::{Secret, Severity, is_secret_variable, secrets_in_lines, stray_file};
use crate::layer::TreePath;
use crate::layer::read::MemberKind;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::subject::{Fact, Subject};

/// The most entries of the history that are searched.
const HISTORY_LIMIT: usize = 2000;

pub(super) fn look(subject: &Subject, packaged: &Packaged, findings: &mut Findings<'_>) {
    let mut found = BTreeMap::new();
    for (number, layer) in subject.layers.iter().enumerate() {
        for fact in &layer.facts {
            if let Some(path) = &fact.member.path {
                contents(subject, packaged, (number, fact, path), &mut found);
            }
        }
    }
    found.into_values().for_each(|draft| findings.add(draft));
    names(subject, packaged, findings);
    let env = environment(subject, findings);
    texts(subject, findings);
    history(subject, &env, findings);
}

fn rule_of(secret: &Secret) -> &'static str {
    if secret.severity == Severity::Error { "secret" } else { "secret-likely" }
}

/// In which layer a file is, and that it is still there though no container shows it.
fn whereabouts(subject: &Subject, layer: usize, fact: &Fact, path: &TreePath) -> String {
    let name = layer_name(subject, layer);
    if subject.root.place(path) == Some((layer, fact.member.ordinal)) {
        format!("in {name}")
    } else {
        format!("in {name}, where it still is, although a later layer removes or replaces it")
    }
}

/// The secrets of one file: one finding for each kind; the same file in two layers counts once.
fn contents(
    subject: &Subject,
    packaged: &Packaged,
    (layer, fact, path): (usize, &Fact, &TreePath),
    found: &mut BTreeMap<(String, String, String), Draft>,
) {
    let mut kinds: BTreeMap<&str, Vec<&Secret>> = BTreeMap::new();
    for secret in &fact.content.secrets {
        kinds.entry(&secret.title).or_default().push(secret);
    }
    for (title, secrets) in kinds {
        let Some(first) = secrets.first() else { continue };
        let more =
            if secrets.len() > 1 { format!(" and {} more of its kind", secrets.len() - 1) } else { String::new() };
        let public = packaged.is_public(path, fact.content.digest.as_ref());
        let rule = if public { "secret-packaged" } else { rule_of(first) };
        let message = format!("{title}{more} {}", whereabouts(subject, layer, fact, path));
        let draft = Draft::new(rule, fact.place(), message).line(Some(first.line)).evidence(first.evidence.clone());
        let key = (fact.place(), title.to_string(), first.evidence.to_string());
        found.entry(key).or_insert(draft);
    }
}

/// Files that hold secrets by their names, in any layer.
fn names(subject: &Subject, packaged: &Packaged, findings: &mut Findings<'_>) {
    let mut told = BTreeSet::new();
    for (number, layer) in subject.layers.iter().enumerate() {
        for fact in layer.facts.iter().filter(|fact| fact.member.kind == MemberKind::File && fact.member.size > 0) {
            let Some(path) = fact.member.path.as_ref().filter(|path| !packaged.is_known(path)) else { continue };
            let Some((rule, object, what)) = stray_file(path.as_str()) else { continue };
            let rule = match rule {
                "credential-file" | "key-store" => "credential-file",
                "env-file" | "version-control" => rule,
                _ => continue,
            };
            if told.insert((rule, object.to_string())) {
                let message = format!("{what} {}", whereabouts(subject, number, fact, path));
                findings.add(Draft::new(rule, format!("/{object}"), message));
            }
        }
    }
}

/// One value a line, however many lines it has.
fn line(text: &str) -> String {
    text.replace('\r', "").replace('\n', "\\n") + "\n"
}

/// Secrets in `config.Env`; returns the names of the variables.
fn environment(subject: &Subject, findings: &mut Findings<'_>) -> BTreeSet<String> {
    let env = subject.config.env();
    let seen = secrets_in_lines(&env.iter().map(|pair| line(pair)).collect::<String>(), true);
    let mut names = BTreeSet::new();
    for (index, pair) in env.iter().enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        names.insert(name.to_string());
        let mut secrets = seen.iter().filter(|secret| secret.line == index + 1).peekable();
        if secrets.peek().is_none() && is_secret_variable(name, value) {
            let message = format!("`{}` is called like a secret, and has a value", brief(name));
            findings.add(Draft::new("secret-variable", "config.Env", message));
        }
        for secret in secrets {
            let message = format!("{} in `{}`", secret.title, brief(name));
            findings.add(Draft::new(rule_of(secret), "config.Env", message).evidence(secret.evidence.clone()));
        }
    }
    names
}

/// Secrets in labels, annotations, and the words of the commands.
fn texts(subject: &Subject, findings: &mut Findings<'_>) {
    let quoted = |(key, value): (&String, &String)| line(&format!("{key} = \"{value}\""));
    let labels = subject.config.labels();
    let mut all: Vec<(String, String)> = vec![
        ("config.Labels".into(), labels.iter().map(quoted).collect()),
        ("manifest.annotations".into(), subject.manifest.annotations.iter().map(quoted).collect()),
    ];
    for field in ["Entrypoint", "Cmd", "Healthcheck", "OnBuild", "Shell"] {
        if let Some(value) = subject.config.get(field) {
            all.push((format!("config.{field}"), value.to_string()));
        }
    }
    for (place, text) in all {
        for secret in secrets_in_lines(&text, false) {
            let draft = Draft::new(rule_of(&secret), &place, format!("{} in it", secret.title));
            findings.add(draft.evidence(secret.evidence));
        }
    }
}

/// Secrets in what made the layers; also arguments of the build that are called like secrets.
fn history(subject: &Subject, env: &BTreeSet<String>, findings: &mut Findings<'_>) {
    let history = subject.config.history().unwrap_or_default();
    for (number, entry) in history.iter().enumerate().take(HISTORY_LIMIT) {
        let place = format!("history[{number}]");
        let texts = [&entry.created_by, &entry.comment, &entry.author];
        let text: String = texts.into_iter().flatten().map(|text| line(text)).collect();
        let secrets = secrets_in_lines(&text, false);
        for secret in &secrets {
            let draft = Draft::new(rule_of(secret), &place, format!("{} in a command of the build", secret.title));
            findings.add(draft.evidence(secret.evidence.clone()));
        }
        let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
        let named = |(name, value): &(&str, &str)| !env.contains(*name) && is_secret_variable(name, value);
        if let Some((name, _)) = pairs.into_iter().find(named).filter(|_| secrets.is_empty()) {
            let message =
                format!("`{}` is called like a secret, and had a value in a command of the build", brief(name));
            findings.add(Draft::new("secret-variable", &place, message));
        }
    }
}
