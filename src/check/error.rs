//! What can be wrong with a check, and what a check refuses.

use super::finding::{Finding, Report, Severity};
use super::secret::PREFIX;
use crate::error::{Class, Explain};
use crate::project::suggestion;

/// The most findings that an error lists.
const LISTED: usize = 50;

/// A check that cannot be made, or that does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule that there is not, on the command line.
    #[error("there is no rule `{}`", id.escape_debug())]
    UnknownRule {
        /// What was given.
        id: String,
        /// The rules that there are.
        known: Vec<String>,
        /// The page that lists them.
        page: &'static str,
    },
    /// Findings of severity error.
    #[error("{what}: {count}")]
    Refused {
        /// What is refused, and why in one clause.
        what: String,
        /// "2 errors".
        count: String,
        /// The findings, one line each, where they were not printed before.
        list: Option<String>,
        /// How to go on.
        advice: String,
    },
}

/// A check, in the words of its refusal.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    refusal: &'static str,
    advice: &'static str,
}

/// `ingot hygiene`.
pub const HYGIENE: Check = Check {
    refusal: "the project must not be packed as it is",
    advice: "`ingot hygiene` says what to do about each; docs/hygiene.md has the rules",
};

/// `ingot validate`.
pub const VALIDATE: Check = Check {
    refusal: "the image must not be shipped as it is",
    advice: "`ingot validate` says what to do about each; docs/validate.md has the rules",
};

/// `ingot stack check`.
pub const STACK: Check = Check {
    refusal: "the stack must not be started as it is",
    advice: "`ingot stack check` says what to do about each; docs/stack.md has the rules",
};

impl Error {
    /// For a report with errors; `listed` says that its findings are on the screen already.
    pub fn refused(report: &Report, check: Check, listed: bool) -> Option<Error> {
        let errors: Vec<&Finding> = report.findings.iter().filter(|one| one.severity == Severity::Error).collect();
        let first = errors.first()?;
        let count = if errors.len() == 1 { "1 error".into() } else { format!("{} errors", errors.len()) };
        let list = (!listed).then(|| list(&errors));
        let advice = match errors.iter().all(|one| one.rule == first.rule) {
            true => first.fix.clone(),
            false => check.advice.into(),
        };
        Some(Error::Refused { what: check.refusal.into(), count, list, advice })
    }
}

fn list(errors: &[&Finding]) -> String {
    let mut lines: Vec<String> = errors
        .iter()
        .take(LISTED)
        .map(|finding| format!("  {}: {} [{}]", finding.place(), finding.told(), finding.rule))
        .collect();
    if errors.len() > LISTED {
        lines.push(format!("  and {} more", errors.len() - LISTED));
    }
    lines.join("\n")
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::UnknownRule { .. } => Class::Usage,
            Error::Refused { .. } => Class::Policy,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::UnknownRule { id, known, page } => unknown(id, known, page),
            Error::Refused { advice, .. } => advice.clone(),
        })
    }

    fn details(&self) -> Option<String> {
        match self {
            Error::Refused { list, .. } => list.clone(),
            Error::UnknownRule { .. } => None,
        }
    }
}

/// "did you mean `x`?"; there are too many rules to list them.
pub(super) fn unknown(id: &str, known: &[String], page: &str) -> String {
    let secret = format!("{PREFIX}{id}");
    if known.contains(&secret) {
        return format!("did you mean `{secret}`?");
    }
    let hint = suggestion(id, known, "");
    if hint.starts_with("did you mean") { hint } else { format!("{page} lists the rules") }
}
