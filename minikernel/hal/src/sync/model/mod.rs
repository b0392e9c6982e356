//! What locks are made of in models: locks and numbers of [loom](https://docs.rs/loom), which tries every order that the memory model allows.
//!
//! Loom's own cannot be made in constants, and ours must be. So one of loom's belongs to the address of each of ours, for as long as one execution
//! of a model takes. Statics keep what a lock protects between executions: a model leaves it as it was.

mod atomic;
mod lock;

pub use atomic::AtomicUsize;
pub use lock::RawSpinLock;
