//! How many signals are queued for each user's processes: `RLIMIT_SIGPENDING` of getrlimit(2).

use alloc::collections::BTreeMap;

use isopod_hal::sync::SpinLock;

/// By real user.
static QUEUED: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

/// One signal, or one POSIX timer, which will need one; counted until it is dropped.
#[derive(Debug)]
pub struct Charge {
    user: u32,
}

impl Charge {
    /// Counts one more for `user`; `None` if there are `limit` already.
    pub fn new(user: u32, limit: u64) -> Option<Self> {
        let mut queued = QUEUED.lock();
        let count = queued.get(&user).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        queued.insert(user, count + 1);
        Some(Self { user })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut queued = QUEUED.lock();
        match queued.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(queued.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_limit_of_its_own() {
        let (user, other) = (70_001, 70_002);
        let first = Charge::new(user, 2).unwrap();
        let _second = Charge::new(user, 2).unwrap();
        assert!(Charge::new(user, 2).is_none());
        assert!(Charge::new(other, 1).is_some());
        drop(first);
        assert!(Charge::new(user, 2).is_some());
    }
}
