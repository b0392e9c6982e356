//! How a debugger looks into the memory of another process: ptrace(2), `/proc/PID/mem`.

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;
use isopod_hal::paging::Access;

use super::space::{AddressSpace, Inner};
use super::{FaultError, FaultKind, page_down};
use crate::memory_pressure;

impl AddressSpace {
    /// Reads up to the end of the page at `address`; how much was read. `EIO` where nothing can be read.
    pub fn peek(&self, address: usize, into: &mut [u8]) -> fs::Result<usize> {
        let offset = address % PAGE_SIZE;
        let length = into.len().min(PAGE_SIZE - offset);
        self.reach(address, FaultKind::Read)?.read(offset, &mut into[..length]);
        Ok(length)
    }

    /// Writes up to the end of the page at `address`; how much was written. `EIO` where nothing can be. Private memory that the process may not
    /// write to itself can be, too, as breakpoints are put into code: the page becomes its own (`FOLL_FORCE`).
    pub fn poke(&self, address: usize, from: &[u8]) -> fs::Result<usize> {
        let offset = address % PAGE_SIZE;
        let length = from.len().min(PAGE_SIZE - offset);
        self.reach(address, FaultKind::Write)?.write(offset, &from[..length]);
        Ok(length)
    }

    /// The page at `address`, fit for an access of `kind`.
    fn reach(&self, address: usize, kind: FaultKind) -> fs::Result<Frame> {
        let page = page_down(address);
        let readable = |vma: &super::Vma| {
            if vma.access.contains(Access::READ) { FaultKind::Read } else { FaultKind::Execute }
        };
        loop {
            let vma = self.area_at(page).ok_or(Errno::EIO)?;
            let force = kind == FaultKind::Write && !vma.access.contains(Access::WRITE);
            if force && !vma.is_private() {
                return Err(Errno::EIO.into());
            }
            let kind = match kind {
                FaultKind::Write if !force => FaultKind::Write,
                _ => readable(&vma),
            };
            match self.fault(page, kind) {
                Ok(()) => {}
                Err(FaultError::Wait(wait)) => return Err(fs::Error::Wait(wait)),
                Err(FaultError::Memory) if memory_pressure::reclaim() => continue,
                Err(FaultError::Memory) => return Err(Errno::ENOMEM.into()),
                Err(_) => return Err(Errno::EIO.into()),
            }
            let mut inner = self.inner.lock();
            if force {
                inner.own(page)?;
            }
            // Another thread may just have unmapped it.
            if let Some(mapped) = inner.table.get(page) {
                return Ok(mapped.frame);
            }
        }
    }
}

impl Inner {
    /// Makes the page at `page` this address space's own, with the rights that it has.
    fn own(&mut self, page: usize) -> Result<(), Errno> {
        let Some(mapped) = self.table.get(page) else { return Ok(()) };
        // This handle's and the page table's.
        if mapped.frame.owners() <= 2 {
            return Ok(());
        }
        let copy = Frame::uninit().map_err(|_| Errno::ENOMEM)?;
        copy.copy_from(&mapped.frame);
        self.install(page, copy, mapped.access).map_err(|_| Errno::ENOMEM)?;
        Ok(())
    }
}
