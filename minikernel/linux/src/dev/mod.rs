//! Files that the kernel itself makes: memory without a name, and the devices of `/dev`.

mod memory;

pub use memory::memory_file;
