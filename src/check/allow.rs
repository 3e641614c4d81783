//! `.ingot-allow`: findings that somebody has answered for, line by line: rule, files, reason.
//!
//! ```text
//! # RULE              FILES                  REASON
//! secret-private-key  src/demo/selfsigned.*  made for the demo, trusted by nothing
//! ```
//! FILES is a pattern as in `.dockerignore`, from the project's root. A line without a reason is a mistake; one that
//! answers for nothing any more is a finding itself.

use std::path::Path;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use super::error;
use super::finding::Finding;
use super::rule::{rule, rules};
use crate::error::Result;
use crate::fs;
use crate::project::{Place, Source};

/// Its name, in the project's root.
pub const ALLOW_FILE: &str = ".ingot-allow";

/// The largest such file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// One line of the file.
#[derive(Debug)]
struct Entry {
    rule: String,
    text: String,
    files: Regex,
    line: usize,
    used: bool,
}

/// What is answered for.
#[derive(Debug, Default)]
pub struct Allowed {
    entries: Vec<Entry>,
}

impl Allowed {
    /// Reads the file of the project in `root`; none is fine.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(ALLOW_FILE);
        let Some(bytes) = fs::read_optional(&path, FILE_LIMIT)? else { return Ok(Allowed::default()) };
        let text = String::from_utf8(bytes).map_err(|_| fs::Error::NotText { path: path.clone() })?;
        Allowed::parse(&Source::new(&path, text))
    }

    fn parse(source: &Arc<Source>) -> Result<Self> {
        let mut entries = Vec::new();
        let mut start = 0;
        for (index, line) in source.text().split_inclusive('\n').enumerate() {
            let words = line.trim();
            let begin = start + (line.len() - line.trim_start().len());
            start += line.len();
            if words.is_empty() || words.starts_with('#') {
                continue;
            }
            let place = Place::new(source, begin..begin + words.len());
            let mut parts = words.splitn(3, char::is_whitespace);
            let id = parts.next().unwrap_or_default();
            let rest = words.strip_prefix(id).unwrap_or_default().trim_start();
            let (files, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if rule(id).is_none() {
                let known: Vec<String> = rules().iter().map(|rule| rule.id.clone()).collect();
                let message = format!("there is no rule `{}`", id.escape_debug());
                return Err(place.error(message, Some(error::unknown(id, &known, "docs/hygiene.md"))));
            }
            if files.is_empty() || !reason.chars().any(char::is_alphanumeric) {
                let hint = "write a rule, a pattern of files, and why it is no danger".to_string();
                return Err(place.error("the line gives no reason", Some(hint)));
            }
            let Some(expression) = pattern(files) else {
                return Err(place.error(format!("`{}` is not a pattern of files", files.escape_debug()), None));
            };
            entries.push(Entry {
                rule: id.to_string(),
                text: files.to_string(),
                files: expression,
                line: index + 1,
                used: false,
            });
        }
        Ok(Allowed { entries })
    }

    /// Whether a line answers for this finding. All that do are used from then on.
    pub(super) fn answers(&mut self, finding: &Finding) -> bool {
        let mut found = false;
        for entry in &mut self.entries {
            if entry.rule == finding.rule && entry.files.is_match(finding.path.as_bytes()) {
                entry.used = true;
                found = true;
            }
        }
        found
    }

    /// The lines that answered for nothing: line, rule, files.
    pub(super) fn unused(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.entries.iter().filter(|entry| !entry.used).map(|entry| (entry.line, &*entry.rule, &*entry.text))
    }
}

/// A pattern with `*`, `?` and `**`, from the project's root; a folder means all that is in it.
pub(super) fn pattern(text: &str) -> Option<Regex> {
    let mut expression = String::from("^");
    let mut rest = text.trim_start_matches("./").trim_matches('/');
    while let Some(next) = rest.chars().next() {
        let (piece, length) = match next {
            '*' if rest.starts_with("**/") => ("(?:.*/)?".to_string(), 3),
            '*' if rest.starts_with("**") => (".*".to_string(), 2),
            '*' => ("[^/]*".to_string(), 1),
            '?' => ("[^/]".to_string(), 1),
            other => (regex::escape(&other.to_string()), other.len_utf8()),
        };
        expression += &piece;
        rest = rest.get(length..)?;
    }
    expression += "(?:/.*)?$";
    RegexBuilder::new(&expression).unicode(false).dot_matches_new_line(true).size_limit(1 << 20).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Allowed> {
        Allowed::parse(&Source::new(Path::new(ALLOW_FILE), text.into()))
    }

    fn finding(rule: &str, path: &str) -> Finding {
        Finding {
            rule: rule.into(),
            severity: super::super::Severity::Error,
            path: path.into(),
            line: Some(3),
            message: String::new(),
            evidence: None,
            details: Vec::new(),
            platform: None,
            fix: String::new(),
        }
    }

    #[test]
    fn lines_answer_for_findings_and_say_when_they_do_not() {
        let text = "# a comment\n\n  secret-jwt\tsrc/*.py  it has expired\nenv-file src/conf for tests\r\n";
        let mut allowed = parse(text).unwrap();
        assert!(allowed.answers(&finding("secret-jwt", "src/a.py")));
        for (rule, path) in [("secret-jwt", "src/x/a.py"), ("secret-generic", "src/a.py"), ("secret-jwt", "a.py")] {
            assert!(!allowed.answers(&finding(rule, path)), "{rule} {path}");
        }
        assert_eq!(allowed.unused().collect::<Vec<_>>(), [(4, "env-file", "src/conf")]);
        assert!(allowed.answers(&finding("env-file", "src/conf/.env")));
        assert_eq!(allowed.unused().count(), 0);
    }

    #[test]
    fn mistakes_point_at_their_line() {
        for (text, message, at) in [
            ("secret-jwt src/a.py\n", "the line gives no reason", ":1:1"),
            ("\nsecret-jwt src/a.py  -- \n", "the line gives no reason", ":2:1"),
            ("secret-jwt\n", "the line gives no reason", ":1:1"),
            (" secret-jtw a b\n", "there is no rule `secret-jtw`", ":1:2"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.class().code()), (message, 2));
            assert!(error.snippet().is_some_and(|snippet| snippet.contains(at)), "{text:?}");
        }
        assert_eq!(parse("secret-jtw a b").err().and_then(|error| error.hint()).unwrap(), "did you mean `secret-jwt`?");
    }

    #[test]
    fn patterns_are_those_of_dockerignore() {
        for (text, yes, no) in [
            ("src/*.py", &["src/a.py"][..], &["src/x/a.py", "a/src/a.py"][..]),
            ("**/*.pem", &["a.pem", "x/y/a.pem"], &["a.pem2"]),
            ("src", &["src/a", "src"], &["srcs/a"]),
            ("./a?c/", &["abc", "a.c/x"], &["a/c"]),
            ("a.b+(c)", &["a.b+(c)"], &["axb+(c)"]),
            ("**", &["a", "a/b"], &[]),
            ("é*", &["éx"], &["e"]),
        ] {
            let pattern = pattern(text).unwrap();
            yes.iter().for_each(|path| assert!(pattern.is_match(path.as_bytes()), "{text} {path}"));
            no.iter().for_each(|path| assert!(!pattern.is_match(path.as_bytes()), "{text} {path}"));
        }
    }
}
