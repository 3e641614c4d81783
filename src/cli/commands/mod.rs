//! One file per command: settings in, one call into the library, data out.

pub mod build;
pub mod completions;
pub mod copy;
pub mod doctor;
pub mod history;
pub mod hygiene;
pub mod init;
pub mod inspect;
pub mod lock;
pub mod ls;
pub mod plan;
pub mod sandbox;
pub mod stack;
pub mod validate;
