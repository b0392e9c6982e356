//! Timers: setitimer(2), alarm(2), `timer_create(2)`, `timerfd_create(2)` and their kin.

use alloc::sync::Arc;

use isopod_fs::file::OpenFlags;
use isopod_fs::{Capabilities, Errno};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::{Fd, Flags};
use super::file::open::install;
use super::unfinished::reply;
use crate::fail::{Attempt, SysResult};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::signal::{self, Signal};
use crate::time::{Clock, Interval, Notice, Schedule, Target, TimerFile, Timespec, Timeval, new_timerfd};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// `struct itimerval`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IntervalValue {
    interval: Timeval,
    value: Timeval,
}

/// `struct itimerspec`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IntervalSpec {
    interval: Timespec,
    value: Timespec,
}

impl IntervalValue {
    /// A timer that runs is never told to have nothing left.
    fn new((left, interval): (u64, u64)) -> Self {
        let left = if left == 0 { 0 } else { left.max(1000) };
        Self { interval: Timeval::from_ns(interval), value: Timeval::from_ns(left) }
    }
}

impl IntervalSpec {
    fn new((left, interval): (u64, u64)) -> Self {
        Self { interval: Timespec::from_ns(interval), value: Timespec::from_ns(left) }
    }

    /// First expiry and interval in nanoseconds, or `EINVAL`.
    fn to_ns(self) -> Result<(u64, u64), Errno> {
        Ok((self.value.to_ns()?, self.interval.to_ns()?))
    }
}

/// getitimer(2)
pub fn getitimer(ctx: &mut Ctx, which: i32, to: UserPtr<IntervalValue>) -> Attempt {
    let which = Interval::from_raw(which).ok_or(Errno::EINVAL)?;
    let process = ctx.thread.process();
    let (_, timer) = process.timers.interval(process, which);
    to.put(&IntervalValue::new(timer.left()))?;
    Ok(0)
}

/// setitimer(2). Without new settings the timer is disarmed, as on Linux.
pub fn setitimer(
    ctx: &mut Ctx,
    which: i32,
    new: UserPtr<IntervalValue>,
    old: UserPtr<IntervalValue>,
) -> Attempt {
    let (value, interval) = match new.get_optional()? {
        Some(IntervalValue { interval, value }) => (value.to_ns()?, interval.to_ns()?),
        None => (0, 0),
    };
    let which = Interval::from_raw(which).ok_or(Errno::EINVAL)?;
    let before = set_interval(ctx, which, value, interval);
    reply(ctx, Ok(0), &[(old.address(), IntervalValue::new(before).as_bytes())])
}

fn set_interval(ctx: &Ctx, which: Interval, value: u64, interval: u64) -> (u64, u64) {
    let process = ctx.thread.process();
    let (clock, timer) = process.timers.interval(process, which);
    // A timer that is off has no interval either.
    let interval = if value == 0 { 0 } else { interval };
    timer.set(Schedule::new(clock, value, interval, false))
}

/// alarm(2). What was left is rounded, but never to nothing.
#[expect(clippy::unnecessary_wraps, reason = "every handler has this type")]
pub fn alarm(ctx: &mut Ctx, seconds: u32) -> SysResult {
    let (left, _) = set_interval(ctx, Interval::Real, u64::from(seconds) * NS_PER_SECOND, 0);
    Ok(rounded_seconds(left) as usize)
}

fn rounded_seconds(left: u64) -> u64 {
    let (seconds, rest) = (left / NS_PER_SECOND, left % NS_PER_SECOND);
    seconds + u64::from(rest >= NS_PER_SECOND / 2 || seconds == 0 && rest > 0)
}

/// `struct sigevent`, the part that the kernel reads.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigEvent {
    pub(super) value: u64,
    pub(super) signal: i32,
    pub(super) notify: i32,
    thread: i32,
    padding: [i32; 11],
}

impl SigEvent {
    /// Whom to tell, by which signal; `EINVAL` for what makes no sense.
    fn target(&self, ctx: &Ctx) -> Result<(Target, Signal), Errno> {
        const SIGNAL: i32 = 0;
        const NONE: i32 = 1;
        const THREAD: i32 = 2;
        const THREAD_ID: i32 = 4;
        let process = ctx.thread.process();
        let target = match self.notify {
            NONE => return Ok((Target::Nobody, Signal::ALRM)),
            SIGNAL | THREAD => Target::Process(Arc::downgrade(process)),
            THREAD_ID => {
                let thread = u32::try_from(self.thread).ok().and_then(|tid| process.thread(tid));
                Target::Thread(Arc::downgrade(&thread.ok_or(Errno::EINVAL)?))
            }
            _ => return Err(Errno::EINVAL),
        };
        let signal = u32::try_from(self.signal).ok().and_then(Signal::new).ok_or(Errno::EINVAL)?;
        Ok((target, signal))
    }
}

/// `timer_create(2)`
pub fn timer_create(ctx: &mut Ctx, clock: i32, event: UserPtr<SigEvent>, id: UserPtr<i32>) -> Attempt {
    let event = event.get_optional()?;
    let clock = Clock::from_id(clock, &ctx.thread)?;
    if !clock.has_timers() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let process = ctx.thread.process();
    let user = ctx.thread.identity().users.real;
    let charge = signal::QUEUED.charge(user, 1, signal::limit(&ctx.thread)).ok_or(Errno::EAGAIN)?;
    let (target, signal) = match &event {
        Some(event) => event.target(ctx)?,
        None => (Target::Process(Arc::downgrade(process)), Signal::ALRM),
    };
    // The place is made sure of first: a call that is made again must not have made a timer.
    id.put(&0)?;
    let new = process.timers.create(clock, charge, |id| {
        let value = event.map_or(id as u64, |event| event.value);
        Notice { target, signal, posix: Some((id, value)) }
    })?;
    if let Err(fault) = id.put(&new) {
        process.timers.delete(new)?;
        return Err(fault.into());
    }
    Ok(0)
}

/// `timer_settime(2)`
pub fn timer_settime(
    ctx: &mut Ctx,
    id: i32,
    flags: Flags,
    new: UserPtr<IntervalSpec>,
    old: UserPtr<IntervalSpec>,
) -> Attempt {
    const ABSOLUTE: u32 = 1;
    let new = new.non_null().ok_or(Errno::EINVAL)?;
    let (value, interval) = new.get()?.to_ns()?;
    let (clock, timer) = ctx.thread.process().timers.posix(id)?;
    let before = timer.set(Schedule::new(clock, value, interval, flags.0 & ABSOLUTE != 0));
    reply(ctx, Ok(0), &[(old.address(), IntervalSpec::new(before).as_bytes())])
}

/// `timer_gettime(2)`
pub fn timer_gettime(ctx: &mut Ctx, id: i32, to: UserPtr<IntervalSpec>) -> Attempt {
    let (_, timer) = ctx.thread.process().timers.posix(id)?;
    to.put(&IntervalSpec::new(timer.left()))?;
    Ok(0)
}

/// `timer_getoverrun(2)`
pub fn timer_getoverrun(ctx: &mut Ctx, id: i32) -> SysResult {
    let (_, timer) = ctx.thread.process().timers.posix(id)?;
    Ok(timer.overrun() as usize)
}

/// `timer_delete(2)`
pub fn timer_delete(ctx: &mut Ctx, id: i32) -> SysResult {
    ctx.thread.process().timers.delete(id)?;
    Ok(0)
}

/// `timerfd_create(2)`
pub fn timerfd_create(ctx: &mut Ctx, clock: i32, flags: Flags) -> SysResult {
    const REALTIME: i32 = 0;
    const MONOTONIC: i32 = 1;
    const BOOTTIME: i32 = 7;
    const REALTIME_ALARM: i32 = 8;
    const BOOTTIME_ALARM: i32 = 9;
    let flags = OpenFlags::from_bits_retain(flags.0);
    let alarm = matches!(clock, REALTIME_ALARM | BOOTTIME_ALARM);
    let clock = match clock {
        REALTIME | REALTIME_ALARM => Clock::Realtime,
        MONOTONIC | BOOTTIME | BOOTTIME_ALARM => Clock::Monotonic,
        _ => return Err(Errno::EINVAL.into()),
    };
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if alarm && !ctx.thread.identity().capable(Capabilities::WAKE_ALARM) {
        return Err(Errno::EPERM.into());
    }
    let file = new_timerfd(clock, flags & OpenFlags::NONBLOCK)?;
    install(ctx, file, flags.contains(OpenFlags::CLOEXEC))
}

/// `timerfd_settime(2)`
pub fn timerfd_settime(
    ctx: &mut Ctx,
    fd: Fd,
    flags: Flags,
    new: UserPtr<IntervalSpec>,
    old: UserPtr<IntervalSpec>,
) -> Attempt {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let new = new.get()?;
    if flags.0 & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (value, interval) = new.to_ns()?;
    let file = ctx.thread.files().get(fd.0)?;
    let timer = TimerFile::of(&file).ok_or(Errno::EINVAL)?;
    let before = timer.set(value, interval, flags.0 & ABSOLUTE != 0, flags.0 & CANCEL_ON_SET != 0);
    reply(ctx, Ok(0), &[(old.address(), IntervalSpec::new(before).as_bytes())])
}

/// `timerfd_gettime(2)`
pub fn timerfd_gettime(ctx: &mut Ctx, fd: Fd, to: UserPtr<IntervalSpec>) -> Attempt {
    let file = ctx.thread.files().get(fd.0)?;
    let timer = TimerFile::of(&file).ok_or(Errno::EINVAL)?;
    to.put(&IntervalSpec::new(timer.left()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_runs_never_has_nothing_left() {
        let rounded = [0, 1, 499_999_999, 1_499_999_999, 1_500_000_000].map(rounded_seconds);
        assert_eq!(rounded, [0, 1, 1, 1, 2]);
        assert_eq!(IntervalValue::new((1, 0)).value, Timeval { seconds: 0, microseconds: 1 });
        assert_eq!(IntervalValue::new((0, 0)).value, Timeval::default());
    }
}
