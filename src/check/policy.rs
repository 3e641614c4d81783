//! Which rules are on, and how severe they are: the rules' own severity, then ingot.toml, then the command line.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{self, Error};
use super::finding::{Evidence, Finding, Severity};
use super::rule::{rule, rules};
use crate::error::Result;
use crate::project::HygieneSpec;

/// What a project and a command line make of the rules.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    off: BTreeSet<String>,
    severity: BTreeMap<String, Severity>,
    /// A file that is larger is told, in bytes.
    pub(super) large_file: u64,
}

impl Policy {
    /// Of `[hygiene]` and `--skip`. A rule that there is not is an error that points at its line.
    pub fn new(spec: &HygieneSpec, skip: &[String]) -> Result<Self> {
        let known = || rules().iter().map(|rule| rule.id.clone()).collect::<Vec<_>>();
        let mut policy = Policy { large_file: spec.large_file, ..Policy::default() };
        for id in spec.skip.iter().chain(spec.severity.iter().map(|(id, _)| id)) {
            if rule(&id.value).is_none() {
                let message = format!("there is no rule `{}`", id.value.escape_debug());
                return Err(id.at.error(message, Some(error::unknown(&id.value, &known()))));
            }
        }
        if let Some(id) = skip.iter().find(|id| rule(id).is_none()) {
            return Err(Error::UnknownRule { id: id.clone(), known: known() }.into());
        }
        policy.off.extend(spec.skip.iter().map(|id| id.value.clone()));
        policy.off.extend(skip.iter().cloned());
        let severities = spec.severity.iter().filter_map(|(id, text)| Some((id.value.clone(), text.parse().ok()?)));
        policy.severity.extend(severities);
        Ok(policy)
    }

    /// A finding of this rule, unless it is off.
    pub(super) fn finding(
        &self,
        id: &str,
        place: (&str, Option<usize>),
        message: impl Into<String>,
        evidence: Option<Evidence>,
    ) -> Option<Finding> {
        let rule = rule(id).filter(|rule| !self.off.contains(&rule.id))?;
        Some(Finding {
            rule: rule.id.clone(),
            severity: self.severity.get(&rule.id).copied().unwrap_or(rule.severity),
            path: place.0.to_string(),
            line: place.1,
            message: message.into(),
            evidence,
            fix: rule.fix.to_string(),
        })
    }
}
