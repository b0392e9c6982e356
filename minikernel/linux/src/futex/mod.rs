//! Futexes: `futex(2)`, `get_robust_list(2)`.
//!
//! A futex is a word of user memory. The kernel knows of it only while somebody waits: a [`Waiter`] then stands in the bucket of the word's
//! [`Key`]. A word that is owned ([`lock`]) holds its owner's id, and who waits for it has a claim. Waiting and waking look at the word and the bucket under the bucket's lock, so that no wake-up between them is lost.

mod claim;
mod key;
mod owned;
mod queue;
mod robust;
mod wake_op;
mod word;

pub use claim::release_claimed;
pub use key::{Key, Scope};
pub use owned::{enter_for_lock, lock, requeue_to_lock, try_lock, unlock, wait_for_lock};
pub use queue::{Word, enter, enter_all, requeue, wait, wait_any, wake};
pub use robust::{clear_and_wake, release_robust};
pub use wake_op::{WakeOp, wake_op};
