//! The `ingot` program: parse, dispatch, render the error, exit code.
fn main() {}
