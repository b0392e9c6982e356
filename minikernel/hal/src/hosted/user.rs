//! User code and its memory.

use alloc::boxed::Box;
use core::{
    cell::RefCell,
    ops::Range,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};
use std::thread_local;

use crate::{
    PAGE_SIZE, PhysAddr,
    frame::Frame,
    memory::OutOfMemory,
    paging::{Access, ActiveTables, translate},
    user::{FpuLayout, Trap, UserContext},
};

type UserCode = Box<dyn FnMut(&mut UserContext) -> Trap>;

thread_local! {
    static ACTIVE: RefCell<Option<ActiveTables>> = const { RefCell::new(None) };
    static USER: RefCell<Option<UserCode>> = const { RefCell::new(None) };
}

/// Lets `code` play the user program of this thread: each [`UserContext::run`] calls it once.
pub fn set_user(code: impl FnMut(&mut UserContext) -> Trap + 'static) {
    USER.set(Some(Box::new(code)));
}

/// What the address space activated on this thread holds at `address`: physical address and rights.
pub fn active_translation(address: usize) -> Option<(PhysAddr, Access)> {
    translate(active()?, address)
}

pub(crate) fn run_user(context: &mut UserContext) -> Trap {
    USER.with_borrow_mut(|code| code.as_mut().expect("a test that runs user code calls set_user")(context))
}

fn active() -> Option<PhysAddr> {
    ACTIVE.with_borrow(|active| active.as_ref().map(|tables| tables.root()))
}

pub(crate) fn load_tables(tables: &ActiveTables) {
    if active() != Some(tables.root()) {
        drop(ACTIVE.replace(Some(ActiveTables::clone(tables))));
    }
}

pub(crate) fn leave_tables(tables: &ActiveTables) {
    if active() == Some(tables.root()) {
        drop(ACTIVE.take());
    }
}

/// What other threads have active are address spaces of other tests.
pub(crate) fn others_use(_tables: &ActiveTables) -> bool {
    false
}

pub(crate) fn share_kernel_half(_root: &Frame) {}

/// Software walks cache nothing.
pub(crate) fn flush(_tables: &ActiveTables, _range: Range<usize>) {}

/// Pointer to the byte at `address`, if the program may do this with it.
fn reach(address: usize, need: Access) -> Option<*mut u8> {
    let (page, access) = active_translation(address)?;
    // SAFETY: the offset is within the page.
    access.contains(need).then(|| unsafe { super::direct(page).add(address % PAGE_SIZE) })
}

/// Walks `len` bytes from `address` page by page; returns how many `copy` got.
fn by_page(address: usize, len: usize, need: Access, mut copy: impl FnMut(*mut u8, usize, usize)) -> usize {
    let mut done = 0;
    while done < len {
        let Some(at) = reach(address + done, need) else { break };
        let step = (PAGE_SIZE - (address + done) % PAGE_SIZE).min(len - done);
        copy(at, done, step);
        done += step;
    }
    done
}

pub(crate) unsafe fn copy_from_user(into: *mut u8, from: usize, len: usize) -> usize {
    // SAFETY: the caller's buffer has `len` bytes, and `step` bytes are left in the page. They may overlap where a
    // frame is copied to itself.
    by_page(from, len, Access::READ, |at, done, step| unsafe { ptr::copy(at, into.add(done), step) })
}

pub(crate) unsafe fn copy_to_user(to: usize, from: *const u8, len: usize) -> usize {
    // SAFETY: as above, in the other direction.
    by_page(to, len, Access::WRITE, |at, done, step| unsafe { ptr::copy(from.add(done), at, step) })
}

fn word<'a>(address: usize, need: Access) -> Option<&'a AtomicU32> {
    // SAFETY: callers check that the word is aligned, so it lies in one page; the arena lives for ever.
    reach(address, need).map(|at| unsafe { &*at.cast::<AtomicU32>() })
}

pub(crate) unsafe fn user_load_u32(address: usize) -> Option<u32> {
    word(address, Access::READ).map(|word| word.load(Ordering::SeqCst))
}

pub(crate) unsafe fn user_store_u32(address: usize, value: u32) -> Option<()> {
    word(address, Access::WRITE).map(|word| word.store(value, Ordering::SeqCst))
}

pub(crate) unsafe fn user_cmpxchg_u32(address: usize, old: u32, new: u32) -> Option<u32> {
    word(address, Access::WRITE).map(|word| {
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|now| now)
    })
}

/// As on a processor with AVX.
pub(crate) fn fpu_layout() -> FpuLayout {
    FpuLayout { size: 512 + 64 + 256, components: 7, mxcsr_mask: 0xffff }
}

/// No processor holds the registers: nothing runs but tests.
pub(crate) fn fpu_sync(_area: *mut u8) {}

pub(crate) fn fpu_release() {}

pub(crate) fn prepare_breakpoints() -> Result<(), OutOfMemory> {
    Ok(())
}

pub(crate) fn fpu_forget(_area: *mut u8) {}
