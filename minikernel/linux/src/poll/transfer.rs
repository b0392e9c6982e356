//! Reading and writing with a program's buffers: read(2), write(2), recv(2), send(2) and their kin.
//!
//! Three things can stop an operation half-way: the file has no more for now, a signal comes, or a page of the buffer is not there.
//!
//! * What has been done by then is the call's result; only if nothing has been done does the call wait, or fail.
//! * A page that is not there is provided, and the operation goes on behind the bytes that it says it has done. An operation that is done as a
//!   whole or not at all (a datagram, an eventfd's number) therefore says 0 when its copy was cut, and meets the same bytes again.
//! * A page that cannot be provided ends the call with `EFAULT`, or with what has been done.
//!
//! * Much is moved in steps, between which others get their turn and the caller can be killed.
//!
//! Operations are closures, so that one loop serves `read`, `preadv` and `recvmsg` alike:
//!
//! ```text
//! poll::read(ctx, &file, poll::patience(&file, false), &mut buffers, &mut |buffers| file.read(buffers)).await
//! ```

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_fs::file::{FileOps, OpenFile};
use isopod_hal::clock;

use super::blocking::{NEVER, until_ready};
use crate::fail::{Fail, SysResult};
use crate::mm::UserBuffers;
use crate::process::{Ctx, Thread};
use crate::sched;
use crate::signal::{self, SigInfo, Signal};

/// How many bytes one step moves at the most.
const STEP: usize = 1 << 20;

/// What fills or drains a program's buffers; it returns how many bytes.
pub type Operation<'a> = &'a mut (dyn FnMut(&mut UserBuffers) -> fs::Result<usize> + Send);

/// Fills `buffers` by `operation` on `file`, waiting until `deadline` for the first bytes; see the [module](self). Returns how many came.
///
/// A regular file is read until the buffers are full or it ends, everything else until it has given something.
pub async fn read(
    ctx: &Ctx,
    file: &OpenFile,
    deadline: u64,
    buffers: &mut UserBuffers,
    operation: Operation<'_>,
) -> SysResult {
    let (deadline, timed) = end_of_read(file, deadline);
    match transfer(ctx, file, deadline, buffers, file.ops().is_none(), operation).await.0 {
        Err(Fail::Errno(Errno::EAGAIN)) if timed => Ok(0),
        outcome => outcome,
    }
}

/// Until when a read waits, and whether it then ends with nothing instead of an error, as one of a terminal with a time does.
fn end_of_read(file: &OpenFile, deadline: u64) -> (u64, bool) {
    let timeout = file.ops().and_then(FileOps::read_timeout).filter(|_| deadline != NEVER);
    match timeout {
        Some(timeout) => (deadline.min(clock::monotonic_ns().saturating_add(timeout)), true),
        None => (deadline, false),
    }
}

/// Drains `buffers` by `operation` on `file`, waiting until `deadline` for room; see the [module](self). Returns how many bytes were taken.
///
/// To a stream or a regular file everything is written, however often that has to wait. `EPIPE` comes with SIGPIPE.
pub async fn write(
    ctx: &Ctx,
    file: &OpenFile,
    deadline: u64,
    buffers: &mut UserBuffers,
    operation: Operation<'_>,
) -> SysResult {
    let whole = file.ops().is_none_or(FileOps::writes_stream);
    let (result, stopped_by) = transfer(ctx, file, deadline, buffers, whole, operation).await;
    if let Some(fail) = stopped_by {
        told(&ctx.thread, file, result.unwrap_or(0), fail)?;
    }
    result
}

/// One who has written `done` bytes to `file` and then failed is told by SIGPIPE, too, if it was with `EPIPE`.
pub fn told(thread: &Thread, file: &OpenFile, done: usize, fail: Fail) -> Result<(), Errno> {
    let loud = fail == Fail::Errno(Errno::EPIPE) && file.ops().is_none_or(|ops| ops.breaks_loudly(done));
    if loud { broken_pipe(thread) } else { Ok(()) }
}

/// Sends the SIGPIPE that goes with `EPIPE`.
pub fn broken_pipe(thread: &Thread) -> Result<(), Errno> {
    let (pid, uid) = (thread.process().pid, thread.identity().users.real);
    signal::send_to_thread(thread, Signal::PIPE, SigInfo::user(Signal::PIPE, signal::SI_USER, pid, uid))
}

/// How many bytes of `file` one step moves at the most: a message is moved as a whole.
pub fn step_of(file: &OpenFile) -> usize {
    if file.ops().is_none_or(FileOps::writes_stream) { STEP } else { usize::MAX }
}

/// Does `operation` on `file` once: how many bytes it moved, if that is all that there is to do, or why it cannot be done. If not, the call is to be made
/// by [`read`] or [`write`], which begin behind what has been moved ([`Ctx::moved`]) and meet again what kept the rest from it. It need not move all that
/// there is unless `whole`.
#[expect(clippy::inline_always, reason = "the calls made most often, each with one operation")]
#[inline(always)]
pub fn at_once(
    moved: &mut usize,
    step: usize,
    whole: bool,
    buffers: &mut UserBuffers,
    operation: Operation<'_>,
) -> Option<SysResult> {
    let step = buffers.allow(step);
    let count = match operation(buffers) {
        Ok(count) => count,
        Err(fs::Error::Errno(Errno::EAGAIN | Errno::ENOMEM | Errno::EPIPE) | fs::Error::Wait(_)) => {
            return None;
        }
        // What has failed may have left something behind, such as an error that is told once.
        Err(fs::Error::Errno(errno)) => return Some(Err(errno.into())),
    };
    if buffers.take_fault().is_none() && (count == 0 || buffers.is_used_up() || !whole && count < step) {
        return Some(Ok(count));
    }
    *moved = count;
    None
}

/// The result of the call, and what stopped it early, if something did.
async fn transfer(
    ctx: &Ctx,
    file: &OpenFile,
    deadline: u64,
    buffers: &mut UserBuffers,
    whole: bool,
    operation: Operation<'_>,
) -> (SysResult, Option<Fail>) {
    let mut done = buffers.position();
    let most = step_of(file);
    loop {
        let start = buffers.position();
        let step = buffers.allow(most);
        // One who reads waits only for the first bytes, one who writes to the end.
        let deadline = if whole || done == 0 { deadline } else { NEVER };
        let outcome = until_ready(&ctx.thread, file, deadline, || {
            buffers.rewind(start);
            let count = operation(buffers)?;
            Ok((count, buffers.take_fault()))
        })
        .await;
        let stop = match outcome {
            Ok((count, fault)) => {
                done += count;
                match fault {
                    Some(fault) => {
                        buffers.rewind(start + count);
                        ctx.memory.resolve(fault).await.err().map(Fail::Errno)
                    }
                    None if count == 0 || buffers.is_used_up() => return (Ok(done), None),
                    None if !whole && count < step => return (Ok(done), None),
                    None => None,
                }
            }
            Err(fail) => Some(fail),
        };
        if let Some(fail) = stop {
            return (if done > 0 { Ok(done) } else { Err(fail) }, Some(fail));
        }
        sched::give_way().await;
        // A file is moved as far as it is asked for unless the caller dies; what a device has made so far is enough for a signal.
        let enough = if file.ops().is_none() { ctx.thread.must_end() } else { ctx.thread.is_interrupted() };
        if enough && done > 0 {
            return (Ok(done), None);
        }
    }
}
