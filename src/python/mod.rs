//! All that Ingot knows of Python: lock files, package indexes, wheels, virtual environments, bytecode, applications.

mod target;

pub mod bytecode;

mod app;
mod bytecode_error;
mod compiler;
#[cfg(test)]
mod compiler_tests;
mod dockerignore;
mod interpreter;
mod magic;
pub mod marshal;
mod pyc_cache;
mod worker;

pub use app::{AppError, AppLayer, AppSpec, BadModule};
pub use bytecode_error::BytecodeError;
pub use compiler::Compiler;
pub use interpreter::{Interpreter, Search};
pub use magic::{cache_tag, magic};

pub use target::{Libc, PythonVersion, Target};
