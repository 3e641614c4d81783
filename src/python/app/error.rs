//! What can be wrong with an application's files.

use std::path::PathBuf;

use super::snippet;
use crate::error::{Class, Explain};
use crate::python::bytecode::SyntaxError;

/// A module that does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadModule {
    /// Relative to the project.
    pub path: String,
    /// What the compiler said.
    pub error: SyntaxError,
}

/// An application that cannot become a layer.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The source folder is not a folder of the project.
    #[error("`[app] source` is `{}`, which is {found}: expected a folder in the project", path.display())]
    Source {
        /// As it is written.
        path: PathBuf,
        /// "not there", "a link", "outside".
        found: &'static str,
    },
    /// Nothing is left to ship.
    #[error("`{}` has no files for the image", path.display())]
    Empty {
        /// The source folder.
        path: PathBuf,
    },
    /// More entries than an application has.
    #[error("`{}` has more than {limit} files", path.display())]
    TooMany {
        /// The source folder.
        path: PathBuf,
        /// The most that is read.
        limit: usize,
    },
    /// A folder or file cannot be read.
    #[error("could not read `{path}`")]
    Walk {
        /// Relative to the project.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A name that is not text.
    #[error("`{path}` has a name that is not UTF-8")]
    Name {
        /// Relative to the project, escaped.
        path: String,
    },
    /// A device, a socket, a named pipe.
    #[error("`{path}` is {kind}: expected a file, a folder or a link")]
    Special {
        /// Relative to the project.
        path: String,
        /// "a socket", ...
        kind: &'static str,
    },
    /// A link that would lead elsewhere in the image.
    #[error("the link `{path}` to `{target}` {reason}")]
    Link {
        /// Relative to the project.
        path: String,
        /// As it is written.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file changed while it was read.
    #[error("`{path}` changed while the layer was made")]
    Changed {
        /// Relative to the project.
        path: String,
    },
    /// A line of `.dockerignore`.
    #[error("line {line} of `.dockerignore` is not a pattern: `{pattern}`, {reason}")]
    Ignore {
        /// Counted from 1.
        line: usize,
        /// The line.
        pattern: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Modules that do not compile.
    #[error("{}", summary(modules))]
    Syntax {
        /// All of them, sorted by path.
        modules: Vec<BadModule>,
    },
    /// Bytecode was asked for, and no compiler was given.
    #[error("the app's bytecode was asked for without a compiler")]
    NoCompiler,
}

fn summary(modules: &[BadModule]) -> String {
    let place = |module: &BadModule| match module.error.line {
        0 => format!("`{}`", module.path),
        line => format!("`{}`, line {line}", module.path),
    };
    match modules {
        [one] => format!("{} does not compile: {}", place(one), one.error.message),
        _ => {
            let first: Vec<String> = modules.iter().take(snippet::SHOWN).map(place).collect();
            let more = modules.len().saturating_sub(snippet::SHOWN);
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            format!("{} modules do not compile: {}{more}", modules.len(), first.join("; "))
        }
    }
}

impl Explain for AppError {
    fn class(&self) -> Class {
        match self {
            AppError::Walk { .. } | AppError::Changed { .. } => Class::Storage,
            AppError::NoCompiler => Class::Bug,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            AppError::Source { .. } => "set `source` in `[app]` to the folder that holds the application".into(),
            AppError::Empty { .. } => "look at `source` in `[app]`, and at .dockerignore".into(),
            AppError::TooMany { .. } => "leave out what the image does not need with .dockerignore".into(),
            AppError::Name { .. } => "rename it, or leave it out with .dockerignore".into(),
            AppError::Special { .. } => "remove it, or leave it out with .dockerignore".into(),
            AppError::Link { .. } => {
                "make it a relative link to something in the source folder, replace it with a copy, or leave it out \
                 with .dockerignore"
                    .into()
            }
            AppError::Changed { .. } => "do not change the project while it is being built; then build again".into(),
            AppError::Syntax { .. } => {
                "correct it, or leave out with .dockerignore what is not for this version of Python".into()
            }
            _ => return None,
        })
    }

    fn snippet(&self) -> Option<String> {
        match self {
            AppError::Syntax { modules } => Some(snippet::render(modules)),
            _ => None,
        }
    }
}
