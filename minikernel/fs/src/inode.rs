//! One file of any type in any file system.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::ops::Range;

use isopod_hal::frame::Frame;

use crate::file::{FileOps, OpenRequest};
use crate::inode_state::InodeState;
use crate::metadata::{
    DeviceId, FileType, Metadata, RenameFlags, Seals, SetAttributes, Statistics, XattrFlags,
};
use crate::transfer::{Sink, Source};
use crate::vfs::{Path, Process};
use crate::{Errno, Result};

/// A file system that can be mounted.
pub trait FileSystem: Send + Sync {
    /// Its type as in `/proc/mounts`, such as `tmpfs`.
    fn name(&self) -> &'static str;

    /// Its root directory; always the same inode.
    fn root(&self) -> Arc<dyn Inode>;

    /// Size and room left: statfs(2).
    fn statistics(&self) -> Result<Statistics>;

    /// Whether nothing in it can ever change.
    fn read_only(&self) -> bool {
        false
    }

    /// Changes what it was mounted with: `MS_REMOUNT` of mount(2). EINVAL for what is no option of it.
    fn reconfigure(&self, options: &[u8]) -> Result<()> {
        if options.is_empty() { Ok(()) } else { Err(Errno::EINVAL.into()) }
    }

    /// Options of its own, each after a comma, as in `/proc/mounts`.
    fn options(&self) -> String {
        String::new()
    }
}

/// What a new inode is to be.
#[derive(Clone, Copy, Debug)]
pub enum NodeKind<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(&'a [u8]),
    /// A device node, FIFO or socket, with its device number where it is a device.
    Special(FileType, DeviceId),
}

impl NodeKind<'_> {
    /// The file type of the new inode.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::Regular => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(kind, _) => *kind,
        }
    }
}

/// A new inode: its kind and, already resolved, who owns it and with what mode.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    /// What it is.
    pub kind: NodeKind<'a>,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One entry of a directory, without `.` and `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Name of the entry.
    pub name: &'a [u8],
    /// Inode number.
    pub inode: u64,
    /// Type of the inode.
    pub kind: FileType,
    /// Where to continue after this entry. It stays valid while other entries come and go.
    pub next: u64,
}

/// The first cookie of [`Inode::read_dir`]: those below belong to `.` and `..`.
pub const FIRST_COOKIE: u64 = 2;

/// Where a symbolic link leads.
#[derive(Debug)]
pub enum Target {
    /// To the path in its text.
    Text(Vec<u8>),
    /// Straight to a file, whatever its text says: the links of `/proc/PID/fd`.
    Path(Path),
}

/// A file of any type.
///
/// An inode that is referred to stays one object: two lookups of the same file give the same [`Arc`].
///
/// Implementations check their own limits and consistency only. Permissions, mount flags, name lengths, `.` and
/// `..` are checked by [`vfs`](crate::vfs), which also makes sure that two changes of one directory never
/// run at the same time. Whatever does not fit the type of the inode ends as the default here says.
pub trait Inode: Any + Send + Sync {
    /// Attributes.
    fn metadata(&self) -> Result<Metadata>;

    /// The state that the kernel keeps with each inode in use.
    fn state(&self) -> &InodeState;

    /// Changes attributes.
    fn set_attributes(&self, _change: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    /// Notes a read for the access time, as relatime has it. Never fails: a lost access time is no error.
    fn touch_accessed(&self) {}

    // Directories.

    /// Whether names in this directory may appear and vanish by themselves, so that no lookup may be remembered.
    fn volatile(&self) -> bool {
        false
    }

    /// The inode called `name`; ENOENT if there is none.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOTDIR.into())
    }

    /// Creates `node` as `name`, which does not exist.
    fn create(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EPERM.into())
    }

    /// Creates a regular file without a name: `O_TMPFILE`.
    fn create_unnamed(&self, _node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Gives `inode`, of the same file system and no directory, the further name `name`, which does not exist.
    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    /// Removes `name`, which is no directory.
    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    /// Removes the empty directory `name`; ENOTEMPTY if it has entries.
    fn rmdir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    /// Moves `name` to `new_name` in `new_parent`, a directory of the same file system, replacing what is there.
    /// Types fit, and neither is within the other; ENOTEMPTY if a directory to be replaced has entries.
    fn rename(
        &self,
        _name: &[u8],
        _new_parent: &Arc<dyn Inode>,
        _new_name: &[u8],
        _flags: RenameFlags,
    ) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    /// Calls `visit` for each entry from `cookie` ([`FIRST_COOKIE`] is the start), until it returns false; that
    /// entry then counts as not visited. Asks to wait only if it visited none.
    fn read_dir(&self, _cookie: u64, _visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR.into())
    }

    // Symbolic links.

    /// The text of a symbolic link, as `process` sees it.
    fn read_link(&self, _process: Process) -> Result<Vec<u8>> {
        Err(Errno::EINVAL.into())
    }

    /// Where a symbolic link leads `process`.
    fn follow_link(&self, process: Process) -> Result<Target> {
        self.read_link(process).map(Target::Text)
    }

    // Contents.

    /// Opens the inode. `None` means that the [`Inode`] itself is all there is to its contents.
    fn open(&self, _request: &OpenRequest<'_>) -> Result<Option<Box<dyn FileOps>>> {
        Ok(None)
    }

    /// Reads from byte `offset`. Returns how much; 0 at the end of the file. Fewer than wanted does not mean the
    /// end: a read also stops in front of what has to be waited for.
    fn read_at(&self, _offset: u64, _sink: &mut dyn Sink) -> Result<usize> {
        Err(Errno::EINVAL.into())
    }

    /// Writes at byte `offset` and extends the file if need be. Returns how much was taken from the source; fewer
    /// than offered says that a second call would meet an error or would have to wait.
    fn write_at(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize> {
        Err(Errno::EINVAL.into())
    }

    /// Writes at the end of the file, wherever it is by then. Returns where, and how much.
    fn append(&self, _source: &mut dyn Source) -> Result<(u64, usize)> {
        Err(Errno::EINVAL.into())
    }

    /// The page of the contents with this index, to be mapped and only read. Bytes after the end of the file are
    /// zero. ENXIO if the whole page lies after the end (SIGBUS for who touches it).
    fn page(&self, _index: u64) -> Result<Frame> {
        Err(Errno::ENODEV.into())
    }

    /// Puts those of the pages from `first` on that are in memory in their places in `frames`, as [`page`](Self::page) gives them. Others may
    /// begin to be read.
    fn resident(&self, _first: u64, _frames: &mut [Option<Frame>]) {}

    /// As [`page`](Self::page), to be mapped shared and written: it is the file's own page from now on.
    fn page_for_write(&self, _index: u64) -> Result<Frame> {
        Err(Errno::EACCES.into())
    }

    /// Starts to read these pages, if that takes time.
    fn prefetch(&self, _pages: Range<u64>) {}

    /// Sets the size: the rest is cut off, or zeros are added.
    fn truncate(&self, _size: u64) -> Result<()> {
        Err(Errno::EINVAL.into())
    }

    /// Reserves or frees room in `range` (bytes): fallocate(2). EOPNOTSUPP for a mode that is not known.
    fn allocate(&self, _mode: AllocateMode, _range: Range<u64>) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// The first byte at or after `offset` that is data, or is in a hole (the end of the file counts as one).
    /// ENXIO if there is none.
    fn seek_extent(&self, offset: u64, extent: Extent) -> Result<u64> {
        let size = self.metadata()?.size;
        match extent {
            _ if offset >= size => Err(Errno::ENXIO.into()),
            Extent::Data => Ok(offset),
            Extent::Hole => Ok(size),
        }
    }

    /// What can no longer be done with the file; EINVAL for a file that cannot be sealed at all.
    fn seals(&self) -> Result<Seals> {
        Err(Errno::EINVAL.into())
    }

    /// Forbids more. EPERM if [`Seals::SEAL`] is set already, EBUSY for [`Seals::WRITE`] as long as it is mapped to be written.
    fn add_seals(&self, _seals: Seals) -> Result<()> {
        Err(Errno::EINVAL.into())
    }

    // Extended attributes; names carry their prefix, such as `user.`.

    /// The value of an attribute; ENODATA if there is none.
    fn xattr(&self, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Sets an attribute.
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: XattrFlags) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Removes an attribute; ENODATA if there is none.
    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// The names of all attributes, each ended by a NUL.
    fn xattr_names(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

// Not supertraits: every type behind a table of methods would bring the code that prints it into the kernel.
impl fmt::Debug for dyn FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inode")
    }
}

/// What [`Inode::seek_extent`] looks for: `SEEK_DATA` or `SEEK_HOLE` of lseek(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that were written.
    Data,
    /// A range that takes no room.
    Hole,
}

/// What [`Inode::allocate`] does with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocateMode {
    /// Gives it room; the file grows if it reaches beyond its end.
    Reserve,
    /// Gives it room and leaves the size: `FALLOC_FL_KEEP_SIZE`.
    ReserveKeepSize,
    /// Makes it a hole: `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
    PunchHole,
}

/// `inode` as the type `T`, if it is one.
pub(crate) fn downcast<T: Inode>(inode: &Arc<dyn Inode>) -> Option<Arc<T>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast().ok()
}
