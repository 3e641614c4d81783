//! The interface of bytecode compilation: sources in, normalised `.pyc` files out.

use std::sync::Arc;

use crate::error::Result;
use crate::oci::Digest;

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
    pub source: Arc<[u8]>,
}

/// A module whose source is only read if it has to be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `co_filename`.
    pub path: String,
    /// The digest of the source.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Modules that are kept together: those of a wheel, of an application, of a standard library.
pub struct ModuleSet<'a> {
    /// Whose they are: what the same slot had last is looked at first. It decides nothing.
    pub slot: String,
    /// The modules.
    pub sources: Vec<Source>,
    /// Reads the source of one of them, by its place.
    pub read: &'a (dyn Fn(usize) -> Result<Arc<[u8]>> + Sync),
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

    /// Does now what the first module would wait for. What fails is told when modules are compiled.
    fn prepare(&self) {}

    /// One result for each module, in their order: a whole `.pyc` file (PEP 552, unchecked hash), normalised so
    /// that equal sources give equal bytes, or the syntax error. Runs in parallel; starts interpreters when it is
    /// first called.
    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>>;

    /// The same for a set: of what was compiled before, no source is read.
    fn compile_set(&self, set: &ModuleSet<'_>) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        let load = |(at, source): (usize, &Source)| -> Result<Module> {
            Ok(Module { path: source.path.clone(), source: (set.read)(at)? })
        };
        self.compile(&set.sources.iter().enumerate().map(load).collect::<Result<Vec<_>>>()?)
    }
}
