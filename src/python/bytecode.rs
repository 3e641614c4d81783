//! The interface of bytecode compilation: sources in, normalised `.pyc` files out.

use crate::error::Result;

use super::PythonVersion;

/// What becomes of Python sources in a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BytecodeMode {
    /// Sources only.
    None,
    /// `x.py` and `__pycache__/x.cpython-3XY.pyc`.
    #[default]
    Alongside,
    /// `x.pyc` where `x.py` was; no source stays.
    Only,
}

impl BytecodeMode {
    /// As it is written in `ingot.toml`.
    pub fn name(self) -> &'static str {
        match self {
            BytecodeMode::None => "none",
            BytecodeMode::Alongside => "alongside",
            BytecodeMode::Only => "only",
        }
    }
}

/// A module to compile.
#[derive(Clone, Debug)]
pub struct Module {
    /// `co_filename`: the absolute path in the image, "/app/main.py".
    pub path: String,
    /// The source as it is in the file.
    pub source: std::sync::Arc<[u8]>,
}

/// Why a module has no bytecode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What the compiler said: "invalid syntax".
    pub message: String,
    /// Counted from 1; 0 if unknown.
    pub line: u32,
    /// Counted from 1; 0 if unknown.
    pub column: u32,
    /// The line itself.
    pub text: String,
}

/// Compiles modules for one Python version.
pub trait Compile: Send + Sync {
    /// The version that it compiles for (major and minor decide the bytes).
    fn version(&self) -> PythonVersion;

    /// The magic number that begins each of its `.pyc` files.
    fn magic(&self) -> [u8; 4];

    /// One result for each module, in their order: a whole `.pyc` file (PEP 552, unchecked hash), normalised so
    /// that equal sources give equal bytes, or the syntax error. Runs in parallel; starts interpreters when it is
    /// first called.
    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>>;
}
