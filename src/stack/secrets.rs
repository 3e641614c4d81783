//! Passwords and keys of a service: those that stand in the file, that everybody knows, or that are missing.

use std::path::{Path, PathBuf};

use super::check::Checker;
use super::known::known;
use super::load::Stack;
use super::node::{Node, Value};
use crate::check::{Evidence, secrets_in_lines};
use crate::fs;

mod names;
mod spoken;
mod values;

use names::{is_half, may_be_empty};
pub(super) use names::{is_number, is_published, is_secret, is_switch};
pub(super) use spoken::spoken;
use values::{in_urls, is_shells, weakness};

/// The largest file of a secret, in bytes (engines have the same limit).
const FILE_LIMIT: u64 = 500 << 10;
/// What a secret is that is none.
pub(super) const EMPTY: &str = values::EMPTY;

/// Looks at the variables of a service.
pub(super) fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    insists(checker, name, service);
    open_store(checker, name, service);
    variables(checker, name, "", service.get("environment"));
    // They stay in the image's history.
    variables(checker, name, "build.args.", service.get("build").and_then(|build| build.get("args")));
}

/// Looks at a table of variables, whose names are told with `prefix`.
fn variables(checker: &mut Checker<'_>, name: &str, prefix: &str, table: Option<&Node>) {
    let production = checker.production;
    for (variable, node) in &table.map(pairs).unwrap_or_default() {
        let place = node.place;
        let value = node.scalar().unwrap_or_default();
        if is_secret(variable)
            && (is_switch(variable, value)
                || is_number(variable, value)
                || is_shells(value)
                || is_unused(checker.stack, variable, node))
        {
            continue;
        }
        if !is_secret(variable) || is_published(variable) {
            by_form(checker, name, prefix, variable, node);
            continue;
        }
        let in_variables = checker.stack.is_in_variables(place);
        let problem = match &node.value {
            // It comes from the environment of whoever starts the stack, and is not there now.
            Value::Null if production => "has no value",
            Value::Null => continue,
            _ if value.starts_with("/run/secrets/") => continue,
            _ => match weakness(value) {
                Some(problem) => problem,
                None if !in_variables && checker.stack.is_literal(place, value) => "stands in the file",
                None => continue,
            },
        };
        let evidence = (!value.is_empty()).then(|| Evidence::of(value.as_bytes()));
        checker.add_secret(
            "secret-value",
            place,
            format!("`{prefix}{variable}` of `{name}` {problem}"),
            evidence,
            production,
        );
    }
}

/// The names and values of a table, or of a list of `NAME=VALUE`.
fn pairs(table: &Node) -> Vec<(String, Node)> {
    let of_map = table.map().into_iter().flatten().map(|(name, (_, node))| (name.clone(), node.clone()));
    let of_list = table.list().unwrap_or_default().iter().filter_map(|node| {
        let (name, value) = node.scalar()?.split_once('=')?;
        Some((name.to_string(), Node::text(node.place, value)))
    });
    of_map.chain(of_list).collect()
}

/// A password in a URL, a token by its form, in a variable whose name says nothing.
fn by_form(checker: &mut Checker<'_>, name: &str, prefix: &str, variable: &str, node: &Node) {
    let (place, value, production) = (node.place, node.scalar().unwrap_or_default(), checker.production);
    let is_written = checker.stack.is_literal(place, value) && !checker.stack.is_in_variables(place);
    let urls = in_urls(value);
    for password in &urls {
        if let Some(problem) = weakness(password).or(is_written.then_some("stands in the file")) {
            let message = format!("the password in `{prefix}{variable}` of `{name}` {problem}");
            checker.add_secret("secret-value", place, message, Some(Evidence::of(password.as_bytes())), production);
        }
    }
    let shown = if is_secret(variable) || is_half(variable) { "value" } else { variable };
    let line = format!("{shown}={}", value.replace(['\n', '\r'], " "));
    for secret in secrets_in_lines(&line, true).into_iter().filter(|_| is_written && urls.is_empty()) {
        let message = format!("`{prefix}{variable}` of `{name}` has {}", secret.title);
        checker.add_secret("secret-value", place, message, Some(secret.evidence), production);
    }
}

/// What a well-known image insists on and does not get, and what takes its password away.
fn insists(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let Some(required) = known(service).and_then(|known| known.secret.as_ref()) else { return };
    let production = checker.production;
    let environment = service.get("environment");
    let value = |variable: &str| environment.and_then(|environment| environment.get(variable));
    for (variable, opens) in required.opens {
        let Some(node) = value(variable) else { continue };
        let text = node.scalar().unwrap_or_default().to_ascii_lowercase();
        let is_off = matches!(text.as_str(), "" | "0" | "no" | "false");
        if !is_off && (opens.is_empty() || text == *opens) {
            let message = format!("`{name}` lets everybody in: {variable}={}", text.escape_debug());
            checker.add_secret("secret-missing", node.place, message, None, production);
            return;
        }
    }
    let is_set = |variable: &&&str| value(variable).is_some_and(|node| node.value != Value::Null);
    if required.one_of.iter().find(is_set).is_none() {
        let first = required.one_of.first().copied().unwrap_or_default();
        let message = format!("`{name}` has no {first}: {}", required.otherwise);
        checker.add_secret("secret-missing", service.place, message, None, production);
    }
}

/// A store that asks nobody for a password, on a port that others than this machine reach.
fn open_store(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let Some(open) = known(service).and_then(|known| known.open.as_ref()) else { return };
    let value = |node: Option<&Node>| node.and_then(Node::scalar).unwrap_or_default().to_string();
    let words = ["command", "entrypoint"].iter().filter_map(|key| service.get(key));
    let words: Vec<&str> = words
        .flat_map(|node| {
            node.scalar().into_iter().chain(node.list().unwrap_or_default().iter().filter_map(Node::scalar))
        })
        .collect();
    let is_closed = words.iter().any(|word| open.closed_by.iter().any(|known| word.contains(known)));
    let environment = service.get("environment");
    let is_opened = open.opened_by.is_none_or(|(variable, opens)| {
        value(environment.and_then(|environment| environment.get(variable))).eq_ignore_ascii_case(opens)
    });
    let mounts = service.get("volumes").and_then(Node::list).unwrap_or_default();
    let is_configured = mounts.iter().any(|mount| value(mount.get("target")).ends_with(".conf"));
    if is_closed || is_configured || !is_opened {
        return;
    }
    for port in service.get("ports").and_then(Node::list).unwrap_or_default() {
        let host = value(port.get("host_ip"));
        let is_own = host.starts_with("127.") || host == "::1" || host == "localhost";
        if value(port.get("target")) == open.port && !is_own {
            let message = format!("`{name}` asks nobody for a password, and others reach its port {}", open.port);
            checker.add_secret("secret-missing", port.place, message, None, checker.production);
        }
    }
}

/// Looks at the files and variables of the stack's `secrets`.
pub(super) fn files(checker: &mut Checker<'_>) {
    let (stack, production) = (checker.stack, checker.production);
    for (name, (_, secret)) in stack.root.get("secrets").and_then(Node::map).into_iter().flatten() {
        let text = |key: &str| Some((secret.get(key)?.scalar()?, secret.get(key)?.place));
        if let Some((variable, place)) = text("environment") {
            let problem = match stack.variable(variable) {
                None if !production => None,
                value => weakness(value.unwrap_or_default()),
            };
            if let Some(problem) = problem {
                checker.add_secret(
                    "secret-file",
                    place,
                    format!("`{variable}` of the secret `{name}` {problem}"),
                    None,
                    production,
                );
            }
        }
        if let Some((written, place)) = text("file") {
            let real = PathBuf::from(stack.real(written));
            // Nothing outside of the project is read.
            let problem = if real.starts_with(&stack.folder) { file(&real, &stack.folder) } else { None };
            if let Some(problem) = problem {
                let message = format!("`{}` of the secret `{name}` {problem}", written.escape_debug());
                checker.add_secret("secret-file", place, message, None, production);
            }
        }
    }
}

/// Why the file of a secret in the project's folder is no good one.
fn file(path: &Path, project: &Path) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = fs::symlink_metadata(path) else { return Some("is not there") };
    if !found.is_file() {
        return Some("is no file");
    }
    let Ok(bytes) = fs::read(path, FILE_LIMIT) else { return Some("cannot be read, or is too large for a secret") };
    let text = String::from_utf8_lossy(&bytes);
    let weak = if text.trim().lines().count() > 1 { None } else { weakness(text.trim()) };
    // A container's user, who is somebody else here, can read what stands open in a folder that is closed.
    let mut folders = path.ancestors().skip(1).take_while(|folder| *folder != project);
    let closed =
        folders.any(|folder| fs::symlink_metadata(folder).is_ok_and(|found| found.permissions().mode() & 1 == 0));
    let open = !closed && found.permissions().mode() & 0o004 != 0;
    weak.or_else(|| open.then_some("can be read by everybody on this machine"))
}

/// Whether nothing is there, and need not be.
fn is_unused(stack: &Stack, variable: &str, node: &Node) -> bool {
    let line = stack.line(node.place);
    // Whoever starts the stack has left empty what is passed on.
    let is_passed = stack.variables.passed.contains(&(node.place, variable.to_string()));
    let on_purpose = !is_passed && (!line.contains('$') || line.contains("-}"));
    node.scalar() == Some("") && may_be_empty(variable, on_purpose)
}
