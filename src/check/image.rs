//! What of this room is also asked about the files and texts of a finished image.

use super::config;
use super::finding::{Evidence, Severity};
use super::secret::{self, Files, Hit};
use super::stray;

/// The largest file whose content is searched, in bytes.
const CONTENT_LIMIT: usize = 8 << 20;
/// How much of a file is looked at to tell text from other things.
const HEAD: usize = 8 << 10;

/// A secret that was seen; not the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// "a GitHub token".
    pub title: String,
    /// How sure it is.
    pub severity: Severity,
    /// Counted from 1.
    pub line: usize,
    /// What may be told of it.
    pub evidence: Evidence,
}

/// The secrets in a file that is text.
pub fn secrets_in_file(path: &str, bytes: &[u8]) -> Vec<Secret> {
    if bytes.len() > CONTENT_LIMIT || bytes.iter().take(HEAD).any(|byte| *byte == 0) {
        return Vec::new();
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let files = match name {
        name if stray::is_dotenv(name) => Files::Dotenv,
        name if stray::is_config(name) => Files::Config,
        _ => Files::Source,
    };
    seen(secret::scan(bytes, files))
}

/// The secrets in variables and their values, or in other texts, one a line.
pub fn secrets_in_lines(lines: &str, are_variables: bool) -> Vec<Secret> {
    seen(secret::scan(lines.as_bytes(), if are_variables { Files::Dotenv } else { Files::Source }))
}

/// A secret in what a stack tells a program. It is for comparing, not for showing.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// "a password behind an option".
    pub title: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// Where it stands, in bytes.
    pub range: std::ops::Range<usize>,
}

/// The secrets in what a stack tells a program: a value, a command, a file of settings. There the place says what a secret
/// is (`--password x`), however weak it is.
pub fn secrets_in_stack(text: &[u8]) -> Vec<Told> {
    let told = |(hit, title, range): (Hit, &'static str, std::ops::Range<usize>)| {
        (!hit.allowed).then_some(Told { title, line: hit.line, range })
    };
    secret::scan_stack(text).into_iter().filter_map(told).collect()
}

fn seen(hits: Vec<Hit>) -> Vec<Secret> {
    let told = |hit: Hit| {
        let form = secret::forms().iter().find(|form| form.rule() == hit.rule)?;
        Some(Secret { title: form.title.clone(), severity: form.severity, line: hit.line, evidence: hit.evidence })
    };
    hits.into_iter().filter(|hit| !hit.allowed).filter_map(told).collect()
}

/// The rule of hygiene that a file breaks by its name, the file or folder that it is about, and what it is.
pub fn stray_file(path: &str) -> Option<(&'static str, &str, String)> {
    stray::look(path)
}

/// Whether a variable is called like a secret, and has a value that could be one.
pub fn is_secret_variable(name: &str, value: &str) -> bool {
    config::is_secret_name(name) && config::is_value(value)
}
