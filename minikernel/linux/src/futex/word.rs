//! The word itself, which lies in user memory and may not be there yet.

use isopod_hal::uaccess;

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
