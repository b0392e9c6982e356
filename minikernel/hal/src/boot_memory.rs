//! Memory that the boot loader filled: modules and the linked root, read and mapped where they lie.

use core::{
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    PAGE_SIZE, PhysAddr, PhysRange, boot,
    frame::Frame,
    machine,
    memory::{OutOfMemory, Purpose, memory},
};

/// Modules and linked parts that have been claimed, a bit each; see [`boot::claimable`].
static CLAIMED: AtomicU32 = AtomicU32::new(0);

/// A module or a linked part. Its bytes never change, and its pages may be mapped into processes.
#[derive(Debug)]
pub struct BootMemory {
    range: PhysRange,
}

impl BootMemory {
    /// Takes a range that [`boot::BootInfo`] names as a module or as a part of the link directory. `None` for any
    /// other range, and for one that was claimed before.
    pub fn claim(range: PhysRange) -> Option<Self> {
        let index = boot::claimable().position(|known| known == Some(range))?;
        let bit = 1u32.checked_shl(index as u32)?;
        (CLAIMED.fetch_or(bit, Ordering::Relaxed) & bit == 0 && range.len > 0).then_some(Self { range })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.range.len as usize
    }

    /// Always false: an empty range cannot be claimed.
    pub fn is_empty(&self) -> bool {
        self.range.len == 0
    }

    /// Copies out up to `into.len()` bytes from `offset` on; how many there were.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let count = self.len().saturating_sub(offset).min(into.len());
        let mut done = 0;
        while done < count {
            let from = PhysAddr::new(self.range.start.as_u64() + (offset + done) as u64);
            let step = (PAGE_SIZE - from.page_offset()).min(count - done);
            if map(from).is_err() {
                return done;
            }
            // SAFETY: the range is RAM that the boot loader filled and nobody writes; its page has just been mapped.
            unsafe { ptr::copy_nonoverlapping(machine::direct(from), into[done..].as_mut_ptr(), step) };
            done += step;
        }
        count
    }

    /// The page that holds the bytes from `index` * 4096 on, to be mapped read-only or copied on write. It is never
    /// freed. Beyond [`BootMemory::len`] its contents are as loaded. `None` beyond the end, where memory for the
    /// direct map's tables is lacking, and where the memory does not begin at a page.
    pub fn frame(&self, index: usize) -> Option<Frame> {
        let offset = index.checked_mul(PAGE_SIZE).filter(|&offset| offset < self.len())?;
        let page = self.range.start.checked_add(offset as u64).filter(|page| page.page_offset() == 0)?;
        map(page).ok()?;
        // SAFETY: the page is RAM that holds plain data only, mapped just now, and never given to the allocator.
        unsafe { Frame::unmanaged(page) }
    }
}

/// Makes a byte of boot memory reachable through the direct map.
fn map(at: PhysAddr) -> Result<(), OutOfMemory> {
    machine::map_direct(PhysRange::new(at, 1), &mut || memory().allocate(1, Purpose::Kernel).ok())
}
