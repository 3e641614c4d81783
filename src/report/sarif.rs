//! Findings as SARIF 2.1.0, which code hosts show beside the lines.

use serde::Serialize;

use crate::check::{Finding, Report, Rule, Severity, find};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The document.
#[derive(Serialize)]
pub struct Sarif {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
struct Run {
    tool: Tool,
    results: Vec<SarifResult>,
    #[serde(rename = "columnKind")]
    column_kind: &'static str,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: String,
    short_description: Text,
    full_description: Text,
    help: Text,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: String,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
}

impl Sarif {
    /// Of what a check with these rules (sorted by id) has found; only rules that fired are described.
    pub fn new(known: &'static [Rule], report: &Report) -> Self {
        let mut ids: Vec<&str> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let results = report.findings.iter().map(|finding| result(finding, &ids)).collect();
        let rules = ids.iter().filter_map(|id| find(known, id)).map(|rule| Descriptor {
            id: rule.id.clone(),
            short_description: Text { text: rule.title.clone() },
            full_description: Text { text: rule.why.into() },
            help: Text { text: rule.fix.into() },
            default_configuration: Configuration { level: level(rule.severity) },
        });
        let driver = Driver { name: "ingot", version: env!("CARGO_PKG_VERSION"), rules: rules.collect() };
        let run = Run { tool: Tool { driver }, results, column_kind: "unicodeCodePoints" };
        Sarif { schema: SCHEMA, version: "2.1.0", runs: [run] }
    }
}

fn result(finding: &Finding, ids: &[&str]) -> SarifResult {
    let platform = finding.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
    SarifResult {
        rule_id: finding.rule.clone(),
        rule_index: ids.iter().position(|id| *id == finding.rule).unwrap_or_default(),
        level: level(finding.severity),
        message: Text { text: format!("{}{platform}. Fix: {}", finding.told(), finding.fix) },
        locations: [Location {
            physical_location: Physical {
                artifact_location: Artifact { uri: uri(&finding.path) },
                region: finding.line.map(|start_line| Region { start_line }),
            },
        }],
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    utf8_percent_encode(path.trim_start_matches('/'), KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_has_the_shape_of_the_schema() {
        let finding = |path: &str, line, severity| Finding {
            rule: "secret-jwt".into(),
            severity,
            path: path.into(),
            line,
            message: "a JSON web token".into(),
            evidence: None,
            details: Vec::new(),
            platform: None,
            fix: "take it out".into(),
        };
        let report = Report {
            findings: vec![finding("src/a b.py", Some(3), Severity::Error), finding("é", None, Severity::Info)],
            ..Report::default()
        };
        let sarif = serde_json::to_value(Sarif::new(crate::check::rules(), &report)).unwrap();
        assert_eq!(sarif["version"], "2.1.0");
        let run = &sarif["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
        assert_eq!(run["tool"]["driver"]["rules"][0]["defaultConfiguration"]["level"], "warning");
        let first = &run["results"][0];
        assert_eq!(first["ruleIndex"], 0);
        assert_eq!((first["level"].as_str(), run["results"][1]["level"].as_str()), (Some("error"), Some("note")));
        assert_eq!(
            first["locations"][0]["physicalLocation"],
            json!({"artifactLocation": {"uri": "src/a%20b.py"}, "region": {"startLine": 3}})
        );
        assert_eq!(
            run["results"][1]["locations"][0]["physicalLocation"],
            json!({"artifactLocation": {"uri": "%C3%A9"}})
        );
    }
}
