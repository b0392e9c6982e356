//! Atomics as the models of [loom](https://docs.rs/loom) see them: with `--cfg loom` each access is a point where another processor may come
//! in between, and every order that the memory model allows is tried. What models are made of takes them from here.

#[cfg(not(loom))]
pub use core::hint::spin_loop;
#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub use loom::hint::spin_loop;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
