//! The marshal normaliser: equal code, equal bytes.
//!
//! What `marshal.dumps` writes for a code object depends on the state of the interpreter that wrote it: which
//! equal constants happen to be one object, how many references they have (`FLAG_REF`), which strings are
//! interned, and in which order a frozenset iterates. None of it decides what the code does. [`normalise`] reads
//! the stream into a graph in which equal immutable values are one node, and writes that graph in one way:
//!
//! - a value that occurs again, and whose own form is at least as long as a reference, is a reference;
//!   nothing else carries `FLAG_REF`, and references are numbered in the order in which they are written;
//! - a string of ASCII letters, digits and `_` is written as interned (CPython interns exactly those when it
//!   makes the code object), any other one is not;
//! - elements of a frozenset are sorted by a hash of their value;
//! - equality is that of type and value: `1`, `1.0` and `True` differ, and so do `0.0` and `-0.0`;
//! - code objects are never merged.
//!
//! Written from the documentation of the format and the behaviour of CPython 3.8 to 3.13; version 5 of the format
//! (3.14) adds slices.

mod graph;
mod read;
mod write;

use super::PythonVersion;

/// The version of the rules above; part of each key under which bytecode is cached.
pub const NORMALISER: u32 = 1;

/// The largest stream that is read, in bytes. The largest module of common packages has 3 MB.
pub const STREAM_LIMIT: usize = 64 << 20;

/// How deep values may be nested.
///
/// CPython's parser stops at 100 levels of indentation and 200 of parentheses, and a function takes two levels of
/// the stream; unoptimised code must fit this depth into the 2 MiB stack of a thread.
pub const DEPTH_LIMIT: usize = 600;

/// A stream that is not one that CPython's compiler writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytecode is malformed at byte {at}: {reason}")]
pub struct Malformed {
    /// Where in the stream.
    pub at: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Rewrites the marshal stream of one code object, without the `.pyc` header.
pub fn normalise(stream: &[u8], version: PythonVersion) -> Result<Vec<u8>, Malformed> {
    let graph = read::read(stream, version)?;
    Ok(write::write(&graph))
}

#[cfg(test)]
mod tests;
