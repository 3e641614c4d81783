//! What can be wrong with a stack.

use crate::error::{Class, Explain};
use crate::fs;

/// A compose file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not YAML, or more than a limit of it.
    #[error("`{file}`, line {line}: {what}")]
    Yaml {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A key that the specification does not have.
    #[error("`{file}`, line {line}: {what}")]
    UnknownKey {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// Which key, and where.
        what: String,
        /// What was meant, perhaps.
        hint: String,
    },
    /// There is no Compose file.
    #[error("there is no Compose file in `{folder}`")]
    NoFile {
        /// Where it was looked for.
        folder: String,
    },
    /// A file that is usually read is a link to somebody else's.
    #[error("`{file}` is a link that leads out of the project's folder")]
    Outside {
        /// The file.
        file: String,
    },
    /// Somebody else wrote a file while it was looked at.
    #[error("`{file}` was changed by somebody else, and is not written")]
    Changed {
        /// The file.
        file: String,
    },
    /// Some of several files are written, and another one could not be.
    #[error("`{file}` could not be written, but {written} {}", if *written_count == 1 { "is" } else { "are" })]
    Partly {
        /// The file.
        file: String,
        /// Those that are written, each in back-ticks.
        written: String,
        /// How many that are.
        written_count: usize,
        /// Why not.
        #[source]
        source: fs::Error,
    },
    /// A rule that holds always.
    #[error("the rule `{rule}` cannot be switched off")]
    Always {
        /// Its id.
        rule: String,
    },
    /// Something of a stack that does not fit together.
    #[error("`{file}`, line {line}: {what}")]
    Unfit {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What does not fit.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        match self {
            Error::Partly { source, .. } => source.class(),
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Yaml { .. } => None,
            Error::UnknownKey { hint, .. } => Some(hint.clone()).filter(|hint| !hint.is_empty()),
            Error::NoFile { .. } => Some("name one with `-f FILE`, or write compose.yaml".into()),
            Error::Outside { file } => Some(format!("if that is meant, name it: `--env-file {file}`")),
            Error::Changed { .. } => Some("run it again".into()),
            Error::Partly { .. } => Some("run it again: what is written stays, and what is missing is added".into()),
            Error::Always { .. } => Some(
                "who can talk to the engine is root on the host; `ingot sandbox serve` is there for such services"
                    .into(),
            ),
            Error::Unfit { hint, .. } => Some(hint.to_string()),
        }
    }
}
