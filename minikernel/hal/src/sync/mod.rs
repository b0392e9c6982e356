//! Locks. None of them is held across an `await`, and none is ever taken by an interrupt: interrupts arrive only while
//! user code runs or the CPU idles, when the kernel holds no lock.

mod once;
mod spin;
pub mod wait;

pub use once::Once;
pub use spin::{RwSpinLock, RwSpinReadGuard, RwSpinWriteGuard, SpinLock, SpinLockGuard};
