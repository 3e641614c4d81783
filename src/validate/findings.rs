//! What the rules have found so far.

use super::subject::Subject;
use crate::check::{Evidence, Finding, Policy, Report};

/// The most findings of one rule that are kept; how many more there were is told.
const KEPT: usize = 100;

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
        let (place, message) = (place.into(), message.into());
        Draft { rule, place, message, evidence: None, line: None, details: Vec::new(), fix: None }
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
        self.details.push(detail.into());
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

    /// All of them, sorted.
    pub(super) fn report(self, subject: &Subject) -> Report {
        let mut report = Report { findings: self.found, ..Report::default() };
        for (rule, count) in self.more {
            let message = format!("and {count} more of this rule");
            report.findings.extend(self.policy.finding(rule, (&subject.name, None), message, None));
        }
        report.files = subject.layers.iter().map(|layer| layer.facts.len()).sum();
        report.bytes = subject.layers.iter().filter_map(|layer| layer.blob.uncompressed_size).sum();
        report.sort();
        report
    }
}
