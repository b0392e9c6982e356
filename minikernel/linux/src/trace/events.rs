//! Stops at system calls, and at what they do: `PTRACE_EVENT_` of ptrace(2).

use alloc::sync::Arc;

use super::stop::notify;
use super::{Options, Reason, Resume};
use crate::process::{Ctx, ExitStatus};
use crate::signal::{self, SigInfo, Signal};

/// Events of which a tracer may want to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// A child by fork(2).
    Fork = 1,
    /// A child by vfork(2).
    Vfork = 2,
    /// A child by clone(2).
    Clone = 3,
    /// Another program.
    Exec = 4,
    /// The child by vfork(2) has let go of the memory.
    VforkDone = 5,
    /// The thread is about to end.
    Exit = 6,
    /// A filter of system calls.
    Seccomp = 7,
}

/// `SI_USER`-like code and signal of a stop at a system call, which `PTRACE_O_TRACESYSGOOD` marks.
fn call_code(options: Options) -> u32 {
    let mark = if options.contains(Options::SYSGOOD) { 0x80 } else { 0 };
    u32::from(Signal::TRAP.number()) | mark
}

/// A call is about to be made: false when it must not be.
pub async fn before_call(ctx: &mut Ctx) -> bool {
    const ENTRY: u64 = 1;
    let thread = Arc::clone(&ctx.thread);
    let wanted = thread.trace.with(|tracee| {
        tracee.message = ENTRY;
        (tracee.resume == Resume::Call || tracee.resume.emulates())
            .then(|| (call_code(tracee.options), tracee.resume.emulates()))
    });
    let Some(Some((code, emulated))) = wanted else { return true };
    notify(ctx, code, Reason::Entry).await;
    !emulated && !thread.must_end() && ctx.call.cast_signed() >= 0
}

/// A call has been made, or was not to be.
pub async fn after_call(ctx: &mut Ctx) {
    const EXIT: u64 = 2;
    /// `TRAP_BRKPT`
    const BREAKPOINT: i32 = 1;
    let thread = Arc::clone(&ctx.thread);
    let wanted = thread.trace.with(|tracee| {
        tracee.message = EXIT;
        (tracee.resume, call_code(tracee.options))
    });
    match wanted {
        Some((Resume::Call, code)) => notify(ctx, code, Reason::Exit).await,
        Some((Resume::Step, _)) => {
            let info = SigInfo::fault(Signal::TRAP, BREAKPOINT, ctx.user.regs.rip);
            signal::force(ctx, Signal::TRAP, info);
        }
        _ => {}
    }
}

/// Stops for an event if the tracer wants to hear of it; false if not.
async fn event(ctx: &mut Ctx, event: Event, message: u64, reason: Reason) -> bool {
    let thread = Arc::clone(&ctx.thread);
    let wanted = thread.trace.with(|tracee| {
        let wanted = tracee.options.bits() & 1 << event as u32 != 0;
        if wanted {
            tracee.message = message;
        }
        wanted
    });
    if wanted != Some(true) {
        return false;
    }
    notify(ctx, u32::from(Signal::TRAP.number()) | (event as u32) << 8, reason).await;
    true
}

/// The thread has made the child `tid`, which its tracer traces as well.
pub async fn child_of(ctx: &mut Ctx, tid: u32, kind: Event) {
    event(ctx, kind, tid.into(), Reason::Other).await;
}

/// The child by vfork(2) `tid` has let go of the memory.
pub async fn released(ctx: &mut Ctx, tid: u32) {
    event(ctx, Event::VforkDone, tid.into(), Reason::Other).await;
}

/// Another program has been put in place by the thread that was `tid` before.
pub async fn executed(ctx: &mut Ctx, tid: u32) {
    let thread = Arc::clone(&ctx.thread);
    if event(ctx, Event::Exec, tid.into(), Reason::Other).await {
        return;
    }
    if thread.trace.with(|tracee| !tracee.seized) == Some(true) {
        let info = SigInfo::user(Signal::TRAP, signal::SI_USER, thread.tid(), thread.identity().users.real);
        let _ = signal::send_to_thread(&thread, Signal::TRAP, info);
    }
}

/// The thread is about to end.
pub async fn exiting(ctx: &mut Ctx) {
    let status = ctx.thread.process().end_status().unwrap_or(ExitStatus::Exited(ctx.exit_code));
    event(ctx, Event::Exit, status.word().into(), Reason::Other).await;
}

/// A filter leaves a call to the tracer. False when there is none that wants it.
pub async fn filtered(ctx: &mut Ctx, data: u16) -> bool {
    event(ctx, Event::Seccomp, data.into(), Reason::Filter(data)).await
}
