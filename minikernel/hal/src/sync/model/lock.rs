//! The lock beneath [`SpinLock`](crate::sync::SpinLock) in models: loom's, which knows who waits for whom.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::mem::transmute;
use core::ptr::from_ref;
use std::sync::{Mutex as Hidden, MutexGuard as HiddenGuard, PoisonError};

use lock_api::{GuardNoSend, RawMutex};
use loom::sync::{Mutex, MutexGuard};

/// The state of a [`SpinLock`](crate::sync::SpinLock).
#[derive(Debug)]
pub struct RawSpinLock {
    /// Two locks must not have one address.
    _place: u8,
}

/// One of loom's locks. The guard is dropped before what it guards.
struct Modelled {
    held: Option<MutexGuard<'static, ()>>,
    lock: Arc<Mutex<()>>,
}

loom::lazy_static! {
    static ref LOCKS: Hidden<BTreeMap<usize, Modelled>> = Hidden::new(BTreeMap::new());
}

impl RawSpinLock {
    /// All locks. Loom does not see this one, and it is never held where another thread may come in between.
    fn all() -> HiddenGuard<'static, BTreeMap<usize, Modelled>> {
        LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self) -> usize {
        from_ref(self) as usize
    }

    fn modelled(&self) -> Arc<Mutex<()>> {
        let new = || Modelled { held: None, lock: Arc::new(Mutex::new(())) };
        Self::all().entry(self.key()).or_insert_with(new).lock.clone()
    }

    fn keep(&self, guard: MutexGuard<'_, ()>) {
        // SAFETY: the guard lies beside the lock that it borrows, which lives in an `Arc` and is dropped after it.
        let guard = unsafe { transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) };
        if let Some(modelled) = Self::all().get_mut(&self.key()) {
            modelled.held = Some(guard);
        }
    }
}

// SAFETY: loom's lock excludes, and its guard is kept until `unlock`.
unsafe impl RawMutex for RawSpinLock {
    const INIT: Self = Self { _place: 0 };
    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        let lock = self.modelled();
        self.keep(lock.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn try_lock(&self) -> bool {
        let lock = self.modelled();
        let Ok(guard) = lock.try_lock() else { return false };
        self.keep(guard);
        true
    }

    unsafe fn unlock(&self) {
        let guard = Self::all().get_mut(&self.key()).and_then(|modelled| modelled.held.take());
        drop(guard);
    }

    fn is_locked(&self) -> bool {
        Self::all().get(&self.key()).is_some_and(|modelled| modelled.held.is_some())
    }
}
