//! Why an application or its dependencies have no bytecode.

use crate::error::{Class, Explain};
use crate::process;

use super::PythonVersion;
use super::marshal::Malformed;

/// An interpreter that is not there, or that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum BytecodeError {
    /// Neither the base nor this machine has one.
    #[error("no Python {version} was found to compile bytecode: {looked}")]
    NoInterpreter {
        /// The version of the image.
        version: PythonVersion,
        /// Where it was looked for.
        looked: String,
    },
    /// A version whose bytecode Ingot does not know.
    #[error("bytecode of Python {version} is unknown: expected 3.8 to 3.14")]
    UnknownVersion {
        /// The version of the image.
        version: PythonVersion,
    },
    /// An interpreter could not be started as a compiler.
    #[error("`{interpreter}` does not work as a compiler: expected magic number {expected}, found {found}")]
    Greeting {
        /// Which one.
        interpreter: String,
        /// In hexadecimal digits.
        expected: String,
        /// In hexadecimal digits, or what else it did.
        found: String,
    },
    /// The interpreter could not be run.
    #[error("could not run the compiler `{interpreter}`")]
    Process {
        /// Which one.
        interpreter: String,
        /// Why not.
        #[source]
        source: process::Error,
    },
    /// The worker ended, or said what it must not say, while it compiled a module.
    #[error("`{interpreter}` failed while it compiled `{module}`: {reason}")]
    Worker {
        /// Which one.
        interpreter: String,
        /// The module's path in the image.
        module: String,
        /// What happened.
        reason: String,
    },
    /// There is not enough memory for a module: nothing is known of it then.
    #[error("`{interpreter}` ran out of memory while it compiled `{module}`")]
    Memory {
        /// Which one.
        interpreter: String,
        /// The module's path in the image.
        module: String,
    },
    /// The compiler's output could not be read.
    #[error("the bytecode of `{module}` cannot be normalised")]
    Normalise {
        /// The module's path in the image.
        module: String,
        /// Why not.
        #[source]
        source: Malformed,
    },
    /// A module is too large.
    #[error("`{module}` has {size} bytes: expected at most {limit}")]
    SourceTooLarge {
        /// The module's path in the image.
        module: String,
        /// Its size.
        size: usize,
        /// The most that is compiled.
        limit: usize,
    },
}

impl Explain for BytecodeError {
    fn class(&self) -> Class {
        match self {
            BytecodeError::UnknownVersion { .. } | BytecodeError::SourceTooLarge { .. } => Class::Usage,
            BytecodeError::Normalise { .. } => Class::Verification,
            _ => Class::Engine,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BytecodeError::NoInterpreter { version, .. } => Some(format!(
                "install Python {short} (`uv python install {short}`, `pyenv install {short}` or the package \
                 `python{short}`), name one with INGOT_PYTHON, or set `bytecode = \"none\"`",
                short = version.short()
            )),
            BytecodeError::UnknownVersion { .. } => Some("set `bytecode = \"none\"` for this Python".into()),
            BytecodeError::SourceTooLarge { .. } => Some("leave the module out with .dockerignore".into()),
            BytecodeError::Worker { .. } => {
                Some("compile this module by hand (`python -m py_compile`) to see what is wrong with it".into())
            }
            BytecodeError::Memory { .. } => Some("build with more memory (see `ulimit -v`)".into()),
            _ => None,
        }
    }
}
