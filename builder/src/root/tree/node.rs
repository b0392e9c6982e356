//! What a tree is made of: nodes, their metadata and their kinds.

use std::collections::BTreeMap;

use super::super::content::Content;

/// Names a node of one [`Tree`](super::Tree). It stays valid until that node is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The directory that every tree begins with.
    pub const ROOT: Self = Self(0);

    /// A dense index, for tables that run beside a tree.
    pub(in crate::root) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point in time, as file systems keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999, counted forward from `seconds`.
    pub nanos: u32,
}

/// Extended attributes by their full names (`user.x`, `security.capability`), xattr(7).
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What every kind of node has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permissions with set-id and sticky bits: the low twelve bits of `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Meta {
    /// Root's, of 1970-01-01, with the permissions `mode`.
    pub fn with_mode(mode: u16) -> Self {
        Self { mode: mode & 0o7777, ..Self::default() }
    }

    /// Bytes of the extended attributes, names included.
    pub(super) fn xattr_bytes(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// The number of a device node, makedev(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Selects the driver: 12 bits in Linux.
    pub major: u32,
    /// Selects the device: 20 bits in Linux.
    pub minor: u32,
}

impl Device {
    /// `None` where Linux has no such number.
    pub fn new(major: u64, minor: u64) -> Option<Self> {
        (major < 1 << 12 && minor < 1 << 20).then_some(Self { major: major as u32, minor: minor as u32 })
    }
}

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Content),
    /// A symbolic link and where it points, unresolved.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket that someone was once bound to.
    Socket,
}

impl Kind {
    /// An empty directory.
    pub fn directory() -> Self {
        Self::Directory(Directory { parent: NodeId::ROOT, layer: 0, entries: BTreeMap::new() })
    }
}

/// The names in a directory.
#[derive(Debug)]
pub struct Directory {
    pub(super) parent: NodeId,
    /// The newest layer that named this directory or anything below it.
    pub(super) layer: u16,
    pub(super) entries: BTreeMap<Box<[u8]>, Dirent>,
}

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirent {
    pub(super) node: NodeId,
    /// The layer that put the name here, counted from 1; for a directory see [`Directory::layer`].
    pub(super) layer: u16,
}

impl Directory {
    /// The directory above; the root's is the root.
    pub fn parent(&self) -> NodeId {
        self.parent
    }

    /// The names and what they stand for, sorted by bytes, without `.` and `..`.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&[u8], NodeId)> {
        self.entries.iter().map(|(name, entry)| (&**name, entry.node))
    }

    /// What `name` stands for.
    pub fn get(&self, name: &[u8]) -> Option<NodeId> {
        self.entries.get(name).map(|entry| entry.node)
    }
}

/// One file, directory or other thing of a [`Tree`](super::Tree).
#[derive(Debug)]
pub struct Node {
    /// Owner, permissions, times, extended attributes.
    pub meta: Meta,
    /// What it is, and what it holds.
    pub kind: Kind,
    /// How many names stand for it.
    pub(super) names: u32,
}

impl Node {
    /// The directory, if it is one.
    pub fn as_directory(&self) -> Option<&Directory> {
        match &self.kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// How many names stand for a node that is no directory (hard links).
    pub fn names(&self) -> u32 {
        self.names
    }
}
