//! What a check has found.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It stops a build.
    Error,
    /// It is told.
    Warning,
    /// It is told by `ingot hygiene` alone.
    Info,
}

impl Severity {
    /// As it is written in ingot.toml.
    pub const NAMES: &'static [&'static str] = &["error", "warning", "info"];

    /// "error", "warning", "info".
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Severity::Error, Severity::Warning, Severity::Info].into_iter().find(|one| one.name() == text).ok_or(())
    }
}

/// What is told of a secret: never the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    /// Its first characters.
    pub begins: String,
    /// How long it is, if that is known: only the beginning of a key of many lines is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

impl Evidence {
    /// How many characters of a secret are shown.
    const SHOWN: usize = 4;
    /// A shorter secret is not shown at all: four characters would be too much of it.
    const HIDDEN_BELOW: usize = 12;

    /// Of a secret, which is forgotten here.
    pub fn of(secret: &[u8]) -> Self {
        let text = String::from_utf8_lossy(secret);
        let shown = if text.chars().count() < Self::HIDDEN_BELOW { 0 } else { Self::SHOWN };
        let begins = text.chars().take(shown).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        Evidence { begins, length: Some(text.chars().count()) }
    }

    /// The same, where the secret goes on.
    pub fn beginning(secret: &[u8]) -> Self {
        Evidence { length: None, ..Evidence::of(secret) }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}...`", self.begins)?;
        self.length.map_or(Ok(()), |length| write!(f, ", {length} characters"))
    }
}

/// One place where a rule fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// How much it matters here.
    pub severity: Severity,
    /// The image's platform, if images for several are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The file: relative to the project, or `/` and where it is in the image; or the part of a document.
    pub path: String,
    /// Its line, counted from 1, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is there.
    pub message: String,
    /// What was seen of a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What it was concluded from, a line each; `--detailed` shows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    /// `src/settings.py:12`, `/usr/lib/libx.so (linux/arm64)`.
    pub fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let platform = self.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
        format!("{}{line}{platform}", self.path)
    }

    /// The message with the evidence.
    pub fn told(&self) -> String {
        match &self.evidence {
            Some(evidence) => format!("{}: {evidence}", self.message),
            None => self.message.clone(),
        }
    }
}

/// All findings of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The worst first, then by path and line.
    pub findings: Vec<Finding>,
    /// How many files would be packed.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// How many of them are too large to be searched: only name and size were looked at.
    pub unsearched: usize,
    /// How many findings somebody has answered for.
    pub allowed: usize,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

impl Report {
    /// Sorts and removes what was found twice (by two variants).
    pub fn sort(&mut self) {
        let key = |finding: &Finding| {
            let place = (finding.path.clone(), finding.line, finding.platform.clone());
            (finding.severity, place, finding.rule.clone(), finding.message.clone())
        };
        self.findings.sort_by_cached_key(key);
        self.findings.dedup();
    }

    /// Adds what was found elsewhere.
    pub fn extend(&mut self, other: Report) {
        self.findings.extend(other.findings);
        self.files += other.files;
        self.bytes += other.bytes;
        self.unsearched += other.unsearched;
        self.allowed += other.allowed;
        self.notes.extend(other.notes);
        self.sort();
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_shows_no_secret() {
        let secret = "q7".repeat(20);
        assert_eq!(Evidence::of(secret.as_bytes()).to_string(), "`q7q7...`, 40 characters");
        assert_eq!(Evidence::of(b"hunter2").to_string(), "`...`, 7 characters");
        assert_eq!(Evidence::of(b"\x1b[2J\xff\xff\xff\xff\xff\xff\xff\xff").begins, "?[2J");
    }
}
