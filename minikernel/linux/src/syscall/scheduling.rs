//! `sched_setscheduler(2)`, `sched_setattr(2)` and their kin.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::PAGE_SIZE;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::argument::Flags;
use super::process::named_thread;
use crate::fail::{Attempt, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::scheduling::{BATCH, DEADLINE, FIFO, IDLE, OTHER, ROUND_ROBIN, Scheduling};
use crate::process::{Ctx, Resource, Thread};
use crate::time::Timespec;

/// The highest priority of real time.
const PRIORITY_MAX: u32 = 99;
/// May be added to a policy.
const RESET_ON_FORK: u32 = 0x4000_0000;

/// What a thread is to become.
#[derive(Debug, Clone, Copy)]
struct Wish {
    /// `None` keeps it.
    policy: Option<u32>,
    reset_on_fork: bool,
    priority: u32,
    /// For the policies without priorities; `None` keeps it.
    nice: Option<i8>,
    /// Runtime, deadline and period of `SCHED_DEADLINE`.
    times: [u64; 3],
}

fn valid_pid(pid: u32) -> Result<(), Errno> {
    if (pid as i32) < 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// `sched_setscheduler(2)`
pub fn sched_setscheduler(ctx: &mut Ctx, pid: u32, policy: i32, param: UserPtr<i32>) -> Attempt {
    let policy = u32::try_from(policy).map_err(|_| Errno::EINVAL)?;
    set_with_param(ctx, pid, Some(policy), param)
}

/// `sched_setparam(2)`
pub fn sched_setparam(ctx: &mut Ctx, pid: u32, param: UserPtr<i32>) -> Attempt {
    set_with_param(ctx, pid, None, param)
}

fn set_with_param(ctx: &Ctx, pid: u32, policy: Option<u32>, param: UserPtr<i32>) -> Attempt {
    valid_pid(pid)?;
    let param = param.non_null().ok_or(Errno::EINVAL)?;
    let priority = param.get()?.cast_unsigned();
    let target = named_thread(ctx, pid)?;
    let reset_on_fork = match policy {
        Some(policy) => policy & RESET_ON_FORK != 0,
        None => target.scheduling().reset_on_fork,
    };
    let policy = policy.map(|policy| policy & !RESET_ON_FORK);
    change(ctx, &target, Wish { policy, reset_on_fork, priority, nice: None, times: [0; 3] })?;
    Ok(0)
}

/// `struct sched_attr`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
    utilization: [u32; 2],
}

/// Bytes of its first version.
const FIRST_SIZE: u32 = 48;
const ATTR_RESET_ON_FORK: u64 = 1;
const ATTR_KEEP_POLICY: u64 = 8;
const ATTR_KEEP_PARAMS: u64 = 0x10;
const ATTR_UTILIZATION: u64 = 0x60;
const ATTR_ALL: u64 = 0x7f;

/// `sched_setattr(2)`
pub fn sched_setattr(ctx: &mut Ctx, pid: u32, attributes: UserPtr<Attributes>, flags: Flags) -> Attempt {
    valid_pid(pid)?;
    if attributes.is_null() || flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let wanted = read_attributes(attributes)?;
    if (wanted.policy as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = named_thread(ctx, pid)?;
    let now = target.scheduling();
    let keep = wanted.flags & ATTR_KEEP_PARAMS != 0;
    let nice = wanted.nice.clamp(-20, 19) as i8;
    let keep_policy = wanted.flags & ATTR_KEEP_POLICY != 0;
    let resets = wanted.flags & ATTR_RESET_ON_FORK != 0;
    let wish = Wish {
        policy: (!keep_policy).then_some(wanted.policy),
        reset_on_fork: if keep_policy { now.reset_on_fork } else { resets },
        priority: if keep { now.priority } else { wanted.priority },
        nice: (!keep).then_some(nice),
        times: wanted.times,
    };
    if wanted.flags & !ATTR_ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    if wanted.flags & ATTR_UTILIZATION != 0 {
        // There is no frequency to choose.
        return Err(Errno::EOPNOTSUPP.into());
    }
    change(ctx, &target, wish)?;
    Ok(0)
}

/// The attributes in any version's size. `E2BIG`, and the size that is known, for one that says more.
fn read_attributes(from: UserPtr<Attributes>) -> Attempt<Attributes> {
    let known = size_of::<Attributes>() as u32;
    let size = match from.cast::<u32>().get()? {
        0 => FIRST_SIZE,
        size => size,
    };
    let bytes = from.cast::<u8>();
    let outcome = if (FIRST_SIZE..=PAGE_SIZE as u32).contains(&size) {
        bytes.has_zero_tail(known.min(size) as usize, size as usize)
    } else {
        Err(Errno::E2BIG.into())
    };
    if matches!(outcome, Err(Stop::Fail(_))) {
        from.cast::<u32>().put(&known)?;
    }
    outcome?;
    let mut attributes = Attributes::new_zeroed();
    bytes.get_bytes(&mut attributes.as_mut_bytes()[..size.min(known) as usize])?;
    Ok(attributes)
}

/// Does what is wished, if it makes sense and the caller may (`__sched_setscheduler`).
fn change(ctx: &Ctx, target: &Arc<Thread>, wish: Wish) -> Result<(), Errno> {
    let now = target.scheduling();
    let policy = wish.policy.unwrap_or(now.policy);
    if !matches!(policy, OTHER | FIFO | ROUND_ROBIN | BATCH | IDLE | DEADLINE) || wish.priority > PRIORITY_MAX
    {
        return Err(Errno::EINVAL);
    }
    if policy == DEADLINE && !makes_sense(wish.times) {
        return Err(Errno::EINVAL);
    }
    let next = Scheduling { policy, priority: wish.priority, reset_on_fork: wish.reset_on_fork, ..now };
    if next.is_real_time() != (wish.priority != 0) {
        return Err(Errno::EINVAL);
    }
    let nice = wish.nice.unwrap_or_else(|| target.nice.load(Ordering::Relaxed));
    let privileged = ctx.thread.identity().capable(Capabilities::SYS_NICE);
    if !privileged && !may_change(ctx, target, next, nice) {
        return Err(Errno::EPERM);
    }
    if policy == DEADLINE {
        // The admission test: no share of a CPU can be promised.
        return Err(Errno::EBUSY);
    }
    target.set_scheduling(next);
    if matches!(policy, OTHER | BATCH) {
        target.set_nice(nice);
    }
    Ok(())
}

/// Whether times of `SCHED_DEADLINE` fit each other (`__checkparam_dl`).
fn makes_sense([runtime, deadline, period]: [u64; 3]) -> bool {
    const SHORTEST: u64 = 1 << 10;
    const PERIODS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1000;
    let period = if period == 0 { deadline } else { period };
    runtime >= SHORTEST && runtime <= deadline && deadline <= period && PERIODS.contains(&period)
}

/// Whether a caller without `CAP_SYS_NICE` may have `target` scheduled so (`user_check_sched_setscheduler`).
fn may_change(ctx: &Ctx, target: &Thread, next: Scheduling, nice: i8) -> bool {
    let now = target.scheduling();
    let (priority_limit, nice_limit) = {
        let limits = target.process().limits.lock();
        (limits.get(Resource::RealTimePriority).soft, limits.get(Resource::Nice).soft)
    };
    let old_nice = target.nice.load(Ordering::Relaxed);
    let may_have = |nice: i8| (20 - i64::from(nice)).cast_unsigned() <= nice_limit;
    let (own, other) = (ctx.thread.identity(), target.identity());
    let refused = matches!(next.policy, OTHER | BATCH) && nice < old_nice && !may_have(nice)
        || next.is_real_time() && next.policy != now.policy && priority_limit == 0
        || next.priority > now.priority && u64::from(next.priority) > priority_limit
        || next.policy == DEADLINE
        || now.policy == IDLE && next.policy != IDLE && !may_have(old_nice)
        || ![other.users.real, other.users.effective].contains(&own.users.effective)
        || now.reset_on_fork && !next.reset_on_fork;
    !refused
}

/// `sched_getscheduler(2)`
pub fn sched_getscheduler(ctx: &mut Ctx, pid: u32) -> SysResult {
    valid_pid(pid)?;
    let scheduling = named_thread(ctx, pid)?.scheduling();
    let reset = if scheduling.reset_on_fork { RESET_ON_FORK } else { 0 };
    Ok((scheduling.policy | reset) as usize)
}

/// `sched_getparam(2)`
pub fn sched_getparam(ctx: &mut Ctx, pid: u32, param: UserPtr<u32>) -> Attempt {
    valid_pid(pid)?;
    let param = param.non_null().ok_or(Errno::EINVAL)?;
    param.put(&named_thread(ctx, pid)?.scheduling().priority)?;
    Ok(0)
}

/// `sched_getattr(2)`
pub fn sched_getattr(ctx: &mut Ctx, pid: u32, attributes: UserPtr<u8>, size: u32, flags: Flags) -> Attempt {
    valid_pid(pid)?;
    let sizes = FIRST_SIZE..=PAGE_SIZE as u32;
    if attributes.is_null() || !sizes.contains(&size) || flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = named_thread(ctx, pid)?;
    let Scheduling { policy, priority, reset_on_fork, .. } = target.scheduling();
    let nice = if priority == 0 { target.nice.load(Ordering::Relaxed) } else { 0 };
    let size = size.min(size_of::<Attributes>() as u32);
    let found = Attributes {
        size,
        policy,
        flags: if reset_on_fork { ATTR_RESET_ON_FORK } else { 0 },
        nice: nice.into(),
        priority,
        times: [0; 3],
        utilization: [0; 2],
    };
    attributes.put_bytes(&found.as_bytes()[..size as usize])?;
    Ok(0)
}

/// `sched_rr_get_interval(2)`: Linux's turns of 100 ms; the other policies have none.
pub fn sched_rr_get_interval(ctx: &mut Ctx, pid: u32, interval: UserPtr<Timespec>) -> Attempt {
    const TURN: u64 = 100_000_000;
    valid_pid(pid)?;
    let policy = named_thread(ctx, pid)?.scheduling().policy;
    let turn = if policy == ROUND_ROBIN { TURN } else { 0 };
    interval.put(&Timespec::from_ns(turn))?;
    Ok(0)
}

/// `sched_get_priority_max(2)`
pub fn sched_get_priority_max(_: &mut Ctx, policy: i32) -> SysResult {
    Ok(*priority_range(policy)?.end())
}

/// `sched_get_priority_min(2)`
pub fn sched_get_priority_min(_: &mut Ctx, policy: i32) -> SysResult {
    Ok(*priority_range(policy)?.start())
}

fn priority_range(policy: i32) -> Result<core::ops::RangeInclusive<usize>, Errno> {
    match policy.cast_unsigned() {
        FIFO | ROUND_ROBIN => Ok(1..=PRIORITY_MAX as usize),
        OTHER | BATCH | IDLE | DEADLINE => Ok(0..=0),
        _ => Err(Errno::EINVAL),
    }
}
