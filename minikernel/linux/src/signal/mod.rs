//! Signals: `signal(7)`.
//!
//! A signal is sent to a thread or to a process ([`send_to_thread`], [`send_to_process`]), waits in [`PendingSignals`], and is dealt with by
//! [`deliver`] when a thread is about to go back to user code. A fault of the program itself is raised by [`raise_fault`].

mod action;
mod deliver;
mod fault;
mod frame;
mod info;
mod pending;
mod send;
mod set;
mod take;

pub use action::{Action, ActionFlags, Disposition, SharedActions};
pub use deliver::attend;
pub use fault::{Fault, force, raise_fault};
pub use frame::{StackDescription, minimum_stack, return_at_once, return_from_handler};
pub use info::{SI_KERNEL, SI_TIMER, SI_TKILL, SI_USER, SigInfo};
pub use pending::{AlternateStack, PendingSignals, ThreadSignals};
pub use send::{
    QUEUED, discard, limit, retarget, send_of_timer, send_to_process, send_to_thread, with_pending,
};
pub use set::{SigSet, Signal};
pub use take::take;
