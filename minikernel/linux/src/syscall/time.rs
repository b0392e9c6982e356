//! Clocks and sleeping.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_fs::{Capabilities, Errno};
use isopod_hal::clock;

use super::argument::Flags;
use crate::fail::{Attempt, Rest, Restart, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::time::{self, Clock, Timespec, Timeval};
use crate::wait::{Until, Waited};

/// The program's time zone, which the kernel only keeps: minutes west of Greenwich, then the kind of daylight saving time.
static TIME_ZONE: AtomicU64 = AtomicU64::new(0);

/// `struct timezone`
pub type TimeZone = [i32; 2];

/// `clock_gettime(2)`
pub fn clock_gettime(ctx: &mut Ctx, id: i32, to: UserPtr<Timespec>) -> Attempt {
    let clock = Clock::from_id(id, &ctx.thread)?;
    to.put(&Timespec::from_ns(clock.now()))?;
    Ok(0)
}

/// `clock_getres(2)`
pub fn clock_getres(ctx: &mut Ctx, id: i32, to: UserPtr<Timespec>) -> Attempt {
    let resolution = Clock::from_id(id, &ctx.thread)?.resolution();
    if let Some(to) = to.non_null() {
        to.put(&Timespec::from_ns(resolution))?;
    }
    Ok(0)
}

/// `clock_settime(2)`. Only the wall clock can be set.
pub fn clock_settime(ctx: &mut Ctx, id: i32, from: UserPtr<Timespec>) -> Attempt {
    const REALTIME: i32 = 0;
    let clock = Clock::from_id(id, &ctx.thread)?;
    if id != REALTIME && !clock.is_cpu() {
        return Err(Errno::EINVAL.into());
    }
    let time = from.get()?.to_ns();
    if clock.is_cpu() {
        return Err(Errno::EPERM.into());
    }
    Ok(set(ctx, time?)?)
}

fn set(ctx: &Ctx, ns: u64) -> SysResult {
    if !ctx.thread.identity().capable(Capabilities::SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    time::set_wall_clock(ns)?;
    Ok(0)
}

/// gettimeofday(2)
pub fn gettimeofday(_: &mut Ctx, to: UserPtr<Timeval>, zone: UserPtr<TimeZone>) -> Attempt {
    if let Some(to) = to.non_null() {
        to.put(&Timeval::from_ns(clock::realtime_ns()))?;
    }
    if let Some(zone) = zone.non_null() {
        let kept = TIME_ZONE.load(Ordering::Relaxed);
        zone.put(&[kept as i32, (kept >> 32) as i32])?;
    }
    Ok(0)
}

/// settimeofday(2)
pub fn settimeofday(ctx: &mut Ctx, from: UserPtr<Timeval>, zone: UserPtr<TimeZone>) -> Attempt {
    const WEST_MAX: i32 = 15 * 60;
    let time = from.get_optional()?.map(Timeval::to_ns).transpose()?;
    let zone = zone.get_optional()?;
    if !ctx.thread.identity().capable(Capabilities::SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    if let Some([west, daylight]) = zone {
        if !(-WEST_MAX..=WEST_MAX).contains(&west) {
            return Err(Errno::EINVAL.into());
        }
        let kept = u64::from(west as u32) | u64::from(daylight as u32) << 32;
        TIME_ZONE.store(kept, Ordering::Relaxed);
    }
    Ok(time.map_or(Ok(0), |ns| set(ctx, ns))?)
}

/// time(2)
pub fn time(_: &mut Ctx, to: UserPtr<i64>) -> Attempt {
    let seconds = clock::realtime_ns() / 1_000_000_000;
    if let Some(to) = to.non_null() {
        to.put(&(seconds as i64))?;
    }
    Ok(seconds as usize)
}

/// nanosleep(2)
pub fn nanosleep(ctx: &mut Ctx, request: UserPtr<Timespec>, rest: UserPtr<Timespec>) -> Attempt {
    sleep_for(ctx, Clock::Monotonic, request, rest)
}

/// `clock_nanosleep(2)`
pub fn clock_nanosleep(
    ctx: &mut Ctx,
    id: i32,
    flags: Flags,
    request: UserPtr<Timespec>,
    rest: UserPtr<Timespec>,
) -> Attempt {
    const ABSOLUTE: u32 = 1;
    const OWN_THREAD: i32 = 3;
    let clock = Clock::from_id(id, &ctx.thread)?;
    if !clock.has_timers() || id == OWN_THREAD {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if matches!(&clock, Clock::Thread(thread, _) if thread.tid() == ctx.thread.tid()) {
        // It would stand still for ever.
        return Err(Errno::EINVAL.into());
    }
    if flags.0 & ABSOLUTE == 0 {
        // A duration does not change when the wall clock is set.
        let clock = if clock.is_wall() { Clock::Monotonic } else { clock };
        return sleep_for(ctx, clock, request, rest);
    }
    let until = request.get()?.to_ns()?;
    Err(sleep(ctx, clock, until, None))
}

/// Sleeps for a duration. What is left when a signal comes is told; a call made again sleeps only until then.
fn sleep_for(ctx: &mut Ctx, clock: Clock, request: UserPtr<Timespec>, rest: UserPtr<Timespec>) -> Attempt {
    let duration = request.get()?.to_ns()?;
    let until = ctx.resume_until.take().unwrap_or_else(|| clock.now().saturating_add(duration));
    Err(sleep(ctx, clock, until, Some(rest)))
}

/// Sleeps until `clock` shows `until`, even if it is set meanwhile. `rest` is where the program is told what is left, if it sleeps for a duration.
fn sleep(ctx: &Ctx, clock: Clock, until: u64, rest: Option<UserPtr<Timespec>>) -> Stop {
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Stop::Rest(Rest::new(async move {
        while clock.now() < until {
            let (seen, mut listener) = (time::steps(), None);
            let waited = Until::new(&thread, clock.earliest(until), &mut |context| {
                listener = clock.is_wall().then(|| time::stepped().listen(context.waker()));
                listener.is_some() && time::steps() != seen
            })
            .await;
            if waited != Waited::Interrupted {
                continue;
            }
            let Some(rest) = rest else { return Err(Restart::WithoutHandler.into()) };
            if let Some(rest) = rest.non_null() {
                let left = until.saturating_sub(clock.now());
                memory.write(rest, &Timespec::from_ns(left)).await?;
            }
            return Err(thread.resume_at(until));
        }
        Ok(0)
    }))
}
