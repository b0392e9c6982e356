//! System calls: one table, a file for each family, typed arguments.
//!
//! [`table`] is the only list of calls: from it come the dispatch, the trace output (`--trace`) and `docs/reference/syscalls.md`. A
//! handler is a function of the context and typed arguments, and reads like its man page:
//!
//! ```text
//! pub fn umask(ctx: &mut Ctx, mask: u32) -> SysResult {
//!     Ok(ctx.thread.fs().set_umask(mask) as usize)
//! }
//! ```
//!
//! A handler that touches user memory, which may have to be paged in, is an attempt that what is missing stops ([`Attempt`](crate::fail::Attempt)):
//! it is made again, or only its reply ([`unfinished::reply`]). One that waits has the rest of it as a future ([`Rest`](crate::fail::Rest)), or is
//! made again after a change ([`Later`](crate::fail::Later)); few are `async` as a whole, each state of which costs bytes. A call that is not in
//! the table fails with `ENOSYS` and is counted.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one shape, those that cannot fail too")]

mod adjtime;
mod aio;
mod argument;
mod dispatch;
mod epoll;
mod eventfd;
#[cfg(test)]
mod exhausted;
mod file;
mod futex;
mod identity;
mod inotify;
mod kcmp;
mod membarrier;
mod memory;
mod mqueue;
mod namespace;
mod numa;
mod path;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
pub(crate) mod print;
mod priority;
mod process;
mod process_vm;
mod ptrace;
mod rseq;
mod scheduling;
mod seccomp;
mod signalfd;
mod signals;
mod socket;
mod splice;
mod syslog;
mod system;
mod sysv;
mod table;
mod time;
mod timers;
mod unfinished;
mod unknown;
mod wait;
pub(crate) mod watch;
mod when;

pub(crate) use argument::put;
pub use argument::{Argument, Fd, Flags, InBytes, Mode, OutBytes, SignalNumber, UserPath};
pub use dispatch::{handle, make_at_once};
pub use path::{PATH_MAX, with_view};
#[cfg(not(isopod_bare))]
pub use table::Parameter;
pub(crate) use table::find;
pub use table::{CALLS, CallInfo};
pub use unfinished::Unfinished;
pub use unknown::unknown_calls;
