//! A disk, or a part of it, as the page cache sees it.

use alloc::sync::Arc;
use core::task::Waker;

use isopod_drivers::block::{Block, BlockError, BlockRequest, SECTOR_SIZE};
use isopod_fs::pages::{PageDevice, PageRead};
use isopod_fs::{Errno, Pending, Result};
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;

use crate::partition::Partition;

/// Sectors of a block device, read in pages.
pub struct Disk {
    block: Arc<dyn Block>,
    first: u64,
    size: u64,
}

impl Disk {
    /// All of a device.
    pub fn whole(block: Arc<dyn Block>) -> Self {
        Self { first: 0, size: block.size(), block }
    }

    /// A partition.
    pub fn part(Partition { disk, sectors }: Partition) -> Self {
        let size = (sectors.end - sectors.start) * SECTOR_SIZE;
        Self { block: disk, first: sectors.start, size }
    }
}

/// A request to it.
struct DiskRead(Arc<BlockRequest>);

fn errno(error: BlockError) -> Errno {
    match error {
        BlockError::OutOfMemory => Errno::ENOMEM,
        BlockError::ReadOnly => Errno::EROFS,
        BlockError::Unsupported => Errno::EOPNOTSUPP,
        BlockError::Io | BlockError::OutOfRange => Errno::EIO,
    }
}

impl PageDevice for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, first: u64, frames: &[Frame]) -> Result<Arc<dyn PageRead>> {
        let sector = first.checked_mul(PAGE_SIZE as u64 / SECTOR_SIZE);
        let sector = sector.and_then(|sector| self.first.checked_add(sector)).ok_or(Errno::EIO)?;
        let request = self.block.read(sector, frames).map_err(errno)?;
        Ok(Arc::new(DiskRead(request)))
    }
}

impl Pending for DiskRead {
    fn is_done(&self) -> bool {
        self.0.result().is_some()
    }

    fn register(&self, waker: &Waker) {
        self.0.register(waker);
    }
}

impl PageRead for DiskRead {
    fn result(&self) -> Option<core::result::Result<(), Errno>> {
        self.0.result().map(|result| result.map_err(errno))
    }
}
