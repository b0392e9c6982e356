//! How many threads each user has, ended processes that were not waited for included: `RLIMIT_NPROC` of setrlimit(2).

use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::{Capabilities, Errno};

use super::{Account, Charge, Identity, Resource, Thread};

static THREADS: Account = Account::new();

/// Whether this one may have more than its limit (`copy_process()`).
fn is_free(identity: &Identity) -> bool {
    identity.users.real == 0
        || identity.capable(Capabilities::SYS_RESOURCE)
        || identity.capable(Capabilities::SYS_ADMIN)
}

impl Thread {
    fn threads_limit(&self) -> u64 {
        self.process().limits.lock().get(Resource::Processes).soft
    }

    /// Counts one more thread, which it is to make. `EAGAIN` beyond its limit.
    pub(super) fn charge_for_another(&self) -> Result<Charge, Errno> {
        let identity = self.identity();
        let limit = if is_free(&identity) { u64::MAX } else { self.threads_limit() };
        let charge = THREADS.charge(identity.users.real, 1, limit).ok_or(Errno::EAGAIN)?;
        self.over_limit.store(false, Relaxed);
        Ok(charge)
    }

    /// Counts it as one of `user`, and remembers whether that one had too many before: it is told so when it executes a program (execve(2),
    /// `EAGAIN`; `flag_nproc_exceeded()`).
    pub(super) fn count_as(&self, user: u32) {
        self.over_limit.store(user != 0 && THREADS.of(user) > self.threads_limit(), Relaxed);
        if let Some(charge) = THREADS.charge(user, 1, u64::MAX) {
            let before = self.charge.lock().replace(charge);
            drop(before);
        }
    }

    /// `EAGAIN` when its user had too many threads as it became that user, and still has.
    pub fn check_may_execute(&self) -> Result<(), Errno> {
        if self.over_limit.load(Relaxed) && THREADS.of(self.identity().users.real) > self.threads_limit() {
            return Err(Errno::EAGAIN);
        }
        self.over_limit.store(false, Relaxed);
        Ok(())
    }
}
