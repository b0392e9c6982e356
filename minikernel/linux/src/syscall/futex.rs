//! futex(2), `set_robust_list(2)`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::clock;

use super::argument::Flags;
use crate::fail::{Fail, Restart, SysResult};
use crate::futex::{self, Scope, Waited, WakeOp};
use crate::mm::UserPtr;
use crate::process::{self, Ctx};
use crate::time::Timespec;

const WAIT: u32 = 0;
const WAKE: u32 = 1;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAKE_OP: u32 = 5;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;
/// The word belongs to one address space.
const PRIVATE: u32 = 128;
/// The time-out is measured by `CLOCK_REALTIME`.
const CLOCK_REALTIME: u32 = 256;
/// Every waiter and every wake-up.
const ANY: u32 = u32::MAX;

/// futex(2). Priority inheritance is not offered: `ENOSYS`, after which C libraries say so to the program.
pub async fn futex(
    ctx: &mut Ctx,
    word: usize,
    operation: Flags,
    value: u32,
    timeout: UserPtr<Timespec>,
    second: usize,
    value3: u32,
) -> SysResult {
    let scope = if operation.0 & PRIVATE != 0 { Scope::Private } else { Scope::Shared };
    let realtime = operation.0 & CLOCK_REALTIME != 0;
    let command = operation.0 & !(PRIVATE | CLOCK_REALTIME);
    if realtime && !matches!(command, WAIT | WAIT_BITSET) {
        return Err(Errno::ENOSYS.into());
    }
    // Where it is no time-out, the fourth argument is a number.
    let value2 = timeout.address() as u32 as usize;
    let count = value as i32;
    let memory = Arc::clone(&ctx.memory);
    match command {
        WAIT => {
            let deadline = deadline(ctx, timeout, false, realtime).await?;
            wait(ctx, word, scope, value, ANY, deadline).await
        }
        WAIT_BITSET => {
            let deadline = deadline(ctx, timeout, true, realtime).await?;
            wait(ctx, word, scope, value, value3, deadline).await
        }
        // Linux wakes one waiter for a count of zero or less.
        WAKE => Ok(futex::wake(&memory, word, scope, count.max(1) as usize, ANY).await?),
        WAKE_BITSET => Ok(futex::wake(&memory, word, scope, count.max(1) as usize, value3).await?),
        REQUEUE | CMP_REQUEUE => {
            let (wakes, moves) = (non_negative(value)?, non_negative(value2 as u32)?);
            let expected = (command == CMP_REQUEUE).then_some(value3);
            let (woken, moved) =
                futex::requeue(&memory, word, second, scope, (wakes, moves), expected).await?;
            // The man page says that FUTEX_REQUEUE counts only those it woke; the kernel counts both.
            Ok(woken + moved)
        }
        WAKE_OP => {
            let operation = WakeOp::decode(value3)?;
            let counts = (count.max(1) as usize, (value2 as i32).max(1) as usize);
            Ok(futex::wake_op(&memory, word, second, scope, counts, operation).await?)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn non_negative(count: u32) -> Result<usize, Errno> {
    usize::try_from(count as i32).map_err(|_| Errno::EINVAL)
}

/// The time-out as a point of time since boot: `FUTEX_WAIT` takes a duration, the others a point of their clock.
async fn deadline(
    ctx: &mut Ctx,
    timeout: UserPtr<Timespec>,
    absolute: bool,
    realtime: bool,
) -> Result<u64, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(u64::MAX) };
    let time = ctx.memory.read(timeout).await?;
    if let Some(deadline) = ctx.resume_until.take() {
        return Ok(deadline);
    }
    if !absolute {
        return time.deadline_from_now();
    }
    let point = time.to_ns()?;
    if !realtime {
        return Ok(point);
    }
    Ok(clock::monotonic_ns().saturating_add(point.saturating_sub(clock::realtime_ns())))
}

async fn wait(ctx: &Ctx, word: usize, scope: Scope, expected: u32, bits: u32, deadline: u64) -> SysResult {
    match futex::wait(&ctx.thread, &ctx.memory, word, scope, expected, bits, deadline).await? {
        Waited::Woken => Ok(0),
        Waited::TimedOut => Err(Errno::ETIMEDOUT.into()),
        Waited::Interrupted if deadline == u64::MAX => Err(Fail::Restart(Restart::UnlessHandled)),
        // With a time-out a handler ends it, whatever SA_RESTART says (`futex_wait`, ERESTART_RESTARTBLOCK).
        Waited::Interrupted => Err(Fail::Restart(Restart::Until(deadline))),
    }
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
pub async fn get_robust_list(ctx: &mut Ctx, tid: u32, head: UserPtr<u64>, length: UserPtr<u64>) -> SysResult {
    let target = match tid {
        0 => Arc::clone(&ctx.thread),
        tid => process::find_thread(tid).ok_or(Errno::ESRCH)?,
    };
    ctx.memory.write(length, &(ROBUST_HEAD as u64)).await?;
    ctx.memory.write(head, &(target.robust_list.load(Ordering::Relaxed) as u64)).await?;
    Ok(0)
}
