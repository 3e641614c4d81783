//! Code that nobody trusts, in a container that podman or docker locks down.
//!
//! Ingot itself goes along: its own program, mounted read-only with the loader and the libraries that it runs on, is
//! process 1 of the container, so it works in any image ([`guard`]). Before the code starts, the guard reads every
//! limit back from the kernel; then it starts the code as its child, keeps its time, counts its output, and hands out
//! the files that it leaves. Guard and host talk in frames ([`frame`]); the host believes nothing of them that is not
//! within the limits it gave. The guard ends when the pipe from the host does, and with process 1 everything ends:
//! nothing survives a host that was killed.

mod code;
mod error;
mod files;
pub mod frame;
pub mod guard;
mod image;
mod order;
mod outcome;
mod own;
mod policy;
mod reading;
mod result;
pub mod service;
mod session;

pub use code::{Code, Input};
pub use error::Error;
pub use files::Folder;
pub use image::{Prepared, prepare};
pub use order::{Limits, Order, OutputLimits, Place, Start};
pub use outcome::{Check, Ended, Outcome, Refused, Saved};
pub use policy::{Mode, mode};
pub use result::{Kept, RunFailure, RunResult, Text};
pub use session::{Cancel, Event, Request, Runner};

/// The label of every container that a sandbox runs in.
pub const LABEL: &str = "ingot.sandbox";
