//! Code that is unpacked when it is first reached, page by page: the file is small, and a boot pays for what it runs.
//!
//! The linker script says what code that is; none of it is needed to get here. A page of it is not mapped until the first fetch of an
//! instruction from it faults; then its memory, which the image has kept for it, is filled. The code before it in memory is the
//! dictionary of all pages.

use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_packed::{Codes, Packed};

use super::{direct, layout};
use crate::{
    PAGE_SIZE, PhysRange, cpu,
    sync::{Once, SpinLock},
};

/// An instruction is at most this long (SDM volume 2, section 2.3.11).
const INSTRUCTION: usize = 15;

static PACKED: Once<Packed<'static>> = Once::new();

/// Held while a page is filled: another CPU that comes to it waits.
static FILLING: SpinLock<Codes> = SpinLock::new(Codes::new());

/// The CPU that fills a page. It comes here again only if what fills pages calls what is packed: an error of the kernel, to be told.
static FILLER: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;

/// Says where the loader has put the blocks.
pub(super) fn install(blocks: PhysRange) {
    // They lie behind the image, in the first GiB, where no further table is needed; what is not reached stays packed for good.
    if direct::map_direct(blocks, &mut || None).is_ok() {
        // SAFETY: the loader put these bytes there, they are kept from the allocator, and nobody writes them.
        let bytes = unsafe { slice::from_raw_parts(direct::direct(blocks.start), blocks.len as usize) };
        let _ = PACKED.set(Packed::new(bytes));
    }
}

/// Goes on without the other CPUs, which have been stopped where they were: one of them may have been filling a page, and never ends it.
pub(super) fn go_on_alone() {
    // SAFETY: nobody else runs, and what is half filled is not mapped as code: it will be filled again.
    unsafe { FILLING.force_unlock() };
    FILLER.store(NOBODY, Ordering::Relaxed);
}

/// Unpacks the page at `at`, which the instruction at `rip` could not be fetched from. Whether it is now there to be run; another CPU may have
/// been faster.
pub(super) fn unpack(at: usize, rip: usize) -> bool {
    let is_fetch = (rip..rip + INSTRUCTION).contains(&at);
    if !is_fetch || !(layout::packed()..layout::packed_end()).contains(&at) {
        return false;
    }
    let Some(packed) = PACKED.get() else { return false };
    let this = cpu::id();
    if FILLER.load(Ordering::Relaxed) == this {
        return false;
    }
    let mut codes = FILLING.lock();
    if direct::is_code(at) {
        return true;
    }
    FILLER.store(this, Ordering::Relaxed);
    let filled = fill(packed, at & !(PAGE_SIZE - 1), &mut codes);
    FILLER.store(NOBODY, Ordering::Relaxed);
    filled
}

/// Fills the page at `page` and maps it as code, unless what is packed is not in order.
fn fill(packed: &Packed<'_>, page: usize, codes: &mut Codes) -> bool {
    // SAFETY: while the lock is held only this CPU uses the page, which is not to be run meanwhile; the dictionary is code, which
    // is never written. What the page is filled with is what the linker put there, as the builder packed it.
    unsafe {
        direct::map_packed(page, true);
        let memory = &mut *core::ptr::with_exposed_provenance_mut(page);
        let start = core::ptr::with_exposed_provenance(layout::text());
        let dictionary = slice::from_raw_parts(start, layout::first_end() - layout::text());
        let index = (page - layout::packed()) / PAGE_SIZE;
        if packed.unpack(index, dictionary, codes, memory).is_none() {
            return false;
        }
        direct::map_packed(page, false);
    }
    true
}
