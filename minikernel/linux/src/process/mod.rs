//! Processes and threads, and the loop in which a thread lives.
//!
//! A [`Process`] is what POSIX calls a process and Linux a thread group: an address space, a set of threads, an exit status. A
//! [`Thread`] is what the scheduler runs; it refers to the structures that `clone(2)` can share or copy: the file table
//! ([`FileTable`]), the file-system context ([`FsContext`]), the signal actions.

mod account;
mod census;
mod clone;
mod context;
mod credentials;
mod current;
mod exit;
mod family;
mod files;
mod first;
mod fork;
mod gate;
mod groups;
mod init;
mod inspect;
mod job;
mod limits;
pub mod load;
mod pids;
#[expect(clippy::module_inception, reason = "the process is what this room is about")]
mod process;
pub mod rseq;
mod run;
pub mod scheduling;
mod thread;
mod wait;

pub use account::{Account, Charge};
pub use clone::{CloneFlags, CloneRequest, clone};
pub use context::FsContext;
pub use credentials::{ALL_CAPABILITIES, CapabilitySets, IdSet, Identity, SecureBits, in_order};
#[cfg(test)]
pub use current::in_thread;
pub use current::{current, switches, work_of};
pub use exit::{exit_group, kill_process};
pub(crate) use family::{hold as hold_families, report_job, tell_of_child};
pub use files::{Descriptor, FileTable};
pub use first::{StartError, start_first};
pub use gate::Held;
pub use groups::hold as hold_groups;
pub use inspect::With;
pub use limits::{Limit, Limits, Resource};
#[cfg(test)]
pub use pids::register as enlist;
pub use pids::{
    PID_MAX, allocate_pid, find_process, find_process_of, find_thread, last_pid, processes, threads,
    threads_max,
};
pub use process::{ExitStatus, Process};
pub use run::Ctx;
pub use scheduling::Scheduling;
pub use thread::Thread;
pub use wait::{Change, Found, WaitFor, Whom};
