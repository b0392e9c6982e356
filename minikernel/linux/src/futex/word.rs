//! The word itself, which lies in user memory and may not be there yet.

use isopod_fs::Errno;
use isopod_hal::uaccess;

use crate::mm::AddressSpace;

/// What came of a look at the word, or the fault that prevented it.
pub(super) type Attempt<T> = Result<Result<T, Errno>, uaccess::Fault>;

/// Acts under a bucket's lock, where a page cannot be waited for, again after each fault.
pub(super) async fn attempt<T>(
    memory: &AddressSpace,
    mut act: impl FnMut() -> Attempt<T>,
) -> Result<T, Errno> {
    loop {
        match act() {
            Ok(outcome) => return outcome,
            Err(fault) => memory.resolve(fault).await?,
        }
    }
}

/// Replaces the word at `address`, which was `old` when it was looked at, by what `change` makes of it, if that is anything. `old` is then what was
/// replaced.
pub(super) fn exchange(
    address: usize,
    old: &mut u32,
    change: impl Fn(u32) -> Option<u32>,
) -> Result<(), uaccess::Fault> {
    while let Some(new) = change(*old) {
        let found = uaccess::user_cmpxchg_u32(address, *old, new)?;
        if found == *old {
            break;
        }
        *old = found;
    }
    Ok(())
}
