//! Who waits for whose lock: a circle of them would wait for ever (`EDEADLK` of `fcntl_locking(2)`).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::sync::SpinLock;

use super::LockOwner;
use crate::{Errno, Result};

/// How many owners are followed from one to the next, as on Linux: longer circles are not found.
const CHAIN_MAX: usize = 10;

static WAITING: SpinLock<Vec<Waiting>> = SpinLock::new(Vec::new());

struct Waiting {
    id: u64,
    waiter: LockOwner,
    holder: LockOwner,
}

/// One wait for a lock, as long as it lives.
#[derive(Debug)]
pub struct LockWait(u64);

impl LockWait {
    /// A wait that is to begin.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that `waiter` now waits for `holder`. EDEADLK if that one waits, itself or through others, for `waiter`.
    pub fn wait_for(&self, waiter: LockOwner, holder: LockOwner) -> Result<()> {
        let mut all = WAITING.lock();
        all.retain(|other| other.id != self.0);
        let mut next = Some(holder);
        for _ in 0..CHAIN_MAX {
            let Some(owner) = next else { break };
            if owner == waiter {
                return Err(Errno::EDEADLK.into());
            }
            next = all.iter().find(|other| other.waiter == owner).map(|other| other.holder);
        }
        all.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        all.push(Waiting { id: self.0, waiter, holder });
        Ok(())
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        WAITING.lock().retain(|other| other.id != self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_circle_is_refused_and_a_line_is_not() {
        let owner = |id: u32| LockOwner::process(1000 + id);
        let (first, second, third) = (LockWait::new(), LockWait::new(), LockWait::new());
        first.wait_for(owner(1), owner(2)).unwrap();
        second.wait_for(owner(2), owner(3)).unwrap();
        assert!(matches!(third.wait_for(owner(3), owner(1)), Err(Error::Errno(Errno::EDEADLK))));
        drop(first);
        third.wait_for(owner(3), owner(1)).unwrap();
    }
}
