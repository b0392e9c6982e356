//! What the nodes of one file system share: limits, numbers, and the table of nodes with a lower inode.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use isopod_hal::number_map::NumberMap;

use isopod_hal::{PAGE_SIZE, sync::SpinLock};

use super::Options;
use super::node::Node;
use crate::inode::{FileSystem, Inode};
use crate::metadata::{DeviceId, Statistics};
use crate::{Errno, Result, allocate_device};

/// `TMPFS_MAGIC` and `OVERLAYFS_SUPER_MAGIC` of magic.h.
const TMPFS_MAGIC: u32 = 0x0102_1994;
const OVERLAY_MAGIC: u32 = 0x794c_7630;
/// The first number of an inode that is not in the lower file system, whose own numbers are below.
const FIRST_NEW: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) device: DeviceId,
    lower: Option<Arc<dyn FileSystem>>,
    pages: Counter,
    inodes: Counter,
    next_number: AtomicU64,
    /// The node over each lower inode that is in use, or was changed.
    over: SpinLock<NumberMap<Box<Over>>>,
}

#[derive(Debug)]
enum Over {
    /// It says what the lower inode says, and can be made again.
    Unchanged(Weak<Node>),
    Changed(Arc<Node>),
}

#[derive(Debug)]
struct Counter {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Counter {
    fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    fn take(&self, count: u64) -> Result<()> {
        let limit = self.limit();
        let take = |used: u64| used.checked_add(count).filter(|used| *used <= limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC.into()),
        }
    }

    fn give(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// EINVAL if more than `limit` is in use. Who takes at the same moment may still go by the old limit.
    fn check(&self, limit: u64) -> Result<()> {
        if self.used.load(Ordering::Relaxed) > limit { Err(Errno::EINVAL.into()) } else { Ok(()) }
    }
}

impl Shared {
    pub(super) fn new(options: &Options, lower: Option<Arc<dyn FileSystem>>) -> Self {
        Self {
            device: allocate_device(),
            next_number: AtomicU64::new(if lower.is_some() { FIRST_NEW } else { 1 }),
            lower,
            pages: Counter::new(options.pages),
            inodes: Counter::new(options.inodes),
            over: SpinLock::default(),
        }
    }

    pub(super) fn is_overlay(&self) -> bool {
        self.lower.is_some()
    }

    /// Counts `count` more pages; ENOSPC beyond the limit.
    pub(super) fn take_pages(&self, count: u64) -> Result<()> {
        self.pages.take(count)
    }

    pub(super) fn give_pages(&self, count: u64) {
        self.pages.give(count);
    }

    /// The number of a new inode, which is counted; ENOSPC beyond the limit.
    pub(super) fn take_inode(&self) -> Result<u64> {
        self.inodes.take(1)?;
        Ok(self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn give_inode(&self) {
        self.inodes.give(1);
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            magic: if self.is_overlay() { OVERLAY_MAGIC } else { TMPFS_MAGIC },
            block_size: PAGE_SIZE as u32,
            blocks: self.pages.limit(),
            blocks_free: self.pages.free(),
            inodes: self.inodes.limit(),
            inodes_free: self.inodes.free(),
            name_max: 255,
        }
    }

    /// `options` with the limits of now.
    pub(super) fn limits(&self, options: &Options) -> Options {
        Options { pages: self.pages.limit(), inodes: self.inodes.limit(), ..*options }
    }

    /// Takes over the limits of `options`. EINVAL if more is in use.
    pub(super) fn set_limits(&self, options: &Options) -> Result<()> {
        self.pages.check(options.pages)?;
        self.inodes.check(options.inodes)?;
        self.pages.limit.store(options.pages, Ordering::Relaxed);
        self.inodes.limit.store(options.inodes, Ordering::Relaxed);
        Ok(())
    }

    /// The node over `lower`: always the same one as long as it is in use or differs from `lower`.
    pub(super) fn node_over(self: &Arc<Self>, lower: Arc<dyn Inode>) -> Result<Arc<Node>> {
        let metadata = lower.metadata()?;
        let mut over = self.over.lock();
        let known = match over.get(&metadata.inode).map(|over| &**over) {
            Some(Over::Changed(node)) => Some(node.clone()),
            Some(Over::Unchanged(node)) => node.upgrade(),
            None => None,
        };
        if let Some(node) = known {
            return Ok(node);
        }
        let number = metadata.inode;
        let node = Node::over(self, lower, &metadata);
        over.insert(number, Box::new(Over::Unchanged(Arc::downgrade(&node))));
        Ok(node)
    }

    /// Keeps `node`, which differs from its lower inode from now on.
    pub(super) fn keep(&self, number: u64, node: Arc<Node>) {
        self.over.lock().insert(number, Box::new(Over::Changed(node)));
    }

    /// No longer keeps the node with this number: its last name is gone.
    pub(super) fn release(&self, number: u64) {
        let kept = self.over.lock().remove(&number);
        drop(kept);
    }

    /// Forgets a node that is dropped, unless another one has taken its place.
    pub(super) fn forget(&self, number: u64) {
        let mut over = self.over.lock();
        if matches!(over.get(&number).map(|over| &**over), Some(Over::Unchanged(node)) if node.strong_count() == 0)
        {
            over.remove(&number);
        }
    }

    /// Lets go of all changed nodes, which refer to this value themselves.
    pub(super) fn forget_changes(&self) {
        let over = core::mem::take(&mut *self.over.lock());
        drop(over);
    }
}
