//! All that Ingot knows of Python: lock files, package indexes, wheels, virtual environments, bytecode, applications.

pub mod bytecode;

mod app;
mod base_interpreter;
mod bytecode_error;
mod compiler;
#[cfg(test)]
mod compiler_tests;
mod dockerignore;
mod interpreter;
mod lazy;
mod magic;
pub mod marshal;
mod pyc_cache;
mod stdlib;
mod worker;

pub use app::{AppError, AppFile, AppLayer, AppSpec, BadModule, Programs};
pub use base_interpreter::{BaseInterpreter, Files, is_needed_by};
pub use bytecode_error::BytecodeError;
pub use compiler::Compiler;
pub use interpreter::{Interpreter, Search};
pub use lazy::LazyCompiler;
pub use magic::{cache_tag, magic};
pub use stdlib::StdlibLayer;

mod config;
mod dependency;
mod entry_points;
mod error;
mod fetch;
pub mod grouping;
mod install;
mod location;
mod lock;
mod markers;
mod metadata;
mod names;
mod netrc;
mod pylock;
mod record;
mod requirements;
mod simple;
mod tags;
#[cfg(test)]
mod testing;
mod venv;
mod wheel;
mod zip;

pub use config::{Indexes, Machine};
pub use dependency::Dependency;
pub use error::Error;
pub use fetch::{Watch, fetch, known};
pub use location::{IndexOptions, Links, Location};
pub use lock::{Lock, Locked, LockedFile, Unusable};
pub use markers::environment as marker_environment;
pub use metadata::Headers;
pub use names::{normalize, shown};
pub use tags::{Tag, Tags};
pub use venv::{VenvSpec, own_layer, prepare, venv_layers};
pub use wheel::Wheel;

pub use crate::target::{Libc, PythonVersion, Target};
