//! The count in a lock in models: loom's.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ptr::from_ref;
use core::sync::atomic::Ordering;
use std::sync::{Mutex as Hidden, MutexGuard as HiddenGuard, PoisonError};

use loom::sync::atomic::AtomicUsize as Modelled;

/// A number that can be made in a constant.
#[derive(Debug)]
pub struct AtomicUsize {
    first: usize,
}

loom::lazy_static! {
    static ref NUMBERS: Hidden<BTreeMap<usize, Arc<Modelled>>> = Hidden::new(BTreeMap::new());
}

/// All numbers. Loom does not see this lock, and it is never held where another thread may come in between.
fn all() -> HiddenGuard<'static, BTreeMap<usize, Arc<Modelled>>> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AtomicUsize {
    /// As that of `core`.
    pub const fn new(first: usize) -> Self {
        Self { first }
    }

    fn modelled(&self) -> Arc<Modelled> {
        all().entry(from_ref(self) as usize).or_insert_with(|| Arc::new(Modelled::new(self.first))).clone()
    }

    /// As that of `core`.
    pub fn load(&self, order: Ordering) -> usize {
        self.modelled().load(order)
    }

    /// As that of `core`.
    pub fn store(&self, value: usize, order: Ordering) {
        self.modelled().store(value, order);
    }

    /// As that of `core`.
    pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.modelled().fetch_sub(value, order)
    }

    /// As that of `core`.
    pub fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        update: impl FnMut(usize) -> Option<usize>,
    ) -> Result<usize, usize> {
        self.modelled().fetch_update(set, fetch, update)
    }

    /// As that of `core`.
    pub fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.modelled().compare_exchange(current, new, success, failure)
    }
}

impl Drop for AtomicUsize {
    fn drop(&mut self) {
        let gone = all().remove(&(from_ref(self) as usize));
        drop(gone);
    }
}
