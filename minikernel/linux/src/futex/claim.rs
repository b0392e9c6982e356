//! Claims: who waits for a futex that is owned, and for whom (`FUTEX_LOCK_PI`).
//!
//! The owner hands the lock to the claim that is first: of the highest real-time priority, then the oldest. At an owner's end the claim is
//! granted, and the new owner writes the word itself, as only it can reach it; until then its claim stands in the bucket, and nobody else
//! takes the lock. The word is not in reach of who ends.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;

use super::key::Key;
use super::queue::{BUCKETS, Bucket, Waiter, bucket};
use crate::process::{Thread, find_thread};

/// How long a chain of owners that wait for owners may be (`max_lock_depth`).
const DEPTH: usize = 1024;

/// How many claims there are.
static CLAIMS: AtomicUsize = AtomicUsize::new(0);

/// Held while a claim begins, so that of several that would wait for each other the last one sees it.
static BEGINNING: SpinLock<()> = SpinLock::new(());

/// Somebody's wait for a lock.
#[derive(Debug)]
pub(super) struct Claim {
    /// Who waits.
    pub(super) thread: Arc<Thread>,
    /// The lock's owner; 0 for one who has not come to the lock yet.
    pub(super) owner: AtomicU32,
    /// The lock that it is to be moved to (`FUTEX_WAIT_REQUEUE_PI`).
    pub(super) target: Option<Key>,
    /// The owner has ended and left it the lock.
    granted: AtomicBool,
}

impl Claim {
    pub(super) fn new(thread: &Arc<Thread>, target: Option<Key>) -> Self {
        CLAIMS.fetch_add(1, Ordering::Relaxed);
        let granted = AtomicBool::new(false);
        Self { thread: Arc::clone(thread), owner: AtomicU32::new(0), target, granted }
    }

    pub(super) fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }

    /// Begins to wait for `owner`. `EDEADLK` if that waits, directly or not, for the claimant; `ESRCH` once it ends, for it may have left its locks
    /// by now.
    pub(super) fn begin(&self, owner: u32) -> Result<(), Errno> {
        let _beginning = BEGINNING.lock();
        if find_thread(owner).is_none() {
            return Err(Errno::ESRCH);
        }
        let mut at = owner;
        for _ in 0..DEPTH {
            if at == self.thread.tid() {
                return Err(Errno::EDEADLK);
            }
            let next = find_thread(at).map_or(0, |thread| thread.awaited_owner.load(Ordering::Relaxed));
            if next == 0 {
                self.wait_for(owner);
                return Ok(());
            }
            at = next;
        }
        Err(Errno::EDEADLK)
    }

    /// The lock has this owner now.
    fn wait_for(&self, owner: u32) {
        self.owner.store(owner, Ordering::Relaxed);
        let awaited = if owner == self.thread.tid() { 0 } else { owner };
        self.thread.awaited_owner.store(awaited, Ordering::Relaxed);
    }

    /// The claim has left the bucket unsatisfied: what was granted to it goes to the next.
    pub(super) fn give_up(&self, bucket: &mut Bucket, key: Key) {
        self.thread.awaited_owner.store(0, Ordering::Relaxed);
        if self.is_granted() {
            bucket.grant(key);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bucket {
    /// Everybody who waits for the lock at `key`.
    pub(super) fn claims(&self, key: Key) -> impl Iterator<Item = (&Arc<Waiter>, &Claim)> {
        let there = self.waiters.iter().filter(move |(at, _)| *at == key);
        there.filter_map(|(_, waiter)| waiter.claim.as_ref().map(|claim| (waiter, claim)))
    }

    /// Who is to have the lock at `key` next.
    pub(super) fn first_claim(&self, key: Key) -> Option<Arc<Waiter>> {
        let mut first: Option<(&Arc<Waiter>, u32)> = None;
        for (waiter, claim) in self.claims(key) {
            let priority = claim.thread.scheduling().priority;
            if first.is_none_or(|(_, highest)| priority > highest) {
                first = Some((waiter, priority));
            }
        }
        first.map(|(waiter, _)| Arc::clone(waiter))
    }

    /// Takes a waiter out.
    pub(super) fn remove(&mut self, waiter: &Arc<Waiter>) {
        if let Some(place) = self.waiters.iter().position(|(_, other)| Arc::ptr_eq(other, waiter)) {
            self.waiters.remove(place);
        }
    }

    /// Tells all claims at `key` who the owner is now.
    pub(super) fn set_owner(&self, key: Key, owner: u32) {
        self.claims(key).for_each(|(_, claim)| claim.wait_for(owner));
    }

    /// Leaves the lock at `key` to the first claim, if there is one.
    fn grant(&mut self, key: Key) {
        let Some(next) = self.first_claim(key) else { return };
        if let Some(claim) = &next.claim {
            claim.granted.store(true, Ordering::Release);
            self.set_owner(key, claim.thread.tid());
        }
        next.tell();
    }
}

/// Leaves the locks of a thread that ends to those who wait for them (`exit_pi_state_list`). It is not known by its id any more, so that nobody begins
/// to wait for it behind this; or it goes on with another program, and leaves what comes now when it ends.
pub fn release_claimed(thread: &Thread) {
    if CLAIMS.load(Ordering::Relaxed) == 0 {
        return;
    }
    let tid = thread.tid();
    for index in 0..BUCKETS {
        let mut bucket = bucket(index);
        let owned = |bucket: &Bucket| {
            let mut all = bucket.waiters.iter();
            all.find(|(_, waiter)| {
                let owner = waiter.claim.as_ref().map(|claim| claim.owner.load(Ordering::Relaxed));
                owner == Some(tid)
            })
            .map(|(key, _)| *key)
        };
        while let Some(key) = owned(&bucket) {
            bucket.grant(key);
        }
    }
}
