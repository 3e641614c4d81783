//! The launcher: the image's entry point, which refuses to start in a wrong environment and else becomes the
//! command. A Python script where there is a virtual environment (a base may have no shell), else a shell script.

use std::collections::BTreeMap;

use super::Error;
use super::error::printable;

/// Where the launcher stands in the image, without the leading slash.
pub const LAUNCHER_PATH: &str = "usr/local/bin/ingot-launcher";

/// The longest first line that Linux before 5.1 runs, in bytes, with `#!`, ` -IS` and the newline.
const FIRST_LINE_LIMIT: usize = 127;

const PYTHON: &str = include_str!("../../layers/launcher.py");
const SHELL: &str = include_str!("../../layers/launcher.sh");

/// What the launcher does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// `/opt/venv/bin/python`; without it the base's `/bin/sh` runs the launcher.
    pub interpreter: Option<String>,
    /// The variables that must have exactly these values.
    pub require_env: BTreeMap<String, String>,
}

impl Launcher {
    /// The text of the script.
    pub fn script(&self) -> Result<String, Error> {
        self.require_env.iter().try_for_each(|(name, value)| check(name, value))?;
        match &self.interpreter {
            Some(interpreter) => self.python(interpreter),
            None => Ok(SHELL.replace("@REQUIRED@", &self.shell_checks())),
        }
    }

    fn python(&self, interpreter: &str) -> Result<String, Error> {
        let refuse = |reason| Err(Error::Interpreter { interpreter: printable(interpreter), reason });
        if !interpreter.starts_with('/') {
            return refuse("it is not an absolute path");
        }
        if interpreter.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refuse("it has a space");
        }
        if interpreter.len() + "#! -IS\n".len() > FIRST_LINE_LIMIT {
            return refuse("it is too long");
        }
        let mut required = String::from("[");
        for (name, value) in &self.require_env {
            let (unset, differs) = messages(name, value);
            let row = [name, value].map(|text| format!("b{}", python_bytes(text)));
            required.push_str(&format!("\n    ({}, {}, ", row[0], row[1]));
            required.push_str(&format!("{}, {}),", python_text(&unset), python_text(&differs)));
        }
        required.push_str(if self.require_env.is_empty() { "]" } else { "\n]" });
        // The template's own text comes first: a value with `@INTERPRETER@` in it is left alone.
        let text = PYTHON.replacen("@INTERPRETER@", interpreter, 1);
        Ok(text.replacen("@REQUIRED@", &required, 1))
    }

    fn shell_checks(&self) -> String {
        let check = |(name, value): (&String, &String)| {
            let (unset, differs) = messages(name, value);
            let (unset, differs, value) = (shell_word(&unset), shell_word(&differs), shell_word(value));
            format!(
                "if [ -z \"${{{name}+x}}\" ]; then\n    problem {unset}\n\
                 elif [ \"x${name}\" != x{value} ]; then\n    problem {differs}\nfi\n"
            )
        };
        self.require_env.iter().map(check).collect()
    }
}

/// Variables that a shell sets itself, so that a script cannot see what the container got.
const SHELL_OWN: [&str; 8] = ["IFS", "OPTIND", "PPID", "PS1", "PS2", "PS4", "PWD", "problems"];

fn check(name: &str, value: &str) -> Result<(), Error> {
    let refuse = |what, text: &str, reason| Err(Error::Name { what, text: printable(text), reason });
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return refuse("a variable in require-env", name, "it may only have letters, digits and `_`");
    }
    if SHELL_OWN.contains(&name) {
        return refuse("a variable in require-env", name, "shells set it themselves");
    }
    if value.contains('\0') {
        return refuse("a value in require-env", value, "it has a NUL");
    }
    Ok(())
}

/// What is said when a variable is not set, and when it has another value. Never what was found: that may be a
/// secret that went to the wrong variable.
fn messages(name: &str, expected: &str) -> (String, String) {
    let expected: String = expected
        .chars()
        .flat_map(|c| if c.is_ascii_graphic() || c == ' ' { vec![c] } else { c.escape_default().collect() })
        .collect();
    (format!("{name} is not set, expected \"{expected}\""), format!("{name} differs from the expected \"{expected}\""))
}

/// A Python literal of the UTF-8 bytes; put a `b` before it.
fn python_bytes(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    format!("\"{}\"", text.bytes().map(byte).collect::<String>())
}

/// A Python literal of text that is ASCII (messages are).
fn python_text(text: &str) -> String {
    python_bytes(text)
}

/// One word for a POSIX shell, whatever is in it.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
