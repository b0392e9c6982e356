//! Futexes: `futex(2)`, `get_robust_list(2)`.
//!
//! A futex is a word of user memory. The kernel knows of it only while somebody waits: a [`Waiter`] then stands in the bucket of the word's
//! [`Key`]. Waiting and waking look at the word and the bucket under the bucket's lock, so that no wake-up between them is lost.

mod key;
mod queue;
mod robust;
mod wake_op;
mod word;

pub use key::{Key, Scope};
pub use queue::{Waited, requeue, wait, wake};
pub use robust::{clear_and_wake, release_robust};
pub use wake_op::{WakeOp, wake_op};
