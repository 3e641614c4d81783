//! Passwords and keys of a service: those that stand in the file, that everybody knows, or that are missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::known::known;
use super::load::Stack;
use super::node::{Node, Value};
use crate::check::{Evidence, secrets_in_lines};
use crate::fs;

/// How the names of variables end that hold a secret.
const ENDS: [&str; 15] = [
    "PASSWORD",
    "PASSWD",
    "PASS",
    "SECRET",
    "SECRET_KEY",
    "TOKEN",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "SIGNING_KEY",
    "ENCRYPTION_KEY",
    "SECRET_KEY_BASE",
    "MASTER_KEY",
    "APP_KEY",
    "PASSPHRASE",
];
/// Words in names that end like a secret's and say whether there is one at all.
const SWITCHES: [&str; 16] = [
    "ALLOW", "CHANGE", "CHECK", "DISABLE", "ENABLE", "FORCE", "HAS", "IS", "NO", "RANDOM", "REQUIRE", "RESET", "SHOW",
    "SKIP", "USE", "WITH",
];
/// Ends of those that are a key to somebody else's service: without one, that is not used.
const KEYS: [&str; 3] = ["TOKEN", "API_KEY", "ACCESS_KEY"];
/// Words in names whose number says how much of something there is.
const AMOUNTS: [&str; 24] = [
    "AGE", "BUDGET", "BYTES", "COST", "COUNT", "DAYS", "EXPIRES", "EXPIRY", "HOURS", "LEN", "LENGTH", "LIFETIME",
    "LIMIT", "MAX", "MIN", "MINUTES", "NUM", "NUMBER", "PER", "PRICE", "SECONDS", "SIZE", "TIMEOUT", "TTL",
];
/// How names begin whose values a bundler writes into what every browser gets.
const PUBLISHED: [&str; 9] = [
    "EXPO_PUBLIC_",
    "GATSBY_",
    "NEXT_PUBLIC_",
    "NUXT_PUBLIC_",
    "PUBLIC_",
    "REACT_APP_",
    "SNOWPACK_PUBLIC_",
    "VITE_",
    "VUE_APP_",
];
/// Values that everybody tries first, in lower case without digits and signs at their end.
const USUAL: [&str; 25] = [
    "password",
    "passwd",
    "pass",
    "secret",
    "changeme",
    "change",
    "changeit",
    "admin",
    "root",
    "postgres",
    "mysql",
    "example",
    "test",
    "dev",
    "development",
    "default",
    "letmein",
    "supersecret",
    "guest",
    "minioadmin",
    "mongo",
    "redis",
    "qwerty",
    "replace",
    "yoursecret",
];
/// The largest file of a secret, in bytes (engines have the same limit).
const FILE_LIMIT: u64 = 500 << 10;
/// A shorter secret can be guessed.
const SHORT: usize = 12;

/// Looks at the variables of a service.
pub(super) fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let production = checker.production;
    insists(checker, name, service);
    for (variable, (_, node)) in service.get("environment").and_then(Node::map).into_iter().flatten() {
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
            // A password in a URL, a token by its form.
            let shown = if is_secret(variable) { "value" } else { variable };
            let line = format!("{shown}={}", value.replace(['\n', '\r'], " "));
            for secret in secrets_in_lines(&line, true)
                .into_iter()
                .filter(|_| checker.stack.is_literal(place, value) && !checker.stack.is_in_variables(place))
            {
                let message = format!("`{variable}` of `{name}` has {}", secret.title);
                checker.add_secret("secret-value", place, message, Some(secret.evidence), production);
            }
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
        checker.add_secret("secret-value", place, format!("`{variable}` of `{name}` {problem}"), evidence, production);
    }
}

/// Why a secret is none.
fn weakness(value: &str) -> Option<&'static str> {
    let weak = value.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
    let usual = USUAL.iter().any(|usual| weak.split(['-', '_', ' ', '.']).any(|part| part == *usual));
    let few = value.chars().collect::<BTreeSet<char>>().len() < 4;
    match () {
        () if value.trim().is_empty() => Some("is empty"),
        () if usual || few => Some("has a value that everybody tries first"),
        () if value.len() < SHORT => Some("is short enough to be guessed"),
        () => None,
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

/// `MYSQL_ALLOW_EMPTY_PASSWORD=yes`, `SEND_TOKEN=true`.
pub(super) fn is_switch(variable: &str, value: &str) -> bool {
    let is_word = matches!(value.to_ascii_lowercase().as_str(), "yes" | "no" | "true" | "false" | "on" | "off");
    let is_named = || variable.to_ascii_uppercase().split('_').any(|word| SWITCHES.contains(&word));
    is_word && ends(variable, &KEYS) || (is_word || matches!(value, "0" | "1")) && is_named()
}

/// `MAX_TOKEN=100`, `COST_PER_TOKEN=0.002`, `SECONDS_TO_RESET_PASSWORD=3600`, `TTL_OF_TOKEN=15m`.
pub(super) fn is_number(variable: &str, value: &str) -> bool {
    let number = value.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let is_number = number.parse::<f64>().is_ok() && value.len() - number.len() <= 2;
    is_number && variable.to_ascii_uppercase().split('_').any(|word| AMOUNTS.contains(&word))
}

/// What a shell in the container puts in: `$DB_PASSWORD`, `${DB_PASSWORD}`, `$(cat FILE)`. Compose writes `$$` for its dollar.
fn is_shells(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('$') else { return false };
    let is_closed = |open: char, close: char| rest.starts_with(open) && rest.ends_with(close);
    let is_name = rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    is_name || is_closed('{', '}') || is_closed('(', ')')
}

/// A key to somebody else's service that is empty on purpose: `GITHUB_TOKEN: ""`, `${GITHUB_TOKEN:-}`.
fn is_unused(stack: &Stack, variable: &str, node: &Node) -> bool {
    let line = stack.line(node.place);
    node.scalar() == Some("") && ends(variable, &KEYS) && (!line.contains('$') || line.contains("-}"))
}

/// `NEXT_PUBLIC_API_KEY`: every browser gets it. A password is none of those all the same.
pub(super) fn is_published(variable: &str) -> bool {
    PUBLISHED.iter().any(|begin| variable.starts_with(begin)) && ends(variable, &KEYS)
}

/// `POSTGRES_PASSWORD`, `JWT_SECRET`; not `PASSWORD_FILE`, which names a file.
pub(super) fn is_secret(variable: &str) -> bool {
    ends(variable, &ENDS)
}

fn ends(variable: &str, with: &[&str]) -> bool {
    let upper = variable.to_ascii_uppercase();
    with.iter().any(|end| upper == *end || upper.ends_with(&format!("_{end}")))
}
