//! Blocking: an operation that can be "not now" becomes one that waits.
//!
//! For whoever writes a call on files:
//!
//! * The operation is a closure over the file's non-blocking methods. It is called until it gives anything but `EAGAIN`: once at
//!   first, and again each time the file's queue is woken. It must therefore have changed nothing when it says `EAGAIN`.
//! * How long to wait is a deadline in nanoseconds since boot: [`NEVER`] for `O_NONBLOCK` and `MSG_DONTWAIT`, [`FOREVER`], or a point
//!   of time for `SO_RCVTIMEO` and its kin. [`patience`] reads it off the file's flags.
//! * `EAGAIN` comes back when the deadline has passed, or at once if the file has nothing to wait on.
//! * A signal ends the wait, never the operation: the call is made again as `SA_RESTART` says if it could have waited for ever, and
//!   fails with `EINTR` if it had a deadline (signal(7), "Interruption of system calls and library functions by signal handlers"). Callers
//!   that have done something already return that instead.
//! * Waits for a disk are not ended by signals and know no deadline, as on Linux.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;

use crate::fail::{Fail, Interrupted, Restart, errno};
use crate::process::Thread;
use crate::sched;
use crate::wait::{interruptible, retry};

/// The deadline of who does not wait at all.
pub const NEVER: u64 = 0;
/// The deadline of who waits as long as it takes.
pub const FOREVER: u64 = u64::MAX;

/// How long a call waits to read from `file`, or to write to it: not at all with `O_NONBLOCK`, else as long as the file says, else for ever.
pub fn patience(file: &OpenFile, writing: bool) -> u64 {
    if file.flags().contains(OpenFlags::NONBLOCK) {
        return NEVER;
    }
    match file.ops().and_then(|ops| ops.time_limit(writing)) {
        Some(limit) => clock::monotonic_ns().saturating_add(limit),
        None => FOREVER,
    }
}

/// Does `operation` on `file` as soon as that does not fail with `EAGAIN`; see the [module](self).
pub async fn until_ready<T: Send>(
    thread: &Thread,
    file: &OpenFile,
    deadline: u64,
    mut operation: impl FnMut() -> fs::Result<T> + Send,
) -> Result<T, Fail> {
    match operation() {
        Ok(value) => Ok(value),
        // What has failed may have left something behind, such as an error that is told once.
        Err(fs::Error::Errno(errno)) if !matches!(errno, Errno::EAGAIN | Errno::ENOMEM) => Err(errno.into()),
        Err(fs::Error::Errno(Errno::EAGAIN)) if deadline == NEVER => Err(Errno::EAGAIN.into()),
        Err(_) => {
            let mut found = None;
            wait(thread, file, deadline, &mut || {
                found = Some(operation()?);
                Ok(())
            })
            .await?;
            found.ok_or(Fail::Errno(Errno::EIO))
        }
    }
}

/// What [`wait`] returns.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<(), Fail>> + Send + 'a>>;

/// The rest of [`until_ready`] once the operation could not be done at first, the same for every operation.
fn wait<'a>(
    thread: &'a Thread,
    file: &'a OpenFile,
    deadline: u64,
    operation: &'a mut (dyn FnMut() -> fs::Result<()> + Send),
) -> Waiting<'a> {
    Box::pin(async move {
        loop {
            match retry(&mut *operation).await {
                Err(Errno::EAGAIN) if deadline != NEVER => {}
                outcome => return Ok(outcome?),
            }
            let Some(queue) = file.wait_queue() else { return Err(Errno::EAGAIN.into()) };
            let changed = queue.until(|| match operation() {
                Err(fs::Error::Errno(Errno::EAGAIN)) => None,
                outcome => Some(outcome),
            });
            match interruptible(thread, sched::timeout_at(deadline, changed)).await {
                Ok(Some(Ok(()))) => return Ok(()),
                Ok(Some(Err(fs::Error::Errno(errno)))) => return Err(errno.into()),
                // Data is on its way from a disk: the operation is made again once it is there.
                Ok(Some(Err(fs::Error::Wait(wait)))) => wait.await,
                Ok(None) => return Err(Errno::EAGAIN.into()),
                Err(Interrupted) if deadline == FOREVER => return Err(Fail::Restart(Restart::UnlessHandled)),
                Err(Interrupted) => return Err(Errno::EINTR.into()),
            }
        }
    })
}

/// What open(2) waits for before `file` is the program's, such as the other end of a FIFO, unless it is open with `O_NONBLOCK`.
pub fn opens_later(file: &Arc<OpenFile>) -> Result<Option<Arc<WaitQueue>>, Errno> {
    let Some(ops) = file.ops().filter(|_| patience(file, false) == FOREVER) else { return Ok(None) };
    match ops.finish_open(file).map_err(errno) {
        Err(Errno::EAGAIN) => file.wait_queue().ok_or(Errno::EAGAIN).map(Some),
        outcome => outcome.map(|()| None),
    }
}
