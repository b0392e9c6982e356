//! Calls that somebody watches: what happens before one is made, and whether it is made at all.
//!
//! Most calls are not watched, and what all of them look at is one flag of the kernel's ([`kernel::watching`]).

use alloc::boxed::Box;
use core::pin::Pin;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;

use crate::fail::in_register;
use crate::process::{Ctx, kill_process};
use crate::report;
use crate::seccomp::{CallData, Mode, Verdict, action};
use crate::signal::{self, SigInfo, Signal};
use crate::trace;
use crate::{core_dump, kernel};

/// Filters, or strict mode: a bit of [`Thread::watched`](crate::process::Thread::watched).
pub const FILTERED: u8 = 1;
/// A tracer wants to know of calls, or of each instruction.
pub const TRACED: u8 = 2;

/// True when the call may be made at once: nobody watches it but filters, and they let it pass.
pub(super) fn lets_pass(ctx: &mut Ctx) -> bool {
    ctx.passed = !kernel::tracing()
        && match ctx.thread.watched.load(Relaxed) {
            0 => return true,
            FILTERED => verdict(ctx).is_some_and(|verdict| verdict.action == action::ALLOW),
            _ => false,
        };
    ctx.passed
}

/// Does what comes before a call; false when it must not be made. Its result is then in `rax`.
pub(super) fn enter(ctx: &mut Ctx) -> Entering<'_> {
    // Boxed: it is rare, and every call would otherwise carry its states.
    Box::pin(async move {
        let watched = ctx.thread.watched.load(Relaxed);
        if core::mem::take(&mut ctx.passed) || watched == 0 {
            return true;
        }
        // What a tracer sees of a call that has not been made (`entry_SYSCALL_64`).
        ctx.user.regs.rax = in_register(Errno::ENOSYS);
        if watched & TRACED != 0 && !trace::before_call(ctx).await {
            return false;
        }
        watched & FILTERED == 0 || filter(ctx).await
    })
}

/// What [`enter`] returns.
type Entering<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Does what comes behind a call, whether it was made or not.
pub(super) async fn leave(ctx: &mut Ctx) {
    if ctx.thread.watched.load(Relaxed) & TRACED != 0 {
        Box::pin(trace::after_call(ctx)).await;
    }
}

/// What the filters say of the call; nothing in strict mode.
fn verdict(ctx: &Ctx) -> Option<Verdict> {
    let mode = ctx.thread.seccomp.lock().clone();
    let r = &ctx.user.regs;
    let data = CallData {
        number: ctx.call as i32,
        arch: CallData::ARCH,
        instruction_pointer: r.rip,
        arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
    };
    Some(mode.filters()?.judge(&data))
}

/// Does what seccomp(2) says about the call; true when it may be made (`__seccomp_filter`).
async fn filter(ctx: &mut Ctx) -> bool {
    const ERRNO_MAX: u16 = 4095;
    let Some(mut verdict) = verdict(ctx) else { return is_allowed_in_strict_mode(ctx) };
    if verdict.action == action::TRACE && trace::filtered(ctx, verdict.data).await {
        if ctx.thread.must_end() || ctx.call.cast_signed() < 0 {
            return false;
        }
        // The tracer may have made another call of it, which is not left to it again.
        verdict = self::verdict(ctx).unwrap_or(verdict);
        if verdict.action == action::TRACE {
            return true;
        }
    }
    let data = verdict.data;
    match verdict.action {
        action::ALLOW => return true,
        action::LOG => {
            report::filtered(ctx, "is logged");
            return true;
        }
        action::ERRNO => ctx.user.regs.rax = -i64::from(data.min(ERRNO_MAX)) as u64,
        action::TRAP => {
            ctx.user.regs.rax = ctx.call;
            let info = SigInfo::of_call(ctx.user.regs.rip, ctx.call as i32, CallData::ARCH, data.into());
            if !signal::force(ctx, Signal::SYS, info) {
                kill_process(ctx.thread.process(), Signal::SYS);
            }
        }
        // Nobody listens, and nobody who traces wants to hear of it.
        action::USER_NOTIF | action::TRACE => {}
        action::KILL_THREAD if ctx.thread.process().thread_count() > 1 => end_thread(ctx),
        // A core shows the call as it was about to be made.
        _ => {
            report::filtered(ctx, "ends the process");
            ctx.user.regs.rax = ctx.call;
            let info = SigInfo::of_call(ctx.user.regs.rip, ctx.call as i32, CallData::ARCH, data.into());
            core_dump::end_process(ctx, Signal::SYS, &info).await;
        }
    }
    if verdict.log && !matches!(verdict.action, action::USER_NOTIF | action::TRACE) {
        report::filtered(ctx, "is refused");
    }
    false
}

/// read, write, exit and `rt_sigreturn` are all that a thread in strict mode may call.
fn is_allowed_in_strict_mode(ctx: &Ctx) -> bool {
    if matches!(*ctx.thread.seccomp.lock(), Mode::Disabled) || [0, 1, 15, 60].contains(&ctx.call) {
        return true;
    }
    match ctx.thread.process().thread_count() {
        1 => kill_process(ctx.thread.process(), Signal::KILL),
        _ => end_thread(ctx),
    }
    false
}

/// Ends the thread and no other.
fn end_thread(ctx: &Ctx) {
    report::filtered(ctx, "ends the thread");
    ctx.thread.end();
}
