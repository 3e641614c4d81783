//! What the rules have found so far.

use super::subject::Subject;
use crate::check::{Evidence, Finding, Policy, Report, secrets_in_lines};

/// The most findings of one rule that are kept; how many more there were is told.
const KEPT: usize = 100;

/// The longest place, message or detail, in characters: what an image says of itself may be of any length.
const TOLD: usize = 600;
/// The longest text of an image's in a message, in characters.
const BRIEF: usize = 120;
/// How much of a text is searched for secrets before some of it is shown, in characters.
const SEARCHED: usize = 4096;
/// How many of several paths are in the message, and how many in the details.
const NAMED: (usize, usize) = (3, 50);

/// A text of the image's, short, and without anything that a terminal would act on or nobody should see.
pub(super) fn brief(text: &str) -> String {
    open(text, BRIEF)
}

/// Like [`cut`], unless there is a secret in what would be shown.
fn open(text: &str, limit: usize) -> String {
    let searched: String = text.chars().take(SEARCHED).collect();
    let hidden = [false, true].iter().any(|variables| !secrets_in_lines(&searched, *variables).is_empty());
    if hidden { "(a secret)".into() } else { cut(text, limit) }
}

fn cut(text: &str, limit: usize) -> String {
    let start: String = text.chars().take(limit).collect();
    let end = if start.len() < text.len() { "..." } else { "" };
    crate::text::escape(&start) + end
}

/// Collects findings of rules that are on.
pub struct Findings<'a> {
    policy: &'a Policy,
    found: Vec<Finding>,
    more: std::collections::BTreeMap<&'static str, usize>,
}

/// A finding on its way: more may be said of it before it is added.
pub struct Draft {
    rule: &'static str,
    place: String,
    message: String,
    evidence: Option<Evidence>,
    line: Option<usize>,
    details: Vec<String>,
    fix: Option<String>,
}

impl Draft {
    /// Where, and what is there. A place is `/usr/lib/x.so`, `config.User`, `manifest.layers[3]`.
    pub fn new(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (open(&place.into(), TOLD), cut(&message.into(), TOLD));
        Draft { rule, place, message, evidence: None, line: None, details: Vec::new(), fix: None }
    }

    /// About these paths, which have one cause: one finding, none if there are none. `place` is where they all are.
    pub fn about(
        rule: &'static str,
        place: &str,
        paths: Vec<String>,
        told: impl FnOnce(usize) -> String,
    ) -> Option<Self> {
        let message = told(paths.len());
        match paths.as_slice() {
            [] => None,
            [one] => Some(Draft::new(rule, one, message)),
            many => {
                let named: Vec<String> = many.iter().take(NAMED.0).map(|path| format!("`{}`", brief(path))).collect();
                let more = many.len().saturating_sub(NAMED.0);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                let draft = Draft::new(rule, place, format!("{message}: {}{more}", named.join(", ")));
                Some(many.iter().take(NAMED.1).fold(draft, |draft, path| draft.detail(path)))
            }
        }
    }

    /// What was seen of a secret.
    pub fn evidence(self, evidence: Evidence) -> Self {
        Draft { evidence: Some(evidence), ..self }
    }

    /// The line, counted from 1.
    pub fn line(self, line: Option<usize>) -> Self {
        Draft { line, ..self }
    }

    /// What it was concluded from.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        if self.details.len() < KEPT {
            self.details.push(cut(&detail.into(), TOLD));
        }
        self
    }

    /// What to do about this one, if that is more than what the rule says.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Draft { fix: Some(fix.into()), ..self }
    }
}

impl<'a> Findings<'a> {
    /// None yet.
    pub fn new(policy: &'a Policy) -> Self {
        Findings { policy, found: Vec::new(), more: Default::default() }
    }

    /// Adds a finding, if its rule is on.
    pub fn add(&mut self, draft: Draft) {
        let place = (draft.place.as_str(), draft.line);
        let Some(mut finding) = self.policy.finding(draft.rule, place, draft.message, draft.evidence) else { return };
        if self.found.iter().filter(|other| other.rule == finding.rule).count() >= KEPT {
            *self.more.entry(draft.rule).or_default() += 1;
            return;
        }
        finding.details = draft.details;
        finding.fix = draft.fix.unwrap_or(finding.fix);
        self.found.push(finding);
    }

    /// Adds a finding, if there is one.
    pub fn extend(&mut self, draft: Option<Draft>) {
        if let Some(draft) = draft {
            self.add(draft);
        }
    }

    /// All of them, sorted.
    pub(super) fn report(self, subject: &Subject) -> Report {
        let mut report = Report { findings: self.found, ..Report::default() };
        for (rule, count) in self.more {
            let message = format!("and {count} more of this rule");
            report.findings.extend(self.policy.finding(rule, (&subject.name, None), message, None));
        }
        report.files = subject.layers.iter().map(|layer| layer.facts.len()).sum();
        report.bytes =
            subject.layers.iter().filter_map(|layer| layer.blob.uncompressed_size).fold(0, u64::saturating_add);
        report.sort();
        report
    }
}
