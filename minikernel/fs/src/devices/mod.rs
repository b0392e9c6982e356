//! `/dev`: the devices that need no hardware, and the file system that names all of them.

mod devfs;
mod memory;

pub use devfs::Devfs;
pub use memory::{FULL, NULL, ZERO, register};
