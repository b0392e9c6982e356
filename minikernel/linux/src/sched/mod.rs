//! The scheduler: an executor of futures. One CPU runs today, and it has one run queue.
//!
//! A user thread is a future ([`crate::process::run`]); so is everything else that goes on in the kernel. A task that waits is
//! simply not in the run queue; its waker puts it back. There is no kernel stack for a thread and nothing to switch.

mod executor;
mod preempt;
mod timers;
mod yielding;

pub use executor::{run, spawn};
pub use preempt::{before_user, give_way, is_due, others_wait};
pub use timers::{Sleep, expire, next_deadline, sleep_until, timeout_at, timer_interrupt};
pub use yielding::yield_now;
