//! Ingot's launcher: it must refuse a wrong environment, and start the command in the right one.

use std::collections::BTreeMap;

use super::Stand;
use crate::error::Result;
use crate::runtime::LAUNCHER_PATH;
use crate::validate::findings::{Draft, Findings};

/// What the launcher exits with when the environment is wrong (sysexits.h, EX_CONFIG).
const REFUSED: i32 = 78;
/// What the command of the right environment exits with: nothing else does.
const STARTED: i32 = 42;
/// A value that no project requires.
const WRONG: &str = "ingot-validate-wrong";

/// Starts it with the image's environment, then once for each required variable with a wrong value.
pub(super) fn look(stand: &Stand<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let launcher = format!("/{LAUNCHER_PATH}");
    let entrypoint = stand.subject.config.get("Entrypoint").and_then(|words| words.as_array());
    let is_first = entrypoint.and_then(|words| words.first()).and_then(|word| word.as_str()) == Some(launcher.as_str());
    let Some(script) = stand.subject.text(LAUNCHER_PATH).filter(|_| is_first) else { return Ok(()) };
    let required = required(script);
    let missing = |name: &&String| stand.subject.config.env_var(name).as_ref() != required.get(*name);
    let given: Vec<&str> = required.keys().filter(missing).map(String::as_str).collect();
    let mut container = stand.container();
    container.entrypoint = Some(vec![launcher.clone()]);
    container.args = match &stand.facts.python {
        Some(python) => vec![python.clone(), "-c".into(), format!("raise SystemExit({STARTED})")],
        None => vec!["/bin/sh".into(), "-c".into(), format!("exit {STARTED}")],
    };
    let mut refuse = |environment: String, expected: i32, env: Option<&String>| -> Result<()> {
        let mut container = container.clone();
        container.name = crate::engine::unique_name("ingot-validate");
        container.env.extend(env.map(|name| (name.clone(), WRONG.to_string())));
        let output = stand.engine.run_to_end(&container, b"")?;
        stand.engine.refused(output.status.code(), &output.stderr_text())?;
        if output.status.code() != Some(expected) {
            let found = output.status.code().map_or("a signal".into(), |code| format!("exit code {code}"));
            let message = format!("with {environment} it ended with {found}, expected {expected}");
            findings
                .add(Draft::new("run-launcher", &launcher, message).detail(super::service::last_lines(&output.stderr)));
        }
        Ok(())
    };
    let right = match given[..] {
        [] => "the image's own environment".into(),
        _ => format!("the image's environment and the required {}", given.join(", ")),
    };
    refuse(right, STARTED, None)?;
    required.keys().try_for_each(|name| refuse(format!("another {name}"), REFUSED, Some(name)))
}

/// The variables that a launcher requires and their values, as its script has them.
pub(super) fn required(script: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut asked = "";
    for line in script.lines().map(str::trim) {
        if let Some(row) = line.strip_prefix("(b\"") {
            let mut words = row.split("b\"");
            let name = words.next().and_then(|name| name.strip_suffix("\", ")).unwrap_or_default();
            let value = row.split_once("b\"").map(|(_, rest)| python_bytes(rest)).unwrap_or_default();
            found.insert(name.to_string(), value);
        } else if let Some(rest) = line.strip_prefix("if [ -z \"${") {
            asked = rest.split('+').next().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix(&format!("elif [ \"x${asked}\" != x'")) {
            let value = rest.strip_suffix("' ]; then").unwrap_or_default().replace(r"'\''", "'");
            found.insert(asked.to_string(), value);
        }
    }
    let is_name =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    found.retain(|name, _| is_name(name));
    found
}

/// The text of a Python literal that begins behind its quote.
fn python_bytes(rest: &str) -> String {
    let (mut bytes, mut letters) = (Vec::new(), rest.bytes());
    while let Some(letter) = letters.next().filter(|letter| *letter != b'"') {
        match letter {
            b'\\' => match letters.next() {
                Some(b'x') => {
                    let digits: String = letters.by_ref().take(2).map(char::from).collect();
                    bytes.extend(u8::from_str_radix(&digits, 16).ok());
                }
                other => bytes.extend(other),
            },
            letter => bytes.push(letter),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Launcher;

    #[test]
    fn both_launchers_say_what_they_require() {
        let values = [("A_B", "x\"y"), ("C", "(b\"D\""), ("D", "it's \\ ü\n"), ("E", "' ]; then"), ("F", "")];
        let require_env: BTreeMap<_, _> = values.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let interpreter = Some("/opt/venv/bin/python".into());
        let mut launcher = Launcher { interpreter, require_env: require_env.clone() };
        assert_eq!(required(&launcher.script().unwrap()), require_env);
        launcher.interpreter = None;
        launcher.require_env.retain(|_, value| !value.contains('\n'));
        assert_eq!(required(&launcher.script().unwrap()), launcher.require_env);
        for odd in ["(b\"", "(b\"A\", b\"\\", "(b\"A\", b\"\\xZ", "if [ -z \"${", "elif [ \"x$\" != x'"] {
            assert!(required(odd).len() < 2, "{odd}");
        }
    }
}
