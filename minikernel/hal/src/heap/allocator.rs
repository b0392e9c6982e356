//! The global allocator.

use alloc::alloc::{GlobalAlloc, Layout};
use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use talc::{
    DefaultBinning,
    base::{Talc, binning::Binning},
    source::Source,
};

use crate::{
    PAGE_SIZE, machine,
    memory::{OutOfMemory, Purpose, buddy::block_range, memory},
    sync::SpinLock,
};

/// Larger objects come straight from frames.
const SMALL: usize = 16 << 10;
/// Frames that the heap takes at a time, fewer where memory is short: 64 KiB, and as many again as it grows.
const EXTENT: usize = 16;
const LARGEST_EXTENT: usize = 256;

static HEAP: SpinLock<Talc<Extents, DefaultBinning>> = SpinLock::new(Talc::new(Extents { taken: 0 }));
static USED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Heap = Heap;

pub(super) fn used_bytes() -> usize {
    USED.load(Ordering::Relaxed)
}

struct Heap;

// SAFETY: small blocks come from talc, big ones are whole frames that belong to nobody else; both have the size and
// the alignment that was asked for. Which of the two an allocation is follows from its layout alone.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = if is_big(layout) {
            allocate_frames(layout).unwrap_or(ptr::null_mut())
        } else {
            // SAFETY: the layout is not empty, by the trait's contract.
            unsafe { HEAP.lock().allocate(layout) }.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
        };
        if !block.is_null() {
            USED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        if is_big(layout) {
            // SAFETY: the block came from `allocate_frames` with this layout.
            unsafe { memory().free(frame_of(block), frames(layout)) };
        } else {
            // SAFETY: the block came from talc with this layout.
            unsafe { HEAP.lock().deallocate(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `new_size` within the bounds of layouts.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let in_place = match (is_big(layout), is_big(new)) {
            (true, true) => frames(layout) == frames(new),
            // SAFETY: the block came from talc with this layout.
            (false, false) => unsafe { HEAP.lock().try_realloc_in_place(block, layout, new_size) },
            _ => false,
        };
        if in_place {
            USED.fetch_add(new_size.wrapping_sub(layout.size()), Ordering::Relaxed);
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

fn is_big(layout: Layout) -> bool {
    layout.size() > SMALL || layout.align() >= PAGE_SIZE
}

/// Frames of a big block. Blocks of a power of two are aligned to themselves, which serves any alignment.
fn frames(layout: Layout) -> usize {
    let count = layout.size().div_ceil(PAGE_SIZE);
    if layout.align() > PAGE_SIZE { count.max(layout.align() / PAGE_SIZE).next_power_of_two() } else { count }
}

fn allocate_frames(layout: Layout) -> Result<*mut u8, OutOfMemory> {
    let first = memory().allocate(frames(layout), Purpose::Ordinary)?;
    Ok(machine::direct(block_range(first, 1).start))
}

fn frame_of(block: *mut u8) -> u32 {
    (machine::direct_to_phys(block).as_u64() / PAGE_SIZE as u64) as u32
}

/// Where talc's memory comes from.
#[derive(Debug)]
struct Extents {
    /// Frames taken so far.
    taken: usize,
}

// SAFETY: claims frames that were just allocated, which stay the heap's for good; touches the allocator by the
// reference alone, and allocates nothing from it.
unsafe impl Source for Extents {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the object, for the start of an extent, and for talc's own table in the first one.
        let least =
            (layout.size() + layout.align() + 256).div_ceil(PAGE_SIZE) + usize::from(talc.source.taken == 0);
        let mut count = (talc.source.taken / 4).clamp(EXTENT, LARGEST_EXTENT).max(least);
        loop {
            // Whole extents come from what is free to all, the smallest from the reserve.
            let purpose = if count == least { Purpose::Kernel } else { Purpose::Ordinary };
            if let Ok(first) = memory().allocate(count, purpose) {
                let start = machine::direct(block_range(first, 1).start);
                // SAFETY: the frames are contiguous, mapped, and the heap's alone.
                unsafe { talc.claim(start, count * PAGE_SIZE) }.ok_or(())?;
                talc.source.taken += count;
                return Ok(());
            }
            if count == least {
                return Err(());
            }
            count = (count / 2).max(least);
        }
    }
}
