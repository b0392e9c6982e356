//! What tells one futex from another.

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_hal::uaccess::Fault;

use crate::fail::{Attempt, Stop};
use crate::mm::{AddressSpace, Backing, FaultError, FaultKind, page_down};

/// Who can use a futex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Threads of one address space (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// Everybody who maps the same page.
    Shared,
}

/// The identity of a futex word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An address in an address space.
    Private {
        /// [`AddressSpace::id`]
        space: u64,
        /// The address.
        address: usize,
        /// Used without `FUTEX_PRIVATE_FLAG`: Linux keeps the two apart.
        shared: bool,
    },
    /// A place in a file.
    Shared {
        /// The inode's device and number.
        device: u32,
        /// See `device`.
        inode: u64,
        /// The offset in bytes.
        offset: u64,
    },
}

/// The key of the word at `address`. `EINVAL` when it is not aligned, `EFAULT` when nothing is there.
pub fn key(memory: &Arc<AddressSpace>, address: usize, scope: Scope) -> Attempt<Key> {
    if !address.is_multiple_of(size_of::<u32>()) {
        return Err(Errno::EINVAL.into());
    }
    let private = Key::Private { space: memory.id(), address, shared: scope == Scope::Shared };
    if scope == Scope::Private {
        return Ok(private);
    }
    let vma = memory.area_at(address).ok_or(Errno::EFAULT)?;
    match &vma.backing {
        Backing::File(part) if !vma.is_private() => {
            // The page must exist: a word beyond the end of the file is nobody's.
            memory.fault(page_down(address), FaultKind::Read).map_err(|error| stop(error, address))?;
            let about = part.inode.metadata().map_err(|error| error.errno().unwrap_or(Errno::EFAULT))?;
            let offset = part.offset + (address - vma.start) as u64;
            Ok(Key::Shared { device: about.device.encode(), inode: about.inode, offset })
        }
        // Private memory has no other users.
        _ => Ok(private),
    }
}

fn stop(error: FaultError, address: usize) -> Stop {
    match error {
        FaultError::Wait(wait) => Stop::Wait(wait),
        // Who provides it before the next attempt waits for memory.
        FaultError::Memory => Stop::Fault(Fault { address, write: false }),
        _ => Errno::EFAULT.into(),
    }
}
