//! Waiting for children: wait4(2), waitid(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use zerocopy::IntoBytes;

use super::argument::{Fd, Flags};
use super::system::Usage;
use super::unfinished::reply;
use crate::fail::{Attempt, Later};
use crate::ipc::pidfd;
use crate::mm::UserPtr;
use crate::poll::FOREVER;
use crate::process::{Change, Ctx, Found, WaitFor, Whom};
use crate::signal::{SigInfo, Signal};

const NO_HANG: u32 = 1;
/// `WUNTRACED` of wait4 and `WSTOPPED` of waitid.
const STOPPED: u32 = 2;
const EXITED: u32 = 4;
const CONTINUED: u32 = 8;
const NO_WAIT: u32 = 0x0100_0000;
const NO_THREAD: u32 = 0x2000_0000;
const ALL: u32 = 0x4000_0000;
const CLONE: u32 = 0x8000_0000;

impl WaitFor {
    fn from_options(whom: Whom, options: u32) -> Self {
        let has = |option| options & option != 0;
        Self {
            whom,
            clones: has(CLONE),
            all: has(ALL),
            exited: has(EXITED),
            stopped: has(STOPPED),
            continued: has(CONTINUED),
            keep: has(NO_WAIT),
        }
    }
}

/// A child that has something to tell; `None` when none has and the caller does not want to wait.
fn look(ctx: &Ctx, wanted: WaitFor, no_hang: bool) -> Attempt<Option<Found>> {
    let process = ctx.thread.process();
    match wanted.look(process)? {
        None if !no_hang => Err(Later::new(Arc::clone(process) as _, FOREVER).into()),
        found => Ok(found),
    }
}

/// What the child used, and what its own children used for which it waited.
fn usage(child: &Found) -> Usage {
    let process = &child.child;
    let resident = match process.resident_peak.load(Relaxed) {
        0 => process.memory().report().resident_peak,
        peak => peak,
    };
    let mut used = process.used();
    used.add(&process.children_used.lock());
    Usage::new(used, resident.max(process.children_resident_peak.load(Relaxed)))
}

/// The status as `wait4` gives it.
fn status_word(change: Change) -> u32 {
    match change {
        Change::Ended(status) => status.word(),
        Change::Stopped(signal) => 0x7f | u32::from(signal.number()) << 8,
        Change::Continued => 0xffff,
        Change::Trapped(code) => 0x7f | code << 8,
    }
}

/// wait4(2)
pub fn wait4(
    ctx: &mut Ctx,
    pid: i32,
    status: UserPtr<u32>,
    options: Flags,
    rusage: UserPtr<Usage>,
) -> Attempt {
    if options.0 & !(NO_HANG | STOPPED | CONTINUED | NO_THREAD | ALL | CLONE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let whom = match pid {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => Whom::Any,
        0 => Whom::Group(ctx.thread.process().group.load(Relaxed)),
        1.. => Whom::Process(pid as u32),
        group => Whom::Group(group.unsigned_abs()),
    };
    let wanted = WaitFor::from_options(whom, options.0 | EXITED);
    let Some(found) = look(ctx, wanted, options.0 & NO_HANG != 0)? else { return Ok(0) };
    let used = if rusage.is_null() { Usage::default() } else { usage(&found) };
    let word = status_word(found.change);
    let parts = [(status.address(), word.as_bytes()), (rusage.address(), used.as_bytes())];
    reply(ctx, Ok(found.id as usize), &parts)
}

/// The `siginfo_t` of a change, as SIGCHLD would bring it.
fn info(found: &Found) -> SigInfo {
    let child = &found.child;
    SigInfo::child(Signal::CHLD, found.id, child.real_uid(), found.change)
}

/// waitid(2)
pub fn waitid(
    ctx: &mut Ctx,
    kind: i32,
    id: i32,
    infop: UserPtr<SigInfo>,
    options: Flags,
    rusage: UserPtr<Usage>,
) -> Attempt {
    let wants = EXITED | STOPPED | CONTINUED;
    if options.0 & !(NO_HANG | NO_WAIT | wants | NO_THREAD | ALL | CLONE) != 0 || options.0 & wants == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut no_hang = options.0 & NO_HANG != 0;
    let mut would_block = false;
    let whom = match (kind, id) {
        (0, _) => Whom::Any,
        (1, 1..) => Whom::Process(id as u32),
        (2, 0) => Whom::Group(ctx.thread.process().group.load(Relaxed)),
        (2, 1..) => Whom::Group(id as u32),
        (3, 0..) => {
            let file = ctx.thread.files().get(Fd(id).0)?;
            // A descriptor that does not block fails where it would have to wait (pidfd_open(2), PIDFD_NONBLOCK).
            would_block = !no_hang && file.flags().contains(OpenFlags::NONBLOCK);
            no_hang |= would_block;
            Whom::Process(pidfd::process_of(&file)?.pid)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    let wanted = WaitFor::from_options(whom, options.0);
    let found = look(ctx, wanted, no_hang)?;
    if found.is_none() && would_block {
        return Err(Errno::EAGAIN.into());
    }
    // Without a child nobody used anything, and none of it is told.
    let (usage_at, used) = match &found {
        Some(found) if !rusage.is_null() => (rusage.address(), usage(found)),
        _ => (0, Usage::default()),
    };
    let info = found.as_ref().map(info);
    let bytes = info.as_ref().map_or(&[0; size_of::<SigInfo>()][..], |info| info.as_bytes());
    // Signal, error and code; then, behind the padding, pid, uid and status. Nothing else of the structure is written.
    let second = if infop.is_null() { 0 } else { infop.address().saturating_add(16) };
    let parts = [(usage_at, used.as_bytes()), (infop.address(), &bytes[..12]), (second, &bytes[16..28])];
    reply(ctx, Ok(0), &parts)
}
