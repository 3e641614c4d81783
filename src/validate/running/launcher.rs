//! Ingot's launcher: it must refuse a wrong environment, and start the command in the right one.

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
    refuse("the image's own environment".into(), STARTED, None)?;
    required.iter().try_for_each(|name| refuse(format!("another {name}"), REFUSED, Some(name)))
}

/// The variables that a launcher requires, as its script has them.
fn required(script: &str) -> Vec<String> {
    let python = script.lines().filter_map(|line| line.trim().strip_prefix("(b\"")?.split('"').next());
    let shell = script.lines().filter_map(|line| line.trim().strip_prefix("if [ -z \"${")?.split('+').next());
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    python.chain(shell).filter(is_name).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Launcher;

    #[test]
    fn both_launchers_say_what_they_require() {
        let require_env =
            [("A_B", "x\"y"), ("C", "(b\"D\"")].map(|(name, value)| (name.to_string(), value.to_string())).into();
        let mut launcher = Launcher { interpreter: Some("/opt/venv/bin/python".into()), require_env };
        assert_eq!(required(&launcher.script().unwrap()), ["A_B", "C"]);
        launcher.interpreter = None;
        assert_eq!(required(&launcher.script().unwrap()), ["A_B", "C"]);
    }
}
