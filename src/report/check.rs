//! Findings of checks: for people, and as a document.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::check::{Finding, Report, Severity};
use crate::text::{escape, size};

/// `ingot hygiene`, `ingot validate`.
#[derive(Serialize)]
pub struct CheckReport<'a> {
    findings: &'a [Finding],
    files: usize,
    bytes: u64,
    unsearched: usize,
    allowed: usize,
    notes: &'a [String],
    errors: usize,
    warnings: usize,
    #[serde(skip)]
    detailed: bool,
}

impl<'a> CheckReport<'a> {
    /// Of what a check has found.
    pub fn new(report: &'a Report) -> Self {
        CheckReport {
            findings: &report.findings,
            files: report.files,
            bytes: report.bytes,
            unsearched: report.unsearched,
            allowed: report.allowed,
            notes: &report.notes,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            detailed: false,
        }
    }

    /// With what each finding was concluded from.
    pub fn detailed(self, detailed: bool) -> Self {
        CheckReport { detailed, ..self }
    }

    /// One line per finding, then what to do about each rule that fired, then the counts.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if !self.findings.is_empty() {
            for finding in self.findings {
                let (severity, place) = (finding.severity.name(), escape(&finding.place()));
                out += &format!("{severity:<8}{place}: {} [{}]\n", escape(&finding.told()), finding.rule);
                for detail in finding.details.iter().filter(|_| self.detailed) {
                    out += &format!("        {}\n", escape(detail));
                }
            }
            out.push('\n');
            let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
            for finding in self.findings {
                if told.insert((&finding.rule, &finding.fix)) {
                    out += &format!("{}: {}\n", finding.rule, escape(&finding.fix));
                }
            }
            out += "\n";
        }
        for note in self.notes {
            out += &format!("note: {}\n", escape(note));
        }
        out += &format!(
            "{} and {} in {}",
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
            counted(self.files, "file"),
        );
        // Compose files are not weighed.
        if self.bytes > 0 {
            out += &format!(" ({})", size(self.bytes));
        }
        if self.unsearched > 0 {
            out += &format!("; {} too large to be searched", counted(self.unsearched, "file"));
        }
        if self.allowed > 0 {
            out += &format!("; {} answered for", counted(self.allowed, "finding"));
        }
        out + "\n"
    }
}

/// "1 error", "2 errors".
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
