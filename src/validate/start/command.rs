//! Entrypoint, Cmd, the working folder and the health check.

use serde_json::Value;

use super::program::{Problem, Shell};
use super::service;
use crate::layer::BaseKind;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::python::Pythons;
use crate::validate::subject::Subject;

/// The most words of a command that are looked at.
const WORDS_LIMIT: usize = 10_000;
/// How often one program may only be there to start another.
const WRAPPER_LIMIT: usize = 4;
/// Words that a shell knows without any file.
const BUILTINS: &[&str] = &[
    ":", ".", "[", "[[", "alias", "break", "case", "cd", "command", "continue", "echo", "eval", "exec", "exit",
    "export", "false", "for", "function", "getopts", "hash", "if", "kill", "let", "local", "printf", "pwd", "read",
    "readonly", "return", "set", "shift", "source", "test", "time", "times", "trap", "true", "type", "ulimit", "umask",
    "unset", "until", "wait", "while", "{", "(", "!",
];

/// Looks at them.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    let shell = Shell::of(subject);
    folder(subject, findings);
    let entrypoint = words(subject.config.get("Entrypoint"));
    let cmd = words(subject.config.get("Cmd"));
    let place = if entrypoint.is_empty() { "config.Cmd" } else { "config.Entrypoint" };
    let all: Vec<String> = entrypoint.into_iter().chain(cmd).take(WORDS_LIMIT).collect();
    if all.is_empty() {
        findings.add(Draft::new("start-nothing", "config", "there is neither `Entrypoint` nor `Cmd`"));
    }
    if let Some(rest) = starts(&shell, &all, place, findings) {
        service::look(subject, &shell, pythons, rest, findings);
    }
    health(subject, &shell, findings);
}

/// An array of texts; one text, as old tools write it, is one for the shell.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        Some(Value::Array(items)) => {
            items.iter().take(WORDS_LIMIT).filter_map(|item| item.as_str().map(String::from)).collect()
        }
        _ => Vec::new(),
    }
}

/// Tells if the first word does not start; of a program that only starts another, that one too. The words from the
/// last program on, if all is well.
fn starts<'a>(
    shell: &Shell<'_>,
    words: &'a [String],
    place: &str,
    findings: &mut Findings<'_>,
) -> Option<&'a [String]> {
    let mut words = words;
    for _ in 0..WRAPPER_LIMIT {
        let name = words.first()?;
        let path = match shell.start(name) {
            Ok(path) => path,
            Err(problem) => {
                findings.add(Draft::new(problem.rule(), place, problem.told(&brief(name))));
                return None;
            }
        };
        let inner = wrapped(name.rsplit('/').next().unwrap_or_default(), path.name(), words.get(1..)?);
        match inner {
            Some(inner) if !inner.is_empty() => words = inner,
            _ => return Some(words),
        }
    }
    Some(words)
}

/// What a program that only starts another will start.
fn wrapped<'a>(name: &str, file: &str, arguments: &'a [String]) -> Option<&'a [String]> {
    let from = |skip: &dyn Fn(&str) -> usize| {
        let mut at = 0;
        while let Some(word) = arguments.get(at) {
            if word == "--" {
                return arguments.get(at + 1..);
            }
            if !word.starts_with('-') {
                return arguments.get(at..);
            }
            at += skip(word);
        }
        None
    };
    let known = |names: &[&str]| names.contains(&name) || names.contains(&file);
    if known(&["ingot-launcher"]) {
        return Some(arguments);
    }
    if known(&["tini", "tini-static", "docker-init", "catatonit"]) {
        return from(&|word| if matches!(word, "-p" | "-e") { 2 } else { 1 });
    }
    if known(&["dumb-init"]) {
        return from(&|word| if matches!(word, "-r" | "--rewrite") { 2 } else { 1 });
    }
    if known(&["gosu", "su-exec"]) {
        return arguments.get(1..);
    }
    None
}

fn folder(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(folder) = subject.config.get("WorkingDir").and_then(|folder| folder.as_str()) else { return };
    if folder.trim_matches('/').is_empty() {
        return;
    }
    let place = "config.WorkingDir";
    let found = subject.root.follow(folder).and_then(|real| subject.root.entry(&real));
    match found {
        Some(entry) if entry.kind == BaseKind::Directory => {}
        Some(_) => findings.add(Draft::new("start-folder", place, format!("`{}` is not a folder", brief(folder)))),
        None => findings.add(Draft::new("start-folder", place, format!("`{}` is not in the image", brief(folder)))),
    }
}

fn health(subject: &Subject, shell: &Shell<'_>, findings: &mut Findings<'_>) {
    let test = subject.config.get("Healthcheck").and_then(|check| check.get("Test"));
    let test = match test {
        Some(Value::Array(_)) => words(test),
        _ => return,
    };
    let (kind, rest) = test.split_first().map_or(("", &[][..]), |(kind, rest)| (kind.as_str(), rest));
    let tell = |name: &str, problem: Problem, findings: &mut Findings<'_>| {
        findings.add(Draft::new("start-health", "config.Healthcheck", problem.told(&brief(name))));
    };
    match (kind, rest.first()) {
        ("CMD", Some(name)) => {
            if let Err(problem) = shell.start(name) {
                tell(name, problem, findings);
            }
        }
        ("CMD-SHELL", Some(text)) => {
            let own = subject.config.get("Shell").and_then(|shell| shell.get(0)).and_then(|first| first.as_str());
            let sh = own.unwrap_or("/bin/sh");
            if let Err(problem) = shell.start(sh) {
                return tell(sh, problem, findings);
            }
            if let Some(name) = first_command(text)
                && let Err(problem) = shell.start(name)
            {
                tell(name, problem, findings);
            }
        }
        _ => {}
    }
}

/// The program that a line for the shell begins with, if that is plain to see.
pub(super) fn first_command(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte));
    (plain && !BUILTINS.contains(&word)).then_some(word)
}
