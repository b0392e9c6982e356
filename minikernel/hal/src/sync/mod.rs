//! Locks. None of them is held across an `await`, and none is ever taken by an interrupt: interrupts arrive only while
//! user code runs or the CPU idles, when the kernel holds no lock.
//!
//! The compiler refuses a guard that is kept across an `await`, since the executor takes only futures that are `Send`:
//!
//! ```compile_fail,E0277
//! use isopod_hal::sync::SpinLock;
//!
//! async fn sleeps_with_the_lock(lock: &SpinLock<u32>) {
//!     let guard = lock.lock();
//!     core::future::ready(()).await;
//!     drop(guard);
//! }
//!
//! fn spawn(_: impl Future + Send) {}
//! spawn(sleeps_with_the_lock(&SpinLock::new(0)));
//! ```

pub mod atomic;
#[cfg(loom)]
mod model;
mod once;
mod spin;
pub mod wait;

pub use once::Once;
pub use spin::{RwSpinLock, RwSpinReadGuard, RwSpinWriteGuard, SpinLock, SpinLockGuard};
