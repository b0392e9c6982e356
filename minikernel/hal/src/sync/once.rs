//! A value that is set once and read by all.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;

use super::atomic::{Ordering, spin_loop};
// The models of other crates begin each execution with the statics that the last one left, which loom's atomics would not survive.
#[cfg(all(test, loom))]
use super::model::AtomicUsize;
#[cfg(not(all(test, loom)))]
use core::sync::atomic::AtomicUsize;

const EMPTY: usize = 0;
const BUSY: usize = 1;
const READY: usize = 2;

/// A cell written at most once, then shared.
pub struct Once<T> {
    state: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: `&Once` gives out `&T` (T: Sync) and moves a `T` in from any thread (T: Send); the state orders the two.
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: moving the cell moves the value.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> Once<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self { state: AtomicUsize::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it has been set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) == READY {
            // SAFETY: READY is stored, with release order, after the value was written, and the value is never
            // written again while the cell is shared.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }

    /// Sets the value; gives it back where another one was set before.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: only the caller that turned EMPTY into BUSY comes here, and no reader looks before READY.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(READY, Ordering::Release);
        Ok(())
    }

    /// The value, made by `init` where there is none yet. `init` may run on several CPUs at once; one result stays.
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _ = self.set(init());
        }
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            spin_loop();
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if self.state.load(Ordering::Relaxed) == READY {
            // SAFETY: READY says that the value was written; `&mut self` says that nobody reads it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.get()).finish()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_value_stays() {
        let once = Once::new();
        assert_eq!(once.get(), None);
        assert_eq!(once.set(1), Ok(()));
        assert_eq!(once.set(2), Err(2));
        assert_eq!(once.get_or_init(|| 3), &1);
    }
}
