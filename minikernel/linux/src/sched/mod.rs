//! The scheduler: an executor of futures on each CPU, with a run queue of its own.
//!
//! A user thread is a future ([`crate::process::run`]); so is everything else that goes on in the kernel. A task that waits is
//! simply not in the run queue; its waker puts it back. There is no kernel stack for a thread and nothing to switch.

mod executor;
mod preempt;
mod processor;
mod queue;
mod real_time;
mod task;
mod timers;
mod yielding;

pub use executor::{run, spawn, task};
pub use preempt::{before_user, give_way, is_due, waited};
pub use processor::{cpus, present};
pub use real_time::Share;
pub use task::TaskRef;
pub use timers::{Sleep, expire, sleep_until, timeout_at, timer_interrupt};
pub use yielding::yield_now;
