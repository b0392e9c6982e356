//! File systems whose contents are made when they are looked at: the frame of `/proc` and `/sys`.
//!
//! Whoever knows something implements [`Directory`], [`File`] or [`Link`]; a [`Table`] is a directory of fixed names.
//! What a file says is made when it is first read, and again whenever it is read from its start.

mod file;
mod node;
mod table;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use crate::file::{FileOps, OpenRequest};
use crate::inode::{FileSystem, Inode, Target, downcast};
use crate::metadata::{FileType, Statistics};
use crate::vfs::Process;
use crate::{Errno, Result, allocate_device};
use node::{Frame, Node};

pub use table::Table;

/// `PROC_SUPER_MAGIC` of magic.h.
pub const PROC_MAGIC: u32 = 0x9fa0;
/// `CGROUP2_SUPER_MAGIC` of magic.h.
pub const CGROUP2_MAGIC: u32 = 0x6367_7270;
/// `SYSFS_MAGIC` of magic.h.
pub const SYSFS_MAGIC: u32 = 0x6265_6572;

/// Mode and owner of a generated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    /// The superuser's, with this mode.
    pub const fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// A generated inode of any type.
#[derive(Clone)]
pub enum Entry {
    /// A directory.
    Directory(Arc<dyn Directory>),
    /// A file.
    File(Arc<dyn File>),
    /// A symbolic link.
    Link(Arc<dyn Link>),
}

impl Entry {
    fn file_type(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::Directory,
            Self::File(_) => FileType::Regular,
            Self::Link(_) => FileType::Symlink,
        }
    }

    fn attributes(&self) -> Attributes {
        match self {
            Self::Directory(directory) => directory.attributes(),
            Self::File(file) => file.attributes(),
            Self::Link(link) => link.attributes(),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.file_type())
    }
}

/// A name in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its place in the order, such as a process number; always the same for the same name.
    pub key: u64,
    /// The name.
    pub name: &'a [u8],
    /// Its type.
    pub kind: FileType,
}

/// A directory whose names may come and go.
pub trait Directory: Any + Send + Sync {
    /// What is called `name`; ENOENT if nothing is.
    fn lookup(&self, name: &[u8]) -> Result<Entry>;

    /// Calls `visit` with each name whose key is at least `from`, by rising keys, until it returns false.
    fn list(&self, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Result<()>;

    /// Mode and owner.
    fn attributes(&self) -> Attributes {
        Attributes::root(0o555)
    }
}

/// The generated directory that `inode` is, if it is one of type `T`.
pub fn directory_of<T: Directory>(inode: &Arc<dyn Inode>) -> Option<Arc<T>> {
    let Entry::Directory(directory) = downcast::<Node>(inode)?.entry() else { return None };
    let any: Arc<dyn Any + Send + Sync> = directory;
    any.downcast().ok()
}

/// A file whose text is made on demand.
pub trait File: Send + Sync {
    /// The text, as the one who opened the file sees it.
    fn read(&self, process: Process) -> Result<Vec<u8>>;

    /// Takes what was written, at most a page, in one piece.
    fn write(&self, _process: Process, _text: &[u8]) -> Result<()> {
        Err(Errno::EINVAL.into())
    }

    /// Whether the file may be opened so; the mode allows it.
    fn check_open(&self, _request: &OpenRequest<'_>) -> Result<()> {
        Ok(())
    }

    /// What reads and writes it, for a file that is no text.
    fn open(&self) -> Result<Option<Box<dyn FileOps>>> {
        Ok(None)
    }

    /// Mode and owner.
    fn attributes(&self) -> Attributes {
        Attributes::root(0o444)
    }
}

impl<F> File for F
where
    F: Fn(Process) -> Result<Vec<u8>> + Send + Sync,
{
    fn read(&self, process: Process) -> Result<Vec<u8>> {
        self(process)
    }
}

/// A symbolic link whose target may depend on who asks.
pub trait Link: Send + Sync {
    /// The text.
    fn text(&self, process: Process) -> Result<Vec<u8>>;

    /// Where it leads; by default to the path in the text.
    fn follow(&self, process: Process) -> Result<Target> {
        self.text(process).map(Target::Text)
    }

    /// Mode and owner.
    fn attributes(&self) -> Attributes {
        Attributes::root(0o777)
    }
}

impl<F> Link for F
where
    F: Fn(Process) -> Result<Vec<u8>> + Send + Sync,
{
    fn text(&self, process: Process) -> Result<Vec<u8>> {
        self(process)
    }
}

/// A file system of generated files.
#[derive(Debug)]
pub struct Generated {
    name: &'static str,
    magic: u32,
    root: Arc<Node>,
}

impl Generated {
    /// The file system called `name` in `/proc/mounts`, with this magic number and root directory.
    pub fn new(name: &'static str, magic: u32, root: Arc<dyn Directory>) -> Arc<Self> {
        let frame = Arc::new(Frame { device: allocate_device() });
        Arc::new(Self { name, magic, root: Node::root(frame, Entry::Directory(root)) })
    }
}

impl FileSystem for Generated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics { magic: self.magic, block_size: 4096, name_max: 255, ..Statistics::default() })
    }
}
