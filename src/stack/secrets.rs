//! Passwords and keys of a service: those that stand in the file, that everybody knows, or that are missing.

use super::check::Checker;
use super::node::{Node, Value};
use crate::check::{Evidence, secrets_in_lines};

/// How the names of variables end that hold a secret.
const ENDS: [&str; 10] = [
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
];
/// Values that everybody tries first, in lower case without digits and signs at their end.
const USUAL: [&str; 18] = [
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
];
/// A shorter secret can be guessed.
const SHORT: usize = 12;

/// Looks at the variables of a service.
pub(super) fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let production = checker.production;
    for (variable, (_, node)) in service.get("environment").and_then(Node::map).into_iter().flatten() {
        let place = node.place;
        let value = node.scalar().unwrap_or_default();
        if !is_secret(variable) {
            // A password in a URL, a token by its form.
            let line = format!("{variable}={}", value.replace(['\n', '\r'], " "));
            for secret in secrets_in_lines(&line, true).into_iter().filter(|_| checker.stack.is_literal(place, value)) {
                let message = format!("`{variable}` of `{name}` has {}", secret.title);
                checker.add_secret("secret-value", place, message, Some(secret.evidence), production);
            }
            continue;
        }
        let weak = value.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
        let weak = USUAL.iter().any(|usual| weak.split(['-', '_', ' ', '.']).any(|part| part == *usual));
        let problem = match &node.value {
            // It comes from the environment of whoever starts the stack.
            Value::Null => continue,
            _ if value.is_empty() => "is empty",
            _ if weak => "has a value that everybody tries first",
            _ if value.len() < SHORT => "is short enough to be guessed",
            _ if checker.stack.is_literal(place, value) => "stands in the file",
            _ => continue,
        };
        let evidence = (!value.is_empty()).then(|| Evidence::of(value.as_bytes()));
        checker.add_secret("secret-value", place, format!("`{variable}` of `{name}` {problem}"), evidence, production);
    }
}

/// `POSTGRES_PASSWORD`, `JWT_SECRET`; not `PASSWORD_FILE`, which names a file.
fn is_secret(variable: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    ENDS.iter().any(|end| upper == *end || upper.ends_with(&format!("_{end}")))
}
