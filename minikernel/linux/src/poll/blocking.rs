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

use alloc::sync::Arc;

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;

use crate::fail::{Fail, Interrupted, errno};
use crate::process::Thread;
use crate::wait::interruptible;
use crate::{memory_pressure, sched};

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
    let mut found = None;
    ready(thread, file, deadline, &mut || {
        found = Some(operation()?);
        Ok(())
    })
    .await?;
    found.ok_or(Fail::Errno(Errno::EIO))
}

/// As [`until_ready`], the same for every operation.
pub async fn ready(
    thread: &Thread,
    file: &OpenFile,
    deadline: u64,
    operation: &mut (dyn FnMut() -> fs::Result<()> + Send),
) -> Result<(), Fail> {
    // What was waited for is kept until the next try, so that it still finds the page.
    let mut _waited;
    let mut outcome = operation();
    loop {
        outcome = match outcome {
            Ok(()) => return Ok(()),
            Err(fs::Error::Errno(Errno::EAGAIN)) if deadline != NEVER => {
                let Some(queue) = file.wait_queue() else { return Err(Errno::EAGAIN.into()) };
                let changed = queue.until_changed(|| match operation() {
                    Err(fs::Error::Errno(Errno::EAGAIN)) => None,
                    outcome => Some(outcome),
                });
                match interruptible(thread, sched::timeout_at(deadline, changed)).await {
                    Ok(Some(outcome)) => outcome,
                    Ok(None) => return Err(Errno::EAGAIN.into()),
                    Err(Interrupted) if deadline == FOREVER => {
                        return Err(Fail::RestartUnlessHandled);
                    }
                    Err(Interrupted) => return Err(Errno::EINTR.into()),
                }
            }
            Err(fs::Error::Errno(Errno::ENOMEM)) if memory_pressure::reclaim() => operation(),
            // What has failed may have left something behind, such as an error that is told once.
            Err(fs::Error::Errno(errno)) => return Err(errno.into()),
            // Data is on its way from a disk: the operation is made again once it is there.
            Err(fs::Error::Wait(mut wait)) => {
                (&mut wait).await;
                _waited = wait;
                operation()
            }
        };
    }
}

/// What open(2) waits for before `file` is the program's, such as the other end of a FIFO, unless it is open with `O_NONBLOCK`.
pub fn opens_later(file: &Arc<OpenFile>) -> Result<Option<Arc<WaitQueue>>, Errno> {
    let Some(ops) = file.ops().filter(|_| patience(file, false) == FOREVER) else { return Ok(None) };
    match ops.finish_open(file).map_err(errno) {
        Err(Errno::EAGAIN) => file.wait_queue().ok_or(Errno::EAGAIN).map(Some),
        outcome => outcome.map(|()| None),
    }
}
