//! Spin locks behind `lock_api`'s safe wrappers. Their guards are not `Send`, so that a future which keeps one across
//! an `await` is not `Send` either and the executor refuses it at compile time.

#[cfg(not(loom))]
use lock_api::RawMutex;
use lock_api::{GuardNoSend, RawRwLock};

#[cfg(not(loom))]
use super::atomic::AtomicBool;
#[cfg(not(loom))]
use super::atomic::AtomicUsize;
use super::atomic::{Ordering, spin_loop};
#[cfg(loom)]
use super::model::AtomicUsize;

#[cfg(loom)]
pub use super::model::RawSpinLock;

/// Mutual exclusion by spinning.
pub type SpinLock<T> = lock_api::Mutex<RawSpinLock, T>;
/// Access to what a [`SpinLock`] protects.
pub type SpinLockGuard<'a, T> = lock_api::MutexGuard<'a, RawSpinLock, T>;
/// Many readers or one writer, by spinning. Readers are preferred: a reader may take the lock again.
pub type RwSpinLock<T> = lock_api::RwLock<RawRwSpinLock, T>;
/// Shared access to what a [`RwSpinLock`] protects.
pub type RwSpinReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwSpinLock, T>;
/// Exclusive access to what a [`RwSpinLock`] protects.
pub type RwSpinWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwSpinLock, T>;

/// The state of a [`SpinLock`].
#[cfg(not(loom))]
#[derive(Debug)]
pub struct RawSpinLock(AtomicBool);

#[cfg(not(loom))]
// SAFETY: `try_lock` succeeds only for the one caller whose exchange turned false into true, and acquire/release
// order what the lock protects.
unsafe impl RawMutex for RawSpinLock {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        // No loop that only reads between two attempts: it would stand in every place that takes a lock, and the
        // processor's pause leaves the holder the cache line for as long.
        while !self.try_lock() {
            spin_loop();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state of a [`RwSpinLock`]: the number of readers, or [`WRITER`].
#[derive(Debug)]
pub struct RawRwSpinLock(AtomicUsize);

const WRITER: usize = usize::MAX;

// SAFETY: the count is `WRITER` only while one writer holds the lock and was zero before it; readers raise the count
// only while it is not `WRITER`.
unsafe impl RawRwLock for RawRwSpinLock {
    const INIT: Self = Self(AtomicUsize::new(0));
    type GuardMarker = GuardNoSend;

    fn lock_shared(&self) {
        while !self.try_lock_shared() {
            spin_loop();
        }
    }

    fn try_lock_shared(&self) -> bool {
        // The largest count but one stays free, so that readers never turn into `WRITER`.
        let enter = |readers| (readers < WRITER - 1).then(|| readers + 1);
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_ok()
    }

    unsafe fn unlock_shared(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    fn lock_exclusive(&self) {
        while !self.try_lock_exclusive() {
            spin_loop();
        }
    }

    fn try_lock_exclusive(&self) -> bool {
        self.0.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    unsafe fn unlock_exclusive(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn is_locked_exclusive(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WRITER
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::Arc, thread, vec::Vec};

    use super::*;

    #[test]
    fn a_spin_lock_excludes() {
        let total = Arc::new(SpinLock::new(0u64));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let total = total.clone();
                thread::spawn(move || (0..10_000).for_each(|_| *total.lock() += 1))
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(*total.lock(), 40_000);
    }

    #[test]
    fn readers_share_and_a_writer_does_not() {
        let lock = RwSpinLock::new(1);
        let first = lock.read();
        let second = lock.read();
        assert!(lock.try_write().is_none());
        drop((first, second));
        *lock.write() = 2;
        let writer = lock.write();
        assert!(lock.try_read().is_none());
        drop(writer);
        assert_eq!(*lock.read(), 2);
    }
}
