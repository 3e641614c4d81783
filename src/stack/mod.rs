//! Stacks: Compose files, resolved and held against rules before anything is started.
//!
//! A [`Stack`] is read from Compose files as they are ([`Stack::load`]): variables are expanded as text, every key is held
//! against the specification, short forms become long ones, files are merged by its rules. Every value keeps its line.
//! Nothing that is not on this machine and in the project's folder is read.
//!
//! To run it, the images that Ingot casts are built ([`images`]), the stack is written as one file that all providers
//! understand alike ([`pinned`]), and its services are started in order, each when those that it waits for are well
//! ([`up`]). Ingot is no orchestrator: containers are made by a provider, and kept by the engine.

pub mod background;
mod check;
mod dotenv;
pub mod down;
mod environment;
mod error;
pub mod export;
mod fit;
mod fix;
mod flags;
pub mod foreign;
pub mod health;
pub mod images;
pub mod ingot;
mod interpolate;
mod known;
pub mod limits;
mod load;
mod merge;
mod node;
mod normal;
mod order;
mod paths;
pub mod pinned;
mod ports;
pub mod render;
mod rule;
mod schema;
mod seal;
mod secrets;
pub mod state;
mod told;
pub mod torn;
mod trouble;
pub mod up;
pub mod wait;
mod yaml;

pub use check::{ENGINE_SOCKET, check, policy};
pub use error::Error;
pub use fix::{Fixed, Rewritten, fix};
pub use load::{Request, Stack};
pub use node::{Map, Merge, Node, Place, Value};
pub use order::{Condition, Order};
pub use rule::{markdown, rules};
pub use trouble::Trouble;
