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
//! One loop serves `read`, `preadv` and their kin: [`Transfer::make`] does at once what can be, and the rest as a future.

use alloc::sync::Arc;

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_fs::file::{FileOps, OpenFile};
use isopod_hal::clock;

use super::blocking::{NEVER, ready};
use crate::fail::{Attempt, Fail, Rest, Stop, SysResult};
use crate::mm::{AddressSpace, UserBuffers};
use crate::process::{Ctx, Thread};
use crate::sched;
use crate::signal::{self, SigInfo, Signal};

/// How many bytes one step moves at the most.
const STEP: usize = 1 << 20;

/// What fills or drains a program's buffers; it returns how many bytes.
pub type Operation<'a> = &'a mut (dyn FnMut(&mut UserBuffers) -> fs::Result<usize> + Send);

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// Reading, at the file's position, which moves.
    Read,
    /// Reading from this offset on.
    ReadAt(u64),
    /// Writing, at the file's position, which moves.
    Write,
    /// Writing from this offset on.
    WriteAt(u64),
    /// Writing to the end (`RWF_APPEND`); the position follows if it is said.
    Append {
        /// Whether it does.
        moving: bool,
    },
}

impl Deed {
    /// Whether it writes.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteAt(_) | Self::Append { .. })
    }
}

/// A transfer between a file and a program's buffers.
///
/// A regular file is read until the buffers are full or it ends, everything else until it has given something. To a stream or a regular file
/// everything is written, however often that has to wait. `EPIPE` comes with SIGPIPE.
#[derive(Debug)]
pub struct Transfer {
    /// The file.
    pub file: Arc<OpenFile>,
    /// The buffers.
    pub buffers: UserBuffers,
    /// What is done.
    pub deed: Deed,
    /// Until when it waits, to read for the first bytes, to write for room.
    pub deadline: u64,
}

impl Transfer {
    /// Makes the call; what cannot be done at once is the [rest](Self::rest) of it.
    pub fn make(mut self, ctx: &mut Ctx) -> Attempt {
        let (step, whole) = (step_of(&self.file), self.is_whole());
        let (file, deed) = (&self.file, self.deed);
        let act = &mut |buffers: &mut UserBuffers| act(&ctx.thread, file, deed, buffers);
        match at_once(&mut ctx.moved, step, whole, &mut self.buffers, act) {
            Some(done) => Ok(done?),
            None => Err(self.rest(ctx)),
        }
    }

    /// The rest of the call, behind what [has been moved](Ctx::moved).
    pub fn rest(mut self, ctx: &Ctx) -> Stop {
        self.buffers.rewind(ctx.moved);
        Stop::Rest(Rest::new(self.finish(Arc::clone(&ctx.thread), Arc::clone(&ctx.memory))))
    }

    /// True if it is not over before all is moved.
    fn is_whole(&self) -> bool {
        match self.file.ops() {
            Some(ops) => self.deed.writes() && ops.writes_stream(),
            None => true,
        }
    }

    /// Goes on until no more is to be had. A signal ends it.
    pub async fn finish(mut self, thread: Arc<Thread>, memory: Arc<AddressSpace>) -> SysResult {
        let (file, deed, whole) = (&*self.file, self.deed, self.is_whole());
        let (deadline, timed) =
            if deed.writes() { (self.deadline, false) } else { end_of_read(file, self.deadline) };
        let buffers = &mut self.buffers;
        let mut done = buffers.position();
        let most = step_of(file);
        let fail = loop {
            let start = buffers.position();
            let step = buffers.allow(most);
            // One who reads waits only for the first bytes, one who writes to the end.
            let deadline = if whole || done == 0 { deadline } else { NEVER };
            let mut count = 0;
            let outcome = ready(&thread, file, deadline, &mut || {
                buffers.rewind(start);
                count = act(&thread, file, deed, buffers)?;
                Ok(())
            })
            .await;
            if let Err(fail) = outcome {
                break fail;
            }
            done += count;
            if let Some(fault) = buffers.take_fault() {
                buffers.rewind(start + count);
                if let Err(errno) = memory.resolve(fault).await {
                    break errno.into();
                }
            } else if count == 0 || buffers.is_used_up() || !whole && count < step {
                return Ok(done);
            }
            sched::give_way().await;
            // A file is moved as far as it is asked for unless the caller dies; what a device has made so far is enough for a signal.
            let enough = if file.ops().is_none() { thread.must_end() } else { thread.is_interrupted() };
            if enough && done > 0 {
                return Ok(done);
            }
        };
        if deed.writes() {
            told(&thread, file, done, fail)?;
        }
        if done > 0 || timed && fail == Fail::Errno(Errno::EAGAIN) { Ok(done) } else { Err(fail) }
    }
}

/// Does it once.
fn act(thread: &Thread, file: &OpenFile, deed: Deed, buffers: &mut UserBuffers) -> fs::Result<usize> {
    match deed {
        Deed::Read => file.read(buffers),
        Deed::ReadAt(start) => file.read_at(start + buffers.position() as u64, buffers),
        Deed::Write => file.write(thread, buffers),
        Deed::WriteAt(start) => file.write_at(start + buffers.position() as u64, thread, buffers),
        Deed::Append { moving } => file.append(moving, thread, buffers),
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

/// Does `operation` on `file` once: how many bytes it moved, if that is all that there is to do, or why it cannot be done. If not, the call goes
/// on as a [`Transfer`], which begins behind what has been moved ([`Ctx::moved`]) and meets again what kept the rest from it. It need not move all that
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
