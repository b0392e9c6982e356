//! Dealing with signals before a thread goes back to user code.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::Errno;

use super::action::{ActionFlags, DefaultEffect, Disposition};
use super::{Action, SigInfo, SigSet, Signal, frame, send, take};
use crate::fail::{Restart, in_register};
use crate::process::{Ctx, kill_process, rseq};
use crate::syscall::print;
use crate::wait::again;
use crate::{core_dump, kernel, report, trace, tty};

/// Does what is to be done before the thread goes on with user code: stops with its process, deals with signals. False when it is to end.
pub async fn attend(ctx: &mut Ctx) -> bool {
    while ctx.thread.has_work() {
        let lingering = ctx.thread.lingering.lock().take();
        if let Some(lingering) = lingering {
            Box::pin(lingering.wait(&ctx.thread)).await;
        }
        // The mark is taken before anything is looked at: whoever changes something after that sets it anew.
        ctx.thread.take_work();
        if ctx.thread.trace.is_traced() || ctx.thread.process().job.is_stopped() {
            trace::hold(ctx).await;
        }
        if let Some(fatal) = ctx.fatal.take() {
            if kernel::tracing() {
                print::signal(&ctx.thread, fatal.0, &fatal.1);
            }
            core_dump::end_process(ctx, fatal.0, &fatal.1).await;
        }
        if ctx.thread.must_end() {
            return false;
        }
        deliver(ctx).await;
        if ctx.thread.rseq.take_due()
            && let Err(stop) = rseq::settle(ctx)
        {
            rseq::settle_after(ctx, stop).await;
        }
    }
    true
}

/// Deals with every signal that is pending and not blocked, then decides what becomes of an interrupted call.
async fn deliver(ctx: &mut Ctx) {
    loop {
        let continuations = ctx.thread.process().job.continuations();
        let Some((mut signal, mut info)) = next(ctx) else { break };
        if kernel::tracing() {
            print::signal(&ctx.thread, signal, &info);
        }
        if ctx.thread.trace.is_traced() {
            let Some(left) = trace::deliver(ctx, signal, info).await else {
                if ctx.thread.must_end() {
                    return;
                }
                continue;
            };
            (signal, info) = left;
        }
        let action = ctx.thread.actions.lock().get(signal);
        match action.disposition {
            Disposition::Ignore => {}
            Disposition::Handler(handler) => {
                settle_interrupted(ctx, Some(action));
                // What the handler calls is not the call that was interrupted.
                ctx.resume_until = None;
                enter(ctx, signal, &info, action, handler).await;
            }
            Disposition::Default => default(ctx, signal, &info, continuations).await,
        }
        if ctx.thread.must_end() {
            return;
        }
    }
    settle_interrupted(ctx, None);
    // A mask that a call set only while it waited ends with the call, unless a handler took it over.
    ctx.thread.restore_mask();
}

/// Takes the next signal for this thread.
fn next(ctx: &Ctx) -> Option<(Signal, SigInfo)> {
    let wanted = SigSet::from_bits(!0).difference(ctx.thread.mask());
    take(&ctx.thread, wanted)
}

async fn enter(ctx: &mut Ctx, signal: Signal, info: &SigInfo, action: Action, handler: usize) {
    if action.flags.contains(ActionFlags::RESET_HAND) {
        let reset = Action { disposition: Disposition::Default, ..action };
        ctx.thread.actions.lock().set(signal, reset);
    }
    // The frame is that of where a critical section begins again.
    if ctx.thread.rseq.is_registered()
        && let Err(stop) = rseq::settle(ctx)
        && !rseq::settle_after(ctx, stop).await
        && signal == Signal::SEGV
    {
        return core_dump::end_process(ctx, signal, info).await;
    }
    let stepping = ctx.thread.trace.is_traced() && {
        let thread = Arc::clone(&ctx.thread);
        trace::step_into_handler(&thread, &mut ctx.user.regs.rflags)
    };
    let memory = Arc::clone(&ctx.memory);
    if again(&memory, || frame::push(ctx, signal, info, action, handler)).await.is_err() {
        // What is to end gets no memory for it.
        if ctx.thread.must_end() {
            return;
        }
        // There is no stack to run the handler on: nothing can be done for the program (sigaction(2), setup_rt_frame).
        report::no_signal_stack(ctx, signal);
        return core_dump::end_process(ctx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV)).await;
    }
    let mut mask = ctx.thread.mask().union(action.mask);
    if !action.flags.contains(ActionFlags::NO_DEFER) {
        mask.insert(signal);
    }
    ctx.thread.set_mask(mask);
    if stepping {
        trace::entered_handler(ctx).await;
    }
}

async fn default(ctx: &mut Ctx, signal: Signal, info: &SigInfo, continuations: u64) {
    let process = ctx.thread.process();
    // The first process has no default actions but for what the host sends, as in a PID namespace.
    if process.pid == 1 && !info.is_from_host() {
        return;
    }
    match signal.default_effect() {
        DefaultEffect::Ignore | DefaultEffect::Continue => {}
        DefaultEffect::Terminate => kill_process(process, signal),
        DefaultEffect::Core => core_dump::end_process(ctx, signal, info).await,
        // Who could not be continued is not stopped, but by SIGSTOP (POSIX, "Default Actions").
        DefaultEffect::Stop if signal != Signal::STOP && tty::is_in_orphaned_group(process) => {}
        DefaultEffect::Stop => {
            send::stop(process, signal, continuations);
            trace::hold(ctx).await;
        }
    }
}

/// Decides about a call that a signal ended: made again, or failed with `EINTR`. `handled` is the action whose handler is about to run.
fn settle_interrupted(ctx: &mut Ctx, handled: Option<Action>) {
    let Some(restart) = ctx.restart.take() else { return };
    let again = match (restart, handled) {
        (_, None) | (Restart::Always, Some(_)) => true,
        (Restart::UnlessHandled, Some(action)) => action.flags.contains(ActionFlags::RESTART),
        (Restart::WithoutHandler | Restart::Until, Some(_)) => false,
    };
    ctx.resume_until = match restart {
        Restart::Until if again => Some(ctx.thread.resume_until()),
        _ => None,
    };
    let registers = &mut ctx.user.regs;
    if again {
        // Back to the `syscall` instruction, which is two bytes long.
        registers.rax = ctx.call;
        registers.rip -= 2;
    } else {
        registers.rax = in_register(Errno::EINTR);
    }
}
