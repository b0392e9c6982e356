//! Memory of processes: address spaces, the areas in them, and what happens at a page fault.
//!
//! An [`AddressSpace`] is a set of areas ([`Vma`]: what should be there) beside a page table (what is there so far). Every page
//! arrives by a fault. Handlers reach user memory through [`user`], which pairs the copies of `hal` with [`AddressSpace::fault_in`].

mod advice;
mod fault;
mod fork;
mod layout;
mod lock;
mod map;
mod observer;
mod remap;
mod remote;
mod report;
mod space;
mod user;
mod vma;

pub use advice::Advice;
pub use fault::{FaultError, FaultKind};
pub use layout::{LOWEST, Layout};
pub use map::{MapRequest, Placement, commit};
pub use remap::Move;
pub use report::{MemoryReport, Resident, describe};
pub use space::{AddressSpace, SpaceLimits, Start};
pub use user::{UserBuffers, UserPtr};
pub use vma::{Backing, FileBacking, Vma, VmaFlags, VmaSet};

use isopod_hal::PAGE_SIZE;

/// Of personality(2): what can be read can be executed.
pub const READ_IMPLIES_EXEC: u32 = 0x40_0000;

/// Rounds down to a page boundary.
pub const fn page_down(address: usize) -> usize {
    address & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary; `None` when that leaves the number range.
pub const fn page_up(address: usize) -> Option<usize> {
    match address.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}
