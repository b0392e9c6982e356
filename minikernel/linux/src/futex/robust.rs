//! What a thread's end does to futexes: robust lists and the word that a joiner waits for.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::uaccess;

use super::word::exchange;
use super::{Scope, wake};
use crate::fail::{Attempt, Fail};
use crate::mm::{AddressSpace, UserPtr};
use crate::process::Thread;
use crate::wait::again;

/// The owner's id in a robust futex.
pub(super) const TID_MASK: u32 = 0x3fff_ffff;
/// The owner died with the futex locked.
pub(super) const OWNER_DIED: u32 = 0x4000_0000;
/// Somebody waits.
pub(super) const WAITERS: u32 = 0x8000_0000;
/// How many entries are looked at; the list is the program's and may be a circle (`ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;
/// The lowest bit of an entry marks a priority-inheritance futex.
const PI: u64 = 1;

/// Clears the word at `address` and wakes one waiter: how a thread's end is seen by `pthread_join(3)` (`set_tid_address(2)`).
pub async fn clear_and_wake(memory: &Arc<AddressSpace>, address: usize) {
    // A bad address is the program's own loss; there is nobody to tell.
    if memory.write(UserPtr::new(address), &0u32).await.is_ok() {
        let _ = again(memory, || wake(memory, address, Scope::Shared, 1, u32::MAX)).await;
    }
}

/// Marks every robust futex that the thread holds, and wakes a waiter of each (`get_robust_list(2)`). The list ends where it cannot be read.
pub async fn release_robust(thread: &Thread, memory: &Arc<AddressSpace>) {
    let head = thread.robust_list.load(Ordering::Relaxed);
    if head == 0 {
        return;
    }
    // struct robust_list_head: the list, the offset from an entry to its futex, the entry being changed.
    let Ok([first, offset, pending]) = memory.read(UserPtr::<[u64; 3]>::new(head)).await else { return };
    let mut entry = first;
    for _ in 0..LIMIT {
        if entry & !PI == head as u64 {
            break;
        }
        let next = memory.read(UserPtr::<u64>::new((entry & !PI) as usize)).await;
        // What is being changed may be on the list already; it is dealt with once.
        if entry & !PI != pending & !PI && release(thread, memory, entry, offset, false).await.is_err() {
            return;
        }
        let Ok(next) = next else { return };
        entry = next;
    }
    if pending & !PI != 0 {
        let _ = release(thread, memory, pending, offset, true).await;
    }
}

/// Marks one futex if the thread holds it. `pending` is true for the one that it was about to lock or unlock.
async fn release(
    thread: &Thread,
    memory: &Arc<AddressSpace>,
    entry: u64,
    offset: u64,
    pending: bool,
) -> Result<(), Fail> {
    let address = (entry & !PI).wrapping_add(offset) as usize;
    if !address.is_multiple_of(size_of::<u32>()) {
        return Err(Errno::EINVAL.into());
    }
    let word = again(memory, || mark(thread.tid(), address)).await? as u32;
    let held = word & TID_MASK == thread.tid();
    // Without an owner it has been unlocked, but whoever did that, or was woken by it, may not have lived to tell the next
    // (`handle_futex_death`).
    let orphaned = pending && word & TID_MASK == 0;
    if entry & PI == 0 && (held && word & WAITERS != 0 || orphaned) {
        again(memory, || wake(memory, address, Scope::Shared, 1, u32::MAX)).await?;
    }
    Ok(())
}

/// Replaces the thread as the owner by the mark. Returns the word as it was.
fn mark(tid: u32, address: usize) -> Attempt {
    let mut old = uaccess::user_load_u32(address)?;
    exchange(address, &mut old, |old| (old & TID_MASK == tid).then_some(old & WAITERS | OWNER_DIED))?;
    Ok(old as usize)
}
