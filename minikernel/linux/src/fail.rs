//! How a system call ends when it does not succeed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;

use isopod_fs::{Errno, Error, Wait};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::uaccess::{Fault, FaultAt};
use isopod_hal::user::Invalid;

use crate::process::Ctx;

/// What a system call returns: the value for `rax`, or why there is none.
pub type SysResult = Result<usize, Fail>;

/// Why a system call did not succeed. One word: a [`SysResult`] is two registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// With this error number.
    Errno(Errno),
    /// A signal ended its wait before anything had been done: [`Restart::Always`].
    RestartAlways,
    /// The same, [`Restart::UnlessHandled`].
    RestartUnlessHandled,
    /// The same, [`Restart::WithoutHandler`].
    RestartWithoutHandler,
    /// The same, [`Restart::Until`].
    RestartUntil,
}

impl Fail {
    /// Whether a signal ended its wait.
    pub fn is_restart(self) -> bool {
        !matches!(self, Self::Errno(_))
    }
}

/// What an attempt at a call returns that is made again from its start when something stops it: it has then changed nothing. Most calls
/// read their arguments, do one thing to the tree, and write what they found; nothing of them need be kept while they wait, and what
/// they wait for they hardly ever meet.
pub type Attempt<T = usize> = Result<T, Stop>;

/// Why an attempt did not succeed. It is handed on at nearly every step of a call, and therefore small.
pub enum Stop {
    /// For good.
    Fail(Fail),
    /// A page of the program's memory has to be provided.
    Fault(Fault),
    /// Data has to come from a disk.
    Wait(Wait),
    /// There is no memory, unless caches give way.
    Memory,
    /// What it needs may come later.
    Later(Box<Later>),
    /// Much has been done: others get their turn.
    Turn,
    /// It has begun, and this is the rest of it, which waits: it is not made again.
    Rest(Rest),
    /// It is one of the table's that may wait, and has not been made.
    Dispatch,
}

/// The rest of a call. The lock, which nobody ever takes, lets it be shared.
#[expect(missing_debug_implementations, reason = "a future has nothing to show")]
pub struct Rest(Box<SpinLock<Resting>>);

type Resting = Pin<Box<dyn Future<Output = SysResult> + Send>>;

impl Rest {
    /// What `future` does.
    pub fn new(future: impl Future<Output = SysResult> + Send + 'static) -> Self {
        Self(Box::new(SpinLock::new(Box::pin(future))))
    }

    /// The future.
    pub fn into_future(self) -> Resting {
        self.0.into_inner()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(fail) => fail.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Memory => f.write_str("Memory"),
            Self::Later(later) => later.fmt(f),
            Self::Turn => f.write_str("Turn"),
            Self::Rest(_) => f.write_str("Rest"),
            Self::Dispatch => f.write_str("Dispatch"),
        }
    }
}

const _: () = assert!(size_of::<Attempt>() == 16, "an attempt moves in one register");

/// A wait for a change after which the call is made again, which a signal ends.
pub struct Later {
    /// Woken at each change.
    pub queue: Arc<dyn Changing>,
    /// Until when it is waited for, in nanoseconds since boot.
    pub deadline: u64,
    /// The result once that has passed.
    pub late: Fail,
    /// The result when a signal comes.
    pub interrupted: Fail,
}

impl Later {
    /// A call waits until `deadline`. A duration that it was given counts from its first attempt: the next ones find the deadline in
    /// [`Ctx::resume_until`], which they must take once they have read all that they read.
    pub fn until(ctx: &mut Ctx, queue: Arc<dyn Changing>, deadline: u64) -> Self {
        ctx.resume_until = Some(deadline);
        Self::new(queue, deadline)
    }

    /// As most calls wait: they fail with `EAGAIN` in the end. One that waits as long as it takes is made again after a signal (signal(7)).
    pub fn new(queue: Arc<dyn Changing>, deadline: u64) -> Self {
        let interrupted = if deadline == u64::MAX { Interrupted.into() } else { Errno::EINTR.into() };
        Self { queue, deadline, late: Errno::EAGAIN.into(), interrupted }
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// What changes, and wakes a queue then.
pub trait Changing: Send + Sync {
    /// The queue.
    fn queue(&self) -> &WaitQueue;
}

impl Changing for WaitQueue {
    fn queue(&self) -> &WaitQueue {
        self
    }
}

impl From<Fail> for Stop {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

impl From<Later> for Stop {
    fn from(later: Later) -> Self {
        Self::Later(Box::new(later))
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Fail(errno.into())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FaultAt> for Stop {
    fn from(at: FaultAt) -> Self {
        Self::Fault(at.fault)
    }
}

impl From<Invalid> for Stop {
    fn from(_: Invalid) -> Self {
        Errno::EFAULT.into()
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Wait(wait) => Self::Wait(wait),
            Error::Errno(Errno::ENOMEM) => Self::Memory,
            Error::Errno(errno) => Self::Fail(errno.into()),
        }
    }
}

/// What happens to a call that a signal interrupted, once the signal has been dealt with: `signal(7)`,
/// "Interruption of system calls and library functions by signal handlers".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It is made again, whatever handlers ran.
    Always,
    /// It is made again, unless a handler without `SA_RESTART` ran: then it fails with `EINTR`.
    UnlessHandled,
    /// It is made again only if no handler ran at all; with one it fails with `EINTR`.
    WithoutHandler,
    /// As `WithoutHandler`, and the call made again waits no longer than the first would have (`restart_syscall(2)`): until
    /// [`Thread::resume_until`](crate::process::Thread::resume_until).
    Until,
}

impl Restart {
    /// As a tracer sees it in `rax` (`include/linux/errno.h`).
    pub fn in_register(self) -> u64 {
        let number: i64 = match self {
            Self::UnlessHandled => 512,
            Self::Always => 513,
            Self::WithoutHandler => 514,
            Self::Until => 516,
        };
        -number as u64
    }
}

/// What a failed call leaves in `rax`: the negative error number.
pub fn in_register(errno: Errno) -> u64 {
    -i64::from(errno.number()) as u64
}

/// The error number of a file's operation that waits for no disk.
#[expect(clippy::needless_pass_by_value, reason = "its only use is as the function of a map_err")]
pub fn errno(error: Error) -> Errno {
    match error {
        Error::Errno(errno) => errno,
        Error::Wait(_) => Errno::EIO,
    }
}

/// A signal arrived during a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl From<Errno> for Fail {
    /// `ERESTART`, which no program ever sees, comes from a file that sent the caller a signal to be dealt with first.
    fn from(errno: Errno) -> Self {
        if errno == Errno::ERESTART { Self::RestartUnlessHandled } else { Self::Errno(errno) }
    }
}

impl From<Restart> for Fail {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Always => Self::RestartAlways,
            Restart::UnlessHandled => Self::RestartUnlessHandled,
            Restart::WithoutHandler => Self::RestartWithoutHandler,
            Restart::Until => Self::RestartUntil,
        }
    }
}

impl From<isopod_hal::OutOfMemory> for Fail {
    fn from(_: isopod_hal::OutOfMemory) -> Self {
        Self::Errno(Errno::ENOMEM)
    }
}

impl From<Interrupted> for Fail {
    fn from(_: Interrupted) -> Self {
        Self::RestartUnlessHandled
    }
}
