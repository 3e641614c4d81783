//! The table of forms.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::check::finding::Severity;

/// What the ids of all rules about secrets begin with.
pub(in crate::check) const PREFIX: &str = "secret-";

/// The most memory that one expression may take when it is compiled.
const EXPRESSION_LIMIT: usize = 16 << 20;

const TABLE: &str = include_str!("secrets.toml");
/// What says too little in files, and enough in what a stack tells its programs.
const STACK: &str = include_str!("stack.toml");

/// In which files a form is looked for; also what kind of file is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::check) enum Files {
    /// In all.
    #[default]
    All,
    /// In those that are written by hand, line by line.
    Source,
    /// In those of variables and their values.
    Dotenv,
    /// In those of settings: INI, YAML, properties.
    Config,
}

impl Files {
    /// Whether a form for these files is looked for in one of the kind `found`.
    pub(super) fn includes(self, found: Files) -> bool {
        matches!(self, Files::All | Files::Source) || self == found
    }

    pub(super) fn needs_short_lines(self) -> bool {
        self != Files::All
    }
}

/// What a form has besides its letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Filter {
    /// Nothing: the letters say it.
    #[default]
    None,
    /// It says little: words, placeholders, names are no secrets.
    Loose,
    /// It is the value of a variable that is called like a secret.
    Env,
    /// Its last six characters are a checksum.
    Github,
    /// It is `user:password` in base64.
    DockerAuth,
    /// It stands in a URL.
    Url,
    /// It is all there is: no variable, path or answer.
    Password,
    /// The same, and no number, time or address.
    Key,
    /// It stands in a URL, whoever's: not a port and a path.
    Authority,
    /// It is `user:password` in base64, whoever's.
    Basic,
    /// It is one, whatever it looks like.
    Any,
}

/// One form of a secret.
#[derive(Debug, Deserialize)]
pub(in crate::check) struct Form {
    id: String,
    /// "a GitHub token".
    pub(in crate::check) title: String,
    #[serde(default = "error")]
    pub(in crate::check) severity: Severity,
    pub(super) words: Vec<String>,
    pattern: String,
    pub(super) entropy: f64,
    #[serde(default)]
    pub(super) filter: Filter,
    #[serde(default)]
    pub(super) files: Files,
    /// Whether the secret goes on after what is matched of it.
    #[serde(default)]
    pub(super) beginning: bool,
    #[cfg(test)]
    pub(super) hit: Vec<String>,
    #[cfg(test)]
    pub(super) miss: Vec<String>,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

fn error() -> Severity {
    Severity::Error
}

impl Form {
    /// The rule's id.
    pub(in crate::check) fn rule(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    /// Compiled when it is first needed: most forms are not in most projects.
    pub(super) fn expression(&self) -> Option<&Regex> {
        let compile = || {
            let mut builder = RegexBuilder::new(&self.pattern);
            builder.unicode(false).size_limit(EXPRESSION_LIMIT).build().ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }
}

#[derive(Deserialize)]
struct Table {
    rule: Vec<Form>,
}

fn read(table: &str) -> Vec<Form> {
    toml::from_str::<Table>(table).map(|table| table.rule).unwrap_or_default()
}

/// All forms, from what says most to what says least.
pub(in crate::check) fn forms() -> &'static [Form] {
    static FORMS: OnceLock<Vec<Form>> = OnceLock::new();
    FORMS.get_or_init(|| read(TABLE))
}

/// The forms that are looked for only in what a stack tells its programs.
pub(super) fn stack_forms() -> &'static [Form] {
    static FORMS: OnceLock<Vec<Form>> = OnceLock::new();
    FORMS.get_or_init(|| read(STACK))
}

/// What decides what is found: another table is another answer.
pub(in crate::check) fn version() -> crate::oci::Digest {
    crate::oci::Digest::of(TABLE.as_bytes())
}
