//! The file system of `/dev`: a tmpfs with the nodes that drivers ask for.

use alloc::sync::Arc;

use crate::inode::{Inode, NewNode, NodeKind};
use crate::metadata::{DeviceId, FileType};
use crate::tmpfs::{Options, Tmpfs};
use crate::vfs::{Device, SpecialFiles};
use crate::{FileSystem, Result};

/// `/dev` while it is filled.
#[derive(Debug)]
pub struct Devfs {
    file_system: Arc<Tmpfs>,
    root: Arc<dyn Inode>,
}

impl Devfs {
    /// An empty one, which holds nodes and no contents worth mentioning.
    pub fn new() -> Result<Self> {
        let file_system = Tmpfs::new(&Options { mode: 0o755, ..Options::default() })?;
        Ok(Self { root: file_system.root(), file_system })
    }

    /// Adds the node of a character device.
    pub fn node(&self, name: &str, mode: u16, id: DeviceId) -> Result<()> {
        self.create(name, NodeKind::Special(FileType::CharacterDevice, id), mode)
    }

    /// Adds the node of a character device and makes it work.
    pub fn device(
        &self,
        special: &SpecialFiles,
        name: &str,
        mode: u16,
        id: DeviceId,
        device: Arc<dyn Device>,
    ) -> Result<()> {
        special.register(id, device);
        self.node(name, mode, id)
    }

    /// Adds a symbolic link.
    pub fn link(&self, name: &str, target: &str) -> Result<()> {
        self.create(name, NodeKind::Symlink(target.as_bytes()), 0o777)
    }

    /// Adds a directory, for something to be mounted on.
    pub fn directory(&self, name: &str, mode: u16) -> Result<()> {
        self.create(name, NodeKind::Directory, mode)
    }

    /// The file system, to be mounted.
    pub fn file_system(&self) -> Arc<Tmpfs> {
        self.file_system.clone()
    }

    fn create(&self, name: &str, kind: NodeKind<'_>, mode: u16) -> Result<()> {
        self.root.create(name.as_bytes(), &NewNode { kind, mode, uid: 0, gid: 0 }).map(drop)
    }
}
