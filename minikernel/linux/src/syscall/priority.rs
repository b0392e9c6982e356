//! getpriority(2), setpriority(2). Threads share a CPU by their nice values.

use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno};

use super::process::named_thread;
use crate::fail::SysResult;
use crate::process::scheduling::{IDLE, Scheduling};
use crate::process::{self, Ctx, Resource, Thread};

/// The highest and the lowest priority.
const MIN: i32 = -20;
const MAX: i32 = 19;

/// What is done with one thread after the other, up to the first error.
type Act<'a> = &'a mut dyn FnMut(&Thread) -> Result<(), Errno>;

/// Calls `act` for the threads that the arguments name: one thread, a process group, or a user's; 0 is the caller's. `ESRCH` when there are none.
fn each_target(ctx: &Ctx, which: i32, who: u32, act: Act<'_>) -> Result<(), Errno> {
    const PROCESS: i32 = 0;
    const GROUP: i32 = 1;
    const USER: i32 = 2;
    let mut found = false;
    let mut among_all = |wanted: &dyn Fn(&Thread) -> bool| {
        for thread in process::threads().filter(|thread| wanted(thread)) {
            found = true;
            act(&thread)?;
        }
        Ok(())
    };
    match which {
        PROCESS => return act(&*named_thread(ctx, who)?),
        GROUP => {
            let own = ctx.thread.process().group.load(Ordering::Relaxed);
            let group = if who == 0 { own } else { who };
            among_all(&|thread| thread.process().group.load(Ordering::Relaxed) == group)?;
        }
        USER => {
            let user = if who == 0 { ctx.thread.identity().users.real } else { who };
            among_all(&|thread| thread.identity().users.real == user)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    if found { Ok(()) } else { Err(Errno::ESRCH) }
}

/// getpriority(2): the highest priority among them. The system call returns 20 minus the nice value.
pub fn getpriority(ctx: &mut Ctx, which: i32, who: u32) -> SysResult {
    let mut nice = i32::MAX;
    each_target(ctx, which, who, &mut |thread| {
        nice = nice.min(thread.nice.load(Ordering::Relaxed).into());
        Ok(())
    })?;
    Ok((20 - nice) as usize)
}

/// setpriority(2)
pub fn setpriority(ctx: &mut Ctx, which: i32, who: u32, nice: i32) -> SysResult {
    let nice = nice.clamp(MIN, MAX);
    let mut outcome = Ok(0);
    each_target(ctx, which, who, &mut |target| {
        if let Err(errno) = set(ctx, target, nice) {
            outcome = Err(errno.into());
        }
        Ok(())
    })?;
    outcome
}

/// Whether the caller may say how and where a thread runs: `EPERM` for other users' threads.
pub(super) fn may_schedule(ctx: &Ctx, target: &Thread) -> Result<(), Errno> {
    let (own, other) = (ctx.thread.identity(), target.identity());
    let same = [other.users.real, other.users.effective].contains(&own.users.effective);
    if same || own.capable(Capabilities::SYS_NICE) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Classes of transfers (`ioprio_set(2)`).
const CLASS_REAL_TIME: u32 = 1;
const CLASS_BEST_EFFORT: u32 = 2;
const CLASS_IDLE: u32 = 3;
const CLASS_SHIFT: u32 = 13;

/// Whose transfers: as for setpriority(2), but by other numbers.
fn each_transferring(ctx: &Ctx, which: i32, who: u32, act: Act<'_>) -> Result<(), Errno> {
    if (1..=3).contains(&which) { each_target(ctx, which - 1, who, act) } else { Err(Errno::EINVAL) }
}

/// `ioprio_set(2)`. The class is kept and told: transfers are made in the order in which they come.
pub fn ioprio_set(ctx: &mut Ctx, which: i32, who: u32, priority: u32) -> SysResult {
    const LEVEL: u32 = 7;
    let own = ctx.thread.identity();
    let privileged = own.capable(Capabilities::SYS_NICE);
    match priority >> CLASS_SHIFT {
        CLASS_REAL_TIME if !privileged && !own.capable(Capabilities::SYS_ADMIN) => {
            return Err(Errno::EPERM.into());
        }
        CLASS_REAL_TIME | CLASS_BEST_EFFORT | CLASS_IDLE => {}
        0 if priority & LEVEL == 0 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    each_transferring(ctx, which, who, &mut |target| {
        let user = target.identity().users.real;
        if !privileged && ![own.users.effective, own.users.real].contains(&user) {
            return Err(Errno::EPERM);
        }
        target.set_scheduling(Scheduling { transfers: priority as u16, ..target.scheduling() });
        Ok(())
    })?;
    Ok(0)
}

/// `ioprio_get(2)`: of one thread what was set, of several the best, where the nice value counts for those who have not said.
pub fn ioprio_get(ctx: &mut Ctx, which: i32, who: u32) -> SysResult {
    const ONE: i32 = 1;
    let effective = |thread: &Thread| {
        let (scheduling, nice) = (thread.scheduling(), i32::from(thread.nice.load(Ordering::Relaxed)));
        let class = match scheduling.policy {
            IDLE => CLASS_IDLE,
            _ if scheduling.is_real_time() => CLASS_REAL_TIME,
            _ => CLASS_BEST_EFFORT,
        };
        match u32::from(scheduling.transfers) {
            0 => class << CLASS_SHIFT | ((nice + 20) / 5) as u32,
            set => set,
        }
    };
    let mut best = u32::MAX;
    each_transferring(ctx, which, who, &mut |thread| {
        let own = if which == ONE { thread.scheduling().transfers.into() } else { effective(thread) };
        best = best.min(own);
        Ok(())
    })?;
    Ok(best as usize)
}

/// Changes one thread's nice value: `EPERM` for other users' threads, `EACCES` beyond what `RLIMIT_NICE` leaves.
fn set(ctx: &Ctx, target: &Thread, nice: i32) -> Result<(), Errno> {
    may_schedule(ctx, target)?;
    let privileged = ctx.thread.identity().capable(Capabilities::SYS_NICE);
    let limit = target.process().limits.lock().get(Resource::Nice).soft;
    let raises = nice < i32::from(target.nice.load(Ordering::Relaxed));
    if raises && !privileged && (20 - nice) as u64 > limit {
        return Err(Errno::EACCES);
    }
    target.set_nice(nice as i8);
    Ok(())
}
