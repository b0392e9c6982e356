//! Disks and the controllers that they are behind.
//!
//! A [`Controller`] keeps the requests of all its disks, in the slots of its [`Hardware`] or waiting for one; drivers only say how a
//! command gets to a device and how it comes back.

mod ahci;
mod ata;
mod controller;
pub mod gpt;
mod ide;
mod nvme;
mod pvscsi;
pub(crate) mod scsi;
mod search;

use alloc::sync::Arc;
use core::fmt;

use isopod_hal::PAGE_SIZE;
use isopod_hal::dma::Dma;
use isopod_hal::frame::Frame;

pub use search::Disks;

pub(crate) use search::{Adapter, Found};

pub(crate) use controller::{Command, Controller, Hardware, Kind, Outcome, Part};

pub(crate) use crate::refusal::Refusal;
pub(crate) use crate::wait::wait;

use crate::block::{Block, BlockError, BlockRequest, Name, SECTOR_SIZE};

const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR_SIZE;

/// Which memory a device reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// Only that below an address.
    Below(u64),
}

impl Reach {
    /// What addresses of 32 bits reach.
    pub const LOW: Self = Self::Below(1 << 32);

    /// Memory of so many pages there. The lowest memory is the first to be used, and disks are found early.
    pub fn memory(self, pages: usize) -> Result<Dma, Refusal> {
        let memory = Dma::pages(pages)?;
        match self {
            Self::Below(end) if memory.phys().as_u64() + memory.len() as u64 > end => {
                Err(Refusal("it does not reach the memory that there is for it"))
            }
            _ => Ok(memory),
        }
    }
}

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// How many sectors there are.
    pub sectors: u64,
    /// Sectors in a block of the device, of which all it transfers is a multiple.
    pub block: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether it keeps writes for itself until it is told to flush.
    pub can_flush: bool,
}

/// A disk behind a controller.
pub struct Disk {
    controller: Arc<Controller>,
    name: Name,
    geometry: Geometry,
}

impl Disk {
    /// The disk that the controller knows by the name's number.
    pub(crate) fn new(controller: Arc<Controller>, name: Name, geometry: Geometry) -> Arc<Self> {
        // So that sizes in bytes are numbers.
        let sectors = geometry.sectors.min(u64::MAX / SECTOR_SIZE);
        Arc::new(Self { controller, name, geometry: Geometry { sectors, ..geometry } })
    }

    /// Its controller.
    #[cfg(test)]
    pub(crate) fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    fn transfer(&self, kind: Kind, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        let Geometry { sectors, block, .. } = self.geometry;
        let end = sector
            .checked_add((pages.len() as u64).saturating_mul(SECTORS_PER_PAGE))
            .filter(|_| sector < sectors || pages.is_empty())
            .ok_or(BlockError::OutOfRange)?
            .min(sectors);
        if !sector.is_multiple_of(block) {
            return Err(BlockError::Unsupported);
        }
        // Below the product of pages and page size, so it fits.
        let bytes = (end.saturating_sub(sector) * SECTOR_SIZE) as usize;
        if kind == Kind::Read {
            clear_behind(pages, bytes);
        }
        let part_pages = self.controller.part_pages();
        let part_bytes = part_pages * PAGE_SIZE;
        let parts = bytes.div_ceil(part_bytes);
        let request = BlockRequest::new(pages, parts)?;
        self.controller.submit(parts, &|index| {
            let start = index * part_bytes;
            let len = part_bytes.min(bytes - start);
            let first = index * part_pages;
            let pages = first..first + len.div_ceil(PAGE_SIZE);
            let sector = sector + start as u64 / SECTOR_SIZE;
            Part { sector, block, pages, len, ..Part::new(&request, kind, self.name.number) }
        })?;
        Ok(request)
    }
}

/// Fills the pages with zeros from byte `from` on.
fn clear_behind(pages: &[Frame], from: usize) {
    for (index, page) in pages.iter().enumerate().skip(from / PAGE_SIZE) {
        page.clear(from.saturating_sub(index * PAGE_SIZE)..PAGE_SIZE);
    }
}

impl Block for Disk {
    fn name(&self) -> Name {
        self.name
    }

    fn size(&self) -> u64 {
        self.geometry.sectors * SECTOR_SIZE
    }

    fn read_only(&self) -> bool {
        self.geometry.read_only
    }

    fn read(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        self.transfer(Kind::Read, sector, pages)
    }

    fn write(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        if self.geometry.read_only {
            return Err(BlockError::ReadOnly);
        }
        self.transfer(Kind::Write, sector, pages)
    }

    fn flush(&self) -> Result<Arc<BlockRequest>, BlockError> {
        // Without a cache of its own the device writes through: what is complete is durable.
        let parts = usize::from(self.geometry.can_flush);
        let request = BlockRequest::new(&[], parts)?;
        self.controller.submit(parts, &|_| Part::new(&request, Kind::Flush, self.name.number))?;
        Ok(request)
    }

    fn poll(&self) {
        self.controller.harvest();
    }

    fn expire(&self) {
        self.controller.expire();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("name", &self.name)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod simulated;
