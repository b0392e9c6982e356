//! What each user has of something that is limited for each: queued signals, inotify instances, bytes of message queues.

use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

/// How much each user has: the users by rising number.
#[derive(Debug, Default)]
pub struct Account(SpinLock<Vec<(u32, u64)>>);

/// Up to so many users are remembered who have nothing.
const USERS_KEPT: usize = 16;

/// A part of what a user has; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    account: &'static Account,
    user: u32,
    amount: u64,
}

impl Account {
    /// Nobody has anything.
    pub const fn new() -> Self {
        Self(SpinLock::new(Vec::new()))
    }

    /// What `user` has.
    pub fn of(&self, user: u32) -> u64 {
        let users = self.0.lock();
        users.binary_search_by_key(&user, |(user, _)| *user).map_or(0, |at| users[at].1)
    }

    /// Gives `user` so much more; `None` if that would be more than `limit`, or there is no memory.
    pub fn charge(&'static self, user: u32, amount: u64, limit: u64) -> Option<Charge> {
        let mut users = self.0.lock();
        users.try_reserve(1).ok()?;
        let at = users.binary_search_by_key(&user, |(user, _)| *user).unwrap_or_else(|at| {
            users.insert(at, (user, 0));
            at
        });
        let has = &mut users[at].1;
        *has = has.checked_add(amount).filter(|sum| *sum <= limit)?;
        Some(Charge { account: self, user, amount })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut users = self.account.0.lock();
        if let Ok(at) = users.binary_search_by_key(&self.user, |(user, _)| *user) {
            let has = &mut users[at].1;
            *has -= self.amount;
            // Who has nothing will soon have something again, more often than not.
            if *has == 0 && users.len() > USERS_KEPT {
                users.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_limit_of_its_own() {
        static ACCOUNT: Account = Account::new();
        let first = ACCOUNT.charge(1, 1, 2).unwrap();
        let _second = ACCOUNT.charge(1, 1, 2).unwrap();
        assert!(ACCOUNT.charge(1, 1, 2).is_none());
        assert!(ACCOUNT.charge(2, 2, 1).is_none());
        assert!(ACCOUNT.charge(2, 1, 1).is_some());
        drop(first);
        assert!(ACCOUNT.charge(1, 1, 2).is_some());
    }
}
