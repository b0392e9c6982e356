//! The global allocator.

use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::{
    PAGE_SIZE, machine,
    memory::{
        Purpose,
        buddy::block_range,
        memory,
        slab::{self, Slabs},
    },
    sync::SpinLock,
};

/// Larger objects are refused once only the reserve is left: sizes that a program chooses.
const LARGEST_OF_RESERVE: usize = 16 << 10;

#[cfg_attr(isopod_bare, global_allocator)]
static ALLOCATOR: Allocator = Allocator::new();

pub(super) fn used_bytes() -> usize {
    ALLOCATOR.0.lock().used
}

struct Allocator(SpinLock<Heap>);

struct Heap {
    slabs: Slabs,
    /// Bytes that are out, as they were asked for.
    used: usize,
}

impl Allocator {
    const fn new() -> Self {
        Self(SpinLock::new(Heap { slabs: Slabs::new(), used: 0 }))
    }
}

// SAFETY: blocks come from the slabs or are whole frames that belong to nobody else; each has the size and the alignment
// that was asked for. Which of the two an allocation is follows from its layout alone.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        let block = match small(layout) {
            Some(size) => heap.slabs.allocate(size),
            None => allocate_frames(layout),
        };
        let Some(block) = block else { return ptr::null_mut() };
        heap.used += layout.size();
        block.as_ptr()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut heap = self.0.lock();
        heap.used -= layout.size();
        // SAFETY: the block came from where its layout leads to, and is used no more.
        unsafe {
            match small(layout) {
                Some(_) => heap.slabs.free(block),
                None => memory().free(frame_of(block), frames(layout)),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `new_size` within the bounds of layouts.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let in_place = match (small(layout), small(new)) {
            (Some(size), Some(new_size)) => slab::same_block(size, new_size),
            (None, None) => frames(layout) == frames(new),
            _ => false,
        };
        if in_place {
            let mut heap = self.0.lock();
            heap.used = heap.used - layout.size() + new_size;
            return block;
        }
        // SAFETY: both blocks are as long as what is copied; the old one is given back once the new one exists.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// The bytes of an object that lives in a page of equal blocks; `None` for one in frames of its own.
#[inline]
fn small(layout: Layout) -> Option<usize> {
    if layout.size() <= slab::LARGEST && layout.align() <= slab::ALIGNMENT {
        return Some(layout.size());
    }
    // Blocks for a multiple of a larger alignment are so aligned.
    let padded = layout.pad_to_align().size();
    (padded <= slab::LARGEST && layout.align() <= slab::LARGEST_ALIGNMENT).then_some(padded)
}

/// Frames of an object. Blocks of a power of two are aligned to themselves, which serves any alignment.
fn frames(layout: Layout) -> usize {
    let count = layout.size().div_ceil(PAGE_SIZE);
    if layout.align() > PAGE_SIZE { count.max(layout.align() / PAGE_SIZE).next_power_of_two() } else { count }
}

#[inline(never)]
fn allocate_frames(layout: Layout) -> Option<NonNull<u8>> {
    let purpose = if layout.size() <= LARGEST_OF_RESERVE { Purpose::Kernel } else { Purpose::Ordinary };
    let first = memory().allocate(frames(layout), purpose).ok()?;
    NonNull::new(machine::direct(block_range(first, 1).start))
}

fn frame_of(block: *mut u8) -> u32 {
    (machine::direct_to_phys(block).as_u64() / PAGE_SIZE as u64) as u32
}

#[cfg(test)]
mod tests;
