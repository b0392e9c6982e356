//! Files in memory: tmpfs(5), and the layer of changes over a file system that itself never changes.
//!
//! A [`Node`] can have a lower inode: what has not been changed about it is the lower one's. The first change of
//! anything makes the node stay ("copy-up" of the metadata, at the cost of an entry in a table), pages of its
//! contents remain shared with the lower file until they are written, and names are hidden by whiteouts. As one node
//! stands for one lower inode from the first look-up on, numbers, hard links and renamed directories need no care.
//! See [`overlay`].

mod contents;
mod directory;
mod inode;
mod node;
mod shared;
mod xattrs;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;

use crate::inode::{FileSystem, Inode, NewNode, NodeKind};
use crate::metadata::Statistics;
use crate::{Result, Timestamp};
use node::Node;
use shared::Shared;

/// Size and root directory of a [`Tmpfs`]: its mount options.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most pages of contents; by default half of the memory.
    pub pages: u64,
    /// Most inodes; by default one for two frames of memory.
    pub inodes: u64,
    /// Mode of the root directory.
    pub mode: u16,
}

impl Default for Options {
    fn default() -> Self {
        let half = isopod_hal::memory_stats().total_frames as u64 / 2;
        Self { pages: half, inodes: half, mode: 0o1777 }
    }
}

/// A file system in memory.
#[derive(Debug)]
pub struct Tmpfs {
    shared: Arc<Shared>,
    root: Arc<Node>,
}

impl Tmpfs {
    /// An empty file system.
    pub fn new(options: &Options) -> Result<Arc<Self>> {
        let shared = Arc::new(Shared::new(options, None));
        let root = NewNode { kind: NodeKind::Directory, mode: options.mode, uid: 0, gid: 0 };
        let root = Node::create(&shared, &root, 2, Timestamp::now())?;
        Ok(Arc::new(Self { shared, root }))
    }

    /// An empty file without a name, which can be sealed if `sealing`: `memfd_create(2)`.
    pub fn memory_file(&self, mode: u16, uid: u32, gid: u32, sealing: bool) -> Result<Arc<dyn Inode>> {
        let node = NewNode { kind: NodeKind::Regular, mode, uid, gid };
        let node = Node::create(&self.shared, &node, 0, Timestamp::now())?;
        if sealing {
            node.allow_seals();
        }
        Ok(node)
    }
}

/// `lower` with a layer of changes over it.
///
/// `lower` must not change by itself. The mode in `options` is not used: the root is that of `lower`.
pub fn overlay(lower: &Arc<dyn FileSystem>, options: &Options) -> Result<Arc<Tmpfs>> {
    let shared = Arc::new(Shared::new(options, Some(lower.clone())));
    let root = shared.node_over(lower.root())?;
    Ok(Arc::new(Tmpfs { shared, root }))
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        if self.shared.is_overlay() { "overlay" } else { "tmpfs" }
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Result<Statistics> {
        Ok(self.shared.statistics())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        self.shared.forget_changes();
    }
}
