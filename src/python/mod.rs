//! All that Ingot knows of Python: lock files, package indexes, wheels, virtual environments, bytecode, applications.

mod target;

pub mod bytecode;

pub use target::{Libc, PythonVersion, Target};
