//! Findings as a JUnit file, which every CI shows: one case per rule that fired, a failure if one of its findings is an
//! error.

use std::collections::BTreeMap;

use crate::check::{Finding, Report, Severity};

/// The document. Rules without a finding are not in it; without any finding there is one case, that passes.
pub fn junit(suite: &str, report: &Report) -> String {
    let mut cases: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        cases.entry(&finding.rule).or_default().push(finding);
    }
    let failing = |findings: &[&Finding]| findings.iter().any(|finding| finding.severity == Severity::Error);
    let failures = cases.values().filter(|findings| failing(findings)).count();
    let suite = escape(suite);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests = cases.len().max(1);
    out += &format!("<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n");
    out += &format!("  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n");
    if cases.is_empty() {
        out += &format!("    <testcase classname=\"{suite}\" name=\"all rules\"/>\n");
    }
    for (rule, findings) in cases {
        let lines: Vec<String> = findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.severity, finding.place(), finding.told()))
            .collect();
        let text = escape(&lines.join("\n"));
        out += &format!("    <testcase classname=\"{suite}\" name=\"{}\">\n", escape(rule));
        if failing(&findings) {
            let fix = findings.first().map(|finding| escape(&finding.fix)).unwrap_or_default();
            out += &format!("      <failure message=\"{fix}\">{text}</failure>\n");
        } else {
            out += &format!("      <system-out>{text}</system-out>\n");
        }
        out += "    </testcase>\n";
    }
    out + "  </testsuite>\n</testsuites>\n"
}

/// What XML can hold: control characters cannot be written in it at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            character if character.is_control() => out.extend(character.escape_default()),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_failures_and_nothing_breaks_the_document() {
        let finding = |rule: &str, severity, path: &str| Finding {
            rule: rule.into(),
            severity,
            path: path.into(),
            line: None,
            message: "a <b> & \"c\"".into(),
            evidence: None,
            details: Vec::new(),
            platform: None,
            fix: "fix".into(),
        };
        let findings = vec![
            finding("a", Severity::Error, "x\u{1b}"),
            finding("a", Severity::Info, "y"),
            finding("b", Severity::Warning, "z"),
        ];
        insta::assert_snapshot!(junit("ingot hygiene", &Report { findings, ..Report::default() }), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="2" failures="1" errors="0">
          <testsuite name="ingot hygiene" tests="2" failures="1" errors="0">
            <testcase classname="ingot hygiene" name="a">
              <failure message="fix">error x\u{1b}: a &lt;b&gt; &amp; &quot;c&quot;
        info y: a &lt;b&gt; &amp; &quot;c&quot;</failure>
            </testcase>
            <testcase classname="ingot hygiene" name="b">
              <system-out>warning z: a &lt;b&gt; &amp; &quot;c&quot;</system-out>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
        let empty = junit("ingot hygiene", &Report::default());
        assert!(empty.contains("tests=\"1\" failures=\"0\"") && empty.contains("name=\"all rules\"/>"), "{empty}");
    }
}
