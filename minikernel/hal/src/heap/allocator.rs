//! The global allocator.

use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use talc::{
    DefaultBinning,
    base::{Talc, binning::Binning},
    source::Source,
};

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

/// Larger objects come straight from frames.
const MEDIUM: usize = 16 << 10;
/// Frames that the heap takes at a time, fewer where memory is short: 64 KiB, and as many again as it grows.
const EXTENT: usize = 16;
const LARGEST_EXTENT: usize = 256;

static HEAP: SpinLock<Heap> =
    SpinLock::new(Heap { slabs: Slabs::new(), talc: Talc::new(Extents { taken: 0 }), used: 0 });

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

pub(super) fn used_bytes() -> usize {
    HEAP.lock().used
}

struct Heap {
    slabs: Slabs,
    talc: Talc<Extents, DefaultBinning>,
    used: usize,
}

struct Allocator;

// SAFETY: blocks come from the slabs, from talc, or are whole frames that belong to nobody else; each has the size and
// the alignment that was asked for. Which of the three an allocation is follows from its layout alone.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = HEAP.lock();
        let block = match Kind::of(layout) {
            Kind::Small => heap.slabs.allocate(layout.size()),
            // SAFETY: the layout is not empty, by the trait's contract.
            Kind::Medium => unsafe { heap.talc.allocate(layout) },
            Kind::Big => allocate_frames(layout),
        };
        let Some(block) = block else { return ptr::null_mut() };
        heap.used += layout.size();
        block.as_ptr()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut heap = HEAP.lock();
        heap.used -= layout.size();
        // SAFETY: the block came from where its layout leads to, and is used no more.
        unsafe {
            match Kind::of(layout) {
                Kind::Small => heap.slabs.free(block),
                Kind::Medium => heap.talc.deallocate(block, layout),
                Kind::Big => memory().free(frame_of(block), frames(layout)),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `new_size` within the bounds of layouts.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let in_place = match (Kind::of(layout), Kind::of(new)) {
            (Kind::Small, Kind::Small) => slab::same_block(layout.size(), new_size),
            // SAFETY: the block came from talc with this layout.
            (Kind::Medium, Kind::Medium) => unsafe {
                HEAP.lock().talc.try_realloc_in_place(block, layout, new_size)
            },
            (Kind::Big, Kind::Big) => frames(layout) == frames(new),
            _ => false,
        };
        if in_place {
            let mut heap = HEAP.lock();
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

/// Where objects of a layout live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In pages of equal blocks.
    Small,
    /// In talc's extents.
    Medium,
    /// In frames of their own.
    Big,
}

impl Kind {
    #[inline]
    fn of(layout: Layout) -> Self {
        if layout.size() <= slab::LARGEST && layout.align() <= slab::ALIGNMENT {
            Self::Small
        } else if layout.size() <= MEDIUM && layout.align() < PAGE_SIZE {
            Self::Medium
        } else {
            Self::Big
        }
    }
}

/// Frames of a big block. Blocks of a power of two are aligned to themselves, which serves any alignment.
fn frames(layout: Layout) -> usize {
    let count = layout.size().div_ceil(PAGE_SIZE);
    if layout.align() > PAGE_SIZE { count.max(layout.align() / PAGE_SIZE).next_power_of_two() } else { count }
}

fn allocate_frames(layout: Layout) -> Option<NonNull<u8>> {
    let first = memory().allocate(frames(layout), Purpose::Ordinary).ok()?;
    NonNull::new(machine::direct(block_range(first, 1).start))
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
