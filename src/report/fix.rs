//! What `ingot stack check --fix` did.

use serde::Serialize;

use super::check::CheckReport;
use crate::stack::Fixed;
use crate::text::escape_lines;

/// Diffs, and what is found afterwards.
#[derive(Serialize)]
pub struct FixReport<'a> {
    /// Whether the files are written.
    written: bool,
    changes: Vec<File<'a>>,
    fixed: Vec<Answered<'a>>,
    advice: &'a [String],
    #[serde(flatten)]
    check: CheckReport<'a>,
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "file")]
    name: &'a str,
    diff: String,
}

#[derive(Serialize)]
struct Answered<'a> {
    service: &'a str,
    rule: &'a str,
}

impl<'a> FixReport<'a> {
    /// Of a fix; `written` says whether it was only tried.
    pub fn new(fixed: &'a Fixed, written: bool) -> Self {
        FixReport {
            written,
            changes: fixed.files.iter().map(|file| File { name: &file.name, diff: file.diff() }).collect(),
            fixed: fixed.fixed.iter().map(|(service, rule)| Answered { service, rule }).collect(),
            advice: &fixed.advice,
            check: CheckReport::new(&fixed.report).detailed(true),
        }
    }

    /// The diffs, then the findings that are left, each with the reason.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for file in &self.changes {
            out += &escape_lines(&file.diff);
            out.push('\n');
        }
        out + &self.check.text()
    }
}
