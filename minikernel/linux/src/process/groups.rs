//! Process groups and sessions: who is in which.

use isopod_hal::sync::{SpinLock, SpinLockGuard};

/// Held while a process comes to a group, leaves it, or is made, and while a signal is sent to a group: it reaches those who are in it at one
/// point of time, children that are being made among them or not at all. Taken behind the families' lock.
static GROUPS: SpinLock<()> = SpinLock::new(());

/// Holds all groups and sessions as they are.
pub fn hold() -> SpinLockGuard<'static, ()> {
    GROUPS.lock()
}
