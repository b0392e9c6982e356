//! Physical memory: which frames exist ([`spans`]), who has them ([`buddy`]), and small objects in them ([`slab`]).

pub(crate) mod buddy;
#[cfg_attr(all(not(isopod_bare), not(test)), expect(dead_code, reason = "hosted, the heap is the process's"))]
pub(crate) mod slab;
pub(crate) mod spans;

use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    machine,
    sync::{Once, SpinLock},
};
use buddy::Buddy;
use spans::Spans;

/// No memory is left for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

/// Who asks for frames, and so how far down the allocator may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Memory that a program asked for: refused once only the reserve is left.
    Ordinary,
    /// Small kernel objects whose allocation cannot be refused: may use the reserve.
    Kernel,
}

/// Every frame that the kernel manages.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) spans: Spans,
    pub(crate) buddy: SpinLock<Buddy>,
}

impl Memory {
    pub(crate) fn new(spans: &Spans) -> Self {
        Self { spans: *spans, buddy: SpinLock::new(Buddy::new(spans)) }
    }

    /// Takes `count` contiguous frames, `count` at least 1; the number of the first.
    #[inline]
    pub(crate) fn allocate(&self, count: usize, purpose: Purpose) -> Result<u32, OutOfMemory> {
        #[cfg(not(isopod_bare))]
        if purpose == Purpose::Ordinary && crate::hosted::is_exhausted() {
            return Err(OutOfMemory);
        }
        let mut buddy = self.buddy.lock();
        let taken = buddy.allocate(count, purpose);
        LOW.store(buddy.free_frames() < buddy.reserve(), Ordering::Relaxed);
        taken.ok_or(OutOfMemory)
    }

    /// Gives back `count` contiguous frames.
    ///
    /// # Safety
    /// The caller owns all of them, from [`Memory::allocate`], and uses them no more.
    #[inline]
    pub(crate) unsafe fn free(&self, first: u32, count: usize) {
        let mut buddy = self.buddy.lock();
        // SAFETY: the caller's promise is the same.
        unsafe { buddy.free(first, count) };
        LOW.store(buddy.free_frames() < buddy.reserve(), Ordering::Relaxed);
    }
}

/// Less is free than the reserve. Not part of [`Memory`], as every system call asks.
static LOW: AtomicBool = AtomicBool::new(false);

/// Whether less is free than the reserve.
#[inline]
pub(crate) fn is_low() -> bool {
    LOW.load(Ordering::Relaxed)
}

static MEMORY: Once<Memory> = Once::new();

/// The kernel's memory. The machine's start-up has set it before anything else runs.
#[inline]
pub(crate) fn memory() -> &'static Memory {
    match MEMORY.get() {
        Some(memory) => memory,
        None => first_memory(),
    }
}

#[cold]
#[inline(never)]
fn first_memory() -> &'static Memory {
    MEMORY.get_or_init(|| Memory::new(&machine::memory_spans()))
}

/// How much memory there is and who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Frames that the allocator manages.
    pub total_frames: usize,
    /// Frames that nobody uses.
    pub free_frames: usize,
    /// Bytes of kernel objects on the heap.
    pub heap_bytes: usize,
    /// Frames kept back for kernel objects; see [`crate::heap::reserve_low`].
    pub reserve_frames: usize,
}

/// The state of memory now.
pub fn memory_stats() -> MemoryStats {
    // Before the other lock: the heap takes frames while it holds its own.
    let heap_bytes = crate::heap::used_bytes();
    let buddy = memory().buddy.lock();
    let free_frames = buddy.free_frames();
    #[cfg(not(isopod_bare))]
    let free_frames = if crate::hosted::is_exhausted() { 0 } else { free_frames };
    MemoryStats { total_frames: buddy.total(), free_frames, heap_bytes, reserve_frames: buddy.reserve() }
}
