//! The kernel's heap: small objects in pages of equal blocks, larger ones in frames of their own. What nobody uses is
//! everybody's: of each size of block one empty page stays at most.
//!
//! An allocation can fail, and then returns null: sizes that a program chooses go through `try_reserve`. Small objects
//! that the kernel makes on its own may use the reserve of frames that ordinary allocations leave alone. The
//! kernel asks [`reserve_low`] where a call begins, and waits, evicts or refuses before the reserve runs out, so that
//! no such allocation fails.

use crate::memory;
#[cfg(any(isopod_bare, test))]
#[cfg_attr(not(isopod_bare), expect(dead_code, reason = "hosted, the heap is the process's"))]
mod allocator;

/// Whether ordinary allocations have nothing left and the reserve has been touched.
#[inline]
pub fn reserve_low() -> bool {
    memory::is_low()
}

/// Whether the reserve is whole. Frames that are given back fill it before anything else, so there is nothing to do
/// but to free some: evict clean pages, end a process.
pub fn refill_reserve() -> bool {
    !reserve_low()
}

/// Bytes that kernel objects use.
pub(crate) fn used_bytes() -> usize {
    #[cfg(isopod_bare)]
    return allocator::used_bytes();
    #[cfg(not(isopod_bare))]
    return 0;
}
