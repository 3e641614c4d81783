//! A compiler whose interpreter is looked for when the first module has to be compiled: a build in which nothing
//! changed starts no program.

use std::sync::OnceLock;

use super::bytecode::{Compile, Module, SyntaxError};
use super::{Compiler, PythonVersion};
use crate::error::Result;

/// Finds the interpreter when it is needed.
pub type Find = Box<dyn Fn() -> Result<Compiler> + Send + Sync>;

/// Knows its version and magic number at once, and its interpreter later.
pub struct LazyCompiler {
    version: PythonVersion,
    magic: [u8; 4],
    find: Find,
    compiler: OnceLock<Compiler>,
}

impl LazyCompiler {
    /// For `version`, with the magic number of its `.pyc` files.
    pub fn new(version: PythonVersion, magic: [u8; 4], find: Find) -> Self {
        LazyCompiler { version, magic, find, compiler: OnceLock::new() }
    }
}

impl Compile for LazyCompiler {
    fn version(&self) -> PythonVersion {
        self.version
    }

    fn magic(&self) -> [u8; 4] {
        self.magic
    }

    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(compiler) = self.compiler.get() {
            return compiler.compile(modules);
        }
        let found = (self.find)()?;
        self.compiler.get_or_init(|| found).compile(modules)
    }
}
