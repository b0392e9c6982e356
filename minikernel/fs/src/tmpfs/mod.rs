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
mod options;
mod shared;
mod xattrs;

#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;

use crate::inode::{FileSystem, Inode, NewNode, NodeKind};
use crate::metadata::Statistics;
use crate::{Result, Timestamp};
use node::Node;
use shared::Shared;

pub use options::Options;

/// A file system in memory.
#[derive(Debug)]
pub struct Tmpfs {
    shared: Arc<Shared>,
    root: Arc<Node>,
    /// As it was mounted, but for the limits.
    options: Options,
}

impl Tmpfs {
    /// An empty file system.
    pub fn new(options: &Options) -> Result<Arc<Self>> {
        let shared = Arc::new(Shared::new(options, None));
        let root =
            NewNode { kind: NodeKind::Directory, mode: options.mode, uid: options.uid, gid: options.gid };
        let root = Node::create(&shared, &root, 2, Timestamp::now())?;
        Ok(Arc::new(Self { shared, root, options: *options }))
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
/// `lower` must not change by itself. Mode and owner in `options` are not used: the root is that of `lower`.
pub fn overlay(lower: &Arc<dyn FileSystem>, options: &Options) -> Result<Arc<Tmpfs>> {
    let shared = Arc::new(Shared::new(options, Some(lower.clone())));
    let root = shared.node_over(lower.root())?;
    Ok(Arc::new(Tmpfs { shared, root, options: *options }))
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

    fn reconfigure(&self, options: &[u8]) -> Result<()> {
        // overlayfs takes any options, and no notice of them (`ovl_parse_param`).
        if self.shared.is_overlay() {
            return Ok(());
        }
        let mut wanted = self.shared.limits(&self.options);
        wanted.parse(options)?;
        self.shared.set_limits(&wanted)
    }

    fn options(&self) -> String {
        if self.shared.is_overlay() { String::new() } else { self.shared.limits(&self.options).text() }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        self.shared.forget_changes();
    }
}
