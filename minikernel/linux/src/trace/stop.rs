//! The tracee's side: it stops, shows its registers, and waits until it is let go.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use super::{Reason, Resume, Stop, Trace, Tracee, family};
use crate::process::{Ctx, Process, Thread};
use crate::signal::{SI_USER, SigInfo, Signal};
use crate::syscall::watch::TRACED;

/// The trap flag (SDM volume 1, 3.4.3).
pub(super) const TRAP_FLAG: u64 = 1 << 8;

impl Tracee {
    /// Puts the registers of `ctx` here, for the tracer.
    fn park(&mut self, ctx: &mut Ctx, stop: Stop) {
        ctx.user.park();
        if core::mem::take(&mut self.forced_trap) {
            ctx.user.regs.rflags &= !TRAP_FLAG;
        }
        core::mem::swap(&mut self.user, &mut ctx.user);
        self.call = ctx.call;
        self.parked = true;
        self.signal = None;
        self.stop = Some(stop);
    }

    /// Gives them back.
    fn unpark(&mut self, ctx: &mut Ctx) {
        core::mem::swap(&mut self.user, &mut ctx.user);
        self.parked = false;
        self.stop = None;
        ctx.call = self.call;
        // A tracer that wants another call, or another result, wants the interrupted one not made again.
        let interrupted = (-516..=-512).contains(&ctx.user.regs.rax.cast_signed());
        if self.call.cast_signed() < 0 || !interrupted {
            ctx.restart = None;
        }
        if self.resume.steps() && ctx.user.regs.rflags & TRAP_FLAG == 0 {
            ctx.user.regs.rflags |= TRAP_FLAG;
            self.forced_trap = true;
        }
    }
}

impl Trace {
    /// Stops the thread, which is `ctx`'s. Returns the signal with which it is to go on; nothing without a tracer.
    pub(super) async fn stop(
        &self,
        ctx: &mut Ctx,
        code: u32,
        reason: Reason,
        info: Option<SigInfo>,
    ) -> Option<Signal> {
        let thread = Arc::clone(&ctx.thread);
        let stop = Stop { code, reason, info, told: false, listening: false };
        let ends = stop.is_exit();
        self.with(|tracee| tracee.park(ctx, stop))?;
        family::tell(&thread, code);
        // Only what cannot be held up ends a stop without the tracer. Even a thread that was killed tells of its end, unless it is killed anew.
        let over = || {
            let let_go = self.state.lock().as_ref().is_none_or(|tracee| tracee.stop.is_none());
            let_go || if ends { thread.has_kill() } else { thread.is_dying() }
        };
        self.resumed.until(|| over().then_some(())).await;
        let mut state = self.state.lock();
        let tracee = state.as_deref_mut()?;
        tracee.unpark(ctx);
        let watched = matches!(tracee.resume, Resume::Continue);
        let signal = tracee.signal.take();
        if !self.is_traced() {
            // It was let go for good.
            let gone = state.take();
            drop(state);
            drop(gone);
        }
        if watched {
            thread.watched.fetch_and(!TRACED, Relaxed);
        } else {
            thread.watched.fetch_or(TRACED, Relaxed);
        }
        thread.set_work();
        signal
    }
}

/// A stop of which the kernel itself tells (`ptrace_notify`): its code is that of the siginfo. The signal with which it goes on is sent.
pub(super) async fn notify(ctx: &mut Ctx, code: u32, reason: Reason) {
    let thread = Arc::clone(&ctx.thread);
    let (tid, uid) = (thread.tid(), thread.identity().users.real);
    let mut info = SigInfo::user(Signal::TRAP, code as i32, tid, uid);
    info.signal = (code & 0x7f) as i32;
    if let Some(signal) = thread.trace.stop(ctx, code, reason, Some(info)).await {
        // Only queues of real-time signals can be full.
        let _ = crate::signal::send_to_thread(&thread, signal, SigInfo::kernel(signal));
    }
}

/// What a thread that is traced does before it goes on: it takes part in the stop of its process, and stops when its tracer wants that.
pub async fn attend(ctx: &mut Ctx) {
    const EVENT_STOP: u32 = 128 << 8;
    let thread = Arc::clone(&ctx.thread);
    let process = thread.process();
    while !thread.must_end() {
        let stopped = process.job.stop_state();
        let wanted = thread.trace.with(|tracee| {
            let joins = stopped.filter(|(count, _)| *count != tracee.joined);
            if let Some((count, _)) = joins {
                tracee.joined = count;
            }
            let interrupted = core::mem::take(&mut tracee.interrupt);
            let signal = stopped.map_or(Signal::TRAP, |(_, signal)| signal);
            let code = u32::from(signal.number());
            (joins.is_some() || interrupted).then_some((code, tracee.seized))
        });
        match wanted.flatten() {
            Some((code, true)) => notify(ctx, code | EVENT_STOP, Reason::Other).await,
            Some((code, false)) => drop(thread.trace.stop(ctx, code, Reason::Other, None).await),
            None => return,
        }
    }
}

/// Whether a thread that is traced is to stop.
pub fn stops(thread: &Thread) -> bool {
    let stopped = thread.process().job.stop_state();
    let joins = |tracee: &Tracee| stopped.is_some_and(|(count, _)| count != tracee.joined);
    thread.trace.with(|tracee| tracee.interrupt || joins(tracee)).unwrap_or(false)
}

/// Waits while the process is stopped, or lets the tracer do so.
pub async fn hold(ctx: &mut Ctx) {
    loop {
        if ctx.thread.trace.is_traced() {
            return attend(ctx).await;
        }
        if !ctx.thread.process().job.is_stopped() || ctx.thread.is_dying() {
            return;
        }
        ctx.thread.wait_for_continue().await;
    }
}

/// Shows the tracer a signal that is about to be dealt with; what it makes of it (`ptrace_signal`).
pub async fn deliver(ctx: &mut Ctx, signal: Signal, info: SigInfo) -> Option<(Signal, SigInfo)> {
    let thread = Arc::clone(&ctx.thread);
    if !thread.trace.is_traced() || signal == Signal::KILL {
        return Some((signal, info));
    }
    let tracer = thread.trace.tracer();
    let code = u32::from(signal.number());
    let wanted = thread.trace.stop(ctx, code, Reason::Other, Some(info)).await;
    let changed = thread.trace.state.lock().as_deref_mut().and_then(|tracee| tracee.shown.take());
    let signal = wanted?;
    let mut info = changed.unwrap_or(info);
    if info.signal != i32::from(signal.number()) {
        let (pid, uid) = tracer.map_or((0, 0), |tracer| (tracer.pid, tracer.real_uid()));
        info = SigInfo::user(signal, SI_USER, pid, uid);
    }
    if thread.mask().contains(signal) {
        let _ = crate::signal::send_to_thread(&thread, signal, info);
        return None;
    }
    Some((signal, info))
}

/// The process has been stopped or continued: tracees that listen hear of it, and those that were seized stop anew.
pub fn notice_stop(process: &Process) {
    for thread in process.threads() {
        // Those that were not seized have nothing to stop for.
        interrupt(&thread);
    }
}

/// Stops a thread that was seized as soon as it can, or anew if it only listens (`PTRACE_INTERRUPT`). False for one that was not seized.
pub fn interrupt(thread: &Thread) -> bool {
    let seized = thread.trace.with(|tracee| {
        tracee.interrupt |= tracee.seized;
        if tracee.stop.as_ref().is_some_and(|stop| stop.listening) {
            tracee.stop = None;
        }
        tracee.seized
    });
    if seized.is_some() {
        thread.trace.resumed.wake_all();
        thread.notice();
    }
    seized == Some(true)
}

/// A handler is entered, which does not start with the trap flag that the tracer has set; true when the tracer wants to see its first
/// instruction.
pub fn step_into_handler(thread: &Thread, flags: &mut u64) -> bool {
    let stepping = thread.trace.with(|tracee| {
        if core::mem::take(&mut tracee.forced_trap) {
            *flags &= !TRAP_FLAG;
        }
        tracee.resume.steps()
    });
    stepping.unwrap_or(false)
}

/// The thread has entered a handler step by step.
pub async fn entered_handler(ctx: &mut Ctx) {
    notify(ctx, Signal::TRAP.number().into(), Reason::Other).await;
}
