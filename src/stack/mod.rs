//! Stacks: Compose files, resolved and held against rules before anything is started.
//!
//! A [`Stack`] is read from Compose files as they are ([`Stack::load`]): variables are expanded as text, every key is held
//! against the specification, short forms become long ones, files are merged by its rules. Every value keeps its line.
//! Nothing that is not on this machine and in the project's folder is read.

mod check;
mod error;
mod fit;
mod interpolate;
mod load;
mod merge;
mod node;
mod normal;
pub mod render;
mod rule;
mod schema;
mod secrets;
mod yaml;

pub use check::check;
pub use error::Error;
pub use load::{Request, Stack};
pub use node::{Map, Merge, Node, Place, Value};
pub use rule::{markdown, rules};
