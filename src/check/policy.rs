//! Which rules are on, and how severe they are: the rules' own severity, then ingot.toml, then the command line.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{self, Error};
use super::finding::{Evidence, Finding, Severity};
use super::rule::{Rule, find};
use crate::error::Result;
use crate::project::{LARGE_FILE, RulesSpec};

/// What a project and a command line make of the rules.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: &'static [Rule],
    off: BTreeSet<String>,
    severity: BTreeMap<String, Severity>,
    /// A file that is larger is told, in bytes.
    pub large_file: u64,
}

impl Policy {
    /// Over these rules (sorted by id), of a project's table and `--skip`. A rule that there is not is an error that
    /// points at its line. `page` of the documentation lists the rules.
    pub fn new(rules: &'static [Rule], spec: &RulesSpec, skip: &[String], page: &'static str) -> Result<Self> {
        let known = || rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>();
        let rule = |id: &str| find(rules, id);
        let (off, severity) = Default::default();
        let mut policy = Policy { rules, off, severity, large_file: LARGE_FILE };
        for id in spec.skip.iter().chain(spec.severity.iter().map(|(id, _)| id)) {
            if rule(&id.value).is_none() {
                let message = format!("there is no rule `{}`", id.value.escape_debug());
                return Err(id.at.error(message, Some(error::unknown(&id.value, &known(), page))));
            }
        }
        if let Some(id) = skip.iter().find(|id| rule(id).is_none()) {
            return Err(Error::UnknownRule { id: id.clone(), known: known(), page }.into());
        }
        policy.off.extend(spec.skip.iter().map(|id| id.value.clone()));
        policy.off.extend(skip.iter().cloned());
        let severities = spec.severity.iter().filter_map(|(id, text)| Some((id.value.clone(), text.parse().ok()?)));
        policy.severity.extend(severities);
        Ok(policy)
    }

    /// A finding of this rule, unless it is off.
    pub fn finding(
        &self,
        id: &str,
        place: (&str, Option<usize>),
        message: impl Into<String>,
        evidence: Option<Evidence>,
    ) -> Option<Finding> {
        let rule = find(self.rules, id).filter(|rule| !self.off.contains(&rule.id))?;
        Some(Finding {
            rule: rule.id.clone(),
            severity: self.severity.get(&rule.id).copied().unwrap_or(rule.severity),
            platform: None,
            path: place.0.to_string(),
            line: place.1,
            message: message.into(),
            evidence,
            details: Vec::new(),
            fix: rule.fix.to_string(),
        })
    }
}
