//! (room to be filled)

mod listing;
mod materialise;
mod probe;
mod rootfs;

pub use probe::{BaseFacts, BasePython};
pub use rootfs::Rootfs;
