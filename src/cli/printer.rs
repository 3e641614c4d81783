//! The only place that writes to stdout and stderr. stdout carries data; everything else goes to stderr.
//!
//! Whatever came from outside (a label, a file name, a registry's message) is escaped before it reaches a
//! terminal: names with escape sequences are shown, not obeyed. JSON stays exact.

use std::io::{self, IsTerminal, Write};

use crate::error::{Class, Error, Explain};
use crate::report;
use crate::text;

use super::args::{Color, Format, Global};

/// Writes for one run of the command.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    format: Format,
    quiet: bool,
    color: bool,
}

/// What the HTTP client's layers put around a cause and what says nothing.
const WRAPPERS: [&str; 6] = [
    "error sending request",
    "client error (Connect)",
    "client error (SendRequest)",
    "tcp connect error",
    "dns error",
    "error resolving DNS",
];

/// Standard output could not take the data.
#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output")]
pub struct OutputError(#[source] pub(super) io::Error);

impl Explain for OutputError {
    fn class(&self) -> Class {
        Class::Storage
    }
}

impl Printer {
    /// As the options say.
    pub fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stderr().is_terminal() && no_color_is_unset(),
        };
        Printer { format: global.format, quiet: global.quiet, color }
    }

    /// Whether data is to be JSON.
    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether only data and errors are printed.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Prints data: the value as JSON, or the text that `text` makes of it.
    pub fn data<T: serde::Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Error> {
        let mut output = if self.json() { report::json(value) } else { text(value) };
        if !output.ends_with('\n') && !output.is_empty() {
            output.push('\n');
        }
        self.raw(output.as_bytes())
    }

    /// Prints bytes as they are. A reader that has gone away (`ingot ls | head`) is not an error.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|source| OutputError(source).into()),
        }
    }

    /// One line for the user, on stderr, unless quiet.
    pub fn message(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", text::escape(text));
        }
    }

    /// One line for the user, on stderr, also when quiet.
    pub fn error_line(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", text::escape(text));
    }

    /// The error as people read it: what, why, where, and a hint.
    pub fn error(&self, error: &Error) {
        let (red, bold, reset) = if self.color { ("\x1b[31;1m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
        let mut out = String::new();
        let chain = error.chain();
        let told = chain.iter().filter(|message| !WRAPPERS.contains(&message.as_str()));
        for (n, message) in told.enumerate() {
            let message = text::escape(message);
            let line = if n == 0 {
                format!("{red}error{reset}: {bold}{message}{reset}\n")
            } else {
                format!("  because: {message}\n")
            };
            out.push_str(&line);
        }
        if let Some(snippet) = error.snippet() {
            out.push_str(&format!("{}\n", text::escape_lines(snippet.trim_end())));
        }
        if let Some(details) = error.details() {
            out.push_str(&format!("\n{}\n\n", text::escape_lines(details.trim_end())));
        }
        if let Some(hint) = error.hint() {
            out.push_str(&format!("hint: {}\n", text::escape(&hint)));
        }
        if error.class() == Class::Bug {
            out.push_str("This is a defect of ingot: please report it with the command line and the text above.\n");
        }
        let _ = io::stderr().write_all(out.as_bytes());
    }
}

#[allow(clippy::disallowed_methods, reason = "NO_COLOR is about the terminal and reaches no bytes of an image")]
fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
