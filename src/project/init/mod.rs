//! What `ingot init` writes: a first project file for the application that it finds.
//!
//! [`detect()`] looks at names, at single lines of files and at what package.json says, and never runs anything; [`Draft::to_toml`] writes
//! a file that loads as it is, with comments on what could not be known.

mod detect;
mod facts;
mod node;
mod scan;

use std::fmt::Write;

pub use detect::detect;

use super::PACKAGES_SUFFIX;
use crate::python::PythonVersion;

/// The port that a found application is told to listen on.
pub const PORT: u16 = 8080;

/// What kind of application was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppKind {
    /// An object made by `Flask(...)`, or a factory of one.
    Flask,
    /// An object made by `FastAPI(...)`, or a factory of one.
    FastApi,
    /// `manage.py` and its settings.
    Django,
    /// A module or package that is run.
    Plain,
    /// What package.json starts.
    Node,
}

impl AppKind {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            AppKind::Flask => "Flask",
            AppKind::FastApi => "FastAPI",
            AppKind::Django => "Django",
            AppKind::Plain => "Python",
            AppKind::Node => "Node",
        }
    }
}

/// A project file to be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What was found.
    pub kind: AppKind,
    /// The image's name.
    pub name: String,
    /// The version of Python, if it is an application of Python.
    pub python: Option<PythonVersion>,
    /// The base that it begins with.
    pub base: String,
    /// The lock file, relative to the project.
    pub lock: Option<String>,
    /// The folder of the application, relative to the project.
    pub source: String,
    /// What runs.
    pub command: Vec<String>,
    /// What it listens on.
    pub port: Option<u16>,
    /// Variables that it needs.
    pub env: Vec<(String, String)>,
    /// What the user should know or do, one line each; comments of the file.
    pub notes: Vec<String>,
    /// What was decided, one line each; comments of the file.
    pub remarks: Vec<String>,
}

impl Draft {
    /// The text of `ingot.toml`.
    pub fn to_toml(&self) -> String {
        let mut text =
            format!("# How Ingot casts this {} application; every key: docs/project-file.md\n", self.kind.name());
        for note in &self.notes {
            let _ = writeln!(text, "# TODO: {note}");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "# {remark}");
        }
        let _ = write!(text, "\n[image]\nname = {}\n", quoted(&self.name));
        match &self.python {
            Some(version) => {
                text += "\n[python]\n";
                text += &line("version", &quoted(&version.short()), "what the base provides");
                match &self.lock {
                    Some(lock) => text += &format!("lock = {}\n", quoted(lock)),
                    None => {
                        text += &line("# lock", "\"requirements.lock\"", "the dependencies, every one with its hash")
                    }
                }
            }
            None => {
                if self.base.ends_with(PACKAGES_SUFFIX) {
                    text += "\n[os]\n";
                    text += &line("packages", "[\"nodejs\"]", "Node itself, from the base's own packages");
                }
                let lock = quoted(self.lock.as_deref().unwrap_or("package-lock.json"));
                text += "\n[node]\n";
                text += &line("lock", &lock, "the packages, every one with its hash");
            }
        }
        text += "\n[app]\n";
        text += &line("source", &quoted(&self.source), ".dockerignore holds");
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "command = [{}]", words.join(", "));
        match self.port {
            Some(port) => {
                let _ = writeln!(text, "expose = [{port}]");
            }
            None if self.kind == AppKind::Node => text += "# expose = [8080]\n",
            None => {}
        }
        text += &line("# writable", "[\"/app/data\"]", "folders that the application writes to");
        if !self.env.is_empty() {
            text += "\n[env]\n";
            for (name, value) in &self.env {
                let _ = writeln!(text, "{name} = {}", quoted(value));
            }
        }
        let url = format!("'http://127.0.0.1:{}/health'", self.port.unwrap_or(PORT));
        let check = match self.python {
            Some(_) => format!("\"python\", \"-c\", \"import urllib.request as r; r.urlopen({url}, timeout=5)\""),
            None => format!("\"node\", \"-e\", \"fetch({url}).then(answer => process.exit(answer.ok ? 0 : 1))\""),
        };
        let _ = write!(text, "\n# [healthcheck]\n# command = [{check}]\n");
        text += "\n[budget]                                   # checked before anything is written or pushed\ncompressed = \"500MB\"\n";
        let _ = write!(text, "\n[variants.default]\nbase = {}\n", quoted(&self.base));
        text
    }
}

/// `key = value`, and a comment that stands where the others do.
fn line(key: &str, value: &str, comment: &str) -> String {
    format!("{:<42} # {comment}\n", format!("{key} = {value}"))
}

/// A TOML string in which no `${` is left to expand.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '$' => quoted.push_str("$$"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
