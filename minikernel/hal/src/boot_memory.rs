//! Memory that the boot loader filled: modules and the linked root, read and mapped where they lie.

use alloc::vec::Vec;
use core::ptr;

use crate::{
    PAGE_SIZE, PhysAddr, PhysRange, boot,
    frame::Frame,
    machine,
    memory::{OutOfMemory, Purpose, memory},
    sync::SpinLock,
};

/// What has been claimed.
static CLAIMED: SpinLock<Vec<PhysRange>> = SpinLock::new(Vec::new());

/// Size of a page of the direct map.
const STEP: usize = 512 * PAGE_SIZE;

/// A module or a linked part. Its bytes never change, and its pages may be mapped into processes.
#[derive(Debug)]
pub struct BootMemory {
    range: PhysRange,
}

impl BootMemory {
    /// Takes a range that [`boot::BootInfo`] names as a module or as a part of the link directory. `None` for any
    /// other range, and for one that was claimed before.
    pub fn claim(range: PhysRange) -> Option<Self> {
        let mut claimed = CLAIMED.lock();
        let known = range.len > 0 && boot::claimable().any(|known| known == range);
        if !known || claimed.contains(&range) {
            return None;
        }
        claimed.push(range);
        Some(Self { range })
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
            // The direct map grows by 2 MiB at least.
            let step = (STEP - from.as_u64() as usize % STEP).min(count - done);
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

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::hosted;

    #[test]
    fn modules_are_claimed_once_and_read() {
        let bytes: Vec<u8> = (0..10_000).map(|byte| byte as u8).collect();
        let range = hosted::load_module(&bytes);
        let part = PhysRange::new(range.start, 100);
        assert!(BootMemory::claim(part).is_none());
        let module = BootMemory::claim(range).unwrap();
        assert!(BootMemory::claim(range).is_none());
        let mut read = vec![0; 20_000];
        assert_eq!(module.read(0, &mut read), 10_000);
        assert_eq!(read[..10_000], bytes);
        assert_eq!(module.read(9_999, &mut read), 1);
        assert_eq!(module.read(10_001, &mut read), 0);
        let last = module.frame(2).unwrap();
        assert_eq!(last.read_array::<4>(0)[..], bytes[8192..8196]);
        assert!(!last.is_unique() && module.frame(3).is_none());
        drop(last.clone());
        assert_eq!(last.read_array::<4>(0)[..], bytes[8192..8196]);
    }
}
