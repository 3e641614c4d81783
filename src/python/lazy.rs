//! A compiler whose interpreter is looked for when the first module has to be compiled: a build in which nothing
//! changed starts no program.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::bytecode::{Compile, Module, ModuleSet, SyntaxError};
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
    /// Held by who looks, so that layers that are made side by side look once.
    looking: Mutex<()>,
}

impl LazyCompiler {
    /// For `version`, with the magic number of its `.pyc` files.
    pub fn new(version: PythonVersion, magic: [u8; 4], find: Find) -> Self {
        LazyCompiler { version, magic, find, compiler: OnceLock::new(), looking: Mutex::new(()) }
    }

    fn compiler(&self) -> Result<&Compiler> {
        if let Some(compiler) = self.compiler.get() {
            return Ok(compiler);
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiler) = self.compiler.get() {
            return Ok(compiler);
        }
        let found = (self.find)()?;
        Ok(self.compiler.get_or_init(|| found))
    }
}

impl Compile for LazyCompiler {
    fn version(&self) -> PythonVersion {
        self.version
    }

    fn magic(&self) -> [u8; 4] {
        self.magic
    }

    fn prepare(&self) {
        let _: Result<&Compiler> = self.compiler();
    }

    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        self.compiler()?.compile(modules)
    }

    fn compile_set(&self, set: &ModuleSet<'_>) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        if set.sources.is_empty() {
            return Ok(Vec::new());
        }
        self.compiler()?.compile_set(set)
    }
}
