//! Memory as a file without a name: shared anonymous mappings and `memfd_create(2)`.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::{Errno, FileSystem, NewNode, NodeKind};
use isopod_hal::sync::Once;

use crate::ipc::errno;
use crate::kernel;

/// The file system of all such files; nobody can mount it.
static MEMORY: Once<Arc<Tmpfs>> = Once::new();

/// A new file of `length` bytes, all zero, open for reading and writing. `name` is what `/proc/self/maps` shows.
pub fn memory_file(name: &[u8], length: u64) -> Result<Arc<OpenFile>, Errno> {
    let file_system = if let Some(file_system) = MEMORY.get() {
        file_system
    } else {
        let made = Tmpfs::new(&Options::default()).map_err(errno)?;
        MEMORY.get_or_init(|| made)
    };
    let node = NewNode { kind: NodeKind::Regular, mode: 0o777, uid: 0, gid: 0 };
    let inode = file_system.root().create_unnamed(&node).map_err(errno)?;
    inode.truncate(length).map_err(errno)?;
    let path = kernel::namespace().detached(inode, name);
    OpenFile::anonymous(path, OpenFlags::RDWR | OpenFlags::LARGEFILE, None).map_err(errno)
}
