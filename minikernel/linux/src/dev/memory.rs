//! Memory as a file without a name: shared anonymous mappings and `memfd_create(2)`.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::{Errno, FileSystem, Inode};
use isopod_hal::sync::Once;

use crate::fail::errno;
use crate::kernel;

/// The file system of all such files; nobody can mount it.
static MEMORY: Once<Arc<Tmpfs>> = Once::new();

fn file_system() -> isopod_fs::Result<&'static Tmpfs> {
    if let Some(made) = MEMORY.get() {
        return Ok(made);
    }
    // As Linux' own mount of it: what programs may have is theirs to share.
    let made = Tmpfs::new(&Options { pages: u64::MAX, inodes: u64::MAX, ..Options::default() })?;
    Ok(MEMORY.get_or_init(|| made))
}

/// How many pages such files have.
pub fn memory_pages() -> u64 {
    let about = MEMORY.get().and_then(|made| made.statistics().ok());
    about.map_or(0, |about| about.blocks - about.blocks_free)
}

/// A new file of `length` bytes, all zero, open for reading and writing. `name` is what `/proc/self/maps` shows.
pub fn memory_file(name: &[u8], length: u64) -> Result<Arc<OpenFile>, Errno> {
    open(memory_inode(length)?, name).map_err(errno)
}

/// Memory of `length` bytes, all zero, that is not open anywhere.
pub fn memory_inode(length: u64) -> Result<Arc<dyn Inode>, Errno> {
    let make = || {
        let inode = file_system()?.memory_file(0o777, 0, 0, false)?;
        inode.truncate(length)?;
        Ok(inode)
    };
    // Nothing in memory has to be waited for.
    make().map_err(errno)
}

/// A new empty file of the user `uid` and the group `gid`, which can be sealed if `sealing`: `memfd_create(2)`.
pub fn memfd(name: &[u8], uid: u32, gid: u32, sealing: bool) -> isopod_fs::Result<Arc<OpenFile>> {
    let inode = file_system()?.memory_file(0o777, uid, gid, sealing)?;
    open(inode, &[b"/memfd:", name, b" (deleted)"].concat())
}

fn open(inode: Arc<dyn Inode>, name: &[u8]) -> isopod_fs::Result<Arc<OpenFile>> {
    let path = kernel::namespace().detached(inode, name);
    OpenFile::anonymous(path, OpenFlags::RDWR | OpenFlags::LARGEFILE, None)
}
