//! RAM: an arena of the process.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::cell::RefCell;
use std::{
    alloc::{Layout, alloc_zeroed},
    sync::{OnceLock, RwLock},
    thread_local,
};

use crate::{
    PAGE_SIZE, PhysAddr, PhysRange,
    boot::LinkDirectory,
    dma::Dma,
    memory::{OutOfMemory, spans::Spans},
};

/// Where RAM begins, as on a PC above the lowest MiB.
const START: u64 = 1 << 20;
/// RAM for everybody. The host gives pages as they are touched.
const LEN: u64 = 1 << 30;
/// RAM beyond it, for tests of allocators of their own.
#[cfg(test)]
const TEST_LEN: u64 = 1 << 30;
#[cfg(not(test))]
const TEST_LEN: u64 = 0;

struct Arena(*mut u8);

// SAFETY: only an address; what lies there is shared by the rules of the memory modules.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

fn arena() -> *mut u8 {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA
        .get_or_init(|| {
            let layout = Layout::from_size_align((LEN + TEST_LEN) as usize, 2 << 20).expect("a valid layout");
            // SAFETY: the layout is not empty. The arena lives as long as the process.
            let start = unsafe { alloc_zeroed(layout) };
            assert!(!start.is_null(), "the host refuses to reserve memory");
            Arena(start)
        })
        .0
}

pub(crate) fn memory_spans() -> Spans {
    let mut spans = Spans::new();
    spans.add(PhysRange::new(PhysAddr::new(START), LEN));
    spans
}

/// RAM of a test's own, of at most 64 MiB, for each `slot` below 16 another.
#[cfg(test)]
pub(crate) fn test_range(slot: u64, len: u64) -> PhysRange {
    assert!(slot < 16 && len <= 64 << 20);
    PhysRange::new(PhysAddr::new(START + LEN + (slot << 26)), len)
}

#[inline]
pub(crate) fn direct(at: PhysAddr) -> *mut u8 {
    let offset = at.as_u64().wrapping_sub(START);
    assert!(offset < LEN + TEST_LEN, "{at} is not RAM");
    // SAFETY: the offset lies in the arena.
    unsafe { arena().add(offset as usize) }
}

pub(crate) fn direct_to_phys(at: *const u8) -> PhysAddr {
    PhysAddr::new((at.addr() - arena().addr()) as u64 + START)
}

pub(crate) fn map_direct(
    _range: PhysRange,
    _table: &mut dyn FnMut() -> Option<u32>,
) -> Result<(), OutOfMemory> {
    Ok(())
}

pub(crate) fn read_firmware(range: PhysRange, into: &mut [u8]) -> Result<(), OutOfMemory> {
    for (index, byte) in into.iter_mut().enumerate() {
        let at = range.start.as_u64() + index as u64;
        let ram = at.wrapping_sub(START) < LEN;
        // SAFETY: the byte lies in the arena.
        *byte = if ram { unsafe { direct(PhysAddr::new(at)).read() } } else { 0xff };
    }
    Ok(())
}

static MODULES: RwLock<&'static [PhysRange]> = RwLock::new(&[]);

/// Puts a module into memory, as a boot loader does, for [`crate::boot_memory::BootMemory::claim`].
pub fn load_module(bytes: &[u8]) -> PhysRange {
    // What a boot loader has put into memory stays there, and so does the list of it.
    let pages =
        Box::leak(Box::new(Dma::pages(bytes.len().div_ceil(PAGE_SIZE).max(1)).expect("room for a module")));
    pages.write(0, bytes);
    let range = PhysRange::new(pages.phys(), bytes.len() as u64);
    let mut modules = MODULES.write().expect("nobody panics while they hold the lock");
    *modules = modules.iter().copied().chain([range]).collect::<Vec<_>>().leak();
    range
}

/// What has been loaded. Nothing is linked.
pub(crate) fn loaded() -> (LinkDirectory, &'static [PhysRange]) {
    (LinkDirectory::default(), *MODULES.read().expect("nobody panics while they hold the lock"))
}

const _: () = assert!(START.is_multiple_of(PAGE_SIZE as u64));

/// The heap is the process's, and devices that a test plays reach only the arena: they find a copy there, until the thread has lent many more.
pub(crate) fn heap_address(bytes: &[u8]) -> Option<PhysAddr> {
    const KEPT: usize = 1024;
    thread_local! {
        static LENT: RefCell<VecDeque<Dma>> = const { RefCell::new(VecDeque::new()) };
    }
    let copy = Dma::pages(bytes.len().div_ceil(PAGE_SIZE).max(1)).ok()?;
    copy.write(0, bytes);
    let address = copy.phys();
    LENT.with_borrow_mut(|lent| {
        lent.push_back(copy);
        if lent.len() > KEPT {
            lent.pop_front();
        }
    });
    Some(address)
}

/// Writes RAM as a device does that a test plays. What lies there must be a [`crate::frame::Frame`] or
/// [`crate::dma::Dma`]: their owners expect it.
pub fn write_physical(at: PhysAddr, from: &[u8]) {
    for (index, byte) in from.iter().enumerate() {
        // SAFETY: `direct` has checked that the byte lies in the arena.
        unsafe { direct(PhysAddr::new(at.as_u64() + index as u64)).write_volatile(*byte) };
    }
}
