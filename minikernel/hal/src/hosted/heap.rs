//! The heap of the process, which a test can make as poor as the kernel's when memory has run out.

use core::cell::Cell;
use core::ptr;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    thread_local,
};

/// Larger objects of the kernel are ordinary memory; smaller ones may come from the reserve.
const SMALL: usize = 16 << 10;

thread_local! {
    /// What is left of the reserve of a thread whose memory is exhausted.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

#[global_allocator]
static HEAP: Heap = Heap;

struct Heap;

// SAFETY: blocks are the system's; this only refuses some.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no reserve any more.
        if let Ok(Some(left)) = LEFT.try_with(Cell::get) {
            if layout.size() > SMALL || layout.size() > left {
                return ptr::null_mut();
            }
            LEFT.with(|reserve| reserve.set(Some(left - layout.size())));
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Ok(Some(left)) = LEFT.try_with(Cell::get) {
            LEFT.with(|reserve| reserve.set(Some(left + layout.size())));
        }
        // SAFETY: the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// As long as it lives, its thread finds no frames and no large objects, and small ones only in a reserve.
#[derive(Debug)]
pub struct Exhausted(());

/// Exhausts the memory of this thread, but for `reserve` bytes.
pub fn exhaust(reserve: usize) -> Exhausted {
    LEFT.with(|left| left.set(Some(reserve)));
    Exhausted(())
}

/// Whether this thread's memory is exhausted.
pub(crate) fn is_exhausted() -> bool {
    LEFT.try_with(Cell::get).is_ok_and(|left| left.is_some())
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        LEFT.with(|left| left.set(None));
    }
}
