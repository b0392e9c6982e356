//! Signal calls.

use alloc::sync::Arc;

use isopod_fs::{Capabilities, Errno};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::SignalNumber;
use super::unfinished::reply;
use crate::fail::{Attempt, Fail, Rest, Restart, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::{self, Ctx, Process, Thread};
use crate::signal::{self, Action, ActionFlags, Disposition, SigInfo, SigSet, Signal, StackDescription};
use crate::time::Timespec;
use crate::wait::{Until, Waited};

/// Bytes of a signal set; every call that takes one checks it.
const SET_SIZE: usize = 8;

/// `struct kernel_sigaction`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl From<UserAction> for Action {
    fn from(user: UserAction) -> Self {
        Self {
            disposition: match user.handler {
                0 => Disposition::Default,
                1 => Disposition::Ignore,
                address => Disposition::Handler(address as usize),
            },
            flags: ActionFlags::from_bits_retain(user.flags),
            restorer: user.restorer as usize,
            mask: SigSet::from_bits(user.mask).difference(SigSet::UNSTOPPABLE),
        }
    }
}

impl From<Action> for UserAction {
    fn from(action: Action) -> Self {
        Self {
            handler: match action.disposition {
                Disposition::Default => 0,
                Disposition::Ignore => 1,
                Disposition::Handler(address) => address as u64,
            },
            flags: action.flags.bits(),
            restorer: action.restorer as u64,
            mask: action.mask.bits(),
        }
    }
}

pub(super) fn check_size(size: usize) -> Result<(), Errno> {
    if size == SET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `rt_sigaction(2)`
pub fn rt_sigaction(
    ctx: &mut Ctx,
    number: SignalNumber,
    new: UserPtr<UserAction>,
    old: UserPtr<UserAction>,
    size: usize,
) -> Attempt {
    check_size(size)?;
    let new = new.non_null().map(UserPtr::get).transpose()?.map(Action::from);
    let signal = signal(number)?;
    if new.is_some() && SigSet::UNSTOPPABLE.contains(signal) {
        return Err(Errno::EINVAL.into());
    }
    // It is told first: a call that is made again must not have changed it.
    if let Some(old) = old.non_null() {
        let before = ctx.thread.actions.lock().get(signal);
        old.put(&UserAction::from(before))?;
    }
    if let Some(new) = new {
        ctx.thread.actions.lock().set(signal, new);
        if new.ignores(signal) {
            // What waits and would now be ignored is thrown away (POSIX, "Signal Actions").
            signal::discard(ctx.thread.process(), signal);
        }
    }
    Ok(0)
}

/// The signal with this number, or `EINVAL`.
fn signal(number: SignalNumber) -> Result<Signal, Errno> {
    u32::try_from(number.0).ok().and_then(Signal::new).ok_or(Errno::EINVAL)
}

/// The signal with this number; 0 only checks whether one could be sent.
fn signal_or_probe(number: SignalNumber) -> Result<Option<Signal>, Errno> {
    if number.0 == 0 { Ok(None) } else { signal(number).map(Some) }
}

/// `rt_sigprocmask(2)`
pub fn rt_sigprocmask(ctx: &mut Ctx, how: i32, set: UserPtr<u64>, old: UserPtr<u64>, size: usize) -> Attempt {
    const BLOCK: i32 = 0;
    const UNBLOCK: i32 = 1;
    const SET: i32 = 2;
    check_size(size)?;
    let before = ctx.thread.mask();
    let mask = match set.non_null().map(UserPtr::get).transpose()?.map(SigSet::from_bits) {
        None => None,
        Some(set) => Some(match how {
            BLOCK => before.union(set),
            UNBLOCK => before.difference(set),
            SET => set,
            _ => return Err(Errno::EINVAL.into()),
        }),
    };
    // It is told first: a call that is made again must not have changed it.
    if let Some(old) = old.non_null() {
        old.put(&before.bits())?;
    }
    if let Some(mask) = mask {
        ctx.thread.set_mask(mask);
    }
    Ok(0)
}

/// `rt_sigpending(2)`
pub fn rt_sigpending(ctx: &mut Ctx, set: UserPtr<u64>, size: usize) -> Attempt {
    if size > SET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let pending = {
        let own = ctx.thread.signals.lock();
        own.pending.set().union(ctx.thread.process().pending.lock().set()).intersection(own.mask)
    };
    set.cast::<u8>().put_bytes(&pending.bits().to_le_bytes()[..size])?;
    Ok(0)
}

/// Waits until a signal arrives that is not blocked.
fn wait_for_signal(ctx: &Ctx) -> Stop {
    let thread = Arc::clone(&ctx.thread);
    Stop::Rest(Rest::new(async move {
        // Only a signal ends this wait.
        Until::new(&thread, u64::MAX, &mut |_| false).await;
        Err(Restart::WithoutHandler.into())
    }))
}

/// pause(2)
pub fn pause(ctx: &mut Ctx) -> Attempt {
    Err(wait_for_signal(ctx))
}

/// `rt_sigsuspend(2)`
pub fn rt_sigsuspend(ctx: &mut Ctx, mask: UserPtr<u64>, size: usize) -> Attempt {
    check_size(size)?;
    ctx.replace_mask(SigSet::from_bits(mask.get()?));
    Err(wait_for_signal(ctx))
}

/// `rt_sigtimedwait(2)`
pub fn rt_sigtimedwait(
    ctx: &mut Ctx,
    set: UserPtr<u64>,
    info: UserPtr<SigInfo>,
    timeout: UserPtr<Timespec>,
    size: usize,
) -> Attempt {
    check_size(size)?;
    let wanted = SigSet::from_bits(set.get()?).difference(SigSet::UNSTOPPABLE);
    let deadline = match timeout.get_optional()? {
        Some(timeout) => timeout.deadline_from_now()?,
        None => u64::MAX,
    };
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Err(Stop::Rest(Rest::new(async move {
        // The sender of a blocked signal wakes nobody unless the thread says that it waits for it.
        thread.signals.lock().awaited = wanted;
        let mut taken = None;
        let waited = Until::new(&thread, deadline, &mut |_| {
            taken = signal::take(&thread, wanted);
            taken.is_some()
        })
        .await;
        // What came for the whole process and was not taken is for others again.
        let awaited = core::mem::take(&mut thread.signals.lock().awaited);
        signal::retarget(&thread, awaited);
        match taken {
            Some((signal, found)) => {
                if let Some(info) = info.non_null() {
                    memory.write(info, &found.shown()).await?;
                }
                Ok(usize::from(signal.number()))
            }
            None if waited == Waited::TimedOut => Err(Errno::EAGAIN.into()),
            // Never made again (signal(7)).
            None => Err(Errno::EINTR.into()),
        }
    })))
}

/// sigaltstack(2)
pub fn sigaltstack(ctx: &mut Ctx, new: UserPtr<StackDescription>, old: UserPtr<StackDescription>) -> Attempt {
    let pointer = ctx.user.regs.rsp;
    let before = ctx.thread.signals.lock().stack;
    if let Some(wanted) = new.get_optional()? {
        if before.contains(pointer) {
            return Err(Errno::EPERM.into());
        }
        let stack = wanted.wanted()?;
        ctx.thread.signals.lock().stack = stack;
    }
    reply(ctx, Ok(0), &[(old.address(), StackDescription::of(before, pointer).as_bytes())])
}

/// kill(2)
pub fn kill(ctx: &mut Ctx, pid: i32, number: SignalNumber) -> SysResult {
    // Told only where there is somebody to send it to.
    let signal = signal_or_probe(number);
    let caller = ctx.thread.process();
    let group_of = |process: &Process| process.group.load(core::sync::atomic::Ordering::Relaxed);
    let group = match pid {
        1.. => {
            let target = process::find_process_of(pid as u32).ok_or(Errno::ESRCH)?;
            return send_by_kill(ctx, &target, signal?).map(|()| 0).map_err(Fail::Errno);
        }
        i32::MIN => return Err(Errno::ESRCH.into()),
        0 => group_of(caller),
        _ => pid.unsigned_abs(),
    };
    // -1 is everybody but the first process and the caller.
    let is_meant = |other: &Process| match pid {
        -1 => other.pid != 1 && other.pid != caller.pid,
        _ => group_of(other) == group,
    };
    let _groups = process::hold_groups();
    let mut outcome = Err(Errno::ESRCH);
    for target in process::processes().filter(|other| is_meant(other)) {
        // Whom the caller may not send to does not count among all processes (`kill_something_info`).
        if send_by_kill(ctx, &target, signal?).is_ok() || pid == -1 {
            outcome = Ok(());
        } else if outcome.is_err() {
            outcome = Err(Errno::EPERM);
        }
    }
    outcome?;
    Ok(0)
}

/// Sends a process a signal as kill(2) does.
fn send_by_kill(ctx: &Ctx, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    check_may_signal(ctx, target, signal)?;
    send(ctx, signal, signal::SI_USER, |signal, info| signal::send_to_process(target, signal, info))
}

/// kill(2): the sender's real or effective user must be the target's real or saved one, or it must be privileged.
fn check_may_signal(ctx: &Ctx, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    let own = ctx.thread.identity();
    let Some(other) = target.first_thread().map(|thread| thread.identity()) else { return Ok(()) };
    let related = [own.users.real, own.users.effective]
        .iter()
        .any(|&id| id == other.users.real || id == other.users.saved);
    let same_session = signal == Some(Signal::CONT)
        && target.session.load(core::sync::atomic::Ordering::Relaxed)
            == ctx.thread.process().session.load(core::sync::atomic::Ordering::Relaxed);
    if related || same_session || own.capable(Capabilities::KILL) { Ok(()) } else { Err(Errno::EPERM) }
}

fn send(
    ctx: &Ctx,
    signal: Option<Signal>,
    code: i32,
    send: impl FnOnce(Signal, SigInfo) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let Some(signal) = signal else { return Ok(()) };
    let info = SigInfo::user(signal, code, ctx.thread.process().pid, ctx.thread.identity().users.real);
    send(signal, info)
}

/// tkill(2)
pub fn tkill(ctx: &mut Ctx, tid: i32, number: SignalNumber) -> SysResult {
    if tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    signal_thread(ctx, None, tid as u32, number)
}

/// tgkill(2)
pub fn tgkill(ctx: &mut Ctx, tgid: i32, tid: i32, number: SignalNumber) -> SysResult {
    if tid <= 0 || tgid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    signal_thread(ctx, Some(tgid as u32), tid as u32, number)
}

/// The thread `tid`, which must belong to process `tgid` if that is given.
fn target_thread(tgid: Option<u32>, tid: u32) -> Result<Arc<Thread>, Errno> {
    let thread = process::find_thread(tid).ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| thread.process().pid != tgid) {
        return Err(Errno::ESRCH);
    }
    Ok(thread)
}

fn signal_thread(ctx: &Ctx, tgid: Option<u32>, tid: u32, number: SignalNumber) -> SysResult {
    let target = target_thread(tgid, tid)?;
    let signal = checked(ctx, target.process(), number)?;
    send(ctx, signal, signal::SI_TKILL, |signal, info| signal::send_to_thread(&target, signal, info))?;
    Ok(0)
}

/// The information that a program makes up itself. Pretending to be the kernel or `kill` is refused, but to the thread whose number the caller
/// has itself (`do_rt_sigqueueinfo`).
fn own_info(ctx: &Ctx, number: SignalNumber, info: UserPtr<SigInfo>, target: u32) -> Attempt<SigInfo> {
    let found = info.get()?.made_up(number.0);
    if (found.code >= 0 || found.code == signal::SI_TKILL) && target != ctx.thread.tid() {
        return Err(Errno::EPERM.into());
    }
    Ok(found)
}

/// Checks a signal for `target`, as `check_kill_permission` does; `None` is 0, which is never sent.
fn checked(ctx: &Ctx, target: &Process, number: SignalNumber) -> Result<Option<Signal>, Errno> {
    let signal = signal_or_probe(number)?;
    check_may_signal(ctx, target, signal)?;
    Ok(signal)
}

/// Sends a signal to a process known by a descriptor, with an information of the caller's own if there is one.
pub(super) fn send_through_descriptor(
    ctx: &Ctx,
    target: &Process,
    number: SignalNumber,
    info: UserPtr<SigInfo>,
) -> Attempt {
    if let Some(place) = info.non_null() {
        if place.get()?.signal != number.0 {
            return Err(Errno::EINVAL.into());
        }
        let info = own_info(ctx, number, place, target.pid)?;
        if let Some(signal) = checked(ctx, target, number)? {
            signal::send_to_process(target, signal, info)?;
        }
        return Ok(0);
    }
    let signal = checked(ctx, target, number)?;
    send(ctx, signal, signal::SI_USER, |signal, info| signal::send_to_process(target, signal, info))?;
    Ok(0)
}

/// `rt_sigqueueinfo(2)`
pub fn rt_sigqueueinfo(ctx: &mut Ctx, tgid: u32, number: SignalNumber, info: UserPtr<SigInfo>) -> Attempt {
    let info = own_info(ctx, number, info, tgid)?;
    let target = process::find_process_of(tgid).ok_or(Errno::ESRCH)?;
    if let Some(signal) = checked(ctx, &target, number)? {
        signal::send_to_process(&target, signal, info)?;
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`
pub fn rt_tgsigqueueinfo(
    ctx: &mut Ctx,
    tgid: u32,
    tid: u32,
    number: SignalNumber,
    info: UserPtr<SigInfo>,
) -> Attempt {
    // A bad pointer is told first.
    info.get()?;
    if tgid.cast_signed() <= 0 || tid.cast_signed() <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = own_info(ctx, number, info, tid)?;
    let target = target_thread(Some(tgid), tid)?;
    if let Some(signal) = checked(ctx, target.process(), number)? {
        signal::send_to_thread(&target, signal, info)?;
    }
    Ok(0)
}
