//! Memory that is to stay: mlock(2). Nothing is ever swapped out here; what is locked is counted, limited (`RLIMIT_MEMLOCK`), and left alone by advice.

use core::ops::Range;
use core::sync::atomic::Ordering;

use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::USER_END;

use super::{AddressSpace, VmaFlags};

impl AddressSpace {
    /// How many bytes are locked that do not lie in `range`.
    pub fn locked_outside(&self, range: &Range<usize>) -> usize {
        let inner = self.inner.lock();
        let locked = inner.areas.iter().filter(|vma| vma.flags.contains(VmaFlags::LOCKED));
        let inside = |vma: Range<usize>| vma.end.min(range.end).saturating_sub(vma.start.max(range.start));
        locked.map(|vma| vma.len() - inside(vma.range())).sum()
    }

    /// How many bytes are mapped.
    pub fn mapped(&self) -> usize {
        self.inner.lock().mapped_bytes()
    }

    /// Locks all areas, or none any more.
    pub fn lock_all(&self, locked: bool) {
        self.inner.lock().areas.update(0..USER_END, |vma| {
            vma.flags.set(VmaFlags::LOCKED, locked && !vma.flags.contains(VmaFlags::KERNEL));
        });
    }

    /// Whether areas to come are locked (`MCL_FUTURE`).
    pub fn locks_future(&self) -> bool {
        self.locks_future.load(Ordering::Relaxed)
    }

    /// Has areas to come be locked, or not.
    pub fn set_locks_future(&self, locks: bool) {
        self.locks_future.store(locks, Ordering::Relaxed);
    }

    /// The first area that ends behind `address`.
    pub fn area_from(&self, address: usize) -> Option<Range<usize>> {
        self.inner.lock().areas.at_or_after(address).map(super::Vma::range)
    }

    /// How far the heap would grow, to `end`, in whole pages.
    pub fn heap_growth(&self, end: usize) -> usize {
        end.saturating_sub(self.inner.lock().brk).div_ceil(PAGE_SIZE) * PAGE_SIZE
    }
}
