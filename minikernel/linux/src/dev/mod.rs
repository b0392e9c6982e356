//! Files that the kernel itself makes: memory without a name, and the devices of `/dev`.

mod memory;

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenRequest};
use isopod_fs::vfs::{Namespace, SpecialFiles};
use isopod_fs::{Errno, FileSystem, Result};

pub use memory::memory_file;

/// The tree of files over `root`.
pub fn namespace(root: Arc<dyn FileSystem>) -> Namespace {
    let fifo = |_: &OpenRequest<'_>| -> Result<Box<dyn FileOps>> { Err(Errno::ENXIO.into()) };
    Namespace::new(root, b"isopod", SpecialFiles::new(Arc::new(fifo)))
}
