//! The border: from registers to a handler and back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;

use isopod_fs::Errno;
use isopod_hal::heap;

use super::{table, unfinished, unknown, watch};
use crate::fail::{Attempt, Fail, Later, Restart, Stop, SysResult, in_register};
use crate::process::Ctx;
use crate::wait::{interruptible, pass};
use crate::{kernel, memory_pressure, sched};

/// Takes the number of the system call that the registers ask for.
#[inline]
fn take_number(ctx: &mut Ctx) {
    // Only the lower half counts (`do_syscall_64`).
    ctx.call = u64::from(ctx.user.regs.rax as u32);
}

/// Makes the system call that the registers ask for, if it is one that never waits and nothing else is to be done about it. False if
/// [`handle`] must.
pub fn make_at_once(ctx: &mut Ctx) -> bool {
    take_number(ctx);
    if heap::reserve_low() || kernel::watching() && !watch::lets_pass(ctx) {
        return false;
    }
    let result = match table::dispatch_now(ctx.call, ctx) {
        Ok(value) => Ok(value),
        Err(Stop::Fail(fail)) => Err(fail),
        // What was stopped has done nothing, or knows how much, and goes on.
        Err(stop) => {
            ctx.stopped = Some(stop);
            return false;
        }
    };
    (ctx.passed, ctx.resume_until) = (false, None);
    ctx.user.regs.rax = settle(ctx, result);
    true
}

/// Makes the system call that the registers ask for.
pub async fn handle(ctx: &mut Ctx) {
    take_number(ctx);
    let stopped = ctx.stopped.take();
    if stopped.is_some() {
        ctx.passed = false;
    } else if kernel::watching() && !watch::enter(ctx).await {
        ctx.resume_until = None;
        return watch::leave(ctx).await;
    }
    let (number, arguments) = (ctx.call, table::arguments(ctx));
    // Small objects come from a heap that must not run dry in the middle of a call (design, decision 10). What has begun, and cannot be taken
    // back, goes on.
    let begun = matches!(stopped, Some(Stop::Rest(_))) || unfinished::is_done(ctx);
    let result = if begun || memory_pressure::may_proceed(ctx, number) {
        let mut _waited;
        let mut attempt = match stopped {
            Some(stop) => Err(stop),
            None => attempt_again(ctx, number),
        };
        loop {
            let stop = match attempt {
                Ok(value) => break Ok(value),
                Err(stop) => stop,
            };
            attempt = match stop {
                Stop::Fail(fail) => break Err(fail),
                Stop::Later(later) => wait_and_repeat(ctx, number, later).await,
                Stop::Rest(rest) => break rest.into_future().await,
                Stop::Dispatch => break table::dispatch(number, ctx, arguments).await,
                stop => match pass(&ctx.memory, stop).await {
                    Ok(wait) => {
                        _waited = wait;
                        attempt_again(ctx, number)
                    }
                    Err(fail) => Err(fail.into()),
                },
            };
            if let Err(Stop::Fail(_)) = attempt
                && unfinished::end_early(ctx)
            {
                attempt = attempt_again(ctx, number);
            }
        }
    } else {
        // What has been done when it was tried at once counts.
        match ctx.moved.max(unfinished::forget(ctx)) {
            0 => Err(Fail::Errno(Errno::ENOMEM)),
            moved => Ok(moved),
        }
    };
    (ctx.moved, ctx.resume_until) = (0, None);
    ctx.user.regs.rax = settle(ctx, result);
    if kernel::watching() {
        watch::leave(ctx).await;
    }
}

/// Makes the call, or goes on with what it has still to tell.
fn attempt_again(ctx: &mut Ctx, number: u64) -> Attempt {
    unfinished::go_on(ctx).unwrap_or_else(|| table::dispatch_now(number, ctx))
}

/// Waits for a change and makes the call again, until that is not for nothing. A signal ends the wait, as in [`until_ready`](crate::poll::until_ready).
fn wait_and_repeat(
    ctx: &mut Ctx,
    number: u64,
    later: Box<Later>,
) -> Pin<Box<dyn Future<Output = Attempt> + Send + '_>> {
    Box::pin(async move {
        let thread = Arc::clone(&ctx.thread);
        let changed = later.queue.queue().until(|| match attempt_again(ctx, number) {
            Err(Stop::Later(_)) => None,
            outcome => Some(outcome),
        });
        let outcome = interruptible(&thread, sched::timeout_at(later.deadline, changed)).await;
        if let Ok(Some(outcome)) = outcome {
            return outcome;
        }
        Err(if outcome.is_ok() { later.late } else { later.interrupted }.into())
    })
}

/// What a call's result leaves in `rax`, and behind.
#[inline]
fn settle(ctx: &mut Ctx, result: SysResult) -> u64 {
    match result {
        Ok(value) => value as u64,
        Err(fail) => settle_failed(ctx, fail),
    }
}

fn settle_failed(ctx: &mut Ctx, fail: Fail) -> u64 {
    match fail {
        Fail::Errno(errno) => {
            if errno == Errno::ENOSYS {
                unknown::count(ctx.call);
            }
            in_register(errno)
        }
        Fail::RestartAlways => interrupted(ctx, Restart::Always),
        Fail::RestartUnlessHandled => interrupted(ctx, Restart::UnlessHandled),
        Fail::RestartWithoutHandler => interrupted(ctx, Restart::WithoutHandler),
        Fail::RestartUntil => interrupted(ctx, Restart::Until),
    }
}

fn interrupted(ctx: &mut Ctx, restart: Restart) -> u64 {
    ctx.restart = Some(restart);
    ctx.thread.set_work();
    // Only a tracer sees it.
    restart.in_register()
}
