//! futex(2), `set_robust_list(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::Flags;
use crate::fail::{Attempt, Fail, Rest, Restart, Stop, SysResult};
use crate::futex::{self, Scope, WakeOp, Word};
use crate::mm::UserPtr;
use crate::process::{self, Ctx, With};
use crate::time::Timespec;
use crate::wait::Waited;

const WAIT: u32 = 0;
const WAKE: u32 = 1;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAKE_OP: u32 = 5;
const LOCK_PI: u32 = 6;
const UNLOCK_PI: u32 = 7;
const TRYLOCK_PI: u32 = 8;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;
const WAIT_REQUEUE_PI: u32 = 11;
const CMP_REQUEUE_PI: u32 = 12;
const LOCK_PI2: u32 = 13;
/// The word belongs to one address space.
const PRIVATE: u32 = 128;
/// The time-out is measured by `CLOCK_REALTIME`.
const CLOCK_REALTIME: u32 = 256;
/// Every waiter and every wake-up.
const ANY: u32 = u32::MAX;

/// futex(2)
pub fn futex(
    ctx: &mut Ctx,
    word: usize,
    operation: Flags,
    value: u32,
    timeout: UserPtr<Timespec>,
    second: usize,
    value3: u32,
) -> Attempt {
    let scope = if operation.0 & PRIVATE != 0 { Scope::Private } else { Scope::Shared };
    let realtime = operation.0 & CLOCK_REALTIME != 0;
    let command = operation.0 & !(PRIVATE | CLOCK_REALTIME);
    if realtime && !matches!(command, WAIT | WAIT_BITSET | WAIT_REQUEUE_PI | LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    // Where it is no time-out, the fourth argument is a number.
    let value2 = timeout.address() as u32 as usize;
    let count = value as i32;
    let memory = Arc::clone(&ctx.memory);
    match command {
        WAIT => {
            let deadline = deadline(ctx, timeout, false, realtime)?;
            wait(ctx, word, scope, value, ANY, deadline)
        }
        WAIT_BITSET => {
            let deadline = deadline(ctx, timeout, true, realtime)?;
            wait(ctx, word, scope, value, value3, deadline)
        }
        // Linux wakes one waiter for a count of zero or less.
        WAKE => futex::wake(&memory, word, scope, count.max(1) as usize, ANY),
        WAKE_BITSET => futex::wake(&memory, word, scope, count.max(1) as usize, value3),
        REQUEUE | CMP_REQUEUE => {
            let (wakes, moves) = (non_negative(value)?, non_negative(value2 as u32)?);
            let expected = (command == CMP_REQUEUE).then_some(value3);
            let (woken, moved) = futex::requeue(&memory, word, second, scope, (wakes, moves), expected)?;
            // The man page says that FUTEX_REQUEUE counts only those it woke; the kernel counts both.
            Ok(woken + moved)
        }
        WAKE_OP => {
            let operation = WakeOp::decode(value3)?;
            let counts = (count.max(1) as usize, (value2 as i32).max(1) as usize);
            futex::wake_op(&memory, word, second, scope, counts, operation)
        }
        // The first of them always meant the time of day.
        LOCK_PI | LOCK_PI2 => {
            let deadline = deadline(ctx, timeout, true, realtime || command == LOCK_PI)?;
            let Some(place) = futex::lock(&ctx.thread, &memory, word, scope)? else { return Ok(0) };
            let wait = futex::wait_for_lock(Arc::clone(&ctx.thread), memory, word, place, deadline);
            Err(Stop::Rest(Rest::new(async move { taken(wait.await?.0, Restart::Always.into()) })))
        }
        UNLOCK_PI => {
            futex::unlock(&ctx.thread, &memory, word, scope)?;
            Ok(0)
        }
        TRYLOCK_PI => {
            futex::try_lock(&ctx.thread, &memory, word, scope)?;
            Ok(0)
        }
        WAIT_REQUEUE_PI => {
            let deadline = deadline(ctx, timeout, true, realtime)?;
            if word == second {
                return Err(Errno::EINVAL.into());
            }
            let (place, key) = futex::enter_for_lock(&ctx.thread, &memory, (word, second), scope, value)?;
            let wait = futex::wait_for_lock(Arc::clone(&ctx.thread), memory, second, place, deadline);
            Err(Stop::Rest(Rest::new(async move {
                let (waited, left) = wait.await?;
                // One who waits for the lock already cannot begin anew: the program must look where it is.
                let moved = left != Some(key);
                taken(waited, if moved { Errno::EAGAIN.into() } else { Restart::Always.into() })
            })))
        }
        CMP_REQUEUE_PI => {
            let (wakes, moves) = (non_negative(value)?, non_negative(value2 as u32)?);
            // Nobody but the lock's next owner can go on.
            if wakes != 1 {
                return Err(Errno::EINVAL.into());
            }
            futex::requeue_to_lock(&memory, (word, second), scope, moves, value3)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The result of a wait.
fn taken(waited: Waited, interrupted: Fail) -> SysResult {
    match waited {
        Waited::Woken => Ok(0),
        Waited::TimedOut => Err(Errno::ETIMEDOUT.into()),
        Waited::Interrupted => Err(interrupted),
    }
}

/// `struct futex_waitv`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserWord {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// `futex_waitv(2)`
pub fn futex_waitv(
    ctx: &mut Ctx,
    words: UserPtr<UserWord>,
    count: u32,
    flags: Flags,
    timeout: UserPtr<Timespec>,
    clock: i32,
) -> Attempt {
    const COUNT_MAX: u32 = 128;
    const CLOCK_REALTIME: i32 = 0;
    const CLOCK_MONOTONIC: i32 = 1;
    const SIZE_U32: u32 = 2;
    if flags.0 != 0 || count == 0 || count > COUNT_MAX || words.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let mut until = u64::MAX;
    if !timeout.is_null() {
        if !matches!(clock, CLOCK_REALTIME | CLOCK_MONOTONIC) {
            return Err(Errno::EINVAL.into());
        }
        until = deadline(ctx, timeout, true, clock == CLOCK_REALTIME)?;
    }
    let mut wanted = Vec::new();
    wanted.try_reserve_exact(count as usize).map_err(|_| Errno::ENOMEM)?;
    for index in 0..count as usize {
        let word = words.element(index).get()?;
        let expected = u32::try_from(word.expected).map_err(|_| Errno::EINVAL)?;
        if word.flags & !PRIVATE != SIZE_U32 || word.reserved != 0 {
            return Err(Errno::EINVAL.into());
        }
        let scope = if word.flags & PRIVATE != 0 { Scope::Private } else { Scope::Shared };
        wanted.push(Word { address: word.address as usize, scope, expected });
    }
    let places = match futex::enter_all(&ctx.memory, &wanted)? {
        Ok(places) => places,
        Err(woken) => return Ok(woken),
    };
    let wait = futex::wait_any(Arc::clone(&ctx.thread), places, until);
    Err(Stop::Rest(Rest::new(async move {
        match wait.await {
            (Waited::Woken, index) => Ok(index),
            (waited, _) => taken(waited, Restart::UnlessHandled.into()),
        }
    })))
}

fn non_negative(count: u32) -> Result<usize, Errno> {
    usize::try_from(count as i32).map_err(|_| Errno::EINVAL)
}

/// The time-out as a point of time since boot: `FUTEX_WAIT` takes a duration, the others a point of their clock.
fn deadline(ctx: &mut Ctx, timeout: UserPtr<Timespec>, absolute: bool, realtime: bool) -> Attempt<u64> {
    let Some(time) = timeout.get_optional()? else { return Ok(u64::MAX) };
    if let Some(deadline) = ctx.resume_until.take() {
        return Ok(deadline);
    }
    if !absolute {
        return Ok(time.deadline_from_now()?);
    }
    let point = time.to_ns()?;
    if !realtime {
        return Ok(point);
    }
    Ok(clock::monotonic_ns().saturating_add(point.saturating_sub(clock::realtime_ns())))
}

fn wait(ctx: &mut Ctx, word: usize, scope: Scope, expected: u32, bits: u32, deadline: u64) -> Attempt {
    let place = match futex::enter(&ctx.memory, word, scope, expected, bits) {
        Ok(place) => place,
        Err(stop) => {
            // If it is made again it waits no longer for that.
            ctx.resume_until = (!matches!(stop, Stop::Fail(_))).then_some(deadline);
            return Err(stop);
        }
    };
    let thread = Arc::clone(&ctx.thread);
    let wait = futex::wait(Arc::clone(&thread), place, deadline);
    Err(Stop::Rest(Rest::new(async move {
        // With a time-out a handler ends it, whatever SA_RESTART says (`futex_wait`, ERESTART_RESTARTBLOCK).
        let interrupted =
            if deadline == u64::MAX { Fail::RestartUnlessHandled } else { thread.resume_at(deadline) };
        taken(wait.await, interrupted)
    })))
}

/// Bytes of `struct robust_list_head`.
const ROBUST_HEAD: usize = 24;

/// `set_robust_list(2)`
pub fn set_robust_list(ctx: &mut Ctx, head: usize, length: usize) -> SysResult {
    if length != ROBUST_HEAD {
        return Err(Errno::EINVAL.into());
    }
    ctx.thread.robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`
pub fn get_robust_list(ctx: &mut Ctx, tid: u32, head: UserPtr<u64>, length: UserPtr<u64>) -> Attempt {
    let target = match tid {
        0 => Arc::clone(&ctx.thread),
        tid => process::find_thread(tid).ok_or(Errno::ESRCH)?,
    };
    if !ctx.thread.may_inspect(&target, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    length.put(&(ROBUST_HEAD as u64))?;
    head.put(&(target.robust_list.load(Ordering::Relaxed) as u64))?;
    Ok(0)
}
