//! Black-box tests: the built program, from outside, with real registries, engines, wheels and users.
fn main() {}
