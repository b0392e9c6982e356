//! Files that the kernel itself makes: memory without a name, and the devices of `/dev`.

mod constant;
mod memory;
mod nodes;
mod random;
mod streams;

pub use memory::{memfd, memory_file, memory_inode, memory_pages};
pub use nodes::namespace;
